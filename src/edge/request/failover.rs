//! Fail-over: a call whose target fails before the client has got anything goes to the next one.

use crate::canon::ResponseMetadata;
use crate::edge::call::exchange::Exchange;
use crate::edge::request::plan;
use crate::failure::Failure;

impl Exchange {
    /// The call has failed where it was, and nothing of an answer has gone to the client. Turns to the next
    /// target; gives whether there is one, and time for it.
    pub(in crate::edge) fn turn(&mut self, failure: &Failure) -> bool {
        // What one has written in vain, others would write in vain as well.
        if !failure.kind().is_the_providers() || failure.is_costly() || self.is_late() {
            return false;
        }
        let Some(mut fallbacks) = self.fallbacks.take() else { return false };
        while let Some(choice) = fallbacks.choices.pop_front() {
            if !self.snapshot.budget.spend() {
                return false;
            }
            // A target that cannot be asked this is passed over.
            if let Ok(call) = plan::redirect(self, &fallbacks, choice) {
                self.note_failure(failure);
                self.call = Some(Box::new(call));
                self.failure = None;
                self.upstream_id = None;
                self.sent = None;
                self.usage = None;
                self.served = None;
                self.said = ResponseMetadata::default();
                self.fallbacks = Some(fallbacks);
                self.keep_held();
                (self.tries, self.fresh) = (0, false);
                return true;
            }
        }
        false
    }
}
