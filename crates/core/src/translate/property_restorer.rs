//! The client's names of properties, put back into the arguments of a call while they come.
//!
//! A string is a key if a colon follows it. So each string that is short enough for a key is held back until the next
//! token begins, and everything else is passed on as it comes.

use crate::canon::{Args, PropertyNames};
use crate::json::{JsonStr, text, write};

/// A reader that takes arguments piece by piece and passes them on with other keys.
#[derive(Debug)]
pub(super) struct PropertyRestorer {
    namespace: Option<String>,
    name: String,
    state: RestorerState,
    /// The string that may be a key, with its quotes, and the white space behind it.
    held: String,
    /// Length of the string in `held`, once it has ended.
    literal: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RestorerState {
    /// Between strings.
    Outside,
    /// In a string; `held` has it so far, unless it is too long for a key.
    Inside { escaped: bool, is_held: bool },
    /// Behind a string that may be a key.
    Behind,
}

impl PropertyRestorer {
    /// Creates a reader for the arguments of this tool.
    pub(super) fn new(namespace: Option<&str>, name: &str) -> Self {
        Self {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            state: RestorerState::Outside,
            held: String::new(),
            literal: 0,
        }
    }

    /// Takes a piece.
    pub(super) fn push(&mut self, part: &Args<'_>, names: &PropertyNames, give: &mut dyn FnMut(JsonStr<'_>)) {
        let mut out = String::new();
        match part {
            Args::Str(text) => text.decode().chars().for_each(|c| self.take(c, names, &mut out)),
            Args::Raw(json) => json.get().chars().for_each(|c| self.take(c, names, &mut out)),
        }
        if !out.is_empty() {
            give(JsonStr::of(&out));
        }
    }

    /// Takes the end of the arguments.
    pub(super) fn end(&mut self, give: &mut dyn FnMut(JsonStr<'_>)) {
        self.state = RestorerState::Outside;
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            give(JsonStr::of(&held));
        }
    }

    fn take(&mut self, c: char, names: &PropertyNames, out: &mut String) {
        match self.state {
            RestorerState::Inside { escaped, is_held } => self.inside(c, escaped, is_held, out),
            RestorerState::Behind if c == ':' => self.restore(names, out),
            RestorerState::Behind if c.is_ascii_whitespace() && self.held.len() < MAX_HELD_BYTES => {
                self.held.push(c);
            }
            RestorerState::Behind | RestorerState::Outside => {
                out.push_str(&self.held);
                self.held.clear();
                self.state = RestorerState::Outside;
                if c == '"' {
                    self.held.push(c);
                    self.state = RestorerState::Inside { escaped: false, is_held: true };
                } else {
                    out.push(c);
                }
            }
        }
    }

    fn inside(&mut self, c: char, escaped: bool, is_held: bool, out: &mut String) {
        let ends = c == '"' && !escaped;
        self.held.push(c);
        let is_held = is_held && self.held.len() <= MAX_HELD_BYTES;
        if !is_held {
            out.push_str(&self.held);
            self.held.clear();
        }
        self.literal = self.held.len();
        self.state = match (ends, is_held) {
            (true, true) => RestorerState::Behind,
            (true, false) => RestorerState::Outside,
            _ => RestorerState::Inside { escaped: c == '\\' && !escaped, is_held },
        };
    }

    /// Passes on a key, under the client's name if it has another one.
    fn restore(&mut self, names: &PropertyNames, out: &mut String) {
        let (literal, space) = self.held.split_at_checked(self.literal).unwrap_or_default();
        let key = text(literal.as_bytes()).unwrap_or_default();
        let renamed = names.of(self.namespace.as_deref(), &self.name);
        match renamed.and_then(|renamed| renamed.original(&key)) {
            Some(original) => out.push_str(&write::literal(original)),
            None => out.push_str(literal),
        }
        out.push_str(space);
        out.push(':');
        self.held.clear();
        self.state = RestorerState::Outside;
    }
}

/// Maximum number of bytes that are held back: a provider's name has up to 64 characters, each of which may be written
/// as an escape of six.
const MAX_HELD_BYTES: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::RenamedProperties;

    fn restored(names: &PropertyNames, pieces: &[&str]) -> String {
        let (mut restorer, mut out) = (PropertyRestorer::new(None, "f"), String::new());
        for piece in pieces {
            restorer.push(&Args::Str(JsonStr::of(piece)), names, &mut |text| out.push_str(&text.decode()));
        }
        restorer.end(&mut |text| out.push_str(&text.decode()));
        out
    }

    #[test]
    fn keys_come_back_however_the_arguments_are_cut() {
        let mut renamed = RenamedProperties::default();
        let top = renamed.rename("$top").into_owned();
        let mut names = PropertyNames::default();
        names.keep(None, "f", renamed);
        let long = "x".repeat(900);
        let sent =
            format!(r#"{{"{top}" : 1, "a\"b":["{top}", "{long}"], "c":{{"{top}":"é\\"}}, "d":"{top}" }}"#);
        let expected = sent.replacen(&format!("\"{top}\" :"), "\"$top\" :", 1).replacen(
            &format!("\"{top}\":"),
            "\"$top\":",
            1,
        );
        assert_eq!(restored(&names, &[&sent]), expected);
        let single: Vec<String> = sent.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(restored(&names, &single), expected);
        for cut in (0..sent.len()).filter(|at| sent.is_char_boundary(*at)) {
            let (one, two) = sent.split_at(cut);
            assert_eq!(restored(&names, &[one, two]), expected);
        }
        assert_eq!(restored(&names, &["{\"cut of"]), "{\"cut of");
        assert_eq!(restored(&names, &["not json"]), "not json");
    }
}
