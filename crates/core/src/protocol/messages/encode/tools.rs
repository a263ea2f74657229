//! Tools for a provider, and the choice among them.

use crate::canon::{ANSWER_TOOL, Caps, Choice, Grammar, Losses, Offer, Tool, ToolKind, ToolNames, WebSearch};
use crate::failure::Result;
use crate::json::write::{Array, Object};
use crate::json::{self, JsonStr, Lenient as _, Raw};
use crate::protocol::phrases;

use super::format::AnswerFormat;
use super::mark::CacheMarks;
use super::schema;

/// The tools that the model may, or must, call, in the protocol's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ForcedTool<'r> {
    Auto,
    Any,
    None,
    /// The tool with this name, in the client's spelling.
    Tool {
        namespace: Option<&'r str>,
        name: &'r str,
    },
}

impl<'r> ForcedTool<'r> {
    /// Finds the tool that the client's choice forces. A model that cannot be forced decides by itself.
    ///
    /// # Errors
    /// Returns 400 in strict mode.
    pub(super) fn of(offer: &'r Offer<'_, '_>, caps: &Caps, losses: &mut Losses) -> Result<Option<Self>> {
        let Some(choice) = offer.choice.as_ref().filter(|_| !offer.tools.is_empty()) else { return Ok(None) };
        let pick = match choice {
            Choice::Auto => Self::Auto,
            Choice::None => Self::None,
            Choice::Required | Choice::Allowed { required: true, .. } => Self::Any,
            Choice::Allowed { required: false, .. } => Self::Auto,
            Choice::Named(chosen) => {
                Self::Tool { namespace: chosen.namespace.as_deref(), name: &chosen.name }
            }
        };
        if pick.is_forced() && !caps.forced_tool {
            losses.change("tool_choice", "auto")?;
            return Ok(Some(Self::Auto));
        }
        Ok(Some(pick))
    }

    /// Whether the model must call.
    pub(super) fn is_forced(&self) -> bool {
        matches!(self, Self::Any | Self::Tool { .. })
    }
}

/// Writes `tools` and `tool_choice`. `single` is whether at most one call is allowed.
pub(super) fn write(
    offer: &Offer<'_, '_>,
    pick: Option<&ForcedTool<'_>>,
    single: bool,
    form: &AnswerFormat<'_>,
    (names, marks): (&ToolNames, &mut CacheMarks),
    o: &mut Object<'_>,
) {
    if let AnswerFormat::Tool { schema, description } = form {
        o.array("tools", |list| {
            list.object(|o| function(ANSWER_TOOL, |o| describe(*description, None, o), Some(schema), o));
        });
        o.object("tool_choice", |o| {
            o.text("type", "tool").text("name", ANSWER_TOOL).bool("disable_parallel_tool_use", true);
        });
        return;
    }
    if offer.tools.is_empty() {
        return;
    }
    o.array("tools", |list| offer.tools.iter().for_each(|tool| one(tool, names, marks, list)));
    choice(offer, pick, single, names, o);
}

fn choice(
    offer: &Offer<'_, '_>,
    pick: Option<&ForcedTool<'_>>,
    single: bool,
    names: &ToolNames,
    o: &mut Object<'_>,
) {
    if pick.is_none() && !single {
        return;
    }
    o.object("tool_choice", |o| {
        match pick {
            Some(ForcedTool::Auto) | None => o.text("type", "auto"),
            Some(ForcedTool::Any) => o.text("type", "any"),
            Some(ForcedTool::None) => o.text("type", "none"),
            Some(ForcedTool::Tool { namespace, name }) => {
                // A choice may leave the namespace out.
                let tool = offer.tools.iter().find(|tool| {
                    tool.name == *name && (namespace.is_none() || tool.namespace.as_deref() == *namespace)
                });
                let namespace = tool.map_or(*namespace, |tool| tool.namespace.as_deref());
                o.text("type", "tool").text("name", &names.upstream(namespace, name))
            }
        };
        if single && pick != Some(&ForcedTool::None) {
            o.bool("disable_parallel_tool_use", true);
        }
    });
}

fn one(tool: &Tool<'_>, names: &ToolNames, marks: &mut CacheMarks, list: &mut Array<'_>) {
    list.object(|o| {
        let name = names.upstream(tool.namespace.as_deref(), &tool.name);
        match &tool.kind {
            ToolKind::Function { schema, strict } => {
                function(&name, |o| describe(tool.description.as_ref(), None, o), schema.as_ref(), o);
                if *strict == Some(true) && schema.as_ref().is_some_and(is_exact) {
                    o.bool("strict", true);
                }
            }
            ToolKind::Custom { grammar } => {
                let describe = |o: &mut Object<'_>| describe(tool.description.as_ref(), grammar.as_ref(), o);
                function(&name, describe, Some(&Raw::constant(phrases::TEXT_INPUT_SCHEMA)), o);
            }
            ToolKind::WebSearch(search) => web_search(search, o),
            // These are never offered.
            ToolKind::Hosted => {
                o.text("name", &name);
            }
        }
        marks.write(tool.cache, o);
    });
}

fn function(
    name: &str,
    describe: impl FnOnce(&mut Object<'_>),
    schema: Option<&Raw<'_>>,
    o: &mut Object<'_>,
) {
    o.text("name", name);
    describe(o);
    o.value("input_schema", |out| input_schema(schema, out));
}

/// Writes a description. That of a freeform tool includes the grammar of its text.
fn describe(description: Option<&JsonStr<'_>>, grammar: Option<&Grammar<'_>>, o: &mut Object<'_>) {
    let description = description.filter(|text| !text.is_empty());
    if description.is_none() && grammar.is_none() {
        return;
    }
    o.string("description", |text| {
        if let Some(description) = description {
            text.json_str(description);
        }
        if let Some(grammar) = grammar {
            text.plain(if description.is_some() {
                "\nThe input must match this "
            } else {
                "The input must match this "
            });
            text.json_str(&grammar.syntax);
            text.plain(" grammar:\n");
            text.json_str(&grammar.definition);
        }
    });
}

/// Writes the schema of a tool's input, which has to describe an object.
fn input_schema(schema: Option<&Raw<'_>>, out: &mut Vec<u8>) {
    let schema = schema.map(|schema| schema.get().trim()).filter(|schema| schema.starts_with('{'));
    let Some(schema) = schema else { return out.extend_from_slice(NO_INPUT.as_bytes()) };
    let mut members = json::members(schema.as_bytes()).lenient().peekable();
    if members.peek().is_none() {
        out.extend_from_slice(NO_INPUT.as_bytes());
    } else if members.any(|member| member.is("type")) {
        out.extend_from_slice(schema.as_bytes());
    } else {
        out.extend_from_slice(br#"{"type":"object","#);
        out.extend_from_slice(schema.get(1..).unwrap_or_default().as_bytes());
    }
}

/// Whether the provider gets the schema as it is, and can enforce it.
fn is_exact(schema: &Raw<'_>) -> bool {
    let mut members = json::members(schema.get().trim().as_bytes()).lenient();
    members.any(|member| member.is("type")) && schema::is_exact(schema)
}

fn web_search(search: &WebSearch<'_>, o: &mut Object<'_>) {
    o.text("type", "web_search_20250305").text("name", "web_search");
    let by_size = match search.context.as_ref().map(JsonStr::raw) {
        Some("low") => Some(1),
        Some("medium") => Some(5),
        Some("high") => Some(10),
        _ => None,
    };
    if let Some(uses) = search.max_uses.or(by_size) {
        o.number("max_uses", uses);
    }
    for (name, domains) in [("allowed_domains", &search.allowed), ("blocked_domains", &search.blocked)] {
        if let Some(domains) = domains {
            o.value(name, |out| json::compact(domains.get(), out));
        }
    }
    if let Some(location) = &search.location {
        o.object("user_location", |o| {
            o.text("type", "approximate");
            for member in json::members(location.get().as_bytes()).lenient() {
                let value = location.get().get(member.span.clone()).unwrap_or_default();
                let name = std::str::from_utf8(member.key).unwrap_or_default();
                if phrases::SEARCH_LOCATION.contains(&name) && member.is_present() {
                    o.json(name, value);
                }
            }
        });
    }
}

/// The schema of a tool without parameters.
const NO_INPUT: &str = r#"{"type":"object","properties":{}}"#;
