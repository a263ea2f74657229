//! The refusals of calls for which there is no money, as clients read them.

use crate::auth::BudgetOwner;
use crate::failure::{Failure, Kind};
use crate::meter::{HoldRefusal, MoneyLimit, Shortage};
use crate::observe::LimitRefusal;

/// Finds the limit by which the ledger has refused a hold. That the store fails is none.
pub(in crate::edge) fn refusing_limit(refusal: HoldRefusal) -> Option<LimitRefusal> {
    match refusal {
        HoldRefusal::NoWallet => Some(LimitRefusal::NoWallet),
        HoldRefusal::Exceeded(Shortage { limit: MoneyLimit::Wallet, .. }) => Some(LimitRefusal::Balance),
        HoldRefusal::Exceeded(Shortage { limit: MoneyLimit::Budget(owner, period, _), .. }) => {
            Some(LimitRefusal::Budget(owner, period))
        }
        HoldRefusal::InFlight(Shortage { limit: MoneyLimit::Wallet, .. }) => {
            Some(LimitRefusal::BalanceInFlight)
        }
        HoldRefusal::InFlight(Shortage { limit: MoneyLimit::Budget(owner, period, _), .. }) => {
            Some(LimitRefusal::BudgetInFlight(owner, period))
        }
        HoldRefusal::Store => None,
    }
}

/// Returns the failure for a client of an account for which no money can be set aside.
pub(in crate::edge) fn failure(refusal: HoldRefusal, account: &str) -> Failure {
    match refusal {
        HoldRefusal::NoWallet => {
            let message = format!(
                "The account of this API key has no wallet. An operator can create one: crossmodel account top-up \
                 {account} 25."
            );
            Failure::new(Kind::NoWallet, message).with_should_retry(false)
        }
        HoldRefusal::Exceeded(shortage) => reset(exceeded(shortage), shortage.limit).with_should_retry(false),
        HoldRefusal::InFlight(shortage) => {
            let Shortage { left, free, .. } = shortage;
            let held = left.checked_sub(free).unwrap_or_default();
            let message =
                format!("Other requests in flight hold {held} of the remaining {left} USD. Try again.");
            let failure = Failure::new(kind(shortage.limit), message);
            failure.with_retry_after(1).with_should_retry(true)
        }
        HoldRefusal::Store => Failure::new(Kind::Unavailable, "Requests cannot be paid for at the moment.")
            .with_code("db_error"),
    }
}

fn kind(limit: MoneyLimit) -> Kind {
    match limit {
        MoneyLimit::Wallet => Kind::InsufficientBalance,
        MoneyLimit::Budget(..) => Kind::BudgetExceeded,
    }
}

/// Returns the failure for a wallet or a budget that has too little left, whatever other calls hold.
fn exceeded(Shortage { limit, total, left, needs, output, .. }: Shortage) -> Failure {
    let at_most = output.map(|tokens| format!(" (at most {tokens})")).unwrap_or_default();
    let message = match limit {
        MoneyLimit::Wallet => format!(
            "Insufficient balance: {left} USD left, and this request may cost up to {needs} USD. Ask for fewer output \
             tokens{at_most} or a top-up."
        ),
        MoneyLimit::Budget(owner, period, resets) => {
            let (name, time) = (period.adjective(), resets.and_then(time));
            let owner = match owner {
                BudgetOwner::Key => "this API key",
                BudgetOwner::Account => "this account",
            };
            if left.nano() == 0 {
                let reset = time.map(|time| format!(" It resets at {time}.")).unwrap_or_default();
                format!("The {name} budget of {owner} is used up: {total} of {total} USD.{reset}")
            } else {
                let wait = time.map(|time| format!(", or wait until {time}")).unwrap_or_default();
                format!(
                    "This request may cost up to {needs} USD, but the {name} budget of {owner} has {left} USD left. \
                     Ask for fewer output tokens{at_most}{wait}."
                )
            }
        }
    };
    Failure::new(kind(limit), message)
}

/// Adds the time at which the next window of a budget begins.
fn reset(failure: Failure, limit: MoneyLimit) -> Failure {
    match limit {
        MoneyLimit::Budget(_, _, Some(resets)) => {
            time(resets).into_iter().fold(failure, Failure::with_budget_reset)
        }
        MoneyLimit::Budget(_, _, None) | MoneyLimit::Wallet => failure,
    }
}

/// Returns a time as RFC 3339.
fn time(seconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Period;

    #[test]
    fn a_refusal_says_what_to_do() {
        let december = "2026-12-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
        let monthly = MoneyLimit::Budget(BudgetOwner::Key, Period::Month, Some(december));
        let daily = MoneyLimit::Budget(BudgetOwner::Account, Period::Day, Some(december));
        let total = MoneyLimit::Budget(BudgetOwner::Key, Period::Total, None);
        let short = |limit, left: &str, output| Shortage {
            limit,
            total: "200".parse().unwrap(),
            left: left.parse().unwrap(),
            free: "0".parse().unwrap(),
            needs: "0.03".parse().unwrap(),
            output,
        };
        for (refusal, label, limit) in [
            (HoldRefusal::NoWallet, "no_wallet", "account.wallet"),
            (HoldRefusal::Exceeded(short(MoneyLimit::Wallet, "0", None)), "balance", "account.wallet"),
            (HoldRefusal::Exceeded(short(monthly, "0", None)), "budget", "key.budget.month"),
            (HoldRefusal::InFlight(short(daily, "0", None)), "in_flight", "account.budget.day"),
            (HoldRefusal::InFlight(short(MoneyLimit::Wallet, "0", None)), "in_flight", "account.wallet"),
        ] {
            let refused = refusing_limit(refusal).unwrap();
            assert_eq!((refused.as_str(), refused.limit()), (label, limit));
        }
        let cases = [
            (
                HoldRefusal::NoWallet,
                "no_wallet",
                "The account of this API key has no wallet. An operator can create one: crossmodel account top-up a 25.",
            ),
            (
                HoldRefusal::Exceeded(short(MoneyLimit::Wallet, "0.01", Some(480))),
                "insufficient_balance",
                "Insufficient balance: 0.01 USD left, and this request may cost up to 0.03 USD. Ask for fewer output tokens (at most 480) or a top-up.",
            ),
            (
                HoldRefusal::Exceeded(short(monthly, "0", None)),
                "budget_exceeded",
                "The monthly budget of this API key is used up: 200.00 of 200.00 USD. It resets at 2026-12-01T00:00:00Z.",
            ),
            (
                HoldRefusal::Exceeded(short(daily, "0.01", Some(480))),
                "budget_exceeded",
                "This request may cost up to 0.03 USD, but the daily budget of this account has 0.01 USD left. Ask for fewer output tokens (at most 480), or wait until 2026-12-01T00:00:00Z.",
            ),
            (
                HoldRefusal::Exceeded(short(total, "0.01", None)),
                "budget_exceeded",
                "This request may cost up to 0.03 USD, but the total budget of this API key has 0.01 USD left. Ask for fewer output tokens.",
            ),
            (
                HoldRefusal::InFlight(short(monthly, "0.52", None)),
                "budget_exceeded",
                "Other requests in flight hold 0.52 of the remaining 0.52 USD. Try again.",
            ),
        ];
        for (refusal, code, message) in cases {
            let failure = failure(refusal, "a");
            assert_eq!(
                (failure.status(), failure.kind().row().code, failure.message()),
                (402, code, message)
            );
            let waits = matches!(refusal, HoldRefusal::InFlight(_));
            assert_eq!(failure.should_retry(), Some(waits));
            assert_eq!(failure.retry_after(), waits.then_some(1));
        }
    }
}
