//! The facts in a complete Chat answer.

use crate::failure::{Failure, Result};
use crate::json;
use crate::protocol::{EventSummary, Progress};

use crate::protocol::chat::usage;
use crate::protocol::usage::rates;

/// Reads an answer's body.
pub(in crate::protocol::chat) fn read(body: &[u8]) -> Result<EventSummary> {
    let mut summary = EventSummary { progress: Progress::Finished, ..EventSummary::default() };
    let (mut choices, mut error) = (false, false);
    for member in json::members(body) {
        let member = member.map_err(|e| Failure::provider(format!("the answer is not JSON: {e}")))?;
        match member.key {
            b"model" if member.value.first() == Some(&b'"') => summary.model = Some(member.span),
            b"usage" if member.is_present() => summary.usage = usage::read(member.value),
            b"service_tier" => summary.rates = rates(member.value),
            b"choices" => choices = true,
            b"error" => error = member.is_present(),
            _ => {}
        }
    }
    if error && !choices {
        summary.progress = Progress::Failed;
    }
    Ok(summary)
}
