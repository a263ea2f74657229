//! The facts that both sides of a translation share.

use bytes::Bytes;

use super::ids::base62;
use super::{
    CallIdSet, Caps, Carrier, Compaction, Losses, Profile, PropertyNames, ProtocolId, Sealer, ToolNames,
};
use crate::json::JsonStr;

/// The provider and model that a request is written for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// The protocol spoken to it.
    pub protocol: ProtocolId,
    /// The provider's name in the configuration, which is the origin in the carriers that are sealed for it.
    pub origin: &'t str,
    /// The provider's own name of the model.
    pub model: &'t str,
    /// The provider's habits.
    pub profile: &'t Profile,
    /// The capabilities of the model.
    pub caps: &'t Caps,
    /// The sealer of the calling account, which opens its carriers.
    pub sealer: &'t Sealer,
}

/// The facts of a request that its answer is written from.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The gateway's id of the request.
    pub request_id: String,
    /// Arrival time of the request, in seconds since the epoch.
    pub now: u64,
    /// The model as the client named it.
    pub model: JsonStr<'static>,
    /// The provider's name in the configuration.
    pub origin: String,
    /// The provider's own name of the model.
    pub upstream_model: String,
    /// The sealer of the calling account, which seals its carriers.
    pub sealer: Sealer,
    /// Whether a Chat client wants the usage of its stream.
    pub include_usage: bool,
    /// Whether the client wants to see the reasoning. Absent: as its protocol does without being told.
    pub show_reasoning: Option<bool>,
    /// Whether the provider wants plain reasoning back in later turns.
    pub returns_reasoning: bool,
    /// Members of the request that a Responses answer repeats, already written as JSON.
    pub echo: Bytes,
    /// Stop sequences, as the client sent them.
    pub stop: Vec<String>,
    /// Tools that client and provider know by different names.
    pub names: ToolNames,
    /// Properties of tools that client and provider know by different names.
    pub properties: PropertyNames,
    /// The ids of the conversation's calls, as the client knows them.
    pub call_ids: CallIdSet,
    /// The tool by which the provider was made to answer in the requested format, if it was.
    pub answer_tool: Option<&'static str>,
    /// The beginning of the answer that the request gave, if the provider repeats it.
    pub prefix: Option<String>,
    /// The compaction that the answer is, if the client asked for one.
    pub compaction: Option<Compaction>,
}

impl Target<'_> {
    /// Opens a carrier that the client sent; `None`, and a count in `losses`, if it is not for this provider and
    /// model.
    #[must_use]
    pub fn open(&self, text: &str, losses: &mut Losses) -> Option<Carrier> {
        Carrier::open(text, self.sealer, self.origin, self.model)
            .map_err(|rejection| losses.reject(rejection))
            .ok()
    }
}

impl Context {
    /// Returns the text in which a client carries reasoning of the answering provider.
    #[must_use]
    pub fn seal(&self, carrier: &Carrier) -> String {
        carrier.seal(&self.sealer, &self.origin, &self.upstream_model)
    }

    /// Returns the bytes that a stream writes in the place of the echo. For a large echo these are [`ECHO_MARK`],
    /// in whose place [`Context::large_echo`] is sent without a copy.
    #[must_use]
    pub fn echo_in_stream(&self) -> &[u8] {
        if self.large_echo().is_some() { ECHO_MARK } else { &self.echo }
    }

    /// Returns the echo if it is too large to be written into every event that repeats it.
    #[must_use]
    pub fn large_echo(&self) -> Option<&Bytes> {
        Some(&self.echo).filter(|echo| echo.len() > MAX_COPIED_ECHO_BYTES)
    }

    /// Returns the number of bytes of the request that the context keeps alive.
    #[must_use]
    pub fn size(&self) -> usize {
        let stop: usize = self.stop.iter().map(String::len).sum();
        self.echo.len() + stop + self.call_ids.size() + self.prefix.as_ref().map_or(0, String::len)
    }

    /// Returns the part of the answer's id that follows `chatcmpl-`, `resp_` or `msg_` in each protocol.
    ///
    /// It is the provider's own id without its prefix. If the provider gave none, it is derived from the id of the
    /// request, so that it stays the same for the whole answer.
    #[must_use]
    pub fn answer_id(&self, upstream: Option<&str>) -> String {
        let id = upstream.unwrap_or_default();
        let own = PREFIXES.iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
        if own.is_empty() {
            return made_up_id(&self.request_id);
        }
        let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
        own.chars().map(allowed).take(MAX_ANSWER_ID_LEN).collect()
    }
}

/// Returns the id of an answer to which the provider has given none, without a prefix.
#[must_use]
pub(crate) fn made_up_id(request_id: &str) -> String {
    base62(request_id, MADE_UP_ID_LEN)
}

/// Placeholder for an echo that is not written yet. JSON never contains a NUL byte, so the mark cannot occur in
/// it.
pub const ECHO_MARK: &[u8] = b"\0echo\0";

/// Largest echo that is copied into every event, in bytes: 16 KiB. Larger ones are sent by reference.
const MAX_COPIED_ECHO_BYTES: usize = 16 << 10;

/// The prefixes of the ids of answers.
const PREFIXES: [&str; 4] = ["chatcmpl-", "resp_", "msg_", "gen-"];

/// Maximum number of characters that are kept of a provider's id. Ids of items are longer, and Responses allows
/// 64.
const MAX_ANSWER_ID_LEN: usize = 48;

/// Number of characters in an id that the gateway makes up.
const MADE_UP_ID_LEN: usize = 24;

/// The name of the tool in [`Context::answer_tool`].
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
