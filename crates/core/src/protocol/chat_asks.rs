//! The parts of a Chat request on which it depends whether a model takes it in Chat or only in Responses.

use crate::canon::{ChatTools, searches_in_responses_only};
use crate::json::{self, Lenient as _, Member, Name};

/// The parts of a Chat request on which its protocol at a provider depends, where that speaks Responses, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatAsks {
    /// Whether it offers functions or freeform tools.
    pub tools: bool,
    /// Whether it asks the model to think.
    pub thinks: bool,
    /// Whether it asks the model not to think.
    pub is_off: bool,
    /// Whether it asks for a search of the web.
    pub searches: bool,
    /// Whether it asks for something that Responses does not have: several answers, speech, or the probabilities of
    /// tokens of models that think.
    pub only_in_chat: bool,
}

impl ChatAsks {
    /// Notes a top-level member. `thinks` tells whether it asks the model to think, if it is about that.
    pub(super) fn take(&mut self, name: &Name, member: &Member<'_>, thinks: Option<bool>) {
        if !member.is_present() {
            return;
        }
        match thinks {
            Some(true) => self.thinks = true,
            Some(false) => self.is_off |= member.value != b"{}",
            None => {}
        }
        match name.as_bytes() {
            b"tools" | b"functions" => self.tools |= json::elements(member.value).next().is_some(),
            b"web_search_options" => self.searches = true,
            b"n" => self.only_in_chat |= member.value != b"1",
            b"audio" => self.only_in_chat = true,
            b"modalities" => {
                let mut items = json::elements(member.value).lenient();
                self.only_in_chat |= items.any(|(item, _)| item == b"\"audio\"");
            }
            b"logprobs" => self.only_in_chat |= member.value == b"true",
            b"top_logprobs" => self.only_in_chat |= member.value != b"0",
            _ => {}
        }
    }

    /// Whether a model of OpenAI answers the request in Responses only. `chat_tools` are the requests in Chat whose tools it
    /// accepts.
    #[must_use]
    pub fn needs_responses(&self, chat_tools: ChatTools, model: &str) -> bool {
        if self.only_in_chat {
            return false;
        }
        let refused = match chat_tools {
            ChatTools::Never => true,
            ChatTools::No => self.tools,
            ChatTools::None => self.tools && (self.thinks || !self.is_off),
            ChatTools::Plain => self.tools && self.thinks,
            ChatTools::Yes => false,
        };
        refused || self.searches && searches_in_responses_only(model)
    }
}
