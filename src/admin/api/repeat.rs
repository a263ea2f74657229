//! Requests with an idempotency key, which have their effect once.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::admin::error::{Code, Mistake, OperationError, OperationResult};
use crate::admin::ops::Repeatable;

/// The requests that are running, and the secrets of those that are over. Secrets are in memory only.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    running: Mutex<HashSet<[u8; 32]>>,
    secrets: Mutex<HashMap<[u8; 32], (Instant, String)>>,
}

/// A request that is running. It is over when this is dropped.
pub(super) struct Running<'a>(&'a Repeats, [u8; 32]);

impl Repeats {
    /// Marks a request as running.
    pub(super) fn begin(&self, repeatable: &Repeatable) -> OperationResult<Running<'_>> {
        if !self.running.lock().insert(repeatable.digest) {
            let message = "the request with this Idempotency-Key is still running; repeat it in a moment";
            return Err(OperationError::new(Code::IdempotencyInUse, message));
        }
        Ok(Running(self, repeatable.digest))
    }

    /// Keeps the secret of a request for a while.
    pub(super) fn keep(&self, repeatable: &Repeatable, secret: String, now: Instant) {
        let mut secrets = self.secrets.lock();
        secrets.retain(|_, (kept, _)| now.saturating_duration_since(*kept) < KEPT);
        if secrets.len() < MAX_SECRETS {
            secrets.insert(repeatable.digest, (now, secret));
        }
    }

    /// Returns the secret of a request.
    pub(super) fn secret(&self, repeatable: &Repeatable, now: Instant) -> Option<String> {
        let secrets = self.secrets.lock();
        let (kept, secret) = secrets.get(&repeatable.digest)?;
        (now.saturating_duration_since(*kept) < KEPT).then(|| secret.clone())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.lock().remove(&self.1);
    }
}

/// Makes the digests of a request.
pub(super) fn repeatable(operator: &str, path: &str, key: &str, body: &[u8]) -> OperationResult<Repeatable> {
    let is_printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if key.is_empty() || key.len() > MAX_KEY_LENGTH || !is_printable {
        let message = format!("has to have 1 to {MAX_KEY_LENGTH} printable ASCII characters");
        return Err(OperationError::invalid(vec![Mistake::new("Idempotency-Key", message)]));
    }
    let mut digest = Sha256::new();
    for part in [operator, path, key] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    Ok(Repeatable { digest: digest.finalize().into(), request: Sha256::digest(body).into() })
}

/// The longest idempotency key.
const MAX_KEY_LENGTH: usize = 255;

/// The time for which a secret is repeated.
const KEPT: Duration = Duration::from_secs(600);

/// The most secrets in memory.
const MAX_SECRETS: usize = 1_024;
