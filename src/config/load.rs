//! Loading of a [`Config`], from a file or from the environment alone.

use std::path::Path;

use super::build::DeclaredNames;
use super::error::Problem;
use super::node::{self, ConfigNode};
use super::{Config, ConfigError, Settings, build, first_run};
use crate::located::SourcePosition;

impl Config {
    /// Loads the configuration from a file.
    ///
    /// # Errors
    /// Fails with everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            ConfigError::new(
                Some(path),
                vec![Problem { place: SourcePosition::default(), message: format!("cannot be read: {e}") }],
            )
        })?;
        Self::parse(&text, |name| std::env::var(name).ok())
            .map_err(|error| ConfigError::new(Some(path), error.problems().to_vec()))
    }

    /// Parses a configuration. `variable` looks up the environment variables that its secrets refer to.
    ///
    /// # Errors
    /// Fails with everything that is wrong with it.
    pub fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        if let Some(place) = too_deep(text) {
            return Err(ConfigError::new(
                None,
                vec![Problem { place, message: "this nests too deep".to_owned() }],
            ));
        }
        let tree: Option<ConfigNode> =
            serde_saphyr::from_str_with_options(text, yaml()).map_err(|e| syntax(&e))?;
        let Some(tree) = tree else {
            return Err(ConfigError::plain(
                "the file is empty: without a file, start the gateway without `-c`",
            ));
        };
        // Names are taken from the tree, so that an invalid provider does not make the targets that refer to it
        // invalid, too.
        let known = tree.member("providers").map(ConfigNode::members).unwrap_or_default();
        let known: Vec<_> = known.iter().filter_map(|(key, _)| key.text()).map(str::to_owned).collect();
        let mut wrong = Vec::new();
        let settings: Settings = node::read(tree, &mut problems, &mut wrong);
        let config = build::build(
            settings,
            &DeclaredNames { providers: &known, wrong: &wrong },
            &variable,
            &mut problems,
        );
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError::new(None, problems)),
        }
    }

    /// Returns the configuration of a gateway that was started without a file: the built-in provider, and every
    /// preset whose key is in the environment.
    ///
    /// # Errors
    /// Fails if the value of a variable cannot be used.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let settings = first_run::settings(&variable);
        let config = build::build(settings, &DeclaredNames::default(), &variable, &mut problems);
        config.filter(|_| problems.is_empty()).ok_or_else(|| ConfigError::new(None, problems))
    }
}

/// Returns the options for YAML 1.2: `off` and `no` are strings there, and only `true` and `false` are booleans.
fn yaml() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true }
}

/// Finds the place at which a document nests deeper than any configuration does. The library follows it further than the stack
/// reaches, so such a document is not shown to it.
fn too_deep(text: &str) -> Option<SourcePosition> {
    let mut depth: usize = 0;
    // Comments do not nest.
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with('#'));
    for (line, number) in lines {
        let marks = line.split(' ').take_while(|word| matches!(*word, "" | "-" | "?")).count();
        let mut deepest = depth;
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        if marks + deepest > MAX_DEPTH {
            return Some(SourcePosition { line: number, column: 1 });
        }
    }
    None
}

fn syntax(error: &serde_saphyr::Error) -> ConfigError {
    let place = error
        .location()
        .map(|at| SourcePosition { line: at.line(), column: at.column() })
        .unwrap_or_default();
    // The library's message repeats the place and shows the lines around it, which may contain a secret.
    let text = error.to_string();
    let message = text.lines().next().unwrap_or_default().to_owned();
    ConfigError::new(None, vec![Problem { place, message: format!("this is not YAML: {message}") }])
}

/// The deepest nesting: brackets inside each other, plus blanks and dashes before the first word of a line, each
/// of which may open a level. A chosen value: a configuration has fewer than ten levels.
const MAX_DEPTH: usize = 48;

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

    #[test]
    fn a_comment_may_stand_anywhere() {
        assert!(too_deep(&format!("a: 1\n{}# far to the right\n", " ".repeat(80))).is_none());
    }

    #[test]
    fn what_is_just_not_too_deep_can_be_followed() {
        let blocks: String = (0..MAX_DEPTH).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let open = |count| "{\"a\":".repeat(count);
        let both = format!("a:\n{}{}", " ".repeat(24), open(24));
        for text in [blocks, open(MAX_DEPTH), both, "- ".repeat(MAX_DEPTH - 1)] {
            assert!(too_deep(&text).is_none());
            assert!(Config::parse(&text, |_| None).is_err());
        }
    }
}
