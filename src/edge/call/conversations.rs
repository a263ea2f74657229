//! The providers that have answered conversations.
//!
//! The thinking of some models is signed for the account that they have answered. No other account accepts it, so a
//! conversation that holds such thinking goes on where it was answered before, and nowhere else. This is known only to
//! the process itself, for a day; otherwise the conversation goes where its name has led it at first.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::auth::Grant;
use crate::canon::Caps;
use crate::protocol::{ProtocolId, RequestMembers, add_opening};
use crate::route::ResolvedModel;
use crate::translate::recent_map::{KeyHash, RecentMap};

/// The accounts at providers that have answered conversations.
#[derive(Debug)]
pub(in crate::edge) struct Conversations(Mutex<RecentMap<Answerer>>);

/// The account at a provider that has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge) struct Answerer {
    /// The provider.
    pub(in crate::edge) provider: Arc<str>,
    /// The name of the credential, if the provider has several.
    pub(in crate::edge) credential: Option<Arc<str>>,
}

/// A conversation with a model whose thinking is bound to an account.
#[derive(Clone, Debug)]
pub(in crate::edge) struct Conversation {
    all: Arc<Conversations>,
    /// The conversation by its opening, within its session if it has one.
    id: KeyHash,
    /// The session, which has several conversations where agents work for each other; absent if the client names none.
    session: Option<KeyHash>,
}

impl Answerer {
    /// Whether it serves the model.
    pub(in crate::edge) fn serves(&self, found: &ResolvedModel) -> bool {
        found.entry.targets.iter().any(|target| target.provider.name == self.provider)
    }
}

impl Default for Conversations {
    fn default() -> Self {
        Self(Mutex::new(RecentMap::new(MAX_CONVERSATIONS, MAX_AGE)))
    }
}

impl Conversations {
    fn known(&self) -> MutexGuard<'_, RecentMap<Answerer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conversation {
    /// Returns the conversation that a request of this key belongs to, by the session that the client names or by its
    /// opening. There is none if it does not matter who answers.
    pub(in crate::edge) fn of(
        all: &Arc<Conversations>,
        found: &ResolvedModel,
        grant: &Grant,
        session: Option<&str>,
        (body, members): (&[u8], &RequestMembers),
    ) -> Option<Self> {
        if !is_bound(found) {
            return None;
        }
        let mut hash = Sha256::new();
        for part in [&*grant.id, &*found.id, session.unwrap_or_default()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let short = |hash: Sha256| hash.finalize().first_chunk().copied().unwrap_or_default();
        let session = session.map(|_| short(hash.clone()));
        add_opening(body, members, &mut hash);
        Some(Self { all: Arc::clone(all), id: short(hash), session })
    }

    /// Returns the name of a session for a conversation to which the client gives none.
    pub(in crate::edge) fn name(&self) -> String {
        self.id.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Returns the provider that has answered last, if it is known and still serves the model. A conversation whose
    /// opening has changed is known by its session.
    pub(in crate::edge) fn answerer(&self, found: &ResolvedModel) -> Option<Answerer> {
        let (known, now) = (self.all.known(), Instant::now());
        let of_session = || known.get(self.session.as_ref()?, now);
        let answerer = known.get(&self.id, now).or_else(of_session).cloned()?;
        answerer.serves(found).then_some(answerer)
    }

    /// Notes that a provider answers.
    pub(in crate::edge) fn note(&self, answerer: &Answerer) {
        let (mut known, now) = (self.all.known(), Instant::now());
        for key in std::iter::once(self.id).chain(self.session) {
            known.set(key, answerer.clone(), now);
        }
    }
}

/// Whether several providers or credentials serve the model, and one of them accepts thinking only if it is its own.
fn is_bound(found: &ResolvedModel) -> bool {
    found.is_answered_by_several()
        && found.entry.targets.iter().any(|target| {
            let model = found.upstream_model(target);
            let caps = || Caps::of(ProtocolId::Messages, model, &target.provider.profile);
            target.speaks(ProtocolId::Messages) && caps().with(&found.entry.caps, None).preserved_thinking
        })
}

/// Maximum number of known conversations, about 10 MiB. Above it, the one that was answered longest ago is forgotten.
const MAX_CONVERSATIONS: usize = 65_536;

/// The time for which a conversation is known after an answer.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
