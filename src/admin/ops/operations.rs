//! The common parts of all operations: the operator, the transaction, and the row of the audit log.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::Serialize;

use crate::admin::error::{Code, OperationError, OperationResult};
use crate::admin::model::{AuditRow, Checked, Members, Moment, Origin, Period};
use crate::admin::records;
use crate::admin::records::idempotency::IdempotencyRecord;
use crate::auth::{AccountScope, RateLimits};
use crate::store;

use super::difference::difference;

/// The operations on one store.
#[derive(Debug)]
pub struct Operations {
    pub(super) connection: Connection,
    /// The rate limits of new keys for which none are named.
    pub(super) key_defaults: RateLimits,
    /// The accounts that the operator sees and changes.
    pub(super) scope: AccountScope,
    /// Whether the audit log has the refusal of the present request.
    has_noted: Cell<bool>,
}

/// The operator who asks for an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name: `token:NAME`, `local:UID`, `cli` or `config:INSTANCE`.
    pub name: String,
    /// The way by which the request came.
    pub via: Via,
    /// The address from which the request came.
    pub address: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
}

/// The ways by which requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The HTTP API.
    Api,
    /// The control socket.
    Socket,
    /// The command line, at the store itself.
    Cli,
    /// The configuration file.
    Config,
}

/// A request for a change.
#[derive(Clone, Copy, Debug)]
pub struct Intent<'a> {
    /// The operator.
    pub actor: &'a Actor,
    /// The versions that the object must have one of, as in the header `If-Match`.
    pub if_match: Option<&'a str>,
    /// The key under which the request can be repeated.
    pub repeatable: Option<&'a Repeatable>,
}

/// The idempotency key of a request, and the request itself, as digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// The digest of credential, path and idempotency key.
    pub digest: [u8; 32],
    /// The digest of the body.
    pub request: [u8; 32],
}

/// The result of an earlier request with the same idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The HTTP status.
    pub status: u16,
    /// The id of the object.
    pub subject: String,
}

/// A change that was made, for the audit log.
pub(super) struct Changed<T> {
    pub(super) subject: String,
    account: Option<String>,
    before: Option<Members>,
    after: Option<Members>,
    value: T,
}

impl Actor {
    /// Returns the operator of a command at the store itself.
    #[must_use]
    pub fn command_line() -> Self {
        Self { name: "cli".to_owned(), via: Via::Cli, address: None, request_id: None }
    }

    /// Returns the operator of a configuration: the instance that owns what it declares, or the file that was put into
    /// effect or refused.
    #[must_use]
    pub fn configuration(name: &str) -> Self {
        Self { name: format!("config:{name}"), via: Via::Config, address: None, request_id: None }
    }

    /// Returns the origin of the objects that the operator makes.
    pub(super) fn origin(&self) -> Origin {
        match self.via {
            Via::Api | Via::Socket => Origin::Api,
            Via::Cli => Origin::Cli,
            Via::Config => Origin::Config,
        }
    }
}

impl Via {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Socket => "socket",
            Self::Cli => "cli",
            Self::Config => "config",
        }
    }
}

impl<'a> Intent<'a> {
    /// Makes a request without conditions.
    #[must_use]
    pub fn of(actor: &'a Actor) -> Self {
        Self { actor, if_match: None, repeatable: None }
    }

    /// Ensures that the object has a version that the request names.
    pub(super) fn expect(&self, kind: &str, etag: &str) -> OperationResult<()> {
        let Some(wanted) = self.if_match else { return Ok(()) };
        if wanted.split(',').map(str::trim).any(|wanted| wanted == "*" || wanted == etag) {
            return Ok(());
        }
        let message = format!("the {kind} changed; its etag is {etag}");
        Err(OperationError::new(Code::PreconditionFailed, message))
    }
}

impl Operations {
    /// Opens the store in a data folder.
    ///
    /// # Errors
    /// Fails if the store cannot be opened.
    pub fn open(folder: &Path) -> OperationResult<Self> {
        Ok(Self::of(store::open(folder)?))
    }

    /// Opens the store in a data folder only to read it. A change fails.
    ///
    /// # Errors
    /// Fails if there is no store, or it cannot be read.
    pub fn open_to_read(folder: &Path) -> OperationResult<Self> {
        Ok(Self::of(store::open_to_read(folder)?))
    }

    fn of(connection: Connection) -> Self {
        Self {
            connection,
            key_defaults: RateLimits::default(),
            scope: AccountScope::default(),
            has_noted: Cell::new(false),
        }
    }

    /// Begins another request, which is about all accounts at first.
    pub fn begin(&mut self) {
        self.scope = AccountScope::default();
        self.has_noted.set(false);
    }

    /// Limits what follows to some accounts. At first it is about all. Objects that are named by their id are up to the
    /// caller.
    pub fn set_scope(&mut self, scope: AccountScope) {
        self.scope = scope;
    }

    /// Sets the rate limits of new keys for which none are named. They are unlimited at first.
    pub fn set_key_defaults(&mut self, defaults: RateLimits) {
        self.key_defaults = defaults;
    }

    /// Returns the result of an earlier request with the same idempotency key.
    ///
    /// # Errors
    /// Fails with [`Code::IdempotencyMismatch`] if that request was another one, and if the store cannot be read.
    pub fn replay(&self, repeatable: &Repeatable) -> OperationResult<Option<Replay>> {
        let known = records::idempotency::read(&self.connection, &repeatable.digest, store::now())?;
        match known {
            None => Ok(None),
            Some(known) if known.request == repeatable.request => {
                Ok(Some(Replay { status: known.status, subject: known.subject }))
            }
            Some(_) => Err(OperationError::new(
                Code::IdempotencyMismatch,
                "another request was made with this Idempotency-Key; give each request its own",
            )),
        }
    }

    /// Writes the refusal of a change to the audit log, unless it is there, or is not of a kind that the log has.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn note_refusal(
        &self,
        actor: &Actor,
        action: &str,
        subject: &str,
        code: Code,
    ) -> OperationResult<()> {
        if !code.is_audited() || self.has_noted.replace(true) {
            return Ok(());
        }
        let row = audit_row(actor, action, code.parts().0, store::now());
        Ok(records::audit::insert(&self.connection, &AuditRow { subject: subject.to_owned(), ..row })?)
    }

    /// Writes a row about something that is no object of the store.
    pub(super) fn note(
        &self,
        actor: &Actor,
        (action, subject): (&str, &str),
        outcome: &str,
        after: &impl Serialize,
    ) -> OperationResult<()> {
        let (_, after) = difference(None, Some(after));
        let row = audit_row(actor, action, outcome, store::now());
        // A refusal of the same request has no further row.
        self.has_noted.set(true);
        Ok(records::audit::insert(&self.connection, &AuditRow { subject: subject.to_owned(), after, ..row })?)
    }

    /// Makes a change and writes its row of the audit log, or neither. A refusal on a known object is written, too.
    pub(super) fn change<T>(
        &mut self,
        intent: &Intent<'_>,
        (action, subject): (&str, &str),
        operation: impl FnOnce(&Transaction<'_>, i64) -> OperationResult<Changed<T>>,
    ) -> OperationResult<T> {
        self.has_noted.set(false);
        let now = store::now();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let error = match operation(&transaction, now) {
            Ok(changed) => {
                write_audit(&transaction, intent.actor, action, &changed, now)?;
                if let Some(repeatable) = intent.repeatable {
                    write_repeatable(&transaction, repeatable, action, &changed.subject, now)?;
                }
                transaction.commit()?;
                return Ok(changed.value);
            }
            Err(error) => error,
        };
        drop(transaction);
        if !subject.is_empty() {
            self.note_refusal(intent.actor, action, subject, error.code)?;
        }
        Err(error)
    }
}

impl<T> Changed<T> {
    /// Makes a change from an object before and after it.
    pub(super) fn new<O: Serialize>(
        subject: &str,
        account: Option<&str>,
        objects: (Option<&O>, Option<&O>),
        value: T,
    ) -> Self {
        let (before, after) = difference(objects.0, objects.1);
        Self { subject: subject.to_owned(), account: account.map(str::to_owned), before, after, value }
    }

    /// Returns the names of the members that have changed.
    pub(super) fn members(&self) -> BTreeSet<&str> {
        let both = [&self.before, &self.after].into_iter().flatten();
        both.flat_map(Members::keys).map(String::as_str).collect()
    }

    /// Whether the change leaves the object as it was.
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }
}

/// Writes the row of a change, unless nothing has changed.
pub(super) fn write_audit<T>(
    transaction: &Transaction<'_>,
    actor: &Actor,
    action: &str,
    changed: &Changed<T>,
    now: i64,
) -> OperationResult<()> {
    if changed.is_empty() {
        return Ok(());
    }
    let row = AuditRow {
        subject: changed.subject.clone(),
        account: changed.account.clone(),
        before: changed.before.clone(),
        after: changed.after.clone(),
        ..audit_row(actor, action, "applied", now)
    };
    Ok(records::audit::insert(transaction, &row)?)
}

fn write_repeatable(
    transaction: &Transaction<'_>,
    repeatable: &Repeatable,
    action: &str,
    subject: &str,
    now: i64,
) -> OperationResult<()> {
    if records::idempotency::read(transaction, &repeatable.digest, now)?.is_some() {
        let message =
            "a request with this Idempotency-Key has just been carried out; repeat it for its result";
        return Err(OperationError::new(Code::IdempotencyInUse, message));
    }
    let status = if matches!(action, "key.rotate" | "target.rest" | "target.enable") { 200 } else { 201 };
    let record = IdempotencyRecord { request: repeatable.request, status, subject: subject.to_owned() };
    Ok(records::idempotency::insert(transaction, &repeatable.digest, &record, now)?)
}

fn audit_row(actor: &Actor, action: &str, outcome: &str, now: i64) -> AuditRow {
    AuditRow {
        seq: 0,
        time: Moment(now),
        actor: actor.name.clone(),
        via: actor.via.name().to_owned(),
        address: actor.address.clone(),
        action: action.to_owned(),
        subject: String::new(),
        account: None,
        outcome: outcome.to_owned(),
        before: None,
        after: None,
        request_id: actor.request_id.clone(),
    }
}

/// Returns the version of a row as an entity tag.
pub(super) fn etag(revision: i64) -> String {
    format!("\"{revision}\"")
}

/// Merges entries of a patch into a map: `None` removes one. No entries at all empty the map.
pub(super) fn merge<T: Clone>(into: &mut BTreeMap<String, T>, patch: Option<&BTreeMap<String, Option<T>>>) {
    let Some(patch) = patch else { return into.clear() };
    for (name, value) in patch {
        match value {
            Some(value) => drop(into.insert(name.clone(), value.clone())),
            None => drop(into.remove(name)),
        }
    }
}

/// Checks the values of a request.
pub(super) fn checked(request: &impl Checked) -> OperationResult<()> {
    let mut mistakes = Vec::new();
    request.check(&mut mistakes);
    if mistakes.is_empty() { Ok(()) } else { Err(OperationError::invalid(mistakes)) }
}

/// Returns the time of an expiry that is given as a time or as a period.
pub(super) fn expiry(at: Option<Moment>, within: Option<Period>, now: i64) -> Option<i64> {
    at.map(|Moment(time)| time).or_else(|| within.map(|Period(seconds)| now.saturating_add(seconds)))
}

impl Changed<()> {
    /// Adds the value that the operation returns.
    pub(super) fn with<T>(self, value: T) -> Changed<T> {
        let Self { subject, account, before, after, value: () } = self;
        Changed { subject, account, before, after, value }
    }
}
