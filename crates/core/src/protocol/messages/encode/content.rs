//! Content blocks of a request.

use crate::canon::{Call, Names, Part, Text, ToolResult};
use crate::json::Lit;
use crate::json::write::{Array, Object};

use super::ids::Ids;
use super::mark::Marks;
use super::message::Item;
use super::{input, media, reasoning};

/// What the blocks of a request are written with.
pub(super) struct Blocks<'w> {
    pub(super) names: &'w Names,
    pub(super) ids: Ids<'w>,
    pub(super) marks: Marks,
}

impl Blocks<'_> {
    /// Writes one block, or the several of which reasoning consists. `last`: the model goes on from here.
    pub(super) fn write(&mut self, item: Item<'_, '_>, last: bool, blocks: &mut Array<'_>) {
        let cache = item.mark();
        match item {
            Item::Part(Part::Reasoning(thought)) => reasoning::write(thought, blocks),
            item => {
                blocks.object(|o| {
                    self.members(item, last, o);
                    self.marks.write(cache, o);
                });
            }
        }
    }

    /// Writes a block of instructions.
    pub(super) fn text(&mut self, text: &Text<'_>, blocks: &mut Array<'_>) {
        self.write(Item::Text(text), false, blocks);
    }

    fn members(&self, item: Item<'_, '_>, last: bool, o: &mut Object<'_>) {
        match item {
            Item::Dot => {
                o.text("type", "text").text("text", ".");
            }
            Item::Text(text) => {
                o.text("type", "text").lit("text", &text.text);
            }
            Item::Note(text) => {
                o.text("type", "text").string("text", |out| {
                    out.plain(NOTE);
                    out.lit(&text.text);
                });
            }
            Item::Part(part) => self.part(part, last, o),
        }
    }

    fn part(&self, part: &Part<'_>, last: bool, o: &mut Object<'_>) {
        match part {
            Part::Text(Text { text, .. }) | Part::Refusal(text) => {
                let text = if last { without_trailing_space(text) } else { text.borrow() };
                o.text("type", "text").lit("text", &text);
            }
            Part::Image(image) => media::image(&image.source, o),
            Part::Document(document) => media::document(document, o),
            Part::Call(call) => self.call(call, o),
            Part::Result(result) => self.result(result, o),
            // Refused or left out before; reasoning is written elsewhere.
            Part::Audio(_) | Part::Reasoning(_) => {}
        }
    }

    fn call(&self, call: &Call<'_>, o: &mut Object<'_>) {
        let name = self.names.upstream(call.namespace.as_deref(), &call.name);
        o.text("type", "tool_use").text("id", self.ids.of(&call.id)).text("name", &name);
        o.value("input", |out| input::write(&call.args, call.custom, out));
    }

    fn result(&self, result: &ToolResult<'_>, o: &mut Object<'_>) {
        o.text("type", "tool_result").text("tool_use_id", self.ids.of(&result.id));
        let shown = || result.content.iter().filter(|part| !is_empty(part));
        match (shown().next(), shown().nth(1)) {
            (None, _) => {}
            (Some(Part::Text(only)), None) => {
                o.lit("content", &only.text);
            }
            _ => {
                o.array("content", |blocks| {
                    for part in shown() {
                        blocks.object(|o| self.part(part, false, o));
                    }
                });
            }
        }
        if result.is_error {
            o.bool("is_error", true);
        }
    }
}

/// Is it nothing that a result can show?
fn is_empty(part: &Part<'_>) -> bool {
    match part {
        Part::Text(text) => text.text.is_empty(),
        Part::Refusal(text) => text.is_empty(),
        Part::Image(_) | Part::Document(_) => false,
        Part::Audio(_) | Part::Reasoning(_) | Part::Call(_) | Part::Result(_) => true,
    }
}

/// The text without white space at its end, which the protocol does not allow where the model goes on.
fn without_trailing_space<'l>(text: &'l Lit<'_>) -> Lit<'l> {
    let mut rest = text.raw();
    loop {
        let trimmed = rest.trim_end();
        let escaped = ["\\n", "\\t", "\\r"].iter().find_map(|escape| trimmed.strip_suffix(escape));
        match escaped {
            // An even number of backslashes before it: the last one is the escape's own.
            Some(before) if before.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0 => {
                rest = before;
            }
            _ => return Lit::part(trimmed),
        }
    }
}

/// The line before instructions that are not the user's, though the user's message holds them.
const NOTE: &str = "[System instruction, not written by the user]\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_at_the_end_is_cut_and_nothing_else() {
        for (text, expected) in
            [(r"x \n\t ", "x"), (r"x\\n", r"x\\n"), (r"x\\\n", r"x\\"), (r"x\ny", r"x\ny"), ("", "")]
        {
            let literal = format!("\"{text}\"");
            assert_eq!(without_trailing_space(&Lit::read(&literal).unwrap()).raw(), expected, "{text}");
        }
    }
}
