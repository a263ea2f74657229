//! A scanner over one JSON document, which yields the members of an object and the elements of an array as spans.
//!
//! The input may be hostile. The spans are literals, still quoted and escaped. Each value is skipped by matching
//! its brackets and strings; the content between them is not checked, because the provider checks it anyway. Depth
//! is limited, nothing recurses, and nothing allocates.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::literal;

/// The reason for which a document cannot be read, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Malformed {
    /// Offset in bytes.
    pub at: usize,
    /// The token that was expected there.
    pub expected: &'static str,
}

/// One member of an object.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The key, without its quotes but with its escapes.
    pub key: &'a [u8],
    /// The span of `key` in the document.
    pub key_span: Range<usize>,
    /// The value's literal.
    pub value: &'a [u8],
    /// The span of `value` in the document.
    pub span: Range<usize>,
}

/// An iterator over the members of one object, in order. It ends after the first error.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    scan: Scan<'a>,
    state: ScanState,
}

/// An iterator over the elements of one array, in order. It ends after the first error.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    scan: Scan<'a>,
    state: ScanState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanState {
    First,
    Next,
    Done,
}

/// A position in a document.
#[derive(Clone, Debug)]
pub(super) struct Scan<'a> {
    pub(super) json: &'a [u8],
    pub(super) at: usize,
    /// The bits of all strings so far; `last` has those of the last one.
    seen: u8,
    last: u8,
    watch: Option<Watch>,
}

/// A function that classifies string literals. It gets the inside of a literal and the bytes after it, and returns
/// bits of its own, [`ID`] and [`KIND`].
pub type Watch = fn(&[u8], &[u8]) -> u8;

/// Bit of a key under which an object has its id.
pub const ID: u8 = 0x80;

/// Bit of a key under which an object has its type.
pub const KIND: u8 = 0x40;

/// Bit for an object in an array of a member that has an id and no type.
pub const NAMELESS: u8 = 0x20;

/// Iterates over the members of the object in `json`; leading white space and a byte order mark are skipped.
#[must_use]
pub fn members(json: &[u8]) -> Members<'_> {
    Members::new(Scan::new(json))
}

/// Iterates over the elements of the array in `json`.
#[must_use]
pub fn elements(json: &[u8]) -> Elements<'_> {
    Elements::new(Scan::new(json))
}

/// Returns the text of a string literal; `None` for any other value and for invalid escapes.
#[must_use]
pub fn text(literal: &[u8]) -> Option<Cow<'_, str>> {
    let inner = literal.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    match memchr::memchr(b'\\', inner) {
        None => std::str::from_utf8(inner).ok().map(Cow::Borrowed),
        Some(_) => serde_json::from_slice(literal).ok().map(Cow::Owned),
    }
}

impl<'a> Member<'a> {
    /// Whether this is the key `name`, however it is spelled.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        spells(self.key, name)
    }

    /// Whether the value is something else than `null`.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.value != b"null"
    }

    /// Returns the value's text, if it is a string.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'a, str>> {
        text(self.value)
    }

    /// Returns the value, if it is a non-negative integer.
    #[must_use]
    pub fn unsigned(&self) -> Option<u64> {
        std::str::from_utf8(self.value).ok()?.parse().ok()
    }
}

impl<'a> Members<'a> {
    fn new(scan: Scan<'a>) -> Self {
        Self { scan, state: ScanState::First }
    }

    /// Shows every string at any depth, key or value, to `watch` as well.
    #[must_use]
    pub fn watched_by(mut self, watch: Watch) -> Self {
        self.scan.watch = Some(watch);
        self
    }

    /// Returns the bits of the strings so far.
    #[must_use]
    pub fn seen(&self) -> u8 {
        self.scan.seen
    }

    /// Reads on to the end of the document. Only white space may follow the object.
    ///
    /// # Errors
    /// Returns [`Malformed`] if the rest is not valid.
    pub fn finish(&mut self) -> Result<(), Malformed> {
        for member in self.by_ref() {
            member?;
        }
        self.scan.skip_space();
        match self.scan.peek() {
            None => Ok(()),
            Some(_) => Err(self.scan.malformed("the end")),
        }
    }
}

impl<'a> Elements<'a> {
    fn new(scan: Scan<'a>) -> Self {
        Self { scan, state: ScanState::First }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let (scan, state) = (&mut self.scan, &mut self.state);
        let start = scan.at;
        let next = step(scan, state, b'{', b'}', "an object", Scan::member);
        super::work::visited(self.scan.at - start);
        next
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<(&'a [u8], Range<usize>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let (scan, state) = (&mut self.scan, &mut self.state);
        let start = scan.at;
        let next = step(scan, state, b'[', b']', "an array", |scan| {
            let span = scan.value()?;
            Ok((scan.bytes(span.clone()), span))
        });
        super::work::visited(self.scan.at - start);
        next
    }
}

/// Takes one step of an iteration over a container: its opening or a comma, then an item, or its end.
pub(super) fn step<'a, T>(
    scan: &mut Scan<'a>,
    state: &mut ScanState,
    open: u8,
    close: u8,
    expected: &'static str,
    item: impl FnOnce(&mut Scan<'a>) -> Result<T, Malformed>,
) -> Option<Result<T, Malformed>> {
    let result = (|| {
        match *state {
            ScanState::Done => return Ok(None),
            ScanState::First => scan.open(open, expected)?,
            ScanState::Next => scan.skip_space(),
        }
        if scan.peek() == Some(close) && *state != ScanState::Done {
            scan.at += 1;
            return Ok(None);
        }
        if *state == ScanState::Next {
            scan.eat(b',', "a comma")?;
            scan.skip_space();
        }
        *state = ScanState::Next;
        item(scan).map(Some)
    })()
    .transpose();
    if !matches!(result, Some(Ok(_))) {
        *state = ScanState::Done;
    }
    result
}

impl<'a> Scan<'a> {
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self { json, at: 0, seen: 0, last: 0, watch: None }
    }

    /// Returns the number of bytes that were looked at.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Reads a key up to its value; returns the span of its inside.
    pub(super) fn key(&mut self) -> Result<Range<usize>, Malformed> {
        let key = self.string()?;
        self.skip_space();
        self.eat(b':', "a colon")?;
        self.skip_space();
        Ok(key.start + 1..key.end - 1)
    }

    /// Reads a member and skips its value.
    pub(super) fn member(&mut self) -> Result<Member<'a>, Malformed> {
        let key_span = self.key()?;
        let span = self.value()?;
        let (key, value) = (self.bytes(key_span.clone()), self.bytes(span.clone()));
        Ok(Member { key, key_span, value, span })
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    pub(super) fn bytes(&self, span: Range<usize>) -> &'a [u8] {
        self.json.get(span).unwrap_or_default()
    }

    fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn eat(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(self.malformed(expected));
        }
        self.at += 1;
        Ok(())
    }

    pub(super) fn skip_mark(&mut self) {
        if self.at == 0 && self.json.starts_with(BYTE_ORDER_MARK) {
            self.at = BYTE_ORDER_MARK.len();
        }
    }

    fn open(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        self.skip_mark();
        self.skip_space();
        self.eat(byte, expected)?;
        self.skip_space();
        Ok(())
    }

    pub(super) fn value(&mut self) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => return self.string(),
            Some(b'{' | b'[') => self.container()?,
            Some(b'-' | b'0'..=b'9') => {
                self.run(|b| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
            }
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            _ => return Err(self.malformed("a value")),
        }
        Ok(start..self.at)
    }

    pub(super) fn run(&mut self, belongs: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&belongs) {
            self.at += 1;
        }
    }

    pub(super) fn word(&mut self, word: &'static [u8]) -> Result<(), Malformed> {
        if !self.json.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.malformed("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Skips a string; the span includes its quotes.
    pub(super) fn string(&mut self) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        self.eat(b'"', "a string")?;
        let Some(end) = literal::end(self.json, self.at, |_, _| true) else {
            self.at = self.json.len();
            return Err(self.malformed("the end of a string"));
        };
        self.at = end + 1;
        if let Some(watch) = self.watch {
            self.last = watch(self.bytes(start + 1..end), self.json.get(self.at..).unwrap_or_default());
            self.seen |= self.last;
        }
        Ok(start..self.at)
    }

    /// Skips an object or an array with all its content.
    fn container(&mut self) -> Result<(), Malformed> {
        let mut arrays: u128 = 0;
        let mut depth: u32 = 0;
        let mut item = 0;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                    if depth == ITEM && arrays & 0b11 == 0b10 {
                        item |= self.last;
                    }
                    continue;
                }
                Some(open @ (b'{' | b'[')) => {
                    if depth + OUTER >= MAX_DEPTH {
                        return Err(self.malformed("less nesting"));
                    }
                    arrays = arrays << 1 | u128::from(open == b'[');
                    depth += 1;
                }
                Some(close @ (b'}' | b']')) => {
                    if (arrays & 1 == 1) != (close == b']') {
                        return Err(self.malformed("the other closing bracket"));
                    }
                    arrays >>= 1;
                    if depth == ITEM {
                        let is_nameless = std::mem::take(&mut item) & (ID | KIND) == ID;
                        self.seen |= if is_nameless { NAMELESS } else { 0 };
                    }
                    depth -= 1;
                }
                Some(_) => {}
                None => return Err(self.malformed("a closing bracket")),
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// Whether the inside of a string literal spells `name`, which is ASCII, with or without escapes.
pub(super) fn spells(inner: &[u8], name: &str) -> bool {
    let mut rest = inner;
    for expected in name.bytes() {
        let (unit, after) = match rest.split_first() {
            Some((b'\\', _)) => match escaped(rest) {
                Some(found) => found,
                None => return false,
            },
            Some((byte, after)) => (u32::from(*byte), after),
            None => return false,
        };
        if unit != u32::from(expected) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// Returns the code unit of the escape at the beginning of a literal's inside, and the rest.
pub(super) fn escaped(inner: &[u8]) -> Option<(u32, &[u8])> {
    let (escape, rest) = inner.strip_prefix(b"\\")?.split_first()?;
    let byte = match escape {
        b'"' | b'\\' | b'/' => *escape,
        b'b' => 0x08,
        b't' => b'\t',
        b'n' => b'\n',
        b'f' => 0x0c,
        b'r' => b'\r',
        b'u' => {
            let (digits, rest) = rest.split_at_checked(4)?;
            let digit = |value: u32, digit: &u8| Some(value << 4 | char::from(*digit).to_digit(16)?);
            return digits.iter().try_fold(0, digit).map(|unit| (unit, rest));
        }
        _ => return None,
    };
    Some((u32::from(byte), rest))
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}

impl std::error::Error for Malformed {}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Maximum nesting depth of a document: 128, the limit of `serde_json`.
pub(super) const MAX_DEPTH: u32 = 128;

/// Number of containers around the one that is skipped: the one that is iterated over, and the skipped one itself.
const OUTER: u32 = 2;

/// The depth of objects in an array that is a member.
const ITEM: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(json: &str) -> Result<Vec<(String, String)>, Malformed> {
        let mut all = members(json.as_bytes());
        let mut found = Vec::new();
        for member in all.by_ref() {
            let member = member?;
            let part = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            assert_eq!(&json.as_bytes()[member.span.clone()], member.value);
            found.push((part(member.key), part(member.value)));
        }
        all.finish()?;
        Ok(found)
    }

    #[test]
    fn yields_members_with_odd_spacing_and_order() {
        let found = keys("\u{feff} {\n \"a\" :\t[1,{\"b\":\"}]\"}] , \"a\":-1.5e3,\"c\":null }\n").unwrap();
        let expected = [("a", "[1,{\"b\":\"}]\"}]"), ("a", "-1.5e3"), ("c", "null")];
        assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(keys("{}").unwrap(), []);
    }

    #[test]
    fn reads_escaped_keys_as_what_they_spell() {
        let member = members(br#"{"mod\u0065l":"a\"b"}"#).next().unwrap().unwrap();
        assert!(member.is("model") && !member.is("modem"));
        assert_eq!(member.text().unwrap(), "a\"b");
    }

    #[test]
    fn refuses_what_is_not_one_object() {
        for bad in [
            "",
            "null",
            "[]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1}x",
            "{\"a\":1 \"b\":2}",
            "{,}",
            "{\"a\":[}",
            "{\"a\":{]}",
            "{\"a\":\"x}",
            "{\"a\":tru}",
            "{a:1}",
            "{\"a\":1,}",
            "\u{0}",
        ] {
            assert!(keys(bad).is_err(), "{bad:?}");
        }
        let deep = |n| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(keys(&deep(126)).is_ok());
        assert!(keys(&deep(127)).is_err());
        assert!(keys(&"{\"a\":".repeat(100_000)).is_err());
    }

    #[test]
    fn shows_strings_at_any_depth() {
        fn watch(inner: &[u8], rest: &[u8]) -> u8 {
            match (inner, rest.first()) {
                (b"id", Some(b':')) => ID,
                (b"type", Some(b':')) => KIND,
                (b"mark", _) => 1,
                _ => 0,
            }
        }
        let seen = |json: &str| {
            let mut all = members(json.as_bytes()).watched_by(watch);
            all.finish().unwrap();
            all.seen() & !(ID | KIND)
        };
        assert_eq!(seen(r#"{"x":[{"a":["mark"]}]}"#), 1);
        assert_eq!(seen(r#"{"x":"a \"mark\" in a text"}"#), 0);
        assert_eq!(seen(r#"{"x":[{"type":"t","id":"i"},{"id":"i"}]}"#), NAMELESS);
        assert_eq!(seen(r#"{"x":[{"id":"i","y":{"type":"t"}}]}"#), NAMELESS);
        for named in [r#"[{"id":"i","type":"t"}]"#, r#"[{"x":"id"}]"#, r#"[["id"]]"#, r#"{"a":{"id":"i"}}"#] {
            assert_eq!(seen(&format!("{{\"x\":{named}}}")), 0, "{named}");
        }
    }

    #[test]
    fn lists_elements() {
        let found: Vec<_> = elements(b" [1, \"a\" ,{}]").map(|e| e.unwrap().0.to_vec()).collect();
        assert_eq!(found, [b"1".to_vec(), b"\"a\"".to_vec(), b"{}".to_vec()]);
        assert!(elements(b"{}").next().unwrap().is_err());
    }
}
