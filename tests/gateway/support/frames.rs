//! An HTTP/2 client that knows no rules: it sends the frames that it is told to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One connection, after its preface and an empty SETTINGS frame.
pub(crate) struct Frames(TcpStream);

/// What a server says in the end to what it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The stream is reset, for this reason.
    Reset(u32),
    /// The connection is over, for this reason.
    GoAway(u32),
    /// An answer begins. Its header block, as it is.
    Answer(Vec<u8>),
    /// The connection is closed without a word.
    Closed,
    /// Nothing came for a while.
    Silence,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

impl Frames {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
        let mut frames = Self(stream);
        assert!(frames.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        assert!(frames.send(&frame(SETTINGS, 0, 0, &[])));
        frames
    }

    /// Sends bytes; gives whether they were all taken.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// The next frame: its kind, its stream and its payload. `Err`: nothing came for a while.
    pub(crate) fn next(&mut self) -> Result<Option<(u8, u32, Vec<u8>)>, ()> {
        let mut head = [0; 9];
        match self.0.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Err(()),
            Err(_) => return Ok(None),
        }
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        match self.0.read_exact(&mut payload) {
            Ok(()) => Ok(Some((kind, u32::from_be_bytes(stream), payload))),
            Err(_) => Ok(None),
        }
    }

    /// What the server says to a stream, or to all of them.
    pub(crate) fn told(&mut self, stream: u32) -> Told {
        let code = |payload: &[u8]| {
            let bytes = payload.last_chunk::<4>().copied().unwrap();
            u32::from_be_bytes(bytes)
        };
        loop {
            match self.next() {
                Err(()) => return Told::Silence,
                Ok(None) => return Told::Closed,
                Ok(Some((RST_STREAM, of, payload))) if of == stream => return Told::Reset(code(&payload)),
                Ok(Some((HEADERS, of, payload))) if of == stream => return Told::Answer(payload),
                Ok(Some((GOAWAY, _, payload))) => return Told::GoAway(code(&payload[..8])),
                Ok(Some(_)) => {}
            }
        }
    }
}

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![a, b, c, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block with these fields, without compression.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(0, name.as_bytes(), value.as_bytes())).collect()
}

/// One field; `how` is 0 for a literal, 0x40 for one that is kept in the table (RFC 7541, 6.2).
pub(crate) fn literal(how: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![how];
    for text in [name, value] {
        match u8::try_from(text.len()) {
            Ok(length) if length < 127 => bytes.push(length),
            _ => {
                bytes.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    bytes.push(u8::try_from(rest & 127).unwrap() | 128);
                    rest >>= 7;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
        }
        bytes.extend_from_slice(text);
    }
    bytes
}
