//! The text of a freeform tool, taken out of the JSON arguments in which a provider without such tools wraps it.
//!
//! The provider was asked for `{"input":"…"}`, and this text is passed on as it comes. Any other object with a
//! single text in it stands for that text. Anything else is the text itself, once it is complete.

use crate::canon::Args;
use crate::json::{self, JsonStr, Lenient as _, repair};

/// A reader that takes arguments piece by piece and passes on the text in them.
#[derive(Debug, Default)]
pub(super) struct Unwrap {
    state: UnwrapState,
    /// The arguments so far, or the part of the text that has not been passed on yet.
    held: String,
    spoke: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum UnwrapState {
    /// It is not known yet whether the arguments have the usual form.
    #[default]
    Unknown,
    /// The reader is inside of the text.
    Inside,
    /// The arguments have another form; they are collected until the end.
    Other,
    /// The text has ended.
    Over,
}

impl Unwrap {
    /// Takes a piece.
    pub(super) fn push(&mut self, part: &Args<'_>, give: &mut dyn FnMut(JsonStr<'_>)) {
        match part {
            Args::Str(text) => self.held.push_str(&text.decode()),
            Args::Raw(json) => self.held.push_str(json.get()),
        }
        if self.state == UnwrapState::Unknown {
            self.begin();
        }
        if self.state == UnwrapState::Inside {
            self.inside(give);
        }
    }

    /// Takes the end of the arguments. Only the first call has an effect.
    pub(super) fn end(&mut self, give: &mut dyn FnMut(JsonStr<'_>)) {
        let held = std::mem::take(&mut self.held);
        let state = std::mem::replace(&mut self.state, UnwrapState::Over);
        if matches!(state, UnwrapState::Unknown | UnwrapState::Other) && !held.is_empty() {
            give(unwrapped(&held));
        }
    }

    fn begin(&mut self) {
        let mut rest = self.held.as_str();
        for expected in ["{", "\"input\"", ":", "\""] {
            rest = rest.trim_start();
            match rest.strip_prefix(expected) {
                Some(after) => rest = after,
                None => {
                    if !expected.starts_with(rest) {
                        self.state = UnwrapState::Other;
                    }
                    return;
                }
            }
        }
        self.held = rest.to_owned();
        self.state = UnwrapState::Inside;
    }

    /// Passes on the part that is certain: up to the closing quote, and never half an escape.
    fn inside(&mut self, give: &mut dyn FnMut(JsonStr<'_>)) {
        let (end, over) = sure(&self.held);
        let rest = self.held.split_off(end);
        let given = std::mem::replace(&mut self.held, rest);
        let literal = format!("\"{given}\"");
        if !given.is_empty() {
            let repaired = repair::repair(literal.as_bytes());
            give(JsonStr::read(&repaired).unwrap_or_else(|| JsonStr::of(&given)));
            self.spoke = true;
        }
        if over {
            self.state = UnwrapState::Over;
            self.held.clear();
        }
    }
}

/// Returns the length of the complete part of a literal's inside, and whether its closing quote follows.
fn sure(text: &str) -> (usize, bool) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(hit) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        let place = at + hit;
        if bytes.get(place) == Some(&b'"') {
            return (place, true);
        }
        let length = if bytes.get(place + 1) == Some(&b'u') { 6 } else { 2 };
        if place + length > bytes.len() {
            return (whole_characters(text, place), false);
        }
        at = place + length;
    }
    (whole_characters(text, text.len()), false)
}

/// Returns `end`, moved before a high surrogate that stands in front of it.
fn whole_characters(text: &str, end: usize) -> usize {
    let (whole, _) = repair::split_trailing_high(text.get(..end).unwrap_or_default());
    whole.len()
}

/// Returns the text in complete arguments of any form.
fn unwrapped(arguments: &str) -> JsonStr<'_> {
    let mut members = json::members(arguments.as_bytes());
    let mut only = None;
    let mut count = 0;
    for member in members.by_ref().lenient() {
        count += 1;
        let text = arguments.get(member.span.clone()).and_then(JsonStr::read);
        if member.is("input") && text.is_some() {
            return text.unwrap_or_default();
        }
        only = only.or(text);
    }
    match only {
        Some(text) if count == 1 && members.finish().is_ok() => text,
        _ => JsonStr::of(arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrapped(pieces: &[&str]) -> String {
        let (mut unwrap, mut out) = (Unwrap::default(), String::new());
        for piece in pieces {
            unwrap.push(&Args::Str(JsonStr::of(piece)), &mut |text| out.push_str(text.raw()));
        }
        unwrap.end(&mut |text| out.push_str(text.raw()));
        unwrap.end(&mut |_| panic!("only once"));
        JsonStr::read(&format!("\"{out}\"")).unwrap().decode().into_owned()
    }

    #[test]
    fn the_usual_form_is_given_on_however_it_is_cut() {
        let arguments = "{ \"input\" : \"*** Begin\\n\\\"a\\\" \\ud83d\\ude00é\" }";
        let expected = "*** Begin\n\"a\" 😀é";
        assert_eq!(unwrapped(&[arguments]), expected);
        for at in (0..arguments.len()).filter(|at| arguments.is_char_boundary(*at)) {
            let (a, b) = arguments.split_at(at);
            assert_eq!(unwrapped(&[a, b]), expected, "{at}");
        }
        let single: Vec<String> = arguments.chars().map(String::from).collect();
        assert_eq!(unwrapped(&single.iter().map(String::as_str).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn other_forms_mean_what_is_in_them() {
        assert_eq!(unwrapped(&["{\"patch\":\"x\\ny\"}"]), "x\ny");
        assert_eq!(unwrapped(&["{\"a\":1,", "\"input\":\"t\"}"]), "t");
        assert_eq!(unwrapped(&["{\"a\":\"x\",\"b\":\"y\"}"]), "{\"a\":\"x\",\"b\":\"y\"}");
        assert_eq!(unwrapped(&["plain ", "text"]), "plain text");
        assert_eq!(unwrapped(&[]), "");
        assert_eq!(unwrapped(&["{\"input\":7}"]), "{\"input\":7}");
    }
}
