//! The limits of money in the store: what the wallet and the hard budgets of a call have left.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::auth::{BudgetOwner, Period};
use crate::money::Amount;

use super::invariant::{Invariant, violated};
use super::types::{BudgetWindow, HoldRefusal, LimitSet, MoneyLimit, Shortage};

/// The limits of one balance: the budgets of the key, those of its account, and the wallet.
#[derive(Clone, Debug, Default)]
pub(super) struct Funds(Vec<LimitState>);

/// One limit, and what is left of it.
#[derive(Clone, Copy, Debug)]
struct LimitState {
    limit: MoneyLimit,
    total: Amount,
    /// The part that is not spent: nothing if the limit was lowered below that.
    left: Amount,
    /// The part that can be leased.
    free: Amount,
}

impl Funds {
    /// Reads the limits, or returns `None` if the books contradict themselves.
    pub(super) fn read(connection: &Connection, limits: &LimitSet) -> rusqlite::Result<Option<Self>> {
        let mut all = Vec::new();
        for window in &limits.windows {
            all.extend(budget(connection, *window)?);
        }
        if limits.has_wallet {
            let Some(wallet) = wallet(connection, &limits.account)? else { return Ok(None) };
            all.push(wallet);
        }
        Ok(Some(Self(all)))
    }

    /// Returns what can be leased from all limits.
    pub(super) fn free(&self) -> Amount {
        self.0.iter().fold(Amount::MAX, |least, state| least.min(state.free))
    }

    /// Returns the amount to lend: what is wanted, or all that there is if that is enough for the least; `None` if it is
    /// not.
    pub(super) fn affordable(&self, wanted: Amount, least: Amount) -> Option<Amount> {
        let free = self.free();
        (free >= least).then_some(wanted.min(free))
    }

    /// Returns the refusal of a call that needs at least so much; `None` if there is as much.
    pub(super) fn refusal(&self, needs: Amount) -> Option<HoldRefusal> {
        let tightest = |part: fn(&LimitState) -> Amount| {
            let short = self.0.iter().filter(|state| part(state) < needs);
            short.min_by_key(|state| part(state)).map(|state| state.shortage(needs))
        };
        match (tightest(|state| state.left), tightest(|state| state.free)) {
            (Some(shortage), _) => Some(HoldRefusal::Exceeded(shortage)),
            (None, free) => free.map(HoldRefusal::InFlight),
        }
    }
}

#[cfg(test)]
impl Funds {
    /// Returns the only limit of who has a wallet with this balance, of which so much is free.
    pub(super) fn of_wallet(balance: Amount, free: Amount) -> Self {
        Self(vec![LimitState { limit: MoneyLimit::Wallet, total: balance, left: balance, free }])
    }
}

impl LimitState {
    fn shortage(&self, needs: Amount) -> Shortage {
        let Self { limit, total, left, free } = *self;
        Shortage { limit, total, left, free, needs, output: None }
    }
}

/// Reads the wallet of an account; `None` if it has none, or has leased more than it has.
fn wallet(connection: &Connection, account: &str) -> rusqlite::Result<Option<LimitState>> {
    let sql = "SELECT balance, leased FROM wallets WHERE account = ?1";
    let read = |row: &Row<'_>| Ok((row.get::<_, Amount>(0)?, row.get::<_, Amount>(1)?));
    let Some((balance, leased)) = connection.prepare_cached(sql)?.query_row([account], read).optional()?
    else {
        violated(Invariant::MissingRow, format_args!("the wallet of '{account}' is gone"));
        return Ok(None);
    };
    let Some(free) = balance.checked_sub(leased) else {
        violated(Invariant::Overleased, format_args!("{leased} USD are leased of {balance} USD"));
        return Ok(None);
    };
    Ok(Some(LimitState { limit: MoneyLimit::Wallet, total: balance, left: balance, free }))
}

/// Reads a hard budget; `None` if the budget is gone, or only gives alerts.
fn budget(connection: &Connection, window: BudgetWindow) -> rusqlite::Result<Option<LimitState>> {
    let sql = "SELECT b.kind, b.period, b.amount, COALESCE(w.spent, 0), COALESCE(w.leased, 0)
        FROM budgets b LEFT JOIN budget_windows w ON w.budget = b.id AND w.start_day = ?2
        WHERE b.id = ?1 AND b.hard";
    let read = |row: &Row<'_>| {
        let (kind, period): (String, String) = (row.get(0)?, row.get(1)?);
        let (total, spent, leased): (Amount, Amount, Amount) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let owner = if kind == BudgetOwner::Key.name() { BudgetOwner::Key } else { BudgetOwner::Account };
        let period = period.parse().unwrap_or(Period::Total);
        let left = total.checked_sub(spent).unwrap_or_default();
        let free = left.checked_sub(leased).unwrap_or_default();
        let limit = MoneyLimit::Budget(owner, period, period.end(window.start));
        Ok(LimitState { limit, total, left, free })
    };
    connection.prepare_cached(sql)?.query_row([window.budget, window.start], read).optional()
}
