//! The three protocols, and the headers that a provider of each sends.

use super::script::Headers;

/// A protocol the demo speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DemoProtocol {
    Chat,
    Responses,
    Messages,
}

impl DemoProtocol {
    /// Returns the model for requests that name none.
    pub(super) fn model(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    /// Returns the headers of an answer.
    pub(super) fn headers(self, kind: &str, hash: &str) -> Headers {
        let (kind, id) = (("content-type", kind.to_owned()), format!("req_demo_{hash}"));
        if self == Self::Messages {
            return vec![kind, ("request-id", id)];
        }
        let organization = ("openai-organization", "demo-org".to_owned());
        vec![kind, ("x-request-id", id), organization, ("x-ratelimit-remaining-requests", "9".to_owned())]
    }
}

/// The content type of a whole answer.
pub(super) const JSON: &str = "application/json";
