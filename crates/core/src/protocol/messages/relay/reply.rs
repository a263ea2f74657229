//! The facts in a complete Messages answer.

use crate::failure::{Failure, Result};
use crate::json;
use crate::protocol::{EventSummary, Progress};

use crate::protocol::messages::usage;

/// Reads an answer's body.
pub(in crate::protocol::messages) fn read(body: &[u8]) -> Result<EventSummary> {
    let mut summary = EventSummary { progress: Progress::Finished, ..EventSummary::default() };
    let (mut content, mut error) = (false, false);
    for member in json::members(body) {
        let member = member.map_err(|e| Failure::provider(format!("the answer is not JSON: {e}")))?;
        match member.key {
            b"model" if member.value.first() == Some(&b'"') => summary.model = Some(member.span),
            b"usage" => summary.usage = usage::read(member.value),
            b"content" => content = true,
            b"error" => error = member.is_present(),
            b"id" => summary.id = member.text().map(Into::into),
            _ => {}
        }
    }
    if error && !content {
        summary.progress = Progress::Failed;
    }
    Ok(summary)
}
