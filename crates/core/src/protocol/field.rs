//! Members of a request that are handled by the table of fields alone.

use crate::canon::{Extra, Field, FieldPolicy, Losses, ProtocolId, Request, Target, not_carried};
use crate::failure::Result;

use super::node::Node;

/// Handles a top-level member according to the table.
///
/// A member that is in no table is copied to a provider of OpenAI's protocols if its profile allows that. On the
/// way to Messages it is dropped, because Messages refuses unknown members.
///
/// # Errors
/// Returns 400 if the member is refused, or if it is lost in strict mode.
pub(super) fn take<'a>(
    fields: &[Field],
    name: &str,
    node: &Node<'a, '_>,
    target: &Target<'_>,
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<()> {
    let field = fields.iter().find(|field| field.name == name);
    if field.is_some_and(|field| field.is_neutral(node.text)) {
        return Ok(());
    }
    match field.map_or_else(|| unknown(target), |field| field.policy(target.protocol)) {
        FieldPolicy::Forwarded => {
            request.extra.push(Extra { name: name.to_owned().into(), value: node.raw()? });
            Ok(())
        }
        FieldPolicy::Dropped => losses.drop(&node.path),
        FieldPolicy::Refused => Err(not_carried(node.path.to_string())),
        FieldPolicy::Own | FieldPolicy::Mapped | FieldPolicy::Silent => Ok(()),
    }
}

fn unknown(target: &Target<'_>) -> FieldPolicy {
    let forwards = target.protocol != ProtocolId::Messages && target.profile.forward_unknown;
    if forwards { FieldPolicy::Forwarded } else { FieldPolicy::Dropped }
}
