//! The choice of the target that answers a call, and of the targets for fail-over.

use std::time::Instant;

use rand::Rng as _;
use sha2::{Digest as _, Sha256};

use crate::failure::{Failure, Kind, Result};
use crate::protocol::ProtocolId;

use super::catalog::{ModelTarget, ResolvedModel};
use super::health::{Caller, Condition};

/// A target, and the protocol that is spoken to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetChoice {
    /// The target's index among the targets of its model.
    pub target: usize,
    /// The protocol spoken to it.
    pub protocol: ProtocolId,
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
}

/// Returns the targets that may be called, in the order in which they are to be tried.
///
/// Targets with a lower priority number come first, and among these the targets that speak the client's protocol.
/// Among equals the order is random by weight; for the calls of one `session` it is always the same, so that the
/// provider's prompt cache keeps hitting. Targets that have asked for a pause come last, and targets whose circuit
/// breaker is open are left out. A target that does not speak the client's protocol is called in its own preferred
/// one. The health of a target may depend on the caller.
///
/// # Errors
/// Returns 503 if the model has no target, or none that may be called.
pub fn order(
    found: &ResolvedModel,
    Sought { client, session, provider }: Sought<'_>,
    caller: Caller,
    now: Instant,
) -> Result<Vec<TargetChoice>> {
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
        let choice = TargetChoice { target: place, protocol: if speaks { client } else { preferred } };
        let rank = (condition, target.priority, !speaks);
        ranked.push((rank, weighted_rank(target, place, session), choice));
    }
    ranked.sort_by(|(a, rank_a, _), (b, rank_b, _)| a.cmp(b).then(rank_a.total_cmp(rank_b)));
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
    -uniform.max(f64::MIN_POSITIVE).ln() / f64::from(target.weight)
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
     one accepts its thinking. Try again later, or start a new conversation.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_targets_whatever_compiles_the_gateway() {
        let share = session_share("s1", "openai", "gpt-5", 1);
        assert_eq!(share, 988_918_721_378_894_f64 / (1_u64 << 52) as f64);
    }
}
