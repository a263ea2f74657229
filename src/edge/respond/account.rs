//! The endpoints for a client's own account: balance and usage.

use bytes::Bytes;
use serde::Serialize;

use crate::auth::Grant;
use crate::edge::respond::answer::Local;
use crate::failure::{Failure, Kind, Result};
use crate::meter::{Ledger, UsageReport, Wallet};

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
