//! The three protocols, and which file writes what of each.
//!
//! Comes in: a reply or a failure. Goes out: its bytes in one protocol, and the headers that provider sends.

use super::error::Failure;
use super::reply::Reply;
use super::responses::State;
use super::script::Headers;
use super::tape::Tape;
use super::{chat, messages, responses};

/// A protocol the demo speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Chat,
    Responses,
    Messages,
}

impl Protocol {
    /// The model that is meant where a request names none.
    pub(super) fn model(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    /// The headers of its answers.
    pub(super) fn headers(self, kind: &str, hash: &str) -> Headers {
        let (kind, id) = (("content-type", kind.to_owned()), format!("req_demo_{hash}"));
        if self == Self::Messages {
            return vec![kind, ("request-id", id)];
        }
        let organization = ("openai-organization", "demo-org".to_owned());
        vec![kind, ("x-request-id", id), organization, ("x-ratelimit-remaining-requests", "9".to_owned())]
    }

    /// The whole answer as one body.
    pub(super) fn unary(self, reply: &Reply<'_>) -> Vec<u8> {
        match self {
            Self::Chat => chat::unary(reply),
            Self::Responses => responses::unary(reply, State::Complete),
            Self::Messages => messages::unary(reply),
        }
    }

    /// The whole answer as events.
    pub(super) fn stream(self, tape: &mut Tape, reply: &Reply<'_>) {
        match self {
            Self::Chat => chat::stream(tape, reply),
            Self::Responses => responses::stream(tape, reply),
            Self::Messages => messages::stream(tape, reply),
        }
    }

    /// The event that says that something went wrong.
    pub(super) fn error(self, tape: &mut Tape, failure: &Failure<'_>, hash: &str) {
        match self {
            Self::Chat => {
                tape.data(|o| failure.envelope(o, self, hash));
            }
            Self::Responses => responses::error(tape, failure),
            Self::Messages => {
                tape.event("error", |o| failure.anthropic(o, hash));
            }
        }
    }
}
