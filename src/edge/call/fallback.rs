//! The targets that are left for a fail-over.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::edge::call::estimate::CostEstimate;
use crate::protocol::ProtocolId;
use crate::route::TargetChoice;

/// The targets that are left for a fail-over, and the data from which the request is written for one of them.
#[derive(Debug)]
pub(in crate::edge) struct Fallbacks {
    pub(in crate::edge) choices: VecDeque<TargetChoice>,
    pub(in crate::edge) client: ProtocolId,
    /// The client's body before it is written for a target, without the tools that have no price anywhere.
    pub(in crate::edge) body: Bytes,
    /// The list of these tools, for the client.
    pub(in crate::edge) spared: Option<String>,
    pub(in crate::edge) estimate: CostEstimate,
}
