//! The places that a configuration file names: the data folder and the addresses. A command that needs nothing else reads
//! them from any valid YAML, whatever is wrong with the rest of the file.

use std::path::{Path, PathBuf};

use crate::auth::RateLimits;

use super::ConfigError;
use super::load::{self, folder_of};
use super::node::{self, ConfigNode};
use super::settings::{DEFAULT_ADMIN, DEFAULT_DATA, KeyDefaults};

/// The places that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The data folder. A relative path in the file was taken from the file's folder.
    pub data: PathBuf,
    /// The path as the file has it; by default the name of the folder beside the file.
    pub written_data: PathBuf,
    /// The line of the setting; 0 if the file has none.
    pub data_line: u64,
    /// The address for operators, unless it is off.
    pub admin: Option<String>,
}

impl Places {
    /// Reads the places from a file.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is not YAML.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = load::text(file)?;
        let tree =
            load::tree(&text).map_err(|error| ConfigError::new(Some(file), error.problems().to_vec()))?;
        let member = |name: &str| tree.as_ref().and_then(|tree| tree.member(name));
        let data = member("data").filter(|node| node.text().is_some_and(|text| !text.is_empty()));
        let written = PathBuf::from(data.and_then(ConfigNode::text).unwrap_or(DEFAULT_DATA));
        let admin = member("admin").and_then(|node| node.text().or_else(|| node.member("address")?.text()));
        Ok(Self {
            data: folder_of(file).join(&written),
            written_data: written,
            data_line: data.map_or(0, |node| node.place.line),
            admin: Some(admin.unwrap_or(DEFAULT_ADMIN).to_owned()).filter(|address| address != "off"),
        })
    }
}

/// Reads the rate limits of new keys from a file, whatever is wrong with the rest of it.
///
/// # Errors
/// Fails if the file cannot be read, is not YAML, or if these limits are wrong.
pub fn key_defaults(file: &Path) -> Result<RateLimits, ConfigError> {
    let tree = load::tree(&load::text(file)?)
        .map_err(|error| ConfigError::new(Some(file), error.problems().to_vec()))?;
    let Some(member) = tree.as_ref().and_then(|tree| tree.member("key_defaults")) else {
        return Ok(RateLimits::default());
    };
    let mut problems = Vec::new();
    let defaults: KeyDefaults = node::read(member.clone(), &mut problems, &mut Vec::new());
    if problems.is_empty() { Ok(defaults.rate()) } else { Err(ConfigError::new(Some(file), problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Places {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("conf.yaml");
        std::fs::write(&file, text).unwrap();
        let places = Places::read(&file).unwrap();
        let data =
            places.data.strip_prefix(folder.path()).map_or_else(|_| places.data.clone(), Path::to_owned);
        Places { data, ..places }
    }

    #[test]
    fn places_are_read_whatever_else_is_wrong() {
        let found = places(
            "listen: nowhere\nmodles: 7\nproviders: {openai: {key: \"env:NOT_SET\"}}\ndata: ../kept\nadmin: {address: \"h:1\", token: \"env:NOT_SET\"}\n",
        );
        let expected = Places {
            data: "../kept".into(),
            written_data: "../kept".into(),
            data_line: 4,
            admin: Some("h:1".to_owned()),
        };
        assert_eq!(found, expected);
        assert_eq!(places("admin: off\ndata: /var/x").data, Path::new("/var/x"));
        assert_eq!(places("admin: off").admin, None);
    }

    #[test]
    fn a_file_that_names_no_place_has_the_usual_ones() {
        for text in ["", "# nothing\n", "threads: 1\n", "data:\nadmin:\n", "- a list\n", "data: ''\n"] {
            let found = places(text);
            assert_eq!((found.data, found.data_line), (PathBuf::from("data"), 0), "{text:?}");
            assert_eq!(found.admin.as_deref(), Some("127.0.0.1:9090"), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_yaml_names_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("conf.yaml");
        assert!(Places::read(&file).is_err());
        std::fs::write(&file, "data: [").unwrap();
        let said = Places::read(&file).unwrap_err().to_string();
        assert!(said.starts_with(&format!("{}:", file.display())), "{said}");
    }
}
