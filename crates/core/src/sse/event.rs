//! One complete event: its name and its data.

use std::borrow::Cow;

use memchr::memchr2;

/// The parts of an event that matter to the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SseEvent<'a> {
    /// The last `event` field.
    pub name: Option<&'a [u8]>,
    /// The data; absent for comments and blank lines.
    pub data: Option<Data<'a>>,
}

/// An event's data, and its position in the event.
///
/// Data of several lines keeps its position: the bytes between the lines are replaced by spaces, which are white
/// space in JSON, so that offsets in the data are offsets in the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Offset of the data in the event.
    pub start: usize,
}

impl<'a> SseEvent<'a> {
    /// Parses an event as the framer cut it.
    #[must_use]
    pub fn parse(event: &'a [u8]) -> Self {
        let mut parsed = Self::default();
        let mut line_start = if event.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        while line_start < event.len() {
            let rest = event.get(line_start..).unwrap_or_default();
            let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = rest.get(..length).unwrap_or_default();
            if let Some((value, skipped)) = field(line, b"data") {
                parsed.add(event, line_start + skipped, value);
            } else if let Some((value, _)) = field(line, b"event") {
                parsed.name = Some(value);
            }
            line_start += length + 1;
        }
        parsed
    }

    fn add(&mut self, event: &'a [u8], at: usize, value: &'a [u8]) {
        match &mut self.data {
            None => self.data = Some(Data { bytes: Cow::Borrowed(value), start: at }),
            Some(data) => {
                let bytes = data.bytes.to_mut();
                let gap = at.saturating_sub(data.start + bytes.len());
                bytes.resize(bytes.len() + gap, b' ');
                bytes.extend_from_slice(value);
                debug_assert!(data.start + bytes.len() <= event.len());
            }
        }
    }
}

/// Returns the value of the field `name` if `line` has it, and the number of bytes before the value.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<(&'a [u8], usize)> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some((rest, name.len()));
    }
    let value = rest.strip_prefix(b":")?;
    let trimmed = value.strip_prefix(b" ").unwrap_or(value);
    Some((trimmed, line.len() - trimmed.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_name_and_data() {
        let event = SseEvent::parse(b"\xef\xbb\xbf: note\r\nevent:ping\r\nid: 7\r\ndata:  x\r\n\r\n");
        assert_eq!(event.name, Some(b"ping".as_slice()));
        assert_eq!(event.data.unwrap().bytes, b" x".as_slice());
        assert_eq!(SseEvent::parse(b": only a comment\n\n"), SseEvent::default());
        assert_eq!(SseEvent::parse(b"data\n\n").data.unwrap().bytes, b"".as_slice());
        assert_eq!(SseEvent::parse(b"datax: 1\n\n").data, None);
    }

    #[test]
    fn data_of_several_lines_keeps_its_place() {
        let bytes = b"data: {\"a\":\ndata: 1}\n\n";
        let data = SseEvent::parse(bytes).data.unwrap();
        assert_eq!(data.bytes, b"{\"a\":       1}".as_slice());
        assert_eq!(bytes[data.start + 12], b'1');
    }
}
