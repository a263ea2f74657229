//! The guard of the API: who may do what, and how often.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::admin::error::{Code, OperationError, OperationResult};
use crate::repeated::RepeatedLine;

/// The counts by which requests are refused for a while.
#[derive(Debug, Default)]
pub(super) struct Guard {
    failures: Mutex<HashMap<IpAddr, Failures>>,
    changes: Mutex<HashMap<String, Bucket>>,
    line: WrongCredentialLine,
}

/// The line about wrong credentials. Somebody with many addresses may cause one for each.
#[derive(Debug)]
struct WrongCredentialLine(RepeatedLine);

impl Default for WrongCredentialLine {
    fn default() -> Self {
        Self(RepeatedLine::every(LINE_INTERVAL))
    }
}

/// The failed credentials of an address within a minute.
#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

/// The changes that an operator may make at once.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    at: Instant,
    /// In thousandths of a change.
    level: u64,
}

impl Guard {
    /// Checks whether an address may try a credential.
    pub(super) fn check_address(&self, address: IpAddr, now: Instant) -> OperationResult<()> {
        let failures = self.failures.lock();
        let Some(known) = failures.get(&address).filter(|known| known.is_current(now)) else { return Ok(()) };
        if known.count < MAX_FAILURES {
            return Ok(());
        }
        Err(OperationError::new(
            Code::RateLimited,
            "too many wrong credentials came from this address; wait a minute",
        ))
    }

    /// Counts a wrong credential of an address.
    pub(super) fn note_failure(&self, address: IpAddr, now: Instant) {
        let mut failures = self.failures.lock();
        if failures.len() >= MAX_ENTRIES {
            failures.retain(|_, known| known.is_current(now));
        }
        if failures.len() >= MAX_ENTRIES {
            return;
        }
        let known = failures.entry(address).or_insert(Failures { since: now, count: 0 });
        if !known.is_current(now) {
            *known = Failures { since: now, count: 0 };
        }
        known.count += 1;
        if known.count == 1 {
            let text = format_args!("admin: a wrong credential came from {address}");
            self.line.0.write(log::Level::Warn, text);
        }
        if known.count == MAX_FAILURES {
            known.since = now;
        }
    }

    /// Counts a change of an operator.
    pub(super) fn admit_change(&self, operator: &str, now: Instant) -> OperationResult<()> {
        let mut changes = self.changes.lock();
        if changes.len() >= MAX_ENTRIES {
            changes.retain(|_, bucket| bucket.filled(now) < BURST * CHANGE);
        }
        let full = Bucket { at: now, level: BURST * CHANGE };
        let bucket = changes.entry(operator.to_owned()).or_insert(full);
        let level = bucket.filled(now);
        let left = level.checked_sub(CHANGE).ok_or_else(|| {
            OperationError::new(
                Code::RateLimited,
                "an operator may make 10 changes per second; wait a second",
            )
        })?;
        *bucket = Bucket { at: now, level: left };
        Ok(())
    }
}

impl Failures {
    fn is_current(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < MINUTE
    }
}

impl Bucket {
    fn filled(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let added = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(CHANGES_PER_SECOND);
        self.level.saturating_add(added).min(BURST * CHANGE)
    }
}

/// The time for which failures count.
const MINUTE: Duration = Duration::from_secs(60);

/// The shortest time between two lines about wrong credentials. A chosen value: some addresses are seen by name.
const LINE_INTERVAL: Duration = Duration::from_secs(3);

/// The wrong credentials of an address within a minute.
const MAX_FAILURES: u32 = 20;

/// The addresses and operators that are remembered at once.
const MAX_ENTRIES: usize = 1_024;

/// One change, in the unit of a bucket.
const CHANGE: u64 = 1_000;

/// The changes that an operator may make in a second, on average and at once.
const CHANGES_PER_SECOND: u64 = 10;
const BURST: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_credentials_close_the_door_for_a_minute() {
        let (guard, now) = (Guard::default(), Instant::now());
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        for _ in 0..MAX_FAILURES {
            guard.check_address(one, now).unwrap();
            guard.note_failure(one, now);
        }
        assert_eq!(guard.check_address(one, now).unwrap_err().code, Code::RateLimited);
        guard.check_address(other, now).unwrap();
        guard.check_address(one, now + MINUTE).unwrap();
    }

    #[test]
    fn changes_come_in_bursts_and_then_by_the_second() {
        let (guard, now) = (Guard::default(), Instant::now());
        let admitted = |now| (0..100).filter(|_| guard.admit_change("a", now).is_ok()).count();
        assert_eq!([admitted(now), admitted(now), admitted(now + Duration::from_secs(1))], [50, 0, 10]);
        guard.admit_change("b", now).unwrap();
    }
}
