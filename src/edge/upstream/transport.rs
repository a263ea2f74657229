//! Errors of connections to providers: their meaning, and the gateway's own failures for them.

use pingora::{Error, ErrorType};

use crate::edge::upstream::reason::reason;
use crate::failure::{Failure, Kind};
use crate::observe::AttemptFailure;

/// A failure as an error of Pingora's, in which hooks hand it on; [`provider_failure`] gives it back.
pub(in crate::edge) fn hook_error(failure: Failure) -> Box<Error> {
    Error::because(ErrorType::InternalError, "see the access line", failure)
}

/// Returns the failure for the client when the connection to the provider has failed.
pub(in crate::edge) fn provider_failure(error: &Error) -> Failure {
    if let Some(failure) = error.root_cause().downcast_ref::<Failure>() {
        return failure.clone();
    }
    let failure = match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => {
            Failure::new(Kind::Provider, "The provider could not be reached in time.")
        }
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::late(),
        _ => return Failure::provider(reason(error)),
    };
    failure.with_detail(reason(error))
}

/// The failure that a status is.
pub(in crate::edge) fn status_failure(status: u16) -> AttemptFailure {
    match status {
        401..=403 => AttemptFailure::Credential,
        429 => AttemptFailure::RateLimited,
        500.. => AttemptFailure::Server,
        _ => AttemptFailure::Refused,
    }
}

/// The failure that ends an answer that has begun.
pub(in crate::edge) fn answer_failure(failure: &Failure) -> AttemptFailure {
    if failure.is_late() { AttemptFailure::Timeout } else { AttemptFailure::Broken }
}

/// The failure that an error on the way is; `other` if it is neither one of time nor one of TLS.
pub(in crate::edge) fn error_failure(error: &Error, other: AttemptFailure) -> AttemptFailure {
    use ErrorType::{ConnectTimedout, ReadTimedout, WriteTimedout};
    use ErrorType::{InvalidCert, TLSHandshakeFailure, TLSHandshakeTimedout};
    match error.etype() {
        ConnectTimedout | ReadTimedout | WriteTimedout => AttemptFailure::Timeout,
        InvalidCert | TLSHandshakeFailure | TLSHandshakeTimedout => AttemptFailure::Tls,
        _ => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_comes_through_a_hook_as_it_is() {
        let failure = Failure::new(Kind::RateLimited, "Wait.").with_retry_after(7).with_detail("why");
        let same = provider_failure(&hook_error(failure.clone()));
        assert_eq!((same.kind(), same.message(), same.retry_after()), (failure.kind(), "Wait.", Some(7)));
        assert_eq!(same.detail(), failure.detail());
    }
}
