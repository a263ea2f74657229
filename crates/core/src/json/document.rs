//! A document of which one pass has found out what nobody then has to find out again: that all of it is valid, and
//! where each of its keys and values begins and ends.
//!
//! Whoever walks an object skips each of its values, and whoever then walks one of these skips what is inside of
//! it: a byte is read as often as it is deep. With the marks of that one pass a walk reads no byte at all, and what
//! is taken from the document needs no check. A document that is not valid has no marks. Then everything is skipped
//! and checked byte by byte, and the error is found where it stands.

use std::ops::Range;

use super::scan::{self, MAX_DEPTH, Malformed, Member, Scan};
use super::{Lit, Raw, literal};

/// A document that is walked more than once.
#[derive(Debug)]
pub struct Document<'d> {
    text: &'d str,
    /// In the order of their starts; nothing unless all of the document is valid.
    marks: Option<Vec<Mark>>,
    /// Is there white space between its tokens, or might there be?
    spaced: bool,
    /// Is there half a character somewhere, or might there be?
    halves: bool,
}

/// Where among the marks those of a value are looked for: that of the value itself is known, or that of something
/// around it. It only saves time, for what is not found from there is read byte by byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct Near(usize);

impl Near {
    /// Anywhere in the document.
    pub const ROOT: Self = Self(0);
}

/// A key or a value.
#[derive(Clone, Copy, Debug)]
struct Mark {
    start: u32,
    end: u32,
    /// The mark of what follows behind all that is inside of this.
    next: u32,
}

/// The marks of what one object or array holds.
#[derive(Debug)]
struct Inside<'i> {
    marks: &'i [Mark],
    next: usize,
    /// Where in the document the container's text begins.
    origin: usize,
}

/// What stands in a container, by its marks or read byte by byte.
enum Walk<M, S> {
    Marked(M),
    Scanned(S),
}

impl<'d> Document<'d> {
    /// Reads a document.
    #[must_use]
    pub fn read(text: &'d str) -> Self {
        let mut check = Check::new(text);
        let valid = check.document().is_some();
        let (spaced, halves) = (check.spaced || !valid, check.halves || !valid);
        Self { text, spaced, halves, marks: valid.then_some(check.marks) }
    }

    /// A document without text.
    #[must_use]
    pub fn empty() -> &'static Document<'static> {
        static EMPTY: Document<'static> = Document { text: "", marks: None, spaced: true, halves: true };
        &EMPTY
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &'d str {
        self.text
    }

    /// Might there be half a character, for [`repair`](super::repair) to look closer?
    #[must_use]
    pub fn may_hold_halves(&self) -> bool {
        self.halves
    }

    /// A value's text, if it is a string: a valid one, for which a valid document vouches.
    #[must_use]
    pub fn lit<'a>(&self, value: &'a str) -> Option<Lit<'a>> {
        if self.vouches_for(value) { Lit::read_valid(value) } else { Lit::read(value) }
    }

    /// A value that is valid, as [`Document::lit`] says.
    #[must_use]
    pub fn raw<'a>(&self, value: &'a str) -> Option<Raw<'a>> {
        if self.vouches_for(value) { Some(Raw::valid(value)) } else { Raw::read(value) }
    }

    /// As [`compact`](super::compact), and at once if the document holds no such space at all.
    pub fn compact(&self, json: &str, out: &mut Vec<u8>) {
        if self.spaced || !self.vouches_for(json) {
            return super::compact(json, out);
        }
        out.extend_from_slice(json.as_bytes());
    }

    /// As [`members`](super::members), and faster if the object is part of the document. With each member comes
    /// where its value is found.
    pub fn members<'a>(
        &self,
        object: &'a [u8],
        near: Near,
    ) -> impl Iterator<Item = Result<(Member<'a>, Near), Malformed>> {
        let Some(mut inside) = self.inside(object, b'{', near) else {
            let unmarked = scan::members(object).map(|member| Ok((member?, Near::ROOT)));
            return Walk::Scanned(unmarked);
        };
        Walk::Marked(std::iter::from_fn(move || {
            let ((key, _), (span, near)) = (inside.next()?, inside.next()?);
            let key_span = key.start + 1..key.end - 1;
            let (key, value) = (object.get(key_span.clone())?, object.get(span.clone())?);
            Some(Ok((Member { key, key_span, value, span }, near)))
        }))
    }

    /// As [`elements`](super::elements), and faster if the array is part of the document. With each element comes
    /// where it is found.
    pub fn elements(
        &self,
        array: &[u8],
        near: Near,
    ) -> impl Iterator<Item = Result<(Range<usize>, Near), Malformed>> {
        let Some(inside) = self.inside(array, b'[', near) else {
            let unmarked = scan::elements(array).map(|element| Ok((element?.1, Near::ROOT)));
            return Walk::Scanned(unmarked);
        };
        Walk::Marked(inside.map(Ok))
    }

    /// Is this value a valid one because it stands in the document's own memory, and all of that is valid?
    fn vouches_for(&self, value: &str) -> bool {
        self.marks.is_some() && !value.is_empty() && self.place(value.as_bytes()).is_some()
    }

    /// What stands in a container, if that is part of the document.
    fn inside(&self, container: &[u8], open: u8, near: Near) -> Option<Inside<'_>> {
        let (marks, origin) = (self.marks.as_ref()?, self.place(container)?);
        // All of the document is its first value, and perhaps space around that.
        let index = match container.len() == self.text.len() {
            true => 0,
            false => find(marks, u32::try_from(origin).ok()?, near)?,
        };
        let mark = marks.get(index)?;
        let is_whole = mark.end as usize <= origin + container.len();
        let opens = container.get(mark.start as usize - origin) == Some(&open);
        let marks = marks.get(..mark.next as usize)?;
        (is_whole && opens).then_some(Inside { marks, next: index + 1, origin })
    }

    /// Where in the document `part` begins. The same memory holds the same bytes: both are borrowed.
    fn place(&self, part: &[u8]) -> Option<usize> {
        let start = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        (start + part.len() <= self.text.len()).then_some(start)
    }
}

/// The mark of what begins at `start`.
fn find(marks: &[Mark], start: u32, Near(near): Near) -> Option<usize> {
    let mark = marks.get(near)?;
    if mark.start == start {
        return Some(near);
    }
    let inside = marks.get(near + 1..mark.next as usize)?;
    let found = inside.binary_search_by_key(&start, |mark| mark.start).ok()?;
    Some(near + 1 + found)
}

impl Iterator for Inside<'_> {
    type Item = (Range<usize>, Near);

    fn next(&mut self) -> Option<Self::Item> {
        let (near, mark) = (Near(self.next), self.marks.get(self.next)?);
        self.next = mark.next as usize;
        Some((mark.start as usize - self.origin..mark.end as usize - self.origin, near))
    }
}

impl<T, M: Iterator<Item = T>, S: Iterator<Item = T>> Iterator for Walk<M, S> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Marked(marked) => marked.next(),
            Self::Scanned(scanned) => scanned.next(),
        }
    }
}

/// Reads a document as strictly as `serde_json` does.
struct Check<'d> {
    scan: Scan<'d>,
    /// Is there a control character, if only between the values?
    has_control: bool,
    /// Was there space between tokens?
    spaced: bool,
    /// Was there an escape that can be half a character?
    halves: bool,
    marks: Vec<Mark>,
}

impl<'d> Check<'d> {
    fn new(document: &'d str) -> Self {
        let bytes = document.as_bytes();
        let marks = Vec::with_capacity(bytes.len() / TYPICAL);
        let (scan, has_control) = (Scan::new(bytes), literal::has_control(bytes));
        Self { scan, has_control, spaced: false, halves: false, marks }
    }

    /// Reads all of the document, if it is valid.
    fn document(&mut self) -> Option<()> {
        u32::try_from(self.scan.json.len()).ok()?;
        self.token()?;
        self.value(MAX_DEPTH - 1)?;
        self.token().is_none().then_some(())
    }

    /// The first byte of the next token, to which it goes. Nearly always that stands here already.
    #[inline(always)]
    fn token(&mut self) -> Option<u8> {
        match self.scan.peek() {
            Some(b'\0'..=b' ') => self.token_behind_space(),
            token => token,
        }
    }

    fn token_behind_space(&mut self) -> Option<u8> {
        let start = self.scan.at;
        self.scan.skip_space();
        self.spaced |= self.scan.at > start;
        self.scan.peek()
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        self.marked(|check| match check.scan.peek()? {
            b'"' => check.string(),
            b'{' => check.items(b'}', depth.checked_sub(1)?, Self::member),
            b'[' => check.items(b']', depth.checked_sub(1)?, Self::value),
            b't' => check.scan.word(b"true").ok(),
            b'f' => check.scan.word(b"false").ok(),
            b'n' => check.scan.word(b"null").ok(),
            _ => check.number(),
        })
    }

    /// Reads a key or a value, and marks it.
    fn marked(&mut self, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let (start, place) = (u32::try_from(self.scan.at).ok()?, self.marks.len());
        self.marks.push(Mark { start, end: 0, next: 0 });
        read(self)?;
        let (end, next) = (u32::try_from(self.scan.at).ok()?, u32::try_from(self.marks.len()).ok()?);
        *self.marks.get_mut(place)? = Mark { start, end, next };
        Some(())
    }

    /// Reads what stands between brackets.
    fn items(&mut self, close: u8, depth: u32, item: fn(&mut Self, u32) -> Option<()>) -> Option<()> {
        self.scan.at += 1;
        if self.token()? == close {
            self.scan.at += 1;
            return Some(());
        }
        loop {
            item(self, depth)?;
            let token = self.token()?;
            self.scan.at += 1;
            match token {
                b',' => self.token()?,
                token => return (token == close).then_some(()),
            };
        }
    }

    fn member(&mut self, depth: u32) -> Option<()> {
        self.marked(Self::string)?;
        if self.token()? != b':' {
            return None;
        }
        self.scan.at += 1;
        self.token()?;
        self.value(depth)
    }

    fn string(&mut self) -> Option<()> {
        self.scan.eat(b'"', "").ok()?;
        let start = self.scan.at;
        let end = literal::end(self.scan.json, start, |bytes, at| {
            self.halves |= literal::may_be_half(bytes, at);
            literal::is_escape(bytes, at)
        })?;
        if self.has_control && literal::has_control(self.scan.json.get(start..end)?) {
            return None;
        }
        self.scan.at = end + 1;
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.scan.eat(b'-', "");
        if self.scan.eat(b'0', "").is_err() {
            self.digits()?;
        }
        if self.scan.eat(b'.', "").is_ok() {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.scan.peek() {
            self.scan.at += 1;
            if let Some(b'+' | b'-') = self.scan.peek() {
                self.scan.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.scan.at;
        self.scan.run(|byte| byte.is_ascii_digit());
        (self.scan.at > start).then_some(())
    }
}

/// Bytes of a document for which one mark is expected: a conversation has fewer, with its tools it has more.
const TYPICAL: usize = 64;

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::json::repair;

    /// Walks a value of a document, and names what it finds.
    fn walk(document: &Document<'_>, json: &str, near: Near, out: &mut String) {
        match json.trim_start().as_bytes().first() {
            Some(b'{') => document.members(json.as_bytes(), near).for_each(|member| {
                let (member, near) = member.unwrap();
                write!(out, "{}:", String::from_utf8_lossy(member.key)).unwrap();
                walk(document, json.get(member.span).unwrap(), near, out);
            }),
            Some(b'[') => document.elements(json.as_bytes(), near).for_each(|element| {
                let (span, near) = element.unwrap();
                walk(document, json.get(span).unwrap(), near, out);
            }),
            _ => write!(out, "{json};").unwrap(),
        }
    }

    #[test]
    fn a_walk_finds_the_same_with_marks_and_without() {
        let long = "x\\\"".repeat(30);
        let inner =
            format!(r#"{{"a":[1,"{long}",{{"b":[[],{{}},"{long}"]}}],"c":"short","d":{{"e":"{long}"}}}}"#);
        for json in [inner.clone(), format!(" [{inner} , {inner},\n[{inner}]]"), format!("[\"{long}\"]")] {
            let (document, mut with, mut without) = (Document::read(&json), String::new(), String::new());
            assert!(!document.marks.as_ref().unwrap().is_empty());
            walk(&document, &json, Near::ROOT, &mut with);
            walk(Document::empty(), &json, Near::ROOT, &mut without);
            assert_eq!(with, without);
        }
    }

    #[test]
    fn a_container_is_found_from_what_is_around_it_and_read_from_anywhere() {
        let json = r#"{"a":{"b":[1,{"c":2}]},"d":[3]}"#;
        let document = Document::read(json);
        let marks = document.marks.as_ref().unwrap();
        let at = json.find(r#"{"c""#).unwrap();
        let object = json.get(at..at + 7).unwrap();
        let mut found = 0;
        for near in 0..=marks.len() {
            let place = find(marks, u32::try_from(at).unwrap(), Near(near));
            let around =
                marks.get(near).is_some_and(|mark| (mark.start as usize..mark.end as usize).contains(&at));
            assert_eq!(place.is_some(), around, "{near}");
            found += usize::from(around);
            let members: Vec<_> = document.members(object.as_bytes(), Near(near)).collect();
            assert!(matches!(members.as_slice(), [Ok((only, _))] if only.key == b"c" && only.value == b"2"));
        }
        assert_eq!(found, 4);
    }

    #[test]
    fn halves_are_seen_and_little_else() {
        for (json, halves) in [
            (r#"{"a":"x\\ud83d","b":"\u00e9\n"}"#, false),
            (r#"{"a":"\ud83d"}"#, true),
            (r#"{"\uDE00":1}"#, true),
            (r#"{"a":1"#, true),
        ] {
            assert_eq!(Document::read(json).may_hold_halves(), halves, "{json}");
        }
    }

    #[test]
    fn what_is_compact_is_seen_to_be() {
        let compact = |json: &str, value: &str| {
            let (document, mut out) = (Document::read(json), Vec::new());
            let at = json.find(value).unwrap();
            document.compact(json.get(at..at + value.len()).unwrap(), &mut out);
            (document.spaced, String::from_utf8(out).unwrap())
        };
        let value = r#"[1,"a b"]"#;
        assert_eq!(compact(r#"{"a":[1,"a b"],"b":{},"c":[]}"#, value), (false, value.to_owned()));
        for json in
            [r#"{"a":[1, "a b"]}"#, r#"{"a":[1,"a b" ]}"#, r#"{"a":[ 1,"a b"]}"#, r#"{"a":[1 ,"a b"]}"#]
        {
            let array = json.get(5..json.len() - 1).unwrap();
            assert_eq!(compact(json, array), (true, value.to_owned()), "{json}");
        }
        for json in [r#" {"a":1}"#, r#"{ "a":1}"#, r#"{"a" :1}"#, r#"{"a": 1}"#, r#"{"a":1 }"#, r#"{"a":1}x"#]
        {
            assert!(Document::read(json).spaced, "{json}");
        }
        let mut out = Vec::new();
        Document::read("[1]").compact("[1, 2]", &mut out);
        assert_eq!(out, b"[1,2]");
    }

    #[test]
    fn vouches_for_its_own_memory_only() {
        let (json, other) = (r#"{"a":[1]}"#.to_owned(), r#"{"a":[1]}"#.to_owned());
        let document = Document::read(&json);
        assert!(
            document.vouches_for(json.get(5..8).unwrap())
                && !document.vouches_for(other.get(5..8).unwrap())
                && !document.vouches_for("")
        );
        assert!(!Document::empty().vouches_for(&json) && !Document::read("[1").vouches_for("[1"));
    }

    /// As the library judges, which has no limit of depth here.
    fn is_valid(json: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok()
    }

    #[test]
    fn damage_at_any_place_is_seen_as_the_library_sees_it() {
        let damage = [
            "", "\"", "\\", "\\\\", "{", "}", "[", "]", ",", ":", " ", "\n", "\u{1}", "0", "-", "e", "u",
            "x", "é",
        ];
        for before in [0, 1, 30, 47, 59, 60, 61, 62, 63, 64, 65, 127] {
            let text = format!("{}\\\"\\\\\\u00e9\\n\\\\\\\"é", "#".repeat(before));
            let json = format!(
                r#" {{"k\n":[true,false ,null,-1.5e+7,0],"{text}":{{"x":"{text}"}}, "e":[{{}},[]]}}"#
            );
            assert!(is_valid(&json) && Document::read(&json).marks.is_some());
            for (at, _) in json.char_indices() {
                for new in damage {
                    for behind in [at, json.ceil_char_boundary(at + 1)] {
                        let json = format!("{}{new}{}", json.get(..at).unwrap(), json.get(behind..).unwrap());
                        assert_eq!(Document::read(&json).marks.is_some(), is_valid(&json), "{json:?}");
                    }
                }
                assert!(Document::read(json.get(..at).unwrap()).marks.is_none());
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_as_the_library_judges(tokens in prop::collection::vec(token(), 0..40)) {
            let json = tokens.concat();
            prop_assert_eq!(Document::read(&json).marks.is_some(), is_valid(&json));
        }

        #[test]
        fn no_half_of_a_character_is_missed(tokens in prop::collection::vec(token(), 0..40)) {
            let json = tokens.concat();
            let holds = repair::without_halves(&json, false).is_some();
            prop_assert!(Document::read(&json).may_hold_halves() || !holds);
        }

        #[test]
        fn any_value_is_walked_alike_with_marks_and_without(json in value()) {
            let (document, mut with, mut without) = (Document::read(&json), String::new(), String::new());
            prop_assert!(document.marks.is_some());
            walk(&document, &json, Near::ROOT, &mut with);
            walk(Document::empty(), &json, Near::ROOT, &mut without);
            prop_assert_eq!(with, without);
        }
    }

    fn token() -> impl Strategy<Value = String> {
        let fixed = [
            "{", "}", "[", "]", ",", ":", " ", "\n", "0", "-1", "1.5", "1e9", "true", "null", "\"", "\\",
            "\"k\":",
        ];
        prop_oneof![prop::sample::select(fixed.to_vec()).prop_map(str::to_owned), literal()]
    }

    fn literal() -> impl Strategy<Value = String> {
        let parts = [
            "a",
            "\\\"",
            "\\\\",
            "\\n",
            "\\u00e9",
            "\\ud83d",
            "\\uDE00",
            "é",
            "{",
            "]",
            ",",
            "################",
        ];
        let parts = prop::collection::vec(prop::sample::select(parts.to_vec()), 0..30);
        parts.prop_map(|parts| format!("\"{}\"", parts.concat()))
    }

    /// A valid value with odd spacing.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![Just("-1.5e3".to_owned()), Just("true".to_owned()), literal()];
        leaf.prop_recursive(6, 60, 5, |inner| {
            let member = (literal(), inner.clone()).prop_map(|(key, value)| format!("{key} :{value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(|all| format!("[{}\t]", all.join(" , "))),
                prop::collection::vec(member, 0..5).prop_map(|all| format!("{{ {}}}", all.join(","))),
            ]
        })
    }

    #[test]
    fn only_what_the_library_takes_is_valid() {
        let deep = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Document::read(&deep(127)).marks.is_some() && Document::read(&deep(128)).marks.is_none());
        for json in [
            "0",
            "-0.5e+7",
            "1E2",
            "\"\"",
            " [ ] ",
            "{ }",
            "true",
            "[null ,false]",
            "\"\\u00e9\\ud83d\"", // valid
            "",
            " ",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "tru",
            "[1,]",
            "[,]",
            "{\"a\"}",
            "{1:2}",
            "[1}",
            "1 2",
            "\u{feff}1",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "\"a",
            "[\"\t\"\n]",
            "{\"a\":1,}",
            "\u{c}1",
            "nan",
        ] {
            assert_eq!(Document::read(json).marks.is_some(), is_valid(json), "{json:?}");
        }
    }
}
