//! Rate limits of each key (requests and tokens per minute), and load shedding over all keys.
//!
//! A call counts as one request when it arrives. Its tokens are known only when it is over, so an estimate is
//! reserved first, and corrected at the end. If the estimate was too low, the difference is a debt, and later
//! calls wait until it has left the window.

mod load;
mod window;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::auth::{Key, RateLimits};
use crate::failure::{Failure, Kind};

use window::{Counted, Window};

pub use load::{CallSlot, EntryRefusal, Load, Shed, Weight};

/// The windows of all keys that were used.
#[derive(Debug)]
pub struct Limiter {
    windows: Mutex<HashMap<String, Arc<Mutex<Window>>, RandomState>>,
    start: Instant,
}

/// One call's place in the windows of its key. If it is dropped before it is settled, its tokens are returned.
#[derive(Debug)]
pub struct Ticket {
    window: Arc<Mutex<Window>>,
    rate: RateLimits,
    start: Instant,
    /// Reserved tokens, and the second in which they were reserved.
    reserved: Option<(u64, u64)>,
    status: RateLimitStatus,
}

/// The state of a key's limits, for the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimitStatus {
    /// The state of requests per minute, if they are limited.
    pub requests: Option<Share>,
    /// The state of tokens per minute, if they are limited.
    pub tokens: Option<Share>,
}

/// The usage of the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteUsage {
    /// Requests.
    pub requests: u64,
    /// Tokens, including reserved ones; 0 if they are not limited, because they are not counted then.
    pub tokens: u64,
}

/// A limit and its remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The limit.
    pub limit: u64,
    /// The remainder.
    pub remaining: u64,
    /// Seconds until all of the limit is available again.
    pub reset: u64,
}

impl Limiter {
    /// Makes a limiter with empty windows.
    #[must_use]
    pub fn new() -> Self {
        Self { windows: Mutex::default(), start: Instant::now() }
    }

    /// Counts a request of a key.
    ///
    /// # Errors
    /// Returns 429 and the state of the key's limits if the key has used up its requests.
    pub fn admit(&self, key: &Key) -> Result<Ticket, (Failure, RateLimitStatus)> {
        let window = self.window(&key.id);
        let mut ticket = Ticket {
            window,
            rate: key.rights.rate,
            start: self.start,
            reserved: None,
            status: RateLimitStatus::default(),
        };
        match ticket.count() {
            Ok(()) => Ok(ticket),
            Err(failure) => Err((failure, ticket.status)),
        }
    }

    /// Returns the usage of a key in the last minute.
    #[must_use]
    pub fn used(&self, key: &str) -> MinuteUsage {
        let Some(window) = self.windows.lock().get(key).map(Arc::clone) else {
            return MinuteUsage::default();
        };
        let (mut window, now) = (window.lock(), now(self.start));
        MinuteUsage {
            requests: window.used(Counted::Requests, now),
            tokens: window.used(Counted::Tokens, now),
        }
    }

    fn window(&self, key: &str) -> Arc<Mutex<Window>> {
        let mut windows = self.windows.lock();
        if let Some(window) = windows.get(key) {
            return Arc::clone(window);
        }
        Arc::clone(windows.entry(key.to_owned()).or_default())
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

impl Ticket {
    fn count(&mut self) -> Result<(), Failure> {
        let now = self.now();
        let mut window = self.window.lock();
        let refused = match self.rate.rpm.map(u64::from) {
            Some(limit) if window.used(Counted::Requests, now) >= limit => {
                let wait = window.wait(Counted::Requests, limit.saturating_sub(1), now);
                Some(exceeded(limit, "requests", wait))
            }
            _ => {
                window.add(Counted::Requests, 1, now);
                None
            }
        };
        self.status = RateLimitStatus::read(&mut window, self.rate, now);
        refused.map_or(Ok(()), Err)
    }

    /// Reserves the tokens that the call is likely to need, and at most as many as the limit allows.
    ///
    /// # Errors
    /// Returns 429 if too few tokens are left.
    pub fn reserve(&mut self, tokens: u64) -> Result<(), Failure> {
        let Some(limit) = self.rate.tpm.map(u64::from) else { return Ok(()) };
        let (now, tokens) = (self.now(), tokens.min(limit));
        let mut window = self.window.lock();
        let refused = if window.used(Counted::Tokens, now) + tokens > limit {
            let wait = window.wait(Counted::Tokens, limit - tokens, now);
            Some(exceeded(limit, "tokens", wait))
        } else {
            window.add(Counted::Tokens, tokens, now);
            self.reserved = Some((tokens, now));
            None
        };
        self.status = RateLimitStatus::read(&mut window, self.rate, now);
        refused.map_or(Ok(()), Err)
    }

    /// Replaces the reservation by the tokens that the call has used.
    pub fn settle(&mut self, tokens: u64) {
        let Some((reserved, added)) = self.reserved.take() else { return };
        let now = self.now();
        let mut window = self.window.lock();
        match tokens.checked_sub(reserved) {
            Some(short) => window.add(Counted::Tokens, short, now),
            None => window.take_back(reserved - tokens, added, now),
        }
    }

    /// Returns the state of the key's limits when the call was admitted.
    #[must_use]
    pub fn status(&self) -> RateLimitStatus {
        self.status
    }

    fn now(&self) -> u64 {
        now(self.start)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(0);
    }
}

impl RateLimitStatus {
    fn read(window: &mut Window, rate: RateLimits, now: u64) -> Self {
        let mut share = |kind, limit: Option<u32>| {
            let limit = u64::from(limit?);
            let remaining = limit.saturating_sub(window.used(kind, now));
            Some(Share { limit, remaining, reset: window.wait(kind, 0, now) })
        };
        Self { requests: share(Counted::Requests, rate.rpm), tokens: share(Counted::Tokens, rate.tpm) }
    }
}

/// Returns the seconds since `start`, plus 100, so that no window begins with a minute that looks as if it were
/// over.
fn now(start: Instant) -> u64 {
    start.elapsed().as_secs() + 100
}

/// Makes the failure with the documented message.
fn exceeded(limit: u64, what: &str, wait: u64) -> Failure {
    let message = format!("Rate limit exceeded: max {limit} {what} per minute.");
    Failure::new(Kind::RateLimited, message).with_retry_after(wait.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Rights;

    fn key(id: &str, rpm: Option<u32>, tpm: Option<u32>) -> Key {
        let rights = Rights { rate: RateLimits { rpm, tpm }, ..Rights::default() };
        Key { rights, ..Key::sample(id, "a") }
    }

    #[test]
    fn requests_are_counted_for_each_key() {
        let limiter = Limiter::new();
        let (noisy, quiet) = (key("noisy", Some(2), None), key("quiet", Some(2), None));
        for remaining in [1, 0] {
            let status = limiter.admit(&noisy).unwrap().status();
            assert_eq!(status.requests.map(|share| share.remaining), Some(remaining));
            assert_eq!(status.tokens, None);
        }
        let (failure, status) = limiter.admit(&noisy).unwrap_err();
        assert_eq!(failure.message(), "Rate limit exceeded: max 2 requests per minute.");
        assert!((60..=61).contains(&failure.retry_after().unwrap()));
        assert_eq!(status.requests.map(|share| share.remaining), Some(0));
        assert!(limiter.admit(&quiet).is_ok());
        assert!((0..100).all(|_| limiter.admit(&key("free", None, None)).is_ok()));
    }

    #[test]
    fn tokens_are_reserved_and_made_good() {
        let limiter = Limiter::new();
        let key = key("k", None, Some(100));
        let remaining = || limiter.admit(&key).unwrap().status().tokens.unwrap().remaining;
        let mut first = limiter.admit(&key).unwrap();
        first.reserve(60).unwrap();
        let mut second = limiter.admit(&key).unwrap();
        let failure = second.reserve(60).unwrap_err();
        assert_eq!(failure.message(), "Rate limit exceeded: max 100 tokens per minute.");
        first.settle(10);
        assert_eq!(remaining(), 90);
        assert_eq!(limiter.used("k"), MinuteUsage { requests: 3, tokens: 10 });
        assert_eq!(limiter.used("other"), MinuteUsage::default());
        second.reserve(60).unwrap();
        // What it used beyond its reservation is a debt.
        second.settle(200);
        assert_eq!(remaining(), 0);
        assert!(limiter.admit(&key).unwrap().reserve(1).is_err());
    }

    #[test]
    fn a_call_that_fails_gives_its_tokens_back_and_no_call_is_too_large() {
        let limiter = Limiter::new();
        let key = key("k", None, Some(100));
        for _ in 0..5 {
            limiter.admit(&key).unwrap().reserve(1_000_000).unwrap();
        }
    }
}
