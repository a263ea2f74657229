//! The targets that a call may still go to.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::protocol::ProtocolId;
use crate::route::Choice;

use super::estimate::CostEstimate;

/// The targets that a call may still go to, and what is needed to write it for one of them.
#[derive(Debug)]
pub(super) struct Fallbacks {
    pub(super) choices: VecDeque<Choice>,
    pub(super) client: ProtocolId,
    /// The body as the client has sent it.
    pub(super) body: Bytes,
    pub(super) estimate: CostEstimate,
}
