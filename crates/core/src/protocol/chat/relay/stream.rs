//! The facts in one chunk of a Chat stream.

use memchr::memmem::Finder;
use once_cell::sync::Lazy;

use crate::json::{self, Lenient as _, Member};
use crate::protocol::{EventSummary, Progress, UpstreamError};
use crate::sse::SseEvent;

use crate::protocol::chat::usage;
use crate::protocol::usage::rates;

/// Reads one event.
pub(in crate::protocol::chat) fn read(event: &SseEvent<'_>) -> EventSummary {
    let mut summary = EventSummary::default();
    let Some(data) = &event.data else { return summary };
    if data.bytes.trim_ascii() == DONE {
        summary.progress = Progress::Over;
        return summary;
    }
    let mut choices: Option<&[u8]> = None;
    let mut failed = false;
    for member in json::members(&data.bytes).lenient() {
        take(&member, &mut summary, &mut choices, &mut failed);
    }
    let choices = choices.unwrap_or_default();
    if failed {
        summary.progress = Progress::Warned(UpstreamError::read(&data.bytes));
    }
    if summary.progress == Progress::Running && finishes(choices) {
        summary.progress = Progress::Finished;
        summary.usage = summary.usage.or_else(|| within(choices));
    }
    let empty = is_empty_array(choices);
    summary.usage_only = summary.usage.is_some() && empty;
    summary.is_delta = !empty && summary.progress == Progress::Running;
    summary.has_words = summary.is_delta && !choices.is_empty();
    summary.with_misplaced_error(&data.bytes)
}

/// Whether an event only announces an answer: there is no choice, or nothing but a role in each.
pub(in crate::protocol::chat) fn is_preamble(event: &SseEvent<'_>) -> bool {
    let Some(data) = &event.data else { return true };
    if data.bytes.trim_ascii() == DONE {
        return false;
    }
    let choices = json::find_member(&data.bytes, "choices").map(|member| member.value).unwrap_or_default();
    json::elements(choices).map_while(|choice| choice.ok()).all(|(choice, _)| says_nothing(choice))
}

/// Whether all members of a choice's delta but the role are empty.
fn says_nothing(choice: &[u8]) -> bool {
    let Some(delta) = json::find_member(choice, "delta") else { return false };
    let is_empty = |value: &[u8]| matches!(value, b"null" | b"\"\"") || is_empty_array(value);
    !finishes(choice)
        && json::members(delta.value).lenient().all(|member| member.is("role") || is_empty(member.value))
}

fn take<'a>(
    member: &Member<'a>,
    summary: &mut EventSummary,
    choices: &mut Option<&'a [u8]>,
    failed: &mut bool,
) {
    match member.key {
        b"model" if member.value.first() == Some(&b'"') => summary.model = Some(member.span.clone()),
        b"choices" => *choices = Some(member.value),
        b"usage" if member.is_present() => summary.usage = usage::read(member.value),
        b"service_tier" => summary.rates = rates(member.value),
        b"x_groq" if summary.usage.is_none() => summary.usage = nested_usage(member.value),
        b"error" => *failed |= member.is_present(),
        // This is the error frame of servers that put the error's members at the top level.
        b"object" => *failed |= member.value == b"\"error\"",
        _ => {}
    }
}

/// Whether there is a choice whose `finish_reason` is set.
fn finishes(choices: &[u8]) -> bool {
    FINISH_REASON.find_iter(choices).any(|at| {
        let rest = choices.get(at + FINISH_REASON.needle().len()..).unwrap_or_default();
        let value = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        // With some servers, an empty reason stands for none.
        value.is_some_and(|value| value.starts_with(b"\"") && !value.starts_with(b"\"\""))
    })
}

/// Returns the usage inside the first choice, where one provider puts it.
fn within(choices: &[u8]) -> Option<crate::canon::UsagePart> {
    let (first, _) = json::elements(choices).next()?.ok()?;
    nested_usage(first)
}

fn nested_usage(object: &[u8]) -> Option<crate::canon::UsagePart> {
    json::find_member(object, "usage").and_then(|member| usage::read(member.value))
}

fn is_empty_array(json: &[u8]) -> bool {
    json.strip_prefix(b"[").is_some_and(|rest| rest.trim_ascii_start() == b"]")
}

const DONE: &[u8] = b"[DONE]";

static FINISH_REASON: Lazy<Finder<'static>> = Lazy::new(|| Finder::new(b"\"finish_reason\""));

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(data: &str) -> EventSummary {
        read(&SseEvent::parse(format!("data: {data}\n\n").as_bytes()))
    }

    #[test]
    fn finds_the_models_place_and_not_a_text_about_one() {
        let data = r#"{"id":"c","choices":[{"delta":{"content":"\"model\":\"x\""}}],"model":"gpt"}"#;
        let span = summary(data).model.unwrap();
        assert_eq!(data.get(span), Some("\"gpt\""));
        assert_eq!(summary(r#"{"choices":[{"model":"x"}]}"#).model, None);
    }

    #[test]
    fn knows_how_far_a_stream_is() {
        let progress = |data: &str| summary(data).progress;
        assert_eq!(progress(r#"{"choices":[{"finish_reason":null}]}"#), Progress::Running);
        assert_eq!(progress(r#"{"choices":[{"delta":{"content":"finish_reason"}}]}"#), Progress::Running);
        assert_eq!(progress(r#"{"choices":[{"finish_reason" : "stop"}]}"#), Progress::Finished);
        assert_eq!(progress("[DONE] "), Progress::Over);
        let failed = Progress::Warned(UpstreamError { message: "m".into(), ..UpstreamError::default() });
        assert_eq!(progress(r#"{"error":{"message":"m"}}"#), failed);
        assert_eq!(progress(r#"{"object":"error","message":"m"}"#), failed);
    }

    #[test]
    fn a_role_alone_is_no_answer() {
        let is_preamble = |data: &str| is_preamble(&SseEvent::parse(format!("data: {data}\n\n").as_bytes()));
        for data in [
            r#"{"choices":[],"prompt_filter_results":[]}"#,
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","tool_calls":[]}}]}"#,
            r#"{"type":"keep-alive"}"#,
        ] {
            assert!(is_preamble(data), "{data}");
        }
        for data in [
            r#"{"choices":[{"delta":{"role":"assistant"}},{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{"reasoning_content":"a"}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"message":{}}]}"#,
            "[DONE]",
        ] {
            assert!(!is_preamble(data), "{data}");
        }
    }

    #[test]
    fn tells_usage_alone_from_usage_beside_a_choice() {
        assert!(summary(r#"{"choices":[ ],"usage":{"prompt_tokens":1}}"#).usage_only);
        assert!(!summary(r#"{"choices":[],"usage":null,"prompt_filter_results":[]}"#).usage_only);
        let beside = summary(r#"{"choices":[{"index":0}],"usage":{"prompt_tokens":1}}"#);
        assert!(beside.usage.is_some() && !beside.usage_only);
        assert!(summary(r#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":1}}}"#).usage.is_some());
        assert!(
            summary(r#"{"choices":[{"finish_reason":"stop","usage":{"prompt_tokens":1}}]}"#).usage.is_some()
        );
    }
}
