//! What both sides of a translation have to know of each other.

use bytes::Bytes;

use super::ids::base62;
use super::{Caps, Carrier, Losses, Profile, ProtocolId, Sealer, ToolNames};
use crate::json::JsonStr;

/// Who a request is written for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// The protocol spoken to it.
    pub protocol: ProtocolId,
    /// The provider's name in the configuration: the origin of what it seals.
    pub origin: &'t str,
    /// The provider's own name of the model.
    pub model: &'t str,
    /// The provider's habits.
    pub profile: &'t Profile,
    /// What the model can do.
    pub caps: &'t Caps,
    /// Opens the carriers of the account whose request it is.
    pub sealer: &'t Sealer,
}

/// What an answer has to know of its request.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The gateway's id of the request.
    pub request_id: String,
    /// Seconds since the epoch, when the request came.
    pub now: u64,
    /// The model as the client named it.
    pub model: JsonStr<'static>,
    /// The provider's name in the configuration.
    pub origin: String,
    /// The provider's own name of the model.
    pub upstream_model: String,
    /// Seals the carriers of the account that is answered.
    pub sealer: Sealer,
    /// Whether a Chat client wants the usage of its stream.
    pub include_usage: bool,
    /// Whether the client wants to see the reasoning. Absent: as its protocol does without being told.
    pub show_reasoning: Option<bool>,
    /// Whether the provider wants plain reasoning back in later turns.
    pub returns_reasoning: bool,
    /// Members of the request that a Responses answer repeats, written already.
    pub echo: Bytes,
    /// The texts that end the answer, as the client sent them.
    pub stop: Vec<String>,
    /// Tools that client and provider know by different names.
    pub names: ToolNames,
    /// The tool by which the provider was made to answer in a certain form, if it was.
    pub answer_tool: Option<&'static str>,
    /// The beginning of the answer that the request gave, where the provider repeats it.
    pub prefix: Option<String>,
}

impl Target<'_> {
    /// The carrier that a client has sent, if there is anything in it for this provider and model.
    #[must_use]
    pub fn open(&self, text: &str, losses: &mut Losses) -> Option<Carrier> {
        Carrier::open(text, self.sealer, self.origin, self.model)
            .map_err(|rejection| losses.reject(rejection))
            .ok()
    }
}

impl Context {
    /// The text in which a client carries reasoning of the provider that answers.
    #[must_use]
    pub fn seal(&self, carrier: &Carrier) -> String {
        carrier.seal(&self.sealer, &self.origin, &self.upstream_model)
    }

    /// The bytes that a stream writes in the place of the echo: the echo itself or, where that is large, a mark, in the place of
    /// which [`Context::large_echo`] is sent without a copy.
    #[must_use]
    pub fn echo_in_stream(&self) -> &[u8] {
        if self.large_echo().is_some() { ECHO_MARK } else { &self.echo }
    }

    /// The echo, if it is too large to be written into every event that repeats it.
    #[must_use]
    pub fn large_echo(&self) -> Option<&Bytes> {
        Some(&self.echo).filter(|echo| echo.len() > MAX_COPIED_ECHO_BYTES)
    }

    /// Bytes of the request that live on in here.
    #[must_use]
    pub fn size(&self) -> usize {
        let stop: usize = self.stop.iter().map(String::len).sum();
        self.echo.len() + stop + self.prefix.as_ref().map_or(0, String::len)
    }

    /// The part that the ids of an answer have in common in all protocols, behind `chatcmpl-`, `resp_` or
    /// `msg_`: the provider's own id without such a beginning or, where it gave none, one that is made from
    /// the id of the request, so that it stays the same for the whole answer.
    #[must_use]
    pub fn answer_id(&self, upstream: Option<&str>) -> String {
        let id = upstream.unwrap_or_default();
        let own = PREFIXES.iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
        if own.is_empty() {
            return base62(&self.request_id, MADE_UP_ID_LEN);
        }
        let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
        own.chars().map(allowed).take(MAX_ANSWER_ID_LEN).collect()
    }
}

/// Stands for an echo that is not written yet. No JSON has such a character.
pub const ECHO_MARK: &[u8] = b"\0echo\0";

/// Bytes of an echo that are copied without a thought.
const MAX_COPIED_ECHO_BYTES: usize = 16 << 10;

/// How the ids of answers begin.
const PREFIXES: [&str; 4] = ["chatcmpl-", "resp_", "msg_", "gen-"];

/// Characters of a provider's id that are kept: ids of items, which are longer, may have 64 in Responses.
const MAX_ANSWER_ID_LEN: usize = 48;

/// Characters of an id that the gateway makes up.
const MADE_UP_ID_LEN: usize = 24;

/// The tool of [`Context::answer_tool`].
pub const ANSWER_TOOL: &str = "structured_output";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_providers_own_without_its_prefix() {
        let context = Context { request_id: "req_1".into(), ..Context::default() };
        assert_eq!(context.answer_id(Some("chatcmpl-a.b:c")), "a_b_c");
        assert_eq!(context.answer_id(Some("gen-123")), "123");
        assert_eq!(context.answer_id(Some(&"x".repeat(99))).len(), 48);
        let made_up = context.answer_id(None);
        assert_eq!((made_up.len(), &made_up), (24, &context.answer_id(Some("resp_"))));
        assert!(made_up.chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
