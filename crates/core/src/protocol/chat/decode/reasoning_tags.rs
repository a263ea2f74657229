//! Reasoning in `<think>` tags at the beginning of the text.

use std::borrow::Cow;

use crate::json::JsonStr;

/// A splitter of text into the content of the tags and the text behind them.
#[derive(Debug, Default)]
pub(super) struct ReasoningTags {
    state: TagState,
    /// Text that may be the beginning of a tag.
    held: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TagState {
    /// Nothing has come except, perhaps, a part of the opening tag.
    #[default]
    Before,
    Inside,
    /// After the closing tag, perhaps in the blank lines that follow it.
    Behind,
    Over,
}

impl ReasoningTags {
    /// Whether everything that follows is plain text.
    pub(super) fn is_over(&self) -> bool {
        self.state == TagState::Over
    }

    /// Takes a piece; returns reasoning, and the text behind it.
    pub(super) fn push(&mut self, piece: &JsonStr<'_>) -> (String, String) {
        self.held.push_str(&without_escapes(piece.raw()));
        let mut rest = std::mem::take(&mut self.held);
        let mut thought = String::new();
        if self.state == TagState::Before {
            if let Some(inside) = rest.strip_prefix(OPEN) {
                (self.state, rest) = (TagState::Inside, inside.to_owned());
            } else if OPEN.starts_with(&rest) {
                self.held = rest;
                return (thought, String::new());
            } else {
                self.state = TagState::Over;
            }
        }
        if self.state == TagState::Inside {
            match rest.split_once(CLOSE) {
                Some((inside, behind)) => {
                    thought.push_str(inside);
                    (self.state, rest) = (TagState::Behind, behind.to_owned());
                }
                None => {
                    let sure = rest.len() - held_back(&rest);
                    self.held = rest.split_off(sure);
                    return (rest, String::new());
                }
            }
        }
        (thought, self.behind(rest))
    }

    /// Takes the end; returns the text that was held back.
    pub(super) fn end(&mut self) -> (String, String) {
        let held = std::mem::take(&mut self.held);
        match std::mem::replace(&mut self.state, TagState::Over) {
            TagState::Inside => (held, String::new()),
            _ => (String::new(), held),
        }
    }

    /// Returns the text behind the tags, without the blank lines before it.
    fn behind(&mut self, text: String) -> String {
        if self.state != TagState::Behind {
            return text;
        }
        let mut rest = text.as_str();
        while let Some(after) = ["\\n", "\\r"].iter().find_map(|line| rest.strip_prefix(line)) {
            rest = after;
        }
        if !rest.is_empty() {
            self.state = TagState::Over;
        }
        rest.to_owned()
    }
}

/// Returns the inside of a literal with the characters of tags unescaped.
fn without_escapes(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let known = ESCAPES.iter().find(|(spelled, _)| {
            escape.get(..spelled.len()).is_some_and(|start| start.eq_ignore_ascii_case(spelled))
        });
        match known {
            Some((spelled, meant)) => {
                out.push_str(meant);
                rest = escape.get(spelled.len()..).unwrap_or_default();
            }
            None => {
                // The character after a backslash belongs to it, even if it is another backslash.
                let (of_escape, after) = escape.split_at_checked(1).unwrap_or((escape, ""));
                out.push('\\');
                out.push_str(of_escape);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Returns the number of bytes at the end that may be the beginning of the closing tag.
fn held_back(text: &str) -> usize {
    (1..CLOSE.len()).rev().find(|n| CLOSE.get(..*n).is_some_and(|start| text.ends_with(start))).unwrap_or(0)
}

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// The escapes that the characters of tags may have, without the backslash.
const ESCAPES: &[(&str, &str)] = &[("u003c", "<"), ("u003e", ">"), ("/", "/")];

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&str]) -> (String, String) {
        let mut think = ReasoningTags::default();
        let mut all = (String::new(), String::new());
        let mut add = |(thought, text): (String, String)| {
            all.0.push_str(&thought);
            all.1.push_str(&text);
        };
        pieces.iter().for_each(|piece| add(think.push(&JsonStr::part(piece))));
        add(think.end());
        all
    }

    #[test]
    fn tags_are_found_however_they_are_cut_and_spelled() {
        let expected = ("a".to_owned(), "b".to_owned());
        assert_eq!(split(&["<th", "ink>a</thi", "nk>b"]), expected);
        assert_eq!(split(&["<think>a</think>\\n", "\\nb"]), expected);
        assert_eq!(split(&["\\u003Cthink\\u003ea\\u003c\\/think\\u003e", "b"]), expected);
        for piece in 1..8 {
            let text = "<think>a</think>b";
            let pieces: Vec<_> =
                text.as_bytes().chunks(piece).map(|c| std::str::from_utf8(c).unwrap()).collect();
            assert_eq!(split(&pieces), expected, "{piece}");
        }
    }

    #[test]
    fn other_text_stays() {
        let text = |text: &str| (String::new(), text.to_owned());
        assert_eq!(split(&["a<think>b</think>"]), text("a<think>b</think>"));
        assert_eq!(split(&["<th"]), text("<th"));
        assert_eq!(split(&["<th", "e>"]), text("<the>"));
        assert_eq!(split(&["\\\\u003cthink>"]), text("\\\\u003cthink>"));
        assert_eq!(split(&["<think>a</thi"]), ("a</thi".to_owned(), String::new()));
    }
}
