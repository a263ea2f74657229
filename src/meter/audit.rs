//! The audit, which adds up again everything that has to add up.

use std::collections::HashMap;

use rusqlite::{Connection, Row};
use serde::Serialize;

use crate::canon::{Rates, Usage};
use crate::money::Amount;

use super::price::Prices;
use super::types::COUNT_BITS;

/// The result of an audit: what was counted, and what does not add up.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// Calls that are over.
    pub charges: u64,
    /// Calls in flight.
    pub holds: u64,
    /// Top-ups.
    pub topups: u64,
    /// Calls that were charged by an estimate.
    pub estimated: u64,
    /// Calls that would have cost more than was charged: more than what was held for them and what the balance covered
    /// beyond that, or more than can be believed.
    pub capped: u64,
    /// Contradictions: none, in books that are right.
    pub findings: Vec<AuditFinding>,
}

/// Something that does not add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditFinding {
    /// The rule.
    pub rule: &'static str,
    /// The account, key or call.
    pub subject: String,
}

/// The progress of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditStep {
    /// The number of the rule that is checked now, from 1 on.
    pub rule: usize,
    /// The number of rules.
    pub rules: usize,
    /// Calls that this rule has checked, if it goes through them one by one.
    pub calls: u64,
}

/// Audits the books as they are at one moment, whoever writes to them meanwhile. Tells `say` its progress from time to
/// time.
pub(super) fn run(connection: &mut Connection, say: &mut dyn FnMut(AuditStep)) -> rusqlite::Result<Audit> {
    let snapshot = connection.transaction()?;
    let count = |sql: &str| snapshot.query_row(sql, [], |row| row.get(0)).map(i64::unsigned_abs);
    let mut audit = Audit {
        charges: count("SELECT COUNT(*) FROM charges")?,
        holds: count("SELECT COUNT(*) FROM holds")?,
        topups: count("SELECT COUNT(*) FROM transactions WHERE kind = 'top_up'")?,
        estimated: count("SELECT COUNT(*) FROM charges WHERE outcome IN ('estimated', 'recovered')")?,
        capped: count("SELECT COUNT(*) FROM charges WHERE capped")?,
        findings: Vec::new(),
    };
    let rules = RULES.len() + 1;
    for (n, &(rule, sql)) in (1..).zip(RULES) {
        say(AuditStep { rule: n, rules, calls: 0 });
        let mut query = snapshot.prepare(sql)?;
        if let Some(index) = query.parameter_index(":count_bits")? {
            query.raw_bind_parameter(index, COUNT_BITS)?;
        }
        let mut subjects = query.raw_query();
        while let Some(subject) = subjects.next()? {
            audit.findings.push(AuditFinding { rule, subject: subject.get(0)? });
        }
    }
    let mut say = |calls| say(AuditStep { rule: rules, rules, calls });
    prices_are_right(&snapshot, &mut audit.findings, &mut say)?;
    Ok(audit)
}

/// Checks that every call is charged by the prices that held for it.
fn prices_are_right(
    connection: &Connection,
    findings: &mut Vec<AuditFinding>,
    say: &mut dyn FnMut(u64),
) -> rusqlite::Result<()> {
    let mut seen = 0;
    say(seen);
    let lists = price_lists(connection, findings)?;
    let mut charges = connection.prepare(
        "SELECT input, cache_read, cache_write, output, cache_write_long, audio_input, audio_output, searches,
            rates, others, elsewhere, held, amount, call, price FROM charges
         WHERE outcome <> 'released'",
    )?;
    let mut charges = charges.query([])?;
    while let Some(charge) = charges.next()? {
        seen += 1;
        if seen % CALLS_A_STEP == 0 {
            say(seen);
        }
        // One that cannot be read is a finding of its own.
        let Some(prices) = lists.get(&charge.get(14)?) else { continue };
        let (others, elsewhere): (Amount, bool) = (charge.get(9)?, charge.get(10)?);
        let (held, amount): (Amount, Amount) = (charge.get(11)?, charge.get(12)?);
        let own = if elsewhere { Amount::ZERO } else { prices.cost(&usage(charge)?) };
        if own.checked_add(others).unwrap_or(Amount::MAX).min(held) != amount {
            let subject = charge.get::<_, i64>(13)?.to_string();
            findings.push(AuditFinding { rule: "a charge is what its tokens cost", subject });
        }
    }
    Ok(())
}

/// Reads the price lists by their versions, without those that cannot be read.
fn price_lists(
    connection: &Connection,
    findings: &mut Vec<AuditFinding>,
) -> rusqlite::Result<HashMap<i64, Prices>> {
    let mut lists = HashMap::new();
    let mut versions = connection.prepare("SELECT version, tiers FROM prices")?;
    let mut versions = versions.query([])?;
    while let Some(version) = versions.next()? {
        let (number, tiers): (i64, String) = (version.get(0)?, version.get(1)?);
        match serde_json::from_str(&tiers) {
            Ok(prices) => drop(lists.insert(number, prices)),
            Err(_) => {
                findings.push(AuditFinding { rule: "a price list can be read", subject: number.to_string() });
            }
        }
    }
    Ok(lists)
}

fn usage(row: &Row<'_>) -> rusqlite::Result<Usage> {
    let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(Usage {
        input: count(0)?,
        cache_read: count(1)?,
        cache_write: count(2)?,
        output: count(3)?,
        cache_write_long: count(4)?,
        audio_input: count(5)?,
        audio_output: count(6)?,
        searches: count(7)?,
        rates: Rates::from_bits(row.get(8)?),
        ..Usage::default()
    })
}

/// Calls between two notes of progress: a fraction of a second's.
const CALLS_A_STEP: u64 = 100_000;

/// Rules, and queries for the subjects that break them; `:count_bits` is [`COUNT_BITS`]. A query goes through
/// a table once, however many accounts and keys there are: sums are compared by adding what has to cancel out.
const RULES: &[(&str, &str)] = &[
    (
        "a balance is what was topped up less what was refunded and charged",
        "SELECT account FROM (
            SELECT account, balance AS rest FROM wallets
            UNION ALL SELECT account, CASE kind WHEN 'refund' THEN amount ELSE -amount END FROM transactions
            UNION ALL SELECT c.account, c.amount FROM charges c
                LEFT JOIN balances b ON b.balance = c.balance WHERE COALESCE(b.wallet, 1))
         GROUP BY account HAVING SUM(rest) <> 0",
    ),
    (
        "what an account has lent is the sum of its leases",
        "SELECT account FROM (
            SELECT account, leased AS rest FROM wallets
            UNION ALL SELECT b.account, -l.amount FROM leases l JOIN balances b ON b.balance = l.balance
                WHERE b.wallet)
         GROUP BY account HAVING SUM(rest) <> 0",
    ),
    ("a balance is never negative, nor less than what is lent", "SELECT account FROM wallets WHERE leased < 0 OR leased > balance"),
    (
        "what a gateway holds for a key was lent to it",
        "SELECT key FROM holds h GROUP BY call >> :count_bits, balance HAVING SUM(amount) > COALESCE(
            (SELECT amount FROM leases l WHERE l.epoch = h.call >> :count_bits AND l.balance = h.balance), 0)",
    ),
    (
        "a wallet that holds and pays exists",
        "SELECT DISTINCT paid.account FROM
                (SELECT account, balance FROM holds UNION ALL SELECT account, balance FROM charges) AS paid
            LEFT JOIN balances b ON b.balance = paid.balance
            WHERE COALESCE(b.wallet, 1) AND paid.account NOT IN (SELECT account FROM wallets)",
    ),
    (
        "a call is in flight or over",
        "SELECT CAST(call AS TEXT) FROM holds WHERE call IN (SELECT call FROM charges)",
    ),
    (
        "a charge is at most what was held, and nothing for a call that has failed",
        "SELECT CAST(call AS TEXT) FROM charges
            WHERE amount NOT BETWEEN 0 AND held OR outcome = 'released' AND amount > 0",
    ),
    (
        "what is taken beyond a hold is needed, and charged",
        "SELECT CAST(call AS TEXT) FROM charges
            WHERE excess > held OR excess > 0 AND (amount <> held OR outcome = 'released')",
    ),
    (
        "what a budget has spent in a window is the sum of its calls",
        "SELECT CAST(budget AS TEXT) FROM (
            SELECT budget, start_day, spent - tracked AS rest FROM budget_windows
            UNION ALL SELECT w.budget, w.start_day, -c.amount FROM charges c
                CROSS JOIN balance_windows w ON w.balance = c.balance)
         GROUP BY budget, start_day HAVING SUM(rest) <> 0",
    ),
    (
        "what a budget has lent in a window is the sum of its leases",
        "SELECT CAST(budget AS TEXT) FROM (
            SELECT budget, start_day, leased AS rest FROM budget_windows
            UNION ALL SELECT w.budget, w.start_day, -l.amount FROM leases l
                CROSS JOIN balance_windows w ON w.balance = l.balance)
         GROUP BY budget, start_day HAVING SUM(rest) <> 0",
    ),
    (
        "a hard budget spends and lends no more than its limit",
        "SELECT CAST(b.id AS TEXT) FROM budget_windows w JOIN budgets b ON b.id = w.budget
            WHERE b.hard AND w.spent + w.leased > MAX(b.amount, w.allowed)",
    ),
    (
        "the usage of a key costs what its calls were charged",
        "SELECT key FROM (
            SELECT key, cost - tracked AS cost, requests AS calls FROM usage
            UNION ALL SELECT key, -amount, -1 FROM charges)
         GROUP BY key HAVING SUM(cost) <> 0 OR SUM(calls) < 0",
    ),
];

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
