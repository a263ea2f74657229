//! Loading of a [`Config`], from a file or from the environment alone.

use std::path::Path;

use super::build::{BuildInput, DeclaredNames};
use super::error::Problem;
use super::node::{self, ConfigNode};
use super::{Config, ConfigError, LoadOptions, Settings, build, first_run};
use crate::located::SourcePosition;

impl Config {
    /// Loads the configuration from a file. Relative paths in it are taken from the file's folder.
    ///
    /// # Errors
    /// Fails with everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, LoadOptions::default())
    }

    /// Loads the configuration from a file in the same way, with options that go before it.
    ///
    /// # Errors
    /// Fails with everything that is wrong with it.
    pub fn load_with(path: &Path, options: LoadOptions) -> Result<Self, ConfigError> {
        parse_in(&text(path)?, Some(path), options, |name| std::env::var(name).ok())
            .map_err(|error| ConfigError::new(Some(path), error.problems().to_vec()))
    }

    /// Parses a configuration. `variable` looks up the environment variables that its secrets refer to. Relative paths
    /// in it are taken from the working directory.
    ///
    /// # Errors
    /// Fails with everything that is wrong with it.
    pub fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        parse_in(text, None, LoadOptions::default(), variable)
    }

    /// Returns the configuration of a gateway that was started without a file: the built-in provider, and every
    /// preset whose key is in the environment.
    ///
    /// # Errors
    /// Fails if the value of a variable cannot be used.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Self::from_environment_with(LoadOptions::default(), variable)
    }

    /// Returns the configuration of a gateway without a file in the same way, with options that go before it.
    ///
    /// # Errors
    /// Fails if the value of a variable or an option cannot be used.
    pub fn from_environment_with(
        options: LoadOptions,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut settings = first_run::settings(&variable);
        options.apply(&mut settings);
        let declared = &DeclaredNames::default();
        let input = BuildInput { declared, folder: Path::new(""), file: None, options: &options };
        let config = build::build(settings, &input, &variable, &mut problems);
        config.filter(|_| problems.is_empty()).ok_or_else(|| ConfigError::new(None, problems))
    }
}

fn parse_in(
    text: &str,
    file: Option<&Path>,
    options: LoadOptions,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let Some(mut tree) = tree(text)? else {
        return Err(ConfigError::plain("the file is empty: without a file, start the gateway without `-c`"));
    };
    tree.cut_repeated(&mut problems);
    // Names are taken from the tree, so that an invalid provider does not make the targets that refer to it
    // invalid, too.
    let known = tree.member("providers").map(ConfigNode::members).unwrap_or_default();
    let known: Vec<_> = known.iter().filter_map(|(key, _)| key.text()).map(str::to_owned).collect();
    let mut wrong = Vec::new();
    let mut settings: Settings = node::read(tree, &mut problems, &mut wrong);
    options.apply(&mut settings);
    let declared = DeclaredNames { providers: &known, wrong: &wrong };
    let folder = file.map_or_else(|| Path::new(""), folder_of);
    let input = BuildInput { declared: &declared, folder, file, options: &options };
    match build::build(settings, &input, &variable, &mut problems) {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError::new(None, problems)),
    }
}

/// Returns the folder from which the relative paths in a file are taken. Symbolic links are not resolved.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or_else(|| Path::new(""))
}

/// Reads a file.
///
/// # Errors
/// Fails if it cannot be read.
pub(super) fn text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|e| {
        let message = format!("cannot be read: {e}");
        ConfigError::new(Some(path), vec![Problem { place: SourcePosition::default(), message }])
    })
}

/// Parses YAML; `None` if it is empty. Members that occur twice are kept twice.
///
/// # Errors
/// Fails if this is not YAML, or nests deeper than a configuration does.
pub(super) fn tree(text: &str) -> Result<Option<ConfigNode>, ConfigError> {
    if let Some(place) = too_deep(text) {
        return Err(ConfigError::new(
            None,
            vec![Problem { place, message: "this nests too deep".to_owned() }],
        ));
    }
    serde_saphyr::from_str_with_options(text, yaml()).map_err(|e| syntax(&e))
}

/// Returns the options for YAML 1.2: `off` and `no` are strings there, and only `true` and `false` are booleans. Repeated
/// members are passed on, because the library's message about them is for programmers.
fn yaml() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
    }
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
