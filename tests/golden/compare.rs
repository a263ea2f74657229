//! Does a document hold what is expected of it?
//!
//! Every expected member has to be there, and lists have to be as long. Some texts stand for more than
//! themselves: `<any>`, `<absent>` for a member, `<has …>` for a part of a text, `<begins …>` for its
//! beginning, `<without …>` for a text that lacks it, `<as NAME>` for a value that is the same wherever the name
//! stands.

use std::collections::BTreeMap;

use serde_json::Value;

/// Compares documents that may share names.
#[derive(Default)]
pub(crate) struct Comparison {
    named: BTreeMap<String, Value>,
    pub(crate) faults: Vec<String>,
}

impl Comparison {
    pub(crate) fn take(&mut self, expected: &Value, actual: &Value, at: &str) {
        match (expected, actual) {
            (Value::String(text), _) if text.starts_with('<') && text.ends_with('>') => {
                self.wildcard(text, actual, at);
            }
            (Value::Object(members), Value::Object(found)) => {
                for (name, wanted) in members {
                    let at = format!("{at}.{name}");
                    match found.get(name) {
                        Some(value) if wanted == "<absent>" => {
                            self.faults.push(format!("{at}: there, but should not be: {}", shown(value)));
                        }
                        Some(value) => self.take(wanted, value, &at),
                        None if wanted == "<absent>" => {}
                        None => self.faults.push(format!("{at}: missing; wanted {}", shown(wanted))),
                    }
                }
            }
            (Value::Array(wanted), Value::Array(found)) => {
                if wanted.len() != found.len() {
                    let (wanted, found) = (wanted.len(), found.len());
                    self.faults
                        .push(format!("{at}: {wanted} elements wanted, not {found}: {}", shown(actual)));
                    return;
                }
                for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                    self.take(wanted, found, &format!("{at}[{index}]"));
                }
            }
            // Content that is one text may be written as that text.
            (Value::Array(parts), Value::String(text))
                if parts.len() == 1 && parts[0].get("text").and_then(Value::as_str) == Some(text) => {}
            (Value::Number(wanted), Value::Number(found)) if wanted.as_f64() == found.as_f64() => {}
            _ if expected == actual => {}
            _ => self.faults.push(format!("{at}: wanted {}, not {}", shown(expected), shown(actual))),
        }
    }

    fn wildcard(&mut self, text: &str, actual: &Value, at: &str) {
        let inner = text.trim_start_matches('<').trim_end_matches('>');
        let fits = match inner.split_once(' ') {
            None if inner == "any" => true,
            Some(("has", part)) => actual.as_str().is_some_and(|text| text.contains(part)),
            Some(("begins", part)) => actual.as_str().is_some_and(|text| text.starts_with(part)),
            Some(("without", part)) => actual.as_str().is_some_and(|text| !text.contains(part)),
            Some(("as", name)) => {
                self.named.entry(name.to_owned()).or_insert_with(|| actual.clone()) == actual
            }
            _ => actual == text,
        };
        if !fits {
            self.faults.push(format!("{at}: wanted {text}, not {}", shown(actual)));
        }
    }
}

/// The faults of one document.
pub(crate) fn compare(expected: &str, actual: &[u8], what: &str) -> Vec<String> {
    let expected: Value = match serde_json::from_str(expected) {
        Ok(value) => value,
        Err(error) => return vec![format!("{what}: the expectation is not JSON: {error}")],
    };
    let Ok(actual) = serde_json::from_slice::<Value>(actual) else {
        return vec![format!("{what}: not JSON: {}", String::from_utf8_lossy(actual))];
    };
    let mut comparison = Comparison::default();
    comparison.take(&expected, &actual, what);
    comparison.faults
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= LONGEST { text } else { text.chars().take(LONGEST).chain("…".chars()).collect() }
}

/// Characters of a value that a report shows.
const LONGEST: usize = 700;
