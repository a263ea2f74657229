//! A document of which one pass has found out what nobody then has to find out again: that all of it is valid, and
//! where its longer values end.
//!
//! Whoever walks an object skips each of its values, and whoever then walks one of these skips what is inside of
//! it: a byte is read as often as it is deep. With the marks of that one pass a skip is a look-up, and what is
//! taken from the document needs no check. A document that is not valid has no marks. Then everything is skipped
//! and checked byte by byte, and the error is found where it stands.

use super::scan::{Elements, MAX_DEPTH, Members, Scan};
use super::{Lit, Raw, literal};

/// A document that is walked more than once.
#[derive(Debug)]
pub struct Document<'d> {
    text: &'d str,
    /// In the order of their starts; nothing unless all of the document is valid.
    marks: Option<Vec<Mark>>,
    /// Is there white space between its tokens, or might there be?
    spaced: bool,
}

/// A value that is worth a look-up.
#[derive(Clone, Copy, Debug)]
struct Mark {
    start: u32,
    end: u32,
    /// The mark of the next value that is not inside of this one.
    next: u32,
}

/// The marks of a part of a document, for one walk over it.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks<'i> {
    marks: &'i [Mark],
    /// Where in the document the part begins.
    start: usize,
    next: usize,
}

impl<'d> Document<'d> {
    /// Reads a document.
    #[must_use]
    pub fn read(text: &'d str) -> Self {
        let mut check = Check::new(text);
        let valid = check.document().is_some();
        Self { text, spaced: check.spaced || !valid, marks: valid.then_some(check.marks) }
    }

    /// A document without text.
    #[must_use]
    pub fn empty() -> &'static Document<'static> {
        static EMPTY: Document<'static> = Document { text: "", marks: None, spaced: true };
        &EMPTY
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &'d str {
        self.text
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

    /// As [`members`](super::members), and faster if the object is part of the document.
    #[must_use]
    pub fn members<'a, 'i>(&'i self, object: &'a [u8]) -> Members<'a, 'i> {
        Members::new(Scan::new(object).with(self.marks(object)))
    }

    /// As [`elements`](super::elements), and faster if the array is part of the document.
    #[must_use]
    pub fn elements<'a, 'i>(&'i self, array: &'a [u8]) -> Elements<'a, 'i> {
        Elements::new(Scan::new(array).with(self.marks(array)))
    }

    /// Is this value a valid one because it stands in the document's own memory, and all of that is valid?
    fn vouches_for(&self, value: &str) -> bool {
        self.marks.is_some() && !value.is_empty() && self.place(value.as_bytes()).is_some()
    }

    fn marks(&self, part: &[u8]) -> Marks<'_> {
        let (Some(marks), Some(start)) = (&self.marks, self.place(part)) else { return Marks::default() };
        let next = marks.partition_point(|mark| (mark.start as usize) < start);
        Marks { marks, start, next }
    }

    /// Where in the document `part` begins. The same memory holds the same bytes: both are borrowed.
    fn place(&self, part: &[u8]) -> Option<usize> {
        let start = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        (start + part.len() <= self.text.len()).then_some(start)
    }
}

impl Marks<'_> {
    /// Where the value ends that begins at `at`, if that is known. Values are asked for from left to right.
    pub(super) fn end(&mut self, at: usize) -> Option<usize> {
        let place = self.start + at;
        loop {
            let mark = self.marks.get(self.next)?;
            let (start, end) = (mark.start as usize, mark.end as usize);
            if start > place {
                return None;
            }
            // What begins before and ends behind is what is being walked.
            self.next = if start < place && place < end { self.next + 1 } else { mark.next as usize };
            if start == place {
                return Some(end - self.start);
            }
        }
    }
}

/// Reads a document as strictly as `serde_json` does.
struct Check<'d> {
    scan: Scan<'d, 'static>,
    /// Is there a control character, if only between the values?
    has_control: bool,
    /// Was there space between tokens?
    spaced: bool,
    marks: Vec<Mark>,
}

impl<'d> Check<'d> {
    fn new(document: &'d str) -> Self {
        let bytes = document.as_bytes();
        let marks = Vec::with_capacity(bytes.len() / TYPICAL);
        Self { scan: Scan::new(bytes), has_control: literal::has_control(bytes), spaced: false, marks }
    }

    /// Reads all of the document, if it is valid.
    fn document(&mut self) -> Option<()> {
        u32::try_from(self.scan.json.len()).ok()?;
        self.skip_space();
        self.value(MAX_DEPTH - 1)?;
        self.skip_space();
        self.scan.peek().is_none().then_some(())
    }

    fn skip_space(&mut self) {
        let start = self.scan.at;
        self.scan.skip_space();
        self.spaced |= self.scan.at > start;
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        match self.scan.peek()? {
            b'"' => self.marked(Self::string),
            b'{' => self.marked(|check| check.items(b'}', depth.checked_sub(1)?, Self::member)),
            b'[' => self.marked(|check| check.items(b']', depth.checked_sub(1)?, Self::value)),
            b't' => self.scan.word(b"true").ok(),
            b'f' => self.scan.word(b"false").ok(),
            b'n' => self.scan.word(b"null").ok(),
            _ => self.number(),
        }
    }

    /// Reads a value, and marks it if it is long.
    fn marked(&mut self, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let (start, place) = (self.scan.at, self.marks.len());
        let mark = |end, next| Some(Mark { start: u32::try_from(start).ok()?, end, next });
        self.marks.push(mark(0, 0)?);
        read(self)?;
        if self.scan.at - start < LONG {
            // There is nothing inside that is longer.
            self.marks.truncate(place);
            return Some(());
        }
        let (end, next) = (u32::try_from(self.scan.at).ok()?, u32::try_from(self.marks.len()).ok()?);
        *self.marks.get_mut(place)? = mark(end, next)?;
        Some(())
    }

    /// Reads what stands between brackets.
    fn items(&mut self, close: u8, depth: u32, item: fn(&mut Self, u32) -> Option<()>) -> Option<()> {
        self.scan.at += 1;
        self.skip_space();
        if self.scan.eat(close, "").is_ok() {
            return Some(());
        }
        loop {
            item(self, depth)?;
            self.skip_space();
            if self.scan.eat(close, "").is_ok() {
                return Some(());
            }
            self.scan.eat(b',', "").ok()?;
            self.skip_space();
        }
    }

    fn member(&mut self, depth: u32) -> Option<()> {
        self.string()?;
        self.skip_space();
        self.scan.eat(b':', "").ok()?;
        self.skip_space();
        self.value(depth)
    }

    fn string(&mut self) -> Option<()> {
        self.scan.eat(b'"', "").ok()?;
        let start = self.scan.at;
        let end = literal::end(self.scan.json, start, literal::is_escape)?;
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

/// Bytes from which on a value is marked: what is shorter is skipped as fast by reading it.
const LONG: usize = 48;

/// Bytes of a document for which one mark is expected.
const TYPICAL: usize = 256;

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// Walks a value of a document, and names what it finds.
    fn walk(document: &Document<'_>, json: &str, out: &mut String) {
        match json.trim_start().as_bytes().first() {
            Some(b'{') => document.members(json.as_bytes()).for_each(|member| {
                let member = member.unwrap();
                write!(out, "{}:", String::from_utf8_lossy(member.key)).unwrap();
                walk(document, json.get(member.span).unwrap(), out);
            }),
            Some(b'[') => document
                .elements(json.as_bytes())
                .for_each(|element| walk(document, json.get(element.unwrap().1).unwrap(), out)),
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
            walk(&document, &json, &mut with);
            walk(Document::empty(), &json, &mut without);
            assert_eq!(with, without);
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
        fn any_value_is_walked_alike_with_marks_and_without(json in value()) {
            let (document, mut with, mut without) = (Document::read(&json), String::new(), String::new());
            prop_assert!(document.marks.is_some());
            walk(&document, &json, &mut with);
            walk(Document::empty(), &json, &mut without);
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
        let parts = ["a", "\\\"", "\\\\", "\\n", "\\u00e9", "é", "{", "]", ",", "################"];
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
