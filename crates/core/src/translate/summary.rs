//! The collection of an answer that is a summary of its conversation.

use crate::canon::{Event, Finish, Sink};
use crate::failure::{Failure, Result};
use crate::json::JsonStr;

/// A summary, collected from the text of an answer. Calls and reasoning in the answer do not matter.
#[derive(Debug, Default)]
pub(super) struct SummaryCollector {
    /// The text, as the inside of a string literal.
    text: String,
    /// Whether the next text belongs to another part than the text before.
    is_apart: bool,
    has_begun: bool,
    /// The reason for which the answer is no summary.
    flaw: Option<&'static str>,
}

impl SummaryCollector {
    /// Takes an event and passes on those that the client's encoder gets.
    ///
    /// # Errors
    /// Returns 502 at the end of an answer that is no whole summary, and for one that is too long for a carrier.
    pub(super) fn take(&mut self, event: Event<'_>, sink: &mut Sink<'_>) -> Result<()> {
        match event {
            Event::Text(text) => return self.text(&text, sink),
            Event::Refusal(_) => self.flaw = Some("the model refused to write a summary"),
            Event::Finish(finish) => self.finish(&finish),
            Event::End => return self.end(sink),
            Event::Logprobs(_) | Event::Cite(_) => {}
            Event::Start { .. } | Event::Tier(_) | Event::Usage(_) | Event::Anomaly(_) | Event::Fail(_) => {
                sink(event);
            }
            _ => self.is_apart = !self.text.is_empty(),
        }
        Ok(())
    }

    fn text(&mut self, text: &JsonStr<'_>, sink: &mut Sink<'_>) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            sink(Event::Compacting);
        }
        if std::mem::take(&mut self.is_apart) {
            self.text.push_str(LINE_BREAK);
        }
        if self.text.len() + text.raw().len() > MAX_SUMMARY_BYTES {
            return Err(flawed("the summary is too long"));
        }
        self.text.push_str(text.raw());
        Ok(())
    }

    fn finish(&mut self, finish: &Finish<'_>) {
        let flaw = match finish {
            Finish::Stop | Finish::StopSequence(_) | Finish::ToolUse => return,
            Finish::Length | Finish::ContextWindow | Finish::Pause | Finish::Unknown => {
                "the summary is cut off"
            }
            Finish::Refusal(_) => "the model refused to write a summary",
        };
        self.flaw = Some(flaw);
    }

    fn end(&self, sink: &mut Sink<'_>) -> Result<()> {
        let summary = JsonStr::part(&self.text);
        let flaw = self.flaw.or_else(|| summary.is_blank().then_some("the summary is empty"));
        if let Some(flaw) = flaw {
            return Err(flawed(flaw));
        }
        sink(Event::Summary(summary));
        sink(Event::Finish(Finish::Stop));
        sink(Event::End);
        Ok(())
    }
}

fn flawed(detail: &str) -> Failure {
    Failure::provider(detail).at_cost()
}

/// A line break, as the inside of a string literal.
const LINE_BREAK: &str = "\\n";

/// Maximum length of a summary, in bytes: 1020 KiB. A carrier holds 1 MiB, and not only the summary.
const MAX_SUMMARY_BYTES: usize = (1 << 20) - (4 << 10);
