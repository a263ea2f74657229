//! The choice of the target that answers a call, and of the targets for fail-over.

use std::time::Instant;

use rand::Rng as _;
use sha2::{Digest as _, Sha256};

use crate::failure::{Failure, Kind, Result};
use crate::protocol::ProtocolId;

use super::catalog::{ModelTarget, ResolvedModel};
use super::credentials::{CredentialState, Credentials};
use super::health::{Caller, Condition};

/// A target, the protocol that is spoken to it, and the credential that is shown to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetChoice {
    /// The target's index among the targets of its model.
    pub target: usize,
    /// The protocol spoken to it.
    pub protocol: ProtocolId,
    /// The credential's index among the credentials of the provider.
    pub credential: usize,
}

/// The properties of a request on which the choice of its target depends.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'s> {
    /// The client's protocol.
    pub client: ProtocolId,
    /// A text that the calls of one conversation have in common.
    pub session: Option<&'s str>,
    /// The only provider that can go on with the conversation; absent: any can.
    pub provider: Option<&'s str>,
    /// The only one of its credentials that can, if it has several; absent: any can.
    pub credential: Option<&'s str>,
    /// The account of the key that makes the call.
    pub account: &'s str,
    /// Whether the request refers to state at the provider.
    pub has_state: bool,
}

/// Returns the targets that may be called, in the order in which they are to be tried.
///
/// Targets with a lower priority number come first, and among these the targets that speak the client's protocol.
/// Among equals the order is random by weight; for the calls of one `session` it is always the same, so that the
/// provider's prompt cache keeps hitting. Targets that have asked for a pause come last, and targets whose circuit
/// breaker is open are left out. A target that does not speak the client's protocol is called in its own preferred
/// one. The health of a target may depend on the caller.
///
/// A target whose provider has several credentials occurs once for each of them that may be used.
///
/// # Errors
/// Returns 503 if the model has no target, or none that may be called.
pub fn order(
    found: &ResolvedModel,
    sought: Sought<'_>,
    caller: Caller,
    now: Instant,
) -> Result<Vec<TargetChoice>> {
    let Sought { client, session, provider, .. } = sought;
    let mut ranked = Vec::with_capacity(found.entry.targets.len());
    let mut closest = None;
    let can_go_on = |target: &ModelTarget| provider.is_none_or(|only| *target.provider.name == *only);
    let targets = found.entry.targets.iter().enumerate();
    for (place, target) in targets.filter(|(_, target)| can_go_on(target)) {
        let condition = target.health.condition(found.upstream_model(target), caller, now);
        if let Condition::Open(left) = condition {
            closest = closest.into_iter().chain([left]).min();
            continue;
        }
        let speaks = target.speaks(client);
        let Some(preferred) = target.protocols.first().copied() else { continue };
        let protocol = if speaks { client } else { preferred };
        let choice = TargetChoice { target: place, protocol, credential: 0 };
        let rank = (condition, target.priority, !speaks);
        let by_weight = weighted_rank(target, place, session);
        let Some(credentials) = &target.credentials else {
            ranked.push((rank, [by_weight, 0.0], choice));
            continue;
        };
        for (resting, by_share, credential) in usable_credentials(target, credentials, &sought, now) {
            let rank = (condition.max(resting), target.priority, !speaks);
            ranked.push((rank, [by_weight, by_share], TargetChoice { credential, ..choice }));
        }
    }
    ranked.sort_by(|(a, [weight_a, share_a], _), (b, [weight_b, share_b], _)| {
        a.cmp(b).then(weight_a.total_cmp(weight_b)).then(share_a.total_cmp(share_b))
    });
    if ranked.is_empty() {
        let message = if provider.is_some() { NO_OTHER } else { NONE };
        let failure = Failure::new(Kind::Unavailable, message);
        let seconds = closest.map(|left| left.as_secs() + 1);
        if let (Some(_), Some(first)) = (closest, found.entry.targets.first()) {
            first.health.note_unavailable(&found.id);
        }
        return Err(seconds.into_iter().fold(failure, Failure::with_retry_after));
    }
    Ok(ranked.into_iter().map(|(_, _, choice)| choice).collect())
}

/// Returns the rank by which equal targets are sorted, the lowest first. A target has the lowest rank as often as
/// its weight says. The rank of a session never changes, and most sessions keep their target when another one
/// comes or goes.
fn weighted_rank(target: &ModelTarget, place: usize, session: Option<&str>) -> f64 {
    let uniform = match session {
        None => rand::rng().random::<f64>(),
        Some(session) => {
            let model = target.model.as_deref().unwrap_or_default();
            session_share(session, &target.provider.name, model, place)
        }
    };
    rank_of(uniform, target.weight)
}

/// Returns the rank of a number from 0 to 1 by a weight.
fn rank_of(uniform: f64, weight: u32) -> f64 {
    -uniform.max(f64::MIN_POSITIVE).ln() / f64::from(weight)
}

/// Returns the credentials with which a target may be called, with their conditions and ranks. Those of a session are
/// always in the same order, because prompt caches belong to a credential's account. State does, too: where requests may
/// refer to it, the order is the same for all calls of an account, and a request that does refer to it has one
/// credential only. Refused credentials are left out as long as there are others.
fn usable_credentials(
    target: &ModelTarget,
    credentials: &Credentials,
    sought: &Sought<'_>,
    now: Instant,
) -> Vec<(Condition, f64, usize)> {
    let provider = &target.provider;
    let account = Some(sought.account).filter(|_| provider.allow_upstream_state);
    let session = account.or(sought.session);
    let known = |only: &&str| provider.credentials().iter().any(|credential| *credential.name == **only);
    let only = sought.credential.filter(known);
    let states = credentials.states(now).enumerate();
    let mut usable: Vec<_> = states
        .filter(|(_, (credential, _))| only.is_none_or(|only| *credential.name == *only))
        .map(|(place, (credential, state))| {
            let uniform = match session {
                None => rand::rng().random::<f64>(),
                Some(session) => session_share(session, &provider.name, &credential.name, 0),
            };
            (state, rank_of(uniform, credential.weight), place)
        })
        .collect();
    if sought.has_state && account.is_some() {
        usable.sort_by(|(_, a, _), (_, b, _)| a.total_cmp(b));
        usable.truncate(1);
    }
    if usable.iter().any(|(state, ..)| *state != CredentialState::Refused) {
        usable.retain(|(state, ..)| *state != CredentialState::Refused);
    }
    let condition = |state| match state {
        CredentialState::Ready => Condition::Ready,
        CredentialState::BackingOff | CredentialState::Refused => Condition::BackingOff,
    };
    usable.into_iter().map(|(state, rank, place)| (condition(state), rank, place)).collect()
}

/// Returns a number from 0 to 1 for a session and a target. It has to be the same on every machine and after every
/// update, because sessions would lose their providers' prompt caches otherwise. Hence the hash is SHA-256, and
/// not that of the standard library, which may change with the compiler.
fn session_share(session: &str, provider: &str, model: &str, place: usize) -> f64 {
    let mut hash = Sha256::new();
    for part in [session, provider, model] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update((place as u64).to_le_bytes());
    let digest = hash.finalize();
    let number = digest.iter().take(8).rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    // The upper 52 bits: as many as the fraction of an `f64` has.
    (number >> 12) as f64 / (1_u64 << 52) as f64
}

const NONE: &str = "The model has no provider at the moment.";

const NO_OTHER: &str = "The provider that has answered this conversation is not available at the moment, and no other \
     one can go on with it. Try again later, or start a new conversation.";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observe::AttemptFailure;
    use crate::route::credentials::tests::provider;
    use crate::route::state_log::TargetFailure;
    use crate::route::target_health::{TargetHealth, TargetId};

    #[test]
    fn a_session_keeps_its_targets_whatever_compiles_the_gateway() {
        let share = session_share("s1", "openai", "gpt-5", 1);
        assert_eq!(share, 988_918_721_378_894_f64 / (1_u64 << 52) as f64);
    }

    fn target(names: &[(&str, u32)], keeps_state: bool) -> ModelTarget {
        let provider = provider(names, keeps_state);
        ModelTarget {
            model: Some("m".to_owned()),
            protocols: vec![ProtocolId::Chat],
            weight: 1,
            priority: 0,
            prices: None,
            health: Arc::new(TargetHealth::new(TargetId::default(), 5, false)),
            credentials: Credentials::of(&provider),
            provider,
        }
    }

    fn sought(session: Option<&str>) -> Sought<'_> {
        Sought {
            client: ProtocolId::Chat,
            session,
            provider: None,
            credential: None,
            account: "acct",
            has_state: false,
        }
    }

    /// The credentials of a target, in their order.
    fn chosen(target: &ModelTarget, sought: &Sought<'_>, now: Instant) -> Vec<usize> {
        let credentials = target.credentials.as_ref().unwrap();
        let mut usable = usable_credentials(target, credentials, sought, now);
        usable.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        usable.into_iter().map(|(.., place)| place).collect()
    }

    #[test]
    fn a_session_keeps_its_credential_and_others_choose_by_weight() {
        let (target, now) = (target(&[("a", 1), ("b", 3)], false), Instant::now());
        let session = |n: usize| format!("s{n}");
        let first = |n: usize| chosen(&target, &sought(Some(&session(n))), now)[0];
        assert!((0..100).all(|n| first(n) == first(n)));
        let of_sessions = (0..4000).map(first).sum::<usize>();
        let of_others = (0..4000).map(|_| chosen(&target, &sought(None), now)[0]).sum::<usize>();
        for share in [of_sessions, of_others] {
            assert!((2800..3200).contains(&share), "{share}");
        }
    }

    #[test]
    fn a_credential_that_backs_off_comes_last_and_a_refused_one_is_left_out() {
        let (target, now) = (target(&[("a", 1), ("b", 1), ("c", 1)], false), Instant::now());
        let credentials = target.credentials.as_ref().unwrap();
        let fail = |place, kind| credentials.fail(place, &TargetFailure::new(kind, ""), Some(9), now);
        fail(0, AttemptFailure::RateLimited);
        fail(1, AttemptFailure::Credential);
        assert!((0..50).all(|_| chosen(&target, &sought(None), now) == [2, 0]));
        fail(0, AttemptFailure::Credential);
        fail(2, AttemptFailure::Credential);
        assert_eq!(chosen(&target, &sought(None), now).len(), 3, "there is no other");
    }

    #[test]
    fn state_stays_with_one_credential_of_the_account() {
        let (target, now) = (target(&[("a", 1), ("b", 1), ("c", 1)], true), Instant::now());
        let home = chosen(&target, &sought(Some("one session")), now);
        assert_eq!(chosen(&target, &sought(None), now), home, "sessions do not matter");
        let refers = Sought { has_state: true, ..sought(None) };
        assert_eq!(chosen(&target, &refers, now), home[..1]);
        let failure = TargetFailure::new(AttemptFailure::RateLimited, "");
        target.credentials.as_ref().unwrap().fail(home[0], &failure, Some(9), now);
        assert_eq!(chosen(&target, &refers, now), home[..1], "no other one knows the state");
        let bound = Sought { credential: Some("b"), ..sought(None) };
        assert_eq!(chosen(&target, &bound, now), [1]);
    }
}
