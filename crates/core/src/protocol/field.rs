//! Members of a request that are handled by the table of fields alone.

use crate::canon::{Extra, Field, FieldPolicy, Losses, ProtocolId, Request, Target, not_carried};
use crate::failure::Result;
use crate::json::{Path, Raw};

use super::node::Node;

/// Handles a top-level member according to the table.
///
/// A member that is in no table is copied to a provider of OpenAI's protocols if its profile allows that. On the
/// way to Messages and to Gemini it is dropped, because these refuse unknown members.
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
        FieldPolicy::Dropped if field.is_none() => lose_at(&node.path, node.text, losses),
        FieldPolicy::Dropped => losses.drop(&node.path),
        FieldPolicy::Refused => Err(not_carried(node.path.to_string())),
        FieldPolicy::Own | FieldPolicy::Mapped | FieldPolicy::Silent => Ok(()),
    }
}

/// Leaves out a top-level member that no table knows.
///
/// # Errors
/// Returns 400 in strict mode.
pub(super) fn lose(name: &str, value: &Raw<'_>, losses: &mut Losses) -> Result<()> {
    lose_at(&Path::ROOT.key(name), value.get(), losses)
}

/// Leaves out an unknown member. It is no loss if there is nothing in it.
fn lose_at(path: &Path<'_>, value: &str, losses: &mut Losses) -> Result<()> {
    let mut inside = value.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let is_empty = matches!(
        (inside.next(), inside.next(), inside.next()),
        (Some(b'['), Some(b']'), None) | (Some(b'{'), Some(b'}'), None)
    );
    if is_empty || value == "null" { Ok(()) } else { losses.drop(path) }
}

fn unknown(target: &Target<'_>) -> FieldPolicy {
    let is_openai = matches!(target.protocol, ProtocolId::Chat | ProtocolId::Responses);
    let forwards = is_openai && target.profile.forward_unknown;
    if forwards { FieldPolicy::Forwarded } else { FieldPolicy::Dropped }
}
