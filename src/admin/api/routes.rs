//! The routes of the API: the router and the source of its document.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::admin::error::{Code, OperationResult};
use crate::admin::model::{
    Account, AccountPatch, AuditRow, Budgets, Instance, Key, KeyLookup, KeyPatch, List, Model, NewAccount,
    NewBudgets, NewKey, NewToken, Payment, Rotation, Status, Token, Transaction,
};
use crate::auth::Role;

use super::call::{Call, Parameter, Reply};
use super::handlers::{accounts, audit, budgets, gateway, keys, tokens};

/// One method of one path.
pub(super) struct Route {
    pub(super) method: &'static str,
    /// The path; `{id}` stands for one segment.
    pub(super) path: &'static str,
    /// The role that it takes; absent if everybody may call it.
    pub(super) role: Option<Role>,
    /// The name of the operation.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) request: Option<SchemaOf>,
    pub(super) status: u16,
    pub(super) answer: Option<SchemaOf>,
    /// Whether the answer may also be comma-separated values.
    pub(super) has_csv: bool,
    pub(super) errors: &'static [Code],
    /// The kind of change, as the audit log names it; empty if nothing is changed.
    pub(super) action: &'static str,
    pub(super) handler: fn(&mut Call<'_>) -> OperationResult<Reply>,
    /// Answers a repeated request whose effect on an object there was.
    pub(super) again: Option<fn(&mut Call<'_>, &str) -> OperationResult<Reply>>,
}

/// Returns the schema of a type, or a reference to it.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

impl Route {
    /// Returns the id in a path, if the path is the route's; empty if the route has none.
    pub(super) fn matches<'p>(&self, path: &'p str) -> Option<&'p str> {
        let (mut wanted, mut given) = (self.path.split('/'), path.split('/'));
        let mut id = "";
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Some(id),
                (Some("{id}"), Some(segment)) if !segment.is_empty() => id = segment,
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return None,
            }
        }
    }

    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        !self.action.is_empty()
    }
}

pub(super) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A route that reads, for everybody with a credential.
pub(super) const READ: Route = Route {
    method: "GET",
    path: "",
    role: Some(Role::Read),
    id: "",
    summary: "",
    parameters: &[],
    request: None,
    status: 200,
    answer: None,
    has_csv: false,
    errors: &[],
    action: "",
    handler: gateway::status,
    again: None,
};

const LIMIT: Parameter = Parameter("limit", "The most objects of a page, 1 to 1000. Default: 100.");
const CURSOR: Parameter = Parameter("cursor", "`next_cursor` of the page before.");

/// The routes of objects, and those that are as old as they are.
pub(super) static ROUTES: &[Route] = &[
    Route {
        path: "/openapi.json",
        role: None,
        id: "getDocument",
        summary: "Returns this document.",
        handler: gateway::document,
        ..READ
    },
    Route {
        path: "/instance",
        role: None,
        id: "getInstance",
        summary: "Returns the process, for programs on this machine.",
        answer: Some(schema::<Instance>),
        errors: &[Code::Forbidden],
        handler: gateway::instance,
        ..READ
    },
    Route {
        path: "/status",
        id: "getStatus",
        summary: "Returns the state of the gateway as conditions.",
        answer: Some(schema::<Status>),
        handler: gateway::status,
        ..READ
    },
    Route {
        path: "/keys",
        id: "listKeys",
        summary: "Lists keys, newest first.",
        parameters: &[
            Parameter("account", "The account that owns them."),
            Parameter("status", "The status that an operator has set: `active` or `disabled`."),
            Parameter(
                "state",
                "The state that applies now: `active`, `disabled`, `expired` or `account_disabled`.",
            ),
            Parameter("q", "A part of the id, the name or the account."),
            Parameter("origin", "The source that rules them: `api`, `cli` or `config`."),
            Parameter("expires_before", "The time before which they expire."),
            Parameter("deleted", "`true`: the deleted keys instead of the others."),
            LIMIT,
            CURSOR,
        ],
        answer: Some(schema::<List<Key>>),
        errors: &[Code::InvalidRequest, Code::InvalidCursor],
        handler: keys::list,
        ..READ
    },
    Route {
        method: "POST",
        path: "/keys",
        role: Some(Role::Keys),
        id: "createKey",
        summary: "Makes a key. Its secret is shown once.",
        request: Some(schema::<NewKey>),
        status: 201,
        answer: Some(schema::<Key>),
        errors: &[Code::InvalidRequest, Code::NotFound, Code::IdempotencyMismatch],
        action: "key.create",
        handler: keys::create,
        again: Some(|call, id| keys::show(&mut call.about(id))),
        ..READ
    },
    Route {
        method: "POST",
        path: "/keys/lookup",
        id: "findKeys",
        summary: "Finds the key of a leaked secret.",
        request: Some(schema::<KeyLookup>),
        answer: Some(schema::<List<Key>>),
        errors: &[Code::InvalidRequest],
        handler: keys::find,
        ..READ
    },
    Route {
        path: "/keys/{id}",
        id: "getKey",
        summary: "Returns a key.",
        answer: Some(schema::<Key>),
        errors: &[Code::NotFound],
        handler: keys::show,
        ..READ
    },
    Route {
        method: "PATCH",
        path: "/keys/{id}",
        role: Some(Role::Keys),
        id: "updateKey",
        summary: "Changes a key.",
        request: Some(schema::<KeyPatch>),
        answer: Some(schema::<Key>),
        errors: &[Code::InvalidRequest, Code::NotFound, Code::PreconditionFailed],
        action: "key.update",
        handler: keys::update,
        ..READ
    },
    Route {
        method: "DELETE",
        path: "/keys/{id}",
        role: Some(Role::Keys),
        id: "deleteKey",
        summary: "Deletes a key, and erases its secrets at once.",
        status: 204,
        errors: &[Code::NotFound, Code::PreconditionFailed],
        action: "key.delete",
        handler: keys::delete,
        ..READ
    },
    Route {
        method: "POST",
        path: "/keys/{id}/rotate",
        role: Some(Role::Keys),
        id: "rotateKey",
        summary: "Gives a key a new secret. The earlier one still works for the overlap.",
        request: Some(schema::<Rotation>),
        answer: Some(schema::<Key>),
        errors: &[Code::InvalidRequest, Code::NotFound, Code::PreconditionFailed, Code::IdempotencyMismatch],
        action: "key.rotate",
        handler: keys::rotate,
        again: Some(|call, id| keys::show(&mut call.about(id))),
        ..READ
    },
    Route {
        path: "/keys/{id}/budgets",
        id: "listKeyBudgets",
        summary: "Lists the budgets of a key, and what is spent of them.",
        answer: Some(schema::<Budgets>),
        errors: &[Code::NotFound],
        handler: budgets::of_key,
        ..READ
    },
    Route {
        method: "PUT",
        path: "/keys/{id}/budgets",
        role: Some(Role::Keys),
        id: "setKeyBudgets",
        summary: "Replaces the budgets of a key. One whose period and kind stay keeps what was spent.",
        request: Some(schema::<NewBudgets>),
        answer: Some(schema::<Budgets>),
        errors: &[Code::InvalidRequest, Code::NotFound, Code::PreconditionFailed],
        action: "key.budgets",
        handler: budgets::set_of_key,
        ..READ
    },
    Route {
        path: "/accounts",
        id: "listAccounts",
        summary: "Lists accounts, newest first.",
        parameters: &[LIMIT, CURSOR],
        answer: Some(schema::<List<Account>>),
        errors: &[Code::InvalidRequest, Code::InvalidCursor],
        handler: accounts::list,
        ..READ
    },
    Route {
        method: "POST",
        path: "/accounts",
        role: Some(Role::Admin),
        id: "createAccount",
        summary: "Makes an account. It gets a wallet with its first top-up.",
        request: Some(schema::<NewAccount>),
        status: 201,
        answer: Some(schema::<Account>),
        errors: &[Code::InvalidRequest, Code::Exists, Code::IdempotencyMismatch],
        action: "account.create",
        handler: accounts::create,
        again: Some(|call, id| accounts::show(&mut call.about(id))),
        ..READ
    },
    Route {
        path: "/accounts/{id}",
        id: "getAccount",
        summary: "Returns an account.",
        answer: Some(schema::<Account>),
        errors: &[Code::NotFound],
        handler: accounts::show,
        ..READ
    },
    Route {
        method: "PATCH",
        path: "/accounts/{id}",
        role: Some(Role::Admin),
        id: "updateAccount",
        summary: "Changes an account.",
        request: Some(schema::<AccountPatch>),
        answer: Some(schema::<Account>),
        errors: &[Code::InvalidRequest, Code::NotFound, Code::PreconditionFailed],
        action: "account.update",
        handler: accounts::update,
        ..READ
    },
    Route {
        method: "DELETE",
        path: "/accounts/{id}",
        role: Some(Role::Admin),
        id: "deleteAccount",
        summary: "Deletes an account without keys and money.",
        status: 204,
        errors: &[Code::NotFound, Code::Conflict, Code::BalanceInUse, Code::PreconditionFailed],
        action: "account.delete",
        handler: accounts::delete,
        ..READ
    },
    Route {
        method: "POST",
        path: "/accounts/{id}/top-ups",
        role: Some(Role::Admin),
        id: "topUp",
        summary: "Adds money to an account.",
        request: Some(schema::<Payment>),
        status: 201,
        answer: Some(schema::<Transaction>),
        errors: &[Code::InvalidRequest, Code::NotFound, Code::Exists, Code::IdempotencyMismatch],
        action: "wallet.top_up",
        handler: accounts::top_up,
        again: Some(accounts::top_up_again),
        ..READ
    },
    Route {
        method: "POST",
        path: "/accounts/{id}/refunds",
        role: Some(Role::Admin),
        id: "refund",
        summary: "Takes money out of an account that no call holds.",
        request: Some(schema::<Payment>),
        status: 201,
        answer: Some(schema::<Transaction>),
        errors: &[
            Code::InvalidRequest,
            Code::NotFound,
            Code::Exists,
            Code::BalanceInUse,
            Code::IdempotencyMismatch,
        ],
        action: "wallet.refund",
        handler: accounts::refund,
        again: Some(accounts::refund_again),
        ..READ
    },
    Route {
        path: "/accounts/{id}/transactions",
        id: "listTransactions",
        summary: "Lists the top-ups and refunds of an account, newest first.",
        parameters: &[LIMIT, CURSOR],
        answer: Some(schema::<List<Transaction>>),
        errors: &[Code::InvalidRequest, Code::InvalidCursor, Code::NotFound],
        handler: accounts::transactions,
        ..READ
    },
    Route {
        path: "/accounts/{id}/budgets",
        id: "listAccountBudgets",
        summary: "Lists the budgets of an account, and what is spent of them.",
        answer: Some(schema::<Budgets>),
        errors: &[Code::NotFound],
        handler: budgets::of_account,
        ..READ
    },
    Route {
        method: "PUT",
        path: "/accounts/{id}/budgets",
        role: Some(Role::Admin),
        id: "setAccountBudgets",
        summary: "Replaces the budgets of an account. One whose period and kind stay keeps what was spent.",
        request: Some(schema::<NewBudgets>),
        answer: Some(schema::<Budgets>),
        errors: &[Code::InvalidRequest, Code::NotFound, Code::PreconditionFailed],
        action: "account.budgets",
        handler: budgets::set_of_account,
        ..READ
    },
    Route {
        path: "/models",
        id: "listModels",
        summary: "Lists models and their targets.",
        answer: Some(schema::<List<Model>>),
        handler: gateway::models,
        ..READ
    },
    Route {
        path: "/models/{id}",
        id: "getModel",
        summary: "Returns a model and its targets. Slashes of the id are written `%2F`.",
        answer: Some(schema::<Model>),
        errors: &[Code::NotFound],
        handler: gateway::model,
        ..READ
    },
    Route {
        path: "/audit",
        id: "listAuditRows",
        summary: "Lists changes and refused changes, newest first.",
        parameters: &[
            Parameter("actor", "The operator."),
            Parameter("action", "The kind of change, for example `key.create`."),
            Parameter("subject", "The id of the object."),
            Parameter("from", "The first time."),
            Parameter("to", "The time after the last one."),
            LIMIT,
            CURSOR,
        ],
        answer: Some(schema::<List<AuditRow>>),
        errors: &[Code::InvalidRequest, Code::InvalidCursor],
        handler: audit::list,
        ..READ
    },
    Route {
        path: "/tokens",
        role: Some(Role::Admin),
        id: "listTokens",
        summary: "Lists operators' credentials, newest first. Those of the configuration file come last.",
        parameters: &[LIMIT, CURSOR],
        answer: Some(schema::<List<Token>>),
        errors: &[Code::InvalidRequest, Code::InvalidCursor],
        handler: tokens::list,
        ..READ
    },
    Route {
        method: "POST",
        path: "/tokens",
        role: Some(Role::Admin),
        id: "createToken",
        summary: "Makes an operator's credential. Its secret is shown once.",
        request: Some(schema::<NewToken>),
        status: 201,
        answer: Some(schema::<Token>),
        errors: &[Code::InvalidRequest, Code::IdempotencyMismatch],
        action: "token.create",
        handler: tokens::create,
        again: Some(|call, id| tokens::show(&call.about(id))),
        ..READ
    },
    Route {
        method: "DELETE",
        path: "/tokens/{id}",
        role: Some(Role::Admin),
        id: "deleteToken",
        summary: "Deletes an operator's credential. It no longer works at once.",
        status: 204,
        errors: &[Code::NotFound, Code::ManagedByConfiguration],
        action: "token.delete",
        handler: tokens::delete,
        ..READ
    },
];

/// The path of the API.
pub const PREFIX: &str = "/admin/v1";
