//! Which of a model's targets answers a call, and which others if that one fails.

use std::time::Instant;

use rand::Rng as _;
use sha2::{Digest as _, Sha256};

use crate::failure::{Failure, Kind, Result};
use crate::protocol::ProtocolId;

use super::catalog::{ModelTarget, ResolvedModel};
use super::health::{Caller, Condition};

/// A target, and the protocol spoken to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetChoice {
    /// The target's place among those of its model.
    pub target: usize,
    /// The protocol spoken to it.
    pub protocol: ProtocolId,
}

/// All targets that may be called, in the order in which they are tried: those of a lower priority number first;
/// among these those that speak the client's protocol; among these by chance, each as often as its weight says,
/// or, for the calls of one `session`, always in the same order, so that a provider's prompt cache
/// keeps hitting. Those that have asked for some time come last, those that are left alone not at all. To one
/// that does not speak the client's protocol, its preferred one is spoken. How a target is may depend on who calls it.
///
/// # Errors
/// 503 when there is no target, or none that may be called.
pub fn order(
    found: &ResolvedModel,
    client: ProtocolId,
    session: Option<&str>,
    caller: Caller,
    now: Instant,
) -> Result<Vec<TargetChoice>> {
    let mut ranked = Vec::with_capacity(found.entry.targets.len());
    let mut closest = None;
    for (place, target) in found.entry.targets.iter().enumerate() {
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
        let failure = Failure::new(Kind::Unavailable, "The model has no provider at the moment.");
        let seconds = closest.map(|left| left.as_secs() + 1);
        return Err(seconds.into_iter().fold(failure, Failure::with_retry_after));
    }
    Ok(ranked.into_iter().map(|(_, _, choice)| choice).collect())
}

/// The rank by which targets of equal standing are sorted: the lowest one is a target's as often as its weight says. For
/// a session it is always the same, and most sessions keep their target when another one comes or goes.
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

/// A number from 0 to 1 that is the same for a session and a target on every machine and after every update: sessions
/// would lose their providers' prompt caches otherwise. Hence SHA-256, and not the hash of the standard library, which
/// may change with the compiler.
fn session_share(session: &str, provider: &str, model: &str, place: usize) -> f64 {
    let mut hash = Sha256::new();
    for part in [session, provider, model] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update((place as u64).to_le_bytes());
    let digest = hash.finalize();
    let number = digest.iter().take(8).rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    // The upper bits, as many as a fraction holds.
    (number >> 12) as f64 / (1_u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_targets_whatever_compiles_the_gateway() {
        let share = session_share("s1", "openai", "gpt-5", 1);
        assert_eq!(share, 988_918_721_378_894_f64 / (1_u64 << 52) as f64);
    }
}
