//! What the model said and thought in earlier turns.

use std::collections::HashMap;

use crate::canon::{Args, CacheParts, Call, Part, Profile, ReasoningIn, Sealed, Target, Turn};
use crate::json::write::{self, Object};
use crate::json::{self, Lit, Raw, compact};

use super::content::Content;

/// The reasoning of one message, as its provider wants it.
#[derive(Default)]
pub(super) struct Thoughts {
    /// The member that it goes into.
    place: Option<ReasoningIn>,
    /// The text: the inside of a literal.
    text: String,
    /// Elements of `reasoning_details`.
    details: String,
    /// State that belongs to calls, by their ids.
    of_calls: HashMap<String, String>,
}

impl Thoughts {
    /// Collects what the parts of a message hold: blocks of this very provider and model as they are, of
    /// all others the text, if the provider has a place for it.
    pub(super) fn read<'p, 'a: 'p>(
        &mut self,
        parts: impl Iterator<Item = &'p Part<'a>>,
        target: &Target<'_>,
    ) {
        self.text.clear();
        self.details.clear();
        self.of_calls.clear();
        self.place = Some(target.profile.reasoning_in);
        for part in parts {
            let Part::Reasoning(reasoning) = part else { continue };
            let text = reasoning.text.as_ref();
            match &reasoning.sealed {
                Some(Sealed::Carried(carrier)) if !carrier.blocks.is_empty() => {
                    carrier.blocks.iter().for_each(|block| self.block(block));
                }
                _ => self.think(text.map(Lit::raw).unwrap_or_default()),
            }
        }
    }

    fn block(&mut self, block: &Raw<'_>) {
        for member in json::members(block.get().as_bytes()).map_while(Result::ok) {
            let value = block.get().get(member.span).unwrap_or_default();
            match member.key {
                b"reasoning_content" => {
                    let text = Lit::read(value).unwrap_or_default();
                    self.think(text.raw());
                }
                b"reasoning_details" => {
                    for (_, span) in json::elements(value.as_bytes()).map_while(Result::ok) {
                        self.detail(value.get(span).unwrap_or("{}"));
                    }
                }
                b"tc" => {
                    for call in json::members(value.as_bytes()).map_while(Result::ok) {
                        let id = Lit::part(std::str::from_utf8(call.key).unwrap_or_default())
                            .decode()
                            .into_owned();
                        self.of_calls.insert(id, value.get(call.span).unwrap_or("{}").to_owned());
                    }
                }
                _ => {}
            }
        }
    }

    fn think(&mut self, text: &str) {
        match self.place {
            None | Some(ReasoningIn::None) => {}
            Some(_) if text.is_empty() => {}
            Some(ReasoningIn::ReasoningDetails) => self.detail_of(text),
            Some(_) => {
                if !self.text.is_empty() {
                    self.text.push_str(PARAGRAPH);
                }
                self.text.push_str(text);
            }
        }
    }

    fn detail_of(&mut self, text: &str) {
        let mut out = Vec::new();
        write::object(&mut out, |o| {
            o.text("type", "reasoning.text").lit("text", &Lit::part(text));
        });
        self.detail(&String::from_utf8_lossy(&out));
    }

    fn detail(&mut self, json: &str) {
        if !self.details.is_empty() {
            self.details.push(',');
        }
        self.details.push_str(json);
    }

    /// Is there nothing?
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.details.is_empty()
    }

    /// Is the text a part of the content?
    pub(super) fn in_content(&self) -> bool {
        self.place == Some(ReasoningIn::MistralParts) && !self.text.is_empty()
    }

    /// Puts a space where nothing is known: the provider wants the member, and refuses an empty one.
    pub(super) fn require(&mut self) {
        if self.is_empty() {
            if matches!(self.place, None | Some(ReasoningIn::None)) {
                self.place = Some(ReasoningIn::ReasoningContent);
            }
            self.think(" ");
        }
    }

    /// Writes the members.
    pub(super) fn write(&self, o: &mut Object<'_>) {
        let text = Lit::part(&self.text);
        match self.place {
            _ if text.is_empty() => {}
            Some(ReasoningIn::ReasoningContent) => {
                o.lit("reasoning_content", &text);
            }
            Some(ReasoningIn::Reasoning) => {
                o.lit("reasoning", &text);
            }
            _ => {}
        }
        if !self.details.is_empty() {
            o.array("reasoning_details", |list| {
                list.json(&self.details);
            });
        }
    }

    /// The state that the provider has bound to a call of this message.
    pub(super) fn call_state(&self, id: &str) -> Option<&str> {
        self.of_calls.get(id).map(String::as_str)
    }
}

/// The text of a part of the assistant, if it is not empty. A refusal is what the model said.
pub(super) fn text<'p>(part: &'p Part<'_>) -> Option<&'p Lit<'p>> {
    let text = match part {
        Part::Text(text) => &text.text,
        Part::Refusal(text) => text,
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// Writes the `content` of the assistant: neighbouring texts are one, others are paragraphs.
pub(super) fn content(o: &mut Object<'_>, run: &[Turn<'_>], thoughts: &Thoughts, profile: &Profile) {
    let marked = profile.cache_parts != CacheParts::None
        && run
            .iter()
            .flat_map(|turn| &turn.parts)
            .any(|part| matches!(part, Part::Text(text) if text.cache.is_some()));
    if !marked && !thoughts.in_content() {
        o.string("content", |out| join(out, run));
        return;
    }
    o.array("content", |list| {
        if thoughts.in_content() {
            list.object(|o| {
                o.text("type", "thinking").array("thinking", |list| {
                    list.object(|o| {
                        o.text("type", "text").lit("text", &Lit::part(&thoughts.text));
                    });
                });
            });
        }
        let content = Content { profile, id: None };
        for part in run.iter().flat_map(|turn| &turn.parts) {
            match part {
                Part::Text(text) => content.text(list, &text.text, text.cache),
                Part::Refusal(text) => content.text(list, text, None),
                _ => {}
            }
        }
    });
}

fn join(out: &mut write::Text<'_>, run: &[Turn<'_>]) {
    let (mut any, mut apart) = (false, false);
    for turn in run {
        for part in &turn.parts {
            match text(part) {
                Some(text) => {
                    if any && apart {
                        out.lit(&Lit::plain(PARAGRAPH));
                    }
                    out.lit(text);
                    (any, apart) = (true, false);
                }
                None => apart |= !matches!(part, Part::Text(_)),
            }
        }
        apart = true;
    }
}

/// The text for a freeform tool.
pub(super) fn input(out: &mut write::Text<'_>, args: &Args<'_>) {
    match args {
        Args::Lit(text) => out.lit(text),
        Args::Raw(json) => out.plain(json.get()),
    }
}

/// Writes the `arguments` of a function, which are JSON in a string.
pub(super) fn arguments(o: &mut Object<'_>, call: &Call<'_>, scratch: &mut Vec<u8>) {
    o.string("arguments", |out| match &call.args {
        args if call.custom => {
            out.plain("{\"input\":\"");
            match args {
                Args::Lit(text) => out.plain(text.raw()),
                Args::Raw(json) => out.plain(Lit::of(json.get()).raw()),
            }
            out.plain("\"}");
        }
        Args::Lit(text) if text.is_blank() => out.plain("{}"),
        Args::Lit(text) => out.lit(text),
        Args::Raw(json) => {
            scratch.clear();
            compact(json.get(), scratch);
            out.plain(std::str::from_utf8(scratch).unwrap_or("{}"));
        }
    });
}

/// Between paragraphs, inside of a literal.
const PARAGRAPH: &str = "\\n\\n";
