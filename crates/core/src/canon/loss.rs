//! The losses of a translation, as values.
//!
//! Nothing is lost silently. Each member that is dropped or changed is noted here with its path, and the client is
//! told in a header. A client that asked for strictness gets a refusal instead.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::failure::{Failure, Kind, Result};
use crate::json::Path;

use super::{ProtocolId, Rejection, Rejections};

/// One member of a request that was not carried as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The path of the member.
    pub path: String,
    /// The value that went upstream in its place; absent if none did.
    pub value: Option<String>,
}

/// All losses of one request, in the order of their notes.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    list: Vec<Loss>,
    /// The paths in the list, for fast look-up: a hostile request can have very many.
    paths: HashSet<String>,
    strict: bool,
    client: Option<ProtocolId>,
    rejections: Rejections,
}

impl Losses {
    /// Returns an empty list. With `strict`, the first loss is a refusal.
    #[must_use]
    pub fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    /// Names members in the words of this protocol, for its clients.
    #[must_use]
    pub fn told_to(mut self, client: ProtocolId) -> Self {
        self.client = Some(client);
        self
    }

    /// Notes that a member is left out.
    ///
    /// # Errors
    /// Returns 400 in strict mode.
    pub fn drop(&mut self, path: &Path<'_>) -> Result<()> {
        self.record(path.to_string(), None)
    }

    /// Notes that a member is left out, like [`Losses::drop`], under the name that it has in the upstream request.
    ///
    /// # Errors
    /// Returns 400 in strict mode.
    pub fn drop_named(&mut self, path: &str) -> Result<()> {
        self.record(self.word(path).to_owned(), None)
    }

    /// Notes that a member goes upstream with another value.
    ///
    /// # Errors
    /// Returns 400 in strict mode.
    pub fn change(&mut self, path: &str, value: impl ToString) -> Result<()> {
        self.record(self.word(path).to_owned(), Some(value.to_string()))
    }

    /// Counts a carrier that was not opened. It is not listed: the conversation goes on without that reasoning, as
    /// it does without reasoning that another provider has sealed.
    pub fn reject(&mut self, rejection: Rejection) {
        self.rejections.add(rejection);
    }

    /// Returns the counts of carriers that were not opened.
    #[must_use]
    pub fn rejections(&self) -> Rejections {
        self.rejections
    }

    /// Returns the name of a member in the client's protocol.
    fn word<'p>(&self, name: &'p str) -> &'p str {
        let words = WORDS.iter().find(|words| words.contains(&name));
        match (words, self.client) {
            (Some(words), Some(client)) => words.get(client as usize).copied().unwrap_or(name),
            _ => name,
        }
    }

    fn record(&mut self, path: String, value: Option<String>) -> Result<()> {
        if self.strict {
            return Err(not_carried(path));
        }
        if self.paths.insert(path.clone()) {
            self.list.push(Loss { path, value });
        }
        Ok(())
    }

    /// Returns the losses noted so far.
    #[must_use]
    pub fn list(&self) -> &[Loss] {
        &self.list
    }

    /// Returns the value of the `x-crossmodel-dropped` header: the paths, with the new values of changed members.
    /// `None` means that nothing was lost.
    #[must_use]
    pub fn header(&self) -> Option<String> {
        let mut text = String::new();
        for (shown, loss) in self.list.iter().enumerate() {
            if text.len() > MAX_HEADER_LEN {
                let _ = write!(text, ", +{}", self.list.len() - shown);
                break;
            }
            if shown > 0 {
                text.push_str(", ");
            }
            text.extend(loss.path.chars().filter(char::is_ascii_graphic).take(MAX_PART_LEN));
            if let Some(value) = &loss.value {
                text.push('=');
                text.extend(value.chars().filter(|c| c.is_ascii_graphic() && *c != ',').take(MAX_PART_LEN));
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Returns the refusal of a member that the chosen model's protocol has no place for.
#[must_use]
pub fn not_carried(path: String) -> Failure {
    let message = format!("'{path}' is not supported for this model.");
    Failure::new(Kind::Unsupported, message).with_param(path)
}

/// Members whose names differ between protocols, in the order of [`ProtocolId`].
const WORDS: [[&str; 4]; 8] = [
    ["reasoning_effort", "reasoning.effort", "thinking", "generationConfig.thinkingConfig"],
    ["thinking_budget", "reasoning.effort", "thinking", "generationConfig.thinkingConfig"],
    ["stop", "stop", "stop_sequences", "generationConfig.stopSequences"],
    ["parallel_tool_calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use", "tools"],
    ["temperature", "temperature", "temperature", "generationConfig.temperature"],
    ["top_p", "top_p", "top_p", "generationConfig.topP"],
    ["top_k", "top_k", "top_k", "generationConfig.topK"],
    ["service_tier", "service_tier", "service_tier", "serviceTier"],
];

/// Length of the header, in bytes, from which on losses are only counted: HTTP stacks commonly limit all headers
/// to 8 KiB.
const MAX_HEADER_LEN: usize = 2000;

/// Maximum number of characters of one path or value in the header, because clients choose the names of members.
const MAX_PART_LEN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_paths_once_and_values_where_they_changed() {
        let mut losses = Losses::default();
        losses.drop(&Path::ROOT.key("seed")).unwrap();
        losses.drop_named("seed").unwrap();
        losses.change("temperature", "1.0").unwrap();
        assert_eq!(losses.header().unwrap(), "seed, temperature=1.0");
        assert_eq!(Losses::default().header(), None);
    }

    #[test]
    fn clients_are_told_in_their_own_words() {
        let told = |client, name| {
            let mut losses = Losses::new(false).told_to(client);
            losses.drop_named(name).unwrap();
            losses.header().unwrap()
        };
        assert_eq!(told(ProtocolId::Responses, "reasoning_effort"), "reasoning.effort");
        assert_eq!(told(ProtocolId::Chat, "reasoning.effort"), "reasoning_effort");
        assert_eq!(told(ProtocolId::Chat, "thinking_budget"), "thinking_budget");
        assert_eq!(told(ProtocolId::Messages, "stop"), "stop_sequences");
        assert_eq!(told(ProtocolId::Messages, "top_k"), "top_k");
    }

    #[test]
    fn strict_mode_refuses_the_first_loss() {
        let mut losses = Losses::new(true);
        let refusal = losses.drop(&Path::ROOT.key("seed")).unwrap_err();
        assert_eq!((refusal.status(), refusal.param()), (400, Some("seed")));
    }

    #[test]
    fn a_hostile_path_can_not_break_the_header() {
        let mut losses = Losses::default();
        losses.drop_named("a\r\nset-cookie: x").unwrap();
        assert_eq!(losses.header().unwrap(), "aset-cookie:x");
        for n in 0..1000 {
            losses.drop_named(&format!("member_number_{n}")).unwrap();
        }
        assert!(losses.header().unwrap().len() < MAX_HEADER_LEN + 64);
    }
}
