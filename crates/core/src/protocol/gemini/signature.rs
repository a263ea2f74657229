//! Carriers in the form of this protocol's signatures.
//!
//! SDKs decode a signature from base 64 and encode it again, in the alphabet for URLs, so a carrier has to be base 64
//! of something.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::canon::{Losses, Sealed, Target};
use crate::json::{JsonStr, Raw};
use crate::protocol::carriers::ENCODED_PREFIXES;
use crate::protocol::pick::{elements, fields_named, members};

/// The word that Google documents for calls whose signature is missing.
pub(super) const NO_STATE: &str = "skip_thought_signature_validator";

/// The format of Chat's reasoning details that come from this protocol.
const FORMAT: &str = "google-gemini-v1";

/// Returns the signature that a client carries.
pub(super) fn of_carrier(carrier: &str) -> String {
    STANDARD.encode(carrier)
}

/// Opens the carrier in a signature; `None` if it is none, or not for this provider and model.
pub(super) fn open(
    signature: &JsonStr<'_>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Option<Sealed<'static>> {
    if !ENCODED_PREFIXES.iter().any(|prefix| signature.raw().starts_with(prefix)) {
        return None;
    }
    let standard = standard_alphabet(&signature.decode()).into_owned();
    let text = LENIENT.decode(standard).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    target.open(&text.unwrap_or_default(), losses).map(Sealed::Carried)
}

/// Returns data in the standard alphabet of base 64, with padding.
pub(super) fn standard_alphabet(data: &str) -> Cow<'_, str> {
    let is_standard = data.len().is_multiple_of(4) && !data.bytes().any(|byte| matches!(byte, b'-' | b'_'));
    if is_standard {
        return Cow::Borrowed(data);
    }
    let mut out = data.trim_end_matches('=').replace('-', "+").replace('_', "/");
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    Cow::Owned(out)
}

/// State of this provider, as other protocols bring it back.
#[derive(Debug, Default)]
pub(super) struct PastState<'r> {
    /// The signatures of calls, by the calls' ids, which are insides of literals.
    pub(super) of_calls: Vec<(Cow<'r, str>, Cow<'r, str>)>,
    /// The signatures of texts and thoughts.
    pub(super) of_texts: Vec<Cow<'r, str>>,
}

impl<'r> PastState<'r> {
    /// Reads the state in a part of reasoning.
    pub(super) fn read(&mut self, sealed: &'r Sealed<'_>) {
        match sealed {
            Sealed::Carried(carrier) => carrier.blocks.iter().for_each(|block| self.block(block)),
            Sealed::Details(entries) => elements(entries.get()).for_each(|entry| self.detail(entry)),
            Sealed::Thinking(_) | Sealed::Item(_) => {}
        }
    }

    fn block(&mut self, block: &'r Raw<'_>) {
        let [calls, signature] = fields_named(block.get(), ["tc", "thoughtSignature"]);
        self.of_texts.extend(signature.and_then(inner).map(Cow::Borrowed));
        for (id, extra) in members(calls.unwrap_or("{}")) {
            let id = std::str::from_utf8(id).unwrap_or_default();
            if let Some(signature) = of_extra(extra) {
                self.of_calls.push((JsonStr::part(id).decode().into_owned().into(), signature.into()));
            }
        }
    }

    fn detail(&mut self, entry: &'r str) {
        let [format, data] = fields_named(entry, ["format", "data"]);
        if format.and_then(inner) == Some(FORMAT) {
            self.of_texts.extend(data.and_then(inner).map(Cow::Borrowed));
        }
    }
}

/// Returns the signature in the state of a call, `{"google":{"thought_signature":…}}`, as the inside of a literal.
pub(super) fn of_extra(extra: &str) -> Option<&str> {
    let [google] = fields_named(extra, ["google"]);
    let [signature] = fields_named(google?, ["thought_signature"]);
    signature.and_then(inner).filter(|signature| !signature.is_empty())
}

/// Returns the inside of a literal.
fn inner(literal: &str) -> Option<&str> {
    literal.strip_prefix('"')?.strip_suffix('"')
}

/// A base 64 decoder that accepts data with or without padding.
pub(super) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriers_begin_as_they_are_searched_for() {
        for (carrier, prefix) in [("cm2.A", ENCODED_PREFIXES[0]), ("cm1.e", ENCODED_PREFIXES[1])] {
            assert!(of_carrier(carrier).starts_with(prefix), "{}", of_carrier(carrier));
        }
    }

    #[test]
    fn both_alphabets_are_read() {
        assert_eq!(standard_alphabet("a-_b"), "a+/b");
        assert_eq!(standard_alphabet("ab"), "ab==");
        assert_eq!(standard_alphabet("ab=="), "ab==");
    }
}
