//! Operations on keys.

use rusqlite::{Connection, Transaction};

use crate::admin::error::{Code, OperationError, OperationResult};
use crate::admin::model::{
    Key, KeyLookup, KeyPatch, KeyState, List, Moment, NewBudget, NewKey, Rotation, Usd,
};
use crate::admin::records;
use crate::admin::records::declaration::Ownership;
use crate::admin::records::keys::{KeyRecord, KeySelection};
use crate::auth::{Aliases, BudgetOwner, Digest, Period, RateLimits, Rights, Secret, Status, random_id};
use crate::meter::{self, DEFAULT_ALERT};
use crate::store;

use super::accounts::ensure_default;
use super::managed::{check_deletion, check_members};
use super::operations::{Actor, Changed, Intent, Operations, checked, etag, expiry, merge};
use super::owned_budgets;
use super::page::Page;

/// The keys that are wanted. Absent conditions hold for all.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    /// The account.
    pub account: Option<String>,
    /// The status that an operator has set.
    pub status: Option<String>,
    /// The state that applies now.
    pub state: Option<String>,
    /// The source that rules them.
    pub origin: Option<String>,
    /// The time before which they expire.
    pub expires_before: Option<Moment>,
    /// A part of the id, the name or the account.
    pub text: Option<String>,
    /// Whether the deleted keys are wanted instead of the others.
    pub deleted: bool,
}

impl Operations {
    /// Returns a page of keys, newest first.
    ///
    /// # Errors
    /// Fails for a wrong cursor, and if the store cannot be read.
    pub fn keys(&self, filter: &KeyFilter, page: &Page) -> OperationResult<List<Key>> {
        let now = store::now();
        let wanted = KeySelection {
            account: filter.account.as_deref(),
            accounts: self.scope.accounts(),
            status: filter.status.as_deref(),
            state: filter.state.as_deref(),
            origin: filter.origin.as_deref(),
            expires_before: filter.expires_before.map(|Moment(time)| time),
            text: filter.text.as_deref(),
            deleted: filter.deleted,
            before: page.before("keys")?,
            limit: page.rows(),
            now,
        };
        let rows = records::keys::list(&self.connection, &wanted)?;
        page.list("keys", rows, |key| key.number, |key| object(&self.connection, &key, now))
    }

    /// Returns a key.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`], and if the store cannot be read.
    pub fn key(&self, id: &str) -> OperationResult<Key> {
        object(&self.connection, &known(&self.connection, id)?, store::now())
    }

    /// Returns the keys of a secret, of which the digest or the end is known.
    ///
    /// # Errors
    /// Fails if the question is wrong, and if the store cannot be read.
    pub fn find_keys(&self, lookup: &KeyLookup) -> OperationResult<List<Key>> {
        checked(lookup)?;
        let digest = lookup.sha256.as_deref().and_then(Digest::from_hex);
        let ids = records::keys::ids_by_secret(&self.connection, digest, lookup.hint.as_deref(), MAX_FOUND)?;
        let mut data = ids.iter().map(|id| self.key(id)).collect::<OperationResult<Vec<_>>>()?;
        data.retain(|key| self.scope.includes(&key.account));
        Ok(List { data, has_more: false, next_cursor: None })
    }

    /// Makes a key. The secret is returned once and cannot be read again.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`] for an unknown account, if the key is wrong, and if the store cannot be written.
    pub fn create_key(&mut self, intent: &Intent<'_>, new: &NewKey) -> OperationResult<Key> {
        self.create_key_with(intent, new, Secret::generate())
    }

    /// Returns the number of keys, deleted ones included.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn count_keys(&self) -> OperationResult<i64> {
        Ok(records::keys::count_all(&self.connection)?)
    }

    /// Makes the first key with a secret that an operator has chosen, if there is no key at all. It has no limits.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn create_first_key(&mut self, actor: &Actor, secret: Secret) -> OperationResult<Option<Key>> {
        if self.count_keys()? > 0 {
            return Ok(None);
        }
        // A first key has no rate limit: an agent sends more in a minute than the default allows.
        let new =
            NewKey { name: "first key".to_owned(), rpm: Some(None), tpm: Some(None), ..NewKey::default() };
        self.create_key_with(&Intent::of(actor), &new, secret).map(Some)
    }

    fn create_key_with(&mut self, intent: &Intent<'_>, new: &NewKey, secret: Secret) -> OperationResult<Key> {
        checked(new)?;
        let actor = intent.actor;
        let account = new.account.clone().unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned());
        if !self.scope.includes(&account) {
            return Err(OperationError::not_found("account", &account));
        }
        if account == DEFAULT_ACCOUNT {
            self.ensure_default_account(actor)?;
        }
        let defaults = self.key_defaults;
        self.change(intent, ("key.create", ""), |transaction, now| {
            let account = known_account(transaction, &account)?;
            let key = KeyRecord {
                number: 0,
                id: random_id("key_"),
                account,
                name: new.name.clone(),
                status: Status::Active,
                rights: Rights {
                    models: new.models.clone(),
                    aliases: new.aliases.clone(),
                    rate: RateLimits {
                        rpm: new.rpm.unwrap_or(defaults.rpm),
                        tpm: new.tpm.unwrap_or(defaults.tpm),
                    },
                    spending_limit: new.spending_limit_usd.map(|Usd(limit)| limit),
                    strict: new.strict,
                    max_concurrent: new.max_concurrent,
                    allow_ips: new.allow_ips.clone(),
                },
                watch: new.watch,
                content_log: new.content_log,
                tags: new.tags.clone(),
                notes: new.notes.clone(),
                origin: actor.origin(),
                owner: Ownership::default(),
                created: now,
                created_by: actor.name.clone(),
                expires: expiry(new.expires_at, new.expires_in, now),
                deleted: None,
                revision: 0,
                account_status: Status::Active,
            };
            records::keys::insert(transaction, &key)?;
            records::keys::add_secret(transaction, &key.id, &secret, now)?;
            if !new.budgets.is_empty() {
                replace_budgets(transaction, &key.id, &with_limit(new))?;
            } else if let Some(limit) = key.rights.spending_limit {
                meter::set_spending_limit(transaction, &key.id, Some(limit))?;
            }
            let made = object(transaction, &known(transaction, &key.id)?, now)?;
            let changed = Changed::new(&key.id, Some(&key.account), (None, Some(&made)), ());
            Ok(changed.with(Key { secret: Some(secret.expose().to_owned()), ..made }))
        })
    }

    /// Changes a key.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`] for an unknown key or account, with [`Code::PreconditionFailed`], if the change
    /// is wrong, and if the store cannot be written.
    pub fn update_key(&mut self, intent: &Intent<'_>, id: &str, patch: &KeyPatch) -> OperationResult<Key> {
        let scope = self.scope.clone();
        self.change(intent, ("key.update", id), |transaction, now| {
            checked(patch)?;
            let before = known(transaction, id)?;
            intent.expect("key", &etag(before.revision))?;
            let mut after = before.clone();
            if let Some(account) = &patch.account {
                if !scope.includes(account) {
                    return Err(OperationError::not_found("account", account));
                }
                after.account = known_account(transaction, account)?;
            }
            apply(&mut after, patch);
            let earlier = object(transaction, &before, now)?;
            if let Some(budgets) = &patch.budgets {
                replace_budgets(transaction, id, budgets.as_deref().unwrap_or_default())?;
                after.rights.spending_limit = known(transaction, id)?.rights.spending_limit;
            }
            let planned = object(transaction, &after, now)?;
            let changed = Changed::new(id, Some(&after.account), (Some(&earlier), Some(&planned)), ());
            check_members(&format!("key '{id}'"), &before.owner, &changed)?;
            if changed.is_empty() && after.owner == before.owner {
                return Ok(changed.with(earlier));
            }
            records::keys::update(transaction, &after)?;
            let limit = after.rights.spending_limit;
            if limit != before.rights.spending_limit {
                meter::set_spending_limit(transaction, id, limit)?;
            }
            Ok(changed.with(object(transaction, &known(transaction, id)?, now)?))
        })
    }

    /// Enables or disables a key.
    ///
    /// # Errors
    /// Fails as [`Self::update_key`] does.
    pub fn set_key_status(&mut self, intent: &Intent<'_>, id: &str, status: Status) -> OperationResult<Key> {
        self.update_key(intent, id, &KeyPatch { status: Some(status), ..KeyPatch::default() })
    }

    /// Gives a key a new secret, which is returned once. The earlier one still works for the overlap.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`], with [`Code::PreconditionFailed`], if the overlap is too long, and if the store
    /// cannot be written.
    pub fn rotate_key(&mut self, intent: &Intent<'_>, id: &str, rotation: &Rotation) -> OperationResult<Key> {
        self.change(intent, ("key.rotate", id), |transaction, now| {
            checked(rotation)?;
            let before = known(transaction, id)?;
            intent.expect("key", &etag(before.revision))?;
            let earlier = object(transaction, &before, now)?;
            let secret = Secret::generate();
            records::keys::end_secrets(transaction, id, now.saturating_add(rotation.seconds()))?;
            records::keys::add_secret(transaction, id, &secret, now)?;
            records::keys::update(transaction, &before)?;
            let made = object(transaction, &known(transaction, id)?, now)?;
            let changed = Changed::new(id, Some(&before.account), (Some(&earlier), Some(&made)), ());
            check_members(&format!("key '{id}'"), &before.owner, &changed)?;
            Ok(changed.with(Key { secret: Some(secret.expose().to_owned()), ..made }))
        })
    }

    /// Deletes a key: its secrets are erased, and usage and the audit log keep its id and name.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`], with [`Code::PreconditionFailed`], and if the store cannot be written.
    pub fn delete_key(&mut self, intent: &Intent<'_>, id: &str) -> OperationResult<Key> {
        self.change(intent, ("key.delete", id), |transaction, now| {
            let before = known(transaction, id)?;
            intent.expect("key", &etag(before.revision))?;
            check_deletion(&format!("key '{id}'"), &before.owner)?;
            let earlier = object(transaction, &before, now)?;
            records::keys::erase_secrets(transaction, id)?;
            let after = KeyRecord { deleted: Some(now), ..before };
            records::keys::update(transaction, &after)?;
            let gone = object(transaction, &after, now)?;
            let changed = Changed::new(id, Some(&after.account), (Some(&earlier), Some(&gone)), ());
            Ok(changed.with(gone))
        })
    }

    /// Makes the account of keys for which no account is named, unless there is one.
    fn ensure_default_account(&mut self, actor: &Actor) -> OperationResult<()> {
        if records::accounts::read_any(&self.connection, DEFAULT_ACCOUNT)?.is_some() {
            return Ok(());
        }
        match ensure_default(self, actor, DEFAULT_ACCOUNT) {
            // Another process may have been faster.
            Err(error) if error.code != Code::Exists => Err(error),
            _ => Ok(()),
        }
    }
}

fn replace_budgets(connection: &Connection, id: &str, budgets: &[NewBudget]) -> OperationResult<()> {
    owned_budgets::replace(connection, (BudgetOwner::Key, id), budgets)
}

/// Returns the budgets of a new key with its spending limit, which is one of them.
fn with_limit(new: &NewKey) -> Vec<NewBudget> {
    let limit = new.spending_limit_usd.map(|limit_usd| NewBudget {
        period: Period::Total,
        limit_usd,
        hard: true,
        alert_at: vec![DEFAULT_ALERT],
    });
    new.budgets.iter().cloned().chain(limit).collect()
}

/// Applies a change, except for the account and the budgets.
fn apply(key: &mut KeyRecord, patch: &KeyPatch) {
    let KeyPatch { name, account: _, status, models, aliases, rpm, tpm, .. } = patch;
    if let Some(name) = name {
        key.name.clone_from(name);
    }
    if let Some(status) = *status {
        key.status = status;
        key.owner = std::mem::take(&mut key.owner).after_status();
    }
    if let Some(models) = models {
        key.rights.models.clone_from(models);
    }
    if let Some(aliases) = aliases {
        let mut all =
            key.rights.aliases.iter().map(|(name, model)| (name.to_owned(), model.to_owned())).collect();
        merge(&mut all, aliases.as_ref());
        key.rights.aliases = Aliases::from(all);
    }
    key.rights.rate.rpm = rpm.unwrap_or(key.rights.rate.rpm);
    key.rights.rate.tpm = tpm.unwrap_or(key.rights.rate.tpm);
    if let Some(limit) = patch.spending_limit_usd {
        key.rights.spending_limit = limit.map(|Usd(limit)| limit);
    }
    key.rights.max_concurrent = patch.max_concurrent.unwrap_or(key.rights.max_concurrent);
    if let Some(allow_ips) = &patch.allow_ips {
        key.rights.allow_ips.clone_from(allow_ips);
    }
    key.rights.strict = patch.strict.unwrap_or(key.rights.strict);
    key.watch = patch.watch.unwrap_or(key.watch);
    key.content_log = patch.content_log.unwrap_or(key.content_log);
    if let Some(tags) = &patch.tags {
        merge(&mut key.tags, tags.as_ref());
    }
    if let Some(notes) = &patch.notes {
        key.notes = notes.clone().unwrap_or_default();
    }
    if let Some(expires) = patch.expires_at {
        key.expires = expires.map(|Moment(time)| time);
    }
}

pub(super) fn known(connection: &Connection, id: &str) -> OperationResult<KeyRecord> {
    records::keys::read(connection, id)?.ok_or_else(|| OperationError::not_found("key", id))
}

fn known_account(transaction: &Transaction<'_>, id: &str) -> OperationResult<String> {
    let account = records::accounts::read(transaction, id)?;
    account.map(|account| account.id).ok_or_else(|| OperationError::not_found("account", id))
}

pub(super) fn object(connection: &Connection, key: &KeyRecord, now: i64) -> OperationResult<Key> {
    let state = match (key.deleted, key.status, key.account_status) {
        (Some(_), ..) => KeyState::Deleted,
        (None, Status::Disabled, _) => KeyState::Disabled,
        _ if key.expires.is_some_and(|time| time <= now) => KeyState::Expired,
        (.., Status::Disabled) => KeyState::AccountDisabled,
        _ => KeyState::Active,
    };
    let Rights { models, aliases, rate, spending_limit, strict, max_concurrent, allow_ips } =
        key.rights.clone();
    Ok(Key {
        object: "key".to_owned(),
        id: key.id.clone(),
        name: key.name.clone(),
        account: key.account.clone(),
        status: key.status,
        state,
        origin: key.origin,
        secret: None,
        hint: None,
        secrets: records::keys::secrets(connection, &key.id, now)?,
        models,
        aliases,
        rpm: rate.rpm,
        tpm: rate.tpm,
        max_concurrent,
        allow_ips,
        spending_limit_usd: spending_limit.map(Usd),
        budgets: match key.deleted {
            None => owned_budgets::read(connection, BudgetOwner::Key, &key.id)?.data,
            Some(_) => Vec::new(),
        },
        spent_this_month_usd: Usd(records::keys::spent_since(connection, &key.id, Period::Month.start(now))?),
        strict,
        watch: key.watch,
        content_log: key.content_log,
        tags: key.tags.clone(),
        notes: key.notes.clone(),
        expires_at: key.expires.map(Moment),
        created_at: Moment(key.created),
        created_by: key.created_by.clone(),
        deleted_at: key.deleted.map(Moment),
        etag: etag(key.revision),
        warnings: Vec::new(),
    })
}

/// The account of keys for which no account is named.
pub(super) const DEFAULT_ACCOUNT: &str = "default";

/// The most keys that a lookup finds.
const MAX_FOUND: i64 = 100;
