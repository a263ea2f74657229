//! The facts in a complete Gemini answer.

use crate::failure::{Failure, Result};
use crate::protocol::{EventSummary, Progress};

use super::stream;

/// Reads an answer's body.
pub(in crate::protocol::gemini) fn read(body: &[u8]) -> Result<EventSummary> {
    let malformed = |e| Failure::provider(format!("the answer is not JSON: {e}"));
    let facts = stream::facts(body, true).map_err(malformed)?;
    let progress = if facts.is_error { Progress::Failed } else { Progress::Finished };
    Ok(EventSummary { progress, ..facts.summary })
}
