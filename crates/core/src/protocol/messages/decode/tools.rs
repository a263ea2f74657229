//! Tools of a client's request, and the choice among them.

use std::borrow::Cow;

use crate::canon::{Choice, Chosen, Losses, Tool, ToolKind, WebSearch, not_carried};
use crate::failure::Result;
use crate::json::Raw;
use crate::protocol::node::Node;
use crate::protocol::pick::{unknown_member, unused_members};
use crate::protocol::place;

use super::content;

/// Reads one tool.
pub(super) fn read<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Tool<'a>> {
    let kind = match node.find("type") {
        Some(kind) => node.at("type", kind.text).string()?,
        None => Cow::Borrowed("custom"),
    };
    let is = |family: &str| kind.strip_prefix(family).is_some_and(|rest| rest.starts_with('_'));
    let mut tool = Tool::function(Cow::Borrowed(""), None, None);
    match &*kind {
        "custom" => return function(node, tool, losses),
        _ if is("web_search") => tool.kind = ToolKind::WebSearch(web_search(node, losses)?),
        _ if HOSTED.iter().any(|family| is(family)) => tool.kind = ToolKind::Hosted,
        _ if is("bash") => tool.kind = typed(BASH),
        _ if is("text_editor") => tool.kind = typed(TEXT_EDITOR),
        _ if is("memory") => tool.kind = typed(MEMORY),
        _ => return Err(not_carried(node.path.to_string())),
    }
    tool.name = Cow::Owned(family(&kind).to_owned());
    let is_typed = matches!(tool.kind, ToolKind::Function { .. });
    node.members(|key, value| {
        match key {
            "name" => tool.name = value.string()?,
            "cache_control" => tool.cache = content::cache(&value),
            // The conversation decides when a deferred tool is offered.
            "type" | "defer_loading" => {}
            // Those of tools that are left out are left out with them.
            _ if is_typed && !matches!(value.text, "false" | "[]" | "{}") => losses.drop(&value.path)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(tool)
}

fn function<'a>(node: &Node<'a, '_>, mut tool: Tool<'a>, losses: &mut Losses) -> Result<Tool<'a>> {
    let (mut schema, mut strict, mut named) = (None, None, false);
    node.members(|key, value| {
        match key {
            "type" => {}
            "name" => (tool.name, named) = (value.string()?, true),
            "description" => tool.description = Some(value.json_str()?).filter(|text| !text.is_empty()),
            "input_schema" => schema = Some(value.raw()?),
            "strict" => strict = Some(value.bool()?),
            "cache_control" => tool.cache = content::cache(&value),
            // The conversation decides when it is offered.
            "defer_loading" => {}
            _ if matches!(value.text, "false" | "[]") => {}
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    if !named {
        return Err(node.missing("name").wrong("given"));
    }
    tool.kind = ToolKind::Function { schema, strict };
    Ok(tool)
}

fn web_search<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<WebSearch<'a>> {
    let mut search = WebSearch::default();
    node.members(|key, value| {
        match key {
            "max_uses" => search.max_uses = Some(value.count()?),
            "user_location" => search.location = Some(place::read(&value, losses)?).filter(Raw::is_object),
            "allowed_domains" => search.allowed = domains(&value)?,
            "blocked_domains" => search.blocked = domains(&value)?,
            "type" | "name" | "cache_control" | "defer_loading" => {}
            _ if matches!(value.text, "false" | "[]") => {}
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    Ok(search)
}

/// Reads a list of domains; an empty one has no effect.
fn domains<'a>(node: &Node<'a, '_>) -> Result<Option<Raw<'a>>> {
    let mut any = false;
    node.items(|domain| {
        any = true;
        domain.json_str().map(|_| ())
    })?;
    if any { node.raw().map(Some) } else { Ok(None) }
}

/// Returns a tool whose schema clients do not send, because the provider knows it.
fn typed(schema: &'static str) -> ToolKind<'static> {
    ToolKind::Function { schema: Some(Raw::constant(schema)), strict: None }
}

/// Returns the kind of a tool without its version: `web_fetch` for `web_fetch_20250910`.
fn family(kind: &str) -> &str {
    match kind.rsplit_once('_') {
        Some((family, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => family,
        _ => kind,
    }
}

/// Reads `tool_choice`: the choice, and whether several calls at once are allowed.
pub(super) fn choice<'a>(
    node: &Node<'a, '_>,
    losses: &mut Losses,
) -> Result<(Option<Choice<'a>>, Option<bool>)> {
    let (mut kind, mut name, mut single) = (None, None, false);
    node.members(|key, value| {
        match key {
            "type" => kind = Some(value.string()?),
            "name" => name = Some(value.text),
            "disable_parallel_tool_use" => single = value.bool()?,
            _ => unknown_member(&value, losses)?,
        }
        Ok(())
    })?;
    let parallel = single.then_some(false);
    if kind.as_deref() != Some("tool") {
        unused_members(node, [("name", name.take())], losses)?;
    }
    let name = name.map(|text| node.at("name", text).string()).transpose()?;
    let choice = match (kind.as_deref(), name) {
        (Some("auto"), _) => Choice::Auto,
        (Some("any"), _) => Choice::Required,
        (Some("none"), _) => return Ok((Some(Choice::None), None)),
        (Some("tool"), Some(name)) => Choice::Named(Chosen { namespace: None, name }),
        (Some("tool"), None) => return Err(node.missing("name").wrong("given")),
        _ => return Err(not_carried(node.path.to_string())),
    };
    Ok((Some(choice), parallel))
}

/// The provider's own tools that some clients attach by default.
const HOSTED: &[&str] = &["web_fetch", "tool_search", "tool_search_tool", "advisor"];

/// The input schema of `bash_20250124`, as the model knows it.
const BASH: &str =
    r#"{"type":"object","properties":{"command":{"type":"string"},"restart":{"type":"boolean"}}}"#;

/// The input schema of `memory_20250818`, as the model knows it.
const MEMORY: &str = r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"]},"path":{"type":"string"},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"view_range":{"type":"array","items":{"type":"integer"}},"old_path":{"type":"string"},"new_path":{"type":"string"}},"required":["command"]}"#;

/// The input schema of `text_editor_*`, as the model knows it.
const TEXT_EDITOR: &str = r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert"]},"path":{"type":"string"},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"view_range":{"type":"array","items":{"type":"integer"}}},"required":["command","path"]}"#;
