//! Replacing spans of a body.
//!
//! [`splice`] copies once into a new buffer. [`Body`] owns a buffer with room in front, so that an edit
//! near the start of a large request moves only the bytes before it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// A span and the bytes that take its place; an empty span inserts.
pub type Edit = (Range<usize>, Bytes);

/// Returns `source` with `edits` applied. Edits must be sorted and must not overlap.
#[must_use]
pub fn splice(source: &[u8], edits: &[Edit]) -> Vec<u8> {
    let added: usize = edits.iter().map(|(_, new)| new.len()).sum();
    super::work::visited(source.len() + added + size_of_val(edits));
    let mut out = Vec::with_capacity(source.len() + added);
    let mut done = 0;
    for (span, new) in edits {
        out.extend_from_slice(source.get(done..span.start).unwrap_or_default());
        out.extend_from_slice(new);
        done = span.end;
    }
    out.extend_from_slice(source.get(done..).unwrap_or_default());
    out
}

/// The spans to remove so that an array loses some of its elements and stays valid, collected while the array is
/// read.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    removed: Vec<Range<usize>>,
    /// The end of the last element that stays; `gone` has the removed elements since then.
    kept: Option<usize>,
    gone: Option<Range<usize>>,
}

impl Cuts {
    /// Takes the next element, which has this span; `goes` is whether it is removed.
    pub fn take(&mut self, span: &Range<usize>, goes: bool) {
        if goes {
            let start = self.gone.take().map_or(span.start, |gone| gone.start);
            self.gone = Some(start..span.end);
            return;
        }
        // With the comma that follows or, at the end, the one that precedes.
        self.removed.extend(self.gone.take().map(|gone| gone.start..span.start));
        self.kept = Some(span.end);
    }

    /// Whether there were elements and all of them are removed.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.kept.is_none() && self.gone.is_some()
    }

    /// Returns the spans, in order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Range<usize>> {
        let before = self.kept;
        self.removed.extend(self.gone.map(|gone| before.unwrap_or(gone.start)..gone.end));
        self.removed
    }
}

/// A request body under construction.
#[derive(Debug, Default)]
pub struct Body {
    buffer: BytesMut,
    start: usize,
}

impl Body {
    /// Creates an empty body with room for `capacity` bytes without growing.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(HEADROOM + capacity);
        buffer.resize(HEADROOM, 0);
        Self { buffer, start: HEADROOM }
    }

    /// Appends bytes as they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Makes room for `capacity` bytes in all.
    pub fn reserve(&mut self, capacity: usize) {
        self.buffer.reserve(capacity.saturating_sub(self.bytes().len()));
    }

    /// Returns the bytes so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Applies sorted, non-overlapping edits. Only the bytes before the end of the last edit are copied if the
    /// result fits.
    pub fn splice(&mut self, edits: &[Edit]) {
        let Some((last, _)) = edits.last() else { return };
        let changed = splice(self.bytes().get(..last.end).unwrap_or_default(), edits);
        let end = self.start + last.end;
        if let Some(start) = end.checked_sub(changed.len())
            && let Some(room) = self.buffer.get_mut(start..end)
        {
            room.copy_from_slice(&changed);
            self.start = start;
            return;
        }
        let rest = self.buffer.get(end..).unwrap_or_default();
        super::work::visited(rest.len());
        self.buffer = BytesMut::from([changed.as_slice(), rest].concat().as_slice());
        self.start = 0;
    }

    /// Returns the finished body.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        let mut bytes = self.buffer.freeze();
        bytes.split_off(self.start)
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        let mut body = Self::with_capacity(bytes.len());
        body.push(bytes);
        body
    }
}

/// Bytes of room in front of a body, for edits near its start: a model's name and the usage option fit many times
/// over.
const HEADROOM: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(span: Range<usize>, new: &'static str) -> Edit {
        (span, Bytes::from_static(new.as_bytes()))
    }

    #[test]
    fn replaces_inserts_and_removes() {
        let edits = [edit(1..1, "<"), edit(2..4, ""), edit(5..6, "longer")];
        assert_eq!(splice(b"abcdefg", &edits), b"a<belongerg");
        assert_eq!(splice(b"abc", &[]), b"abc");
    }

    #[test]
    fn elements_are_removed_with_their_commas() {
        let array = b"[ 1 , 2, 3 ,4 ]";
        let spans = [2..3, 6..7, 9..10, 12..13];
        for (gone, left) in [
            ([true, false, false, false], "[ 2, 3 ,4 ]"),
            ([false, true, true, false], "[ 1 , 4 ]"),
            ([false, false, true, true], "[ 1 , 2 ]"),
            ([true, false, true, false], "[ 2, 4 ]"),
            ([true; 4], "[  ]"),
            ([false; 4], "[ 1 , 2, 3 ,4 ]"),
        ] {
            let mut cuts = Cuts::default();
            spans.iter().zip(gone).for_each(|(span, goes)| cuts.take(span, goes));
            assert_eq!(cuts.is_all(), gone == [true; 4]);
            let edits: Vec<Edit> = cuts.finish().into_iter().map(|span| (span, Bytes::new())).collect();
            assert_eq!(String::from_utf8(splice(array, &edits)).unwrap(), left);
        }
    }

    #[test]
    fn a_body_agrees_with_the_copy_whatever_the_room() {
        let long: &'static str = "x".repeat(2 * HEADROOM).leak();
        for new in ["", "s", "some name", long] {
            for span in [0..0, 0..3, 2..5, 7..10] {
                let mut body = Body::from(b"0123456789".as_slice());
                body.splice(&[edit(span.clone(), new)]);
                assert_eq!(body.bytes(), splice(b"0123456789", &[edit(span, new)]));
                body.splice(&[edit(0..0, "again")]);
                assert!(body.freeze().starts_with(b"again"));
            }
        }
    }
}
