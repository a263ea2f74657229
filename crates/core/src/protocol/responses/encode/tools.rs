//! Tools, and the choice among them.

use std::borrow::Cow;

use crate::canon::{
    Choice, Chosen, Grammar, Losses, Offer, Part, Request, Target, Tool, ToolChoice, ToolKind, ToolNames,
    ToolSupport, WebSearch,
};
use crate::failure::Result;
use crate::json::write::{Array, Object};
use crate::json::{self, Lenient as _};
use crate::protocol::phrases;

/// Selects from a request's tools and choice those that a provider accepts.
///
/// # Errors
/// Returns 400 like [`Offer::new`], and in strict mode if a choice has to be weakened.
pub(super) fn plan<'r, 'a>(
    request: &'r Request<'a>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Offer<'r, 'a>> {
    let known = |value| target.profile.tool_choice_values.contains(&value);
    let support = ToolSupport { web_search: true, subsets: known(ToolChoice::Allowed) };
    let mut offer = Offer::new(&request.tools, request.choice.as_ref(), support, losses)?;
    let forced = matches!(
        offer.choice,
        Some(Choice::Required | Choice::Named(_) | Choice::Allowed { required: true, .. })
    );
    if forced && !target.caps.forced_tool {
        weaken(&mut offer, losses)?;
    }
    if let Some(Choice::Named(chosen)) = &offer.choice
        && !known(ToolChoice::Named)
    {
        offer.tools.retain(|tool| chosen.is(tool));
        offer.choice = Some(Choice::Required);
    }
    if offer.choice == Some(Choice::Required) && !known(ToolChoice::Required) {
        match offer.tools.as_slice() {
            [only] if known(ToolChoice::Named) => offer.choice = Some(Choice::Named(chosen(only))),
            _ => weaken(&mut offer, losses)?,
        }
    }
    if offer.choice == Some(Choice::None) && !known(ToolChoice::None) {
        forbid(&mut offer, request, losses)?;
    }
    Ok(offer)
}

fn weaken(offer: &mut Offer<'_, '_>, losses: &mut Losses) -> Result<()> {
    offer.choice = Some(Choice::Auto);
    losses.change("tool_choice", "auto")
}

/// Forbids calls for a provider without a word for it, by leaving out the tools. Calls in the past need their
/// tools.
fn forbid(offer: &mut Offer<'_, '_>, request: &Request<'_>, losses: &mut Losses) -> Result<()> {
    offer.choice = None;
    let mut parts = request.turns.iter().flat_map(|turn| &turn.parts);
    if parts.any(|part| matches!(part, Part::Call(_))) {
        return losses.drop_named("tool_choice");
    }
    offer.tools.clear();
    Ok(())
}

fn chosen<'a>(tool: &Tool<'a>) -> Chosen<'a> {
    Chosen { namespace: tool.namespace.clone(), name: tool.name.clone() }
}

/// Writes the members.
pub(super) fn write(
    o: &mut Object<'_>,
    offer: &Offer<'_, '_>,
    parallel: Option<bool>,
    target: &Target<'_>,
    names: &ToolNames,
    losses: &mut Losses,
) -> Result<()> {
    if offer.tools.is_empty() {
        return Ok(());
    }
    let custom = target.profile.custom_tools;
    o.array("tools", |array| list(array, offer.tools.iter().copied(), custom, names));
    if let Some(requested) = &offer.choice {
        choice(o, requested, offer, custom, names);
    }
    match parallel {
        Some(value) if target.profile.parallel_tool_calls => {
            o.bool("parallel_tool_calls", value);
        }
        Some(false) => losses.drop_named("parallel_tool_calls")?,
        _ => {}
    }
    Ok(())
}

/// Writes tools as the elements of a list.
pub(super) fn list<'t, 'a: 't>(
    array: &mut Array<'_>,
    tools: impl Iterator<Item = &'t Tool<'a>>,
    custom_tools: bool,
    names: &ToolNames,
) {
    tools.for_each(|tool| one(array, tool, custom_tools, names));
}

fn one(list: &mut Array<'_>, tool: &Tool<'_>, custom_tools: bool, names: &ToolNames) {
    let name = names.upstream(tool.namespace.as_deref(), &tool.name);
    list.object(|o| match &tool.kind {
        ToolKind::Function { schema, strict } => {
            o.text("type", "function").text("name", &name);
            description(o, tool, None);
            match schema.as_ref().filter(|schema| !matches!(schema.get(), "{}" | "null")) {
                Some(schema) => o.raw("parameters", schema),
                None => o.json("parameters", NO_PARAMETERS),
            };
            // If `strict` were absent, OpenAI would be strict and change the schema.
            o.bool("strict", strict.unwrap_or_default());
        }
        ToolKind::Custom { grammar } if custom_tools => {
            o.text("type", "custom").text("name", &name);
            description(o, tool, None);
            if let Some(grammar) = grammar {
                o.object("format", |o| {
                    o.text("type", "grammar");
                    o.json_str("syntax", &grammar.syntax).json_str("definition", &grammar.definition);
                });
            }
        }
        // A function with one text stands for it.
        ToolKind::Custom { grammar } => {
            o.text("type", "function").text("name", &name);
            description(o, tool, grammar.as_ref());
            o.json("parameters", phrases::TEXT_INPUT_SCHEMA).bool("strict", false);
        }
        ToolKind::WebSearch(search) => web_search(o, search),
        ToolKind::Hosted => {}
    });
}

/// Writes the purpose of a tool and, if it has no other place, the grammar of its input.
fn description(o: &mut Object<'_>, tool: &Tool<'_>, grammar: Option<&Grammar<'_>>) {
    let own = tool.description.as_ref().filter(|text| !text.is_empty());
    if own.is_none() && grammar.is_none() {
        return;
    }
    o.string("description", |text| {
        if let Some(own) = own {
            text.json_str(own);
        }
        if let Some(grammar) = grammar {
            text.plain(if own.is_some() { "\n" } else { "" });
            text.plain("The input must match this ");
            text.json_str(&grammar.syntax);
            text.plain(" grammar:\n");
            text.json_str(&grammar.definition);
        }
    });
}

fn web_search(o: &mut Object<'_>, search: &WebSearch<'_>) {
    o.text("type", "web_search");
    if let Some(size) = &search.context {
        o.json_str("search_context_size", size);
    } else if let Some(uses) = search.max_uses {
        o.text(
            "search_context_size",
            if uses < MEDIUM {
                "low"
            } else if uses < HIGH {
                "medium"
            } else {
                "high"
            },
        );
    }
    if let Some(place) = &search.location {
        o.object("user_location", |o| {
            o.text("type", "approximate");
            for member in json::members(place.get().as_bytes()).lenient() {
                let Some(name) = phrases::SEARCH_LOCATION.iter().find(|name| member.is(name)) else {
                    continue;
                };
                o.json(name, place.get().get(member.span).unwrap_or("null"));
            }
        });
    }
    if search.allowed.is_some() || search.blocked.is_some() {
        o.object("filters", |o| {
            for (name, domains) in
                [("allowed_domains", &search.allowed), ("blocked_domains", &search.blocked)]
            {
                if let Some(domains) = domains {
                    o.raw(name, domains);
                }
            }
        });
    }
}

fn choice(
    o: &mut Object<'_>,
    requested: &Choice<'_>,
    offer: &Offer<'_, '_>,
    custom: bool,
    names: &ToolNames,
) {
    match requested {
        Choice::Auto => o.text("tool_choice", "auto"),
        Choice::None => o.text("tool_choice", "none"),
        Choice::Required => o.text("tool_choice", "required"),
        Choice::Named(chosen) => o.object("tool_choice", |o| reference(o, chosen, offer, custom, names)),
        Choice::Allowed { required, tools } => o.object("tool_choice", |o| {
            o.text("type", "allowed_tools").text("mode", if *required { "required" } else { "auto" });
            o.array("tools", |list| {
                for chosen in tools {
                    list.object(|o| reference(o, chosen, offer, custom, names));
                }
            });
        }),
    };
}

fn reference(
    o: &mut Object<'_>,
    chosen: &Chosen<'_>,
    offer: &Offer<'_, '_>,
    custom_tools: bool,
    names: &ToolNames,
) {
    let tool = offer.tools.iter().find(|tool| chosen.is(tool));
    if tool.is_some_and(|tool| matches!(tool.kind, ToolKind::WebSearch(_))) {
        o.text("type", "web_search");
        return;
    }
    let namespace = tool.map_or(chosen.namespace.as_ref(), |tool| tool.namespace.as_ref());
    let custom = custom_tools && tool.is_some_and(|tool| tool.is_custom());
    o.text("type", if custom { "custom" } else { "function" });
    o.text("name", &names.upstream(namespace.map(Cow::as_ref), &chosen.name));
}

const NO_PARAMETERS: &str = r#"{"type":"object","properties":{}}"#;

/// Number of searches from which on the context size is no longer `low`; the next constant is the number for
/// `high`.
const MEDIUM: u64 = 5;

const HIGH: u64 = 10;
