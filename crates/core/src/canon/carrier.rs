//! Reasoning that only its provider can read, carried through a protocol that has another form for it.
//!
//! Signatures, encrypted reasoning and the like go to the client in the opaque field of its protocol, as a
//! [`Carrier`]: a text that holds the provider's own blocks unchanged. Only a [`Sealer`] of the same account opens
//! it. When the client sends it back, the same provider and model get their blocks byte for byte, and nobody else
//! does.

use crate::json::{self, JsonStr, Raw, write};

use super::sealer::is_carrier;
use super::{Rejection, Sealer};

/// Reasoning blocks of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// The blocks, in the provider's own form.
    pub blocks: Vec<Raw<'static>>,
}

/// State of reasoning that only its provider can read, as the provider sends it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Seal<'a> {
    /// The signature of a Messages `thinking` block, whose text came before.
    Signature(JsonStr<'a>),
    /// The data of a Messages `redacted_thinking` block.
    Redacted(JsonStr<'a>),
    /// The encrypted content of a Responses `reasoning` item.
    Encrypted {
        /// The item's id.
        id: Option<JsonStr<'a>>,
        /// The content.
        content: JsonStr<'a>,
        /// The item's `summary`, an array.
        summary: Option<Raw<'a>>,
    },
    /// Chat's `reasoning_details`, an array.
    Details(Raw<'a>),
    /// Chat's plain reasoning, for a provider that wants it back in the next turn. The reasoning's text came
    /// before.
    Plain,
    /// The signature of a Gemini text or thought, which came before.
    Text(JsonStr<'a>),
    /// State that the provider has bound to a call.
    Call {
        /// The key of the call.
        key: u32,
        /// The call's id; empty if the provider gave none.
        id: JsonStr<'a>,
        /// The value.
        extra: Raw<'a>,
    },
}

/// State of reasoning as a client sends it back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Sealed<'a> {
    /// In a carrier of this gateway.
    Carried(Carrier),
    /// A `thinking` block of the Messages protocol: its whole JSON.
    Thinking(Raw<'a>),
    /// A `reasoning` item of the Responses protocol: its whole JSON.
    Item(Raw<'a>),
    /// Chat's `reasoning_details`, an array.
    Details(Raw<'a>),
}

impl Carrier {
    /// Returns the text that a client carries for these blocks, sealed for a model of the provider `origin`.
    #[must_use]
    pub fn seal(&self, sealer: &Sealer, origin: &str, model: &str) -> String {
        let mut json = Vec::new();
        write::array(&mut json, |list| {
            for block in &self.blocks {
                list.raw(block);
            }
        });
        sealer.seal(origin, model, &json)
    }

    /// Opens a text that a client sent back, for the provider and model that its request goes to.
    ///
    /// # Errors
    /// Returns the [`Rejection`] if the text is not a valid carrier of this account for this provider and model.
    pub fn open(text: &str, sealer: &Sealer, origin: &str, model: &str) -> Result<Self, Rejection> {
        let blocks = sealer.open(text, origin, model)?;
        Ok(Self { blocks: read_blocks(&blocks).ok_or(Rejection::Damaged)? })
    }

    /// Opens a text that a client sent back, whichever provider and model it is from.
    pub(super) fn open_from_any(text: &str, sealer: &Sealer) -> Result<Self, Rejection> {
        let blocks = sealer.open_from_any(text)?;
        Ok(Self { blocks: read_blocks(&blocks).ok_or(Rejection::Damaged)? })
    }

    /// Whether this text is meant to be a carrier, damaged or not.
    #[must_use]
    pub fn is_carrier(text: &str) -> bool {
        is_carrier(text)
    }
}

impl Seal<'_> {
    /// Returns the provider's own block for this state; `text` is the text of the reasoning.
    #[must_use]
    pub fn block(&self, text: &JsonStr<'_>) -> Raw<'static> {
        let mut out = Vec::new();
        write::object(&mut out, |o| {
            match self {
                Self::Signature(signature) => {
                    o.text("type", "thinking").json_str("thinking", text).json_str("signature", signature)
                }
                Self::Redacted(data) => o.text("type", "redacted_thinking").json_str("data", data),
                Self::Encrypted { content, summary, .. } => {
                    o.json_str("encrypted_content", content);
                    o.json("summary", summary.as_ref().map_or("[]", Raw::get))
                }
                Self::Details(entries) => o.raw("reasoning_details", entries),
                Self::Plain => o.json_str("reasoning_content", text),
                Self::Text(signature) => o.json_str("thoughtSignature", signature),
                Self::Call { id, extra, .. } => o.object("tc", |calls| {
                    calls.raw(id.raw(), extra);
                }),
            };
        });
        // What the writer makes of valid parts is valid.
        String::from_utf8(out).ok().and_then(Raw::read_owned).unwrap_or(Raw::constant("{}"))
    }

    /// Returns the value without a borrow from the event that it came in.
    #[must_use]
    pub fn into_owned(self) -> Seal<'static> {
        match self {
            Self::Signature(text) => Seal::Signature(text.into_owned()),
            Self::Redacted(data) => Seal::Redacted(data.into_owned()),
            Self::Encrypted { id, content, summary } => Seal::Encrypted {
                id: id.map(JsonStr::into_owned),
                content: content.into_owned(),
                summary: summary.map(Raw::into_owned),
            },
            Self::Details(entries) => Seal::Details(entries.into_owned()),
            Self::Plain => Seal::Plain,
            Self::Text(signature) => Seal::Text(signature.into_owned()),
            Self::Call { key, id, extra } => {
                Seal::Call { key, id: id.into_owned(), extra: extra.into_owned() }
            }
        }
    }
}

fn read_blocks(array: &str) -> Option<Vec<Raw<'static>>> {
    let mut blocks = Vec::new();
    for element in json::elements(array.as_bytes()) {
        let (_, span) = element.ok()?;
        blocks.push(Raw::read(array.get(span)?)?.into_owned());
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::SealKey;

    #[test]
    fn blocks_come_back_byte_for_byte() {
        let sealer = Sealer::new(&SealKey::new([1; 32]), "a");
        let open = |text: &str, model: &str| Carrier::open(text, &sealer, "anthropic", model);
        let seal = Seal::Signature(JsonStr::plain("S=="));
        let carrier = Carrier { blocks: vec![seal.block(&JsonStr::plain(r"a\u00e9"))] };
        let text = carrier.seal(&sealer, "anthropic", "claude-x");
        assert!(Carrier::is_carrier(&text));
        let back = open(&text, "claude-x").unwrap();
        assert_eq!(back, carrier);
        assert_eq!(back.blocks[0].get(), r#"{"type":"thinking","thinking":"a\u00e9","signature":"S=="}"#);
        assert_eq!(open(&text, "claude-y"), Err(Rejection::Foreign));
        let no_json = sealer.seal("anthropic", "claude-x", b"[");
        assert_eq!(open(&no_json, "claude-x"), Err(Rejection::Damaged));
    }

    #[test]
    fn each_kind_of_state_has_its_own_block() {
        let summary = Some(Raw::constant("[]"));
        let encrypted = Seal::Encrypted { id: None, content: JsonStr::plain("E"), summary };
        assert_eq!(encrypted.block(&JsonStr::default()).get(), r#"{"encrypted_content":"E","summary":[]}"#);
        assert_eq!(Seal::Plain.block(&JsonStr::plain("t")).get(), r#"{"reasoning_content":"t"}"#);
        let call = Seal::Call { key: 0, id: JsonStr::plain("c"), extra: Raw::constant(r#"{"google":1}"#) };
        assert_eq!(call.block(&JsonStr::default()).get(), r#"{"tc":{"c":{"google":1}}}"#);
    }
}
