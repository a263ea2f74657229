//! What matters in one event of a Responses stream. Deltas are known by their type and read no further.

use std::ops::Range;

use crate::json::{self, Lenient as _, Member};
use crate::protocol::{Progress, Sight, UpstreamError};
use crate::sse::Event;

use crate::protocol::responses::usage;

/// Reads one event.
pub(in crate::protocol::responses) fn read(event: &Event<'_>) -> Sight {
    let Some(data) = &event.data else { return Sight::default() };
    let mut members = json::members(&data.bytes).lenient();
    let Some(kind) = members.clone().find(|member| member.key == b"type") else {
        return match event.name {
            Some(name) => read_kind(name, &data.bytes, &mut members),
            None => Sight::default(),
        };
    };
    read_kind(
        kind.value.trim_ascii_start().strip_prefix(b"\"").map_or(kind.value, unquoted),
        &data.bytes,
        &mut members,
    )
}

fn unquoted(rest: &[u8]) -> &[u8] {
    rest.strip_suffix(b"\"").unwrap_or(rest)
}

fn read_kind<'a>(kind: &[u8], data: &[u8], members: &mut impl Iterator<Item = Member<'a>>) -> Sight {
    let has_words = kind.starts_with(b"response.");
    let progress = match kind {
        b"response.created" | b"response.in_progress" | b"response.queued" => Progress::Running,
        b"response.completed" | b"response.incomplete" => Progress::Over,
        b"response.failed" => Progress::Failed,
        b"error" => {
            return Sight { progress: Progress::Warned(UpstreamError::read(data)), ..Sight::default() };
        }
        _ => return Sight { is_delta: kind.ends_with(b".delta"), has_words, ..Sight::default() },
    };
    let mut sight = Sight { progress, has_words, ..Sight::default() };
    if let Some(response) = members.find(|member| member.is("response")) {
        lifecycle(&response, &mut sight);
    }
    sight
}

/// The `response` object inside an event: its places are moved to where the object stands.
fn lifecycle(response: &Member<'_>, sight: &mut Sight) {
    let (mut counts, mut tier, mut tools) = (None, None, None);
    let moved = |span: &Range<usize>| response.span.start + span.start..response.span.start + span.end;
    for member in json::members(response.value).lenient() {
        match member.key {
            b"model" if member.value.first() == Some(&b'"') => sight.model = Some(moved(&member.span)),
            b"error" if member.is_present() => sight.error = Some(moved(&member.span)),
            b"usage" if member.is_present() => counts = Some(member.value),
            b"service_tier" => tier = Some(member.value),
            b"tool_usage" => tools = Some(member.value),
            b"id" => sight.id = member.text().map(Into::into),
            _ => {}
        }
    }
    sight.usage = counts.and_then(|counts| usage::read_with(counts, tier, tools));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(event: &str) -> Sight {
        read(&Event::parse(event.as_bytes()))
    }

    #[test]
    fn finds_the_model_of_lifecycle_events_only() {
        let data = r#"{"type":"response.created","response":{"id":"resp_1","model":"gpt","usage":null}}"#;
        let found = sight(&format!("event: response.created\ndata: {data}\n\n"));
        assert_eq!(data.get(found.model.unwrap()), Some("\"gpt\""));
        assert_eq!(found.id.unwrap(), "resp_1");
        let delta = r#"{"type":"response.output_text.delta","response":{"model":"x"},"model":"x"}"#;
        let unread = Sight { is_delta: true, has_words: true, ..Sight::default() };
        assert_eq!(sight(&format!("data: {delta}\n\n")), unread);
    }

    #[test]
    fn the_type_in_the_data_outranks_the_name() {
        let of = |name: &str, data: &str| sight(&format!("event: {name}\ndata: {data}\n\n")).progress;
        assert_eq!(of("x", r#"{"type":"response.completed","response":{}}"#), Progress::Over);
        assert_eq!(of("response.failed", r#"{"response":{}}"#), Progress::Failed);
        let Progress::Warned(error) = of("error", r#"{"type":"error","code":"c","message":"m"}"#) else {
            panic!()
        };
        assert_eq!((error.message.as_str(), error.code.as_deref()), ("m", Some("c")));
    }
}
