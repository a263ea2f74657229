//! Tool names that a provider accepts, and the way back to the client's names.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Tool;
use super::ids::{fitted, short_hash};

/// The tools of one request whose name or kind differs between client and provider.
#[derive(Clone, Debug, Default)]
pub struct ToolNames {
    longest: usize,
    /// Whether names have to begin with a letter or an underscore.
    are_identifiers: bool,
    changed: HashMap<String, ToolName>,
}

/// A tool as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolName {
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether it is a freeform tool for the client, and a function for the provider.
    pub wrapped: bool,
}

impl ToolNames {
    /// Returns the changed names of a request's tools, for a provider that accepts names of up to `longest`
    /// characters. `custom_tools` is whether it accepts freeform tools.
    #[must_use]
    pub fn new(tools: &[Tool<'_>], longest: usize, custom_tools: bool) -> Self {
        let mut names = Self { longest, are_identifiers: false, changed: HashMap::new() };
        names.add(tools, custom_tools);
        names
    }

    /// Returns the changed names like [`ToolNames::new`], for a provider whose names begin with a letter or an underscore.
    #[must_use]
    pub fn identifiers(tools: &[Tool<'_>], longest: usize, custom_tools: bool) -> Self {
        let mut names = Self { longest, are_identifiers: true, changed: HashMap::new() };
        names.add(tools, custom_tools);
        names
    }

    /// Adds the changed names of further tools.
    pub(crate) fn add(&mut self, tools: &[Tool<'_>], custom_tools: bool) {
        for tool in tools.iter().filter(|tool| tool.is_callable()) {
            let upstream = self.upstream(tool.namespace.as_deref(), &tool.name);
            let wrapped = tool.is_custom() && !custom_tools;
            if upstream != tool.name || wrapped {
                let (upstream, name) = (upstream.into_owned(), tool.name.clone().into_owned());
                let namespace = tool.namespace.as_ref().map(|ns| ns.clone().into_owned());
                self.changed.entry(upstream).or_insert(ToolName { namespace, name, wrapped });
            }
        }
    }

    /// Returns the tool's name for the provider. The same name always gives the same result, so that history
    /// agrees with tools.
    #[must_use]
    pub fn upstream<'n>(&self, namespace: Option<&str>, name: &'n str) -> Cow<'n, str> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let is_odd = name.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        match namespace {
            None if self.are_identifiers && is_odd => {
                let hash = short_hash(name);
                let longest = self.longest.saturating_sub(hash.len() + 1);
                let kept = std::iter::once('_').chain(name.chars().map(|c| if allowed(c) { c } else { '_' }));
                Cow::Owned(format!("{}_{hash}", kept.take(longest).collect::<String>()))
            }
            Some(namespace) => {
                Cow::Owned(fitted(&format!("{namespace}__{name}"), self.longest, allowed).into_owned())
            }
            None => fitted(name, self.longest, allowed),
        }
    }

    /// Returns the client's tool for a name that a provider calls, if the two differ in name or kind.
    #[must_use]
    pub fn original(&self, upstream: &str) -> Option<&ToolName> {
        self.changed.get(upstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{ToolKind, short_hash};

    fn names(longest: usize, tools: &[Tool<'_>]) -> ToolNames {
        ToolNames::new(tools, longest, false)
    }

    #[test]
    fn an_identifier_begins_with_a_letter_or_an_underscore() {
        let tool = Tool::function("9-lives.do it".into(), None, None);
        let names = ToolNames::identifiers(&[tool], 64, false);
        let upstream = format!("_9-lives_do_it_{}", short_hash("9-lives.do it"));
        assert_eq!(names.upstream(None, "9-lives.do it"), upstream);
        assert_eq!(names.original(&upstream).unwrap().name, "9-lives.do it");
        assert_eq!(names.upstream(None, "lives-9"), "lives-9");
        assert_eq!(ToolNames::new(&[], 64, false).upstream(None, "9"), "9");
    }

    #[test]
    fn names_that_fit_stay_and_others_are_found_again() {
        let function = |name: &'static str| Tool::function(name.into(), None, None);
        let custom = Tool { kind: ToolKind::Custom { grammar: None }, ..function("patch") };
        let spaced = Tool { namespace: Some("crm".into()), ..function("find") };
        let tools = [function("plain"), function("mcp.server/do it"), custom, spaced];
        let names = names(64, &tools);
        assert_eq!(names.upstream(None, "plain"), "plain");
        assert!(names.original("plain").is_none());
        let odd = names.upstream(None, "mcp.server/do it").into_owned();
        assert_eq!(odd, format!("mcp_server_do_it_{}", short_hash("mcp.server/do it")));
        assert_eq!(names.original(&odd).unwrap().name, "mcp.server/do it");
        assert!(names.original("patch").unwrap().wrapped);
        let found = names.original("crm__find").unwrap();
        assert_eq!((found.namespace.as_deref(), found.name.as_str()), (Some("crm"), "find"));
    }

    #[test]
    fn long_names_are_cut_and_hashed() {
        let long = "n".repeat(90);
        let short = names(64, &[]).upstream(None, &long).into_owned();
        assert_eq!(short, format!("{}_{}", "n".repeat(55), short_hash(&long)));
        assert_eq!(names(128, &[]).upstream(None, &long), long);
    }
}
