//! Ids of calls, in the characters that the protocol allows.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::canon::{Part, Request, short_hash};

/// The ids of a request's calls for the provider; empty if all are valid unchanged.
#[derive(Debug, Default)]
pub(super) struct CallIds<'r> {
    changed: HashMap<&'r str, String>,
}

impl<'r> CallIds<'r> {
    pub(super) fn new(request: &'r Request<'_>) -> Self {
        if ids(request).all(is_allowed) {
            return Self::default();
        }
        // Ids are assigned in the order of the conversation, so that later calls never change earlier ones.
        let (mut changed, mut seen, mut taken) = (HashMap::new(), HashSet::new(), HashSet::new());
        for id in ids(request) {
            if !seen.insert(id) {
                continue;
            }
            let mut new: String = id.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
            if new.is_empty() || taken.contains(&new) {
                new = format!("{new}_{}", short_hash(id));
            }
            taken.insert(new.clone());
            if new != id {
                changed.insert(id, new);
            }
        }
        Self { changed }
    }

    /// Returns the id for the provider, the same for a call and its result.
    pub(super) fn of<'i>(&'i self, id: &'i str) -> &'i str {
        self.changed.get(id).map_or(id, String::as_str)
    }
}

fn ids<'r>(request: &'r Request<'_>) -> impl Iterator<Item = &'r str> {
    request
        .turns
        .iter()
        .flat_map(|turn| &turn.parts)
        .filter_map(|part| match part {
            Part::Call(call) => Some(&call.id),
            Part::Result(result) => Some(&result.id),
            _ => None,
        })
        .map(Cow::as_ref)
}

fn is_allowed(id: &str) -> bool {
    !id.is_empty() && id.bytes().map(char::from).all(allowed)
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Args, Call, Role, Turn};
    use crate::json::Raw;

    fn request(ids: &[&'static str]) -> Request<'static> {
        let call = |id: &&'static str| {
            let args = Args::Raw(Raw::constant("{}"));
            let id = Cow::Borrowed(*id);
            Part::Call(Call { id, namespace: None, name: "f".into(), custom: false, args, extra: None })
        };
        let turns = vec![Turn::new(Role::Assistant, ids.iter().map(call).collect())];
        Request { turns, ..Request::default() }
    }

    #[test]
    fn other_characters_are_replaced_and_collisions_avoided() {
        let request = request(&["functions.Bash:0", "a.b", "a_b", "a:b", "", "toolu_1", "a.b"]);
        let ids = CallIds::new(&request);
        assert_eq!(ids.of("functions.Bash:0"), "functions_Bash_0");
        assert_eq!(ids.of("a.b"), "a_b");
        assert_eq!(ids.of("a_b"), format!("a_b_{}", short_hash("a_b")));
        assert_eq!(ids.of("a:b"), format!("a_b_{}", short_hash("a:b")));
        assert_eq!(ids.of(""), format!("_{}", short_hash("")));
        assert_eq!(ids.of("toolu_1"), "toolu_1");
    }

    #[test]
    fn what_follows_changes_nothing_before() {
        let (short, long) = (request(&["a.b"]), request(&["a.b", "a_b"]));
        assert_eq!(CallIds::new(&short).of("a.b"), CallIds::new(&long).of("a.b"));
        let long = "x".repeat(90);
        assert_eq!(CallIds::default().of(&long), long);
    }
}
