//! The response object of an answer: its beginning, its final content, and the reason for its end.

use crate::canon::{Anomaly, Event, Finish, Sink, UpstreamError};
use crate::json::{JsonStr, Raw, compact};
use crate::protocol::responses::usage;

use super::output_items::{OutputItems, OutputKind};
use crate::protocol::pick::{fields_named, indexed_elements};

/// Starts an answer from its response object.
pub(super) fn start(response: &str, sink: &mut Sink<'_>) {
    let [id, created] = fields_named(response, ["id", "created_at"]);
    let id = id.and_then(JsonStr::read).filter(|id| !id.is_empty()).map(JsonStr::into_text);
    sink(Event::Start { id, created: created.and_then(seconds) });
}

/// Returns the failure of an answer, if it has failed.
pub(super) fn failure(response: &str) -> Option<UpstreamError> {
    let [error, status] = fields_named(response, ["error", "status"]);
    let failed = matches!(status, Some("\"failed\"" | "\"cancelled\""));
    (error.is_some() || failed).then(|| UpstreamError::read(response.as_bytes()))
}

/// Emits the output that was not emitted yet, and then the end of the answer.
pub(super) fn finish(response: &str, output_items: &mut OutputItems, sink: &mut Sink<'_>) {
    let [output, usage, tier, tools, details] =
        fields_named(response, ["output", "usage", "service_tier", "tool_usage", "incomplete_details"]);
    let mut seen = [0usize; 4];
    for (index, item) in indexed_elements(output) {
        let kind = OutputKind::of(item);
        let nth = seen.get_mut(kind as usize).map(|count| std::mem::replace(count, *count + 1));
        let slot = output_items.known(index, kind, nth.unwrap_or_default());
        let slot = slot.unwrap_or_else(|| output_items.announce(Some(index), kind));
        output_items.complete(slot, item, sink);
    }
    if let Some(tier) = tier.and_then(JsonStr::read).filter(|tier| !tier.is_empty()) {
        sink(Event::Tier(tier.into_text()));
    }
    let beside = [tier, tools].map(|json| json.map(str::as_bytes));
    let counts = usage.and_then(|usage| usage::read_with(usage.as_bytes(), beside[0], beside[1]));
    if let Some(usage) = counts {
        sink(Event::Usage(usage));
    }
    if let [Some(verdict)] = fields_named(response, ["moderation"])
        && let Some(verdict) = on_one_line(verdict)
    {
        sink(Event::Moderation(verdict));
    }
    let reason = reason(response, details, output_items, sink);
    sink(Event::Finish(reason));
    sink(Event::End);
}

/// Returns a value without the white space between its tokens, so that it fits into an event of a stream.
fn on_one_line(json: &str) -> Option<Raw<'static>> {
    let mut out = Vec::with_capacity(json.len());
    compact(json, &mut out);
    String::from_utf8(out).ok().and_then(Raw::read_owned)
}

fn reason(
    response: &str,
    details: Option<&str>,
    output_items: &OutputItems,
    sink: &mut Sink<'_>,
) -> Finish<'static> {
    let [status] = fields_named(response, ["status"]);
    let [why] = details.map_or([None], |details| fields_named(details, ["reason"]));
    let natural = if output_items.has_calls() { Finish::ToolUse } else { Finish::Stop };
    match (status, why) {
        (Some("\"completed\""), _) => natural,
        (Some("\"incomplete\""), None) => Finish::Length,
        (_, None) => natural,
        (_, Some("\"max_output_tokens\"" | "\"max_tokens\"" | "\"length\"")) => Finish::Length,
        (_, Some("\"content_filter\"")) => Finish::Refusal(None),
        (_, Some("\"context_length_exceeded\"" | "\"model_context_window_exceeded\"")) => {
            Finish::ContextWindow
        }
        (_, Some("\"max_messages\"" | "\"steered\"")) => Finish::Stop,
        (status, Some(_)) => {
            sink(Event::Anomaly(Anomaly::Finish));
            // An answer that is not complete is none that has ended well, whatever the reason.
            if status == Some("\"incomplete\"") { Finish::Unknown } else { natural }
        }
    }
}

/// Returns a plausible time: some servers send a fraction, or always zero.
fn seconds(json: &str) -> Option<u64> {
    let whole = json.split('.').next().unwrap_or_default();
    whole.parse().ok().filter(|time| *time > MIN_CREATED_SECONDS)
}

/// The earliest plausible creation time in seconds since the epoch, in September 2001.
const MIN_CREATED_SECONDS: u64 = 1_000_000_000;
