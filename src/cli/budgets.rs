//! `crossmodel budget`.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};

use crossmodel::auth::BudgetOwner;
use crossmodel::meter::{Books, BudgetState, NewBudget};

use super::CommandError;
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
    pub(super) fn run(&self, data: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut books = Books::open(data)?;
        let owner = match self {
            Self::Set(set) => {
                books.set_budgets(set.owner.owner(), &set.budgets)?;
                &set.owner
            }
            Self::List(owner) => owner,
        };
        owner.format.list(&books.budgets(owner.owner())?, HEADINGS, row, out)
    }
}

impl OwnerArguments {
    fn owner(&self) -> (BudgetOwner, &str) {
        match &self.key {
            Some(key) => (BudgetOwner::Key, key),
            None => (BudgetOwner::Account, self.account.as_deref().unwrap_or_default()),
        }
    }
}

fn row(budget: &BudgetState) -> Vec<String> {
    let BudgetState { period, limit, is_hard, alert_at, spent, held, resets_at, .. } = budget;
    let alerts: Vec<_> = alert_at.iter().map(ToString::to_string).collect();
    vec![
        period.to_string(),
        limit.to_string(),
        if *is_hard { "hard" } else { "soft" }.to_owned(),
        spent.to_string(),
        held.to_string(),
        alerts.join("/"),
        resets_at.map_or_else(|| "never".to_owned(), |time| time.to_string()),
    ]
}

const HEADINGS: &[&str] = &["PERIOD", "LIMIT USD", "KIND", "SPENT USD", "HELD USD", "ALERT AT %", "RESETS"];
