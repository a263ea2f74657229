//! KeyList and their accounts: of as many as there may be, those that matter or were asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::admin::{DeclaredObjects, OperationResult, Operations};
use crate::auth::{BudgetOwner, Grant, Key, Status};
use crate::limit::MinuteUsage;
use crate::meter::{Books, BudgetState, UsageReport, Wallet};
use crate::money::Amount;
use crate::repeated::RepeatedLine;

use super::changes::{self, ChangeRow};
use super::query::Sort;
use super::{Query, Sources};

/// The keys that are shown, and the number of all keys.
#[derive(Debug, Serialize)]
pub(super) struct KeyList {
    pub(super) total: usize,
    pub(super) matching: usize,
    pub(super) shown: Vec<KeyRow>,
}

/// One key.
#[derive(Debug, Serialize)]
pub(super) struct KeyRow {
    id: String,
    name: String,
    account: String,
    /// Whether the key's calls are admitted.
    state: KeyState,
    /// The last four characters of the newest secret.
    hint: Option<String>,
    /// The time from which the key no longer works, in seconds since the epoch.
    expires: Option<i64>,
    /// The time of the last use, in seconds since the epoch.
    last_used: Option<i64>,
    in_flight: usize,
    requests: Gauge,
    tokens: Gauge,
    /// The cost of the key's calls so far.
    spent_micro: Option<u64>,
    spending_limit_micro: Option<u64>,
    budgets: Vec<BudgetState>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum KeyState {
    Active,
    Disabled,
    Expired,
    AccountDisabled,
}

/// The usage in the last minute, and the limit; absent if there is none.
#[derive(Clone, Copy, Debug, Serialize)]
struct Gauge {
    used: u64,
    limit: Option<u32>,
}

/// One account.
#[derive(Debug, Serialize)]
pub(super) struct AccountRow {
    id: String,
    /// The wallet; absent if the account has none.
    #[serde(flatten)]
    wallet: Option<Wallet>,
    #[serde(flatten)]
    report: UsageReport,
    budgets: Vec<BudgetState>,
    /// The time for which the balance lasts at the rate of the last days, in seconds; absent without a wallet, and if
    /// nothing was spent.
    lasts: Option<u64>,
}

/// The keys and accounts that the store is to be asked about.
#[derive(Clone, Debug, Default)]
pub struct LedgerQuery {
    keys: Vec<String>,
    accounts: BTreeSet<String>,
    /// The instance that owns the declared objects; empty if nothing is declared.
    instance: String,
}

/// The facts that the store knows of these keys and accounts.
#[derive(Debug)]
pub struct LedgerFigures {
    spent: HashMap<String, Amount>,
    budgets: HashMap<String, Vec<BudgetState>>,
    accounts: Vec<AccountRow>,
    pub(super) declared: DeclaredObjects,
    pub(super) changes: Vec<ChangeRow>,
}

/// The books, and the reports that were read from them lately.
#[derive(Debug)]
pub(super) struct LedgerCache {
    books: Books,
    operations: Operations,
    reports: HashMap<String, (Instant, UsageReport)>,
}

impl KeyList {
    pub(super) fn new(sources: &Sources<'_>, query: &Query) -> Self {
        let (mut keys, now) = (sources.key_table.keys(), jiff::Timestamp::now().as_second());
        let total = keys.len();
        let wanted = query.keys.to_lowercase();
        let matches = |text: &str| text.to_lowercase().contains(&wanted);
        keys.retain(|key| matches(&key.id) || matches(&key.name) || matches(&key.account));
        let matching = keys.len();
        let shown = sorted(keys, query.sort, sources).into_iter().take(MAX_KEY_COUNT);
        let shown = shown.map(|KeyActivity { key, used, calls }| {
            let rights = &key.rights;
            KeyRow {
                id: key.id.clone(),
                name: key.name.clone(),
                account: key.account.clone(),
                state: KeyState::of(&key, now),
                hint: key.secret.hint.clone(),
                expires: key.expires,
                last_used: last_use(&key),
                in_flight: calls,
                requests: Gauge { used: used.requests, limit: rights.rate.rpm },
                tokens: Gauge { used: used.tokens, limit: rights.rate.tpm },
                spent_micro: None,
                spending_limit_micro: rights.spending_limit.map(Amount::micro_down),
                budgets: Vec::new(),
            }
        });
        Self { total, matching, shown: shown.collect() }
    }

    /// Returns the keys and accounts that the store is to be asked about, and the instance whose declared objects are
    /// wanted.
    pub(super) fn shown(&self, instance: &str) -> LedgerQuery {
        LedgerQuery {
            keys: self.shown.iter().map(|key| key.id.clone()).collect(),
            accounts: self.shown.iter().map(|key| key.account.clone()).collect(),
            instance: instance.to_owned(),
        }
    }

    /// Adds the facts that the store knows; returns the accounts.
    pub(super) fn complete(&mut self, mut figures: LedgerFigures) -> Vec<AccountRow> {
        for key in &mut self.shown {
            key.spent_micro = figures.spent.get(&key.id).map(|spent| spent.micro_up());
            key.budgets = figures.budgets.remove(&key.id).unwrap_or_default();
        }
        figures.accounts
    }
}

impl KeyState {
    fn of(key: &Key, now: i64) -> Self {
        match (key.status, key.account_status) {
            (Status::Disabled, _) => Self::Disabled,
            _ if key.expires.is_some_and(|time| time <= now) => Self::Expired,
            (_, Status::Disabled) => Self::AccountDisabled,
            _ => Self::Active,
        }
    }
}

/// Returns the time of the last use of a key's newest secret, in seconds since the epoch.
fn last_use(key: &Key) -> Option<i64> {
    let minute = key.secret.last_used.load(Ordering::Relaxed);
    (minute > 0).then(|| i64::from(minute) * SECONDS_PER_MINUTE)
}

/// A key and its current usage.
struct KeyActivity {
    key: Grant,
    used: MinuteUsage,
    calls: usize,
}

/// KeyList in their order.
fn sorted(keys: Vec<Grant>, sort: Sort, sources: &Sources<'_>) -> Vec<KeyActivity> {
    let busy = |key: Grant| {
        let (used, calls) = (sources.limiter.used(&key.id), sources.load.of_key(&key.id).calls);
        KeyActivity { key, used, calls }
    };
    let mut keys: Vec<_> = keys.into_iter().map(busy).collect();
    keys.sort_by(|a, b| {
        let first = match sort {
            Sort::Requests => b.used.requests.cmp(&a.used.requests),
            Sort::Tokens => b.used.tokens.cmp(&a.used.tokens),
            Sort::InFlight => b.calls.cmp(&a.calls),
            Sort::Name => a.key.name.to_lowercase().cmp(&b.key.name.to_lowercase()),
            Sort::Account => a.key.account.cmp(&b.key.account),
        };
        // KeyList that are equal otherwise must not change places from one look to the next.
        first.then_with(|| a.key.created.cmp(&b.key.created)).then_with(|| a.key.id.cmp(&b.key.id))
    });
    keys
}

impl LedgerCache {
    pub(super) fn new(books: Books, operations: Operations) -> Self {
        Self { books, operations, reports: HashMap::new() }
    }

    pub(super) fn figures(&mut self, shown: &LedgerQuery, now: Instant) -> Option<LedgerFigures> {
        let figures = self.read(shown, now);
        figures.map_err(|error| UNREAD.write(log::Level::Warn, format_args!("console: {error}"))).ok()
    }

    fn read(&mut self, shown: &LedgerQuery, now: Instant) -> OperationResult<LedgerFigures> {
        let (mut spent, mut budgets) = (HashMap::new(), HashMap::new());
        for key in &shown.keys {
            spent.insert(key.clone(), self.books.spent(key)?);
            budgets.insert(key.clone(), self.books.budgets_if_any((BudgetOwner::Key, key))?);
        }
        self.reports.retain(|_, (read, _)| now.duration_since(*read) < REPORT_CACHE_TIME);
        let accounts =
            shown.accounts.iter().map(|id| self.account(id, now)).collect::<OperationResult<_>>()?;
        let declared = match shown.instance.as_str() {
            "" => DeclaredObjects::default(),
            instance => self.operations.declared_objects(instance)?,
        };
        let changes = changes::latest(&self.operations)?;
        Ok(LedgerFigures { spent, budgets, accounts, declared, changes })
    }

    fn account(&mut self, id: &str, now: Instant) -> OperationResult<AccountRow> {
        let wallet = self.books.wallet(id)?;
        let report = match self.reports.get(id) {
            Some((_, report)) => *report,
            None => self.books.report(id, None)?,
        };
        self.reports.entry(id.to_owned()).or_insert((now, report));
        let lasts = wallet.map(|wallet| self.books.lasts(id, wallet.balance)).transpose()?.flatten();
        let budgets = self.books.budgets_if_any((BudgetOwner::Account, id))?;
        Ok(AccountRow { id: id.to_owned(), wallet, report, budgets, lasts })
    }
}

/// KeyList that are shown at once; others are found by a search.
const MAX_KEY_COUNT: usize = 100;

const SECONDS_PER_MINUTE: i64 = 60;

/// The time for which a report is reused. A chosen value: a report adds up a row for each key and day of the
/// month.
const REPORT_CACHE_TIME: Duration = Duration::from_secs(5);

/// The line about figures that cannot be read from the store.
static UNREAD: RepeatedLine = RepeatedLine::new();
