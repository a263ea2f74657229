//! The members of a provider's answer, and of each event of its stream.

use crate::json::{self, JsonStr, Malformed};
use crate::protocol::pick::{elements, fields_named};

/// An event of a stream, or a complete answer.
#[derive(Debug, Default)]
pub(super) struct AnswerWire<'a> {
    pub(super) id: Option<JsonStr<'a>>,
    pub(super) candidates: Option<&'a str>,
    pub(super) usage: Option<&'a str>,
    /// The reason for which the prompt was blocked, and the words for people.
    pub(super) blocked: Option<(&'a str, Option<JsonStr<'a>>)>,
    pub(super) is_error: bool,
}

impl<'a> AnswerWire<'a> {
    pub(super) fn read(data: &'a str) -> Result<Self, Malformed> {
        let mut wire = Self::default();
        let mut members = json::members(data.as_bytes());
        for member in members.by_ref() {
            let member = member?;
            let value = data.get(member.span.clone()).filter(|value| *value != "null");
            match member.key {
                b"responseId" => wire.id = value.and_then(JsonStr::read).filter(|id| !id.is_empty()),
                b"candidates" => wire.candidates = value,
                b"usageMetadata" => wire.usage = value,
                b"promptFeedback" => wire.blocked = value.and_then(blocked),
                b"error" => wire.is_error = value.is_some(),
                _ => {}
            }
        }
        members.finish()?;
        wire.is_error &= wire.candidates.is_none();
        Ok(wire)
    }

    /// Returns the candidate with the index 0. The gateway never asks for others.
    pub(super) fn candidate(&self) -> Option<CandidateWire<'a>> {
        elements(self.candidates?).map(CandidateWire::read).find(|candidate| candidate.is_first)
    }
}

fn blocked(feedback: &str) -> Option<(&str, Option<JsonStr<'_>>)> {
    let [reason, message] = fields_named(feedback, ["blockReason", "blockReasonMessage"]);
    Some((reason?, message.and_then(JsonStr::read)))
}

/// A candidate.
#[derive(Debug, Default)]
pub(super) struct CandidateWire<'a> {
    is_first: bool,
    pub(super) parts: Option<&'a str>,
    pub(super) finish: Option<&'a str>,
    pub(super) finish_message: Option<JsonStr<'a>>,
    pub(super) grounding: Option<&'a str>,
    pub(super) logprobs: Option<&'a str>,
}

impl<'a> CandidateWire<'a> {
    fn read(json: &'a str) -> Self {
        let [index, content, finish, message, grounding, logprobs] = fields_named(
            json,
            ["index", "content", "finishReason", "finishMessage", "groundingMetadata", "logprobsResult"],
        );
        let [parts] = content.map_or([None], |content| fields_named(content, ["parts"]));
        Self {
            is_first: index.is_none_or(|index| index == "0"),
            parts,
            finish,
            finish_message: message.and_then(JsonStr::read).filter(|text| !text.is_empty()),
            grounding,
            logprobs,
        }
    }
}

/// A part of an answer.
#[derive(Debug)]
pub(super) struct PartWire<'a> {
    pub(super) text: Option<JsonStr<'a>>,
    pub(super) is_thought: bool,
    /// The signature, as a literal.
    pub(super) signature: Option<JsonStr<'a>>,
    pub(super) call: Option<&'a str>,
    /// Whether it is something that the provider has done by itself.
    pub(super) is_hosted: bool,
}

impl<'a> PartWire<'a> {
    pub(super) fn read(json: &'a str) -> Self {
        let [text, thought, signature, call, code, result, tool, response] = fields_named(
            json,
            [
                "text",
                "thought",
                "thoughtSignature",
                "functionCall",
                "executableCode",
                "codeExecutionResult",
                "toolCall",
                "toolResponse",
            ],
        );
        Self {
            text: text.and_then(JsonStr::read),
            is_thought: thought == Some("true"),
            signature: signature.and_then(JsonStr::read).filter(|text| !text.is_empty()),
            call,
            is_hosted: code.or(result).or(tool).or(response).is_some(),
        }
    }
}
