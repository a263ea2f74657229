//! Tools, and the choice among them.

use std::borrow::Cow;

use crate::canon::{
    Args, Call, Choice, Chosen, Grammar, Losses, Offer, Part, Request, Target, Tool, ToolChoice, ToolId,
    ToolKind, ToolNames, ToolSupport, WebSearch,
};
use crate::failure::Result;
use crate::json::write::{self, Array, Object};
use crate::json::{JsonStr, compact};
use crate::protocol::phrases;

/// The tools and the choice that a provider is offered.
#[derive(Debug)]
pub(super) struct ToolPlan<'r, 'a> {
    /// Functions and freeform tools.
    tools: Vec<&'r Tool<'a>>,
    web_search: Option<&'r WebSearch<'a>>,
    choice: Option<Choice<'a>>,
}

impl<'r, 'a> ToolPlan<'r, 'a> {
    /// Selects from a request's tools and choice those that the provider accepts.
    ///
    /// # Errors
    /// Returns 400 like [`Offer::new`], and in strict mode if a choice has to be weakened.
    pub(super) fn new(request: &'r Request<'a>, target: &Target<'_>, losses: &mut Losses) -> Result<Self> {
        let (profile, caps) = (target.profile, target.caps);
        let known = |value| profile.tool_choice_values.contains(&value);
        let subsets = known(ToolChoice::Allowed);
        let Offer { mut tools, choice } = Offer::new(
            &request.tools,
            request.choice.as_ref(),
            ToolSupport { web_search: profile.web_search, subsets },
            losses,
        )?;
        let web_search = tools.iter().find_map(|tool| match &tool.kind {
            ToolKind::WebSearch(search) => Some(search),
            _ => None,
        });
        tools.retain(|tool| tool.is_callable());
        let mut plan = Self { choice: choice.filter(|_| !tools.is_empty()), tools, web_search };
        if plan.is_forced() && !caps.forced_tool {
            plan.weaken(losses)?;
        }
        if plan.choice == Some(Choice::None) && !known(ToolChoice::None) {
            plan.forbid(request, losses)?;
        }
        if let Some(Choice::Named(chosen)) = &plan.choice
            && !known(ToolChoice::Named)
        {
            plan.tools.retain(|tool| chosen.is(tool));
            plan.choice = Some(Choice::Required);
        }
        if plan.choice == Some(Choice::Required) && !known(ToolChoice::Required) {
            match plan.tools.as_slice() {
                [only] if known(ToolChoice::Named) => plan.choice = Some(Choice::Named(chosen(only))),
                _ => plan.weaken(losses)?,
            }
        }
        if plan.choice == Some(Choice::Auto) && !known(ToolChoice::Auto) {
            plan.choice = None;
        }
        Ok(plan)
    }

    /// Whether the model must call something.
    pub(super) fn is_forced(&self) -> bool {
        matches!(
            self.choice,
            Some(Choice::Required | Choice::Named(_) | Choice::Allowed { required: true, .. })
        )
    }

    /// Whether there is anything that it can call.
    pub(super) fn has_tools(&self) -> bool {
        !self.tools.is_empty()
    }

    fn weaken(&mut self, losses: &mut Losses) -> Result<()> {
        self.choice = Some(Choice::Auto);
        losses.change("tool_choice", "auto")
    }

    /// Forbids calls for a provider without a word for it, by leaving out the tools. Calls in the past need their
    /// tools.
    fn forbid(&mut self, request: &Request<'_>, losses: &mut Losses) -> Result<()> {
        self.choice = None;
        let called = |part: &Part<'_>| matches!(part, Part::Call(_));
        if request.turns.iter().any(|turn| turn.parts.iter().any(called)) {
            return losses.drop_named("tool_choice");
        }
        self.tools.clear();
        Ok(())
    }
}

fn chosen<'a>(tool: &Tool<'a>) -> Chosen<'a> {
    Chosen { namespace: tool.namespace.clone(), name: tool.name.clone() }
}

/// Writes the members.
pub(super) fn write(
    o: &mut Object<'_>,
    plan: &ToolPlan<'_, '_>,
    parallel: Option<bool>,
    target: &Target<'_>,
    names: &ToolNames,
    losses: &mut Losses,
) -> Result<()> {
    let profile = target.profile;
    if let Some(search) = plan.web_search {
        if search.allowed.is_some() || search.blocked.is_some() {
            losses.drop_named("tools.filters")?;
        }
        if search.max_uses.is_some() {
            losses.drop_named("tools.max_uses")?;
        }
        o.object("web_search_options", |o| web_search(o, search));
    }
    if plan.tools.is_empty() {
        return Ok(());
    }
    let strict = |tool: &&Tool<'_>| matches!(tool.kind, ToolKind::Function { strict: Some(true), .. });
    if !profile.strict_tools && plan.tools.iter().any(strict) {
        losses.drop_named("tools.strict")?;
    }
    o.array("tools", |list| plan.tools.iter().for_each(|tool| one(list, tool, target, names)));
    if let Some(requested) = &plan.choice {
        choice(o, requested, plan, target, names);
    }
    match parallel {
        Some(value) if profile.parallel_tool_calls => {
            o.bool("parallel_tool_calls", value);
        }
        Some(false) => losses.drop_named("parallel_tool_calls")?,
        _ => {}
    }
    Ok(())
}

fn web_search(o: &mut Object<'_>, search: &WebSearch<'_>) {
    if let Some(context) = &search.context {
        o.json_str("search_context_size", context);
    }
    if let Some(place) = &search.location {
        o.object("user_location", |o| {
            o.text("type", "approximate").raw("approximate", place);
        });
    }
}

fn one(list: &mut Array<'_>, tool: &Tool<'_>, target: &Target<'_>, names: &ToolNames) {
    let name = names.upstream(tool.namespace.as_deref(), &tool.name);
    match &tool.kind {
        ToolKind::Custom { grammar } if target.profile.custom_tools => {
            list.object(|o| custom(o, &name, tool, grammar.as_ref()));
        }
        ToolKind::Custom { grammar } => {
            list.object(|o| wrapped(o, &name, tool, grammar.as_ref()));
        }
        ToolKind::Function { schema, strict } => {
            list.object(|o| {
                o.text("type", "function").object("function", |o| {
                    o.text("name", &name);
                    if let Some(description) = tool.description.as_ref().filter(|text| !text.is_empty()) {
                        o.json_str("description", description);
                    }
                    if let Some(schema) = schema {
                        o.raw("parameters", schema);
                    }
                    if *strict == Some(true) && target.profile.strict_tools {
                        o.bool("strict", true);
                    }
                });
            });
        }
        ToolKind::WebSearch(_) | ToolKind::Hosted => {}
    }
}

fn custom(o: &mut Object<'_>, name: &str, tool: &Tool<'_>, grammar: Option<&Grammar<'_>>) {
    o.text("type", "custom").object("custom", |o| {
        o.text("name", name);
        if let Some(description) = tool.description.as_ref().filter(|text| !text.is_empty()) {
            o.json_str("description", description);
        }
        if let Some(grammar) = grammar {
            o.object("format", |o| {
                o.text("type", "grammar").object("grammar", |o| {
                    o.json_str("syntax", &grammar.syntax).json_str("definition", &grammar.definition);
                });
            });
        }
    });
}

/// Writes a freeform tool as a function with one text, for a provider that has no freeform tools.
fn wrapped(o: &mut Object<'_>, name: &str, tool: &Tool<'_>, grammar: Option<&Grammar<'_>>) {
    let description = tool.description.as_ref().filter(|text| !text.is_empty());
    o.text("type", "function").object("function", |o| {
        o.text("name", name);
        if description.is_some() || grammar.is_some() {
            o.string("description", |text| {
                if let Some(description) = description {
                    text.json_str(description);
                }
                if let Some(grammar) = grammar {
                    text.plain(if description.is_some() { "\n" } else { "" });
                    text.plain("The input must match this ");
                    text.json_str(&grammar.syntax);
                    text.plain(" grammar:\n");
                    text.json_str(&grammar.definition);
                }
            });
        }
        o.json("parameters", phrases::TEXT_INPUT_SCHEMA);
    });
}

fn choice(
    o: &mut Object<'_>,
    requested: &Choice<'_>,
    plan: &ToolPlan<'_, '_>,
    target: &Target<'_>,
    names: &ToolNames,
) {
    match requested {
        Choice::Auto => o.text("tool_choice", "auto"),
        Choice::None => o.text("tool_choice", "none"),
        // Mistral, whose ids have nine characters, has a word of its own.
        Choice::Required if target.profile.tool_id == ToolId::Mistral9 => o.text("tool_choice", "any"),
        Choice::Required => o.text("tool_choice", "required"),
        Choice::Named(chosen) => o.object("tool_choice", |o| reference(o, chosen, plan, target, names)),
        Choice::Allowed { required, tools } => o.object("tool_choice", |o| {
            o.text("type", "allowed_tools").object("allowed_tools", |o| {
                o.text("mode", if *required { "required" } else { "auto" });
                o.array("tools", |list| {
                    for chosen in tools {
                        list.object(|o| reference(o, chosen, plan, target, names));
                    }
                });
            });
        }),
    };
}

fn reference(
    o: &mut Object<'_>,
    chosen: &Chosen<'_>,
    plan: &ToolPlan<'_, '_>,
    target: &Target<'_>,
    names: &ToolNames,
) {
    let tool = plan.tools.iter().find(|tool| chosen.is(tool));
    let namespace = tool.map_or(chosen.namespace.as_ref(), |tool| tool.namespace.as_ref());
    let name = names.upstream(namespace.map(Cow::as_ref), &chosen.name);
    let custom = target.profile.custom_tools && tool.is_some_and(|tool| tool.is_custom());
    let kind = if custom { "custom" } else { "function" };
    o.text("type", kind).object(kind, |o| {
        o.text("name", &name);
    });
}

/// Writes the input of a freeform tool.
pub(super) fn input(out: &mut write::TextWriter<'_>, args: &Args<'_>) {
    match args {
        Args::Str(text) => out.json_str(text),
        Args::Raw(json) => out.plain(json.get()),
    }
}

/// Writes the `arguments` of a function, which are JSON in a string.
pub(super) fn arguments(o: &mut Object<'_>, call: &Call<'_>, scratch: &mut Vec<u8>) {
    o.string("arguments", |out| match &call.args {
        args if call.custom => {
            out.plain("{\"input\":\"");
            match args {
                Args::Str(text) => out.plain(text.raw()),
                Args::Raw(json) => out.plain(JsonStr::of(json.get()).raw()),
            }
            out.plain("\"}");
        }
        Args::Str(text) if text.is_blank() => out.plain("{}"),
        Args::Str(text) => out.json_str(text),
        Args::Raw(json) => {
            scratch.clear();
            compact(json.get(), scratch);
            out.plain(std::str::from_utf8(scratch).unwrap_or("{}"));
        }
    });
}
