//! The conversation: instructions, then messages in the order that this protocol requires.
//!
//! A run of assistant turns is one message. The results of its calls follow at once, in the order of the calls.
//! Everything else up to the next assistant turn comes after them.

use crate::canon::{
    Call, Format, JsonSchemaSupport, Losses, MidSystem, Part, Prefill, Request, Role, Source, SystemRole,
    Target, Text, ToolNames, ToolResult, Turn,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::write::{Array, Object};
use crate::json::{JsonStr, Raw, compact};
use crate::protocol::phrases;

use super::content::{self, ContentWriter};
use super::ids;
use super::reasoning::PastReasoning;
use super::tools;

/// The writer of the messages of one request.
pub(super) struct ConversationWriter<'r, 'a, 't> {
    request: &'r Request<'a>,
    target: &'t Target<'t>,
    names: &'t ToolNames,
    /// Whether thinking is switched off.
    off: bool,
    /// Whether the last message is one that the model shall continue.
    continues: bool,
    prefix: Option<String>,
    results: Vec<AnsweredCalls<'r>>,
    thoughts: PastReasoning,
    /// A buffer for JSON that is being compacted.
    scratch: Vec<u8>,
}

/// A result, and whether it was written.
struct AnsweredCalls<'r> {
    id: &'r str,
    place: usize,
    result: &'r ToolResult<'r>,
    done: bool,
}

impl<'r, 'a, 't> ConversationWriter<'r, 'a, 't> {
    /// Checks the conversation before anything is written.
    ///
    /// # Errors
    /// Returns 400 if this protocol has no place for a part of the conversation.
    pub(super) fn new(
        request: &'r Request<'a>,
        target: &'t Target<'t>,
        names: &'t ToolNames,
        off: bool,
        losses: &mut Losses,
    ) -> Result<Self> {
        for turn in &request.turns {
            check(turn, losses)?;
        }
        let continues = continues(request);
        if continues && (target.profile.prefill == Prefill::None || !target.caps.prefill) {
            return Err(Failure::new(Kind::Unsupported, "This model cannot continue an assistant message.")
                .with_param("messages"));
        }
        Ok(Self {
            request,
            target,
            names,
            off,
            continues,
            prefix: None,
            results: Vec::new(),
            thoughts: PastReasoning::default(),
            scratch: Vec::new(),
        })
    }

    /// Returns the beginning of the answer, if the provider repeats it.
    pub(super) fn into_prefix(self) -> Option<String> {
        self.prefix
    }

    /// Writes the members that the messages need beside them.
    pub(super) fn finish(&self, o: &mut Object<'_>) {
        if self.continues && self.target.profile.prefill == Prefill::ContinueFinal {
            o.bool("add_generation_prompt", false).bool("continue_final_message", true);
        }
    }

    /// Writes all messages.
    pub(super) fn write(&mut self, list: &mut Array<'_>) {
        let format = self.format_instruction();
        let texts = || self.request.system.iter().chain(&format);
        if self.takes_systems() {
            texts().for_each(|text| self.instructions(list, std::iter::once(text)));
        } else if texts().next().is_some() {
            self.instructions(list, texts());
        }
        let mut calls: &[Turn<'_>] = &[];
        let is_assistant = |turn: &Turn<'_>| turn.role == Role::Assistant;
        let mut runs = self.request.turns.chunk_by(|a, b| is_assistant(a) == is_assistant(b)).peekable();
        while let Some(run) = runs.next() {
            if run.first().is_some_and(is_assistant) {
                self.assistant(list, run, runs.peek().is_none());
                calls = run;
            } else {
                self.others(list, calls, run);
            }
        }
    }

    fn system_role(&self) -> &'static str {
        match self.target.profile.system_role {
            SystemRole::System => "system",
            SystemRole::Developer => "developer",
        }
    }

    fn content(&self) -> ContentWriter<'t> {
        ContentWriter { profile: self.target.profile, id: None }
    }

    /// Whether there may be more system messages than the first.
    fn takes_systems(&self) -> bool {
        self.target.profile.mid_system == Some(MidSystem::Native)
    }

    fn instructions<'p, 'b: 'p>(
        &self,
        list: &mut Array<'_>,
        texts: impl Iterator<Item = &'p Text<'b>> + Clone,
    ) {
        list.object(|o| {
            o.text("role", self.system_role());
            self.content().texts(o, texts);
        });
    }

    /// Returns an instruction for the form of the answer, for a provider that has no member for it.
    fn format_instruction(&mut self) -> Option<Text<'static>> {
        let native = match (&self.request.format, self.target.profile.json_schema) {
            (Format::Text, _) | (_, JsonSchemaSupport::Native) => true,
            (Format::JsonObject, support) => support == JsonSchemaSupport::JsonObject,
            (Format::Schema { .. }, _) => false,
        };
        if native {
            return None;
        }
        let Format::Schema { schema, .. } = &self.request.format else {
            return Some(Text::new(JsonStr::plain(phrases::ANY_OBJECT)));
        };
        self.scratch.clear();
        compact(schema.get(), &mut self.scratch);
        let schema = String::from_utf8_lossy(&self.scratch);
        Some(Text::new(JsonStr::of(&format!("{}{schema}", phrases::OBJECT_OF_SCHEMA))))
    }

    fn assistant(&mut self, list: &mut Array<'_>, run: &'r [Turn<'a>], last: bool) {
        let parts = || run.iter().flat_map(|turn| &turn.parts);
        self.thoughts.read(parts(), self.target);
        let text = parts().any(|part| content::spoken(part).is_some());
        let calls = parts().any(|part| matches!(part, Part::Call(_)));
        if !text && !calls && self.thoughts.is_empty() {
            return;
        }
        if self.target.profile.reasoning_required && !self.off {
            self.thoughts.require();
        }
        list.object(|o| {
            o.text("role", "assistant");
            if let Some(name) = run.iter().find_map(|turn| turn.name.as_ref()) {
                o.json_str("name", name);
            }
            match (text, self.thoughts.in_content()) {
                (true, _) | (_, true) => content::assistant(o, run, &self.thoughts, self.target.profile),
                _ if calls => {
                    o.null("content");
                }
                _ => {
                    o.text("content", "");
                }
            }
            self.thoughts.write(o);
            if calls {
                o.array("tool_calls", |list| {
                    for (index, call) in all_calls(run).enumerate() {
                        self.call(list, call, index == 0);
                    }
                });
            }
            if last && self.continues && self.target.profile.prefill == Prefill::PartialFlag {
                o.bool("partial", true);
            }
            if last && self.continues && self.target.profile.prefill == Prefill::PrefixFlag {
                o.bool("prefix", true);
                self.prefix = Some(parts().filter_map(content::spoken).map(|text| text.decode()).collect());
            }
        });
    }

    fn call(&mut self, list: &mut Array<'_>, call: &Call<'_>, first: bool) {
        let name = self.names.upstream(call.namespace.as_deref(), &call.name);
        let custom = call.custom && self.target.profile.custom_tools;
        list.object(|o| {
            o.text("id", &ids::upstream(&call.id, self.target.profile));
            if custom {
                o.text("type", "custom").object("custom", |o| {
                    o.text("name", &name).string("input", |text| tools::input(text, &call.args));
                });
            } else {
                o.text("type", "function").object("function", |o| {
                    o.text("name", &name);
                    tools::arguments(o, call, &mut self.scratch);
                });
            }
            let carried = self.thoughts.call_state(&call.id);
            // All turns get the placeholder for missing state, because a prompt must not change later.
            let stand_in = (first && self.target.profile.call_state_required).then_some(NO_STATE);
            if let Some(state) = call.extra.as_ref().map(Raw::get).or(carried).or(stand_in) {
                o.json("extra_content", state);
            }
        });
    }

    /// Writes the turns between two runs of the assistant.
    fn others(&mut self, list: &mut Array<'_>, calls: &'r [Turn<'a>], run: &'r [Turn<'a>]) {
        let moved = self.answer(list, calls, run);
        if moved {
            self.pictures(list, run);
        }
        for turn in run {
            let parts = || turn.parts.iter().filter(|part| content::is_said(part));
            if parts().next().is_none() {
                continue;
            }
            match (turn.role, self.takes_systems()) {
                (Role::System, true) => list.object(|o| {
                    o.text("role", self.system_role());
                    if let Some(name) = &turn.name {
                        o.json_str("name", name);
                    }
                    self.content().write(o, parts(), &JsonStr::PARAGRAPH);
                }),
                (Role::System, false) => list.object(|o| {
                    o.text("role", "user");
                    self.content().system_note(o, parts());
                }),
                _ => list.object(|o| {
                    o.text("role", "user");
                    if let Some(name) = &turn.name {
                        o.json_str("name", name);
                    }
                    self.content().write(o, parts(), &JsonStr::PARAGRAPH);
                }),
            };
        }
    }

    /// Writes the results in a run, those of `calls` first and in their order. Returns whether images had to be
    /// left out of them.
    fn answer(&mut self, list: &mut Array<'_>, calls: &'r [Turn<'a>], run: &'r [Turn<'a>]) -> bool {
        let mut results = std::mem::take(&mut self.results);
        results.extend(all_results(run).enumerate().map(|(place, result)| AnsweredCalls {
            id: &result.id,
            place,
            result,
            done: false,
        }));
        results.sort_unstable_by_key(|answer| (answer.id, answer.place));
        // If one call has several results, the last one counts.
        for at in 1..results.len() {
            let [.., before, after] = results.get_mut(..=at).unwrap_or_default() else { break };
            before.done = before.id == after.id;
        }
        let mut moved = false;
        for call in all_calls(calls) {
            let end = results.partition_point(|answer| answer.id <= &*call.id);
            let found = end.checked_sub(1).and_then(|at| results.get_mut(at));
            if let Some(answer) = found.filter(|answer| answer.id == call.id && !answer.done) {
                answer.done = true;
                moved |= self.result(list, answer.result);
            }
        }
        results.sort_unstable_by_key(|answer| answer.place);
        for answer in results.iter().filter(|answer| !answer.done) {
            moved |= self.result(list, answer.result);
        }
        results.clear();
        self.results = results;
        moved
    }

    fn result(&self, list: &mut Array<'_>, result: &ToolResult<'_>) -> bool {
        let id = ids::upstream(&result.id, self.target.profile);
        list.object(|o| {
            o.text("role", "tool").text("tool_call_id", &id);
            self.content().result(o, result);
        });
        !self.target.profile.tool_result_images
            && result.content.iter().any(|part| self.content().is_media(part))
    }

    /// The pictures of results that cannot hold them, in a message behind the results.
    fn pictures(&self, list: &mut Array<'_>, run: &'r [Turn<'a>]) {
        list.object(|o| {
            o.text("role", "user").array("content", |list| {
                for result in all_results(run) {
                    let content = ContentWriter { id: Some(&result.id), ..self.content() };
                    content.pictures(list, &result.content);
                }
            });
        });
    }
}

fn all_results<'r>(run: &'r [Turn<'_>]) -> impl Iterator<Item = &'r ToolResult<'r>> {
    run.iter().flat_map(|turn| &turn.parts).filter_map(|part| match part {
        Part::Result(result) => Some(result),
        _ => None,
    })
}

fn all_calls<'r>(run: &'r [Turn<'_>]) -> impl Iterator<Item = &'r Call<'r>> {
    run.iter().flat_map(|turn| &turn.parts).filter_map(|part| match part {
        Part::Call(call) => Some(call),
        _ => None,
    })
}

/// Whether the conversation ends with a text of the assistant, and no call.
fn continues(request: &Request<'_>) -> bool {
    let Some(last) = request.turns.last().filter(|turn| turn.role == Role::Assistant) else { return false };
    !matches!(last.parts.last(), Some(Part::Call(_)))
        && last.parts.iter().any(|part| content::spoken(part).is_some())
}

/// Refuses parts that this protocol has no place for.
fn check(turn: &Turn<'_>, losses: &mut Losses) -> Result<()> {
    let results = turn.parts.iter().filter_map(|part| match part {
        Part::Result(result) => Some(&result.content),
        _ => None,
    });
    for part in turn.parts.iter().chain(results.flatten()) {
        match part {
            Part::Image(_) | Part::Document(_) | Part::Audio(_) if turn.role == Role::Assistant => {
                losses.drop_named("messages.assistant.media")?;
            }
            Part::Document(document) if matches!(document.source, Source::Url(_)) => {
                let message =
                    format!("'{}' is not supported for this model: send the file itself.", document.path);
                return Err(Failure::new(Kind::Unsupported, message).with_param(document.path.clone()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The placeholder that Google documents for calls from elsewhere.
const NO_STATE: &str = r#"{"google":{"thought_signature":"skip_thought_signature_validator"}}"#;
