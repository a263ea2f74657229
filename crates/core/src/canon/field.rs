//! Handling of each top-level member of a request that is translated into another protocol.
//!
//! One table per protocol directs the decoders, and the guide's page on fidelity is generated from it.

use super::ProtocolId;

/// A top-level member of a protocol's requests.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The handling for each protocol of the provider, in the order of [`ProtocolId`].
    pub to: [FieldPolicy; 4],
    /// Values without an effect, which can be left out without a loss. Null always is one.
    pub neutral: &'static [&'static str],
    /// A sample value, as JSON, with which tests try the table.
    pub sample: &'static str,
}

/// The policy for a member in another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldPolicy {
    /// The provider speaks the same protocol: the member is relayed.
    Own,
    /// The member is translated, as far as the model allows.
    Mapped,
    /// The member is copied unchanged.
    Forwarded,
    /// The member is left out, and the client is told.
    Dropped,
    /// The member is left out, and nothing is lost by it.
    Silent,
    /// The request is refused.
    Refused,
}

impl Field {
    /// Returns the same member with another handling for Gemini.
    #[must_use]
    pub const fn in_gemini(self, policy: FieldPolicy) -> Self {
        let [chat, responses, messages, _] = self.to;
        Self { to: [chat, responses, messages, policy], ..self }
    }

    /// Returns the handling for a provider that speaks `upstream`.
    #[must_use]
    pub fn policy(&self, upstream: ProtocolId) -> FieldPolicy {
        match upstream {
            ProtocolId::Chat => self.to[0],
            ProtocolId::Responses => self.to[1],
            ProtocolId::Messages => self.to[2],
            ProtocolId::Gemini => self.to[3],
        }
    }

    /// Whether this value means nothing.
    #[must_use]
    pub fn is_neutral(&self, value: &str) -> bool {
        self.neutral.contains(&value)
    }
}
