//! The limits of a credential that is only for some accounts.

use crate::admin::error::{Code, OperationError, OperationResult};
use crate::admin::ops::Operations;
use crate::auth::AccountScope;

use super::routes::Route;

/// Ensures that a request concerns only accounts that the credential is for. Others do not exist for it. Lists leave them
/// out by themselves.
pub(super) fn check_scope(
    operations: &Operations,
    route: &Route,
    scope: &AccountScope,
    subject: &str,
) -> OperationResult<()> {
    if scope.is_all() {
        return Ok(());
    }
    let (kind, is_inside) = if route.path.starts_with("/keys/{id}") {
        ("key", scope.includes(&operations.key(subject)?.account))
    } else if route.path.starts_with("/accounts/{id}") {
        ("account", scope.includes(subject))
    } else {
        let is_of_accounts = !route.is_change() && route.path != "/tokens" || route.path == "/keys";
        let message = "the token has `accounts`: it sees and changes only these accounts and their keys";
        return if is_of_accounts { Ok(()) } else { Err(OperationError::new(Code::Forbidden, message)) };
    };
    if is_inside { Ok(()) } else { Err(OperationError::not_found(kind, subject)) }
}
