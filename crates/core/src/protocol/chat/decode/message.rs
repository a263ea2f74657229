//! The conversation of a client's request.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::canon::{
    Args, Call, Losses, Part, Prefill, ProtocolId, Reasoning, Request, Role, Sealed, Target, Text,
    ToolResult, Turn, not_carried,
};
use crate::failure::Result;
use crate::json::{JsonStr, Raw, compact, write};
use crate::protocol::node::{Node, Type};
use crate::protocol::pick::{indexed_elements, readable_fields_named, unknown_member, unused_members};

use super::content;

/// Reads the messages into a request; returns false if there are none.
pub(super) fn read<'a>(
    node: Node<'a, '_>,
    request: &mut Request<'a>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<bool> {
    let (custom, legacy) = (HashSet::new(), HashMap::new());
    let mut history = ConversationReader { request, losses, custom, legacy, begun: false, mark: None };
    let mut any = false;
    node.items(|node| {
        any = true;
        history.message(node)
    })?;
    match history.mark {
        Some(mark) if !continues(target) => Err(not_carried(mark)),
        _ => Ok(any),
    }
}

/// Whether the model can continue a message of the assistant.
fn continues(target: &Target<'_>) -> bool {
    match target.protocol {
        ProtocolId::Responses => false,
        ProtocolId::Messages | ProtocolId::Gemini => target.caps.prefill,
        ProtocolId::Chat => target.caps.prefill && target.profile.prefill != Prefill::None,
    }
}

struct ConversationReader<'a, 'r> {
    request: &'r mut Request<'a>,
    losses: &'r mut Losses,
    /// Ids of calls of freeform tools.
    custom: HashSet<Cow<'a, str>>,
    /// Calls without ids that wait for their results: the made-up ids by name.
    legacy: HashMap<Cow<'a, str>, Vec<String>>,
    /// Whether the conversation has begun, so that instructions stand in its middle.
    begun: bool,
    /// The path of the member that marks the last message as the beginning of the answer.
    mark: Option<String>,
}

/// The members of a message, unread.
#[derive(Default)]
struct MessageWire<'a> {
    role: &'a str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    name: Option<&'a str>,
    calls: Option<&'a str>,
    function_call: Option<&'a str>,
    call_id: Option<&'a str>,
    details: Option<&'a str>,
    reasoning_content: Option<&'a str>,
    reasoning: Option<&'a str>,
    thinking_blocks: Option<&'a str>,
    cache: Option<&'a str>,
    /// The member that marks the message as the beginning of the answer.
    mark: Option<&'static str>,
}

impl<'a> MessageWire<'a> {
    fn read(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Self> {
        let mut message = Self::default();
        node.members(|name, node| {
            let slot = match name {
                "role" => {
                    message.role = node.text;
                    return Ok(());
                }
                // This is speech that the provider keeps.
                "audio" => return Err(not_carried(node.path.to_string())),
                "content" => &mut message.content,
                "refusal" => &mut message.refusal,
                "name" => &mut message.name,
                "tool_calls" => &mut message.calls,
                "function_call" => &mut message.function_call,
                "tool_call_id" => &mut message.call_id,
                "reasoning_details" => &mut message.details,
                "reasoning_content" => &mut message.reasoning_content,
                "reasoning" => &mut message.reasoning,
                "thinking_blocks" => &mut message.thinking_blocks,
                "cache_control" | "prompt_cache_breakpoint" => &mut message.cache,
                "prefix" | "partial" => {
                    let name = if name == "prefix" { "prefix" } else { "partial" };
                    message.mark = Some(name).filter(|_| node.text == "true").or(message.mark);
                    return Ok(());
                }
                _ if NEUTRAL.contains(&name) || matches!(node.text, "[]" | "{}") => return Ok(()),
                _ => return losses.drop(&node.path),
            };
            *slot = Some(node.text);
            Ok(())
        })?;
        Ok(message)
    }

    /// Lists the members that belong to messages of other roles.
    fn list_foreign(&self, node: &Node<'a, '_>, losses: &mut Losses) -> Result<()> {
        let of_roles = [
            ("assistant", "refusal", self.refusal),
            ("assistant", "tool_calls", self.calls),
            ("assistant", "function_call", self.function_call),
            ("assistant", "reasoning_details", self.details),
            ("assistant", "reasoning_content", self.reasoning_content),
            ("assistant", "reasoning", self.reasoning),
            ("assistant", "thinking_blocks", self.thinking_blocks),
            ("tool", "tool_call_id", self.call_id),
        ];
        let own = self.role.trim_matches('"');
        let foreign = of_roles.into_iter().filter(|(role, ..)| *role != own);
        unused_members(node, foreign.map(|(_, name, text)| (name, text)), losses)
    }
}

impl<'a> ConversationReader<'a, '_> {
    fn message(&mut self, node: Node<'a, '_>) -> Result<()> {
        let message = MessageWire::read(&node, self.losses)?;
        message.list_foreign(&node, self.losses)?;
        self.mark = message
            .mark
            .filter(|_| message.role == "\"assistant\"")
            .map(|name| node.path.key(name).to_string());
        let name = match message.name {
            Some(text) => Some(node.at("name", text).json_str()?),
            None => None,
        };
        match message.role.trim_matches('"') {
            "system" | "developer" => return self.instructions(&node, &message, name),
            "user" => {
                let mut turn = Turn { name, ..Turn::new(Role::User, Vec::with_capacity(1)) };
                content(&node, &message, &mut turn.parts, self.losses)?;
                self.push(turn);
            }
            "assistant" => {
                let mut turn = Turn { name, ..Turn::new(Role::Assistant, Vec::with_capacity(2)) };
                self.assistant(&node, &message, &mut turn.parts)?;
                self.push(turn);
            }
            "tool" => {
                let result = self.result(&node, &message)?;
                self.push(Turn::new(Role::User, vec![Part::Result(result)]));
            }
            "function" => {
                let result = self.legacy_result(&node, &message, name)?;
                self.push(Turn::new(Role::User, vec![Part::Result(result)]));
            }
            _ => {
                let role = node.at("role", message.role);
                return Err(role.wrong("'system', 'developer', 'user', 'assistant' or 'tool'"));
            }
        }
        self.begun = true;
        Ok(())
    }

    fn push(&mut self, turn: Turn<'a>) {
        self.request.turns.push(turn);
    }

    /// Takes instructions. Before the conversation each part is one block; later ones stay in their place.
    fn instructions(
        &mut self,
        node: &Node<'a, '_>,
        message: &MessageWire<'a>,
        name: Option<JsonStr<'a>>,
    ) -> Result<()> {
        let mut parts = Vec::with_capacity(1);
        content(node, message, &mut parts, self.losses)?;
        if let Some(odd) = parts.iter().position(|part| !matches!(part, Part::Text(_))) {
            return Err(not_carried(node.path.key("content").index(odd).to_string()));
        }
        if self.begun {
            parts.retain(|part| !matches!(part, Part::Text(text) if text.text.is_empty()));
            if !parts.is_empty() {
                self.push(Turn { name, ..Turn::new(Role::System, parts) });
            }
            return Ok(());
        }
        let texts = parts.into_iter().filter_map(|part| match part {
            Part::Text(text) => Some(text).filter(|text| !text.text.is_empty()),
            _ => None,
        });
        self.request.system.extend(texts);
        Ok(())
    }

    fn assistant(
        &mut self,
        node: &Node<'a, '_>,
        message: &MessageWire<'a>,
        parts: &mut Vec<Part<'a>>,
    ) -> Result<()> {
        if let Some(reasoning) = reasoning(message) {
            parts.push(Part::Reasoning(reasoning));
        }
        content(node, message, parts, self.losses)?;
        if let Some(text) = message.refusal {
            parts.push(Part::Refusal(node.at("refusal", text).json_str()?));
        }
        if let Some(text) = message.calls {
            node.at("tool_calls", text).items(|node| {
                let call = call(&node, self.losses)?;
                if call.custom {
                    self.custom.insert(call.id.clone());
                }
                parts.push(Part::Call(call));
                Ok(())
            })?;
        }
        if let Some(text) = message.function_call {
            let mut draft = CallWire::default();
            let node = node.at("function_call", text);
            draft.body(&node, false, self.losses)?;
            // The same history always has to give the same id.
            let id = format!("call_{}", self.request.turns.len());
            self.legacy.entry(draft.name.clone().unwrap_or_default()).or_default().push(id.clone());
            draft.id = Some(id.into());
            parts.push(Part::Call(draft.call(&node)?));
        }
        Ok(())
    }

    fn result(&mut self, node: &Node<'a, '_>, message: &MessageWire<'a>) -> Result<ToolResult<'a>> {
        let id = node.at("tool_call_id", message.call_id.unwrap_or_default());
        let id = id.string()?;
        let custom = self.custom.contains(&id);
        tool_result(node, message, id, custom, self.losses)
    }

    /// Returns the id of the nearest earlier call of that name that has no result yet.
    fn legacy_result(
        &mut self,
        node: &Node<'a, '_>,
        message: &MessageWire<'a>,
        name: Option<JsonStr<'a>>,
    ) -> Result<ToolResult<'a>> {
        let name = name.map(JsonStr::into_text).unwrap_or_default();
        let call = self.legacy.get_mut(&name).and_then(Vec::pop);
        let id = call.unwrap_or_else(|| format!("call_{name}"));
        tool_result(node, message, id.into(), false, self.losses)
    }
}

fn content<'a>(
    node: &Node<'a, '_>,
    message: &MessageWire<'a>,
    parts: &mut Vec<Part<'a>>,
    losses: &mut Losses,
) -> Result<()> {
    let Some(text) = message.content else { return Ok(()) };
    let first = parts.len();
    content::content(node.at("content", text), parts, losses)?;
    // A mark on the message applies to its last part.
    if let Some(text) = message.cache
        && parts.len() > first
        && let Some(Part::Text(last)) = parts.last_mut()
    {
        last.cache = Some(content::cache(node.at("cache_control", text))?);
    }
    Ok(())
}

fn tool_result<'a>(
    node: &Node<'a, '_>,
    message: &MessageWire<'a>,
    id: Cow<'a, str>,
    custom: bool,
    losses: &mut Losses,
) -> Result<ToolResult<'a>> {
    let mut content = Vec::with_capacity(1);
    if let Some(text) = message.content {
        let node = node.at("content", text);
        match node.kind() {
            // Some clients forget to write their result as a string.
            Type::Object | Type::Number | Type::Bool => {
                let mut json = Vec::new();
                compact(node.raw()?.get(), &mut json);
                content.push(Part::Text(Text::new(JsonStr::of(&String::from_utf8_lossy(&json)))));
            }
            _ => content::content(node, &mut content, losses)?,
        }
    }
    let cache = match message.cache {
        Some(text) => Some(content::cache(node.at("cache_control", text))?),
        None => None,
    };
    Ok(ToolResult { id, custom, content, is_error: false, cache })
}

/// Returns the model's reasoning. Details hold more than the text, so they come first. Reasoning of an unexpected
/// form is left out, because it is not worth a refusal.
fn reasoning<'a>(message: &MessageWire<'a>) -> Option<Reasoning<'a>> {
    let read = |text: Option<&'a str>| text.and_then(JsonStr::read).filter(|text| !text.is_empty());
    let text = read(message.reasoning_content).or_else(|| read(message.reasoning));
    let details = message
        .details
        .filter(|list| list.strip_prefix('[').is_some_and(|rest| !rest.trim_start().starts_with(']')));
    let blocks = || message.thinking_blocks.and_then(details_of_blocks);
    let sealed = details.and_then(Raw::read).or_else(blocks).map(Sealed::Details);
    (text.is_some() || sealed.is_some()).then_some(Reasoning { text, sealed })
}

/// Returns thinking blocks of Messages, which some libraries put into messages of Chat, as details of reasoning.
fn details_of_blocks(blocks: &str) -> Option<Raw<'static>> {
    let mut details = Vec::new();
    write::array(&mut details, |list| {
        for (index, block) in indexed_elements(Some(blocks)) {
            let [kind, thinking, signature, data] =
                readable_fields_named(block, ["type", "thinking", "signature", "data"]);
            let opaque = kind == Some("\"redacted_thinking\"");
            list.object(|o| {
                if opaque {
                    o.text("type", "reasoning.encrypted").json_str("data", &literal(data));
                } else {
                    o.text("type", "reasoning.text").json_str("text", &literal(thinking));
                    o.json_str("signature", &literal(signature));
                }
                o.text("format", "anthropic-claude-v1").number("index", index);
            });
        }
    });
    let details = String::from_utf8(details).ok().filter(|details| details != "[]")?;
    Raw::read_owned(details)
}

/// Returns a text that may be absent.
fn literal(value: Option<&str>) -> JsonStr<'_> {
    value.and_then(JsonStr::read).unwrap_or_default()
}

/// Members of messages that say nothing to the model: they are of the answer that the message was.
const NEUTRAL: &[&str] = &["id", "status", "weight", "annotations", "citations"];

#[derive(Default)]
struct CallWire<'a> {
    id: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    custom: bool,
    args: Option<Args<'a>>,
    extra: Option<Raw<'a>>,
}

impl<'a> CallWire<'a> {
    /// Takes the name and arguments of a call. Some servers write an empty body of the other kind beside it, and
    /// clients send it back.
    fn body(&mut self, node: &Node<'a, '_>, custom: bool, losses: &mut Losses) -> Result<()> {
        let own = if custom { "input" } else { "arguments" };
        let mut body = Self::default();
        let mut other = None;
        node.members(|name, node| {
            match name {
                "name" => body.name = Some(node.string()?),
                _ if name == own => body.args = Some(args(&node)?),
                "arguments" | "input" => other = Some(node.text),
                _ => unknown_member(&node, losses)?,
            }
            Ok(())
        })?;
        // Some clients use the word of the other kind.
        let name = if custom { "arguments" } else { "input" };
        match other {
            Some(text) if body.args.is_none() => body.args = Some(args(&node.at(name, text))?),
            other => unused_members(node, [(name, other)], losses)?,
        }
        let named = body.name.as_deref().is_some_and(|name| !name.is_empty());
        if named || self.name.is_none() {
            (self.name, self.args, self.custom) = (body.name, body.args, custom);
        }
        Ok(())
    }

    fn call(self, node: &Node<'a, '_>) -> Result<Call<'a>> {
        let missing = |member| node.missing(member).wrong("a string");
        Ok(Call {
            id: self.id.ok_or_else(|| missing("id"))?,
            namespace: None,
            name: self.name.ok_or_else(|| missing("name"))?,
            custom: self.custom,
            args: self.args.unwrap_or_else(|| Args::Str(JsonStr::default())),
            extra: self.extra,
        })
    }
}

/// Returns the arguments of a call: a text, or from some clients an object.
fn args<'a>(node: &Node<'a, '_>) -> Result<Args<'a>> {
    Ok(match node.kind() {
        Type::String => Args::Str(node.json_str()?),
        _ => Args::Raw(node.raw()?),
    })
}

fn call<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Call<'a>> {
    let mut draft = CallWire::default();
    node.members(|name, node| {
        match name {
            "id" => draft.id = Some(node.string()?),
            "function" => draft.body(&node, false, losses)?,
            "custom" => draft.body(&node, true, losses)?,
            "extra_content" => draft.extra = Some(node.raw()?),
            "type" | "index" | "status" => {}
            _ => unknown_member(&node, losses)?,
        }
        Ok(())
    })?;
    draft.call(node)
}
