//! The watch over a call whose client may go: its answer is read on for a while then, so that its token counts may come.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::edge::call::attempts::Attempts;
use crate::edge::call::billing::Billing;
use crate::edge::call::call_guard::{CallGuard, DrainLimits, Leave};
use crate::edge::call::request_info::RequestInfo;

/// Makes the watch over the call at its current target.
pub(in crate::edge) fn guard(request: &RequestInfo, attempts: &Attempts, billing: &Billing) -> CallGuard {
    let deadline = attempts.deadline().map(Instant::from_std);
    CallGuard::new(&request.snapshot.shutdown, deadline, leave_taking(request, attempts, billing))
}

/// Returns how the answer is read after the client has left, or `None` if the provider's connection is closed at
/// once.
fn leave_taking(request: &RequestInfo, attempts: &Attempts, billing: &Billing) -> Option<Leave> {
    let call = attempts.call.as_ref().filter(|call| call.infers())?;
    let time = call.upstream.times.drain.or_else(|| billing.is_held().then_some(CLIENT_GONE_GRACE))?;
    let limits = &request.snapshot.limits;
    let account = limits.drains_per_account.unwrap_or_else(|| limits.drains.div_ceil(ACCOUNTS));
    Some(Leave {
        time,
        grant: Arc::clone(request.grant.as_ref()?),
        drains: Arc::clone(&request.snapshot.drains),
        places: DrainLimits { all: limits.drains, account },
    })
}

/// The time for which the answer is read after its client has left, if it would not be read otherwise. A chosen
/// value: most providers report an answer's cost within a second of its last piece. It is not a setting, because
/// it only decides between a count and an estimate.
const CLIENT_GONE_GRACE: Duration = Duration::from_secs(2);

/// The accounts whose clients may leave at once before one of them has fewer places than it could have alone; the
/// default.
const ACCOUNTS: usize = 10;
