//! The facts in one event of a Gemini stream. Each event is an answer of its own; the last one has the finish reason.

use crate::json::{self, Lenient as _, Malformed, find_member};
use crate::protocol::gemini::usage;
use crate::protocol::{EventSummary, Progress, UpstreamError};
use crate::sse::SseEvent;

/// Reads one event.
pub(in crate::protocol::gemini) fn read(event: &SseEvent<'_>) -> EventSummary {
    let Some(data) = &event.data else { return EventSummary::default() };
    let Ok(facts) = facts(&data.bytes, false) else { return EventSummary::default() };
    if facts.is_error {
        let progress = Progress::Warned(UpstreamError::read(&data.bytes));
        return EventSummary { progress, ..EventSummary::default() };
    }
    facts.summary
}

/// The facts in an event or in a body.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) summary: EventSummary,
    /// Whether it is an error and nothing else.
    pub(super) is_error: bool,
}

/// Returns the facts in an object. What is wrong with it matters only if it is a whole body.
pub(super) fn facts(data: &[u8], is_body: bool) -> Result<Facts, Malformed> {
    let (mut facts, mut candidates, mut is_blocked) = (Facts::default(), None, false);
    let summary = &mut facts.summary;
    for member in json::members(data) {
        let member = match member {
            Ok(member) => member,
            Err(malformed) if is_body => return Err(malformed),
            Err(_) => break,
        };
        match member.key {
            b"modelVersion" if member.value.first() == Some(&b'"') => summary.model = Some(member.span),
            b"usageMetadata" => summary.usage = usage::read(member.value),
            b"candidates" => candidates = Some(member.value),
            b"promptFeedback" => is_blocked = find_member(member.value, "blockReason").is_some(),
            b"responseId" => summary.id = member.text().map(Into::into),
            b"error" => facts.is_error = member.is_present(),
            _ => {}
        }
    }
    if let Some(candidates) = candidates {
        facts.is_error = false;
        (summary.is_delta, summary.has_words) = (true, true);
        let mut all = json::elements(candidates).lenient();
        is_blocked |= all.any(|(one, _)| find_member(one, "finishReason").is_some_and(|m| m.is_present()));
    }
    if is_blocked {
        summary.progress = Progress::Finished;
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(data: &str) -> EventSummary {
        read(&SseEvent::parse(format!("data: {data}\n\n").as_bytes()))
    }

    #[test]
    fn the_last_event_has_the_reason_and_the_counts() {
        let first =
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"modelVersion":"m","responseId":"r"}"#;
        let found = summary(first);
        assert_eq!(first.get(found.model.clone().unwrap()), Some("\"m\""));
        assert!(found.is_delta && found.progress == Progress::Running && found.id.as_deref() == Some("r"));
        let last =
            summary(r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3}}"#);
        assert_eq!((last.progress, last.usage.unwrap().input), (Progress::Finished, Some(3)));
    }

    #[test]
    fn a_blocked_prompt_is_an_answer_and_an_error_is_none() {
        assert_eq!(summary(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#).progress, Progress::Finished);
        let error = summary(r#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#);
        assert!(matches!(error.progress, Progress::Warned(error) if error.status == Some(503)));
    }
}
