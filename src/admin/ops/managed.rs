//! The members of objects that a configuration file rules: operators change them there.

use crate::admin::error::{Code, Mistake, OperationError, OperationResult};
use crate::admin::records::declaration::{Declaration, Ownership};

use super::operations::Changed;

/// Ensures that a change of an object, such as `key 'key_ci'`, leaves those members alone that a file rules.
///
/// # Errors
/// Fails with [`Code::ManagedByConfiguration`], the file and the line.
pub(super) fn check_members<T>(object: &str, owner: &Ownership, changed: &Changed<T>) -> OperationResult<()> {
    let Some(declaration) = owner.in_force() else { return Ok(()) };
    let ruled =
        changed.members().into_iter().filter(|member| declaration.members.iter().any(|own| own == member));
    let place = place(declaration);
    let mistake = |member: &str| {
        Mistake::new(member, format!("`{member}` of {object} is declared in {place}: change it there"))
    };
    let mistakes: Vec<_> = ruled.map(mistake).collect();
    match mistakes.first() {
        None => Ok(()),
        Some(first) => {
            let message = first.message.clone();
            Err(OperationError { code: Code::ManagedByConfiguration, message, details: mistakes })
        }
    }
}

/// Ensures that a file does not declare an object that is to be deleted.
///
/// # Errors
/// Fails with [`Code::ManagedByConfiguration`], the file and the line.
pub(super) fn check_deletion(object: &str, owner: &Ownership) -> OperationResult<()> {
    let Some(declaration) = owner.in_force() else { return Ok(()) };
    let place = place(declaration);
    let message =
        format!("{object} is declared in {place}: take it out there, which disables it, or disable it here");
    Err(OperationError::new(Code::ManagedByConfiguration, message))
}

fn place(declaration: &Declaration) -> String {
    format!("{}:{}", declaration.file, declaration.line)
}
