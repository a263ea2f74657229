//! From a file, or from the environment alone, to a [`Config`].

use std::path::Path;

use super::build::Known;
use super::error::Problem;
use super::node::{self, Node};
use super::{Config, Error, Settings, build, first_run};
use crate::located::Place;

impl Config {
    /// The configuration in a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::new(
                Some(path),
                vec![Problem { place: Place::default(), message: format!("can not be read: {e}") }],
            )
        })?;
        Self::parse(&text, |name| std::env::var(name).ok())
            .map_err(|error| Error::new(Some(path), error.problems().to_vec()))
    }

    /// The configuration in a text, with the variables that its secrets refer to.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let tree: Option<Node> = serde_saphyr::from_str_with_options(text, yaml()).map_err(|e| syntax(&e))?;
        let Some(tree) = tree else {
            return Err(Error::plain("the file is empty: without a file, start the gateway without `-c`"));
        };
        // Names are taken from the tree, so that one wrong provider does not make its targets wrong, too.
        let known = tree.member("providers").map(Node::members).unwrap_or_default();
        let known: Vec<_> = known.iter().filter_map(|(key, _)| key.text()).map(str::to_owned).collect();
        let mut wrong = Vec::new();
        let settings: Settings = node::read(tree, &mut problems, &mut wrong);
        let config =
            build::build(settings, &Known { providers: &known, wrong: &wrong }, &variable, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Error::new(None, problems)),
        }
    }

    /// The configuration of a gateway that was given no file: the built-in provider, and every known
    /// one whose key is in the environment.
    ///
    /// # Errors
    /// A variable whose value can not be used.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let settings = first_run::settings(&variable);
        let config = build::build(settings, &Known::default(), &variable, &mut problems);
        config.filter(|_| problems.is_empty()).ok_or_else(|| Error::new(None, problems))
    }
}

/// YAML 1.2: `off` and `no` are words, `true` and `false` alone are not. The library lets a document nest
/// deeper than the stack does.
fn yaml() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    }
}

fn syntax(error: &serde_saphyr::Error) -> Error {
    let place = error.location().map(|at| Place { line: at.line(), column: at.column() }).unwrap_or_default();
    // The library's text repeats the place and shows the lines around it, which may hold anything.
    let text = error.to_string();
    let message = text.lines().next().unwrap_or_default().to_owned();
    Error::new(None, vec![Problem { place, message: format!("this is not YAML: {message}") }])
}

/// Levels of a document; a configuration has less than ten.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
            let text = format!("a:\n  {}x{}\n", open.repeat(5000), close.repeat(5000));
            assert!(Config::parse(&text, |_| None).is_err(), "{open}");
        }
    }
}
