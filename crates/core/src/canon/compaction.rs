//! Compaction: a model writes a summary of a conversation, which takes the place of all that came before it.

use bytes::Bytes;

use crate::json::{JsonStr, Raw, find_member, write};

use super::{Carrier, Choice, Format, Part, Request, Role, Sealer, Text, Turn};

/// The compaction that an answer is.
#[derive(Clone, Debug, Default)]
pub struct Compaction {
    /// The user's messages, which the new conversation keeps before the summary, as elements of a JSON array. Absent:
    /// the client keeps them by itself.
    pub kept: Option<Bytes>,
}

impl Request<'_> {
    /// Turns the request into one for a summary of its conversation. The tools stay, because the provider finds the
    /// prompt in its cache only with them.
    pub fn ask_for_summary(&mut self) {
        self.compacts = true;
        self.choice = Some(Choice::None);
        self.format = Format::Text;
        let text = Part::Text(Text::new(JsonStr::plain(SUMMARY_REQUEST)));
        self.turns.push(Turn::new(Role::User, vec![text]));
    }
}

impl Carrier {
    /// Returns the carrier of a summary.
    #[must_use]
    pub fn of_summary(text: &JsonStr<'_>) -> Self {
        let mut out = Vec::with_capacity(text.raw().len() + BLOCK_BYTES);
        write::object(&mut out, |o| {
            o.json_str(BLOCK, text);
        });
        Self { blocks: String::from_utf8(out).ok().and_then(Raw::read_owned).into_iter().collect() }
    }

    /// Returns the text in the place of a summary, if this is its carrier. A summary is text, so it is for all
    /// providers and models.
    #[must_use]
    pub fn read_summary(text: &str, sealer: &Sealer) -> Option<JsonStr<'static>> {
        let carrier = Self::open_from_any(text, sealer).ok()?;
        let block = carrier.blocks.first()?.get();
        let member = find_member(block.as_bytes(), BLOCK)?;
        let summary = JsonStr::read(std::str::from_utf8(member.value).ok()?)?;
        Some(JsonStr::concat(&[&JsonStr::plain(SUMMARY_HEADING), &summary]))
    }
}

/// The member of a carrier's block that holds a summary.
const BLOCK: &str = "compaction";

/// Bytes of a carrier's block around the summary.
const BLOCK_BYTES: usize = 18;

/// The turn that asks for a summary. It never changes, so that conversations keep their bytes.
const SUMMARY_REQUEST: &str = "Write a summary of this conversation for an assistant that will continue it and sees nothing else. State the user's goal and constraints, decisions and their reasons, the present state with exact names, paths, identifiers and values, what failed, and the next steps. Text only; call no tool.";

/// The line before a summary, as the inside of a JSON literal.
const SUMMARY_HEADING: &str = r"[Summary of the conversation up to here]\n";
