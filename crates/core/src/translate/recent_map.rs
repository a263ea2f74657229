//! A map that forgets: of the entries above a limit the oldest ones, and all entries after a time.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// A hash that stands for a key, so that keys are not kept.
pub type KeyHash = [u8; 16];

/// A map that forgets.
#[derive(Debug)]
pub struct RecentMap<V> {
    entries: HashMap<KeyHash, Entry<V>>,
    /// Keys in the order in which they were last set.
    order: BTreeMap<u64, KeyHash>,
    next: u64,
    /// Maximum number of entries.
    max_entries: usize,
    /// The time for which an entry is known.
    max_age: Duration,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    value: V,
    seen: Instant,
    turn: u64,
}

impl<V> RecentMap<V> {
    /// Makes an empty map for so many entries, which are known for so long.
    #[must_use]
    pub fn new(max_entries: usize, max_age: Duration) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), next: 0, max_entries, max_age }
    }

    /// Returns the value of a key, unless it is too old.
    #[must_use]
    pub fn get(&self, key: &KeyHash, now: Instant) -> Option<&V> {
        let entry = self.entries.get(key)?;
        (now.saturating_duration_since(entry.seen) < self.max_age).then_some(&entry.value)
    }

    /// Sets the value of a key, and forgets the oldest entry if there are too many.
    pub fn set(&mut self, key: KeyHash, value: V, now: Instant) {
        let turn = self.next;
        self.next += 1;
        self.order.insert(turn, key);
        if let Some(earlier) = self.entries.insert(key, Entry { value, seen: now, turn }) {
            self.order.remove(&earlier.turn);
        }
        if self.entries.len() > self.max_entries
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_makes_room() {
        let (mut map, now) = (RecentMap::new(3, Duration::from_secs(9)), Instant::now());
        (0..3).for_each(|n| map.set([n; 16], n, now));
        map.set([0; 16], 7, now);
        map.set([3; 16], 3, now);
        let known: Vec<_> = (0..4).map(|n| map.get(&[n; 16], now).copied()).collect();
        assert_eq!(known, [Some(7), None, Some(2), Some(3)]);
        assert_eq!((map.entries.len(), map.order.len()), (3, 3));
    }

    #[test]
    fn an_entry_is_known_for_a_time() {
        let (mut map, now) = (RecentMap::new(3, Duration::from_secs(9)), Instant::now());
        map.set([0; 16], (), now);
        assert!(map.get(&[0; 16], now + Duration::from_secs(8)).is_some());
        assert!(map.get(&[0; 16], now + Duration::from_secs(9)).is_none());
    }
}
