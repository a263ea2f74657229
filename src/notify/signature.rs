//! Signatures of deliveries, as Standard Webhooks defines them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A secret that signs deliveries.
#[derive(Clone)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// Makes a secret from `whsec_` and Base64, or from a text of at least [`MIN_SECRET_BYTES`] bytes.
    ///
    /// # Errors
    /// Fails with the reason. The secret is not repeated.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| "is not Base64 after whsec_".to_owned())?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(format!("has fewer than {MIN_SECRET_BYTES} bytes"));
        }
        Ok(Self(bytes))
    }

    /// Returns the bytes of the secret.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// Returns the value of `webhook-signature`: a signature by each secret, separated by spaces.
#[must_use]
pub fn sign(secrets: &[WebhookSecret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed = |WebhookSecret(secret): &WebhookSecret| {
        // HMAC takes keys of every length.
        let mut code = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        for part in [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body] {
            code.update(part);
        }
        Some(format!("v1,{}", STANDARD.encode(code.finalize().into_bytes())))
    };
    secrets.iter().filter_map(signed).collect::<Vec<_>>().join(" ")
}

/// The shortest secret.
pub const MIN_SECRET_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_signed_as_the_standard_shows() {
        // The example of the standard's own libraries.
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        let signature = sign(
            std::slice::from_ref(&secret),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            body.as_bytes(),
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = WebhookSecret::parse(&"s".repeat(24)).unwrap();
        let both = sign(&[secret, other], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body.as_bytes());
        assert!(both.starts_with(&format!("{signature} v1,")), "{both}");
    }

    #[test]
    fn short_secrets_are_refused_and_none_is_shown() {
        for wrong in ["", "short", "whsec_c2hvcnQ=", "whsec_!!!"] {
            assert!(WebhookSecret::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", WebhookSecret::parse(&"s".repeat(24)).unwrap()), "WebhookSecret(…)");
    }
}
