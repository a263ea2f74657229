//! Fail-over: a call whose target fails before the client has got anything goes to the next one.

use crate::edge::call::attempts::Attempts;
use crate::edge::call::billing::Billing;
use crate::edge::call::request_info::RequestInfo;
use crate::edge::request::plan;
use crate::failure::Failure;

/// The call has failed where it was, and nothing of an answer has gone to the client. Turns to the next
/// target; gives whether there is one, and time for it.
pub(in crate::edge) fn next_target(
    request: &RequestInfo,
    attempts: &mut Attempts,
    billing: &mut Billing,
    failure: &Failure,
) -> bool {
    // What one has written in vain, others would write in vain as well.
    if !failure.kind().is_the_providers() || failure.is_costly() || attempts.is_late() {
        return false;
    }
    let Some(mut fallbacks) = attempts.fallbacks.take() else { return false };
    while let Some(choice) = fallbacks.choices.pop_front() {
        if !request.snapshot.budget.spend() {
            return false;
        }
        // A target that cannot be asked this is passed over.
        let last = attempts.call();
        if let Ok(call) = last.and_then(|last| plan::redirect(request, billing, last, &fallbacks, choice)) {
            attempts.note_failure(failure);
            attempts.go_on(call, fallbacks);
            return true;
        }
    }
    false
}
