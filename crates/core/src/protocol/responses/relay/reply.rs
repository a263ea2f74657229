//! The facts in a complete Responses answer.

use crate::failure::{Failure, Result};
use crate::json;
use crate::protocol::{EventSummary, Progress};

use crate::protocol::responses::usage;

/// Reads an answer's body.
pub(in crate::protocol::responses) fn read(body: &[u8]) -> Result<EventSummary> {
    let mut summary = EventSummary { progress: Progress::Finished, ..EventSummary::default() };
    let (mut output, mut error) = (false, false);
    let (mut counts, mut tier, mut tools) = (None, None, None);
    for member in json::members(body) {
        let member = member.map_err(|e| Failure::provider(format!("the answer is not JSON: {e}")))?;
        match member.key {
            b"model" if member.value.first() == Some(&b'"') => summary.model = Some(member.span),
            b"usage" if member.is_present() => counts = Some(member.value),
            b"service_tier" => tier = Some(member.value),
            b"tool_usage" => tools = Some(member.value),
            b"output" => output = true,
            b"error" => {
                error = member.is_present();
                summary.error = error.then_some(member.span);
            }
            b"id" => summary.id = member.text().map(Into::into),
            _ => {}
        }
    }
    summary.usage = counts.and_then(|counts| usage::read_with(counts, tier, tools));
    if error && !output {
        summary.progress = Progress::Failed;
    }
    Ok(summary)
}
