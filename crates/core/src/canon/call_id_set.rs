//! The ids of calls that a conversation has used.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The ids of the calls of one conversation, to be told apart from those of new calls.
///
/// Only hashes are kept, because the set lives as long as the answer. If two ids share a hash, a new id gets a suffix
/// that it does not need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallIdSet {
    /// The hashes, in ascending order.
    hashes: Vec<u64>,
}

impl CallIdSet {
    /// Collects ids. The second value is whether each of them occurs only once.
    #[must_use]
    pub fn collect<'i>(ids: impl Iterator<Item = &'i str>) -> (Self, bool) {
        let mut hashes: Vec<u64> = ids.map(hash).collect();
        hashes.sort_unstable();
        let unique = hashes.is_sorted_by(|one, next| one < next);
        (Self { hashes }, unique)
    }

    /// Whether the conversation has a call with this id.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        !self.hashes.is_empty() && self.hashes.binary_search(&hash(id)).is_ok()
    }

    /// Returns the number of bytes that the set occupies.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of_val(self.hashes.as_slice())
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_and_repetitions_noticed() {
        let (set, is_unique) = CallIdSet::collect(["b", "a", "a_2"].into_iter());
        assert!(is_unique && set.contains("a") && !set.contains("c"));
        assert!(!CallIdSet::collect(["a", "b", "a"].into_iter()).1);
        assert!(!CallIdSet::default().contains("a"));
    }
}
