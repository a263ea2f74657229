//! Messages of a client's request.

use std::collections::HashSet;

use crate::canon::{Losses, Part, Role, Target, Text, Turn};
use crate::failure::Result;
use crate::protocol::node::{Node, Type};

use super::content::{self, BlockContext};

/// Reads one message. Instructions before all others go to `first`.
pub(super) fn read<'a>(
    node: &Node<'a, '_>,
    target: &Target<'_>,
    turns: &mut Vec<Turn<'a>>,
    first: &mut Vec<Text<'a>>,
    losses: &mut Losses,
) -> Result<()> {
    let (mut role, mut content) = (None, None);
    node.members(|key, value| {
        match key {
            "role" => role = Some(self::role(&value)?),
            "content" => content = Some(value.text),
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    let Some(role) = role else {
        return Err(node.missing("role").wrong("given"));
    };
    let content = content::required(node, "content", content)?;
    let mut parts = Vec::new();
    match (content.kind(), role) {
        (Type::String, _) => parts.push(Part::Text(Text::new(content.json_str()?))),
        (_, Role::System) => content.items(|item| {
            parts.push(Part::Text(content::only_text(&item, losses)?));
            Ok(())
        })?,
        _ => content
            .items(|item| content::read(&item, BlockContext::Message(role), target, &mut parts, losses))?,
    }
    if role == Role::System && turns.is_empty() {
        first.extend(parts.into_iter().filter_map(|part| match part {
            Part::Text(text) if !text.text.is_empty() => Some(text),
            _ => None,
        }));
        return Ok(());
    }
    keep_last_results(&mut parts);
    turns.push(Turn::new(role, parts));
    Ok(())
}

fn role(node: &Node<'_, '_>) -> Result<Role> {
    match &*node.string()? {
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "system" => Ok(Role::System),
        _ => Err(node.wrong("'user', 'assistant' or 'system'")),
    }
}

/// Keeps only the last of several results of one call.
fn keep_last_results(parts: &mut Vec<Part<'_>>) {
    let results = parts.iter().filter(|part| matches!(part, Part::Result(_))).count();
    if results < 2 {
        return;
    }
    let mut seen = HashSet::with_capacity(results);
    let keep: Vec<bool> = parts
        .iter()
        .rev()
        .map(|part| match part {
            Part::Result(result) => seen.insert(result.id.clone()),
            _ => true,
        })
        .collect();
    if keep.iter().all(|keep| *keep) {
        return;
    }
    let mut keep = keep.into_iter().rev();
    parts.retain(|_| keep.next().unwrap_or(true));
}
