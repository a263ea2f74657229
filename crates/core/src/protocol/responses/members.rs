//! The members of one object that are asked for by name, and the elements of an array.

use crate::failure::Result;
use crate::json;
use crate::json::Lenient as _;
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

/// The members of an object that comes from a provider; what is wrong with it makes them absent.
pub(super) fn fields<'a, const N: usize>(json: &'a str, names: [&str; N]) -> [Option<&'a str>; N] {
    pick(&Node::root(json), names).unwrap_or([None; N])
}

/// The elements of an array that comes from a provider, with their places.
pub(super) fn elements(json: Option<&str>) -> impl Iterator<Item = (u64, &str)> {
    let json = json.unwrap_or("[]");
    let spans = json::elements(json.as_bytes()).lenient();
    (0..).zip(spans.filter_map(move |(_, span)| json.get(span)))
}
