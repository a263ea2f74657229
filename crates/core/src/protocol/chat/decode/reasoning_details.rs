//! `reasoning_details`: assembled from the pieces of a stream, for the provider that wants them back.

use std::collections::HashMap;

use crate::json::{JsonStr, Raw, write};
use crate::protocol::pick::for_each_member;

/// The entries so far.
#[derive(Debug, Default)]
pub(super) struct ReasoningDetails {
    entries: Vec<DetailEntry>,
    /// The last entry of each kind and index: only the last one can be continued by a piece.
    last: HashMap<(String, Option<u64>), usize>,
    /// Whether there is anything in them that only the provider can read.
    opaque: bool,
}

/// One entry; texts are the insides of literals.
#[derive(Debug, Default)]
struct DetailEntry {
    kind: String,
    index: Option<u64>,
    /// The entry unchanged, if it came in one piece.
    whole: Option<String>,
    text: String,
    signature: Option<String>,
    data: Option<String>,
    format: Option<String>,
    id: Option<String>,
}

impl ReasoningDetails {
    /// Takes an entry or a piece of one; returns its text.
    pub(super) fn take<'a>(&mut self, json: &'a str) -> Option<JsonStr<'a>> {
        let mut entry = DetailEntry::default();
        let mut text = None;
        for_each_member(json, |key, value| {
            let inner = || JsonStr::read(value).filter(|lit| !lit.is_empty());
            let owned = || inner().map(|lit| lit.raw().to_owned());
            match key {
                b"type" => entry.kind = owned().unwrap_or_default(),
                b"index" => entry.index = value.parse().ok(),
                b"text" | b"summary" => text = inner(),
                b"signature" => entry.signature = owned(),
                b"data" => entry.data = owned(),
                b"format" => entry.format = owned(),
                b"id" => entry.id = owned(),
                _ => {}
            }
        });
        self.opaque |= entry.signature.is_some() || entry.data.is_some();
        if let Some(text) = &text {
            entry.text = text.raw().to_owned();
        }
        let key = (entry.kind.clone(), entry.index);
        let earlier = self.last.get(&key).and_then(|at| self.entries.get_mut(*at));
        match earlier.filter(|earlier| earlier.continues(&entry)) {
            Some(earlier) => earlier.extend(entry),
            None => {
                entry.whole = Some(json.to_owned());
                self.last.insert(key, self.entries.len());
                self.entries.push(entry);
            }
        }
        text
    }

    /// Takes all entries since the last call, if there is opaque state in them.
    pub(super) fn seal(&mut self) -> Option<Raw<'static>> {
        let Self { entries, opaque, .. } = std::mem::take(self);
        if !opaque {
            return None;
        }
        let mut out = Vec::new();
        write::array(&mut out, |list| {
            for entry in &entries {
                match &entry.whole {
                    Some(json) => list.json(json),
                    None => list.object(|o| entry.write(o)),
                };
            }
        });
        String::from_utf8(out).ok().and_then(Raw::read_owned)
    }
}

impl DetailEntry {
    /// Whether the other one, of the same kind and index, is a further piece of this one.
    fn continues(&self, other: &Self) -> bool {
        (self.data.is_none() || other.data.is_none()) && (self.signature.is_none() || other.text.is_empty())
    }

    fn extend(&mut self, other: Self) {
        self.whole = None;
        self.text.push_str(&other.text);
        self.signature = other.signature.or_else(|| self.signature.take());
        self.data = other.data.or_else(|| self.data.take());
        self.format = self.format.take().or(other.format);
        self.id = self.id.take().or(other.id);
    }

    fn write(&self, o: &mut write::Object<'_>) {
        let member = if self.kind == SUMMARY { "summary" } else { "text" };
        let fixed = [
            ("type", Some(&self.kind)),
            (member, Some(&self.text).filter(|text| !text.is_empty())),
            ("signature", self.signature.as_ref()),
            ("data", self.data.as_ref()),
            ("format", self.format.as_ref()),
            ("id", self.id.as_ref()),
        ];
        for (name, value) in fixed {
            if let Some(value) = value {
                o.json_str(name, &JsonStr::part(value));
            }
        }
        if let Some(index) = self.index {
            o.number("index", index);
        }
    }
}

const SUMMARY: &str = "reasoning.summary";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_an_entry_are_put_together() {
        let mut details = ReasoningDetails::default();
        let pieces = [
            r#"{"type":"reasoning.text","text":"a","format":"anthropic-claude-v1","index":0}"#,
            r#"{"type":"reasoning.text","text":"b","index":0}"#,
            r#"{"type":"reasoning.text","signature":"S","index":0}"#,
            r#"{"type":"reasoning.encrypted","data":"E","id":"x","index":1,"new":1}"#,
        ];
        let text: String =
            pieces.iter().filter_map(|p| details.take(p)).map(|t| t.raw().to_owned()).collect();
        assert_eq!(text, "ab");
        let expected = r#"[{"type":"reasoning.text","text":"ab","signature":"S","format":"anthropic-claude-v1","index":0},{"type":"reasoning.encrypted","data":"E","id":"x","index":1,"new":1}]"#;
        assert_eq!(details.seal().unwrap().get(), expected);
        assert!(details.seal().is_none());
    }

    #[test]
    fn what_everybody_can_read_is_not_sealed() {
        let mut details = ReasoningDetails::default();
        assert_eq!(details.take(r#"{"type":"reasoning.summary","summary":"s"}"#).unwrap().raw(), "s");
        assert!(details.take("7").is_none() && details.seal().is_none());
    }
}
