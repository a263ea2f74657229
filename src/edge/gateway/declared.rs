//! The keys and accounts that the configuration declares, in the store.

use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;

use crate::admin::{DeclaredObjects, OperationResult, Operations};
use crate::config::{Config, ConfigError, Declarations, DeclaredStatus};

/// The declarations in force, and the store that follows them.
#[derive(Debug)]
pub(in crate::edge) struct DeclaredStore {
    folder: PathBuf,
    in_force: ArcSwap<Declarations>,
}

impl DeclaredStore {
    /// Makes the keys and accounts of the store as a configuration declares them.
    ///
    /// # Errors
    /// Fails if the store cannot be written, or has an object that the file must not change.
    pub(in crate::edge) fn open(config: &Config) -> Result<Self, ConfigError> {
        declare(&config.data, config)?;
        let in_force = ArcSwap::from_pointee(config.declarations.clone());
        Ok(Self { folder: config.data.clone(), in_force })
    }

    /// Does the same with another configuration. Declarations that are in force already do not touch the store.
    ///
    /// # Errors
    /// Fails as [`Self::open`] does, and has changed nothing then.
    pub(in crate::edge) fn replace(&self, config: &Config) -> Result<(), ConfigError> {
        if *self.in_force.load_full() != config.declarations {
            declare(&self.folder, config)?;
            self.in_force.store(config.declarations.clone().into());
        }
        Ok(())
    }

    /// Returns the owner of the declared objects, without their state.
    pub(in crate::edge) fn owner(&self) -> DeclaredStatus {
        let declarations = self.in_force.load();
        let instance = if declarations.is_empty() { String::new() } else { declarations.instance.clone() };
        DeclaredStatus { instance, ..DeclaredStatus::default() }
    }

    /// Returns the state of the declared objects. It is empty if nothing is declared, or if the store cannot be read.
    pub(in crate::edge) fn status(&self) -> DeclaredStatus {
        let owner = self.owner();
        if owner.instance.is_empty() {
            return owner;
        }
        let read = || Operations::open_to_read(&self.folder)?.declared_objects(&owner.instance);
        match read() {
            Ok(DeclaredObjects { accounts, keys, disabled }) => {
                DeclaredStatus { accounts, keys, disabled_although_declared: disabled, ..owner }
            }
            Err(error) => {
                log::warn!("the declared keys and accounts cannot be read: {error}");
                owner
            }
        }
    }
}

fn declare(folder: &Path, config: &Config) -> Result<(), ConfigError> {
    let write = || -> OperationResult<_> {
        let mut operations = Operations::open(folder)?;
        operations.set_key_defaults(config.key_defaults);
        operations.declare(&config.declarations)
    };
    let problems = write().map_err(|error| ConfigError::plain(format!("data: {error}")))?;
    let file = config.declarations.file.as_deref();
    if problems.is_empty() { Ok(()) } else { Err(ConfigError::new(file, problems)) }
}
