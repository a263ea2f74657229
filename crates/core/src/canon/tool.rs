//! Tools, and the choice among them.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::failure::{Failure, Kind, Result};
use crate::json::{JsonStr, Path, Raw};

use super::{Cache, Losses};

/// A tool that a model may call.
#[derive(Clone, Debug)]
pub struct Tool<'a> {
    /// The namespace in which the client has put the tool.
    pub namespace: Option<Cow<'a, str>>,
    /// Its name.
    pub name: Cow<'a, str>,
    /// The purpose of the tool, after the description of its namespace.
    pub description: Option<JsonStr<'a>>,
    /// The kind of the tool.
    pub kind: ToolKind<'a>,
    /// A mark for the prompt cache.
    pub cache: Option<Cache>,
    /// The tool's place in the client's list. Absent: the place that it has in the request.
    pub position: Option<usize>,
}

/// The kind of a tool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ToolKind<'a> {
    /// A function with JSON arguments.
    Function {
        /// The schema of its arguments.
        schema: Option<Raw<'a>>,
        /// Whether arguments must match exactly. Absent: the client did not say.
        strict: Option<bool>,
    },
    /// A freeform tool, whose input is any text.
    Custom {
        /// The grammar of the text.
        grammar: Option<Grammar<'a>>,
    },
    /// The provider's own web search.
    WebSearch(WebSearch<'a>),
    /// Another hosted tool of the provider, without a counterpart in other protocols; some clients attach them by
    /// default.
    Hosted,
}

/// The support of a provider for what may differ from one to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolSupport {
    /// Whether the provider searches the web by itself.
    pub web_search: bool,
    /// Whether the provider knows a choice among some of the tools.
    pub subsets: bool,
}

/// The tools and the choice that are offered to a provider.
#[derive(Debug)]
pub struct Offer<'r, 'a> {
    /// The tools, in their order.
    pub tools: Vec<&'r Tool<'a>>,
    /// The choice among the tools; never [`Choice::Allowed`] unless the provider supports it.
    pub choice: Option<Choice<'a>>,
}

/// The grammar of a freeform tool's input.
#[derive(Clone, Debug)]
pub struct Grammar<'a> {
    /// `lark` or `regex`.
    pub syntax: JsonStr<'a>,
    /// The grammar.
    pub definition: JsonStr<'a>,
}

/// A provider's own web search.
#[derive(Clone, Debug, Default)]
pub struct WebSearch<'a> {
    /// `low`, `medium` or `high`.
    pub context: Option<JsonStr<'a>>,
    /// Maximum number of searches.
    pub max_uses: Option<u64>,
    /// The user's place: the members of an approximate location.
    pub location: Option<Raw<'a>>,
    /// Domains that may be searched, as an array of strings.
    pub allowed: Option<Raw<'a>>,
    /// Domains that may not be searched, as an array of strings.
    pub blocked: Option<Raw<'a>>,
}

/// The choice among the tools that a model may call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice<'a> {
    /// Any tool or none.
    Auto,
    /// At least one tool.
    Required,
    /// None.
    None,
    /// This tool.
    Named(Chosen<'a>),
    /// Some of the tools.
    Allowed {
        /// Whether at least one of them must be called.
        required: bool,
        /// The allowed tools.
        tools: Vec<Chosen<'a>>,
    },
}

/// A tool that a choice names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// Its namespace.
    pub namespace: Option<Cow<'a, str>>,
    /// Its name.
    pub name: Cow<'a, str>,
}

impl<'a> Tool<'a> {
    /// Creates a function.
    #[must_use]
    pub fn function(name: Cow<'a, str>, description: Option<JsonStr<'a>>, schema: Option<Raw<'a>>) -> Self {
        Self {
            namespace: None,
            name,
            description,
            kind: ToolKind::Function { schema, strict: None },
            cache: None,
            position: None,
        }
    }

    /// Whether it is a freeform tool.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        matches!(self.kind, ToolKind::Custom { .. })
    }

    /// Whether it is called by the client, and not by the provider itself.
    #[must_use]
    pub fn is_callable(&self) -> bool {
        matches!(self.kind, ToolKind::Function { .. } | ToolKind::Custom { .. })
    }
}

impl<'r, 'a> Offer<'r, 'a> {
    /// Selects what a provider with this support can be offered of a request's tools and choice.
    ///
    /// # Errors
    /// Returns 400 if two tools have the same name, if the choice names a tool that has to be left out, or if all
    /// tools have to be left out: the model would have to invent the answer. In strict mode, returns 400 if any
    /// tool has to be left out.
    pub fn new(
        tools: &'r [Tool<'a>],
        choice: Option<&Choice<'a>>,
        support: ToolSupport,
        losses: &mut Losses,
    ) -> Result<Self> {
        let mut offered: Vec<&Tool<'a>> = Vec::with_capacity(tools.len());
        let mut names = HashSet::with_capacity(tools.len());
        for (index, tool) in tools.iter().enumerate() {
            let index = tool.position.unwrap_or(index);
            let available =
                tool.is_callable() || support.web_search && matches!(tool.kind, ToolKind::WebSearch(_));
            if !available {
                if choice.is_some_and(|choice| choice.names(tool)) {
                    return Err(unavailable("tool_choice", &tool.name));
                }
                losses.drop(&Path::ROOT.key("tools").index(index))?;
                continue;
            }
            if !names.insert((tool.namespace.as_deref(), &*tool.name)) {
                return Err(Failure::new(Kind::Unsupported, format!("duplicate tool name '{}'", tool.name))
                    .with_param(format!("tools[{index}].name")));
            }
            offered.push(tool);
        }
        if let (true, Some(first)) = (offered.is_empty(), tools.first()) {
            let is_search = matches!(first.kind, ToolKind::WebSearch(_));
            return Err(unavailable("tools", if is_search { "web search" } else { &first.name }));
        }
        let mut choice = choice.cloned().filter(|_| !offered.is_empty());
        if !support.subsets
            && let Some(Choice::Allowed { required, tools }) = &choice
        {
            let chosen: HashSet<_> =
                tools.iter().map(|tool| (tool.namespace.as_deref(), &*tool.name)).collect();
            let is_chosen = |namespace, tool: &Tool<'_>| chosen.contains(&(namespace, &*tool.name));
            offered.retain(|tool| is_chosen(None, tool) || is_chosen(tool.namespace.as_deref(), tool));
            choice = Some(if *required { Choice::Required } else { Choice::Auto });
        }
        Ok(Self { tools: offered, choice })
    }
}

fn unavailable(param: &'static str, what: &str) -> Failure {
    Failure::new(Kind::Unsupported, format!("{what} is not available for this model.")).with_param(param)
}

impl Choice<'_> {
    fn names(&self, tool: &Tool<'_>) -> bool {
        matches!(self, Self::Named(chosen) if chosen.is(tool))
    }
}

impl Chosen<'_> {
    /// Whether this is the tool.
    #[must_use]
    pub fn is(&self, tool: &Tool<'_>) -> bool {
        self.name == tool.name && (self.namespace.is_none() || self.namespace == tool.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &'static str) -> Tool<'static> {
        Tool::function(name.into(), None, None)
    }

    fn search() -> Tool<'static> {
        Tool { kind: ToolKind::WebSearch(WebSearch::default()), ..function("web_search") }
    }

    #[test]
    fn what_a_provider_has_not_is_left_out_unless_it_is_all_or_chosen() {
        let mut losses = Losses::default();
        let tools = [function("f"), search()];
        let offer = Offer::new(&tools, None, ToolSupport::default(), &mut losses).unwrap();
        assert_eq!((offer.tools.len(), losses.header().as_deref()), (1, Some("tools[1]")));
        let named = Choice::Named(Chosen { namespace: None, name: "web_search".into() });
        assert_eq!(
            Offer::new(&tools, Some(&named), ToolSupport::default(), &mut losses).unwrap_err().status(),
            400
        );
        let only =
            Offer::new(&[search()], None, ToolSupport::default(), &mut losses).map(|_| ()).unwrap_err();
        assert!(only.message().contains("not available for this model"));
        assert_eq!(
            Offer::new(
                &[search()],
                None,
                ToolSupport { web_search: true, ..ToolSupport::default() },
                &mut losses
            )
            .unwrap()
            .tools
            .len(),
            1
        );
    }

    #[test]
    fn a_subset_becomes_the_tools_themselves() {
        let chosen = vec![Chosen { namespace: None, name: "b".into() }];
        let choice = Choice::Allowed { required: true, tools: chosen };
        let tools = [function("a"), function("b")];
        let offer =
            Offer::new(&tools, Some(&choice), ToolSupport::default(), &mut Losses::default()).unwrap();
        assert_eq!((offer.tools[0].name.as_ref(), offer.tools.len()), ("b", 1));
        assert_eq!(offer.choice, Some(Choice::Required));
        let twice = [function("a"), function("a")];
        assert!(Offer::new(&twice, None, ToolSupport::default(), &mut Losses::default()).is_err());
    }
}
