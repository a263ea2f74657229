//! The end of a call whose client goes: an answer that is read on for a while so that its token counts may come, and
//! a charge by an estimate where they do not.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::edge::call::exchange::Exchange;
use crate::edge::call::target::Call;
use crate::edge::call::watch::{Leave, Places, Watch};

impl Exchange {
    /// Makes the watch over the call at the target where it is.
    pub(in crate::edge) fn watch(&self) -> Watch {
        let deadline = self.deadline().map(Instant::from_std);
        Watch::new(&self.request.snapshot.ending, deadline, self.leave_taking())
    }

    /// The way to read on when the client goes; absent: the provider is left.
    fn leave_taking(&self) -> Option<Leave> {
        let call = self.call.as_ref().filter(|call| call.infers)?;
        let is_held = self.bill.as_ref().is_some_and(|bill| bill.is_held());
        let time = call.upstream.times.drain.or_else(|| is_held.then_some(CLIENT_GONE_GRACE))?;
        let limits = &self.request.snapshot.limits;
        let account = limits.drains_per_account.unwrap_or_else(|| limits.drains.div_ceil(ACCOUNTS));
        Some(Leave {
            time,
            grant: Arc::clone(self.request.grant.as_ref()?),
            drains: Arc::clone(&self.request.snapshot.drains),
            places: Places { all: limits.drains, account },
        })
    }

    /// The client is gone and its answer will not be whole. Charged is what has come of it; of a model that reasons, what
    /// it is likely to have written in the time that it had.
    pub(in crate::edge) fn leave(&mut self) {
        let reasons = |call: &Call| call.thinks || call.upstream.paces.has_reasoned(&call.upstream_model);
        if self.call.as_ref().is_some_and(|call| reasons(call)) {
            self.presume();
        }
        self.break_off();
    }

    /// The answer is of no use, but was written. Charged is what its model is likely to have written in the time that it
    /// had.
    pub(in crate::edge) fn waste(&mut self) {
        self.presume();
        self.break_off();
    }

    fn presume(&mut self) {
        let (Some(call), Some(bill), Some(sent)) = (&self.call, &mut self.bill, self.sent) else { return };
        if call.infers {
            let paces = &call.upstream.paces;
            let tokens = paces.tokens_in(&call.upstream_model, sent.elapsed());
            bill.presume(tokens.saturating_mul(call.choices));
        }
    }

    /// The answer has been seen to be one of a model that reasons.
    pub(in crate::edge) fn note_reasoning(&mut self, reasons: bool) {
        if let Some(call) = &mut self.call {
            call.thinks |= reasons;
        }
    }

    /// The answer is whole: notes once how long its model has taken for it.
    pub(in crate::edge) fn note_pace(&mut self) {
        let Some(time) = self.sent.take().map(|sent| sent.elapsed()) else { return };
        // A client that takes its answer slowly makes its provider slow.
        if self.stalled > time / 8 {
            return;
        }
        // Of several answers at once, it is not known how long each took.
        if let (Some(call), Some(usage)) = (self.call.as_ref().filter(|call| call.choices == 1), &self.usage)
        {
            call.upstream.paces.note(&call.upstream_model, usage, time);
        }
    }
}

/// The time for which a provider that is to be left is read on when its client is gone: most say what an answer has cost within a
/// second of its last piece. It is no setting, as it only decides between a count and an estimate.
const CLIENT_GONE_GRACE: Duration = Duration::from_secs(2);

/// Accounts whose clients may go at once before one has fewer places than it could have alone, by default.
const ACCOUNTS: usize = 10;
