//! `crossmodel budget`.

use std::io::Write;

use clap::{Args, Subcommand};

use crossmodel::admin::client::{Client, object_path};
use crossmodel::admin::model::{Budget, Budgets, NewBudgets};
use crossmodel::meter::NewBudget;

use super::failure::CommandError;
use super::table::OutputFormat;

#[derive(Debug, Subcommand)]
pub(super) enum BudgetCommand {
    /// Replaces the budgets of a key or an account.
    #[command(
        after_help = "Examples:\n  crossmodel budget set --key key_0123 month=200\n  crossmodel budget set --account team month=500 day=50,soft,alert=50/80/100\n  crossmodel budget set --account team"
    )]
    Set(BudgetsToSet),
    /// Lists the budgets of a key or an account, and what is spent of them.
    #[command(
        after_help = "Examples:\n  crossmodel budget list --account team\n  crossmodel budget list --key key_0123 --json"
    )]
    List(OwnerArguments),
}

#[derive(Debug, Args)]
pub(super) struct BudgetsToSet {
    /// A budget, as PERIOD=USD. The period is `day`, `week`, `month` or `total`. `,soft` makes it give alerts only, and
    /// `,alert=50/80` sets the percentages at which it does. Without any, the owner has no budget.
    #[arg(value_name = "BUDGET")]
    budgets: Vec<NewBudget>,
    #[command(flatten)]
    owner: OwnerArguments,
}

#[derive(Debug, Args)]
pub(super) struct OwnerArguments {
    /// The id of a key.
    #[arg(long, conflicts_with = "account", required_unless_present = "account")]
    key: Option<String>,
    /// The account.
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    format: OutputFormat,
}

impl BudgetCommand {
    /// Whether the command changes nothing.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::List(_))
    }

    pub(super) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        let (owner, budgets): (_, Budgets) = match self {
            Self::Set(BudgetsToSet { budgets, owner }) => {
                let new = NewBudgets { budgets: budgets.iter().map(Into::into).collect() };
                (owner, client.send("PUT", &owner.path(), &new)?)
            }
            Self::List(owner) => (owner, client.get(&owner.path())?),
        };
        owner.format.list(&budgets.data, HEADINGS, row, out)
    }
}

impl OwnerArguments {
    /// Returns the path of the owner's budgets.
    fn path(&self) -> String {
        let owner = match &self.key {
            Some(key) => object_path("/keys", key),
            None => object_path("/accounts", self.account.as_deref().unwrap_or_default()),
        };
        format!("{owner}/budgets")
    }
}

fn row(budget: &Budget) -> Vec<String> {
    let Budget { period, limit_usd, hard, alert_at, spent_usd, held_usd, resets_at, .. } = budget;
    let alerts: Vec<_> = alert_at.iter().map(ToString::to_string).collect();
    vec![
        period.to_string(),
        limit_usd.0.to_string(),
        if *hard { "hard" } else { "soft" }.to_owned(),
        spent_usd.0.to_string(),
        held_usd.0.to_string(),
        alerts.join("/"),
        resets_at.map_or_else(|| "never".to_owned(), |time| time.to_string()),
    ]
}

const HEADINGS: &[&str] = &["PERIOD", "LIMIT USD", "KIND", "SPENT USD", "HELD USD", "ALERT AT %", "RESETS"];
