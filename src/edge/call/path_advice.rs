//! Advice about clients whose base URL is not the documented one.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::edge::call::request_info::RequestInfo;

/// The keys whose clients the log has told about, so that it does so once a day.
#[derive(Debug, Default)]
pub(in crate::edge) struct PathAdvice(Mutex<AdvisedKeys>);

#[derive(Debug, Default)]
struct AdvisedKeys {
    /// The day since the epoch.
    day: i64,
    keys: HashSet<String>,
}

impl PathAdvice {
    /// Writes a line if the path of a request was served although it is not spelled as documented, once a day and key.
    pub(in crate::edge) fn note(&self, request: &RequestInfo, path: &str) {
        let Some(grant) = request.grant.as_ref().filter(|_| request.has_fixed_path(path)) else { return };
        if self.is_new(&grant.id, request.time.as_second().div_euclid(SECONDS_PER_DAY)) {
            let base_url = if request.anthropic { "http(s)://HOST" } else { "http(s)://HOST/v1" };
            log::info!(
                "key {}: a client's base URL leads to {}; it should be {base_url}",
                grant.id,
                if path.starts_with("//") { "//" } else { "/v1/v1" },
            );
        }
    }

    /// Whether there was no line about a key on a day. Notes it.
    fn is_new(&self, key: &str, day: i64) -> bool {
        let mut advised = self.0.lock();
        if advised.day != day {
            *advised = AdvisedKeys { day, keys: HashSet::new() };
        }
        let is_new = !advised.keys.contains(key) && advised.keys.len() < MAX_KEYS_PER_DAY;
        if is_new {
            advised.keys.insert(key.to_owned());
        }
        is_new
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

/// The most keys that the log tells about on a day.
const MAX_KEYS_PER_DAY: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_about_once_a_day() {
        let advice = PathAdvice::default();
        let told = [("a", 1), ("a", 1), ("b", 1), ("a", 2)].map(|(key, day)| advice.is_new(key, day));
        assert_eq!(told, [true, false, true, true]);
        let count = (0..5_000).filter(|n| advice.is_new(&n.to_string(), 3)).count();
        assert_eq!(count, MAX_KEYS_PER_DAY);
    }
}
