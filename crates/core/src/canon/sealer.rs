//! The seal that tells the gateway's own carriers from any other text.
//!
//! Clients hold carriers between two turns. Each carrier bears an authentication code over the account that it was
//! given to, the provider and model of its blocks, and the blocks themselves. So nobody can make one up, change
//! one, or use one of another account. The names of provider and model are in it only as a keyed hash. There is no
//! randomness in it: the same reasoning always gives the same text.

use std::fmt;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The secret key of all carriers, shared by the gateways of one store.
#[derive(Clone)]
pub struct SealKey(Arc<[u8; KEY]>);

/// The sealer of one account's carriers. A sealer without a key seals and opens nothing.
#[derive(Clone, Default)]
pub struct Sealer(Option<Arc<Keys>>);

struct Keys {
    key: SealKey,
    account: String,
    /// The account's own key, derived when the first carrier is met: most calls meet none.
    derived: OnceLock<Hmac<Sha256>>,
}

/// The reason for which a carrier is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// It has the form of an earlier version, which had no authentication code.
    Old,
    /// It is cut off, too large, or otherwise malformed.
    Damaged,
    /// Its code is wrong: it was made up, changed or given to another account.
    Forged,
    /// It is from another provider or model.
    Foreign,
}

/// The numbers of carriers that were not opened, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejections([u32; Rejection::ALL.len()]);

impl SealKey {
    /// Creates a key from its bytes.
    #[must_use]
    pub fn new(bytes: [u8; KEY]) -> Self {
        Self(Arc::new(bytes))
    }
}

impl Sealer {
    /// Creates the sealer of an account.
    #[must_use]
    pub fn new(key: &SealKey, account: &str) -> Self {
        let (key, account) = (key.clone(), account.to_owned());
        Self(Some(Arc::new(Keys { key, account, derived: OnceLock::new() })))
    }

    /// Seals blocks that came from a model of the provider `origin`.
    #[must_use]
    pub fn seal(&self, origin: &str, model: &str, payload: &[u8]) -> String {
        let Some(keys) = &self.0 else { return PREFIX.to_owned() };
        let from = keys.name(origin, model);
        let mut sealed = Vec::with_capacity(HEAD + payload.len());
        sealed.extend_from_slice(&from);
        sealed.extend_from_slice(&keys.code(&from, payload));
        sealed.extend_from_slice(payload);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens a carrier: returns the blocks that [`Sealer::seal`] got, if account, provider and model are the same.
    ///
    /// # Errors
    /// Returns the [`Rejection`] if the text is not a valid carrier of this account, provider and model.
    pub fn open(&self, text: &str, origin: &str, model: &str) -> Result<String, Rejection> {
        self.open_if(text, |keys, from| *from == keys.name(origin, model))
    }

    /// Opens a carrier of this account like [`Sealer::open`], whichever provider and model it is from.
    pub(super) fn open_from_any(&self, text: &str) -> Result<String, Rejection> {
        self.open_if(text, |_, _| true)
    }

    fn open_if(&self, text: &str, is_ours: impl Fn(&Keys, &[u8; NAME]) -> bool) -> Result<String, Rejection> {
        if text.starts_with(OLD_PREFIX) {
            return Err(Rejection::Old);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(Rejection::Damaged)?;
        if encoded.len() > MAX_CARRIER_LEN {
            return Err(Rejection::Damaged);
        }
        let mut sealed = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Rejection::Damaged)?;
        let keys = self.0.as_ref().ok_or(Rejection::Forged)?;
        let (from, rest) = sealed.split_first_chunk::<NAME>().ok_or(Rejection::Damaged)?;
        let (code, payload) = rest.split_first_chunk::<CODE>().ok_or(Rejection::Damaged)?;
        keys.over(from, payload).verify_truncated_left(code).map_err(|_| Rejection::Forged)?;
        if !is_ours(keys, from) {
            return Err(Rejection::Foreign);
        }
        String::from_utf8(sealed.split_off(HEAD)).map_err(|_| Rejection::Damaged)
    }
}

impl Keys {
    /// Returns the keyed hash of a provider and a model, which does not reveal their names.
    fn name(&self, origin: &str, model: &str) -> [u8; NAME] {
        let mut hash = self.account();
        hash.update(b"from");
        hash.update(&(origin.len() as u64).to_be_bytes());
        hash.update(origin.as_bytes());
        hash.update(model.as_bytes());
        truncated(hash)
    }

    fn code(&self, from: &[u8; NAME], payload: &[u8]) -> [u8; CODE] {
        truncated(self.over(from, payload))
    }

    fn over(&self, from: &[u8; NAME], payload: &[u8]) -> Hmac<Sha256> {
        let mut code = self.account();
        code.update(b"code");
        code.update(from);
        code.update(payload);
        code
    }

    /// Returns a MAC with the account's own key, over nothing yet.
    fn account(&self) -> Hmac<Sha256> {
        let derive = || {
            let mut derived = keyed(&self.key.0);
            derived.update(self.account.as_bytes());
            keyed(&derived.finalize().into_bytes().into())
        };
        self.derived.get_or_init(derive).clone()
    }
}

fn keyed(key: &[u8; KEY]) -> Hmac<Sha256> {
    // HMAC fills up a key that is shorter than the hash's block with zeros.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new(&block)
}

fn truncated<const N: usize>(code: Hmac<Sha256>) -> [u8; N] {
    code.finalize().into_bytes().first_chunk().copied().unwrap_or([0; N])
}

/// Whether a text has the prefix of a carrier, of this version or the one before, damaged or not.
pub(super) fn is_carrier(text: &str) -> bool {
    PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

impl Rejection {
    /// All reasons, in the order of [`Rejections`].
    pub const ALL: [Self; 4] = [Self::Old, Self::Damaged, Self::Forged, Self::Foreign];

    /// The name of the reason in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::Damaged => "damaged",
            Self::Forged => "forged",
            Self::Foreign => "foreign",
        }
    }
}

impl Rejections {
    /// Counts one more rejection.
    pub fn add(&mut self, rejection: Rejection) {
        if let Some(count) = self.0.get_mut(rejection as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Returns the reasons with a count above zero.
    pub fn iter(self) -> impl Iterator<Item = (Rejection, u32)> {
        Rejection::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

/// Bytes of a key: 32, the output of SHA-256, below which RFC 2104 discourages keys.
const KEY: usize = 32;

/// Bytes of the keyed hash of provider and model.
const NAME: usize = 16;

/// Bytes of the code: half of the hash, the least that RFC 2104 advises.
const CODE: usize = 16;

const HEAD: usize = NAME + CODE;

/// The prefix of every carrier: the gateway, and the version of the form.
const PREFIX: &str = "cm2.";

/// The prefix of the earlier form, which anybody could make.
const OLD_PREFIX: &str = "cm1.";

/// The prefixes of all carriers that ever existed.
pub const PREFIXES: [&str; 2] = [PREFIX, OLD_PREFIX];

/// Maximum length of a carrier in base 64, for 1 MiB of sealed bytes.
const MAX_CARRIER_LEN: usize = (1 << 20) / 3 * 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(key: u8, account: &str) -> Sealer {
        Sealer::new(&SealKey::new([key; KEY]), account)
    }

    fn open(sealer: &Sealer, text: &str) -> Result<String, Rejection> {
        sealer.open(text, "provider", "model")
    }

    #[test]
    fn only_the_same_account_provider_and_model_open_what_was_sealed() {
        let text = sealer(1, "a").seal("provider", "model", b"[1]");
        // Another process on the same store has the same key, and nothing else in common.
        assert_eq!(open(&sealer(1, "a"), &text).as_deref(), Ok("[1]"));
        assert_eq!(open(&sealer(1, "b"), &text), Err(Rejection::Forged));
        assert_eq!(open(&sealer(2, "a"), &text), Err(Rejection::Forged));
        assert_eq!(open(&Sealer::default(), &text), Err(Rejection::Forged));
        for (origin, model) in [("provider", "other"), ("other", "model"), ("providerm", "odel")] {
            assert_eq!(
                sealer(1, "a").open(&text, origin, model),
                Err(Rejection::Foreign),
                "{origin}/{model}"
            );
        }
    }

    #[test]
    fn the_text_is_always_the_same_and_tells_no_names() {
        let text = sealer(1, "a").seal("provider", "model", b"[1]");
        assert_eq!(text, sealer(1, "a").seal("provider", "model", b"[1]"));
        assert_eq!(
            text, "cm2.XnR5ECZ98d063bSC3byf54NCfgFt_ljjkmG7AQK3e2xbMV0",
            "clients hold these for long"
        );
        let inside = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap()).unwrap();
        for name in ["provider", "model"] {
            assert!(memchr::memmem::find(&inside, name.as_bytes()).is_none());
        }
        assert!(!text.contains('='));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let text = sealer(1, "a").seal("provider", "model", b"[{\"a\":1}]");
        let inside = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap()).unwrap();
        for at in 0..inside.len() {
            let mut changed = inside.clone();
            changed[at] ^= 1;
            let changed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(changed));
            assert_eq!(open(&sealer(1, "a"), &changed), Err(Rejection::Forged), "{at}");
        }
    }

    #[test]
    fn what_has_not_the_form_is_old_or_damaged() {
        let sealer = sealer(1, "a");
        let old = format!("cm1.{}", URL_SAFE_NO_PAD.encode(r#"{"o":"provider","m":"model","b":[]}"#));
        assert_eq!(open(&sealer, &old), Err(Rejection::Old));
        let short = sealer.seal("provider", "model", b"");
        let long = format!("cm2.{}", "A".repeat(MAX_CARRIER_LEN + 1));
        for bad in ["", "cm2.", "cm2.####", "cm2.e30", "cm3.e30", short.split_at(short.len() - 5).0, &long] {
            assert_eq!(open(&sealer, bad), Err(Rejection::Damaged), "{bad:.20}");
        }
        assert_eq!(Sealer::default().seal("provider", "model", b"[]"), "cm2.", "nobody opens that");
    }

    #[test]
    fn rejections_are_counted_by_their_reason() {
        let mut counts = Rejections::default();
        [Rejection::Foreign, Rejection::Old, Rejection::Foreign].into_iter().for_each(|one| counts.add(one));
        let told: Vec<_> = counts.iter().map(|(reason, count)| (reason.as_str(), count)).collect();
        assert_eq!(told, [("old", 1), ("foreign", 2)]);
    }
}
