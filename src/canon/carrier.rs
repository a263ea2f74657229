//! Reasoning that only its provider can read, on its way through a protocol that has another form for it.
//!
//! Signatures, encrypted reasoning and the like go out to the client in that protocol's own opaque field, as
//! a [`Carrier`]: a tagged text that names its origin and holds the provider's own blocks, whole. When the
//! client sends it back, the same provider and model get their blocks byte for byte, and nobody else does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::json::{self, Lit, Raw, write};

/// Blocks of a provider, with their origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// The provider's name in the configuration.
    pub origin: String,
    /// The provider's name of the model.
    pub model: String,
    /// The blocks, in the provider's own form.
    pub blocks: Vec<Raw<'static>>,
}

/// State of reasoning that only its provider can read, as the provider sends it.
#[derive(Clone, Debug)]
pub enum Seal<'a> {
    /// The signature of a Messages `thinking` block, whose text came before.
    Signature(Lit<'a>),
    /// The data of a Messages `redacted_thinking` block.
    Redacted(Lit<'a>),
    /// The encrypted content of a Responses `reasoning` item.
    Encrypted {
        /// The item's id.
        id: Option<Lit<'a>>,
        /// The content.
        content: Lit<'a>,
        /// The item's `summary`, an array.
        summary: Option<Raw<'a>>,
    },
    /// Chat's `reasoning_details`, an array.
    Details(Raw<'a>),
    /// Chat's plain reasoning, which its provider wants back: the member in which it stood. Its text came before.
    Plain,
    /// The state that is bound to a call: its id, and the value of `extra_content`.
    Call {
        /// Which of the calls.
        key: u32,
        /// The call's id; empty if the provider gave none.
        id: Lit<'a>,
        /// The value.
        extra: Raw<'a>,
    },
}

/// State of reasoning as a client sends it back.
#[derive(Clone, Debug)]
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
    /// The text that a client carries.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut json = Vec::new();
        write::object(&mut json, |o| {
            o.text("o", &self.origin).text("m", &self.model);
            o.array("b", |list| {
                for block in &self.blocks {
                    list.raw(block);
                }
            });
        });
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }

    /// Reads a text that a client has carried; `None` for whatever is none, or is damaged.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX).filter(|encoded| encoded.len() <= LARGEST)?;
        let json = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
        let (mut origin, mut model, mut blocks) = (None, None, None);
        let mut members = json::members(json.as_bytes());
        for member in members.by_ref() {
            let member = member.ok()?;
            match member.key {
                b"o" => origin = Some(member.text()?.into_owned()),
                b"m" => model = Some(member.text()?.into_owned()),
                b"b" => blocks = Some(read_blocks(json.get(member.span)?)?),
                _ => {}
            }
        }
        members.finish().ok()?;
        Some(Self { origin: origin?, model: model?, blocks: blocks? })
    }

    /// Is this text meant to be a carrier, damaged or not?
    #[must_use]
    pub fn is_carrier(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Is it from this provider and this model?
    #[must_use]
    pub fn is_from(&self, origin: &str, model: &str) -> bool {
        self.origin == origin && self.model == model
    }
}

impl Seal<'_> {
    /// The provider's own block for this state and the reasoning's text (the inside of a literal).
    #[must_use]
    pub fn block(&self, text: &Lit<'_>) -> Raw<'static> {
        let mut out = Vec::new();
        write::object(&mut out, |o| {
            match self {
                Self::Signature(signature) => {
                    o.text("type", "thinking").lit("thinking", text).lit("signature", signature)
                }
                Self::Redacted(data) => o.text("type", "redacted_thinking").lit("data", data),
                Self::Encrypted { content, summary, .. } => {
                    o.lit("encrypted_content", content);
                    o.json("summary", summary.as_ref().map_or("[]", Raw::get))
                }
                Self::Details(entries) => o.raw("reasoning_details", entries),
                Self::Plain => o.lit("reasoning_content", text),
                Self::Call { id, extra, .. } => o.object("tc", |calls| {
                    calls.raw(id.raw(), extra);
                }),
            };
        });
        // What the writer makes of valid parts is valid.
        String::from_utf8(out).ok().and_then(Raw::read_owned).unwrap_or(Raw::constant("{}"))
    }

    /// The same without a tie to the event that said it.
    #[must_use]
    pub fn into_owned(self) -> Seal<'static> {
        match self {
            Self::Signature(text) => Seal::Signature(text.into_owned()),
            Self::Redacted(data) => Seal::Redacted(data.into_owned()),
            Self::Encrypted { id, content, summary } => Seal::Encrypted {
                id: id.map(Lit::into_owned),
                content: content.into_owned(),
                summary: summary.map(Raw::into_owned),
            },
            Self::Details(entries) => Seal::Details(entries.into_owned()),
            Self::Plain => Seal::Plain,
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

/// What every carrier begins with: the gateway, and the version of the form.
const PREFIX: &str = "cm1.";

/// Bytes of a carrier, as text: 1 MiB of JSON.
const LARGEST: usize = (1 << 20) / 3 * 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn carrier() -> Carrier {
        let seal = Seal::Signature(Lit::plain("S=="));
        Carrier {
            origin: "anthropic".into(),
            model: "claude-x".into(),
            blocks: vec![seal.block(&Lit::plain(r"a\u00e9"))],
        }
    }

    #[test]
    fn blocks_come_back_byte_for_byte() {
        let text = carrier().encode();
        assert!(Carrier::is_carrier(&text) && !text.contains('='));
        let back = Carrier::decode(&text).unwrap();
        assert_eq!(back, carrier());
        assert_eq!(back.blocks[0].get(), r#"{"type":"thinking","thinking":"a\u00e9","signature":"S=="}"#);
        assert!(back.is_from("anthropic", "claude-x") && !back.is_from("anthropic", "claude-y"));
    }

    #[test]
    fn damage_makes_it_absent() {
        let text = carrier().encode();
        for bad in ["", "cm1.", "cm1.####", "cm2.e30", "cm1.e30", text.split_at(text.len() - 5).0] {
            assert_eq!(Carrier::decode(bad), None, "{bad}");
        }
        assert_eq!(Carrier::decode(&format!("cm1.{}", "A".repeat(LARGEST + 1))), None);
    }

    #[test]
    fn each_kind_of_state_has_its_own_block() {
        let summary = Some(Raw::constant("[]"));
        let encrypted = Seal::Encrypted { id: None, content: Lit::plain("E"), summary };
        assert_eq!(encrypted.block(&Lit::default()).get(), r#"{"encrypted_content":"E","summary":[]}"#);
        assert_eq!(Seal::Plain.block(&Lit::plain("t")).get(), r#"{"reasoning_content":"t"}"#);
        let call = Seal::Call { key: 0, id: Lit::plain("c"), extra: Raw::constant(r#"{"google":1}"#) };
        assert_eq!(call.block(&Lit::default()).get(), r#"{"tc":{"c":{"google":1}}}"#);
    }
}
