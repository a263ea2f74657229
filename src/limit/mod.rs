//! Rate limits of each key and each account (requests and tokens per minute), and load shedding over all keys.
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

/// The windows of all keys that were used, and of the accounts among them that have limits.
#[derive(Debug)]
pub struct Limiter {
    keys: Windows,
    accounts: Windows,
    start: Instant,
}

/// Windows by the id of their owner.
#[derive(Debug, Default)]
struct Windows(Mutex<HashMap<String, Arc<Mutex<Window>>, RandomState>>);

/// One call's places in the windows of its key and its account. If it is dropped before it is settled, its tokens are
/// returned.
#[derive(Debug)]
pub struct Ticket {
    key: Place,
    /// The place in the window of the account; absent if its rate is not limited.
    account: Option<Place>,
}

/// The owner of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitOwner {
    /// A key.
    Key,
    /// An account.
    Account,
}

/// A limit that a call would exceed.
#[derive(Debug)]
pub struct ExceededLimit {
    /// The failure for the client.
    pub failure: Failure,
    /// The owner of the limit.
    pub owner: LimitOwner,
}

/// One call's place in a window.
#[derive(Debug)]
struct Place {
    window: Arc<Mutex<Window>>,
    owner: LimitOwner,
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
        Self { keys: Windows::default(), accounts: Windows::default(), start: Instant::now() }
    }

    /// Counts a request of a key.
    ///
    /// # Errors
    /// Returns 429 and the state of the limits if the key or its account has used up its requests.
    pub fn admit(&self, key: &Key) -> Result<Ticket, Box<(ExceededLimit, RateLimitStatus)>> {
        let place = |windows: &Windows, id: &str, owner: LimitOwner, rate: RateLimits| Place {
            window: windows.of(id),
            owner,
            rate,
            start: self.start,
            reserved: None,
            status: RateLimitStatus::default(),
        };
        let of_account = key.account_limits.as_ref().map(|limits| limits.rate);
        let of_account = of_account.filter(|rate| *rate != RateLimits::default());
        let mut ticket = Ticket {
            key: place(&self.keys, &key.id, LimitOwner::Key, key.rights.rate),
            account: of_account.map(|rate| place(&self.accounts, &key.account, LimitOwner::Account, rate)),
        };
        match ticket.count() {
            Ok(()) => Ok(ticket),
            Err(exceeded) => Err(Box::new((exceeded, ticket.status()))),
        }
    }

    /// Returns the usage of a key in the last minute.
    #[must_use]
    pub fn used(&self, key: &str) -> MinuteUsage {
        let Some(window) = self.keys.0.lock().get(key).map(Arc::clone) else {
            return MinuteUsage::default();
        };
        let (mut window, now) = (window.lock(), now(self.start));
        MinuteUsage {
            requests: window.used(Counted::Requests, now),
            tokens: window.used(Counted::Tokens, now),
        }
    }
}

impl Windows {
    fn of(&self, id: &str) -> Arc<Mutex<Window>> {
        let mut windows = self.0.lock();
        if let Some(window) = windows.get(id) {
            return Arc::clone(window);
        }
        Arc::clone(windows.entry(id.to_owned()).or_default())
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

impl Ticket {
    fn count(&mut self) -> Result<(), ExceededLimit> {
        let second = self.key.count()?;
        let Some(account) = &mut self.account else { return Ok(()) };
        let counted = account.count();
        if counted.is_err() {
            // A call counts in all its limits or in none.
            self.key.uncount(second);
        }
        counted.map(drop)
    }

    /// Reserves the tokens that the call is likely to need, and at most as many as the limits allow.
    ///
    /// # Errors
    /// Returns 429 if too few tokens are left.
    pub fn reserve(&mut self, tokens: u64) -> Result<(), ExceededLimit> {
        self.key.reserve(tokens)?;
        let reserved = self.account.as_mut().map_or(Ok(()), |account| account.reserve(tokens));
        if reserved.is_err() {
            self.key.settle(0);
        }
        reserved
    }

    /// Replaces the reservation by the tokens that the call has used.
    pub fn settle(&mut self, tokens: u64) {
        self.key.settle(tokens);
        if let Some(account) = &mut self.account {
            account.settle(tokens);
        }
    }

    /// Returns the state of the limits when the call was admitted: of two limits that of which less is left.
    #[must_use]
    pub fn status(&self) -> RateLimitStatus {
        let own = self.key.status;
        self.account.as_ref().map_or(own, |account| own.narrower(account.status))
    }
}

impl Place {
    /// Counts the request, and returns the second in which it counts.
    fn count(&mut self) -> Result<u64, ExceededLimit> {
        let now = self.now();
        let mut window = self.window.lock();
        let refused = match self.rate.rpm.map(u64::from) {
            Some(limit) if window.used(Counted::Requests, now) >= limit => {
                let wait = window.wait(Counted::Requests, limit.saturating_sub(1), now);
                Some((limit, "requests", wait))
            }
            _ => {
                window.add(Counted::Requests, 1, now);
                None
            }
        };
        self.status = RateLimitStatus::read(&mut window, self.rate, now);
        drop(window);
        refused.map_or(Ok(now), |refused| Err(self.exceeded(refused)))
    }

    /// Takes the request back that was counted in a second.
    fn uncount(&mut self, second: u64) {
        let now = self.now();
        let mut window = self.window.lock();
        window.take_back(Counted::Requests, 1, second, now);
        self.status = RateLimitStatus::read(&mut window, self.rate, now);
    }

    fn reserve(&mut self, tokens: u64) -> Result<(), ExceededLimit> {
        let Some(limit) = self.rate.tpm.map(u64::from) else { return Ok(()) };
        let (now, tokens) = (self.now(), tokens.min(limit));
        let mut window = self.window.lock();
        let refused = if window.used(Counted::Tokens, now) + tokens > limit {
            let wait = window.wait(Counted::Tokens, limit - tokens, now);
            Some((limit, "tokens", wait))
        } else {
            window.add(Counted::Tokens, tokens, now);
            self.reserved = Some((tokens, now));
            None
        };
        self.status = RateLimitStatus::read(&mut window, self.rate, now);
        drop(window);
        refused.map_or(Ok(()), |refused| Err(self.exceeded(refused)))
    }

    fn settle(&mut self, tokens: u64) {
        let Some((reserved, added)) = self.reserved.take() else { return };
        let now = self.now();
        let mut window = self.window.lock();
        match tokens.checked_sub(reserved) {
            Some(short) => window.add(Counted::Tokens, short, now),
            None => window.take_back(Counted::Tokens, reserved - tokens, added, now),
        }
    }

    /// Makes the refusal with the documented message.
    fn exceeded(&self, (limit, what, wait): (u64, &str, u64)) -> ExceededLimit {
        let whose = match self.owner {
            LimitOwner::Key => "",
            LimitOwner::Account => " for the account",
        };
        let message = format!("Rate limit exceeded: max {limit} {what} per minute{whose}.");
        let failure = Failure::new(Kind::RateLimited, message).with_retry_after(wait.max(1));
        ExceededLimit { failure, owner: self.owner }
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

    /// Returns the shares of which less is left.
    fn narrower(self, other: Self) -> Self {
        let less = |one: Option<Share>, other: Option<Share>| {
            [one, other].into_iter().flatten().min_by_key(|share| share.remaining)
        };
        Self { requests: less(self.requests, other.requests), tokens: less(self.tokens, other.tokens) }
    }
}

/// Returns the seconds since `start`, plus 100, so that no window begins with a minute that looks as if it were
/// over.
fn now(start: Instant) -> u64 {
    start.elapsed().as_secs() + 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{AccountLimits, Rights};

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
        let (ExceededLimit { failure, owner }, status) = *limiter.admit(&noisy).unwrap_err();
        assert_eq!(owner, LimitOwner::Key);
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
        let failure = second.reserve(60).unwrap_err().failure;
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

    /// A key of an account with limits.
    fn bound(id: &str, rpm: Option<u32>, rate: RateLimits) -> Key {
        let limits = AccountLimits { rate, ..AccountLimits::default() };
        Key { account_limits: Some(Box::new(limits)), ..key(id, rpm, None) }
    }

    #[test]
    fn the_keys_of_an_account_share_its_requests() {
        let limiter = Limiter::new();
        let rate = RateLimits { rpm: Some(3), tpm: None };
        let (one, two) = (bound("one", Some(2), rate), bound("two", None, rate));
        let left = |key: &Key| limiter.admit(key).unwrap().status().requests.unwrap().remaining;
        assert_eq!([left(&one), left(&one)], [1, 0], "the key's own limit is the narrower one");
        let (exceeded, _) = *limiter.admit(&one).unwrap_err();
        assert_eq!(exceeded.owner, LimitOwner::Key);
        assert_eq!(left(&two), 0, "what the key has refused did not count for the account");
        let (exceeded, status) = *limiter.admit(&two).unwrap_err();
        assert_eq!(exceeded.owner, LimitOwner::Account);
        assert_eq!(
            exceeded.failure.message(),
            "Rate limit exceeded: max 3 requests per minute for the account."
        );
        assert_eq!(status.requests.map(|share| share.limit), Some(3));
        assert_eq!(limiter.used("two").requests, 1, "what the account refuses does not count for the key");
    }

    #[test]
    fn the_keys_of_an_account_share_its_tokens() {
        let limiter = Limiter::new();
        let rate = RateLimits { rpm: None, tpm: Some(100) };
        let (one, two) = (bound("one", None, rate), bound("two", None, rate));
        let rights = Rights { rate: RateLimits { rpm: None, tpm: Some(1_000) }, ..Rights::default() };
        let two = Key { rights, ..two };
        let mut first = limiter.admit(&one).unwrap();
        first.reserve(60).unwrap();
        let mut second = limiter.admit(&two).unwrap();
        let exceeded = second.reserve(60).unwrap_err();
        assert_eq!(
            exceeded.failure.message(),
            "Rate limit exceeded: max 100 tokens per minute for the account."
        );
        assert_eq!(limiter.used("two").tokens, 0, "nothing stays reserved for the key");
        first.settle(10);
        second.reserve(60).unwrap();
        assert_eq!(second.status().tokens.map(|share| share.remaining), Some(30));
    }

    #[test]
    fn accounts_without_limits_have_no_windows() {
        let limiter = Limiter::new();
        assert!(limiter.admit(&key("k", None, None)).is_ok());
        let limits = AccountLimits { max_concurrent: Some(1), ..AccountLimits::default() };
        let busy = Key { account_limits: Some(Box::new(limits)), ..key("k", None, None) };
        assert!(limiter.admit(&busy).is_ok());
        assert!(limiter.accounts.0.lock().is_empty());
    }
}
