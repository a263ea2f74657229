//! The bytes of one body, and the positions at which its events end.
//!
//! Comes in: events, written one after the other into one buffer. Goes out: pieces of that buffer, one for
//! each event or of one size, without a copy. In between, faults shorten it. A million events cost one
//! buffer, not a million.

use bytes::Bytes;

use super::json::{self, ObjectWriter};

/// A body in the making.
#[derive(Debug, Default)]
pub(super) struct EventBuffer {
    bytes: Vec<u8>,
    extents: Vec<EventExtent>,
    /// The offset at which the event that is being written begins.
    start: usize,
}

/// The length of an event, and whether it carries a piece of the content.
#[derive(Debug, Clone, Copy)]
struct EventExtent {
    len: usize,
    delta: bool,
}

impl EventBuffer {
    /// A body of one piece.
    pub(super) fn body(bytes: Vec<u8>) -> Self {
        let mut buffer = Self { bytes, ..Self::default() };
        buffer.end_event();
        buffer
    }

    /// Adds an event that has a name: `event:` and `data:` lines.
    pub(super) fn event(&mut self, name: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> &mut Self {
        self.push("event: ");
        self.push(name);
        self.push("\n");
        self.data(|o| fill(o.text("type", name)))
    }

    /// Adds an event of one `data:` line.
    pub(super) fn data(&mut self, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> &mut Self {
        self.push("data: ");
        json::object(&mut self.bytes, fill);
        self.push("\n\n");
        self.end_event()
    }

    /// Adds an event whose data is no JSON.
    pub(super) fn word(&mut self, data: &str) {
        self.push("data: ");
        self.push(data);
        self.push("\n\n");
        self.end_event();
    }

    /// Marks the last event as one that carries content: faults count these.
    pub(super) fn delta(&mut self) {
        if let Some(extent) = self.extents.last_mut() {
            extent.delta = true;
        }
    }

    /// Forgets everything after the given number of deltas, or after the last delta if there are fewer.
    pub(super) fn keep(&mut self, deltas: usize) {
        let mut places = (0..).zip(&self.extents).filter(|(_, extent)| extent.delta).map(|(at, _)| at);
        let kept = match deltas {
            0 => places.next(),
            _ => places.take(deltas).last().map(|at: usize| at + 1),
        };
        // Without any delta only the opening event is surely not an end.
        self.extents.truncate(kept.unwrap_or(1));
        self.clip(self.extents.iter().map(|extent| extent.len).sum());
    }

    /// Forgets everything after the given number of bytes.
    pub(super) fn clip(&mut self, bytes: usize) {
        self.bytes.truncate(bytes);
        self.start = self.bytes.len();
    }

    /// Returns the number of events.
    pub(super) fn events(&self) -> usize {
        self.extents.len()
    }

    /// Returns the same events with lines that end in CR LF. The marks of deltas are lost.
    pub(super) fn crlf(self) -> Self {
        let mut other = Self::default();
        for piece in self.pieces(None) {
            other.bytes.extend(piece.iter().flat_map(line_end));
            other.end_event();
        }
        other
    }

    /// Returns the pieces to send: the events, or pieces of `size` bytes, which are larger if there were too many.
    /// No piece is empty.
    pub(super) fn pieces(self, size: Option<usize>) -> Vec<Bytes> {
        let size = size.map(|size| size.max(self.bytes.len().div_ceil(MAX_PIECE_COUNT)));
        let mut rest = Bytes::from(self.bytes);
        let mut take = |len: usize| rest.split_to(len.min(rest.len()));
        match size {
            Some(size) => {
                std::iter::repeat_with(|| take(size)).take_while(|piece| !piece.is_empty()).collect()
            }
            None => self.extents.iter().map(|f| take(f.len)).filter(|piece| !piece.is_empty()).collect(),
        }
    }

    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn end_event(&mut self) -> &mut Self {
        self.extents.push(EventExtent { len: self.bytes.len() - self.start, delta: false });
        self.start = self.bytes.len();
        self
    }
}

/// The most pieces of one size.
const MAX_PIECE_COUNT: usize = 50_000;

fn line_end(byte: &u8) -> &[u8] {
    if *byte == b'\n' { b"\r\n" } else { std::slice::from_ref(byte) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer() -> EventBuffer {
        let mut buffer = EventBuffer::default();
        buffer.event("open", |_| {});
        buffer.data(|o| o.number("n", 1).done()).delta();
        buffer.data(|o| o.number("n", 2).done()).delta();
        buffer.word("[DONE]");
        buffer
    }

    fn text(buffer: EventBuffer) -> String {
        String::from_utf8(buffer.pieces(None).concat()).unwrap()
    }

    #[test]
    fn keeps_up_to_a_delta() {
        let kept = |n| {
            let mut buffer = buffer();
            buffer.keep(n);
            (buffer.events(), text(buffer).lines().last().unwrap_or_default().to_owned())
        };
        assert_eq!(kept(0).0, 1);
        assert_eq!(buffer().events(), 4);
        assert!(text(buffer()).ends_with("data: [DONE]\n\n"));
        assert_eq!(kept(1).0, 2);
        assert_eq!(kept(2), kept(9), "a fault that comes too late comes after the last delta");
    }

    #[test]
    fn pieces_are_events_or_of_one_size() {
        assert_eq!(buffer().pieces(None).len(), 4);
        assert_eq!(buffer().pieces(Some(3)).concat(), buffer().pieces(None).concat());
        assert!(buffer().pieces(Some(3)).iter().rev().skip(1).all(|piece| piece.len() == 3));
        assert_eq!(EventBuffer::body(Vec::new()).pieces(None).len(), 0);
        assert_eq!(EventBuffer::body(vec![0; 4 * MAX_PIECE_COUNT]).pieces(Some(1)).len(), MAX_PIECE_COUNT);
    }

    #[test]
    fn line_ends_can_be_changed() {
        assert_eq!(text(buffer().crlf()), text(buffer()).replace('\n', "\r\n"));
        assert_eq!(buffer().crlf().pieces(None).len(), 4);
    }
}
