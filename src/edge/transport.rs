//! Errors on the way to a provider: what Pingora's mean, and those by which it is told what to do next.

use pingora::{Error, ErrorType, RetryType};

use crate::failure::{Failure, Kind};

use super::exchange::Exchange;

/// Makes Pingora ask the next target or, if there is none, keeps the failure for the hook that tells the client.
pub(super) fn raise(exchange: &mut Exchange, failure: Failure) -> Box<Error> {
    exchange.fail_attempt(failure_kind(&failure));
    if exchange.bytes_out == 0 && exchange.turn(&failure) {
        return turned(exchange);
    }
    let error = own_error(failure.status());
    exchange.failure = Some(failure);
    error
}

/// Makes Pingora ask the target that was turned to, unless that is one which it can not go to by itself.
pub(super) fn turned(exchange: &Exchange) -> Box<Error> {
    let mut error = own_error(0);
    error.set_retry(!exchange.is_carried());
    error
}

pub(super) fn own_error(status: u16) -> Box<Error> {
    let mut error = Error::explain(ErrorType::CustomCode("crossmodel", status), "see the access line");
    error.as_up();
    error.set_retry(false);
    error
}

/// Makes Pingora ask the next target, if there is one, after an error of its own.
pub(super) fn retry_elsewhere(exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
    let turns = exchange.turn(&transport(&error));
    error.set_retry(turns && !exchange.is_carried());
    error
}

/// Was the connection one that the provider had closed meanwhile, or did not take the request for, so that nothing
/// of it was looked at?
pub(super) fn is_stale(error: &Error, reused: bool) -> bool {
    match error.retry {
        RetryType::ReusedOnly => reused,
        RetryType::Decided(true) => true,
        // Over TLS, and while the request is written, Pingora does not tell.
        RetryType::Decided(false) => {
            reused
                && matches!(
                    error.etype(),
                    ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
                )
        }
    }
}

/// What the client is told when the way to the provider failed.
pub(super) fn transport(error: &Error) -> Failure {
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
pub(super) fn told(error: &Error) -> String {
    let name = error.etype().as_str();
    match error.root_cause().downcast_ref::<std::io::Error>() {
        Some(cause) => format!("{name}: {cause}"),
        None => name.to_owned(),
    }
}

/// The kind of failure that a status is, for metrics.
pub(super) fn status_kind(status: u16) -> &'static str {
    match status {
        401..=403 => "credential",
        429 => "rate_limited",
        500.. => "server",
        _ => "refused",
    }
}

/// The kind of failure that ends an answer that has begun, for metrics.
pub(super) fn failure_kind(failure: &Failure) -> &'static str {
    if failure.is_late() { "timeout" } else { "broken" }
}

/// The kind of failure that an error on the way is, for metrics; `other` if it is none of time.
pub(super) fn error_kind(error: &Error, other: &'static str) -> &'static str {
    use ErrorType::{ConnectTimedout, ReadTimedout, TLSHandshakeTimedout, WriteTimedout};
    match error.etype() {
        ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout => "timeout",
        _ => other,
    }
}
