//! The tools that are offered at the end of a conversation that changes them.
//!
//! Some tools are offered only when they were found, and messages of the system add, remove and return tools or set
//! the effort. Other protocols know one list of tools and one effort: those at the end of the conversation.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::canon::{Choice, Losses, Request, Tool, not_carried};
use crate::failure::Result;
use crate::protocol::node::Node;
use crate::protocol::pick::{members_or_losses, unused_members};

use super::changes::{ConversationChanges, ToolChange};
use super::{content, tools};

/// Reads a `tool_addition` block into `changes`. `turn` is the index of its turn, if the provider has a place for tools there.
pub(super) fn add<'a>(
    changes: &mut ConversationChanges<'a>,
    node: &Node<'a, '_>,
    turn: Option<usize>,
    losses: &mut Losses,
) -> Result<()> {
    let (mut kind, mut definition, mut name) = (None, None, None);
    let tool = tool(node, losses)?;
    tool.members(|key, value| {
        match key {
            "type" => kind = Some(value.string()?),
            "definition" => definition = Some(value.text),
            "name" => name = Some(value.string()?),
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    if kind.as_deref() == Some("tool_definition") && name.is_some() {
        losses.drop(&tool.path.key("name"))?;
    }
    if kind.as_deref() == Some("tool_reference") {
        unused_members(&tool, [("definition", definition)], losses)?;
    }
    match (kind.as_deref(), definition, name) {
        (Some("tool_definition"), Some(definition), _) => {
            let tool = tools::read(&tool.at("definition", definition), losses)?;
            changes.tools.push(ToolChange::Defined(tool, turn));
        }
        (Some("tool_reference"), _, Some(name)) => {
            changes.tools.push(ToolChange::Named(name, node.path.to_string()));
        }
        _ => return Err(not_carried(node.path.to_string())),
    }
    Ok(())
}

/// Reads a `tool_removal` block into `changes`.
pub(super) fn remove<'a>(
    changes: &mut ConversationChanges<'a>,
    node: &Node<'a, '_>,
    losses: &mut Losses,
) -> Result<()> {
    let tool = tool(node, losses)?;
    let [name] = members_or_losses(&tool, ["name"], &["type"], losses)?;
    changes.tools.push(ToolChange::Removed(content::required(&tool, "name", name)?.string()?));
    Ok(())
}

/// Returns the `tool` of a block that adds or removes one.
fn tool<'a, 'q>(node: &'q Node<'a, '_>, losses: &mut Losses) -> Result<Node<'a, 'q>> {
    let [tool] = members_or_losses(node, ["tool"], &["type", "cache_control"], losses)?;
    content::required(node, "tool", tool)
}

/// The tools of a request as they were given.
#[derive(Default)]
pub(super) struct GivenTools<'a> {
    offers: Vec<ToolOffer<'a>>,
    /// Whether the provider itself was to search for deferred tools.
    is_searched: bool,
}

/// A tool that may be offered.
struct ToolOffer<'a> {
    tool: Tool<'a>,
    /// The path of the member that defers it.
    deferred: Option<String>,
    is_removed: bool,
    /// The place in the order of the mentions, once it is mentioned.
    mention: Option<usize>,
    turn: Option<usize>,
}

impl<'a> GivenTools<'a> {
    /// Reads one tool.
    pub(super) fn read(&mut self, node: &Node<'a, '_>, losses: &mut Losses) -> Result<()> {
        let mut tool = tools::read(node, losses)?;
        tool.position = Some(self.offers.len());
        let deferring = node.find("defer_loading").filter(|deferred| deferred.text == "true");
        let deferred = deferring.map(|member| node.at("defer_loading", member.text).path.to_string());
        self.is_searched |= node.find("type").is_some_and(|kind| kind.text.starts_with("\"tool_search_"));
        self.offers.push(ToolOffer { tool, deferred, is_removed: false, mention: None, turn: None });
        Ok(())
    }

    /// Puts the tools that are offered at the end of the conversation into the request.
    ///
    /// # Errors
    /// Returns 400 if a message offers a tool that is not known.
    pub(super) fn offer(
        mut self,
        changes: ConversationChanges<'a>,
        request: &mut Request<'a>,
        losses: &mut Losses,
    ) -> Result<()> {
        request.thinking.effort = changes.effort.or(request.thinking.effort);
        if self.is_searched {
            let mut deferring = self.offers.iter_mut().filter_map(|offer| offer.deferred.take());
            deferring.try_for_each(|path| losses.drop_named(&path))?;
        }
        let is_deferred = self.offers.iter().any(|offer| offer.deferred.is_some());
        // Most conversations only mention tools that are offered anyway.
        if is_deferred || changes.tools.iter().any(|change| !matches!(change, ToolChange::Mentioned(_))) {
            self.change(changes.tools, request.choice.as_ref())?;
        }
        let offered = |offer: &ToolOffer<'_>| {
            !offer.is_removed && (offer.deferred.is_none() || offer.mention.is_some())
        };
        self.offers.retain(offered);
        // Those that came later follow in their order, so that the list only grows at its end.
        self.offers.sort_by_key(|offer| offer.mention);
        for offer in self.offers {
            match offer.turn.and_then(|turn| request.turns.get_mut(turn)) {
                Some(turn) => turn.tools.push(offer.tool),
                None => request.tools.push(offer.tool),
            }
        }
        Ok(())
    }

    fn change(&mut self, changes: Vec<ToolChange<'a>>, choice: Option<&Choice<'a>>) -> Result<()> {
        let places = self.offers.iter().enumerate().map(|(at, offer)| (offer.tool.name.clone(), at));
        let mut places: HashMap<Cow<'a, str>, usize> = places.collect();
        let chosen = match choice {
            Some(Choice::Named(chosen)) => Some(ToolChange::Mentioned(chosen.name.clone())),
            _ => None,
        };
        for (order, change) in changes.into_iter().chain(chosen).enumerate() {
            let (ToolChange::Defined(Tool { name, .. }, _)
            | ToolChange::Named(name, _)
            | ToolChange::Removed(name)
            | ToolChange::Mentioned(name)) = &change;
            let place = places.get(name).copied();
            let known = place.and_then(|place| self.offers.get_mut(place));
            match (change, known) {
                (ToolChange::Defined(tool, _), Some(offer)) => {
                    let position = offer.tool.position;
                    offer.tool = Tool { position, ..tool };
                    offer.return_at(order);
                }
                (ToolChange::Defined(tool, turn), None) => {
                    places.insert(tool.name.clone(), self.offers.len());
                    let mention = Some(order);
                    self.offers.push(ToolOffer { tool, deferred: None, is_removed: false, mention, turn });
                }
                (ToolChange::Named(..), Some(offer)) => offer.return_at(order),
                (ToolChange::Named(_, path), None) => return Err(not_carried(path)),
                (ToolChange::Removed(_), Some(offer)) => offer.is_removed = true,
                (ToolChange::Mentioned(_), Some(offer)) => offer.mention_at(order),
                (ToolChange::Removed(_) | ToolChange::Mentioned(_), None) => {}
            }
        }
        Ok(())
    }
}

impl ToolOffer<'_> {
    fn return_at(&mut self, order: usize) {
        self.is_removed = false;
        self.mention_at(order);
    }

    /// Notes the first mention of a tool that is deferred. Any other one has its place in the list.
    fn mention_at(&mut self, order: usize) {
        if self.deferred.is_some() {
            self.mention.get_or_insert(order);
        }
    }
}
