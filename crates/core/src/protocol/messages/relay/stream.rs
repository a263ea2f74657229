//! The facts in one event of a Messages stream. Deltas are recognized by their type and read no further.

use crate::json::{self, Lenient as _, Member};
use crate::protocol::{EventSummary, Progress, UpstreamError};
use crate::sse::SseEvent;

use crate::protocol::messages::usage;

/// Reads one event.
pub(in crate::protocol::messages) fn read(event: &SseEvent<'_>) -> EventSummary {
    let Some(data) = &event.data else { return EventSummary::default() };
    let mut members = json::members(&data.bytes).lenient();
    let kind = members.clone().find(|member| member.key == b"type");
    let kind = kind.and_then(|member| member.value.strip_prefix(b"\"")?.strip_suffix(b"\""));
    let summary = match kind.or(event.name).unwrap_or_default() {
        b"message_start" => members.find(|m| m.is("message")).map(|m| message(&m)).unwrap_or_default(),
        b"message_delta" => {
            let usage = members.find(|m| m.is("usage")).and_then(|m| usage::read(m.value));
            EventSummary { usage, ..EventSummary::default() }
        }
        b"content_block_start" => EventSummary { has_words: true, ..EventSummary::default() },
        b"content_block_delta" => EventSummary { is_delta: true, has_words: true, ..EventSummary::default() },
        b"message_stop" => EventSummary { progress: Progress::Over, ..EventSummary::default() },
        b"error" => EventSummary {
            progress: Progress::Warned(UpstreamError::read(&data.bytes)),
            ..EventSummary::default()
        },
        _ => EventSummary::default(),
    };
    summary.with_misplaced_error(&data.bytes)
}

/// Whether an event only announces an answer.
pub(in crate::protocol::messages) fn is_preamble(event: &SseEvent<'_>) -> bool {
    let kind = event.data.as_ref().and_then(|data| json::find_member(&data.bytes, "type"));
    let kind = kind.and_then(|member| member.value.strip_prefix(b"\"")?.strip_suffix(b"\""));
    matches!(kind.or(event.name), Some(b"message_start" | b"ping"))
}

/// Reads the `message` object inside `message_start`. Its spans are moved to the position of the object.
fn message(message: &Member<'_>) -> EventSummary {
    let mut summary = EventSummary::default();
    for member in json::members(message.value).lenient() {
        match member.key {
            b"model" if member.value.first() == Some(&b'"') => {
                let start = message.span.start;
                summary.model = Some(start + member.span.start..start + member.span.end);
            }
            b"usage" => summary.usage = usage::read(member.value),
            b"id" => summary.id = member.text().map(Into::into),
            _ => {}
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Usage;

    fn summary(data: &str) -> EventSummary {
        read(&SseEvent::parse(format!("data: {data}\n\n").as_bytes()))
    }

    #[test]
    fn finds_model_and_usage_of_the_first_event() {
        let data = r#"{"type":"message_start","message":{"id":"msg_1","model":"c","usage":{"input_tokens":3,"output_tokens":1}}}"#;
        let found = summary(data);
        assert_eq!(data.get(found.model.unwrap()), Some("\"c\""));
        let mut total = Usage::from(found.usage.unwrap());
        let last =
            summary(r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":9,"input_tokens":0}}"#);
        total.absorb(&last.usage.unwrap());
        assert_eq!((total.input, total.output), (3, 9));
    }

    #[test]
    fn the_head_of_a_message_is_no_answer() {
        let is_preamble = |event: &str| is_preamble(&SseEvent::parse(event.as_bytes()));
        assert!(is_preamble("data: {\"type\":\"message_start\",\"message\":{}}\n\n"));
        assert!(is_preamble("event: ping\ndata: {}\n\n"));
        assert!(!is_preamble("data: {\"type\":\"content_block_start\",\"index\":0}\n\n"));
    }

    #[test]
    fn knows_how_far_a_stream_is() {
        assert_eq!(
            summary(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#).progress,
            Progress::Running
        );
        assert_eq!(summary(r#"{"type":"message_stop"}"#).progress, Progress::Over);
        let error = r#"{"type":"error","error":{"message":"m"}}"#;
        let failed = UpstreamError { message: "m".into(), ..UpstreamError::default() };
        assert_eq!(summary(error).progress, Progress::Warned(failed));
        let delta = EventSummary { is_delta: true, has_words: true, ..EventSummary::default() };
        assert_eq!(summary(r#"{"type":"content_block_delta","message":{"model":"x"}}"#), delta);
    }
}
