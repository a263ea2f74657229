//! A complete answer, collected from the events of a stream.

use crate::json::{JsonStr, Raw};

use super::event::SegmentKind;
use super::queue::Overflow;
use super::{Citation, Event, Finish, Queue, Seal, SegmentStep, Usage};

/// An answer collected from its events. An encoder writes from it the same content that a stream would have
/// carried.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Answer {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// Creation time in seconds since the epoch, as the provider reports it.
    pub created: Option<u64>,
    /// The service tier that the answer had.
    pub tier: Option<String>,
    /// Text, reasoning and calls, in order.
    pub segments: Vec<Segment>,
    /// The summary of the conversation, as the inside of a string literal, if the answer is one.
    pub summary: Option<String>,
    /// Token counts, if the provider gave any.
    pub usage: Option<Usage>,
    /// The verdict of the provider's moderation.
    pub moderation: Option<Raw<'static>>,
    /// The reason for which the answer ended.
    pub finish: Option<Finish<'static>>,
    queue: Queue,
}

/// One piece of an answer, complete.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Segment {
    /// The kind of the segment.
    pub kind: SegmentKind,
    /// The text or, for a call, the arguments, as the inside of a string literal.
    pub text: String,
    /// Whether it is text of another message than the text before.
    pub paragraph: bool,
    /// The source of the text.
    pub cites: Vec<Citation<'static>>,
    /// Token probabilities of the text.
    pub logprobs: Vec<Raw<'static>>,
    /// State of the reasoning that only the provider can read.
    pub seals: Vec<Seal<'static>>,
    /// Whether it is whole.
    pub complete: bool,
}

impl Answer {
    /// Takes the next event.
    ///
    /// # Errors
    /// Fails if more than 16 MiB of segments would have to wait.
    pub fn take(&mut self, event: Event<'_>) -> Result<(), Overflow> {
        match event {
            Event::Start { id, created } => {
                self.id = id.map(std::borrow::Cow::into_owned);
                self.created = created;
            }
            Event::Tier(tier) => self.tier = Some(tier.into_owned()),
            Event::Usage(part) => self.usage.get_or_insert_default().absorb(&part),
            Event::Moderation(verdict) => self.moderation = Some(verdict.into_owned()),
            Event::Summary(text) => self.summary = Some(text.raw().to_owned()),
            Event::Finish(finish) => self.finish = Some(finish.into_owned()),
            Event::End => {
                let cut = self.is_cut();
                let segments = &mut self.segments;
                self.queue.finish(cut, &mut |step| collect(segments, step));
            }
            other => {
                let segments = &mut self.segments;
                return self.queue.take(other, &mut |step| collect(segments, step));
            }
        }
        Ok(())
    }

    /// Whether it may have been cut off.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.finish.as_ref().is_some_and(Finish::is_cut)
    }

    /// Whether it calls a tool.
    #[must_use]
    pub fn calls(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment.kind, SegmentKind::Call { .. }))
    }
}

impl Segment {
    /// Returns the segment's text.
    #[must_use]
    pub fn json_str(&self) -> JsonStr<'_> {
        JsonStr::part(&self.text)
    }

    fn new(kind: SegmentKind, paragraph: bool) -> Self {
        Self {
            kind,
            text: String::new(),
            paragraph,
            cites: Vec::new(),
            logprobs: Vec::new(),
            seals: Vec::new(),
            complete: false,
        }
    }
}

fn collect(segments: &mut Vec<Segment>, step: SegmentStep<'_>) {
    match step {
        SegmentStep::Open { kind, paragraph } => segments.push(Segment::new(kind.clone(), paragraph)),
        SegmentStep::Opaque(seals) => {
            let mut segment = Segment::new(SegmentKind::Reasoning, false);
            segment.seals.extend_from_slice(seals);
            segment.complete = true;
            segments.push(segment);
        }
        step => {
            let Some(last) = segments.last_mut() else { return };
            match step {
                SegmentStep::Delta(text) => last.text.push_str(text.raw()),
                SegmentStep::Cite(cite) => last.cites.push(cite.clone()),
                SegmentStep::Logprobs(raw) => last.logprobs.push(raw.clone()),
                SegmentStep::Close { seals, complete } => {
                    last.seals.extend_from_slice(seals);
                    last.complete = complete;
                }
                SegmentStep::Open { .. } | SegmentStep::Opaque(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::UsagePart;

    #[test]
    fn collects_what_a_stream_says() {
        let mut answer = Answer::default();
        let usage = UsagePart { output: Some(3), ..UsagePart::default() };
        for event in [
            Event::Start { id: Some("x".into()), created: Some(7) },
            Event::Thought(JsonStr::plain("t")),
            Event::Text(JsonStr::plain("a")),
            Event::Text(JsonStr::plain("b")),
            Event::Usage(usage),
            Event::Finish(Finish::Length),
            Event::End,
        ] {
            answer.take(event).unwrap();
        }
        let seen: Vec<_> = answer.segments.iter().map(|s| (&s.kind, s.text.as_str(), s.complete)).collect();
        assert_eq!(seen, [(&SegmentKind::Reasoning, "t", true), (&SegmentKind::Text, "ab", false)]);
        assert_eq!(
            (answer.id.as_deref(), answer.usage.as_ref().unwrap().output, answer.is_cut()),
            (Some("x"), 3, true)
        );
    }
}
