//! The facts in one event of a Responses stream. Deltas are recognized by their type and read no further.

use std::ops::Range;

use crate::json::{self, Lenient as _, Member};
use crate::protocol::{EventSummary, Progress, UpstreamError};
use crate::sse::SseEvent;

use crate::protocol::responses::usage;

/// Reads one event.
pub(in crate::protocol::responses) fn read(event: &SseEvent<'_>) -> EventSummary {
    let Some(data) = &event.data else { return EventSummary::default() };
    let mut members = json::members(&data.bytes).lenient();
    let kind = members.clone().find(|member| member.key == b"type");
    let kind =
        kind.map(|kind| kind.value.trim_ascii_start().strip_prefix(b"\"").map_or(kind.value, unquoted));
    let summary = read_kind(kind.or(event.name).unwrap_or_default(), &data.bytes, &mut members);
    summary.with_misplaced_error(&data.bytes)
}

/// Whether an event only announces an answer.
pub(in crate::protocol::responses) fn is_preamble(event: &SseEvent<'_>) -> bool {
    let kind = event.data.as_ref().and_then(|data| json::find_member(&data.bytes, "type"));
    let kind = kind.and_then(|kind| kind.value.strip_prefix(b"\""));
    let kind = kind.map(unquoted).or(event.name).unwrap_or_default();
    is_announcement(kind) || !kind.starts_with(b"response.")
}

fn is_announcement(kind: &[u8]) -> bool {
    matches!(kind, b"response.created" | b"response.in_progress" | b"response.queued")
}

fn unquoted(rest: &[u8]) -> &[u8] {
    rest.strip_suffix(b"\"").unwrap_or(rest)
}

fn read_kind<'a>(kind: &[u8], data: &[u8], members: &mut impl Iterator<Item = Member<'a>>) -> EventSummary {
    let has_words = kind.starts_with(b"response.");
    let progress = match kind {
        _ if is_announcement(kind) => Progress::Running,
        b"response.completed" | b"response.incomplete" => Progress::Over,
        b"response.failed" => Progress::Failed,
        b"error" => {
            return EventSummary {
                progress: Progress::Warned(UpstreamError::read(data)),
                ..EventSummary::default()
            };
        }
        _ => {
            return EventSummary {
                is_delta: kind.ends_with(b".delta"),
                has_words,
                ..EventSummary::default()
            };
        }
    };
    let opens = progress == Progress::Running;
    let mut summary = EventSummary { progress, has_words, opens, ..EventSummary::default() };
    if let Some(response) = members.find(|member| member.is("response")) {
        lifecycle(&response, &mut summary);
    }
    summary
}

/// Reads the `response` object inside an event. Its spans are moved to the position of the object.
fn lifecycle(response: &Member<'_>, summary: &mut EventSummary) {
    let (mut counts, mut tier, mut tools) = (None, None, None);
    let moved = |span: &Range<usize>| response.span.start + span.start..response.span.start + span.end;
    for member in json::members(response.value).lenient() {
        match member.key {
            b"model" if member.value.first() == Some(&b'"') => summary.model = Some(moved(&member.span)),
            b"error" if member.is_present() => summary.error = Some(moved(&member.span)),
            b"usage" if member.is_present() => counts = Some(member.value),
            b"service_tier" => tier = Some(member.value),
            b"tool_usage" => tools = Some(member.value),
            b"id" => {
                summary.id = member.text().map(Into::into);
                summary.id_span = Some(moved(&member.span));
            }
            _ => {}
        }
    }
    summary.usage = counts.and_then(|counts| usage::read_with(counts, tier, tools));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(event: &str) -> EventSummary {
        read(&SseEvent::parse(event.as_bytes()))
    }

    #[test]
    fn finds_the_model_of_lifecycle_events_only() {
        let data = r#"{"type":"response.created","response":{"id":"resp_1","model":"gpt","usage":null}}"#;
        let found = summary(&format!("event: response.created\ndata: {data}\n\n"));
        assert_eq!(data.get(found.model.unwrap()), Some("\"gpt\""));
        assert_eq!(found.id.unwrap(), "resp_1");
        let delta = r#"{"type":"response.output_text.delta","response":{"model":"x"},"model":"x"}"#;
        let unread = EventSummary { is_delta: true, has_words: true, ..EventSummary::default() };
        assert_eq!(summary(&format!("data: {delta}\n\n")), unread);
    }

    #[test]
    fn announcements_are_no_answer() {
        let is_preamble = |event: &str| is_preamble(&SseEvent::parse(event.as_bytes()));
        assert!(is_preamble("data: {\"type\":\"response.created\",\"response\":{}}\n\n"));
        assert!(is_preamble("data: {\"type\": \"response.in_progress\"}\n\n"));
        assert!(is_preamble("event: response.queued\ndata: {}\n\n"));
        assert!(is_preamble("event: keepalive\ndata: {\"type\":\"keepalive\"}\n\n"));
        assert!(!is_preamble("data: {\"type\":\"response.output_item.added\"}\n\n"));
    }

    #[test]
    fn the_type_in_the_data_outranks_the_name() {
        let of = |name: &str, data: &str| summary(&format!("event: {name}\ndata: {data}\n\n")).progress;
        assert_eq!(of("x", r#"{"type":"response.completed","response":{}}"#), Progress::Over);
        assert_eq!(of("response.failed", r#"{"response":{}}"#), Progress::Failed);
        let Progress::Warned(error) = of("error", r#"{"type":"error","code":"c","message":"m"}"#) else {
            panic!()
        };
        assert_eq!((error.message.as_str(), error.code.as_deref()), ("m", Some("c")));
    }
}
