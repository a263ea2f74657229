//! The response object: in the events that frame a stream, and as the body of a complete answer.

use crate::canon::{Context, Finish, Usage};
use crate::json::write::{self, Object};

use super::event_writer::quoted;
use crate::protocol::responses::usage;

/// The common members of all response objects of one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseFrame<'f> {
    pub(super) context: &'f Context,
    /// The part of the response that repeats its request.
    pub(super) echo: &'f [u8],
    /// The id, without `resp_`.
    pub(super) id: &'f str,
    pub(super) created: u64,
    /// The service tier.
    pub(super) tier: Option<&'f str>,
}

/// The progress of the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseState<'s> {
    pub(super) status: &'static str,
    /// The reason for which the answer is incomplete.
    pub(super) incomplete: Option<&'static str>,
    /// Code and message of the failure.
    pub(super) error: Option<(&'s str, &'s str)>,
    /// Seconds since the epoch.
    pub(super) completed: Option<u64>,
    /// The items, separated by commas.
    pub(super) output: &'s [u8],
    pub(super) usage: Option<Usage>,
}

impl<'s> ResponseState<'s> {
    /// Returns the state of an answer that has ended.
    pub(super) fn ended(
        finish: Option<&Finish<'_>>,
        output: &'s [u8],
        usage: Option<Usage>,
        now: u64,
    ) -> Self {
        let incomplete = match finish {
            Some(Finish::Length | Finish::ContextWindow | Finish::Pause | Finish::Unknown) => {
                Some("max_output_tokens")
            }
            Some(Finish::Refusal(_)) => Some("content_filter"),
            Some(Finish::Stop | Finish::StopSequence(_) | Finish::ToolUse) | None => None,
        };
        Self {
            status: if incomplete.is_some() { "incomplete" } else { "completed" },
            incomplete,
            completed: incomplete.is_none().then_some(now),
            output,
            usage,
            error: None,
        }
    }
}

/// Writes the members of the response object.
pub(super) fn write(frame: &ResponseFrame<'_>, state: &ResponseState<'_>, o: &mut Object<'_>) {
    o.string("id", |text| {
        text.plain("resp_");
        text.plain(frame.id);
    });
    o.text("object", "response").number("created_at", frame.created).text("status", state.status);
    match state.completed {
        Some(time) => o.number("completed_at", time.max(frame.created)),
        None => o.null("completed_at"),
    };
    match state.error {
        Some((code, message)) => o.object("error", |o| {
            o.text("code", code).text("message", message);
        }),
        None => o.null("error"),
    };
    match state.incomplete {
        Some(reason) => o.object("incomplete_details", |o| {
            o.text("reason", reason);
        }),
        None => o.null("incomplete_details"),
    };
    o.json_str("model", &frame.context.model);
    o.value("output", |out| {
        out.push(b'[');
        out.extend_from_slice(state.output);
        out.push(b']');
    });
    o.text("service_tier", tier(frame.tier)).members(frame.echo);
    match &state.usage {
        Some(usage) => o.object("usage", |o| usage::write(usage, o)),
        None => o.null("usage"),
    };
}

/// Returns the service tier in this protocol's words.
fn tier(tier: Option<&str>) -> &str {
    match tier {
        None | Some("" | "standard" | "batch") => "default",
        Some(other) => other,
    }
}

/// Begins an element of `output`, after a comma if necessary, and returns the position at which it begins.
pub(super) fn begin_item(output: &mut Vec<u8>) -> usize {
    if !output.is_empty() {
        output.push(b',');
    }
    output.len()
}

/// Writes a member whose value is the inside of a literal.
pub(super) fn inner(o: &mut Object<'_>, name: &str, text: &[u8]) {
    o.value(name, |out| quoted(text, out));
}

/// Writes a member whose value was written before.
pub(super) fn written(o: &mut Object<'_>, name: &str, json: &[u8]) {
    o.value(name, |out| out.extend_from_slice(json));
}

/// Returns the body of an answer.
pub(super) fn body(frame: &ResponseFrame<'_>, state: &ResponseState<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(state.output.len() + frame.echo.len() + ROOM);
    write::object(&mut out, |o| write(frame, state, o));
    out
}

/// Bytes for the members that every response has.
const ROOM: usize = 512;
