//! `crossmodel account`, `crossmodel usage` and `crossmodel ledger`.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;

use crossmodel::auth::{Account, Status, Store, random_id};
use crossmodel::meter::{
    AuditStep, Books, NewTransaction, Tally, TransactionKind, UsageReport, Wallet, WalletTransaction,
};
use crossmodel::money::Amount;

use super::CommandError;
use super::keys::One;
use super::progress::ProgressLine;
use super::table::{OutputFormat, print, table};

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Makes an account. It gets a wallet with its first top-up.
    #[command(after_help = "Examples:\n  crossmodel account create team")]
    Create(One),
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
    TopUp(Payment),
    /// Takes dollars out of an account's balance that no call holds.
    #[command(after_help = "Examples:\n  crossmodel account refund team 2.50 --reference credit-note-3")]
    Refund(Payment),
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
}

#[derive(Debug, Args)]
pub(super) struct Payment {
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

#[derive(Debug, Args)]
pub(super) struct UsageArguments {
    /// The account.
    #[arg(long, default_value = super::keys::DEFAULT_ACCOUNT)]
    account: String,
    /// The id of one of its keys. Default: all keys of the account together.
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    format: OutputFormat,
}

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Checks that the ledger adds up. Fails if it does not.
    #[command(
        after_help = "Examples:\n  crossmodel ledger audit\n  crossmodel ledger audit --json --data /var/lib/crossmodel"
    )]
    Audit(OutputFormat),
}

/// An account and its wallet, as JSON.
#[derive(Serialize)]
struct AccountOutput {
    #[serde(flatten)]
    account: Account,
    wallet: Option<Wallet>,
}

impl AccountCommand {
    pub(super) fn run(&self, data: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
        let (store, books) = (Store::open(data)?, Books::open(data)?);
        match self {
            Self::List(format) => {
                let accounts = store.accounts()?.into_iter().map(|account| shown(account, &books));
                format.list(&accounts.collect::<Result<Vec<_>, _>>()?, HEADINGS, row, out)
            }
            Self::Show(one) => show(one, &store, &books, out),
            Self::TopUp(payment) => payment.run(TransactionKind::TopUp, &store, books, out),
            Self::Refund(payment) => payment.run(TransactionKind::Refund, &store, books, out),
            Self::Transactions(TransactionsArguments { one, limit }) => {
                store.account(&one.id)?;
                one.format.list(
                    &books.transactions(&one.id, *limit)?,
                    TRANSACTION_HEADINGS,
                    transaction_row,
                    out,
                )
            }
            Self::Create(one) => {
                store.create_account(&one.id)?;
                one.confirm("created", out)
            }
            Self::Disable(one) => {
                store.set_account_status(&one.id, Status::Disabled)?;
                one.confirm("disabled", out)
            }
            Self::Enable(one) => {
                store.set_account_status(&one.id, Status::Active)?;
                one.confirm("enabled", out)
            }
        }
    }
}

impl Payment {
    fn run(
        &self,
        kind: TransactionKind,
        store: &Store,
        mut books: Books,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let reference = self.reference.clone().unwrap_or_else(|| random_id("ref_"));
        if self.amount == Amount::ZERO {
            return Err(CommandError::Usage("the amount must be more than nothing".to_owned()));
        }
        let had_wallet = books.wallet(&self.one.id)?.is_some();
        let is_new = books.transact(&NewTransaction {
            account: &self.one.id,
            kind,
            amount: self.amount,
            reference: &reference,
            reason: self.reason.as_deref(),
            actor: None,
        })?;
        if !is_new && !self.one.format.json {
            writeln!(out, "{} {reference} had been made already", kind.words())?;
        }
        if !had_wallet && !self.one.format.json {
            writeln!(out, "{} has a wallet now, which pays for its calls from now on", self.one.id)?;
        }
        show(&self.one, store, &books, out)
    }
}

impl UsageArguments {
    pub(super) fn run(&self, data: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
        Store::open(data)?.account(&self.account)?;
        let report = Books::open(data)?.report(&self.account, self.key.as_deref())?;
        if self.format.json {
            return print(&report, out);
        }
        let UsageReport { daily, weekly, monthly } = report;
        let rows = [("today", daily), ("this week", weekly), ("this month", monthly)];
        let rows: Vec<_> = rows.into_iter().map(|(period, tally)| usage_row(period, &tally)).collect();
        table(&["UTC", "COST USD", "PROMPT", "COMPLETION", "REQUESTS", "SUCCESSES"], &rows, out)
    }
}

impl LedgerCommand {
    pub(super) fn run(&self, data: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
        let Self::Audit(format) = self;
        let progress = ProgressLine::new();
        let audit = Books::open(data)?.audit_with(|AuditStep { rule, rules, calls, .. }| {
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

fn show(one: &One, store: &Store, books: &Books, out: &mut dyn Write) -> Result<(), CommandError> {
    let shown = shown(store.account(&one.id)?, books)?;
    if one.format.json { print(&shown, out) } else { table(HEADINGS, &[row(&shown)], out) }
}

fn shown(account: Account, books: &Books) -> Result<AccountOutput, CommandError> {
    let wallet = books.wallet(&account.id)?;
    Ok(AccountOutput { account, wallet })
}

fn row(shown: &AccountOutput) -> Vec<String> {
    let amount = |part: fn(&Wallet) -> Amount| {
        shown.wallet.as_ref().map_or_else(|| "no wallet".to_owned(), |wallet| part(wallet).to_string())
    };
    vec![
        shown.account.id.clone(),
        shown.account.status.to_string(),
        amount(|wallet| wallet.balance),
        amount(|wallet| wallet.held),
    ]
}

fn usage_row(period: &str, tally: &Tally) -> Vec<String> {
    let Tally { cost, prompt, completion, requests, successes } = tally;
    let counts = [prompt, completion, requests, successes].map(ToString::to_string);
    [period.to_owned(), cost.to_string()].into_iter().chain(counts).collect()
}

fn transaction_row(transaction: &WalletTransaction) -> Vec<String> {
    let WalletTransaction { kind, amount, reference, reason, time, .. } = transaction;
    let reason = reason.clone().unwrap_or_default();
    vec![time.to_string(), kind.words().to_owned(), amount.to_string(), reference.clone(), reason]
}

const TRANSACTION_HEADINGS: &[&str] = &["TIME", "KIND", "AMOUNT USD", "REFERENCE", "REASON"];

const HEADINGS: &[&str] = &["ACCOUNT", "STATUS", "BALANCE USD", "HELD USD"];
