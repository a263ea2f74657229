//! Names of tools' properties that a provider accepts, and the way back to the client's names.

use std::borrow::Cow;
use std::collections::HashMap;

use super::ids::fitted;

/// The properties of one request's tools whose names differ between client and provider.
#[derive(Clone, Debug, Default)]
pub struct PropertyNames {
    /// The tools that have such properties, by namespace and name.
    tools: HashMap<(Option<String>, String), RenamedProperties>,
}

/// The properties of one tool whose names differ between client and provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenamedProperties {
    /// The client's names by the provider's.
    originals: HashMap<String, String>,
}

impl PropertyNames {
    /// Whether all names are the same on both sides.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// Returns the renamed properties of a tool, as the client names it.
    #[must_use]
    pub fn of(&self, namespace: Option<&str>, name: &str) -> Option<&RenamedProperties> {
        if self.tools.is_empty() {
            return None;
        }
        self.tools.get(&(namespace.map(str::to_owned), name.to_owned()))
    }

    /// Keeps the renamed properties of a tool, if there are any.
    pub fn keep(&mut self, namespace: Option<&str>, name: &str, properties: RenamedProperties) {
        if !properties.originals.is_empty() {
            self.tools.insert((namespace.map(str::to_owned), name.to_owned()), properties);
        }
    }
}

impl RenamedProperties {
    /// Returns the provider's name of a property, and notes it if it differs.
    pub fn rename<'n>(&mut self, name: &'n str) -> Cow<'n, str> {
        let upstream = upstream(name);
        if let Cow::Owned(upstream) = &upstream {
            self.originals.insert(upstream.clone(), name.to_owned());
        }
        upstream
    }

    /// Returns the provider's name of a property in the arguments of a call.
    #[must_use]
    pub fn upstream<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match upstream(name) {
            Cow::Owned(upstream) if self.originals.contains_key(&upstream) => Cow::Owned(upstream),
            _ => Cow::Borrowed(name),
        }
    }

    /// Returns the client's name of a property that the provider knows by another one.
    #[must_use]
    pub fn original(&self, upstream: &str) -> Option<&str> {
        self.originals.get(upstream).map(String::as_str)
    }
}

/// Returns the provider's name of a property. The same name always gives the same result, so that a prompt stays the
/// same from one turn to the next.
fn upstream(name: &str) -> Cow<'_, str> {
    fitted(name, MAX_PROPERTY_NAME_LEN, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Maximum number of characters in the name of a property that Anthropic accepts.
const MAX_PROPERTY_NAME_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_stay_and_others_are_found_again() {
        let mut properties = RenamedProperties::default();
        assert_eq!(properties.rename("a.b-c_D1"), "a.b-c_D1");
        let top = properties.rename("$top").into_owned();
        assert!(top.starts_with("_top_") && top == properties.upstream("$top"));
        assert_eq!(properties.original(&top), Some("$top"));
        let long = "n".repeat(65);
        let short = properties.rename(&long).into_owned();
        assert_eq!((short.len(), properties.original(&short)), (64, Some(long.as_str())));
        // A name that the tool has not is the model's own affair.
        assert_eq!(properties.upstream("$skip"), "$skip");
        let mut names = PropertyNames::default();
        names.keep(None, "plain", RenamedProperties::default());
        assert!(names.is_empty());
        names.keep(Some("ns"), "f", properties);
        assert!(names.of(Some("ns"), "f").is_some() && names.of(None, "f").is_none());
    }
}
