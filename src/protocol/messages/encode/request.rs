//! A request for a provider, from the canonical form.

use crate::canon::{Losses, Names, Request, Target};
use crate::failure::{Failure, Kind, Result};
use crate::protocol::Written;

/// Writes the request.
pub(in crate::protocol::messages) fn write(
    _request: &Request<'_>,
    _target: &Target<'_>,
    _names: &Names,
    _losses: &mut Losses,
    _out: &mut Vec<u8>,
) -> Result<Written> {
    Err(Failure::new(Kind::Internal, "PLACEHOLDER"))
}
