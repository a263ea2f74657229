//! The conversation, as the items of `input`.

use crate::canon::{
    Args, Cache, CacheParts, Call, Losses, MidSystem, Part, Request, Role, Target, Text, ToolNames,
    ToolResult, Turn,
};
use crate::failure::Result;
use crate::json::write::Array;
use crate::json::{JsonStr, compact};
use crate::protocol::phrases;

use super::content::{ASSISTANT, DEVELOPER, PartNames, PartWriter, USER, is_empty};
use super::{ids, reasoning, tools};

/// Returns the instructions, if they can be separated from the conversation: they are one block without a cache
/// mark, which would be lost, and there is a conversation beside them.
pub(super) fn instructions<'r, 'a>(request: &'r Request<'a>, target: &Target<'_>) -> Option<&'r Text<'a>> {
    let marks = target.profile.cache_parts == CacheParts::OpenaiBreakpoint;
    match request.system.as_slice() {
        [only] => {
            let stays = request.turns.is_empty() || marks && only.cache.is_some();
            (!stays).then_some(only)
        }
        _ => None,
    }
}

/// The writer of the items.
pub(super) struct InputWriter<'i> {
    pub(super) target: &'i Target<'i>,
    pub(super) names: &'i ToolNames,
    pub(super) losses: &'i mut Losses,
}

impl InputWriter<'_> {
    fn content(&self) -> PartWriter<'_> {
        PartWriter { profile: self.target.profile }
    }

    /// Writes all items. With `system`, these include the blocks of instructions.
    pub(super) fn write(&mut self, request: &Request<'_>, system: bool, list: &mut Array<'_>) -> Result<()> {
        for text in request.system.iter().filter(|_| system) {
            self.message(list, DEVELOPER, None, |content, parts| content.text(parts, DEVELOPER, text));
        }
        request.turns.iter().try_for_each(|turn| self.turn(turn, list))
    }

    fn turn(&mut self, turn: &Turn<'_>, list: &mut Array<'_>) -> Result<()> {
        let part_names = match (turn.role, self.target.profile.mid_system) {
            (Role::User, _) => USER,
            (Role::Assistant, _) => ASSISTANT,
            (Role::System, None | Some(MidSystem::Native)) => DEVELOPER,
            (Role::System, Some(MidSystem::UserNote)) => PartNames { note: phrases::SYSTEM_NOTE, ..USER },
        };
        if !turn.tools.is_empty() {
            let custom = self.target.profile.custom_tools;
            list.object(|o| {
                o.text("type", "additional_tools").text("role", DEVELOPER.role);
                o.array("tools", |list| tools::list(list, turn.tools.iter(), custom, self.names));
            });
        }
        let mut after = turn.parts.len();
        for run in turn.parts.chunk_by(|a, b| is_said(a) && is_said(b)) {
            after -= run.len();
            match run {
                [Part::Call(call)] => self.call(list, call),
                [Part::Result(result)] => self.result(list, result),
                [Part::Reasoning(reasoning)] => {
                    let rest = turn.parts.get(turn.parts.len() - after..).unwrap_or_default();
                    if rest.iter().any(|part| !matches!(part, Part::Reasoning(_)) && !is_empty(part)) {
                        reasoning::write(list, reasoning);
                    }
                }
                said => {
                    let rest = turn.parts.get(turn.parts.len() - after..).unwrap_or_default();
                    let phase = self.phase(turn.role, rest);
                    self.message_of(list, said, part_names, phase, run.len() == turn.parts.len())?;
                }
            }
        }
        Ok(())
    }

    /// Returns whether text of the assistant is a remark before calls, or its answer. Models of OpenAI since
    /// gpt-5.3-codex answer worse without it, and others ignore it.
    fn phase(&self, role: Role, rest: &[Part<'_>]) -> Option<&'static str> {
        let is_known = role == Role::Assistant && self.target.profile.is_openai;
        let calls = rest.iter().any(|part| matches!(part, Part::Call(_)));
        is_known.then_some(if calls { "commentary" } else { "final_answer" })
    }

    /// Writes one message, unless it is empty. `alone` is whether its turn has no other content.
    fn message_of(
        &mut self,
        list: &mut Array<'_>,
        parts: &[Part<'_>],
        part_names: PartNames,
        phase: Option<&'static str>,
        alone: bool,
    ) -> Result<()> {
        let assistant = part_names.role == ASSISTANT.role;
        let media = |part: &Part<'_>| matches!(part, Part::Image(_) | Part::Document(_) | Part::Audio(_));
        if assistant && parts.iter().any(media) {
            self.losses.drop_named("messages.assistant.media")?;
        }
        // An empty user message still counts: without any item the request would be refused.
        let silent = alone && part_names.role == USER.role && parts.iter().all(is_empty);
        let goes = |part: &&Part<'_>| !(is_empty(part) && !silent || assistant && media(part));
        if parts.iter().any(|part| goes(&part)) {
            self.message(list, part_names, phase, |content, list| {
                parts.iter().filter(goes).for_each(|part| content.part(list, part_names, part));
            });
        }
        Ok(())
    }

    fn message(
        &self,
        list: &mut Array<'_>,
        part_names: PartNames,
        phase: Option<&'static str>,
        fill: impl FnOnce(PartWriter<'_>, &mut Array<'_>),
    ) {
        list.object(|o| {
            o.text("type", "message").text("role", part_names.role);
            if let Some(phase) = phase {
                o.text("phase", phase);
            }
            o.array("content", |parts| fill(self.content(), parts));
        });
    }

    fn call(&self, list: &mut Array<'_>, call: &Call<'_>) {
        let custom = call.custom && self.target.profile.custom_tools;
        list.object(|o| {
            o.text("type", if custom { "custom_tool_call" } else { "function_call" });
            o.text("call_id", &ids::upstream(&call.id));
            o.text("name", &self.names.upstream(call.namespace.as_deref(), &call.name));
            match (&call.args, custom) {
                (Args::Str(input), true) => o.json_str("input", input),
                (Args::Raw(input), true) => o.text("input", input.get()),
                // A function with one text stands for the freeform tool.
                (Args::Str(input), false) if call.custom => o.string("arguments", |out| {
                    out.plain("{\"input\":\"");
                    out.plain(input.raw());
                    out.plain("\"}");
                }),
                (Args::Str(arguments), false) if arguments.is_blank() => o.text("arguments", "{}"),
                (Args::Str(arguments), false) => o.json_str("arguments", arguments),
                (Args::Raw(arguments), false) => o.text("arguments", &compacted(arguments.get())),
            };
        });
    }

    fn result(&self, list: &mut Array<'_>, result: &ToolResult<'_>) {
        let custom = result.custom && self.target.profile.custom_tools;
        let error = if is_plain_error(result) { phrases::ERROR_PREFIX } else { "" };
        list.object(|o| {
            o.text("type", if custom { "custom_tool_call_output" } else { "function_call_output" });
            o.text("call_id", &ids::upstream(&result.id));
            match result.content.as_slice() {
                [] => o.text("output", error),
                [Part::Text(only)] if !self.content().is_marked(only.cache.or(result.cache)) => {
                    o.string("output", |out| {
                        out.plain(error);
                        out.json_str(&only.text);
                    })
                }
                parts => o.array("output", |list| self.outputs(list, parts, error, result.cache)),
            };
        });
    }

    fn outputs(&self, list: &mut Array<'_>, parts: &[Part<'_>], error: &'static str, cache: Option<Cache>) {
        let first_text = parts.iter().position(|part| matches!(part, Part::Text(_)));
        let last_text = parts.iter().rposition(|part| matches!(part, Part::Text(_)));
        if first_text.is_none() && !error.is_empty() {
            self.content().text(list, USER, &Text::new(JsonStr::plain(phrases::ERROR_PREFIX)));
        }
        for (index, part) in parts.iter().enumerate() {
            let note = if first_text == Some(index) { error } else { "" };
            match part {
                Part::Text(text) => {
                    let mark = text.cache.or_else(|| cache.filter(|_| last_text == Some(index)));
                    self.content().text(
                        list,
                        PartNames { note, ..USER },
                        &Text { text: text.text.borrow(), cache: mark },
                    );
                }
                part => self.content().part(list, USER, part),
            }
        }
    }
}

/// Whether this is part of a message.
fn is_said(part: &Part<'_>) -> bool {
    !matches!(part, Part::Result(_) | Part::Reasoning(_) | Part::Call(_))
}

/// Whether the tool failed, and its text does not say so by itself.
fn is_plain_error(result: &ToolResult<'_>) -> bool {
    let first = result.content.iter().find_map(|part| match part {
        Part::Text(text) => Some(&text.text),
        _ => None,
    });
    let says_so =
        |text: &JsonStr<'_>| text.raw().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"));
    result.is_error && !first.is_some_and(says_so)
}

fn compacted(json: &str) -> String {
    let mut out = Vec::with_capacity(json.len());
    compact(json, &mut out);
    String::from_utf8(out).unwrap_or_default()
}
