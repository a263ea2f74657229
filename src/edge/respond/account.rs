//! The endpoints for a client's own account and key: balance, usage, limits and budgets.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::auth::{Aliases, BudgetOwner, Grant, Period};
use crate::edge::respond::answer::Local;
use crate::failure::{Failure, Kind, Result};
use crate::meter::{Books, BudgetState, Ledger, UsageReport, Wallet};
use crate::store::StoreError;

/// The currency of all amounts.
const CURRENCY: &str = "USD";

#[derive(Serialize)]
struct Credits {
    currency: &'static str,
    #[serde(flatten)]
    wallet: Wallet,
}

#[derive(Serialize)]
struct Usage {
    currency: &'static str,
    #[serde(flatten)]
    report: UsageReport,
}

/// A key as its client sees it.
#[derive(Serialize)]
struct OwnKey<'k> {
    object: &'static str,
    id: &'k str,
    name: &'k str,
    account: &'k str,
    models: Option<&'k [String]>,
    aliases: &'k Aliases,
    rpm: Option<u32>,
    tpm: Option<u32>,
    strict: bool,
    expires_at: Option<Timestamp>,
    budgets: Vec<OwnBudget>,
}

/// A budget of a key or of its account, as the client sees it.
#[derive(Serialize)]
struct OwnBudget {
    of: &'static str,
    period: Period,
    hard: bool,
    limit_usd: String,
    spent_usd: String,
    held_usd: String,
    resets_at: Option<Timestamp>,
}

/// Books that one client at a time reads.
#[derive(Clone, Debug)]
pub(in crate::edge) struct SharedBooks(Arc<Mutex<Books>>);

impl SharedBooks {
    /// Opens the books of a data folder.
    ///
    /// # Errors
    /// Fails if the store cannot be opened.
    pub(in crate::edge) fn open(folder: &Path) -> std::result::Result<Self, StoreError> {
        Ok(Self(Arc::new(Mutex::new(Books::open(folder)?))))
    }

    /// Reads the budgets of a key and of its account.
    async fn budgets(&self, grant: &Grant) -> Option<Vec<OwnBudget>> {
        // Others wait here, and not on threads.
        let books = Arc::clone(&self.0).lock_owned().await;
        let owners = [(BudgetOwner::Key, grant.id.clone()), (BudgetOwner::Account, grant.account.clone())];
        let read = spawn_blocking(move || {
            let of = |(owner, id): &(BudgetOwner, String)| {
                let (name, states) = (owner.name(), books.budgets((*owner, id))?);
                Ok(states.into_iter().map(|state| OwnBudget::new(name, state)).collect::<Vec<_>>())
            };
            let all = owners.iter().map(of).collect::<std::result::Result<Vec<_>, StoreError>>()?;
            Ok::<_, StoreError>(all.into_iter().flatten().collect())
        });
        read.await.ok()?.ok()
    }
}

impl OwnBudget {
    fn new(of: &'static str, state: BudgetState) -> Self {
        let BudgetState { period, is_hard, limit, spent, held, resets_at, .. } = state;
        let [limit_usd, spent_usd, held_usd] = [limit, spent, held].map(|amount| amount.to_string());
        Self { of, period, hard: is_hard, limit_usd, spent_usd, held_usd, resets_at }
    }
}

/// Returns the key itself, with its limits and budgets.
///
/// # Errors
/// Returns 500 if the store cannot be read.
pub(in crate::edge) async fn key(ledger: &Ledger, books: &SharedBooks, grant: &Grant) -> Result<Local> {
    let budgets = if grant.budgets.is_empty() {
        Vec::new()
    } else {
        ledger.post().await.map_err(|_| unreadable())?;
        books.budgets(grant).await.ok_or_else(unreadable)?
    };
    let rights = &grant.rights;
    json(&OwnKey {
        object: "key",
        id: &grant.id,
        name: &grant.name,
        account: &grant.account,
        models: rights.models.as_deref(),
        aliases: &rights.aliases,
        rpm: rights.rate.rpm,
        tpm: rights.rate.tpm,
        strict: rights.strict,
        expires_at: grant.expires.and_then(|time| Timestamp::from_second(time).ok()),
        budgets,
    })
}

/// Returns the balance of the account, which is zero if it has no wallet.
///
/// # Errors
/// Returns 500 if the store cannot be read.
pub(in crate::edge) async fn credits(ledger: &Ledger, grant: &Grant) -> Result<Local> {
    let wallet = ledger.wallet(&grant.account).await.map_err(|_| unreadable())?.unwrap_or_default();
    json(&Credits { currency: CURRENCY, wallet })
}

/// Returns the account's usage of this day, this week and this month.
///
/// # Errors
/// Returns 500 if the store cannot be read.
pub(in crate::edge) async fn usage(ledger: &Ledger, grant: &Grant) -> Result<Local> {
    let report = ledger.report(&grant.account).await.map_err(|_| unreadable())?;
    json(&Usage { currency: CURRENCY, report })
}

fn json(answer: &impl Serialize) -> Result<Local> {
    let body = serde_json::to_vec(answer).map_err(|error| unreadable().with_detail(error.to_string()))?;
    Ok(Local::Passing(Bytes::from(body)))
}

fn unreadable() -> Failure {
    Failure::new(Kind::Store, "The account cannot be read at the moment.")
}
