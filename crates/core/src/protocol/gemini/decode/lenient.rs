//! Reading as leniently as Google's own parser.
//!
//! A member may be spelled in camel case or with underscores, an enum in any case, a list of one as its element, and a
//! number as a text.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::failure::{Failure, Kind, Result};
use crate::json::Raw;
use crate::protocol::node::{Node, Type};

/// Calls `take` with each member that is not null, by its name in camel case.
///
/// # Errors
/// Returns 400 if this is not an object, or has a member in two spellings.
pub(super) fn members<'a>(
    node: &Node<'a, '_>,
    mut take: impl FnMut(&str, Node<'a, '_>) -> Result<()>,
) -> Result<()> {
    let mut is_checked = false;
    node.members(|key, value| {
        let name = camel(key);
        // Where no name has an underscore, all are in camel case.
        if name != key && !std::mem::replace(&mut is_checked, true) {
            check_spellings(node)?;
        }
        take(&name, value)
    })
}

/// Refuses an object that has a member in two spellings.
fn check_spellings(node: &Node<'_, '_>) -> Result<()> {
    let mut spellings: HashMap<String, String> = HashMap::new();
    node.members(|key, value| {
        let known = spellings.entry(camel(key).into_owned()).or_insert_with(|| key.to_owned());
        if known == key {
            return Ok(());
        }
        let message = format!("'{known}' and '{key}' are the same member: send one of them.");
        Err(Failure::new(Kind::Unsupported, message).with_param(value.path.to_string()))
    })
}

/// Calls `take` with each element of a list, or with the value itself if it is an object.
///
/// # Errors
/// Returns 400 if this is neither, and the failure of `take` if it fails.
pub(super) fn items<'a>(node: &Node<'a, '_>, mut take: impl FnMut(Node<'a, '_>) -> Result<()>) -> Result<()> {
    if node.kind() == Type::Object { take(*node) } else { node.items(take) }
}

/// Returns a word of an enum in upper case.
pub(super) fn word(node: &Node<'_, '_>) -> Result<String> {
    Ok(node.string()?.to_ascii_uppercase())
}

/// Returns a count, which may be a text.
pub(super) fn count(node: &Node<'_, '_>) -> Result<u64> {
    match node.kind() {
        Type::String => node.string()?.trim().parse().map_err(|_| node.wrong("a number")),
        _ => node.count(),
    }
}

/// Returns a number with its spelling, which may be a text.
pub(super) fn number<'a>(node: &Node<'a, '_>) -> Result<Raw<'a>> {
    if node.kind() != Type::String {
        return node.number();
    }
    let text = node.string()?.into_owned();
    let number = Raw::read_owned(text).filter(|raw| raw.get().parse::<f64>().is_ok());
    number.ok_or_else(|| node.wrong("a number"))
}

/// Returns a name in camel case.
pub(super) fn camel(key: &str) -> Cow<'_, str> {
    if !key.contains('_') {
        return Cow::Borrowed(key);
    }
    let mut out = String::with_capacity(key.len());
    let mut after = false;
    for c in key.chars() {
        match c {
            '_' => after = true,
            c if std::mem::take(&mut after) => out.push(c.to_ascii_uppercase()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_member() {
        assert_eq!(camel("parameters_json_schema"), "parametersJsonSchema");
        assert_eq!(camel("topK"), "topK");
        let read = |text: &str| {
            let mut names = Vec::new();
            members(&Node::root(text), |name, _| {
                names.push(name.to_owned());
                Ok(())
            })
            .map(|()| names)
        };
        assert_eq!(read(r#"{"top_k":1,"topP":2}"#).unwrap(), ["topK", "topP"]);
        let refusal = read(r#"{"top_k":1,"topK":2}"#).unwrap_err();
        assert!(refusal.message().contains("'top_k' and 'topK'"));
    }

    #[test]
    fn numbers_may_be_texts_and_lists_of_one_objects() {
        assert_eq!(count(&Node::root("\"3\"")).unwrap(), 3);
        assert_eq!(number(&Node::root("\"0.5\"")).unwrap().get(), "0.5");
        assert!(count(&Node::root("\"x\"")).is_err());
        let mut seen = 0;
        items(&Node::root("{}"), |_| {
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, 1);
    }
}
