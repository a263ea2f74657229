//! The members of one object that a decoder asks for by name.

use crate::failure::Result;
use crate::protocol::node::Node;

/// The texts of the members with these names; `None` for what is absent or null. The last of two equal keys
/// counts.
pub(super) fn pick<'a, const N: usize>(
    node: &Node<'a, '_>,
    names: [&str; N],
) -> Result<[Option<&'a str>; N]> {
    let mut found = [None; N];
    node.members(|key, value| {
        if let Some(slot) = names.iter().zip(&mut found).find(|(name, _)| **name == key) {
            *slot.1 = Some(value.text);
        }
        Ok(())
    })?;
    Ok(found)
}

/// A member of `node` that [`pick`] has found, with its place.
pub(super) fn at<'a, 'q>(node: &'q Node<'a, '_>, name: &'q str, text: &'a str) -> Node<'a, 'q> {
    Node { text, path: node.path.key(name) }
}
