//! The changes of tools and effort that a conversation makes.

use std::borrow::Cow;

use crate::canon::{Effort, ProtocolId, Target, Tool};

/// The changes of tools and effort in the messages of a request, in their order.
#[derive(Default)]
pub(super) struct ConversationChanges<'a> {
    pub(super) tools: Vec<ToolChange<'a>>,
    /// The effort of the last message that has one.
    pub(super) effort: Option<Effort>,
}

/// A change of the tools that are offered.
pub(super) enum ToolChange<'a> {
    /// A tool is defined; with the index of its turn, if the provider has a place for it there.
    Defined(Tool<'a>, Option<usize>),
    /// A tool is offered again: its name, and the path of the block.
    Named(Cow<'a, str>, String),
    /// A tool is not offered from here on.
    Removed(Cow<'a, str>),
    /// A tool was found or called.
    Mentioned(Cow<'a, str>),
}

impl<'a> ConversationChanges<'a> {
    /// Notes that a tool was found or called.
    pub(super) fn mention(&mut self, name: Cow<'a, str>) {
        self.tools.push(ToolChange::Mentioned(name));
    }

    /// Returns the index of the turn that is read, if the provider has a place for tools in the conversation.
    pub(super) fn turn_of_tools(target: &Target<'_>, turns: usize) -> Option<usize> {
        let has_place = target.protocol == ProtocolId::Responses && target.profile.is_openai;
        (has_place && turns > 0).then_some(turns)
    }
}
