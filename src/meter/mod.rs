//! Money: the most that calls may cost, their cost, and the accounts that pay.
//!
//! A call is *held*: the most that it can cost is set aside, on the disk, before anything goes upstream. Then it
//! is *settled* at what it has cost, or *released*; either is written to the journal before the client is
//! told the end of the answer. What is held comes from the balance that the process has *leased* for the key. [`Bill`]
//! is one call's way through this, [`Ledger`] the books in which all are kept, [`Books`] the same for reading, topping
//! up and auditing.

mod alert;
mod audit;
mod batch;
#[cfg(test)]
mod beyond_tests;
mod bill;
mod books;
#[cfg(test)]
mod budget_tests;
mod budgets;
#[cfg(test)]
mod fake_vault;
mod figures;
mod funds;
mod group_commit;
mod invariant;
#[cfg(test)]
mod invariant_tests;
mod journal;
mod lease_validity;
mod leased_balance;
mod ledger;
mod limit_set;
mod posting;
mod price;
mod prune;
mod recover;
mod report;
mod state;
mod tag_usage;
mod tags;
#[cfg(test)]
mod tests;
mod transactions;
mod types;
mod usage;
mod vault;
#[cfg(test)]
mod vault_tests;
mod writer;

pub use alert::{Alert, BalanceAlert, BudgetAlert, UsdText};
pub use audit::{Audit, AuditFinding, AuditStep};
pub use bill::{Bill, Charge, Expected};
pub use books::{Books, Wallet};
pub use budgets::{
    BudgetState, DEFAULT_ALERT, NewBudget, budgets, check_budgets, set_budgets, set_spending_limit,
};
pub use figures::{BudgetFigures, MoneyFigures, WalletFigures};
pub(crate) use invariant::violated;
pub use invariant::{Invariant, violations};
pub use ledger::Ledger;
pub use price::{Extras, Prices, RateSettings, TierSettings, TokenPrices, Unpriced};
pub use prune::{PrunePlace, prune};
pub use report::{Tally, UsageReport};
pub use tag_usage::MAX_TAG_VALUES;
pub use tags::{TagQuery, TagRow, usage_by_tag};
pub use transactions::{
    NewTransaction, TransactionKind, WalletTransaction, find_transaction, transact, transactions,
};
pub use types::{HeldMoney, HoldRefusal, HoldRequest, MoneyLimit, Shortage};
pub use usage::{
    MAX_ROWS, ServedBy, UsageDimension, UsagePeriod, UsageQuery, UsageRetention, UsageRow, UsageSums, usage,
};
