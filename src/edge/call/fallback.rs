//! The targets that a call may still go to.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::edge::call::estimate::CostEstimate;
use crate::protocol::ProtocolId;
use crate::route::TargetChoice;

/// The targets that a call may still go to, and what is needed to write it for one of them.
#[derive(Debug)]
pub(in crate::edge) struct Fallbacks {
    pub(in crate::edge) choices: VecDeque<TargetChoice>,
    pub(in crate::edge) client: ProtocolId,
    /// The body before it is written for a target: what the client has sent, without what has no price anywhere.
    pub(in crate::edge) body: Bytes,
    /// What that is, for the client.
    pub(in crate::edge) spared: Option<String>,
    pub(in crate::edge) estimate: CostEstimate,
}
