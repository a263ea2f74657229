//! Tools for a provider, and the choice among them.

use crate::canon::{Choice, Losses, Offer, Request, Target, Tool, ToolKind, ToolNames, ToolSupport};
use crate::failure::Result;
use crate::json::write::{Array, Object};
use crate::protocol::phrases;

/// The tools and the choice that a provider is offered.
#[derive(Debug)]
pub(super) struct ToolPlan<'r, 'a> {
    functions: Vec<&'r Tool<'a>>,
    searches: bool,
    choice: Option<Choice<'a>>,
}

impl<'r, 'a> ToolPlan<'r, 'a> {
    /// Selects the tools that a model takes. Earlier models do not search beside functions.
    ///
    /// # Errors
    /// Returns 400 like [`Offer::new`].
    pub(super) fn new(request: &'r Request<'a>, target: &Target<'_>, losses: &mut Losses) -> Result<Self> {
        let has_functions = request.tools.iter().any(Tool::is_callable);
        let searches = target.caps.web_search && (target.caps.mixed_tools || !has_functions);
        // A choice among some of the tools is only known where one of them has to be called.
        let subsets = matches!(request.choice, Some(Choice::Allowed { required: true, .. }));
        let support = ToolSupport { web_search: searches, subsets };
        let Offer { tools, choice } = Offer::new(&request.tools, request.choice.as_ref(), support, losses)?;
        let is_search = |tool: &&Tool<'_>| matches!(tool.kind, ToolKind::WebSearch(_));
        for tool in tools.iter().filter(|tool| is_search(tool)) {
            limits(tool, losses)?;
        }
        let searches = tools.iter().any(is_search);
        let functions: Vec<_> = tools.into_iter().filter(|tool| tool.is_callable()).collect();
        Ok(Self { choice: choice.filter(|_| !functions.is_empty()), functions, searches })
    }

    pub(super) fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Writes `tools` and `toolConfig`.
    pub(super) fn write(&self, names: &ToolNames, o: &mut Object<'_>) {
        if self.functions.is_empty() && !self.searches {
            return;
        }
        o.array("tools", |list| {
            if !self.functions.is_empty() {
                list.object(|o| {
                    o.array("functionDeclarations", |list| {
                        self.functions.iter().for_each(|tool| function(tool, names, list));
                    });
                });
            }
            if self.searches {
                list.json(r#"{"googleSearch":{}}"#);
            }
        });
        let mode = self.mode();
        let is_mixed = self.searches && self.has_functions();
        if mode.is_none() && !is_mixed {
            return;
        }
        o.object("toolConfig", |o| {
            if let Some(mode) = mode {
                o.object("functionCallingConfig", |o| {
                    o.text("mode", mode);
                    self.allowed(names, o);
                });
            }
            if is_mixed {
                o.bool("includeServerSideToolInvocations", true);
            }
        });
    }

    fn mode(&self) -> Option<&'static str> {
        let is_strict = |tool: &&Tool<'_>| matches!(tool.kind, ToolKind::Function { strict: Some(true), .. });
        match &self.choice {
            Some(Choice::Required | Choice::Named(_) | Choice::Allowed { required: true, .. }) => Some("ANY"),
            Some(Choice::None) => Some("NONE"),
            _ => self.functions.iter().any(is_strict).then_some("VALIDATED"),
        }
    }

    /// Writes the names of the tools that a choice allows.
    fn allowed(&self, names: &ToolNames, o: &mut Object<'_>) {
        let chosen = match &self.choice {
            Some(Choice::Named(chosen)) => std::slice::from_ref(chosen),
            Some(Choice::Allowed { required: true, tools }) => tools,
            _ => return,
        };
        o.array("allowedFunctionNames", |list| {
            for tool in self.functions.iter().filter(|tool| chosen.iter().any(|chosen| chosen.is(tool))) {
                list.text(&names.upstream(tool.namespace.as_deref(), &tool.name));
            }
        });
    }
}

/// Lists the limits of a search, which the provider does not know.
fn limits(tool: &Tool<'_>, losses: &mut Losses) -> Result<()> {
    let ToolKind::WebSearch(search) = &tool.kind else { return Ok(()) };
    if search.allowed.is_some() || search.blocked.is_some() {
        losses.drop_named("tools.filters")?;
    }
    if search.max_uses.is_some() {
        losses.drop_named("tools.max_uses")?;
    }
    if search.location.is_some() {
        losses.drop_named("tools.user_location")?;
    }
    Ok(())
}

fn function(tool: &Tool<'_>, names: &ToolNames, list: &mut Array<'_>) {
    list.object(|o| {
        o.text("name", &names.upstream(tool.namespace.as_deref(), &tool.name));
        let description = tool.description.as_ref().filter(|text| !text.is_empty());
        match &tool.kind {
            ToolKind::Custom { grammar } => {
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
                o.json("parametersJsonSchema", phrases::TEXT_INPUT_SCHEMA);
            }
            ToolKind::Function { schema, .. } => {
                if let Some(description) = description {
                    o.json_str("description", description);
                }
                if let Some(schema) = schema {
                    o.raw("parametersJsonSchema", schema);
                }
            }
            // These are not called by the client.
            ToolKind::WebSearch(_) | ToolKind::Hosted => {}
        }
    });
}
