//! Cutting of a stream of chunks into blocks of complete events.
//!
//! Chunks may be cut anywhere; blocks end where an event ends. A chunk of complete events is handed on without a
//! copy, and only an unfinished event at the end of a chunk is kept.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// A cutter that finds the ends of events across chunks. It holds at most one unfinished event.
#[derive(Debug, Default)]
pub struct Framer {
    /// The unfinished event.
    carry: BytesMut,
    /// The start of the line that is being searched, counted over `carry` and the bytes after it.
    line: usize,
    /// The position up to which no further line end exists.
    searched: usize,
    /// Whether the last event ended with a CR that was also the last byte: an LF that follows belongs to it.
    after_cr: bool,
    ends: Vec<usize>,
    limit: usize,
}

/// A run of whole events, as they came.
#[derive(Debug)]
pub struct EventBlock<'a> {
    /// The events' bytes, line ends included.
    pub bytes: Bytes,
    /// The end of each event in `bytes`.
    pub ends: &'a [usize],
    /// Whether the first byte is the LF of a CRLF that ended the event before these.
    pub leading_lf: bool,
}

/// The error for an event that is larger than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl Framer {
    /// Creates a framer that refuses events of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { carry: BytesMut::new(), line: 0, searched: 0, after_cr: false, ends: Vec::new(), limit }
    }

    /// Takes one chunk and returns the events that are complete now.
    ///
    /// # Errors
    /// Returns [`TooLarge`] if the unfinished event exceeds the limit. Events that are complete before it are returned first:
    /// then the next call fails.
    pub fn push(&mut self, chunk: Bytes) -> Result<Option<EventBlock<'_>>, TooLarge> {
        let leading_lf = self.after_cr && chunk.first() == Some(&b'\n');
        if leading_lf {
            (self.line, self.searched) = (1, 1);
        }
        self.after_cr &= chunk.is_empty();
        self.ends.clear();
        if leading_lf {
            self.ends.push(1);
        }
        let bytes = match self.carry.is_empty() {
            true => self.cut(chunk),
            false => self.append(&chunk),
        };
        if bytes.is_empty() && self.carry.len() > self.limit {
            return Err(TooLarge);
        }
        Ok((!bytes.is_empty()).then_some(EventBlock { bytes, ends: &self.ends, leading_lf }))
    }

    /// Returns the unfinished event at the end of the stream; empty if there is none.
    #[must_use]
    pub fn rest(&mut self) -> Bytes {
        (self.line, self.searched) = (0, 0);
        self.carry.split().freeze()
    }

    /// Returns the number of bytes that are kept of an unfinished event.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.carry.len()
    }

    /// Handles the usual case: nothing is kept, and the chunk itself is the block.
    fn cut(&mut self, mut chunk: Bytes) -> Bytes {
        self.search(&chunk);
        let rest = chunk.split_off(self.complete());
        self.carry.extend_from_slice(&rest);
        chunk
    }

    fn append(&mut self, chunk: &[u8]) -> Bytes {
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(chunk);
        self.search(&carry);
        let block = carry.split_to(self.complete());
        self.carry = carry;
        block.freeze()
    }

    /// Returns the length of the block, and moves the search to the bytes after it.
    fn complete(&mut self) -> usize {
        let end = self.ends.last().copied().unwrap_or(0);
        self.line -= end;
        self.searched -= end;
        end
    }

    fn search(&mut self, bytes: &[u8]) {
        while let Some(hit) = memchr2(b'\n', b'\r', bytes.get(self.searched..).unwrap_or_default()) {
            let at = self.searched + hit;
            let cr = bytes.get(at) == Some(&b'\r');
            let last = at + 1 == bytes.len();
            let blank = at == self.line;
            if cr && last && !blank {
                // Only the next chunk tells whether a LF belongs to this line end.
                self.searched = at;
                return;
            }
            self.after_cr = cr && last;
            // The usual end of an event: a line, and behind it a blank one.
            if !cr && !blank && bytes.get(at + 1) == Some(&b'\n') {
                (self.line, self.searched) = (at + 2, at + 2);
                self.ends.push(at + 2);
                continue;
            }
            let width = if cr && bytes.get(at + 1) == Some(&b'\n') { 2 } else { 1 };
            (self.line, self.searched) = (at + width, at + width);
            if blank {
                self.ends.push(at + width);
            }
        }
        self.searched = bytes.len();
    }
}

impl EventBlock<'_> {
    /// Returns the events' spans in `bytes`. The LF that completes an earlier event comes first, as an event of
    /// its own.
    pub fn events(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends.iter().copied()).map(|(start, end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Bytes) {
        let mut framer = Framer::new(1 << 20);
        let mut out: Vec<Vec<u8>> = Vec::new();
        for chunk in chunks {
            if let Some(block) = framer.push(Bytes::copy_from_slice(chunk)).unwrap() {
                for (n, span) in block.events().enumerate() {
                    match (n, block.leading_lf) {
                        (0, true) => out.last_mut().unwrap().push(b'\n'),
                        _ => out.push(block.bytes[span].to_vec()),
                    }
                }
            }
        }
        (out, framer.rest())
    }

    #[test]
    fn cuts_alike_at_every_offset_and_line_end() {
        for end in ["\n", "\r\n", "\r"] {
            let text = "data: a\n\nevent: b\ndata: b\n\n: c\n\n\ndata: rest".replace('\n', end);
            let (whole, rest) = events(&[text.as_bytes()]);
            assert_eq!(whole.len(), 4, "{end:?}: {whole:?}");
            assert_eq!(rest, "data: rest");
            for at in 0..text.len() {
                let (a, b) = text.as_bytes().split_at(at);
                assert_eq!(events(&[a, b]), (whole.clone(), rest.clone()), "{end:?} at {at}");
            }
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(events(&bytes), (whole, rest));
        }
    }

    #[test]
    fn a_chunk_of_whole_events_is_not_copied() {
        let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n");
        let mut framer = Framer::new(10);
        let block = framer.push(chunk.clone()).unwrap().unwrap();
        assert_eq!(block.bytes.as_ptr(), chunk.as_ptr());
        assert_eq!(block.ends, [9, 18]);
    }

    #[test]
    fn an_event_without_end_is_refused_at_the_limit() {
        let mut framer = Framer::new(10);
        assert!(framer.push(Bytes::from_static(b"data: 1234")).unwrap().is_none());
        assert_eq!(framer.push(Bytes::from_static(b"5")).unwrap_err(), TooLarge);
    }

    #[test]
    fn events_before_one_without_end_are_not_lost() {
        let mut framer = Framer::new(10);
        let block = framer.push(Bytes::from_static(b"data: a\n\ndata: 12345")).unwrap().unwrap();
        assert_eq!(block.ends, [9]);
        assert_eq!(framer.push(Bytes::from_static(b"6")).unwrap_err(), TooLarge);
    }
}
