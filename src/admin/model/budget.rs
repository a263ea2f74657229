//! Budgets of keys and accounts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::error::Mistake;
use crate::auth;
use crate::meter::{self, BudgetState};

use super::body::Checked;
use super::{Moment, Usd};

/// A budget as an operator sets it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBudget {
    /// The length of its windows, in UTC.
    pub period: auth::Period,
    /// The limit of each window.
    pub limit_usd: Usd,
    /// Whether it refuses calls; otherwise it only gives alerts. Default: `true`.
    #[serde(default = "refuses")]
    pub hard: bool,
    /// The percentages of the limit at which it gives an alert. Default: `[80]`.
    #[serde(default = "default_alerts")]
    pub alert_at: Vec<u32>,
}

/// The budgets that a key or an account is to have. The others that it has are removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewBudgets {
    /// The budgets, each of another period or kind.
    pub budgets: Vec<NewBudget>,
}

/// A budget and the state of its current window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// The id.
    pub id: String,
    /// The length of its windows, in UTC.
    pub period: auth::Period,
    /// The limit of each window.
    pub limit_usd: Usd,
    /// Whether it refuses calls; otherwise it only gives alerts.
    pub hard: bool,
    /// The percentages of the limit at which it gives an alert.
    pub alert_at: Vec<u32>,
    /// The part of the limit that is spent.
    pub spent_usd: Usd,
    /// The part of the limit that calls in flight hold.
    pub held_usd: Usd,
    /// The time at which the next window begins; `null` for a budget for all time.
    pub resets_at: Option<Moment>,
}

/// All budgets of a key or an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Budgets {
    /// The budgets.
    pub data: Vec<Budget>,
}

impl From<&meter::NewBudget> for NewBudget {
    fn from(budget: &meter::NewBudget) -> Self {
        let meter::NewBudget { period, limit, is_hard, alert_at } = budget;
        Self { period: *period, limit_usd: Usd(*limit), hard: *is_hard, alert_at: alert_at.clone() }
    }
}

impl From<&NewBudget> for meter::NewBudget {
    fn from(budget: &NewBudget) -> Self {
        let NewBudget { period, limit_usd: Usd(limit), hard, alert_at } = budget;
        Self { period: *period, limit: *limit, is_hard: *hard, alert_at: alert_at.clone() }
    }
}

impl From<&Budget> for NewBudget {
    fn from(budget: &Budget) -> Self {
        let Budget { period, limit_usd, hard, alert_at, .. } = budget;
        Self { period: *period, limit_usd: *limit_usd, hard: *hard, alert_at: alert_at.clone() }
    }
}

impl From<BudgetState> for Budget {
    fn from(state: BudgetState) -> Self {
        Self {
            id: state.id,
            period: state.period,
            limit_usd: Usd(state.limit),
            hard: state.is_hard,
            alert_at: state.alert_at,
            spent_usd: Usd(state.spent),
            held_usd: Usd(state.held),
            resets_at: state.resets_at.map(|time| Moment(time.as_second())),
        }
    }
}

/// The store checks budgets together with those that it has.
impl Checked for NewBudgets {
    fn check(&self, _: &mut Vec<Mistake>) {}
}

fn refuses() -> bool {
    true
}

fn default_alerts() -> Vec<u32> {
    vec![meter::DEFAULT_ALERT]
}
