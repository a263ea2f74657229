//! Tools of a client's request, and the choice among them, in current and older members.

use std::borrow::Cow;

use crate::canon::{Choice, Chosen, Grammar, Losses, Request, Tool, ToolKind, WebSearch, not_carried};
use crate::failure::{Failure, Kind, Result};
use crate::json::JsonStr;
use crate::protocol::node::{Node, Type};
use crate::protocol::pick::{members_or_losses, unused_members};
use crate::protocol::place;

use super::content;

/// Reads a member that is about tools; false for all others.
pub(super) fn member<'a>(
    name: &str,
    node: Node<'a, '_>,
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<bool> {
    match name {
        "tools" => node.items(|node| {
            request.tools.push(tool(node, losses)?);
            Ok(())
        })?,
        "functions" => node.items(|node| {
            request.tools.push(ToolWire::read(&node, losses)?.function(&node)?);
            Ok(())
        })?,
        "tool_choice" => request.choice = Some(choice(node, losses)?),
        "function_call" => request.choice = Some(legacy_choice(node, losses)?),
        "web_search_options" => request.tools.push(web_search(node, losses)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// The members of a tool while it is read.
#[derive(Default)]
struct ToolWire<'a> {
    kind: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    description: Option<JsonStr<'a>>,
    schema: Option<crate::json::Raw<'a>>,
    strict: Option<bool>,
    grammar: Option<Grammar<'a>>,
    custom: bool,
    cache: Option<crate::canon::Cache>,
    /// Whether there is an inner object.
    is_nested: bool,
    /// The members beside the type, unread.
    flat: Vec<(String, &'a str)>,
}

impl<'a> ToolWire<'a> {
    fn read(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Self> {
        let mut tool = Self::default();
        node.members(|name, node| tool.member(name, node, losses))?;
        if !tool.is_nested {
            tool.custom = tool.kind.as_deref() == Some("custom");
        }
        for (name, text) in std::mem::take(&mut tool.flat) {
            let member = node.at(&name, text);
            match tool.is_nested {
                true => other_member(&name, &member, losses)?,
                false => tool.inner(&name, member, losses)?,
            }
        }
        Ok(tool)
    }

    fn member(&mut self, name: &str, node: Node<'a, '_>, losses: &mut Losses) -> Result<()> {
        match name {
            "type" => self.kind = Some(node.string()?),
            "function" | "custom" => {
                self.is_nested = true;
                self.custom |= name == "custom";
                node.members(|name, node| self.inner(name, node, losses))?;
            }
            "cache_control" | "prompt_cache_breakpoint" => self.cache = Some(content::cache(node)?),
            // The members of a function may also stand beside the type, as in Responses.
            _ => self.flat.push((name.to_owned(), node.text)),
        }
        Ok(())
    }

    fn inner(&mut self, name: &str, node: Node<'a, '_>, losses: &mut Losses) -> Result<()> {
        match name {
            "name" => self.name = Some(node.string()?),
            "description" => self.description = Some(node.json_str()?).filter(|text| !text.is_empty()),
            "parameters" if !self.custom => self.schema = Some(node.raw()?).filter(|_| !is_empty(&node)),
            "strict" if !self.custom => self.strict = Some(node.bool()?),
            "format" if self.custom => self.grammar = grammar(node, losses)?,
            "cache_control" | "prompt_cache_breakpoint" => self.cache = Some(content::cache(node)?),
            _ => other_member(name, &node, losses)?,
        }
        Ok(())
    }

    fn function(self, node: &Node<'a, '_>) -> Result<Tool<'a>> {
        let kind = ToolKind::Function { schema: self.schema.clone(), strict: self.strict };
        self.tool(kind, node)
    }

    fn tool(self, kind: ToolKind<'a>, node: &Node<'a, '_>) -> Result<Tool<'a>> {
        let name = self.name.ok_or_else(|| missing(node, "name"))?;
        Ok(Tool {
            namespace: None,
            name,
            description: self.description,
            kind,
            cache: self.cache,
            position: None,
        })
    }
}

/// Lists a member that tools of its type do not have. A deferred tool, for example, is sent as an ordinary one.
fn other_member(name: &str, node: &Node<'_, '_>, losses: &mut Losses) -> Result<()> {
    let says_nothing = matches!(node.text, "false" | "[]" | "{}") || NEUTRAL.contains(&name);
    if says_nothing { Ok(()) } else { losses.drop(&node.path) }
}

fn tool<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Tool<'a>> {
    if let Some(kind) = node.find("type").and_then(|kind| kind.text.trim_matches('"').strip_prefix(ROUTER)) {
        return router_tool(&node, kind, losses);
    }
    let mut draft = ToolWire::read(&node, losses)?;
    match draft.kind.as_deref() {
        Some("custom") => {
            let kind = ToolKind::Custom { grammar: draft.grammar.take() };
            draft.tool(kind, &node)
        }
        None if draft.custom => {
            let kind = ToolKind::Custom { grammar: draft.grammar.take() };
            draft.tool(kind, &node)
        }
        None | Some("function") => draft.function(&node),
        Some(_) => Err(not_carried(node.path.key("type").to_string())),
    }
}

/// Reads a tool that OpenRouter runs by itself: of these, other providers have only the search of the web.
fn router_tool<'a>(node: &Node<'a, '_>, kind: &str, losses: &mut Losses) -> Result<Tool<'a>> {
    if kind != "web_search" {
        let path = node.path.key("type").to_string();
        let shown: String = kind.chars().take(MAX_SHOWN_CHARS).collect();
        let message = format!(
            "The tool '{ROUTER}{shown}' is one that OpenRouter runs by itself; this provider has none like it."
        );
        return Err(Failure::new(Kind::Unsupported, message).with_param(path));
    }
    let mut search = WebSearch::default();
    node.members(|name, node| match name {
        "parameters" => node.members(|name, node| {
            match name {
                "search_context_size" => search.context = Some(node.json_str()?),
                "user_location" => search.location = Some(place::read(&node, losses)?),
                "allowed_domains" => search.allowed = Some(node.raw()?).filter(|list| list.get() != "[]"),
                "excluded_domains" => search.blocked = Some(node.raw()?).filter(|list| list.get() != "[]"),
                _ => losses.drop(&node.path)?,
            }
            Ok(())
        }),
        "type" => Ok(()),
        _ => losses.drop(&node.path),
    })?;
    Ok(own_search(search))
}

/// Reads `{"type":"grammar","grammar":{"syntax":…,"definition":…}}` or `{"type":"text"}`.
fn grammar<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Option<Grammar<'a>>> {
    let [inner, syntax, definition] =
        members_or_losses(&node, ["grammar", "syntax", "definition"], &["type"], losses)?;
    let Some(inner) = inner else { return grammar_of(&node, syntax, definition) };
    unused_members(&node, [("syntax", syntax), ("definition", definition)], losses)?;
    let inner = node.at("grammar", inner);
    let [syntax, definition] = members_or_losses(&inner, ["syntax", "definition"], &["type"], losses)?;
    grammar_of(&inner, syntax, definition)
}

fn grammar_of<'a>(
    node: &Node<'a, '_>,
    syntax: Option<&'a str>,
    definition: Option<&'a str>,
) -> Result<Option<Grammar<'a>>> {
    let syntax = syntax.map(|text| node.at("syntax", text).json_str()).transpose()?;
    let definition = definition.map(|text| node.at("definition", text).json_str()).transpose()?;
    Ok(syntax.zip(definition).map(|(syntax, definition)| Grammar { syntax, definition }))
}

fn web_search<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Tool<'a>> {
    let mut search = WebSearch::default();
    node.members(|name, node| {
        match name {
            "search_context_size" => search.context = Some(node.json_str()?),
            "user_location" => {
                let inner = node.find("approximate").map(|inner| inner.text);
                let place = inner.map_or(node, |text| node.at("approximate", text));
                if inner.is_some() {
                    members_or_losses(&node, [], &["approximate", "type"], losses)?;
                }
                search.location = Some(place::read(&place, losses)?);
            }
            _ => losses.drop(&node.path)?,
        }
        Ok(())
    })?;
    Ok(own_search(search))
}

/// Returns the search that the provider makes by itself.
fn own_search(search: WebSearch<'_>) -> Tool<'_> {
    Tool {
        namespace: None,
        name: "web_search".into(),
        description: None,
        kind: ToolKind::WebSearch(search),
        cache: None,
        position: None,
    }
}

fn choice<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Choice<'a>> {
    if node.kind() == Type::String {
        return match node.string()?.as_ref() {
            "auto" => Ok(Choice::Auto),
            // The second one is Mistral's word.
            "required" | "any" => Ok(Choice::Required),
            "none" => Ok(Choice::None),
            _ => Err(node.wrong("'auto', 'required', 'none' or an object")),
        };
    }
    let mut kind = None;
    node.members(|name, node| {
        if name == "type" {
            kind = Some(node.string()?);
        }
        Ok(())
    })?;
    match kind.as_deref() {
        Some("function" | "custom") => chosen(node, losses).map(Choice::Named),
        Some("allowed_tools") => allowed(node, losses),
        _ => Err(not_carried(node.path.to_string())),
    }
}

/// Returns the tool that an object names, directly or in its `function` or `custom`.
fn chosen<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Chosen<'a>> {
    let [name, function, custom] =
        members_or_losses(&node, ["name", "function", "custom"], &["type"], losses)?;
    let inner = function.map(|text| ("function", text)).or_else(|| custom.map(|text| ("custom", text)));
    let Some((key, inner)) = inner else { return named(&node, name) };
    let other = custom.filter(|_| function.is_some());
    unused_members(&node, [("name", name), ("custom", other)], losses)?;
    let inner = node.at(key, inner);
    let [name] = members_or_losses(&inner, ["name"], &[], losses)?;
    named(&inner, name)
}

fn named<'a>(node: &Node<'a, '_>, name: Option<&'a str>) -> Result<Chosen<'a>> {
    let name = name.ok_or_else(|| missing(node, "name"))?;
    Ok(Chosen { namespace: None, name: node.at("name", name).string()? })
}

/// Reads `{"type":"allowed_tools","allowed_tools":{"mode":…,"tools":[…]}}`.
fn allowed<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Choice<'a>> {
    let [inner, mode, tools] =
        members_or_losses(&node, ["allowed_tools", "mode", "tools"], &["type"], losses)?;
    let Some(inner) = inner else { return subset(&node, mode, tools, losses) };
    unused_members(&node, [("mode", mode), ("tools", tools)], losses)?;
    let inner = node.at("allowed_tools", inner);
    let [mode, tools] = members_or_losses(&inner, ["mode", "tools"], &["type"], losses)?;
    subset(&inner, mode, tools, losses)
}

fn subset<'a>(
    node: &Node<'a, '_>,
    mode: Option<&'a str>,
    tools: Option<&'a str>,
    losses: &mut Losses,
) -> Result<Choice<'a>> {
    let mode = mode.map(|text| node.at("mode", text).string()).transpose()?;
    let mut chosen = Vec::new();
    if let Some(text) = tools {
        node.at("tools", text).items(|tool| {
            chosen.push(self::chosen(tool, losses)?);
            Ok(())
        })?;
    }
    Ok(Choice::Allowed { required: mode.as_deref() == Some("required"), tools: chosen })
}

fn legacy_choice<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Choice<'a>> {
    match node.kind() {
        Type::String => choice(node, losses),
        _ => chosen(node, losses).map(Choice::Named),
    }
}

fn is_empty(node: &Node<'_, '_>) -> bool {
    node.text.strip_prefix('{').is_some_and(|rest| rest.trim_start() == "}")
}

fn missing(node: &Node<'_, '_>, member: &str) -> Failure {
    node.missing(member).wrong("a string")
}

/// Members of tools that only their own protocol and provider know, and that say nothing to the model.
const NEUTRAL: &[&str] = &["id", "status", "type"];

/// Maximum number of characters of a type that a message repeats.
const MAX_SHOWN_CHARS: usize = 64;

/// The beginning of the types of tools that OpenRouter runs by itself.
const ROUTER: &str = "openrouter:";
