//! The hold of configuration files on the objects that they declare.

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::{json, parsed};

/// The hold that a configuration file has on an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::admin) struct Declaration {
    /// The path of the file.
    pub(in crate::admin) file: String,
    /// The line of the object.
    pub(in crate::admin) line: u64,
    /// The names of the members that the file rules.
    pub(in crate::admin) members: Vec<String>,
    /// Whether the file no longer has the object, which was in use until then. It rules nothing, and the object is in use
    /// again as soon as the file has it again.
    pub(in crate::admin) withdrawn: bool,
}

/// The instance that owns an object, and its hold on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::admin) struct Ownership {
    /// The instance; absent if no file has ever declared the object.
    pub(in crate::admin) instance: Option<String>,
    /// The hold of the file.
    pub(in crate::admin) declaration: Option<Declaration>,
}

impl Ownership {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { instance: row.get("declared_by")?, declaration: parsed(row, "declared")? })
    }

    /// Returns the hold as it is stored.
    pub(super) fn text(&self) -> Option<String> {
        self.declaration.as_ref().map(json)
    }

    /// Returns what the file says of the object, if it still declares it.
    pub(in crate::admin) fn in_force(&self) -> Option<&Declaration> {
        self.declaration.as_ref().filter(|declaration| !declaration.withdrawn)
    }

    /// Returns the ownership of an object whose status an operator sets: from then on, the file no longer puts an object
    /// in use that it has withdrawn.
    pub(in crate::admin) fn after_status(self) -> Self {
        Self { declaration: self.declaration.filter(|declaration| !declaration.withdrawn), ..self }
    }
}

/// Notes a hold on a key or an account (`table`) that is otherwise unchanged.
pub(in crate::admin) fn note(
    connection: &Connection,
    table: DeclaredTable,
    id: &str,
    ownership: &Ownership,
) -> rusqlite::Result<()> {
    let sql = match table {
        DeclaredTable::Keys => "UPDATE keys SET declared_by = ?2, declared = ?3 WHERE id = ?1",
        DeclaredTable::Accounts => "UPDATE accounts SET declared_by = ?2, declared = ?3 WHERE id = ?1",
    };
    connection.prepare_cached(sql)?.execute(params![id, ownership.instance, ownership.text()])?;
    Ok(())
}

/// Whether an instance owns a key or an account.
pub(in crate::admin) fn owns_any(connection: &Connection, instance: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM keys WHERE declared_by = ?1)
        OR EXISTS (SELECT 1 FROM accounts WHERE declared_by = ?1)";
    connection.prepare_cached(sql)?.query_row([instance], |row| row.get(0))
}

/// The tables whose rows can be declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum DeclaredTable {
    Keys,
    Accounts,
}
