//! The keys and accounts that a configuration declares: the store follows the file, in one transaction.

use std::collections::HashSet;

use rusqlite::{Transaction, TransactionBehavior};
use serde::Serialize;

use crate::admin::error::OperationResult;
use crate::admin::model::{Account, Budget, Key, NewBudget, NewBudgets, Origin};
use crate::admin::records::accounts::AccountRecord;
use crate::admin::records::declaration::{Declaration, DeclaredTable, Ownership};
use crate::admin::records::keys::KeyRecord;
use crate::admin::records::{self, declaration};
use crate::auth::{AccountLimits, BudgetOwner, ContentLogging, RateLimits, Rights, Status};
use crate::config::{Declarations, DeclaredAccount, DeclaredKey, Problem};
use crate::{meter, store};

use super::operations::{Actor, Changed, Operations, write_audit};
use super::{accounts, keys};

/// The declared objects of an instance in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredObjects {
    /// The number of accounts.
    pub accounts: usize,
    /// The number of keys.
    pub keys: usize,
    /// The ids of those that an operator has disabled.
    pub disabled: Vec<String>,
}

impl Operations {
    /// Makes the keys and accounts of the store as a configuration declares them, and disables those that it no longer
    /// declares. Returns the reasons for which the whole configuration is refused; then nothing has changed.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn declare(&mut self, declarations: &Declarations) -> OperationResult<Vec<Problem>> {
        let instance = &declarations.instance;
        if declarations.is_empty() && !declaration::owns_any(&self.connection, instance)? {
            return Ok(Vec::new());
        }
        let actor = Actor::configuration(instance);
        let names_default = declarations.keys.iter().any(|key| key.account.is_none());
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut run = Run {
            transaction: &transaction,
            actor: &actor,
            declarations,
            key_defaults: self.key_defaults,
            now: store::now(),
            problems: Vec::new(),
        };
        declarations.accounts.iter().try_for_each(|account| run.account(account))?;
        if names_default {
            run.default_account()?;
        }
        run.keys()?;
        run.withdraw_keys()?;
        run.withdraw_accounts()?;
        let problems = run.problems;
        if problems.is_empty() {
            transaction.commit()?;
        }
        Ok(problems)
    }

    /// Returns the declared objects of an instance.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn declared_objects(&self, instance: &str) -> OperationResult<DeclaredObjects> {
        let accounts = records::accounts::owned_by(&self.connection, instance)?;
        let keys = records::keys::owned_by(&self.connection, instance)?;
        let accounts: Vec<_> = accounts.iter().filter(|account| account.owner.in_force().is_some()).collect();
        let keys: Vec<_> = keys.iter().filter(|key| key.owner.in_force().is_some()).collect();
        let states = accounts.iter().map(|account| (&account.id, account.status));
        let states = states.chain(keys.iter().map(|key| (&key.id, key.status)));
        let disabled = states.filter(|(_, status)| *status == Status::Disabled);
        let disabled = disabled.map(|(id, _)| id.clone()).collect();
        Ok(DeclaredObjects { accounts: accounts.len(), keys: keys.len(), disabled })
    }
}

/// One run over the declarations.
struct Run<'a> {
    transaction: &'a Transaction<'a>,
    actor: &'a Actor,
    declarations: &'a Declarations,
    key_defaults: RateLimits,
    now: i64,
    problems: Vec<Problem>,
}

/// A declared key, and what the store has of it.
struct KeyPair<'a> {
    declared: &'a DeclaredKey,
    known: Option<(KeyRecord, Key)>,
    has_secret: bool,
}

impl<'a> Run<'a> {
    fn account(&mut self, declared: &DeclaredAccount) -> OperationResult<()> {
        let id = declared.id.as_str();
        let known = records::accounts::read_any(self.transaction, id)?;
        if let Some(known) = &known
            && let Some(why) = self.foreign(known.origin, &known.owner, &known.created_by)
        {
            self.problems.push(Problem { place: declared.place, message: format!("account '{id}' {why}") });
            return Ok(());
        }
        let owner = self.owner(declared.place.line, declared.members());
        let earlier = known.as_ref().filter(|known| known.deleted.is_none()).cloned();
        let earlier = earlier.map(|known| accounts::object(self.transaction, known)).transpose()?;
        let is_new = known.is_none();
        let before = known.unwrap_or_else(|| self.new_account(id));
        let mut after = AccountRecord { owner, deleted: None, ..before.clone() };
        let freed = |member| is_freed(&before.owner, &after.owner, member);
        rule(&mut after.name, declared.name.as_ref(), freed("name"), String::new());
        rule(&mut after.low_balance, declared.low_balance.as_ref(), freed("low_balance_usd"), None);
        rule(&mut after.tags, declared.tags.as_ref(), freed("tags"), Default::default());
        let limits = &mut after.limits;
        rule(&mut limits.models, declared.models.clone().map(Some).as_ref(), freed("models"), None);
        rule(&mut limits.rate.rpm, declared.rpm.as_ref(), freed("rpm"), None);
        rule(&mut limits.rate.tpm, declared.tpm.as_ref(), freed("tpm"), None);
        let most = declared.max_concurrent.as_ref();
        rule(&mut limits.max_concurrent, most, freed("max_concurrent"), None);
        let frees_budgets = freed("budgets");
        after.status = resumed(before.status, &before.owner);
        if is_new {
            records::accounts::insert(self.transaction, &after)?;
        } else if before.deleted.is_some() {
            // An account has its budgets only if it is there.
            records::accounts::update(self.transaction, &after)?;
        }
        let planned = accounts::object(self.transaction, after.clone())?;
        self.write_account(&before, &after, (earlier.as_ref(), &planned))?;
        self.budgets((BudgetOwner::Account, id, id), declared.budgets.as_deref(), frees_budgets)
    }

    fn write_account(
        &self,
        before: &AccountRecord,
        after: &AccountRecord,
        (earlier, planned): (Option<&Account>, &Account),
    ) -> OperationResult<()> {
        let id = after.id.as_str();
        let changed = Changed::new(id, Some(id), (earlier, Some(planned)), ());
        if changed.is_empty() {
            return self.note_owner(DeclaredTable::Accounts, id, &before.owner, &after.owner);
        }
        records::accounts::update(self.transaction, after)?;
        let action = if earlier.is_some() { "account.update" } else { "account.create" };
        write_audit(self.transaction, self.actor, action, &changed, self.now)
    }

    fn new_account(&self, id: &str) -> AccountRecord {
        AccountRecord {
            number: 0,
            id: id.to_owned(),
            name: String::new(),
            status: Status::Active,
            low_balance: None,
            limits: AccountLimits::default(),
            tags: Default::default(),
            origin: Origin::Config,
            owner: Ownership::default(),
            created: self.now,
            created_by: self.actor.name.clone(),
            deleted: None,
            revision: 0,
        }
    }

    /// Makes the account of keys for which the file names no account, unless there is one. No instance owns it.
    fn default_account(&self) -> OperationResult<()> {
        if records::accounts::read_any(self.transaction, keys::DEFAULT_ACCOUNT)?.is_some() {
            return Ok(());
        }
        let account = self.new_account(keys::DEFAULT_ACCOUNT);
        records::accounts::insert(self.transaction, &account)?;
        let made = accounts::object(self.transaction, account)?;
        self.write_audit_of("account.create", &made.id, &made.id, (None, Some(&made)))
    }

    fn keys(&mut self) -> OperationResult<()> {
        let mut pairs = Vec::new();
        for declared in &self.declarations.keys {
            if let Some(pair) = self.pair(declared)? {
                pairs.push(pair);
            }
        }
        // Keys may have exchanged their secrets.
        for pair in pairs.iter().filter(|pair| !pair.has_secret && pair.known.is_some()) {
            records::keys::erase_secrets(self.transaction, &pair.declared.id)?;
        }
        pairs.into_iter().try_for_each(|pair| self.key(pair))
    }

    /// Reads what the store has of a key; `None` if its declaration is wrong.
    fn pair(&mut self, declared: &'a DeclaredKey) -> OperationResult<Option<KeyPair<'a>>> {
        let DeclaredKey { place, id, .. } = declared;
        let known = records::keys::read_any(self.transaction, id)?;
        let foreign = known.as_ref().and_then(|key| self.foreign(key.origin, &key.owner, &key.created_by));
        let unknown = match &declared.account {
            Some(account) if records::accounts::read(self.transaction, account)?.is_none() => Some(format!(
                "names the account '{account}', which does not exist: declare it under `accounts`, or make it first: \
                 crossmodel account create {account}"
            )),
            _ => None,
        };
        let is_right = foreign.is_none() && unknown.is_none();
        for why in foreign.into_iter().chain(unknown) {
            self.problems.push(Problem { place: *place, message: format!("key '{id}' {why}") });
        }
        if !is_right {
            return Ok(None);
        }
        let holder = records::keys::holder(self.transaction, declared.digest)?;
        let known = match known {
            None => None,
            Some(key) => {
                let object = keys::object(self.transaction, &key, self.now)?;
                Some((key, object))
            }
        };
        Ok(Some(KeyPair { declared, known, has_secret: holder.as_ref() == Some(id) }))
    }

    fn key(&mut self, KeyPair { declared, known, has_secret }: KeyPair<'_>) -> OperationResult<()> {
        let id = declared.id.as_str();
        if let Some(holder) =
            records::keys::holder(self.transaction, declared.digest)?.filter(|holder| holder != id)
        {
            let message = format!(
                "key '{id}' has the secret of key '{holder}': give it another secret, or the id of that key, or delete that \
                 key: crossmodel key delete {holder}"
            );
            self.problems.push(Problem { place: declared.place, message });
            return Ok(());
        }
        let (before, earlier) = known.unzip();
        let is_new = before.is_none();
        let before = before.unwrap_or_else(|| self.new_key(declared));
        let mut after = KeyRecord {
            owner: self.owner(declared.place.line, declared.members()),
            deleted: None,
            status: resumed(before.status, &before.owner),
            ..before.clone()
        };
        apply(&mut after, declared, &before.owner, self.key_defaults);
        if is_new {
            records::keys::insert(self.transaction, &after)?;
        } else if before.deleted.is_some() {
            // Only a key that is there has budgets.
            records::keys::update(self.transaction, &after)?;
        }
        let planned = keys::object(self.transaction, &after, self.now)?;
        let is_same = Changed::new(id, None, (earlier.as_ref(), Some(&planned)), ()).is_empty();
        if is_same && has_secret {
            self.note_owner(DeclaredTable::Keys, id, &before.owner, &after.owner)?;
        } else {
            if !has_secret {
                let (digest, hint) = (declared.digest, declared.hint.as_deref());
                records::keys::add_digest(self.transaction, id, digest, hint, self.now)?;
            }
            records::keys::update(self.transaction, &after)?;
            let made = keys::object(self.transaction, &after, self.now)?;
            let action = if is_new { "key.create" } else { "key.update" };
            self.write_audit_of(action, id, &after.account, (earlier.as_ref(), Some(&made)))?;
        }
        let frees_budgets = is_freed(&before.owner, &after.owner, "budgets");
        self.budgets((BudgetOwner::Key, id, &after.account), declared.budgets.as_deref(), frees_budgets)
    }

    fn new_key(&self, declared: &DeclaredKey) -> KeyRecord {
        KeyRecord {
            number: 0,
            id: declared.id.clone(),
            account: declared.account.clone().unwrap_or_else(|| keys::DEFAULT_ACCOUNT.to_owned()),
            name: String::new(),
            status: Status::Active,
            rights: Rights { rate: self.key_defaults, ..Rights::default() },
            tags: Default::default(),
            notes: String::new(),
            origin: Origin::Config,
            owner: Ownership::default(),
            created: self.now,
            created_by: self.actor.name.clone(),
            watch: false,
            content_log: ContentLogging::On,
            expires: None,
            deleted: None,
            revision: 0,
            account_status: Status::Active,
        }
    }

    /// Sets the budgets that a file declares, or removes those that it has declared before.
    fn budgets(
        &self,
        (owner, id, account): (BudgetOwner, &str, &str),
        declared: Option<&[meter::NewBudget]>,
        is_freed: bool,
    ) -> OperationResult<()> {
        let Some(wanted) = declared.or_else(|| is_freed.then_some(&[])) else { return Ok(()) };
        let states = meter::budgets(self.transaction, (owner, id))?.into_iter().map(Budget::from);
        let before = sorted(states.map(|budget| NewBudget::from(&budget)).collect());
        let after = sorted(wanted.iter().map(NewBudget::from).collect());
        if before == after {
            return Ok(());
        }
        meter::set_budgets(self.transaction, (owner, id), wanted)?;
        let action = format!("{}.budgets", owner.name());
        self.write_audit_of(&action, id, account, (Some(&before), Some(&after)))
    }

    /// Disables the keys that the file no longer declares.
    fn withdraw_keys(&self) -> OperationResult<()> {
        let declared: HashSet<_> = self.declarations.keys.iter().map(|key| key.id.as_str()).collect();
        for before in records::keys::owned_by(self.transaction, &self.declarations.instance)? {
            if before.owner.in_force().is_none() || declared.contains(before.id.as_str()) {
                continue;
            }
            let owner = withdrawn(&before.owner, before.status);
            let after = KeyRecord { owner, status: Status::Disabled, ..before.clone() };
            let earlier = keys::object(self.transaction, &before, self.now)?;
            let planned = keys::object(self.transaction, &after, self.now)?;
            records::keys::update(self.transaction, &after)?;
            self.write_audit_of("key.update", &after.id, &after.account, (Some(&earlier), Some(&planned)))?;
        }
        Ok(())
    }

    /// Disables the accounts that the file no longer declares.
    fn withdraw_accounts(&self) -> OperationResult<()> {
        let declared: HashSet<_> =
            self.declarations.accounts.iter().map(|account| account.id.as_str()).collect();
        for before in records::accounts::owned_by(self.transaction, &self.declarations.instance)? {
            if before.owner.in_force().is_none() || declared.contains(before.id.as_str()) {
                continue;
            }
            let owner = withdrawn(&before.owner, before.status);
            let after = AccountRecord { owner, status: Status::Disabled, ..before.clone() };
            let earlier = accounts::object(self.transaction, before)?;
            let planned = accounts::object(self.transaction, after.clone())?;
            records::accounts::update(self.transaction, &after)?;
            self.write_audit_of("account.update", &after.id, &after.id, (Some(&earlier), Some(&planned)))?;
        }
        Ok(())
    }

    /// Returns the reason for which the file cannot rule an object that is not of its instance.
    fn foreign(&self, origin: Origin, owner: &Ownership, maker: &str) -> Option<String> {
        match &owner.instance {
            Some(instance) if *instance == self.declarations.instance => None,
            Some(instance) => Some(format!(
                "belongs to the instance '{instance}': give it another id, or this file the setting `instance: {instance}`"
            )),
            // Nobody has declared it, but a declared key needed it.
            None if origin == Origin::Config => None,
            None => Some(format!("was made by {maker} and not by a file: give it another id")),
        }
    }

    fn owner(&self, line: u64, members: Vec<String>) -> Ownership {
        let file = self.declarations.file.as_ref();
        let file = file.map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string());
        let declaration = Declaration { file, line, members, withdrawn: false };
        Ownership { instance: Some(self.declarations.instance.clone()), declaration: Some(declaration) }
    }

    /// Notes the line and the members of an object that is as the file has it.
    fn note_owner(
        &self,
        table: DeclaredTable,
        id: &str,
        before: &Ownership,
        after: &Ownership,
    ) -> OperationResult<()> {
        if before != after {
            declaration::note(self.transaction, table, id, after)?;
        }
        Ok(())
    }

    fn write_audit_of<O: Serialize>(
        &self,
        action: &str,
        id: &str,
        account: &str,
        objects: (Option<&O>, Option<&O>),
    ) -> OperationResult<()> {
        let changed = Changed::new(id, Some(account), objects, ());
        write_audit(self.transaction, self.actor, action, &changed, self.now)
    }
}

/// Gives a key the members that a file declares, and those their defaults that it has declared before.
fn apply(key: &mut KeyRecord, declared: &DeclaredKey, before: &Ownership, defaults: RateLimits) {
    let now = key.owner.clone();
    let freed = |member| is_freed(before, &now, member);
    rule(&mut key.name, declared.name.as_ref(), freed("name"), String::new());
    rule(&mut key.account, declared.account.as_ref(), freed("account"), keys::DEFAULT_ACCOUNT.to_owned());
    rule(&mut key.notes, declared.notes.as_ref(), freed("notes"), String::new());
    rule(&mut key.tags, declared.tags.as_ref(), freed("tags"), Default::default());
    rule(&mut key.expires, declared.expires.as_ref(), freed("expires_at"), None);
    let rights = &mut key.rights;
    rule(&mut rights.models, declared.models.clone().map(Some).as_ref(), freed("models"), None);
    rule(&mut rights.aliases, declared.aliases.as_ref(), freed("aliases"), Default::default());
    rule(&mut rights.rate.rpm, declared.rpm.as_ref(), freed("rpm"), defaults.rpm);
    rule(&mut rights.rate.tpm, declared.tpm.as_ref(), freed("tpm"), defaults.tpm);
    rule(&mut rights.strict, declared.strict.as_ref(), freed("strict"), false);
    let (most, from) = (declared.max_concurrent.as_ref(), declared.allow_ips.clone().map(Some));
    rule(&mut rights.max_concurrent, most, freed("max_concurrent"), None);
    rule(&mut rights.allow_ips, from.as_ref(), freed("allow_ips"), None);
    rule(&mut key.watch, declared.watch.as_ref(), freed("watch"), false);
    let content = declared.content_log.as_ref();
    rule(&mut key.content_log, content, freed("content_log"), ContentLogging::On);
}

/// Sets a member to its declared value, or to its default if it was declared before.
fn rule<T: Clone>(member: &mut T, declared: Option<&T>, is_freed: bool, default: T) {
    match declared {
        Some(declared) => member.clone_from(declared),
        None if is_freed => *member = default,
        None => {}
    }
}

/// Whether a file has ruled a member until now.
fn is_freed(before: &Ownership, after: &Ownership, member: &str) -> bool {
    let rules = |owner: &Ownership| {
        owner.declaration.iter().flat_map(|declaration| &declaration.members).any(|own| own == member)
    };
    rules(before) && !rules(after)
}

/// Returns the status of an object that a file declares: the file takes back only what it has done itself.
fn resumed(status: Status, owner: &Ownership) -> Status {
    let is_withdrawn = owner.declaration.as_ref().is_some_and(|declaration| declaration.withdrawn);
    if is_withdrawn { Status::Active } else { status }
}

/// Returns the ownership of an object that a file no longer declares.
fn withdrawn(owner: &Ownership, status: Status) -> Ownership {
    let declaration = owner.declaration.clone().filter(|_| status == Status::Active);
    let declaration = declaration.map(|declaration| Declaration { withdrawn: true, ..declaration });
    Ownership { declaration, ..owner.clone() }
}

fn sorted(mut budgets: Vec<NewBudget>) -> NewBudgets {
    budgets.sort_by_key(|budget| (budget.period.name(), budget.hard));
    NewBudgets { budgets }
}
