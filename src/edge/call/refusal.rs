//! The refusal of bytes that are not a valid request.

use crate::failure::{Failure, Kind};
use crate::observe::HeadRefusal;

/// The reason for which a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Refusal {
    /// It did not arrive in time.
    Slow,
    /// It is too long.
    Large,
    /// It is not valid HTTP, or ambiguous.
    Malformed(&'static str),
    /// It asks for a tunnel.
    Connect,
}

impl Refusal {
    /// Returns the reason, for metrics.
    pub(in crate::edge) fn reason(self) -> HeadRefusal {
        match self {
            Self::Slow => HeadRefusal::Slow,
            Self::Large => HeadRefusal::Large,
            Self::Malformed(_) => HeadRefusal::Malformed,
            Self::Connect => HeadRefusal::Connect,
        }
    }

    pub(in crate::edge) fn failure(self) -> Failure {
        match self {
            Self::Slow => Failure::new(Kind::RequestTimeout, "The request's head did not arrive in time."),
            Self::Large => Failure::new(Kind::HeadTooLarge, "The request's headers are too large."),
            Self::Malformed(why) => {
                let message = format!("The request is not HTTP, or not unambiguously: {why}.");
                Failure::new(Kind::BadRequest, message).with_code("invalid_http")
            }
            Self::Connect => {
                let failure = Failure::new(Kind::MethodNotAllowed, "There are no tunnels here.");
                failure.with_allow("GET, HEAD, POST")
            }
        }
    }
}
