//! The members of a stream's event, and of a complete answer, which is read as a single event.

use crate::json::{self, JsonStr, Lenient as _, Malformed, Members};
use crate::protocol::pick::{elements, for_each_member};

/// An event of a stream, or a complete answer.
#[derive(Debug, Default)]
pub(super) struct ChunkWire<'a> {
    /// Whether the provider reports a failure.
    pub(super) error: bool,
    pub(super) id: Option<JsonStr<'a>>,
    pub(super) created: Option<u64>,
    pub(super) tier: Option<JsonStr<'a>>,
    pub(super) usage: Option<&'a str>,
    /// The usage inside of one provider's own member.
    pub(super) nested_usage: Option<&'a str>,
    pub(super) choices: Option<&'a str>,
}

impl<'a> ChunkWire<'a> {
    /// Reads the members.
    ///
    /// # Errors
    /// Fails if this is not a JSON object; a list of errors counts as one.
    pub(super) fn read(text: &'a str) -> Result<Self, Malformed> {
        let mut chunk = Self::default();
        if text.trim_start().starts_with('[') {
            let (first, _) = json::elements(text.as_bytes()).next().transpose()?.unwrap_or_default();
            let mut members = json::members(first).lenient();
            chunk.error = members.any(|member| member.key == b"error" && member.is_present());
            return Ok(chunk);
        }
        let mut members = json::members(text.as_bytes());
        while let Some((key, value)) = next(&mut members, text)? {
            chunk.take(key, value);
        }
        members.finish()?;
        Ok(chunk)
    }

    fn take(&mut self, key: &[u8], value: &'a str) {
        match key {
            b"error" => self.error |= value != "\"\"",
            b"object" => self.error |= value == "\"error\"",
            b"id" => self.id = JsonStr::read(value),
            b"created" => self.created = value.parse().ok().filter(|seconds| *seconds > MIN_CREATED_SECONDS),
            b"service_tier" => self.tier = JsonStr::read(value).filter(|tier| !tier.is_empty()),
            b"usage" => self.usage = Some(value),
            b"x_groq" => for_each_member(value, |key, value| {
                if key == b"usage" {
                    self.nested_usage = Some(value);
                }
            }),
            b"choices" => self.choices = Some(value),
            _ => {}
        }
    }

    /// Returns the first choice, the only one that is read.
    pub(super) fn choice(&self) -> Option<ChoiceWire<'a>> {
        let objects = elements(self.choices?).filter(|item| item.starts_with('{'));
        objects.map(ChoiceWire::read).find(|choice| !choice.is_other)
    }
}

/// A choice.
#[derive(Debug, Default)]
pub(super) struct ChoiceWire<'a> {
    pub(super) text: &'a str,
    /// Whether the choice has another index than the first one.
    is_other: bool,
    pub(super) delta: Option<&'a str>,
    pub(super) message: Option<&'a str>,
    pub(super) finish: Option<JsonStr<'a>>,
    /// The stop sequence that ended the answer, which some servers report.
    pub(super) stop: Option<JsonStr<'a>>,
    pub(super) usage: Option<&'a str>,
    pub(super) logprobs: Option<&'a str>,
    pub(super) error: bool,
}

impl<'a> ChoiceWire<'a> {
    fn read(text: &'a str) -> Self {
        let mut choice = Self { text, ..Self::default() };
        for_each_member(text, |key, value| match key {
            b"index" => choice.is_other |= value != "0",
            b"delta" => choice.delta = Some(value),
            b"message" => choice.message = Some(value),
            b"finish_reason" => choice.finish = JsonStr::read(value),
            b"stop_reason" | b"matched_stop" => {
                choice.stop = JsonStr::read(value).or_else(|| choice.stop.take());
            }
            b"usage" => choice.usage = Some(value),
            b"logprobs" => choice.logprobs = Some(value),
            b"error" => choice.error = value != "\"\"",
            _ => {}
        });
        choice
    }

    /// Returns the message, and whether it is complete. Some servers send a message in the place of a delta, and
    /// some send both.
    pub(super) fn delta_or_message(&self, whole: bool) -> Option<(&'a str, bool)> {
        let (delta, message) = (self.delta.map(|text| (text, whole)), self.message.map(|text| (text, true)));
        if whole { message.or(delta) } else { delta.or(message) }
    }
}

/// The content of a choice, complete or a piece.
#[derive(Debug, Default)]
pub(super) struct DeltaWire<'a> {
    pub(super) content: Option<&'a str>,
    pub(super) refusal: Option<&'a str>,
    pub(super) annotations: Option<&'a str>,
    pub(super) images: Option<&'a str>,
    pub(super) details: Option<&'a str>,
    pub(super) reasoning_content: Option<&'a str>,
    pub(super) reasoning: Option<&'a str>,
    pub(super) tool_calls: Option<&'a str>,
    pub(super) function_call: Option<&'a str>,
}

impl<'a> DeltaWire<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        let mut delta = Self::default();
        for_each_member(text, |key, value| {
            let slot = match key {
                b"content" => &mut delta.content,
                b"refusal" => &mut delta.refusal,
                b"annotations" => &mut delta.annotations,
                b"images" => &mut delta.images,
                b"reasoning_details" => &mut delta.details,
                b"reasoning_content" => &mut delta.reasoning_content,
                b"reasoning" => &mut delta.reasoning,
                b"tool_calls" => &mut delta.tool_calls,
                b"function_call" => &mut delta.function_call,
                _ => return,
            };
            *slot = Some(value);
        });
        delta
    }
}

fn next<'a>(members: &mut Members<'a>, text: &'a str) -> Result<Option<(&'a [u8], &'a str)>, Malformed> {
    for member in members {
        let member = member?;
        match text.get(member.span) {
            None | Some("null") => {}
            Some(value) => return Ok(Some((member.key, value))),
        }
    }
    Ok(None)
}

/// The least plausible creation time in seconds since the epoch, in September 2001. A smaller number is no time.
const MIN_CREATED_SECONDS: u64 = 1_000_000_000;
