//! The conversation, in the order that the protocol demands.
//!
//! All results of a content's calls stand in the very next content, in the order of the calls and before anything else.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::canon::{Call, Losses, Part, Request, Role, Target, Text, ToolNames, ToolResult, Turn};
use crate::failure::Result;
use crate::json::JsonStr;
use crate::json::write::{Array, Object};
use crate::protocol::gemini::signature::PastState;
use crate::protocol::input;

use super::content::{self, ResultWriter};
use super::ids;
use super::reasoning::Signatures;

/// The contents of a request, in order.
pub(super) struct Contents<'r, 'a> {
    list: Vec<Content<'r, 'a>>,
}

enum Content<'r, 'a> {
    Model(&'r [Turn<'a>]),
    User(Vec<UserPart<'r, 'a>>),
}

#[derive(Clone, Copy)]
enum UserPart<'r, 'a> {
    Result(&'r ToolResult<'a>),
    /// The media that the results of this content could not hold.
    Media(&'r ToolResult<'a>),
    Part(&'r Part<'a>),
    /// Instructions, marked as such.
    Note(&'r Text<'a>),
    /// Instructions in the place of a conversation.
    System(&'r Text<'a>),
    /// The user's placeholder before a conversation that begins with the model.
    Dot,
}

impl<'r, 'a> Contents<'r, 'a> {
    /// Orders a conversation.
    ///
    /// # Errors
    /// Returns 400 if the provider has no place for a part of it.
    pub(super) fn new(request: &'r Request<'a>, losses: &mut Losses) -> Result<Self> {
        let mut contents = Self { list: Vec::new() };
        let is_model = |turn: &Turn<'_>| turn.role == Role::Assistant;
        let mut calls: Vec<&str> = Vec::new();
        for run in request.turns.chunk_by(|a, b| is_model(a) == is_model(b)) {
            if run.first().is_some_and(is_model) {
                calls.clear();
                calls.extend(parts(run).filter_map(as_call).map(|call| &*call.id));
                contents.model(run, losses)?;
            } else {
                contents.user(run, &calls)?;
                calls.clear();
            }
        }
        if request.turns.is_empty() {
            let texts = request.system.iter().filter(|text| !text.text.is_empty());
            contents.list.push(Content::User(texts.map(UserPart::System).collect()));
        }
        if matches!(contents.list.first(), None | Some(Content::Model(_))) {
            contents.list.insert(0, Content::User(vec![UserPart::Dot]));
        }
        Ok(contents)
    }

    fn model(&mut self, run: &'r [Turn<'a>], losses: &mut Losses) -> Result<()> {
        let mut is_said = false;
        for part in parts(run) {
            match part {
                Part::Image(_) | Part::Document(_) | Part::Audio(_) => {
                    losses.drop_named("messages.content.image")?;
                }
                Part::Text(text) => is_said |= !text.text.is_empty(),
                Part::Refusal(text) => is_said |= !text.is_empty(),
                Part::Call(_) => is_said = true,
                Part::Reasoning(reasoning) => {
                    let mut state = PastState::default();
                    reasoning.sealed.iter().for_each(|sealed| state.read(sealed));
                    is_said |= !state.of_texts.is_empty();
                }
                Part::Result(_) => {}
            }
        }
        if is_said {
            self.list.push(Content::Model(run));
        }
        Ok(())
    }

    fn user(&mut self, run: &'r [Turn<'a>], calls: &[&str]) -> Result<()> {
        parts(run).try_for_each(content::check)?;
        let results = || {
            parts(run).filter_map(|part| match part {
                Part::Result(result) => Some(result),
                _ => None,
            })
        };
        let is_medium = |part: &Part<'_>| matches!(part, Part::Image(_) | Part::Document(_));
        let mut list = Vec::with_capacity(parts(run).count());
        list.extend(results().map(UserPart::Result));
        if list.len() > 1 {
            let order: HashMap<&str, usize> = calls.iter().zip(0..).map(|(id, at)| (*id, at)).collect();
            list.sort_by_key(|part| {
                part.result_id().and_then(|id| order.get(id)).copied().unwrap_or(usize::MAX)
            });
        }
        for at in 0..list.len() {
            if let Some(UserPart::Result(result)) = list.get(at).copied()
                && result.content.iter().any(is_medium)
            {
                list.push(UserPart::Media(result));
            }
        }
        for turn in run {
            list.extend(turn.parts.iter().filter_map(|part| match part {
                Part::Text(text) if text.text.is_empty() => None,
                Part::Text(text) if turn.role == Role::System => Some(UserPart::Note(text)),
                Part::Result(_) | Part::Reasoning(_) | Part::Call(_) => None,
                _ => Some(UserPart::Part(part)),
            }));
        }
        match self.list.last_mut() {
            _ if list.is_empty() => {}
            Some(Content::User(before)) => before.append(&mut list),
            _ => self.list.push(Content::User(list)),
        }
        Ok(())
    }
}

impl<'r> UserPart<'r, '_> {
    fn result_id(&self) -> Option<&'r str> {
        match self {
            Self::Result(result) => Some(&result.id),
            _ => None,
        }
    }
}

fn parts<'r, 'a>(run: &'r [Turn<'a>]) -> impl Iterator<Item = &'r Part<'a>> {
    run.iter().flat_map(|turn| &turn.parts)
}

fn as_call<'r, 'a>(part: &'r Part<'a>) -> Option<&'r Call<'a>> {
    match part {
        Part::Call(call) => Some(call),
        _ => None,
    }
}

/// The writer of a request's contents.
pub(super) struct ContentsWriter<'w> {
    pub(super) target: &'w Target<'w>,
    pub(super) names: &'w ToolNames,
}

impl ContentsWriter<'_> {
    /// Writes all contents.
    pub(super) fn write(&self, contents: &Contents<'_, '_>, list: &mut Array<'_>) {
        // A result tells the name of its tool, which only the call knows.
        let mut called: HashMap<&str, Cow<'_, str>> = HashMap::new();
        for content in &contents.list {
            list.object(|o| match content {
                Content::Model(run) => {
                    for call in parts(run).filter_map(as_call) {
                        let name = self.names.upstream(call.namespace.as_deref(), &call.name);
                        called.insert(&call.id, name);
                    }
                    o.text("role", "model").array("parts", |list| self.model(run, list));
                }
                Content::User(items) => {
                    o.text("role", "user").array("parts", |list| {
                        items.iter().for_each(|item| self.user(*item, &called, list));
                    });
                }
            });
        }
    }

    fn user(&self, item: UserPart<'_, '_>, called: &HashMap<&str, Cow<'_, str>>, list: &mut Array<'_>) {
        let results = ResultWriter { holds_media: self.target.caps.result_media };
        match item {
            UserPart::Result(result) => {
                let name = called.get(&*result.id).map_or("unknown", |name| &**name);
                results.write(result, name, list);
            }
            UserPart::Media(result) => results.write_rest(result, list),
            UserPart::Part(Part::Text(text)) => content::text(&text.text, list),
            UserPart::Part(Part::Refusal(text)) => content::text(text, list),
            UserPart::Part(part) => content::media(part, list),
            UserPart::Note(text) => content::note(text, list),
            UserPart::System(text) => content::text(&text.text, list),
            UserPart::Dot => content::text(&JsonStr::plain("."), list),
        }
    }

    /// Writes the parts of a content of the model. The signature of a text stands on it, that of a call on the call.
    fn model(&self, run: &[Turn<'_>], list: &mut Array<'_>) {
        let signatures = Signatures::of(run);
        let mut text: Option<&JsonStr<'_>> = None;
        let mut is_first_call = true;
        let flush = |text: &mut Option<&JsonStr<'_>>, list: &mut Array<'_>| {
            if let Some(text) = text.take() {
                content::text(text, list);
            }
        };
        for part in parts(run) {
            match part {
                Part::Text(Text { text: said, .. }) | Part::Refusal(said) if !said.is_empty() => {
                    flush(&mut text, list);
                    text = Some(said);
                }
                Part::Call(call) => {
                    flush(&mut text, list);
                    let needs_one =
                        std::mem::take(&mut is_first_call) && self.target.profile.call_state_required;
                    let signature = signatures.of_call(call, needs_one);
                    list.object(|o| self.call(call, signature.as_ref(), o));
                }
                Part::Reasoning(reasoning) => {
                    let mut state = PastState::default();
                    reasoning.sealed.iter().for_each(|sealed| state.read(sealed));
                    for signature in &state.of_texts {
                        list.object(|o| {
                            o.json_str("text", text.take().unwrap_or(&EMPTY));
                            o.json_str("thoughtSignature", &JsonStr::part(signature));
                        });
                    }
                }
                _ => {}
            }
        }
        flush(&mut text, list);
    }

    fn call(&self, call: &Call<'_>, signature: Option<&JsonStr<'_>>, o: &mut Object<'_>) {
        o.object("functionCall", |o| {
            ids::write(&call.id, o);
            o.text("name", &self.names.upstream(call.namespace.as_deref(), &call.name));
            o.value("args", |out| input::write(&call.args, call.custom, out));
        });
        if let Some(signature) = signature {
            o.json_str("thoughtSignature", signature);
        }
    }
}

/// The text of a part that only has a signature.
static EMPTY: JsonStr<'static> = JsonStr::plain("");
