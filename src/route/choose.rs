//! Which of a model's targets answers a call.

use rand::Rng as _;

use crate::failure::{Failure, Kind, Result};
use crate::protocol::ProtocolId;

use super::catalog::{Found, Target};

/// A target, and the protocol spoken to it.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The target.
    pub target: &'a Target,
    /// The protocol spoken to it.
    pub protocol: ProtocolId,
}

/// Chooses among the targets of the lowest priority number, by weight; where some of them speak the client's
/// protocol, among those. To one that does not, its preferred protocol is spoken.
///
/// # Errors
/// 503 when there is no target.
pub fn choose<'a>(found: &'a Found, client: ProtocolId) -> Result<Choice<'a>> {
    let targets = found.entry.targets.as_slice();
    let priority = targets.iter().map(|target| target.priority).min();
    let first = || targets.iter().filter(|target| Some(target.priority) == priority);
    let relays = first().any(|target| target.speaks(client));
    let group = || first().filter(|target| !relays || target.speaks(client));
    let total: u64 = group().map(|target| u64::from(target.weight)).sum();
    let mut ticket = if total > 1 { rand::rng().random_range(0..total) } else { 0 };
    let drawn = group().find(|target| match ticket.checked_sub(u64::from(target.weight)) {
        Some(rest) => {
            ticket = rest;
            false
        }
        None => true,
    });
    let target = drawn.or_else(|| group().next()).ok_or_else(nobody)?;
    let preferred = target.protocols.first().copied().ok_or_else(nobody)?;
    let protocol = if target.speaks(client) { client } else { preferred };
    Ok(Choice { target, protocol })
}

fn nobody() -> Failure {
    Failure::new(Kind::Unavailable, "The model has no provider at the moment.")
}
