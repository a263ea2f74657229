//! The metrics of wallets and budgets.

use std::collections::HashSet;

use parking_lot::Mutex;
use prometheus::GaugeVec;

use crate::auth::Period;
use crate::meter::{BudgetFigures, MoneyFigures, WalletFigures};
use crate::money::Amount;

use super::maker::Maker;

/// The state of wallets and budgets when the store was last read.
#[derive(Debug)]
pub struct MoneyMetrics {
    balance: AmountSeries,
    held: AmountSeries,
    low: AmountSeries,
    week: AmountSeries,
    limit: AmountSeries,
    used: AmountSeries,
}

/// A gauge whose series come and go.
#[derive(Debug)]
struct AmountSeries {
    gauge: GaugeVec,
    /// The labels of the series that there are.
    shown: Mutex<HashSet<Vec<String>>>,
}

impl MoneyMetrics {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        let account = |name, help| AmountSeries::new(make, name, help, &["account"]);
        let budget = |name, help| AmountSeries::new(make, name, help, &["owner", "period", "hard"]);
        Ok(Self {
            balance: account("crossmodel_account_balance_usd", "Balance of the wallet of an account.")?,
            held: account(
                "crossmodel_account_held_usd",
                "Part of the balance of an account that calls in flight hold.",
            )?,
            low: account(
                "crossmodel_account_low_balance_usd",
                "Balance below which the operator of an account wants to know.",
            )?,
            week: account(
                "crossmodel_account_week_spend_usd",
                "Cost of the calls of an account with a wallet in the last seven days.",
            )?,
            limit: budget("crossmodel_budget_limit_usd", "Limit of a budget.")?,
            used: budget(
                "crossmodel_budget_used_ratio",
                "Part of a budget that is spent in its current window.",
            )?,
        })
    }

    /// Sets the figures. Series that are not among them are removed.
    pub fn set(&self, MoneyFigures { wallets, budgets }: &MoneyFigures) {
        let accounts = |value: fn(&WalletFigures) -> Option<Amount>| {
            let with =
                move |wallet: &WalletFigures| Some((vec![wallet.account.clone()], dollars(value(wallet)?)));
            wallets.iter().filter_map(with).collect::<Vec<_>>()
        };
        self.balance.replace(accounts(|wallet| Some(wallet.balance)));
        self.held.replace(accounts(|wallet| Some(wallet.held)));
        self.low.replace(accounts(|wallet| wallet.low));
        self.week.replace(accounts(|wallet| Some(wallet.week)));
        self.limit.replace(budgets.iter().map(|budget| (labels(budget), dollars(budget.limit))).collect());
        self.used.replace(budgets.iter().map(|budget| (labels(budget), used(budget))).collect());
    }
}

impl AmountSeries {
    fn new(make: &Maker<'_>, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        Ok(Self { gauge: make.amounts(name, help, labels)?, shown: Mutex::default() })
    }

    /// Sets these values, and removes all other series.
    fn replace(&self, values: Vec<(Vec<String>, f64)>) {
        let mut shown = self.shown.lock();
        for (labels, value) in &values {
            self.gauge.with_label_values(labels).set(*value);
        }
        let now: HashSet<_> = values.into_iter().map(|(labels, _)| labels).collect();
        for gone in shown.difference(&now) {
            // One that is not there need not be removed.
            let _ = self.gauge.remove_label_values(gone);
        }
        *shown = now;
    }
}

fn labels(BudgetFigures { owner, period, is_hard, .. }: &BudgetFigures) -> Vec<String> {
    vec![owner.clone(), Period::name(*period).to_owned(), is_hard.to_string()]
}

/// Returns the part of a budget that is spent; all of one that has no limit but nothing.
fn used(BudgetFigures { limit, spent, .. }: &BudgetFigures) -> f64 {
    if *limit == Amount::ZERO { 1.0 } else { dollars(*spent) / dollars(*limit) }
}

/// Returns an amount in dollars. Metrics are floating-point numbers, and nothing is paid by them.
fn dollars(amount: Amount) -> f64 {
    amount.nano() as f64 / NANO_PER_DOLLAR
}

const NANO_PER_DOLLAR: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Metrics;

    #[test]
    fn series_come_and_go_with_their_owners() {
        let metrics = Metrics::new().unwrap();
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        let wallet = |account: &str, low| WalletFigures {
            account: account.to_owned(),
            balance: amount("6.2"),
            held: amount("0.4"),
            low,
            week: amount("1.5"),
        };
        let budget = BudgetFigures {
            owner: "key_1".to_owned(),
            period: Period::Month,
            is_hard: true,
            limit: amount("200"),
            spent: amount("50"),
        };
        let shown = || {
            let text = String::from_utf8(metrics.render()).unwrap();
            let mine = |line: &&str| {
                line.starts_with("crossmodel_account_") || line.starts_with("crossmodel_budget_")
            };
            text.lines().filter(mine).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(shown().is_empty());
        let wallets = vec![wallet("a", Some(amount("5"))), wallet("b", None)];
        metrics.money.set(&MoneyFigures { wallets, budgets: vec![budget.clone()] });
        let expected = [
            "crossmodel_account_balance_usd{account=\"a\"} 6.2",
            "crossmodel_account_balance_usd{account=\"b\"} 6.2",
            "crossmodel_account_held_usd{account=\"a\"} 0.4",
            "crossmodel_account_held_usd{account=\"b\"} 0.4",
            "crossmodel_account_low_balance_usd{account=\"a\"} 5",
            "crossmodel_account_week_spend_usd{account=\"a\"} 1.5",
            "crossmodel_account_week_spend_usd{account=\"b\"} 1.5",
            "crossmodel_budget_limit_usd{hard=\"true\",owner=\"key_1\",period=\"month\"} 200",
            "crossmodel_budget_used_ratio{hard=\"true\",owner=\"key_1\",period=\"month\"} 0.25",
        ];
        assert_eq!(shown(), expected);
        let none = BudgetFigures { limit: Amount::ZERO, ..budget };
        metrics.money.set(&MoneyFigures { wallets: vec![wallet("b", None)], budgets: vec![none] });
        assert!(shown().iter().all(|line| !line.contains("\"a\"")), "{:?}", shown());
        assert!(shown().contains(
            &"crossmodel_budget_used_ratio{hard=\"true\",owner=\"key_1\",period=\"month\"} 1".to_owned()
        ));
        metrics.money.set(&MoneyFigures::default());
        assert!(shown().is_empty());
    }
}
