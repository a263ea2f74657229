//! The watch over a call whose client may go: its answer is read on for a while then, so that its token counts may come.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::edge::call::attempts::Attempts;
use crate::edge::call::billing::Billing;
use crate::edge::call::call_guard::{CallGuard, DrainLimits, Leave};
use crate::edge::call::request_info::RequestInfo;

/// Makes the watch over the call at the target where it is.
pub(in crate::edge) fn guard(request: &RequestInfo, attempts: &Attempts, billing: &Billing) -> CallGuard {
    let deadline = attempts.deadline().map(Instant::from_std);
    CallGuard::new(&request.snapshot.shutdown, deadline, leave_taking(request, attempts, billing))
}

/// The way to read on when the client goes; absent: the provider is left.
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

/// The time for which a provider that is to be left is read on when its client is gone: most say what an answer has cost within a
/// second of its last piece. It is no setting, as it only decides between a count and an estimate.
const CLIENT_GONE_GRACE: Duration = Duration::from_secs(2);

/// Accounts whose clients may go at once before one has fewer places than it could have alone, by default.
const ACCOUNTS: usize = 10;
