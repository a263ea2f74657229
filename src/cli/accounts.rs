//! `crossmodel account` and `crossmodel ledger`.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use crossmodel::admin::client::{Client, object_path};
use crossmodel::admin::model::{
    Account, AccountPatch, List, NewAccount, Payment, Transaction, Usd, WalletView,
};
use crossmodel::auth::Status;
use crossmodel::meter::{AuditStep, Books};
use crossmodel::money::Amount;

use super::failure::CommandError;
use super::keys::{Limit, One, model_name, models_of};
use super::progress::ProgressLine;
use super::table::{OutputFormat, print, table};

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Makes an account. It gets a wallet with its first top-up.
    #[command(
        after_help = "Examples:\n  crossmodel account create team\n  crossmodel account create team --name search --rpm 600"
    )]
    Create(ChangeAccount),
    /// Changes the name and the limits of an account, which bind all its keys together.
    #[command(
        after_help = "Examples:\n  crossmodel account set team --max-concurrent 8\n  crossmodel account set team --model 'openai/*' --rpm unlimited"
    )]
    Set(ChangeAccount),
    /// Lists all accounts.
    #[command(after_help = "Examples:\n  crossmodel account list\n  crossmodel account list --json")]
    List(OutputFormat),
    /// Shows one account.
    #[command(after_help = "Examples:\n  crossmodel account show team")]
    Show(One),
    /// Adds dollars to an account's balance.
    #[command(
        after_help = "Examples:\n  crossmodel account top-up team 25\n  crossmodel account top-up team 2.50 --reference invoice-7"
    )]
    TopUp(PaymentArguments),
    /// Takes dollars out of an account's balance that no call holds.
    #[command(after_help = "Examples:\n  crossmodel account refund team 2.50 --reference credit-note-3")]
    Refund(PaymentArguments),
    /// Lists the latest top-ups and refunds of an account.
    #[command(
        after_help = "Examples:\n  crossmodel account transactions team\n  crossmodel account transactions team --limit 1000 --json"
    )]
    Transactions(TransactionsArguments),
    /// Disables an account and all its keys.
    #[command(after_help = "Examples:\n  crossmodel account disable team")]
    Disable(One),
    /// Enables an account again.
    #[command(after_help = "Examples:\n  crossmodel account enable team")]
    Enable(One),
    /// Deletes an account without keys and money.
    #[command(after_help = "Examples:\n  crossmodel account delete team")]
    Delete(One),
}

#[derive(Debug, Args)]
pub(super) struct ChangeAccount {
    #[command(flatten)]
    one: One,
    /// A human-readable name.
    #[arg(long)]
    name: Option<String>,
    /// A model that its keys may call, as `vendor/model` or `vendor/*`; may be repeated. `all`: every model.
    #[arg(long = "model", value_name = "MODEL", value_parser = model_name)]
    models: Vec<String>,
    /// Requests per minute of all its keys together, or `unlimited`.
    #[arg(long, value_name = "N")]
    rpm: Option<Limit<u32>>,
    /// Tokens per minute of all its keys together, or `unlimited`.
    #[arg(long, value_name = "N")]
    tpm: Option<Limit<u32>>,
    /// The most calls of all its keys that are answered at once, or `unlimited`.
    #[arg(long, value_name = "N")]
    max_concurrent: Option<Limit<u32>>,
}

#[derive(Debug, Args)]
pub(super) struct PaymentArguments {
    #[command(flatten)]
    one: One,
    /// The amount in dollars, for example 10 or 2.50.
    #[arg(value_name = "USD")]
    amount: Amount,
    /// Your own id of it, such as an invoice's. What has a known id is not made again. Default: a new id.
    #[arg(long, value_name = "ID")]
    reference: Option<String>,
    /// The reason.
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct TransactionsArguments {
    #[command(flatten)]
    one: One,
    /// The most that are listed.
    #[arg(long, value_name = "N", default_value = "100")]
    limit: u32,
}

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Checks that the ledger adds up. Fails if it does not.
    #[command(
        after_help = "Examples:\n  crossmodel ledger audit\n  crossmodel ledger audit --json --data /var/lib/crossmodel"
    )]
    Audit(OutputFormat),
}

/// The path of accounts.
const ACCOUNTS: &str = "/accounts";

impl AccountCommand {
    /// Whether the command changes nothing.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::List(_) | Self::Show(_) | Self::Transactions(_))
    }

    pub(super) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        match self {
            Self::List(format) => format.list(&client.list(ACCOUNTS, "")?, HEADINGS, row, out),
            Self::Show(one) => show(one, client, out),
            Self::TopUp(payment) => payment.run("top-up", client, out),
            Self::Refund(payment) => payment.run("refund", client, out),
            Self::Transactions(list) => list.run(client, out),
            Self::Create(new) => {
                let _: Account = client.send("POST", ACCOUNTS, &new.account())?;
                new.one.confirm("created", out)
            }
            Self::Set(change) => {
                let path = object_path(ACCOUNTS, &change.one.id);
                let _: Account = client.send("PATCH", &path, &change.patch())?;
                show(&change.one, client, out)
            }
            Self::Disable(one) => set_status(one, client, Status::Disabled, out),
            Self::Enable(one) => set_status(one, client, Status::Active, out),
            Self::Delete(one) => {
                client.delete(&object_path(ACCOUNTS, &one.id))?;
                one.confirm("deleted", out)
            }
        }
    }
}

impl ChangeAccount {
    /// Returns the account to be made.
    fn account(&self) -> NewAccount {
        let limit = |limit: Option<Limit<u32>>| limit.and_then(|Limit(limit)| limit);
        NewAccount {
            id: self.one.id.clone(),
            name: self.name.clone().unwrap_or_default(),
            models: models_of(&self.models).flatten(),
            rpm: limit(self.rpm),
            tpm: limit(self.tpm),
            max_concurrent: limit(self.max_concurrent),
            ..NewAccount::default()
        }
    }

    /// Returns the change. What is not named stays as it is.
    fn patch(&self) -> AccountPatch {
        let limit = |limit: Option<Limit<u32>>| limit.map(|Limit(limit)| limit);
        AccountPatch {
            name: self.name.clone(),
            models: models_of(&self.models),
            rpm: limit(self.rpm),
            tpm: limit(self.tpm),
            max_concurrent: limit(self.max_concurrent),
            ..AccountPatch::default()
        }
    }
}

impl PaymentArguments {
    /// Makes a payment of this kind.
    fn run(&self, kind: &str, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        if self.amount == Amount::ZERO {
            return Err(CommandError::Usage("the amount must be more than nothing".to_owned()));
        }
        let payment = Payment {
            amount_usd: Usd(self.amount),
            reference: self.reference.clone(),
            reason: self.reason.clone(),
        };
        let path = object_path(ACCOUNTS, &self.one.id);
        let before: Account = client.get(&path)?;
        let made: Transaction = client.send("POST", &format!("{path}/{kind}s"), &payment)?;
        if made.repeated && !self.one.format.json {
            writeln!(out, "{kind} {} had been made already", made.reference)?;
        }
        if before.wallet.is_none() && !self.one.format.json {
            writeln!(out, "{} has a wallet now, which pays for its calls from now on", self.one.id)?;
        }
        show(&self.one, client, out)
    }
}

impl TransactionsArguments {
    fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        let path = object_path(ACCOUNTS, &self.one.id);
        let latest: List<Transaction> = client.get(&format!("{path}/transactions?limit={}", self.limit))?;
        self.one.format.list(&latest.data, TRANSACTION_HEADINGS, transaction_row, out)
    }
}

impl LedgerCommand {
    pub(super) fn run(&self, data: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
        let Self::Audit(format) = self;
        let progress = ProgressLine::new();
        let audit = Books::open_to_read(data)?.audit_with(|AuditStep { rule, rules, calls, .. }| {
            let calls = if calls == 0 { String::new() } else { format!(", {calls} calls") };
            progress.show(&format!("audit: rule {rule} of {rules}{calls}"));
        })?;
        drop(progress);
        if format.json {
            print(&audit, out)?;
        } else {
            let counts = [audit.charges, audit.holds, audit.topups, audit.estimated, audit.capped];
            let headings = &["CALLS", "IN FLIGHT", "TOP-UPS", "ESTIMATED", "CAPPED"];
            table(headings, &[counts.iter().map(ToString::to_string).collect()], out)?;
            for finding in &audit.findings {
                writeln!(out, "WRONG: {}: {}", finding.rule, finding.subject)?;
            }
        }
        match audit.findings.len() {
            0 => Ok(()),
            wrong => Err(CommandError::Usage(format!("the books do not add up: {wrong} findings"))),
        }
    }
}

fn set_status(one: &One, client: &Client, status: Status, out: &mut dyn Write) -> Result<(), CommandError> {
    let patch = AccountPatch { status: Some(status), ..AccountPatch::default() };
    let _: Account = client.send("PATCH", &object_path(ACCOUNTS, &one.id), &patch)?;
    one.confirm(if status == Status::Active { "enabled" } else { "disabled" }, out)
}

fn show(one: &One, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
    let account: Account = client.get(&object_path(ACCOUNTS, &one.id))?;
    if one.format.json { print(&account, out) } else { table(HEADINGS, &[row(&account)], out) }
}

fn row(account: &Account) -> Vec<String> {
    let amount = |part: fn(&WalletView) -> Usd| {
        account.wallet.as_ref().map_or_else(|| "no wallet".to_owned(), |wallet| part(wallet).0.to_string())
    };
    vec![
        account.id.clone(),
        account.status.to_string(),
        amount(|wallet| wallet.balance_usd),
        amount(|wallet| wallet.held_usd),
        limits(account),
    ]
}

/// Returns the limits of an account that it has, in a few words.
fn limits(account: &Account) -> String {
    let mut limits = Vec::new();
    limits.extend(account.rpm.map(|rpm| format!("{rpm} rpm")));
    limits.extend(account.tpm.map(|tpm| format!("{tpm} tpm")));
    limits.extend(account.max_concurrent.map(|most| format!("{most} at once")));
    limits.extend(account.models.as_ref().map(|models| models.join("+")));
    limits.join(", ")
}

fn transaction_row(transaction: &Transaction) -> Vec<String> {
    let Transaction { kind, amount_usd, reference, reason, created_at, .. } = transaction;
    let reason = reason.clone().unwrap_or_default();
    vec![created_at.to_string(), kind.replace('_', "-"), amount_usd.0.to_string(), reference.clone(), reason]
}

const TRANSACTION_HEADINGS: &[&str] = &["TIME", "KIND", "AMOUNT USD", "REFERENCE", "REASON"];

const HEADINGS: &[&str] = &["ACCOUNT", "STATUS", "BALANCE USD", "HELD USD", "LIMITS"];
