//! What becomes of each top-level member of a request on its way into another protocol.
//!
//! One table per protocol is both what the decoders act by and what the page on fidelity is made of.

use super::ProtocolId;

/// A top-level member of a protocol's requests.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What becomes of it, by the protocol of the provider in the order of [`ProtocolId`].
    pub to: [FieldPolicy; 3],
    /// Values that mean nothing, so that leaving them out loses nothing. Null always is one.
    pub neutral: &'static [&'static str],
    /// A value with which the table is tried, as JSON.
    pub sample: &'static str,
}

/// The policy for a member in another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldPolicy {
    /// It is the protocol's own: a relay.
    Own,
    /// It is read, and said in the other protocol's words as far as the model allows.
    Mapped,
    /// It is copied as it is.
    Forwarded,
    /// It is left out, and the client is told.
    Dropped,
    /// It is left out, and nothing is lost by it.
    Silent,
    /// The request is refused.
    Refused,
}

impl Field {
    /// What becomes of it on its way to a provider that speaks `upstream`.
    #[must_use]
    pub fn policy(&self, upstream: ProtocolId) -> FieldPolicy {
        match upstream {
            ProtocolId::Chat => self.to[0],
            ProtocolId::Responses => self.to[1],
            ProtocolId::Messages => self.to[2],
        }
    }

    /// Whether this value means nothing.
    #[must_use]
    pub fn is_neutral(&self, value: &str) -> bool {
        self.neutral.contains(&value)
    }
}
