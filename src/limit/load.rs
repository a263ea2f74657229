//! Load shedding: the calls in progress, and the choice of those that are admitted when there are nearly too many.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::auth::Grant;
use crate::failure::{Failure, Kind};

/// The calls in progress, in all and by key.
#[derive(Debug, Default)]
pub struct Load(Mutex<LoadState>);

/// The sums behind a [`Load`].
#[derive(Debug, Default)]
struct LoadState {
    total: Weight,
    /// The weights of the keys that have calls.
    keys: HashMap<String, Weight, RandomState>,
    /// The calls of the accounts that limit them.
    accounts: HashMap<String, usize, RandomState>,
}

/// A number of calls, and the bytes of their requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Calls.
    pub calls: usize,
    /// The bytes of their requests' bodies.
    pub bytes: usize,
}

/// The reason for which a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// The largest number of calls is reached.
    Calls,
    /// The requests take as much memory as they may.
    Memory,
    /// The rest of the capacity is reserved for keys that use less of it.
    Share,
}

/// The reason for which a call of a key is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryRefusal {
    /// The gateway has too much to do.
    Shed(Shed),
    /// The key has as many calls as it may have at once, which are so many.
    KeyIsFull(u32),
    /// The account has as many calls as it may have at once, which are so many.
    AccountIsFull(u32),
}

/// A call's place. It becomes free when this is dropped.
#[derive(Debug)]
pub struct CallSlot {
    load: Arc<Load>,
    key: Grant,
    bounds: Weight,
    bytes: usize,
}

impl Load {
    /// Admits a call of a key.
    ///
    /// # Errors
    /// Fails with the reason for the refusal.
    pub fn enter(self: &Arc<Self>, key: &Grant, bounds: Weight) -> Result<CallSlot, EntryRefusal> {
        let mut state = self.0.lock();
        if let Some(most) = key.rights.max_concurrent
            && state.keys.get(&key.id).is_some_and(|own| own.calls >= most as usize)
        {
            return Err(EntryRefusal::KeyIsFull(most));
        }
        let most_of_account = key.account_limits.as_ref().and_then(|limits| limits.max_concurrent);
        if let Some(most) = most_of_account
            && state.accounts.get(&key.account).is_some_and(|calls| *calls >= most as usize)
        {
            return Err(EntryRefusal::AccountIsFull(most));
        }
        state.add(key, bounds, Weight { calls: 1, bytes: 0 }).map_err(EntryRefusal::Shed)?;
        if most_of_account.is_some() {
            *state.accounts.entry(key.account.clone()).or_default() += 1;
        }
        drop(state);
        Ok(CallSlot { load: Arc::clone(self), key: Arc::clone(key), bounds, bytes: 0 })
    }

    /// Returns the weight of all calls.
    #[must_use]
    pub fn total(&self) -> Weight {
        self.0.lock().total
    }

    /// Returns the weight of one key's calls.
    #[must_use]
    pub fn of_key(&self, key: &str) -> Weight {
        self.0.lock().keys.get(key).copied().unwrap_or_default()
    }

    /// Whether the load is close to the bounds.
    #[must_use]
    pub fn is_near(&self, bounds: Weight) -> bool {
        let total = self.total();
        total.calls >= nine_tenths(bounds.calls) || total.bytes >= nine_tenths(bounds.bytes)
    }

    fn remove(&self, key: &Grant, less: Weight) {
        self.change(key, Weight::default(), less);
        // The grant of a call stays the same, so a call leaves the account that it has entered.
        if key.account_limits.as_ref().is_some_and(|limits| limits.max_concurrent.is_some()) {
            self.0.lock().leave_account(&key.account);
        }
    }

    fn change(&self, key: &Grant, more: Weight, less: Weight) {
        let mut state = self.0.lock();
        state.total = state.total.plus(more).minus(less);
        let Some(weight) = state.keys.get_mut(&key.id) else { return };
        *weight = weight.plus(more).minus(less);
        if weight.calls == 0 {
            state.keys.remove(&key.id);
        }
    }
}

impl LoadState {
    fn leave_account(&mut self, account: &str) {
        let Some(calls) = self.accounts.get_mut(account) else { return };
        *calls = calls.saturating_sub(1);
        if *calls == 0 {
            self.accounts.remove(account);
        }
    }

    fn add(&mut self, key: &Grant, bounds: Weight, more: Weight) -> Result<(), Shed> {
        let (total, own) = self.with(key, bounds, more)?;
        self.total = total;
        match self.keys.get_mut(&key.id) {
            Some(weight) => *weight = own,
            None => drop(self.keys.insert(key.id.clone(), own)),
        }
        Ok(())
    }

    /// Returns the weights of all calls and of the key's own with `more` added, if there is room for it.
    fn with(&self, key: &Grant, bounds: Weight, more: Weight) -> Result<(Weight, Weight), Shed> {
        let known = self.keys.get(&key.id);
        let (total, own) = (self.total.plus(more), known.copied().unwrap_or_default().plus(more));
        let others = self.keys.len() - usize::from(known.is_some());
        if more.calls > 0 {
            fits(total.calls, own.calls, bounds.calls, others, Shed::Calls)?;
        }
        if more.bytes > 0 {
            fits(total.bytes, own.bytes, bounds.bytes, others, Shed::Memory)?;
        }
        Ok((total, own))
    }
}

impl CallSlot {
    /// Checks whether the call could hold so many more bytes at this moment.
    ///
    /// # Errors
    /// Fails with the reason for the refusal.
    pub fn has_room(&self, bytes: usize) -> Result<(), Shed> {
        let more = Weight { calls: 0, bytes };
        self.load.0.lock().with(&self.key, self.bounds, more).map(|_| ())
    }

    /// Holds more bytes for the call's request.
    ///
    /// # Errors
    /// Fails with the reason for the refusal.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Shed> {
        self.load.0.lock().add(&self.key, self.bounds, Weight { calls: 0, bytes })?;
        self.bytes += bytes;
        Ok(())
    }

    /// Sets the bytes that the call holds.
    ///
    /// # Errors
    /// Fails with the reason if these are more than before, and there is no room for them.
    pub fn fit(&mut self, bytes: usize) -> Result<(), Shed> {
        if bytes > self.bytes {
            return self.hold(bytes - self.bytes);
        }
        self.keep(bytes);
        Ok(())
    }

    /// Sets the bytes that the call holds, even if they exceed the bounds: they are in memory already.
    pub fn keep(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        let more = Weight { calls: 0, bytes: bytes.saturating_sub(before) };
        let less = Weight { calls: 0, bytes: before.saturating_sub(bytes) };
        self.load.change(&self.key, more, less);
    }
}

impl Drop for CallSlot {
    fn drop(&mut self) {
        self.load.remove(&self.key, Weight { calls: 1, bytes: self.bytes });
    }
}

impl Weight {
    fn plus(self, more: Self) -> Self {
        Self { calls: self.calls + more.calls, bytes: self.bytes.saturating_add(more.bytes) }
    }

    fn minus(self, less: Self) -> Self {
        Self { calls: self.calls.saturating_sub(less.calls), bytes: self.bytes.saturating_sub(less.bytes) }
    }
}

impl EntryRefusal {
    /// Returns the failure for the client.
    #[must_use]
    pub fn failure(self) -> Failure {
        match self {
            Self::Shed(shed) => shed.failure(),
            Self::KeyIsFull(most) => {
                let message = format!("Rate limit exceeded: max {most} concurrent requests.");
                Failure::new(Kind::RateLimited, message).with_retry_after(1)
            }
            Self::AccountIsFull(most) => {
                let message = format!("Rate limit exceeded: max {most} concurrent requests for the account.");
                Failure::new(Kind::RateLimited, message).with_retry_after(1)
            }
        }
    }
}

impl Shed {
    /// Returns the value of the metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Memory => "memory",
            Self::Share => "share",
        }
    }

    /// Returns the failure for the client.
    #[must_use]
    pub fn failure(self) -> Failure {
        let failure = Failure::new(Kind::Unavailable, "The gateway is overloaded. Try again later.");
        failure.with_detail(format!("shed: {}", self.as_str()))
    }
}

/// Checks whether a key's new weight fits. Nine tenths of the bound are for any key. The last tenth is only for
/// keys with no more than an even share, where one key that is still to come is counted in. So a quiet key always
/// finds room.
fn fits(total: usize, own: usize, bound: usize, others: usize, full: Shed) -> Result<(), Shed> {
    if total > bound {
        return Err(full);
    }
    let share = bound / (others + 2);
    if total > nine_tenths(bound) && own > share.max(1) { Err(Shed::Share) } else { Ok(()) }
}

/// Nine tenths of a bound, rounded up.
fn nine_tenths(bound: usize) -> usize {
    bound - bound / 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{AccountLimits, Key};

    const BOUNDS: Weight = Weight { calls: 20, bytes: 1000 };

    fn key(id: &str) -> Grant {
        Arc::new(Key::sample(id, ""))
    }

    #[test]
    fn a_quiet_key_finds_room_beside_a_loud_one() {
        let (load, loud, quiet) = (Arc::new(Load::default()), key("loud"), key("quiet"));
        let mut held: Vec<_> = (0..18).map(|_| load.enter(&loud, BOUNDS).unwrap()).collect();
        assert!(load.is_near(BOUNDS));
        assert_eq!((load.of_key("loud").calls, load.of_key("quiet").calls), (18, 0));
        assert_eq!(load.enter(&loud, BOUNDS).unwrap_err(), EntryRefusal::Shed(Shed::Share));
        held.push(load.enter(&quiet, BOUNDS).unwrap());
        held.push(load.enter(&quiet, BOUNDS).unwrap());
        assert_eq!(load.enter(&quiet, BOUNDS).unwrap_err(), EntryRefusal::Shed(Shed::Calls));
        held.remove(0);
        assert_eq!(load.enter(&loud, BOUNDS).unwrap_err(), EntryRefusal::Shed(Shed::Share));
        assert!(load.enter(&quiet, BOUNDS).is_ok());
        held.clear();
        assert_eq!(load.total(), Weight::default());
        assert!(load.0.lock().keys.is_empty());
    }

    #[test]
    fn memory_is_shared_in_the_same_way() {
        let (load, loud, quiet) = (Arc::new(Load::default()), key("loud"), key("quiet"));
        let mut first = load.enter(&loud, BOUNDS).unwrap();
        first.hold(600).unwrap();
        first.hold(300).unwrap();
        assert_eq!(first.hold(1), Err(Shed::Share));
        let mut second = load.enter(&quiet, BOUNDS).unwrap();
        second.hold(100).unwrap();
        assert_eq!(second.hold(1), Err(Shed::Memory));
        first.keep(0);
        assert_eq!(load.total(), Weight { calls: 2, bytes: 100 });
        first.hold(300).unwrap();
        assert_eq!(first.fit(901), Err(Shed::Memory));
        first.fit(200).unwrap();
        assert_eq!((load.total().bytes, load.of_key("loud").bytes), (300, 200));
        first.keep(950);
        assert_eq!((load.total().bytes, load.of_key("loud").bytes), (1050, 950));
        drop(first);
        assert_eq!(load.total(), Weight { calls: 1, bytes: 100 });
        second.hold(600).unwrap();
    }

    #[test]
    fn the_smallest_bound_lets_one_in() {
        let (load, key) = (Arc::new(Load::default()), key("k"));
        let bounds = Weight { calls: 1, bytes: 1 };
        let slot = load.enter(&key, bounds).unwrap();
        assert_eq!(load.enter(&key, bounds).unwrap_err(), EntryRefusal::Shed(Shed::Calls));
        drop(slot);
        assert!(load.enter(&key, bounds).is_ok());
    }

    #[test]
    fn a_key_has_no_more_calls_at_once_than_it_may() {
        let load = Arc::new(Load::default());
        let most = Arc::new({
            let mut key = Key::sample("k", "");
            key.rights.max_concurrent = Some(2);
            key
        });
        let mut held = [load.enter(&most, BOUNDS).unwrap(), load.enter(&most, BOUNDS).unwrap()].into_iter();
        assert_eq!(load.enter(&most, BOUNDS).unwrap_err(), EntryRefusal::KeyIsFull(2));
        assert!(load.enter(&key("other"), BOUNDS).is_ok());
        drop(held.next());
        assert!(load.enter(&most, BOUNDS).is_ok());
        let failure = EntryRefusal::KeyIsFull(2).failure();
        assert_eq!(failure.message(), "Rate limit exceeded: max 2 concurrent requests.");
        assert_eq!((failure.status(), failure.retry_after()), (429, Some(1)));
    }

    #[test]
    fn the_keys_of_an_account_share_its_calls() {
        let load = Arc::new(Load::default());
        let bound = |id: &str| {
            let limits = AccountLimits { max_concurrent: Some(2), ..AccountLimits::default() };
            Arc::new(Key { account_limits: Some(Box::new(limits)), ..Key::sample(id, "a") })
        };
        let (one, two) = (bound("one"), bound("two"));
        let first = load.enter(&one, BOUNDS).unwrap();
        let second = load.enter(&two, BOUNDS).unwrap();
        let refused = load.enter(&one, BOUNDS).unwrap_err();
        assert_eq!(refused, EntryRefusal::AccountIsFull(2));
        let message = refused.failure().message().to_owned();
        assert_eq!(message, "Rate limit exceeded: max 2 concurrent requests for the account.");
        assert!(load.enter(&key("other"), BOUNDS).is_ok());
        drop(first);
        drop(load.enter(&two, BOUNDS).unwrap());
        drop(second);
        assert!(load.0.lock().accounts.is_empty());
    }
}
