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

/// Chooses among the targets of the lowest priority number, by weight.
///
/// # Errors
/// 400 when no target speaks the client's protocol; 503 when there is no target at all.
pub fn choose<'a>(found: &'a Found, client: ProtocolId) -> Result<Choice<'a>> {
    let relays = || found.entry.targets.iter().filter(|target| target.speaks(client));
    let Some(priority) = relays().map(|target| target.priority).min() else {
        return Err(foreign(found));
    };
    let group = || relays().filter(|target| target.priority == priority);
    let total: u64 = group().map(|target| u64::from(target.weight)).sum();
    let mut ticket = if total > 1 { rand::rng().random_range(0..total) } else { 0 };
    let drawn = group().find(|target| match ticket.checked_sub(u64::from(target.weight)) {
        Some(rest) => {
            ticket = rest;
            false
        }
        None => true,
    });
    let target = drawn.or_else(|| group().next()).ok_or_else(|| foreign(found))?;
    Ok(Choice { target, protocol: client })
}

fn foreign(found: &Found) -> Failure {
    let spoken = found.entry.targets.iter().flat_map(|target| &target.protocols).next();
    match spoken {
        None => Failure::new(Kind::Unavailable, "The model has no provider at the moment."),
        Some(protocol) => Failure::new(
            Kind::Unsupported,
            format!("Model '{}' is served at /v1{} only.", found.id, protocol.protocol().path()),
        )
        .with_param("model"),
    }
}
