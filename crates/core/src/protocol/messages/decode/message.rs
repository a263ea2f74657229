//! Messages of a client's request.

use std::collections::HashSet;

use crate::canon::{Effort, Losses, Part, Role, Target, Text, Turn};
use crate::failure::Result;
use crate::protocol::node::{Node, Type};

use super::changes::ConversationChanges;
use super::content::{self, BlockContext};
use super::offered_tools;

/// The messages of a request.
#[derive(Default)]
pub(super) struct Conversation<'a> {
    pub(super) turns: Vec<Turn<'a>>,
    /// Instructions in the first messages; they follow those of `system`.
    pub(super) first: Vec<Text<'a>>,
    /// The changes of tools and effort in the messages.
    pub(super) changes: ConversationChanges<'a>,
}

impl<'a> Conversation<'a> {
    /// Reads one message.
    pub(super) fn read(
        &mut self,
        node: &Node<'a, '_>,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<()> {
        let (mut role, mut content, mut configures) = (None, None, false);
        node.members(|key, value| {
            match key {
                "role" => role = Some(self::role(&value)?),
                "content" => content = Some(value.text),
                "output_config" => {
                    configures = true;
                    self.output_config(&value, losses)?;
                }
                "clear_at" => {
                    configures = true;
                    losses.drop(&value.path)?;
                }
                _ => losses.drop(&value.path)?,
            }
            Ok(())
        })?;
        let Some(role) = role else {
            return Err(node.missing("role").wrong("given"));
        };
        if role == Role::System && configures && content.is_none() {
            return Ok(());
        }
        let content = content::required(node, "content", content)?;
        match role {
            Role::System => self.system(&content, target, losses),
            role => self.turn(role, &content, target, losses),
        }
    }

    fn turn(
        &mut self,
        role: Role,
        content: &Node<'a, '_>,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<()> {
        let mut parts = Vec::new();
        let changes = &mut self.changes;
        match content.kind() {
            Type::String => parts.push(Part::Text(Text::new(content.json_str()?))),
            _ => content.items(|item| {
                content::read(&item, BlockContext::Message(role), target, &mut parts, changes, losses)
            })?,
        }
        keep_last_results(&mut parts);
        self.turns.push(Turn::new(role, parts));
        Ok(())
    }

    /// Reads instructions, and blocks that change the tools. A message without instructions is no turn.
    fn system(&mut self, content: &Node<'a, '_>, target: &Target<'_>, losses: &mut Losses) -> Result<()> {
        let place = ConversationChanges::turn_of_tools(target, self.turns.len());
        let (mut parts, mut adds) = (Vec::new(), false);
        if content.kind() == Type::String {
            parts.push(Part::Text(Text::new(content.json_str()?)));
        } else {
            content.items(|item| {
                let kind = item.find("type").map(|kind| kind.string()).transpose()?;
                match kind.as_deref() {
                    Some("tool_addition") => {
                        adds = true;
                        offered_tools::add(&mut self.changes, &item, place, losses)?;
                    }
                    Some("tool_removal") => offered_tools::remove(&mut self.changes, &item, losses)?,
                    Some("mcp_tool_listing") => losses.drop(&item.path)?,
                    _ => parts.push(Part::Text(content::only_text(&item, losses)?)),
                }
                Ok(())
            })?;
        }
        if self.turns.is_empty() {
            self.first.extend(parts.into_iter().filter_map(|part| match part {
                Part::Text(text) if !text.text.is_empty() => Some(text),
                _ => None,
            }));
        } else if !parts.is_empty() || adds && place.is_some() {
            self.turns.push(Turn::new(Role::System, parts));
        }
        Ok(())
    }

    /// Reads the effort that holds from a message on.
    fn output_config(&mut self, node: &Node<'a, '_>, losses: &mut Losses) -> Result<()> {
        node.members(|key, value| {
            let level = if key == "effort" { Effort::read(&value.string()?) } else { None };
            match level {
                Some(level) => self.changes.effort = Some(level),
                None => losses.drop(&value.path)?,
            }
            Ok(())
        })
    }
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
