//! One request and its answer: the state that is kept between the hooks.

use std::sync::Arc;

use crate::edge::call::admission::Admission;
use crate::edge::call::attempts::Attempts;
use crate::edge::call::billing::Billing;
use crate::edge::call::outcome::Outcome;
use crate::edge::call::request_info::RequestInfo;
use crate::edge::call::snapshot::Snapshot;

/// The state of one request. It is opaque: embedders only hold it in their own context.
///
/// Each part is written by one place. What works on a call takes the parts that it needs.
#[derive(Debug)]
pub struct CallContext {
    pub(in crate::edge) request: RequestInfo,
    pub(in crate::edge) attempts: Attempts,
    pub(in crate::edge) billing: Billing,
    /// Dropped after the bill: until then, the gateway is not quiet.
    pub(in crate::edge) admission: Admission,
    pub(in crate::edge) outcome: Outcome,
}

impl CallContext {
    /// The state of a request that comes now.
    pub(in crate::edge) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            request: RequestInfo::new(snapshot),
            attempts: Attempts::default(),
            billing: Billing::default(),
            admission: Admission::default(),
            outcome: Outcome::default(),
        }
    }
}
