//! The providers that keep answers to which later requests may refer.
//!
//! An answer is kept in the account of the credential that has asked for it, and no other account knows its id. A request
//! that goes on from an answer therefore goes where that answer came from. This is known only to the process itself, for a
//! day; otherwise the request goes where the state of its account is kept as a rule.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::edge::call::conversations::Answerer;
use crate::protocol::ProtocolId;
use crate::translate::id_recorder::IdRecorder;
use crate::translate::recent_map::{KeyHash, RecentMap};

use super::target::Call;

/// The accounts at providers that keep answers.
#[derive(Debug)]
pub(in crate::edge) struct StoredAnswers(Mutex<RecentMap<Answerer>>);

impl Default for StoredAnswers {
    fn default() -> Self {
        Self(Mutex::new(RecentMap::new(MAX_ANSWERS, MAX_AGE)))
    }
}

impl StoredAnswers {
    /// Returns the provider that keeps an answer to this account of the gateway, if it is known.
    pub(in crate::edge) fn keeper(&self, account: &str, id: &str) -> Option<Answerer> {
        self.known().get(&hash(account, id), Instant::now()).cloned()
    }

    /// Returns the recorder of the answer to a call, if its provider may keep it and others could be asked to go on.
    pub(in crate::edge) fn recorder(self: &Arc<Self>, account: &str, call: &Call) -> Option<IdRecorder> {
        let is_kept = call.protocol == ProtocolId::Responses && call.provider().allow_upstream_state;
        if !is_kept || !call.found.is_answered_by_several() {
            return None;
        }
        let (all, account, answerer) = (Arc::clone(self), account.to_owned(), call.answerer());
        Some(IdRecorder::new(move |id| all.note(&account, id, &answerer)))
    }

    fn note(&self, account: &str, id: &str, answerer: &Answerer) {
        self.known().set(hash(account, id), answerer.clone(), Instant::now());
    }

    fn known(&self) -> MutexGuard<'_, RecentMap<Answerer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(account: &str, id: &str) -> KeyHash {
    let mut hash = Sha256::new();
    for part in [account, id] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().first_chunk().copied().unwrap_or_default()
}

/// Maximum number of known answers, about 10 MiB. Above it, the oldest one is forgotten.
const MAX_ANSWERS: usize = 65_536;

/// The time for which the keeper of an answer is known.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_to_the_account_that_has_got_it() {
        let answers = StoredAnswers::default();
        let answerer = Answerer { provider: "p".into(), credential: Some("b".into()) };
        answers.note("one", "resp_1", &answerer);
        assert_eq!(answers.keeper("one", "resp_1"), Some(answerer));
        assert_eq!(answers.keeper("two", "resp_1"), None);
        assert_eq!(answers.keeper("one", "resp_2"), None);
    }
}
