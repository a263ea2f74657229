//! The difference between two states of an object, as the audit log shows it.

#![expect(clippy::disallowed_types, reason = "the members of a change are of any type, and changes are rare")]

use serde::Serialize;
use serde_json::{Map, Value};

use crate::admin::model::Members;

/// Returns the members in which two states of an object differ, as they were and as they are.
pub(super) fn difference<O: Serialize>(
    before: Option<&O>,
    after: Option<&O>,
) -> (Option<Members>, Option<Members>) {
    let (mut before, mut after) = (members(before), members(after));
    let same: Vec<_> = before
        .iter()
        .filter(|(name, value)| after.get(*name) == Some(*value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in same {
        before.remove(&name);
        after.remove(&name);
    }
    let some = |members: Members| Some(members).filter(|members| !members.is_empty());
    (some(before), some(after))
}

/// Returns the members of an object that the log may show.
fn members<O: Serialize>(object: Option<&O>) -> Members {
    let Some(Ok(Value::Object(mut members))) = object.map(serde_json::to_value) else { return Map::new() };
    members.retain(|name, value| !HIDDEN.contains(&name.as_str()) && !value.is_null());
    members.values_mut().for_each(cut);
    for budget in members.get_mut("budgets").into_iter().filter_map(Value::as_array_mut).flatten() {
        if let Some(budget) = budget.as_object_mut() {
            budget.retain(|name, _| !BUDGET_STATE.contains(&name.as_str()));
        }
    }
    members
}

/// Cuts long texts.
fn cut(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARS) {
                text.truncate(end);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(cut),
        Value::Object(members) => members.values_mut().for_each(cut),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Members that are secret, follow from others, or change without an operator.
const HIDDEN: [&str; 10] =
    ["object", "id", "state", "secret", "hint", "etag", "warnings", "wallet", "keys", "spent_this_month_usd"];

/// Members of a budget that change without an operator.
const BUDGET_STATE: [&str; 4] = ["id", "spent_usd", "held_usd", "resets_at"];

/// The longest text in the log, in characters.
const MAX_TEXT_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_has_no_secret_and_no_long_text() {
        let before = json!({"id": "1", "rpm": 5, "name": "a", "secret": "s", "etag": "1"});
        let after = json!({"id": "1", "rpm": null, "name": "a", "secret": "t", "etag": "2", "notes": "é".repeat(300)});
        let (was, is) = difference(Some(&before), Some(&after));
        assert_eq!(Value::Object(was.unwrap()), json!({"rpm": 5}));
        assert_eq!(Value::Object(is.unwrap()), json!({"notes": "é".repeat(200)}));
        assert_eq!(difference(Some(&before), Some(&before)), (None, None));
    }
}
