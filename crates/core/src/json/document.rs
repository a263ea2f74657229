//! A document that one pass has checked, with marks where each of its keys and values begins and ends.
//!
//! Without marks, walking an object skips each of its values, and walking one of these skips its content again, so
//! that a byte is read once for each level of its depth. With marks, a walk reads no byte at all, and the values
//! that it takes need no check. An invalid document has no marks: it is skipped and checked byte by byte, so that
//! an error is reported at its place.

use std::ops::Range;

use super::scan::{self, MAX_DEPTH, Malformed, Member, Scan};
use super::{JsonStr, Raw, literal};

/// A document that is walked more than once.
#[derive(Debug)]
pub struct Document<'d> {
    text: &'d str,
    /// The marks in the order of their starts; `None` unless the whole document is valid.
    marks: Option<Vec<Mark>>,
    /// Whether there is, or might be, white space between its tokens.
    spaced: bool,
    /// Whether there is, or might be, half a character somewhere.
    lone_surrogates: bool,
}

/// The index of the mark of a value, or of something around the value, from which the search for its marks begins. It only
/// saves time: a value that is not found from there is read byte by byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct MarkHint(usize);

impl MarkHint {
    /// The whole document.
    pub const ROOT: Self = Self(0);
}

/// The mark of a key or a value.
#[derive(Clone, Copy, Debug)]
struct Mark {
    start: u32,
    end: u32,
    /// The index of the mark after all marks inside of this one.
    next: u32,
}

/// The marks of the content of one object or array.
#[derive(Debug)]
struct Inside<'i> {
    marks: &'i [Mark],
    next: usize,
    /// The position in the document at which the container's text begins.
    origin: usize,
}

/// The walk through a container, by its marks or byte by byte.
enum ContainerWalk<M, S> {
    Marked(M),
    Scanned(S),
}

impl<'d> Document<'d> {
    /// Reads and checks a document.
    #[must_use]
    pub fn read(text: &'d str) -> Self {
        let mut check = Check::new(text);
        let valid = check.document().is_some();
        let (spaced, lone_surrogates) = (check.spaced || !valid, check.lone_surrogates || !valid);
        Self { text, spaced, lone_surrogates, marks: valid.then_some(check.marks) }
    }

    /// Returns a document without text.
    #[must_use]
    pub fn empty() -> &'static Document<'static> {
        static EMPTY: Document<'static> =
            Document { text: "", marks: None, spaced: true, lone_surrogates: true };
        &EMPTY
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &'d str {
        self.text
    }

    /// Whether there might be half a character, for [`repair`](super::repair) to look closer.
    #[must_use]
    pub fn may_hold_lone_surrogates(&self) -> bool {
        self.lone_surrogates
    }

    /// Returns a value's text, if it is a string. A value from a valid document is not checked again.
    #[must_use]
    pub fn json_str<'a>(&self, value: &'a str) -> Option<JsonStr<'a>> {
        if self.vouches_for(value) { JsonStr::read_valid(value) } else { JsonStr::read(value) }
    }

    /// A value that is valid, as [`Document::json_str`] says.
    #[must_use]
    pub fn raw<'a>(&self, value: &'a str) -> Option<Raw<'a>> {
        if self.vouches_for(value) { Some(Raw::valid(value)) } else { Raw::read(value) }
    }

    /// Appends a value like [`compact`](super::compact), but copies at once if the document has no such white
    /// space.
    pub fn compact(&self, json: &str, out: &mut Vec<u8>) {
        if self.spaced || !self.vouches_for(json) {
            return super::compact(json, out);
        }
        out.extend_from_slice(json.as_bytes());
    }

    /// Iterates over an object like [`members`](super::members), but faster if the object is part of the document.
    /// Each member comes with the [`MarkHint`] of its value.
    pub fn members<'a>(
        &self,
        object: &'a [u8],
        hint: MarkHint,
    ) -> impl Iterator<Item = Result<(Member<'a>, MarkHint), Malformed>> {
        let Some(mut inside) = self.inside(object, b'{', hint) else {
            let unmarked = scan::members(object).map(|member| Ok((member?, MarkHint::ROOT)));
            return ContainerWalk::Scanned(unmarked);
        };
        ContainerWalk::Marked(std::iter::from_fn(move || {
            let ((key, _), (span, hint)) = (inside.next()?, inside.next()?);
            let key_span = key.start + 1..key.end - 1;
            let (key, value) = (object.get(key_span.clone())?, object.get(span.clone())?);
            Some(Ok((Member { key, key_span, value, span }, hint)))
        }))
    }

    /// Iterates over an array like [`elements`](super::elements), but faster if the array is part of the document.
    /// Each element comes with its [`MarkHint`].
    pub fn elements(
        &self,
        array: &[u8],
        hint: MarkHint,
    ) -> impl Iterator<Item = Result<(Range<usize>, MarkHint), Malformed>> {
        let Some(inside) = self.inside(array, b'[', hint) else {
            let unmarked = scan::elements(array).map(|element| Ok((element?.1, MarkHint::ROOT)));
            return ContainerWalk::Scanned(unmarked);
        };
        ContainerWalk::Marked(inside.map(Ok))
    }

    /// Whether this value is a valid one because it stands in the document's own memory, and all of that is valid.
    fn vouches_for(&self, value: &str) -> bool {
        self.marks.is_some() && !value.is_empty() && self.place(value.as_bytes()).is_some()
    }

    /// Returns the marks of a container's content, if the container is part of the document.
    fn inside(&self, container: &[u8], open: u8, hint: MarkHint) -> Option<Inside<'_>> {
        let (marks, origin) = (self.marks.as_ref()?, self.place(container)?);
        // The whole document is its first value, and perhaps white space around it.
        let index = match container.len() == self.text.len() {
            true => 0,
            false => find(marks, u32::try_from(origin).ok()?, hint)?,
        };
        let mark = marks.get(index)?;
        let is_whole = mark.end as usize <= origin + container.len();
        let opens = container.get(mark.start as usize - origin) == Some(&open);
        let marks = marks.get(..mark.next as usize)?;
        (is_whole && opens).then_some(Inside { marks, next: index + 1, origin })
    }

    /// Returns the position of `part` in the document, by its address: both are borrowed, so the same memory holds
    /// the same bytes.
    fn place(&self, part: &[u8]) -> Option<usize> {
        let start = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        (start + part.len() <= self.text.len()).then_some(start)
    }
}

/// Returns the index of the mark that begins at `start`.
fn find(marks: &[Mark], start: u32, MarkHint(hint): MarkHint) -> Option<usize> {
    let mark = marks.get(hint)?;
    if mark.start == start {
        return Some(hint);
    }
    let inside = marks.get(hint + 1..mark.next as usize)?;
    let found = inside.binary_search_by_key(&start, |mark| mark.start).ok()?;
    Some(hint + 1 + found)
}

impl Iterator for Inside<'_> {
    type Item = (Range<usize>, MarkHint);

    fn next(&mut self) -> Option<Self::Item> {
        let (hint, mark) = (MarkHint(self.next), self.marks.get(self.next)?);
        self.next = mark.next as usize;
        Some((mark.start as usize - self.origin..mark.end as usize - self.origin, hint))
    }
}

impl<T, M: Iterator<Item = T>, S: Iterator<Item = T>> Iterator for ContainerWalk<M, S> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Marked(marked) => marked.next(),
            Self::Scanned(scanned) => scanned.next(),
        }
    }
}

/// A check of a document that is as strict as `serde_json`.
struct Check<'d> {
    scan: Scan<'d>,
    /// Whether there is a control character, if only between the values.
    has_control: bool,
    /// Whether there was space between tokens.
    spaced: bool,
    /// Whether there was an escape that can be half a character.
    lone_surrogates: bool,
    marks: Vec<Mark>,
}

impl<'d> Check<'d> {
    fn new(document: &'d str) -> Self {
        let bytes = document.as_bytes();
        let marks = Vec::with_capacity(bytes.len() / TYPICAL);
        let (scan, has_control) = (Scan::new(bytes), literal::has_control(bytes));
        Self { scan, has_control, spaced: false, lone_surrogates: false, marks }
    }

    /// Reads the whole document, if it is valid.
    fn document(&mut self) -> Option<()> {
        u32::try_from(self.scan.json.len()).ok()?;
        self.token()?;
        self.value(MAX_DEPTH - 1)?;
        self.token().is_none().then_some(())
    }

    /// Moves to the next token and returns its first byte. Nearly always the token begins here already.
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

    /// Reads a key or a value, and records its mark.
    fn marked(&mut self, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let (start, place) = (u32::try_from(self.scan.at).ok()?, self.marks.len());
        self.marks.push(Mark { start, end: 0, next: 0 });
        read(self)?;
        let (end, next) = (u32::try_from(self.scan.at).ok()?, u32::try_from(self.marks.len()).ok()?);
        *self.marks.get_mut(place)? = Mark { start, end, next };
        Some(())
    }

    /// Reads the items between two brackets.
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
            self.lone_surrogates |= literal::may_be_surrogate(bytes, at);
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

/// Bytes of a document per expected mark. Conversations have fewer marks than that, their tools more.
const TYPICAL: usize = 64;

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
