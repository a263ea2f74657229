//! Fail-over: a call goes to the next target if its target fails before the client has got anything.

use crate::edge::call::attempts::Attempts;
use crate::edge::call::billing::Billing;
use crate::edge::call::request_info::RequestInfo;
use crate::edge::request::plan;
use crate::failure::{Failure, Kind};

/// Turns a failed call, of whose answer nothing has gone to the client, to its next target. Returns whether there
/// is one, and time for it.
pub(in crate::edge) fn next_target(
    request: &RequestInfo,
    attempts: &mut Attempts,
    billing: &mut Billing,
    failure: &Failure,
) -> bool {
    // Once one provider has written an answer in vain, others would do so, too.
    if !failure.kind().is_the_providers() || failure.is_costly() || attempts.is_late() {
        return false;
    }
    // The client has chosen the name of the model, and no other provider can help that.
    if failure.kind() == Kind::UnknownToProvider && attempts.is_wildcard() {
        return false;
    }
    let Some(mut fallbacks) = attempts.fallbacks.take() else { return false };
    if let Some(last) = attempts.call.as_ref().filter(|_| !attempts.is_credential_to_blame()) {
        let (target, credential) = (last.choice.target, last.choice.credential);
        fallbacks.choices.retain(|choice| choice.target != target || choice.credential == credential);
    }
    let retry = &request.snapshot.retry;
    while let Some(choice) = fallbacks.choices.pop_front() {
        if !attempts.may_go_on(retry, choice) || !request.snapshot.budget.spend(retry.budget) {
            return false;
        }
        // A target that cannot serve this request is skipped.
        let last = attempts.call();
        if let Ok(call) = last.and_then(|last| plan::redirect(request, billing, last, &fallbacks, choice)) {
            attempts.note_failure(failure);
            attempts.go_on(call, fallbacks);
            return true;
        }
    }
    false
}

/// Returns the failure that the client is told: a model is unknown only if no target has failed for another reason.
pub(in crate::edge) fn told(attempts: &Attempts, failure: Failure) -> Failure {
    if failure.kind() != Kind::UnknownToProvider || !attempts.has_blamed() {
        return failure;
    }
    Failure::provider(failure.detail().unwrap_or_default()).without_blame()
}
