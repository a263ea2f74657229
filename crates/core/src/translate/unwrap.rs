//! The text of a freeform tool, out of the JSON arguments in which a provider without such tools wraps it.
//!
//! `{"input":"…"}` is what the provider was asked for, and its text is given on as it comes. Any other object
//! with one text in it means that text; whatever else comes is the text itself, once it is whole.

use crate::canon::Args;
use crate::json::{self, JsonStr, Lenient as _, repair};

/// Takes arguments piece by piece and gives the text in them.
#[derive(Debug, Default)]
pub(super) struct Unwrap {
    state: UnwrapState,
    /// The arguments so far, or what of them is not given on yet.
    held: String,
    spoke: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum UnwrapState {
    /// Whether the arguments have the usual form is not known yet.
    #[default]
    Unknown,
    /// Inside of the text.
    Inside,
    /// They have another form, and are waited for.
    Other,
    /// The text is over.
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

    /// Takes the end. Only the first one counts.
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

    /// Gives what is sure: up to the quote that ends the text, and never half an escape.
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

/// How far the inside of a literal is complete, and whether its closing quote follows there.
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

/// `end`, or before the first half of a character that stands there.
fn whole_characters(text: &str, end: usize) -> usize {
    let (whole, _) = repair::split_trailing_high(text.get(..end).unwrap_or_default());
    whole.len()
}

/// The text in arguments of any form.
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
