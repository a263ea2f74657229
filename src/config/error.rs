//! The problems of a configuration: all of them, each with its place.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::located::SourcePosition;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The position; all zero for a problem that concerns no line.
    pub place: SourcePosition,
    /// The message.
    pub message: String,
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    file: Option<PathBuf>,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Makes an error that concerns no file.
    #[must_use]
    pub fn plain(message: impl Into<String>) -> Self {
        Self {
            file: None,
            problems: vec![Problem { place: SourcePosition::default(), message: message.into() }],
        }
    }

    /// Makes an error of all problems of a file.
    #[must_use]
    pub fn new(file: Option<&Path>, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self { file: file.map(Into::into), problems }
    }

    /// Returns all problems, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            match (&self.file, problem.place.line) {
                (Some(file), 0) => write!(f, "{}: {}", file.display(), problem.message)?,
                (Some(file), line) => {
                    write!(f, "{}:{line}:{}: {}", file.display(), problem.place.column, problem.message)?;
                }
                (None, _) => f.write_str(&problem.message)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
