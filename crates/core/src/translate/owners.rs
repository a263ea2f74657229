//! Ownership of containers: the account that a provider's code container belongs to.
//!
//! All accounts share the gateway's account at the provider, so a request could go on in another account's
//! container by its id alone. A history that names a container is therefore only let through for the account whose
//! answer has named it before. This is known only to the process itself, for a day; ids and accounts are kept as
//! hashes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::recent_map::{KeyHash, RecentMap};

/// The owners of containers.
pub struct Owners(Mutex<RecentMap<KeyHash>>);

/// A recorder of the containers in one account's answers.
#[derive(Clone, Debug)]
pub struct Claims {
    owners: Arc<Owners>,
    owner: KeyHash,
}

impl Default for Owners {
    fn default() -> Self {
        Self(Mutex::new(RecentMap::new(MAX_CONTAINERS, MAX_AGE)))
    }
}

impl Owners {
    /// Whether an answer to this account has named the container.
    #[must_use]
    pub fn knows(&self, account: &str, container: &str) -> bool {
        self.knows_at(account, container, Instant::now())
    }

    fn knows_at(&self, account: &str, container: &str, now: Instant) -> bool {
        self.known().get(&hash(container), now) == Some(&hash(account))
    }

    fn known(&self) -> MutexGuard<'_, RecentMap<KeyHash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claims {
    /// Creates a recorder for the containers of `account`.
    #[must_use]
    pub fn new(owners: &Arc<Owners>, account: &str) -> Self {
        Self { owners: Arc::clone(owners), owner: hash(account) }
    }

    /// Records a container that an answer has named. A container of another account stays with that account.
    pub fn note(&self, container: &str) {
        self.note_at(container, Instant::now());
    }

    fn note_at(&self, container: &str, now: Instant) {
        let container = hash(container);
        let mut known = self.owners.known();
        if known.get(&container, now).is_none_or(|owner| *owner == self.owner) {
            known.set(container, self.owner, now);
        }
    }
}

fn hash(text: &str) -> KeyHash {
    Sha256::digest(text).first_chunk().copied().unwrap_or_default()
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owners").finish_non_exhaustive()
    }
}

/// Maximum number of known containers, about 10 MiB. Above it, the container that was seen longest ago is
/// forgotten.
const MAX_CONTAINERS: usize = 65_536;

/// The time for which a container is known after an answer has named it: longer than any provider keeps one.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Profile;
    use crate::protocol::ProtocolId;
    use crate::translate::relay::{Reply, Stream};

    #[test]
    fn a_container_is_known_to_its_account_alone_and_for_a_day() {
        let owners = Arc::new(Owners::default());
        let (a, b) = (Claims::new(&owners, "a"), Claims::new(&owners, "b"));
        let start = Instant::now();
        a.note_at("cntr_1", start);
        assert!(owners.knows_at("a", "cntr_1", start));
        assert!(!owners.knows_at("b", "cntr_1", start) && !owners.knows_at("a", "cntr_2", start));
        b.note_at("cntr_1", start);
        assert!(owners.knows_at("a", "cntr_1", start) && !owners.knows_at("b", "cntr_1", start));
        let late = start + MAX_AGE;
        assert!(owners.knows_at("a", "cntr_1", late - Duration::from_secs(1)));
        assert!(!owners.knows_at("a", "cntr_1", late));
        b.note_at("cntr_1", late);
        assert!(owners.knows_at("b", "cntr_1", late), "nobody's any more");
    }

    #[test]
    fn an_answer_on_its_way_names_its_containers() {
        let owners = Arc::new(Owners::default());
        let reply = |claims| Reply::new(ProtocolId::Responses.protocol(), "m").claiming(claims);
        let claims = || Some(Claims::new(&owners, "a"));
        let answer =
            |id: &str| format!(r#"{{"output":[{{"type":"code_interpreter_call","container_id":"{id}"}}]}}"#);
        reply(claims()).whole(answer("cntr_1").into()).unwrap();
        reply(None).whole(answer("cntr_2").into()).unwrap();
        let mut stream = Stream::new(reply(claims()), &Profile::default(), false, 1 << 20);
        let event =
            format!("data: {{\"type\":\"response.completed\",\"response\":{}}}\n\n", answer("cntr_3"));
        let sent = stream.push(event.clone().into()).unwrap();
        assert_eq!(sent, event, "as it came");
        let known = |id: &str| owners.knows("a", id);
        assert!(known("cntr_1") && !known("cntr_2") && known("cntr_3"));
    }

    #[test]
    fn the_one_that_was_seen_longest_ago_makes_room() {
        let owners = Arc::new(Owners::default());
        let (claims, now) = (Claims::new(&owners, "a"), Instant::now());
        (0..MAX_CONTAINERS).for_each(|n| claims.note_at(&n.to_string(), now));
        claims.note_at("0", now);
        assert!(owners.knows_at("a", "1", now));
        claims.note_at("new", now);
        assert!(!owners.knows_at("a", "1", now), "seen longest ago");
        assert!(owners.knows_at("a", "0", now) && owners.knows_at("a", "new", now));
    }
}
