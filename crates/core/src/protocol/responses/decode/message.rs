//! The conversation: the items of `input`, as turns.
//!
//! Adjacent items of the assistant form one turn: messages, reasoning and calls, without items of the user or
//! outputs between them. Items that are left out do not separate their neighbours.

use crate::canon::{
    Args, Call, Carrier, Losses, Part, ProtocolId, Request, Role, Target, Text, ToolResult, Turn, not_carried,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::{JsonStr, Raw, compact};
use crate::protocol::node::{Node, Type};
use crate::protocol::pick::unused_members;

use super::{configuration, content, reasoning, tools};

/// The reader of the items of one request.
pub(super) struct InputReader<'r, 'a> {
    pub(super) request: &'r mut Request<'a>,
    pub(super) losses: &'r mut Losses,
    pub(super) target: &'r Target<'r>,
    /// Whether marks for the prompt cache mean a long life unless they say otherwise.
    pub(super) long: bool,
    /// Ids of calls that were left out, with their escapes: their outputs are left out, too.
    pub(super) gone: Vec<&'a str>,
    /// The path of the item that asks for a summary. It has to be the last one.
    pub(super) trigger: Option<String>,
}

/// The members of an item that are read, whatever its type.
struct InputItem<'a, 'n, 'p> {
    node: &'n Node<'a, 'p>,
    role: Option<&'a str>,
    content: Option<&'a str>,
    call_id: Option<&'a str>,
    id: Option<&'a str>,
    name: Option<&'a str>,
    namespace: Option<&'a str>,
    arguments: Option<&'a str>,
    input: Option<&'a str>,
    output: Option<&'a str>,
    tools: Option<&'a str>,
    /// Whether the call runs beside the conversation: its `async`.
    later: Option<&'a str>,
    caller: Option<&'a str>,
    summary: Option<&'a str>,
    /// The paths of members that are unknown.
    others: Vec<String>,
}

impl<'a, 'n, 'p> InputItem<'a, 'n, 'p> {
    /// Reads an item, beside its type.
    fn read(node: &'n Node<'a, 'p>) -> Result<(Option<&'a str>, Self)> {
        let mut item = Self::new(node);
        let mut kind = None;
        node.members(|key, value| {
            let slot = match key {
                "type" => &mut kind,
                "role" => &mut item.role,
                "content" => &mut item.content,
                "call_id" => &mut item.call_id,
                "id" => &mut item.id,
                "name" => &mut item.name,
                "namespace" => &mut item.namespace,
                "arguments" => &mut item.arguments,
                "input" => &mut item.input,
                "output" => &mut item.output,
                "tools" => &mut item.tools,
                "async" => &mut item.later,
                "caller" => &mut item.caller,
                "summary" => &mut item.summary,
                _ => {
                    if !NEUTRAL.contains(&key) && !matches!(value.text, "[]" | "{}") {
                        item.others.push(value.path.to_string());
                    }
                    return Ok(());
                }
            };
            *slot = Some(value.text);
            Ok(())
        })?;
        Ok((kind, item))
    }

    fn new(node: &'n Node<'a, 'p>) -> Self {
        Self {
            node,
            role: None,
            content: None,
            call_id: None,
            id: None,
            name: None,
            namespace: None,
            arguments: None,
            input: None,
            output: None,
            tools: None,
            later: None,
            caller: None,
            summary: None,
            others: Vec::new(),
        }
    }

    /// Lists the members that are unknown, or that belong to items of other types than `own` are the members of.
    fn list_others(&self, own: &[&str], losses: &mut Losses) -> Result<()> {
        self.others.iter().try_for_each(|path| losses.drop_named(path))?;
        let members = [
            ("role", self.role),
            ("content", self.content),
            ("call_id", self.call_id),
            ("name", self.name),
            ("namespace", self.namespace),
            ("arguments", self.arguments),
            ("input", self.input),
            ("output", self.output),
            ("tools", self.tools),
            ("async", self.later),
            ("caller", self.caller),
            ("summary", self.summary),
        ];
        unused_members(self.node, members.into_iter().filter(|(name, _)| !own.contains(name)), losses)
    }
}

impl<'a> InputReader<'_, 'a> {
    /// Reads `input`: a text of the user, or items.
    pub(super) fn read(&mut self, node: &Node<'a, '_>) -> Result<()> {
        if node.kind() == Type::String {
            let text = Part::Text(Text::new(node.json_str()?));
            self.request.turns.push(Turn::new(Role::User, vec![text]));
            return Ok(());
        }
        node.items(|item| match self.trigger.take() {
            Some(path) => Err(not_last(path)),
            None => self.item(&item),
        })?;
        self.request.compacts = self.trigger.is_some();
        Ok(())
    }

    fn item(&mut self, node: &Node<'a, '_>) -> Result<()> {
        let (kind, item) = InputItem::read(node)?;
        let Some(kind) = kind else { return self.message(&item) };
        match node.at("type", kind).string()?.as_ref() {
            "message" => self.message(&item),
            "reasoning" => {
                item.list_others(&["content", "summary"], self.losses)?;
                self.reasoning(node)
            }
            "function_call" => self.call(&item, false),
            "custom_tool_call" => self.call(&item, true),
            "function_call_output" => self.output(&item, false),
            "custom_tool_call_output" => self.output(&item, true),
            "additional_tools" => {
                item.list_others(&["role", "tools"], self.losses)?;
                item.tools.map_or(Ok(()), |text| {
                    tools::add(&node.at("tools", text), &mut self.request.tools, self.losses)
                })
            }
            // Only a relay carries the provider's own.
            "compaction_trigger" if self.target.protocol == ProtocolId::Responses => {
                Err(not_carried(node.path.to_string()))
            }
            "compaction_trigger" => {
                self.trigger = Some(node.path.to_string());
                item.list_others(&[], self.losses)
            }
            "compaction" => {
                item.list_others(&[], self.losses)?;
                self.summary(node)
            }
            "item_reference" => Err(state(node)),
            "configuration_update" => configuration::update(node, self.request, self.losses),
            kind if is_hosted(kind) => {
                self.gone.extend(item.call_id);
                self.losses.drop(&node.path)
            }
            kind if REFUSED.contains(&kind) => Err(not_carried(node.path.to_string())),
            _ => Err(content::unknown(node)),
        }
    }

    fn message(&mut self, item: &InputItem<'a, '_, '_>) -> Result<()> {
        item.list_others(&["role", "content"], self.losses)?;
        let Some(role) = item.role else { return Err(item.node.missing("role").wrong("a string")) };
        let role = item.node.at("role", role);
        let Some(content) = item.content else { return Ok(()) };
        let content = item.node.at("content", content);
        let long = self.long;
        match role.string()?.as_ref() {
            "user" => {
                let mut read = Vec::with_capacity(1);
                content::read(&content, long, &mut read, self.losses)?;
                self.request.turns.push(Turn::new(Role::User, read));
            }
            "assistant" => content::read(&content, long, assistant(&mut self.request.turns), self.losses)?,
            "system" | "developer" => self.instructions(&content)?,
            _ => return Err(role.wrong("one of user, assistant, system and developer")),
        }
        Ok(())
    }

    /// Takes instructions: before the conversation if it has not begun, else in their place.
    fn instructions(&mut self, content: &Node<'a, '_>) -> Result<()> {
        let mut read = Vec::with_capacity(1);
        content::read(content, self.long, &mut read, self.losses)?;
        if read.iter().any(|part| !matches!(part, Part::Text(_))) {
            return Err(not_carried(content.path.to_string()));
        }
        if !self.request.turns.is_empty() {
            self.request.turns.push(Turn::new(Role::System, read));
            return Ok(());
        }
        self.request.system.extend(read.into_iter().filter_map(|part| match part {
            Part::Text(text) if !text.text.is_empty() => Some(text),
            _ => None,
        }));
        Ok(())
    }

    /// Takes a summary that this gateway has carried. Only its own provider can read another one.
    fn summary(&mut self, node: &Node<'a, '_>) -> Result<()> {
        let carried = node.find("encrypted_content").map(|content| content.string()).transpose()?;
        let summary = carried.and_then(|text| Carrier::read_summary(&text, self.target.sealer));
        let text = summary.ok_or_else(|| not_carried(node.path.to_string()))?;
        self.request.turns.push(Turn::new(Role::User, vec![Part::Text(Text::new(text))]));
        Ok(())
    }

    fn reasoning(&mut self, node: &Node<'a, '_>) -> Result<()> {
        if let Some(reasoning) = reasoning::read(node, self.target, self.losses)? {
            assistant(&mut self.request.turns).push(Part::Reasoning(reasoning));
        }
        Ok(())
    }

    fn call(&mut self, item: &InputItem<'a, '_, '_>, custom: bool) -> Result<()> {
        let node = item.node;
        let (key, args) = if custom { ("input", item.input) } else { ("arguments", item.arguments) };
        item.list_others(&["call_id", "name", "namespace", key, "async", "caller"], self.losses)?;
        let args = match args.map(|text| node.at(key, text)) {
            None => Args::Str(JsonStr::default()),
            Some(args) if args.kind() == Type::String => Args::Str(args.json_str()?),
            Some(args) => Args::Raw(compacted(&args)?),
        };
        let call = Call {
            id: item.call_id()?,
            namespace: item.namespace.map(|text| node.at("namespace", text).string()).transpose()?,
            name: node.at("name", item.name.unwrap_or_default()).string()?,
            custom,
            args,
            extra: None,
        };
        assistant(&mut self.request.turns).push(Part::Call(call));
        if item.later == Some("true") {
            self.losses.drop(&node.at("async", "true").path)?;
        }
        let caller = item.caller.map(|text| node.at("caller", text));
        match caller.filter(|caller| caller.find("type").is_none_or(|kind| kind.text != "\"direct\"")) {
            // The program that has made the call.
            Some(caller) => self.losses.drop(&caller.path),
            None => Ok(()),
        }
    }

    fn output(&mut self, item: &InputItem<'a, '_, '_>, custom: bool) -> Result<()> {
        if item.call_id.is_some_and(|id| self.gone.contains(&id)) {
            return self.losses.drop(&item.node.path);
        }
        // Some clients repeat the name of the call.
        item.list_others(&["call_id", "name", "output"], self.losses)?;
        let mut content = Vec::new();
        if let Some(text) = item.output {
            let output = item.node.at("output", text);
            match output.kind() {
                Type::String | Type::Array => content::read(&output, self.long, &mut content, self.losses)?,
                // Some clients send any JSON.
                _ => content.push(Part::Text(Text::new(JsonStr::of(compacted(&output)?.get())))),
            }
        }
        content.retain(|part| !matches!(part, Part::Text(text) if text.text.is_empty()));
        let result = ToolResult { id: item.call_id()?, custom, content, is_error: false, cache: None };
        let turns = &mut self.request.turns;
        match turns.last_mut() {
            Some(Turn { role: Role::User, parts, .. }) if matches!(parts.last(), Some(Part::Result(_))) => {
                parts.push(Part::Result(result));
            }
            _ => turns.push(Turn::new(Role::User, vec![Part::Result(result)])),
        }
        Ok(())
    }
}

/// Returns the parts of the current turn of the assistant, which begins here if necessary.
fn assistant<'t, 'a>(turns: &'t mut Vec<Turn<'a>>) -> &'t mut Vec<Part<'a>> {
    if turns.last().is_none_or(|turn| turn.role != Role::Assistant) {
        turns.push(Turn::new(Role::Assistant, Vec::with_capacity(2)));
    }
    // There is one: it was there, or was pushed.
    let last = turns.len() - 1;
    &mut turns[last].parts
}

impl<'a> InputItem<'a, '_, '_> {
    fn call_id(&self) -> Result<std::borrow::Cow<'a, str>> {
        match (self.call_id, self.id) {
            (None, Some(id)) => self.node.at("id", id).string(),
            (id, _) => self.node.at("call_id", id.unwrap_or_default()).string(),
        }
    }
}

/// Returns a value without the white space between its tokens.
fn compacted<'a>(node: &Node<'a, '_>) -> Result<Raw<'a>> {
    let raw = node.raw()?;
    let mut out = Vec::with_capacity(raw.get().len());
    compact(raw.get(), &mut out);
    if out.len() == raw.get().len() {
        return Ok(raw);
    }
    Ok(String::from_utf8(out).ok().and_then(Raw::read_owned).unwrap_or(raw))
}

fn not_last(path: String) -> Failure {
    let message =
        format!("'{path}' must be the last item of `input`: it asks for a summary of all before it.");
    Failure::new(Kind::Unsupported, message).with_param(path)
}

fn state(node: &Node<'_, '_>) -> Failure {
    let path = node.path.to_string();
    let message = format!(
        "'{path}' refers to stored items, which is not supported: send the full conversation in `input`."
    );
    Failure::new(Kind::UnsupportedState, message).with_param(path)
}

/// Whether an item belongs to a tool that the provider runs by itself. Its results live on in the assistant's
/// messages.
pub(super) fn is_hosted(kind: &str) -> bool {
    HOSTED.contains(&kind) || HOSTED_FAMILIES.iter().any(|family| kind.starts_with(family))
}

const HOSTED: [&str; 4] =
    ["web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"];

const HOSTED_FAMILIES: [&str; 4] = ["mcp_", "computer_call", "program", "tool_search_"];

/// Members of items that belong to items of one type, or that say nothing to others.
const NEUTRAL: &[&str] = &["encrypted_content", "phase", "status"];

/// Types of items that cannot be left out without changing the meaning of the conversation.
const REFUSED: [&str; 6] = [
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
];

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
