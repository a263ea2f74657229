//! Ids of an answer's calls that the conversation has not used.
//!
//! A client that pairs results with calls by their ids alone would take an id that comes again for that of the old
//! call.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::canon::CallIdSet;

/// The ids of the calls of one answer, as the client knows them.
#[derive(Debug, Default)]
pub(super) struct FreshCallIds {
    /// The ids by the keys of the calls; absent where they are the provider's own.
    chosen: BTreeMap<u32, Option<String>>,
    taken: HashSet<String>,
    /// The last suffix of each id that had to be changed.
    suffixes: HashMap<String, u64>,
}

impl FreshCallIds {
    /// Returns the id by which the client knows a call, as it was chosen when the call was first seen.
    pub(super) fn known(&self, key: u32) -> Option<&Option<String>> {
        self.chosen.get(&key)
    }

    /// Chooses the id for a call; `None` if the given one is new in the conversation.
    pub(super) fn choose(&mut self, key: u32, id: &str, used: &CallIdSet) -> Option<String> {
        let new = self.is_used(id, used).then(|| self.suffixed(id, used));
        self.taken.insert(new.as_deref().unwrap_or(id).to_owned());
        self.chosen.insert(key, new.clone());
        new
    }

    /// Keeps an id that the gateway has made up.
    pub(super) fn keep(&mut self, key: u32, id: String) {
        self.chosen.insert(key, Some(id));
    }

    fn suffixed(&mut self, id: &str, used: &CallIdSet) -> String {
        let mut last = self.suffixes.get(id).copied().unwrap_or(1);
        let new = loop {
            last += 1;
            let new = format!("{id}_{last}");
            if !self.is_used(&new, used) {
                break new;
            }
        };
        self.suffixes.insert(id.to_owned(), last);
        new
    }

    fn is_used(&self, id: &str, used: &CallIdSet) -> bool {
        used.contains(id) || self.taken.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_id_gets_the_first_free_suffix() {
        let (used, _) = CallIdSet::collect(["a", "b", "a_2"].into_iter());
        let mut ids = FreshCallIds::default();
        assert_eq!(ids.choose(0, "c", &used), None);
        assert_eq!(ids.choose(1, "a", &used).as_deref(), Some("a_3"));
        assert_eq!(ids.choose(2, "a", &used).as_deref(), Some("a_4"));
        assert_eq!(ids.choose(3, "c", &used).as_deref(), Some("c_2"));
        assert_eq!((ids.known(0), ids.known(9)), (Some(&None), None));
        assert_eq!(ids.known(1).cloned().flatten().as_deref(), Some("a_3"));
    }
}
