//! Tools, and which of them a model may call.

use std::borrow::Cow;

use crate::json::{Lit, Raw};

use super::Cache;

/// Something that a model may call.
#[derive(Clone, Debug)]
pub struct Tool<'a> {
    /// The namespace in which the client has put it.
    pub namespace: Option<Cow<'a, str>>,
    /// Its name.
    pub name: Cow<'a, str>,
    /// What it is for. That of its namespace stands in front of it.
    pub description: Option<Lit<'a>>,
    /// What kind of tool it is.
    pub kind: ToolKind<'a>,
    /// A mark for the prompt cache.
    pub cache: Option<Cache>,
}

/// What kind of tool something is.
#[derive(Clone, Debug)]
pub enum ToolKind<'a> {
    /// A function with JSON arguments.
    Function {
        /// The schema of its arguments.
        schema: Option<Raw<'a>>,
        /// Must arguments match exactly? Absent: the client did not say.
        strict: Option<bool>,
    },
    /// A freeform tool, whose input is any text.
    Custom {
        /// The grammar of the text.
        grammar: Option<Grammar<'a>>,
    },
    /// The provider's own search of the web.
    WebSearch(WebSearch<'a>),
}

/// The grammar of a freeform tool's input.
#[derive(Clone, Debug)]
pub struct Grammar<'a> {
    /// `lark` or `regex`.
    pub syntax: Lit<'a>,
    /// The grammar.
    pub definition: Lit<'a>,
}

/// A provider's own search of the web.
#[derive(Clone, Debug, Default)]
pub struct WebSearch<'a> {
    /// `low`, `medium` or `high`.
    pub context: Option<Lit<'a>>,
    /// Searches at most.
    pub max_uses: Option<u64>,
    /// Where the user is: the members of an approximate location.
    pub location: Option<Raw<'a>>,
    /// Domains that may be searched, an array of texts.
    pub allowed: Option<Raw<'a>>,
    /// Domains that may not, an array of texts.
    pub blocked: Option<Raw<'a>>,
}

/// Which tools a model may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// Any or none.
    Auto,
    /// At least one.
    Required,
    /// None.
    None,
    /// This one.
    Named(Chosen<'a>),
    /// Some of them.
    Allowed {
        /// At least one of them?
        required: bool,
        /// These.
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
    /// A function.
    #[must_use]
    pub fn function(name: Cow<'a, str>, description: Option<Lit<'a>>, schema: Option<Raw<'a>>) -> Self {
        Self {
            namespace: None,
            name,
            description,
            kind: ToolKind::Function { schema, strict: None },
            cache: None,
        }
    }

    /// Is it a freeform tool?
    #[must_use]
    pub fn is_custom(&self) -> bool {
        matches!(self.kind, ToolKind::Custom { .. })
    }

    /// Is it called by the client, and not by the provider itself?
    #[must_use]
    pub fn is_callable(&self) -> bool {
        !matches!(self.kind, ToolKind::WebSearch(_))
    }
}

impl Chosen<'_> {
    /// Is this the tool?
    #[must_use]
    pub fn is(&self, tool: &Tool<'_>) -> bool {
        self.name == tool.name && (self.namespace.is_none() || self.namespace == tool.namespace)
    }
}
