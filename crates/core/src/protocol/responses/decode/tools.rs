//! The tools of a request (functions, freeform tools, namespaces of both, and those of the provider's own), and which of
//! them the model may call.

use std::borrow::Cow;

use crate::canon::{Choice, Chosen, Grammar, Losses, Tool, ToolKind, WebSearch, not_carried};
use crate::failure::Result;
use crate::json::{self, JsonStr, Lenient as _, Raw};
use crate::protocol::node::{Node, Type};

use super::content;
use crate::protocol::pick::{members_or_losses, unknown_member, unused_members};
use crate::protocol::place;

/// Appends the tools of an array.
pub(super) fn read<'a>(node: &Node<'a, '_>, tools: &mut Vec<Tool<'a>>, losses: &mut Losses) -> Result<()> {
    node.items(|tool| {
        let kind = kind(&tool)?;
        if kind != "namespace" {
            tools.push(one(&tool, &kind, None, losses)?);
            return Ok(());
        }
        let [name, description, members] =
            members_or_losses(&tool, ["name", "description", "tools"], &["type"], losses)?;
        let Some(name) = name else { return Err(tool.missing("name").wrong("a string")) };
        let space = Namespace {
            name: tool.at("name", name).string()?,
            description: description.map(|text| tool.at("description", text).json_str()).transpose()?,
        };
        let Some(members) = members else { return Ok(()) };
        tool.at("tools", members).items(|member| {
            let kind = self::kind(&member)?;
            tools.push(one(&member, &kind, Some(&space), losses)?);
            Ok(())
        })
    })
}

/// Appends the tools of an array in mid-conversation. A tool that is there already is not offered twice: the last
/// definition counts, in the place of the first one.
pub(super) fn add<'a>(node: &Node<'a, '_>, tools: &mut Vec<Tool<'a>>, losses: &mut Losses) -> Result<()> {
    let before = tools.len();
    read(node, tools, losses)?;
    let added = tools.split_off(before);
    for tool in added {
        let same = |known: &&mut Tool<'_>| known.name == tool.name && known.namespace == tool.namespace;
        match tools.iter_mut().find(same) {
            Some(known) => *known = tool,
            None => tools.push(tool),
        }
    }
    Ok(())
}

/// Whether this is the type of the provider's own search of the web.
fn is_web_search(kind: &str) -> bool {
    kind.starts_with(WEB_SEARCH)
}

struct Namespace<'a> {
    name: Cow<'a, str>,
    description: Option<JsonStr<'a>>,
}

/// Returns the type of a tool. It is usually the first member, so the rest is not read.
fn kind<'a>(tool: &Node<'a, '_>) -> Result<Cow<'a, str>> {
    let mut members = json::members(tool.text.as_bytes()).lenient();
    let kind = members.find(|member| member.is("type") && member.is_present());
    match kind.and_then(|member| tool.text.get(member.span)) {
        Some(text) => tool.at("type", text).string(),
        None => Ok(Cow::Borrowed("function")),
    }
}

fn one<'a>(
    node: &Node<'a, '_>,
    kind: &str,
    space: Option<&Namespace<'a>>,
    losses: &mut Losses,
) -> Result<Tool<'a>> {
    match kind {
        "function" | "custom" => callable(node, kind, space, losses),
        "image_generation" | "tool_search" => Ok(own(kind.to_owned().into(), ToolKind::Hosted)),
        _ if is_web_search(kind) && space.is_none() => {
            Ok(own(Cow::Borrowed(WEB_SEARCH), ToolKind::WebSearch(web_search(node, losses)?)))
        }
        _ => Err(not_carried(node.path.to_string())),
    }
}

/// Returns one of the provider's own tools.
fn own<'a>(name: Cow<'a, str>, kind: ToolKind<'a>) -> Tool<'a> {
    Tool { namespace: None, name, description: None, kind, cache: None, position: None }
}

/// Reads a function or a freeform tool, flat or with an inner object as in Chat.
fn callable<'a>(
    node: &Node<'a, '_>,
    kind: &str,
    space: Option<&Namespace<'a>>,
    losses: &mut Losses,
) -> Result<Tool<'a>> {
    let mut tool = own(
        Cow::Borrowed(""),
        match kind {
            "custom" => ToolKind::Custom { grammar: None },
            _ => ToolKind::Function { schema: None, strict: None },
        },
    );
    let mut inner = None;
    node.members(|key, value| match key {
        "function" | "custom" if value.kind() == Type::Object => {
            inner = Some((if key == "custom" { "custom" } else { "function" }, value.text));
            Ok(())
        }
        _ => member(&mut tool, key, &value, losses),
    })?;
    if let Some((key, text)) = inner {
        node.members(|key, value| match key {
            _ if BESIDE_INNER.contains(&key) || value.text == "false" => Ok(()),
            _ => unknown_member(&value, losses),
        })?;
        node.at(key, text).members(|key, value| member(&mut tool, key, &value, losses))?;
    }
    if tool.name.is_empty() {
        return Err(node.missing("name").wrong("a string"));
    }
    if let Some(space) = space {
        tool.namespace = Some(space.name.clone());
        tool.description = joined(space.description.as_ref(), tool.description.take());
    }
    Ok(tool)
}

/// Puts the description of a namespace in front of that of a tool.
fn joined<'a>(space: Option<&JsonStr<'a>>, own: Option<JsonStr<'a>>) -> Option<JsonStr<'a>> {
    match (space.filter(|text| !text.is_empty()), own) {
        (Some(space), Some(own)) => Some(JsonStr::concat(&[space, &JsonStr::plain("\\n"), &own])),
        (Some(space), None) => Some(space.clone()),
        (None, own) => own,
    }
}

fn member<'a>(tool: &mut Tool<'a>, key: &str, value: &Node<'a, '_>, losses: &mut Losses) -> Result<()> {
    match (key, &mut tool.kind) {
        ("name", _) => tool.name = value.string()?,
        ("description", _) => tool.description = Some(value.json_str()?).filter(|text| !text.is_empty()),
        ("parameters", ToolKind::Function { schema, .. }) => {
            *schema = Some(value.raw()?).filter(|schema| schema.get() != "{}");
        }
        ("strict", ToolKind::Function { strict, .. }) => *strict = Some(value.bool()?),
        ("format", ToolKind::Custom { grammar }) => *grammar = read_grammar(value, losses)?,
        ("prompt_cache_breakpoint", _) => tool.cache = Some(content::cache_mark(value.text, false)),
        ("type" | "cache_control", _) => {}
        _ if value.text == "false" => {}
        _ => unknown_member(value, losses)?,
    }
    Ok(())
}

fn read_grammar<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Option<Grammar<'a>>> {
    let [syntax, definition, inner] =
        members_or_losses(node, ["syntax", "definition", "grammar"], &["type"], losses)?;
    if let Some(inner) = inner {
        unused_members(node, [("syntax", syntax), ("definition", definition)], losses)?;
        let inner = node.at("grammar", inner);
        let [syntax, definition] = members_or_losses(&inner, ["syntax", "definition"], &[], losses)?;
        return grammar(&inner, syntax, definition);
    }
    grammar(node, syntax, definition)
}

fn grammar<'a>(
    node: &Node<'a, '_>,
    syntax: Option<&'a str>,
    definition: Option<&'a str>,
) -> Result<Option<Grammar<'a>>> {
    let Some(definition) = definition else { return Ok(None) };
    let syntax = match syntax {
        Some(text) => node.at("syntax", text).json_str()?,
        None => JsonStr::plain("lark"),
    };
    Ok(Some(Grammar { syntax, definition: node.at("definition", definition).json_str()? }))
}

fn web_search<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<WebSearch<'a>> {
    let mut search = WebSearch::default();
    let domains = |node: &Node<'a, '_>| -> Result<Option<Raw<'a>>> {
        Ok(Some(node.raw()?).filter(|domains| domains.get() != "[]"))
    };
    node.members(|key, value| {
        match key {
            "search_context_size" => search.context = Some(value.json_str()?),
            "user_location" => search.location = Some(place::read(&value, losses)?),
            "filters" => value.members(|key, value| {
                match key {
                    "allowed_domains" => search.allowed = domains(&value)?,
                    "blocked_domains" => search.blocked = domains(&value)?,
                    _ => losses.drop(&value.path)?,
                }
                Ok(())
            })?,
            "type" => {}
            // Other providers know only a search of the live web.
            "external_web_access" if value.text != "true" => return Err(not_carried(value.path.to_string())),
            "external_web_access" => {}
            _ if matches!(value.text, "[]" | "{}") => {}
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    Ok(search)
}

/// Reads `tool_choice`.
pub(super) fn choice<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Choice<'a>> {
    if node.kind() == Type::String {
        return match node.string()?.as_ref() {
            "auto" => Ok(Choice::Auto),
            "required" => Ok(Choice::Required),
            "none" => Ok(Choice::None),
            _ => Err(not_carried(node.path.to_string())),
        };
    }
    let names = ["type", "mode", "tools", "allowed_tools"];
    let [kind, mode, tools, allowed] = members_or_losses(node, names, CHOSEN_MEMBERS, losses)?;
    if kind == Some("\"allowed_tools\"") {
        members_or_losses(node, names, &[], losses)?;
    }
    match kind.map(|text| node.at("type", text).string()).transpose()?.as_deref() {
        Some("function" | "custom") => named(node, losses).map(Choice::Named),
        Some("allowed_tools") => match allowed {
            // This is Chat's form.
            Some(inner) => {
                let inner = node.at("allowed_tools", inner);
                unused_members(node, [("mode", mode), ("tools", tools)], losses)?;
                let [mode, tools] = members_or_losses(&inner, ["mode", "tools"], &[], losses)?;
                subset(&inner, mode, tools, losses)
            }
            None => subset(node, mode, tools, losses),
        },
        _ => Err(not_carried(node.path.to_string())),
    }
}

fn subset<'a>(
    node: &Node<'a, '_>,
    mode: Option<&'a str>,
    tools: Option<&'a str>,
    losses: &mut Losses,
) -> Result<Choice<'a>> {
    let required = match mode {
        Some(text) => node.at("mode", text).string()? == "required",
        None => false,
    };
    let mut chosen = Vec::new();
    if let Some(text) = tools {
        node.at("tools", text).items(|tool| {
            chosen.push(named(&tool, losses)?);
            Ok(())
        })?;
    }
    Ok(Choice::Allowed { required, tools: chosen })
}

fn named<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Chosen<'a>> {
    let [kind, name, namespace, function, custom] =
        members_or_losses(node, ["type", "name", "namespace", "function", "custom"], &[], losses)?;
    if let Some(text) = name {
        unused_members(node, [("function", function), ("custom", custom)], losses)?;
        let namespace = namespace.map(|text| node.at("namespace", text).string()).transpose()?;
        return Ok(Chosen { namespace, name: node.at("name", text).string()? });
    }
    // This is Chat's form.
    for (key, inner) in [("function", function), ("custom", custom)] {
        let Some(inner) = inner else { continue };
        let inner = node.at(key, inner);
        if let [Some(text)] = members_or_losses(&inner, ["name"], &[], losses)? {
            return Ok(Chosen { namespace: None, name: inner.at("name", text).string()? });
        }
    }
    // The provider's own tools have no name other than their type.
    match kind.map(|text| node.at("type", text).string()).transpose()? {
        Some(kind) if is_web_search(&kind) => Ok(Chosen { namespace: None, name: Cow::Borrowed(WEB_SEARCH) }),
        Some(kind) if !matches!(&*kind, "function" | "custom") => Ok(Chosen { namespace: None, name: kind }),
        _ => Err(node.missing("name").wrong("a string")),
    }
}

/// Members that may stand beside the inner object of a tool.
const BESIDE_INNER: &[&str] = &["type", "function", "custom", "cache_control", "prompt_cache_breakpoint"];

/// Members of a choice of one tool.
const CHOSEN_MEMBERS: &[&str] = &["name", "namespace", "function", "custom"];

/// The name of the provider's own web search, which is also the prefix of its types.
const WEB_SEARCH: &str = "web_search";

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(json: &str) -> Result<(Vec<Tool<'_>>, Option<String>)> {
        let (mut tools, mut losses) = (Vec::new(), Losses::default());
        read(&Node::root(json), &mut tools, &mut losses)?;
        Ok((tools, losses.header()))
    }

    #[test]
    fn functions_flat_and_nested() {
        let (tools, lost) = tools(
            r#"[{"type":"function","name":"a","description":"","parameters":{},"strict":true},
            {"type":"function","function":{"name":"b","description":"d","parameters":{"type":"object"}},
            "defer_loading":true,"async":false}]"#,
        )
        .unwrap();
        assert_eq!((tools[0].name.as_ref(), &tools[0].description), ("a", &None));
        assert!(matches!(tools[0].kind, ToolKind::Function { schema: None, strict: Some(true) }));
        assert_eq!(tools[1].description.as_ref().unwrap().raw(), "d");
        let ToolKind::Function { schema: Some(schema), strict: None } = &tools[1].kind else { panic!() };
        assert_eq!(schema.get(), r#"{"type":"object"}"#);
        assert_eq!(lost.unwrap(), "[1].defer_loading");
    }

    #[test]
    fn freeform_tools_with_both_shapes_of_grammar() {
        let (tools, _) = tools(
            r#"[{"type":"custom","name":"p","format":{"type":"grammar","syntax":"lark","definition":"start: x"}},
            {"type":"custom","custom":{"name":"q","format":{"type":"grammar","grammar":{"syntax":"regex","definition":"a+"}}}},
            {"type":"custom","name":"r","format":{"type":"text"}}]"#,
        )
        .unwrap();
        let grammar = |tool: &Tool<'_>| match &tool.kind {
            ToolKind::Custom { grammar } => {
                grammar.as_ref().map(|g| format!("{} {}", g.syntax.raw(), g.definition.raw()))
            }
            _ => panic!(),
        };
        let seen: Vec<_> = tools.iter().map(grammar).collect();
        assert_eq!(seen, [Some("lark start: x".into()), Some("regex a+".into()), None]);
    }

    #[test]
    fn namespaces_are_flattened() {
        let (tools, _) = tools(
            r#"[{"type":"namespace","name":"crm","description":"CRM.","tools":[
            {"type":"function","name":"find","description":"Find."},{"type":"custom","name":"note"}]}]"#,
        )
        .unwrap();
        assert_eq!((tools[0].namespace.as_deref(), tools[0].name.as_ref()), (Some("crm"), "find"));
        assert_eq!(tools[0].description.as_ref().unwrap().decode(), "CRM.\nFind.");
        assert!(tools[1].is_custom());
        assert_eq!(tools[1].description.as_ref().unwrap().raw(), "CRM.");
    }

    #[test]
    fn tools_of_the_providers_own() {
        let (tools, _) = tools(
            r#"[{"type":"web_search_preview_2025_03_11","search_context_size":"low","user_location":{"type":"approximate","city":"B"},
            "filters":{"allowed_domains":["x.y"],"blocked_domains":[]}},{"type":"image_generation"},{"type":"tool_search"}]"#,
        )
        .unwrap();
        let ToolKind::WebSearch(search) = &tools[0].kind else { panic!() };
        assert_eq!(search.context.as_ref().unwrap().raw(), "low");
        assert_eq!(search.allowed.as_ref().unwrap().get(), r#"["x.y"]"#);
        assert!(search.blocked.is_none() && search.location.is_some());
        assert!(tools[1..].iter().all(|tool| matches!(tool.kind, ToolKind::Hosted)));
    }

    #[test]
    fn tools_bound_to_private_resources_are_refused() {
        for kind in [
            "file_search",
            "code_interpreter",
            "mcp",
            "computer_use_preview",
            "computer",
            "local_shell",
            "shell",
            "apply_patch",
            "programmatic_tool_calling",
            "new_kind",
        ] {
            let json = format!(r#"[{{"type":"{kind}"}}]"#);
            assert_eq!(tools(&json).unwrap_err().param(), Some("[0]"), "{kind}");
        }
        assert_eq!(tools(r#"[{"type":"function"}]"#).unwrap_err().param(), Some("[0].name"));
    }

    fn choice(json: &str) -> Result<Choice<'_>> {
        super::choice(&Node::root(json), &mut Losses::default())
    }

    fn chosen(name: &'static str) -> Chosen<'static> {
        Chosen { namespace: None, name: name.into() }
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(choice("\"auto\"").unwrap(), Choice::Auto);
        assert_eq!(choice("\"required\"").unwrap(), Choice::Required);
        assert_eq!(choice("\"none\"").unwrap(), Choice::None);
        for one in [r#"{"type":"function","name":"f"}"#, r#"{"type":"function","function":{"name":"f"}}"#] {
            assert_eq!(choice(one).unwrap(), Choice::Named(chosen("f")));
        }
        assert_eq!(choice(r#"{"type":"custom","name":"p"}"#).unwrap(), Choice::Named(chosen("p")));
        let some = r#"{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"b"},
            {"type":"web_search_preview"},{"type":"image_generation"}]}"#;
        let tools = vec![chosen("b"), chosen("web_search"), chosen("image_generation")];
        assert_eq!(choice(some).unwrap(), Choice::Allowed { required: true, tools });
    }

    #[test]
    fn hosted_and_unknown_choices_are_refused() {
        for bad in ["\"any\"", r#"{"type":"web_search_preview"}"#, r#"{"type":"mcp","server_label":"x"}"#] {
            assert_eq!(choice(bad).unwrap_err().status(), 400, "{bad}");
        }
        assert!(choice(r#"{"type":"function"}"#).is_err() && choice("7").is_err());
    }
}
