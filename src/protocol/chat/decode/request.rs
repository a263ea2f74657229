//! A client's request, in the canonical form.

use crate::canon::{Losses, Request, Target};
use crate::failure::{Failure, Kind, Result};

/// Reads a request that goes to `target`.
pub(in crate::protocol::chat) fn read<'a>(
    _body: &'a str,
    _target: &Target<'_>,
    _losses: &mut Losses,
) -> Result<Request<'a>> {
    Err(Failure::new(Kind::Internal, "PLACEHOLDER"))
}
