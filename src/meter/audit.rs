//! The audit: everything that has to add up is added up again.

use rusqlite::{Connection, Row};
use serde::Serialize;

use crate::canon::{Rates, Usage};
use crate::money::Amount;

use super::price::Prices;
use super::types::COUNT_BITS;

/// What an audit has looked at and found.
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
    /// Calls that would have cost more than was held for them and their account had.
    pub capped: u64,
    /// What does not add up: nothing, in books that are right.
    pub findings: Vec<Finding>,
}

/// Something that does not add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: &'static str,
    /// The account, key or call.
    pub subject: String,
}

/// How far an audit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The rule that is looked at, from 1 on.
    pub rule: usize,
    /// How many there are.
    pub rules: usize,
    /// Calls that this rule, which goes through them one by one, has seen.
    pub calls: u64,
}

/// Audits the books as they are at one moment, whoever writes to them meanwhile; says from time to time how far it is.
pub(super) fn run(connection: &mut Connection, say: &mut dyn FnMut(Step)) -> rusqlite::Result<Audit> {
    let snapshot = connection.transaction()?;
    let count = |sql: &str| snapshot.query_row(sql, [], |row| row.get(0)).map(i64::unsigned_abs);
    let mut audit = Audit {
        charges: count("SELECT COUNT(*) FROM charges")?,
        holds: count("SELECT COUNT(*) FROM holds")?,
        topups: count("SELECT COUNT(*) FROM topups")?,
        estimated: count("SELECT COUNT(*) FROM charges WHERE outcome IN ('estimated', 'recovered')")?,
        capped: count("SELECT COUNT(*) FROM charges WHERE capped")?,
        findings: Vec::new(),
    };
    let rules = RULES.len() + 1;
    for (n, &(rule, sql)) in (1..).zip(RULES) {
        say(Step { rule: n, rules, calls: 0 });
        let mut query = snapshot.prepare(sql)?;
        if let Some(index) = query.parameter_index(":count_bits")? {
            query.raw_bind_parameter(index, COUNT_BITS)?;
        }
        let mut subjects = query.raw_query();
        while let Some(subject) = subjects.next()? {
            audit.findings.push(Finding { rule, subject: subject.get(0)? });
        }
    }
    let mut say = |calls| say(Step { rule: rules, rules, calls });
    prices_are_right(&snapshot, &mut audit.findings, &mut say)?;
    Ok(audit)
}

/// Is every call that a provider has counted charged by the prices that held for it?
fn prices_are_right(
    connection: &Connection,
    findings: &mut Vec<Finding>,
    say: &mut dyn FnMut(u64),
) -> rusqlite::Result<()> {
    let mut seen = 0;
    say(seen);
    let mut versions = connection.prepare("SELECT version, tiers FROM prices")?;
    let mut versions = versions.query([])?;
    while let Some(version) = versions.next()? {
        let (number, tiers): (i64, String) = (version.get(0)?, version.get(1)?);
        let Ok(prices) = serde_json::from_str::<Prices>(&tiers) else {
            findings.push(Finding { rule: "a price list can be read", subject: number.to_string() });
            continue;
        };
        let mut charges = connection.prepare_cached(
            "SELECT input, cache_read, cache_write, output, cache_write_long, audio_input, audio_output, searches,
                rates, others, elsewhere, held, amount, call FROM charges
             WHERE price = ?1 AND outcome <> 'released'",
        )?;
        let mut charges = charges.query([number])?;
        while let Some(charge) = charges.next()? {
            seen += 1;
            if seen % CALLS_A_STEP == 0 {
                say(seen);
            }
            let (others, elsewhere): (Amount, bool) = (charge.get(9)?, charge.get(10)?);
            let (held, amount): (Amount, Amount) = (charge.get(11)?, charge.get(12)?);
            let own = if elsewhere { Amount::ZERO } else { prices.cost(&usage(charge)?) };
            if own.checked_add(others).unwrap_or(Amount::MAX).min(held) != amount {
                let subject = charge.get::<_, i64>(13)?.to_string();
                findings.push(Finding { rule: "a charge is what its tokens cost", subject });
            }
        }
    }
    Ok(())
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

/// Calls between two words of how far an audit is: a fraction of a second's.
const CALLS_A_STEP: u64 = 100_000;

/// Rules, and queries that name whom each of them does not hold for; `:count_bits` is [`COUNT_BITS`].
const RULES: &[(&str, &str)] = &[
    (
        "a balance is what was topped up less what was charged",
        "SELECT account FROM wallets WHERE balance <>
            (SELECT COALESCE(SUM(amount), 0) FROM topups t WHERE t.account = wallets.account)
            - (SELECT COALESCE(SUM(amount), 0) FROM charges c WHERE c.account = wallets.account)",
    ),
    (
        "what an account has lent is the sum of its leases",
        "SELECT account FROM wallets WHERE leased <>
            (SELECT COALESCE(SUM(amount), 0) FROM leases l WHERE l.account = wallets.account)",
    ),
    ("a balance is never negative, nor less than what is lent", "SELECT account FROM wallets WHERE leased < 0 OR leased > balance"),
    (
        "what a gateway holds for a key was lent to it",
        "SELECT key FROM holds h GROUP BY call >> :count_bits, key HAVING SUM(amount) >
            COALESCE((SELECT amount FROM leases l WHERE l.epoch = h.call >> :count_bits AND l.key = h.key), 0)",
    ),
    (
        "only accounts with a wallet hold and pay",
        "SELECT DISTINCT account FROM (SELECT account FROM holds UNION ALL SELECT account FROM charges)
            WHERE account NOT IN (SELECT account FROM wallets)",
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
        "SELECT CAST(call AS TEXT) FROM charges WHERE excess > 0 AND (amount <> held OR outcome = 'released')",
    ),
    (
        "what a key has spent and borrowed is the sum of its calls and leases",
        "WITH sums AS (
            SELECT key, SUM(spent) AS spent, SUM(leased) AS leased FROM (
                SELECT key, amount AS spent, 0 AS leased FROM charges
                UNION ALL SELECT key, 0, amount FROM leases)
            GROUP BY key)
         SELECT COALESCE(sums.key, spending.key) FROM sums FULL JOIN spending ON spending.key = sums.key
            WHERE COALESCE(sums.spent, 0) <> COALESCE(spending.spent, 0)
                OR COALESCE(sums.leased, 0) <> COALESCE(spending.leased, 0)",
    ),
    (
        "the usage of a key costs what its calls were charged",
        "WITH sums AS (SELECT key, SUM(amount) AS cost, COUNT(*) AS calls FROM charges GROUP BY key),
            days AS (SELECT key, SUM(cost) AS cost, SUM(requests) AS calls FROM usage GROUP BY key)
         SELECT COALESCE(sums.key, days.key) FROM sums FULL JOIN days ON days.key = sums.key
            WHERE COALESCE(sums.cost, 0) <> COALESCE(days.cost, 0) OR COALESCE(sums.calls, 0) > COALESCE(days.calls, 0)",
    ),
];
