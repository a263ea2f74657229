//! The user's place, which narrows a search of the web.

use crate::canon::Losses;
use crate::failure::Result;
use crate::json::Raw;

use super::node::{Node, Type};
use super::pick::members_or_losses;

/// Reads a place. Members that no protocol knows are listed.
///
/// # Errors
/// Returns 400 if this is not valid JSON, and in strict mode if a member is left out.
pub(super) fn read<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Raw<'a>> {
    if node.kind() == Type::Object {
        members_or_losses(node, [], MEMBERS, losses)?;
    }
    node.raw()
}

/// Members of a place.
pub(super) const MEMBERS: &[&str] = &["city", "country", "region", "timezone", "type"];
