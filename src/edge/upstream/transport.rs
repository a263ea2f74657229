//! Errors on the way to a provider: what Pingora's mean, and failures of our own in their place.

use pingora::{Error, ErrorType};

use crate::failure::{Failure, Kind};

/// A failure as an error of Pingora's, in which hooks hand it on; [`transport`] gives it back.
pub(in crate::edge) fn raised(failure: Failure) -> Box<Error> {
    Error::because(ErrorType::InternalError, "see the access line", failure)
}

/// What the client is told when the way to the provider failed.
pub(in crate::edge) fn transport(error: &Error) -> Failure {
    if let Some(failure) = error.root_cause().downcast_ref::<Failure>() {
        return failure.clone();
    }
    let failure = match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => {
            Failure::new(Kind::Provider, "The provider could not be reached in time.")
        }
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::late(),
        _ => return Failure::provider(told(error)),
    };
    failure.with_detail(told(error))
}

/// An error of Pingora's for the log. Its context may hold the head that could not be read, so only its
/// name is told, and what the system said.
pub(in crate::edge) fn told(error: &Error) -> String {
    let name = error.etype().as_str();
    match error.root_cause().downcast_ref::<std::io::Error>() {
        Some(cause) => format!("{name}: {cause}"),
        None => name.to_owned(),
    }
}

/// The kind of failure that a status is, for metrics.
pub(in crate::edge) fn status_kind(status: u16) -> &'static str {
    match status {
        401..=403 => "credential",
        429 => "rate_limited",
        500.. => "server",
        _ => "refused",
    }
}

/// The kind of failure that ends an answer that has begun, for metrics.
pub(in crate::edge) fn failure_kind(failure: &Failure) -> &'static str {
    if failure.is_late() { "timeout" } else { "broken" }
}

/// The kind of failure that an error on the way is, for metrics; `other` if it is none of time.
pub(in crate::edge) fn error_kind(error: &Error, other: &'static str) -> &'static str {
    use ErrorType::{ConnectTimedout, ReadTimedout, TLSHandshakeTimedout, WriteTimedout};
    match error.etype() {
        ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout => "timeout",
        _ => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_comes_through_a_hook_as_it_is() {
        let failure = Failure::new(Kind::RateLimited, "Wait.").with_retry_after(7).with_detail("why");
        let same = transport(&raised(failure.clone()));
        assert_eq!((same.kind(), same.message(), same.retry_after()), (failure.kind(), "Wait.", Some(7)));
        assert_eq!(same.detail(), failure.detail());
    }
}
