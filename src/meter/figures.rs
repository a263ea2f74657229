//! The figures of wallets and budgets, for metrics.

use rusqlite::{Connection, Row, params};

use crate::auth::Period;
use crate::money::Amount;

use super::report;

/// The wallets that have spent most, and the budgets of which most is spent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoneyFigures {
    /// The wallets.
    pub wallets: Vec<WalletFigures>,
    /// The budgets, in their current windows.
    pub budgets: Vec<BudgetFigures>,
}

/// The figures of one wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletFigures {
    /// The account.
    pub account: String,
    /// The balance.
    pub balance: Amount,
    /// The part of it that calls in flight hold.
    pub held: Amount,
    /// The balance below which the operator wants to know; absent: none.
    pub low: Option<Amount>,
    /// The cost of the account's calls in the last seven days, today included.
    pub week: Amount,
}

/// The figures of one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetFigures {
    /// The id of the key or the account.
    pub owner: String,
    /// The length of its windows.
    pub period: Period,
    /// Whether it refuses calls.
    pub is_hard: bool,
    /// The limit.
    pub limit: Amount,
    /// The part of it that is spent in the current window.
    pub spent: Amount,
}

impl MoneyFigures {
    /// Reads the figures at a time in seconds since the epoch.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn read(connection: &Connection, now: i64) -> rusqlite::Result<Self> {
        Ok(Self { wallets: wallets(connection, now)?, budgets: budgets(connection, now)? })
    }
}

fn wallets(connection: &Connection, now: i64) -> rusqlite::Result<Vec<WalletFigures>> {
    let mut query = connection.prepare_cached(
        "SELECT w.account, w.balance, (SELECT COALESCE(SUM(h.amount), 0) FROM holds h
                JOIN balances b ON b.balance = h.balance WHERE h.account = w.account AND b.wallet) AS held, a.low_balance,
            (SELECT COALESCE(SUM(u.cost), 0) FROM usage u WHERE u.account = w.account AND u.day > ?1) AS week
         FROM wallets w JOIN accounts a ON a.id = w.account WHERE a.deleted IS NULL
         ORDER BY week DESC, w.account LIMIT ?2",
    )?;
    let figures = |row: &Row<'_>| {
        let (account, balance, held) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(WalletFigures { account, balance, held, low: row.get(3)?, week: row.get(4)? })
    };
    let first = report::day(now) - DAYS_PER_WEEK;
    query.query_map(params![first, MAX_ACCOUNT_SERIES], figures)?.collect()
}

fn budgets(connection: &Connection, now: i64) -> rusqlite::Result<Vec<BudgetFigures>> {
    let mut query = connection.prepare_cached(
        "SELECT b.owner, b.period, b.hard, b.amount, COALESCE(w.spent, 0) AS spent
         FROM budgets b LEFT JOIN budget_windows w ON w.budget = b.id AND w.start_day =
            CASE b.period WHEN 'day' THEN ?1 WHEN 'week' THEN ?2 WHEN 'month' THEN ?3 ELSE 0 END
         ORDER BY 1.0 * COALESCE(w.spent, 0) / MAX(b.amount, 1) DESC, b.id LIMIT ?4",
    )?;
    let figures = |row: &Row<'_>| {
        let period: String = row.get(1)?;
        let period = period.parse().unwrap_or(Period::Total);
        Ok(BudgetFigures {
            owner: row.get(0)?,
            period,
            is_hard: row.get(2)?,
            limit: row.get(3)?,
            spent: row.get(4)?,
        })
    };
    let [day, week, month] = [Period::Day, Period::Week, Period::Month].map(|period| period.start(now));
    query.query_map([day, week, month, MAX_BUDGET_SERIES], figures)?.collect()
}

/// The most wallets with figures. A chosen value, so that metrics stay readable.
const MAX_ACCOUNT_SERIES: i64 = 100;

/// The most budgets with figures. A chosen value as well.
const MAX_BUDGET_SERIES: i64 = 200;

const DAYS_PER_WEEK: i64 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{BudgetOwner, Store};
    use crate::meter::{Books, NewBudget};

    #[test]
    fn figures_are_those_of_the_current_windows() {
        let folder = tempfile::tempdir().unwrap();
        let mut books = Books::open(folder.path()).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let connection = crate::store::open(folder.path()).unwrap();
        store.create_account("a").unwrap();
        store.create_account("b").unwrap();
        let (cents, dollar): (Amount, Amount) = ("0.25".parse().unwrap(), "1".parse().unwrap());
        books.top_up("b", dollar, "one").unwrap();
        let now = crate::store::now();
        let today = report::day(now);
        for (day, cost) in [(today, cents), (today - 6, cents), (today - 7, dollar)] {
            let sql = "INSERT INTO usage VALUES ('b', ?1, 'k', ?2, 0, 0, 1, 1, 0)";
            connection.execute(sql, params![day, cost]).unwrap();
        }
        store.change("accounts", "b", "low_balance", cents);
        let budget = |text: &str| text.parse::<NewBudget>().unwrap();
        books.set_budgets((BudgetOwner::Account, "b"), &[budget("day=1"), budget("month=200,soft")]).unwrap();
        let figures = MoneyFigures::read(&connection, now).unwrap();
        let (low, week) = (Some(cents), "0.5".parse().unwrap());
        let wallet =
            WalletFigures { account: "b".to_owned(), balance: dollar, held: Amount::ZERO, low, week };
        assert_eq!(figures.wallets, [wallet]);
        let [daily, monthly] = &figures.budgets[..] else { panic!("{:?}", figures.budgets) };
        assert_eq!(
            (daily.period, daily.is_hard, daily.limit, daily.spent),
            (Period::Day, true, dollar, cents)
        );
        assert_eq!((monthly.period, monthly.is_hard), (Period::Month, false));
        let later = MoneyFigures::read(&connection, now + 40 * 86_400).unwrap();
        assert!(later.budgets.iter().all(|budget| budget.spent == Amount::ZERO), "{:?}", later.budgets);
    }
}
