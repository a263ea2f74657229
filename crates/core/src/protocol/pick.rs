//! The members of one object, by name, and the elements of an array.
//!
//! [`members_named`] is for what clients send: what is wrong with it is refused. The others are for answers of providers, of which
//! what cannot be read counts as absent. Null is the same as absent everywhere.

use std::borrow::Cow;

use crate::canon::Losses;
use crate::failure::Result;
use crate::json::{self, JsonStr, Lenient as _};

use super::node::Node;

/// Returns the values of the members with these names; `None` for absent and null ones. The last of two equal keys
/// counts.
pub(super) fn members_named<'a, const N: usize>(
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

/// The same for an object of which nothing else is carried: other members are left out and listed, unless they are
/// among the `neutral` ones.
///
/// # Errors
/// Returns 400 if this is not an object, and in strict mode if a member is left out.
pub(super) fn members_or_losses<'a, const N: usize>(
    node: &Node<'a, '_>,
    names: [&str; N],
    neutral: &[&str],
    losses: &mut Losses,
) -> Result<[Option<&'a str>; N]> {
    let mut found = [None; N];
    node.members(|key, value| {
        match names.iter().zip(&mut found).find(|(name, _)| **name == key) {
            Some((_, slot)) => *slot = Some(value.text),
            None if neutral.contains(&key) => {}
            None => unknown_member(&value, losses)?,
        }
        Ok(())
    })?;
    Ok(found)
}

/// Lists a member that is left out because it is unknown, unless it is empty.
///
/// # Errors
/// Returns 400 in strict mode.
pub(super) fn unknown_member(value: &Node<'_, '_>, losses: &mut Losses) -> Result<()> {
    match value.text {
        "[]" | "{}" => Ok(()),
        _ => losses.drop(&value.path),
    }
}

/// Lists members of an object that are left out because they belong to objects of another type. `None` stands for a member
/// that is absent.
///
/// # Errors
/// Returns 400 in strict mode.
pub(super) fn unused_members<'a>(
    node: &Node<'a, '_>,
    members: impl IntoIterator<Item = (&'static str, Option<&'a str>)>,
    losses: &mut Losses,
) -> Result<()> {
    for (name, text) in members {
        if let Some(text) = text {
            unknown_member(&node.at(name, text), losses)?;
        }
    }
    Ok(())
}

/// Returns the same as [`members_named`] for an object that comes from a provider. All are absent if anything is wrong with it.
pub(super) fn fields_named<'a, const N: usize>(json: &'a str, names: [&str; N]) -> [Option<&'a str>; N] {
    members_named(&Node::root(json), names).unwrap_or([None; N])
}

/// The same for an object whose members count as far as it can be read. Keys are taken as they are spelled.
pub(super) fn readable_fields_named<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> [Option<&'a str>; N] {
    let mut found = [None; N];
    for_each_member(json, |key, value| {
        for (slot, name) in found.iter_mut().zip(names) {
            if key == name.as_bytes() {
                *slot = Some(value);
            }
        }
    });
    found
}

/// Calls `take` with each member of an object that is not null. A value that is not an object has none.
pub(super) fn for_each_member<'a>(json: &'a str, mut take: impl FnMut(&[u8], &'a str)) {
    for (key, value) in members(json) {
        if value != "null" {
            take(key, value);
        }
    }
}

/// The members of an object, null or not. What is no object has none.
pub(super) fn members(json: &str) -> impl Iterator<Item = (&[u8], &str)> {
    let members = json::members(json.as_bytes()).lenient();
    members.map(|member| (member.key, json.get(member.span).unwrap_or_default()))
}

/// The elements of an array. What is no array has none.
pub(super) fn elements(json: &str) -> impl Iterator<Item = &str> {
    let spans = json::elements(json.as_bytes()).lenient();
    spans.map(|(_, span)| json.get(span).unwrap_or_default())
}

/// The elements of an array that may be absent, with their places.
pub(super) fn indexed_elements(json: Option<&str>) -> impl Iterator<Item = (u64, &str)> {
    (0..).zip(elements(json.unwrap_or("[]")))
}

/// The text of a literal that is a small word, such as an id or a name; empty for what is no literal.
pub(super) fn short_text(value: &str) -> Cow<'_, str> {
    JsonStr::read(value).map(JsonStr::into_text).unwrap_or_default()
}
