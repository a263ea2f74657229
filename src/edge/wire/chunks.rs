//! The framing of a chunked body (RFC 9112, 7.1), which is checked while the body passes.
//!
//! Pingora accepts any octet in a chunk's extension, even a line feed, which another reader may take for a line
//! end. So every byte of the lines between the data is checked here; the data itself is only counted.

use std::ops::Range;

use crate::edge::wire::head::{Malformed, is_field};

/// The position within a chunked body.
#[derive(Debug, Default)]
pub(in crate::edge) struct Chunks {
    at: At,
    /// The size of the chunk, as far as it was read.
    size: u64,
    /// The bytes of the current line, or of all trailers.
    line: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size,
    /// Blanks behind a size.
    Blank,
    Extension,
    /// Behind the carriage return of a size's line.
    SizeEnd,
    /// So many bytes of data remain.
    Data(u64),
    DataCr,
    DataLf,
    /// At the beginning of a trailer, or of the last line.
    Trailers,
    Trailer,
    TrailerEnd,
    /// Behind the last carriage return.
    Last,
    End,
}

impl Chunks {
    /// Takes the next bytes. Once the body ends, returns how many of them belong to it.
    ///
    /// # Errors
    /// Fails if the framing is malformed.
    pub(in crate::edge) fn take(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut at = 0;
        while at < bytes.len() && !self.is_over() {
            at = self.data(bytes, at)?.end;
        }
        Ok(self.is_over().then_some(at))
    }

    /// Takes the next bytes from `at` on, to the end of the first data among them, to the body's end or to their own; gives
    /// where that data is. The range is empty if there is none; its end is where the next call goes on.
    ///
    /// # Errors
    /// Fails if the framing is malformed.
    pub(in crate::edge) fn data(&mut self, bytes: &[u8], mut at: usize) -> Result<Range<usize>, Malformed> {
        while let Some(byte) = bytes.get(at).filter(|_| !self.is_over()) {
            if let At::Data(left) = self.at {
                let here = left.min((bytes.len() - at) as u64);
                self.at = if here == left { At::DataCr } else { At::Data(left - here) };
                return Ok(at..at + usize::try_from(here).unwrap_or(usize::MAX));
            }
            self.at = self.next(*byte).ok_or(MALFORMED)?;
            at += 1;
        }
        Ok(at..at)
    }

    /// Whether the body has come to its end.
    pub(in crate::edge) fn is_over(&self) -> bool {
        self.at == At::End
    }

    fn next(&mut self, byte: u8) -> Option<At> {
        self.line += 1;
        let digit = char::from(byte).to_digit(16).map(u64::from);
        let next = match (self.at, byte) {
            (At::Start | At::Size, _) if digit.is_some() => {
                self.size = self.size.checked_mul(16)?.checked_add(digit?)?;
                At::Size
            }
            (At::Size | At::Blank, b' ' | b'\t') => At::Blank,
            (At::Size | At::Blank, b';') => At::Extension,
            (At::Size | At::Blank | At::Extension, b'\r') => At::SizeEnd,
            (At::Extension, byte) if is_field(byte) => At::Extension,
            (At::SizeEnd, b'\n') => {
                self.line = 0;
                match std::mem::take(&mut self.size) {
                    0 => At::Trailers,
                    size => At::Data(size),
                }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.line = 0;
                At::Start
            }
            (At::Trailers, b'\r') => At::Last,
            (At::Trailer, b'\r') => At::TrailerEnd,
            (At::Trailers | At::Trailer, byte) if is_field(byte) => At::Trailer,
            (At::TrailerEnd, b'\n') => At::Trailers,
            (At::Last, b'\n') => At::End,
            _ => return None,
        };
        (self.line <= MAX_LINE).then_some(next)
    }
}

/// The failure for a client that has sent such a body.
pub(in crate::edge) const MALFORMED: Malformed = Malformed("the framing of its chunks");

/// The most bytes of a chunk's size with its extension, and of all trailers together. Their contents are not used.
const MAX_LINE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body, however it is cut.
    fn judge(body: &str) -> Option<usize> {
        let whole = Chunks::default().take(body.as_bytes()).ok().flatten();
        let mut chunks = Chunks::default();
        let mut pieces = body.as_bytes().chunks(1).enumerate();
        let single = pieces.find_map(|(at, byte)| match chunks.take(byte) {
            Ok(end) => end.map(|_| Some(at + 1)),
            Err(_) => Some(None),
        });
        assert_eq!(whole, single.flatten(), "{body:?}");
        whole
    }

    #[test]
    fn the_end_is_found_and_what_follows_does_not_belong_to_it() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;a=\"b\";c\r\nhello\r\n000\r\nx: y\r\nz: \r\n\r\n",
            "A \t\r\n0123456789\r\n1 ; x\r\n\n\r\n0;\u{e9}\r\n\r\n",
            "0000000000000005\r\n\r\n\r\n0\r\n0\r\n\r\n",
        ] {
            if !body.ends_with("0\r\n0\r\n\r\n") {
                assert_eq!(judge(&format!("{body}GET / HTTP/1.1\r\n")), Some(body.len()), "{body:?}");
            }
        }
        assert_eq!(judge("5\r\nhel"), None);
    }

    #[test]
    fn the_data_comes_without_its_framing_however_it_is_cut() {
        let body = "5;a\r\nhello\r\n1\r\n \r\n10\r\n0123456789abcdef\r\n0\r\nx: y\r\n\r\nnext";
        for size in 1..=body.len() {
            let (mut chunks, mut data, mut left) = (Chunks::default(), String::new(), 0);
            for piece in body.as_bytes().chunks(size) {
                let mut at = 0;
                while at < piece.len() && !chunks.is_over() {
                    let range = chunks.data(piece, at).unwrap();
                    at = range.end;
                    data.push_str(std::str::from_utf8(&piece[range]).unwrap());
                }
                left += piece.len() - at;
            }
            assert_eq!((data.as_str(), left), ("hello 0123456789abcdef", 4), "{size}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_wrong() {
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(MAX_LINE));
        for body in [
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "5;\0\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "\r\nhello",
            ";x\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "5 5\r\nhello\r\n0\r\n\r\n",
            "10000000000000000\r\n",
            "0\r\nx: y\nz\r\n\r\n",
            "0\r\nx\ry\r\n\r\n",
            "0\r\n\n",
            "0\r\n\r\r\n",
            &long,
        ] {
            assert!(Chunks::default().take(body.as_bytes()).is_err(), "{body:?}");
            assert_eq!(judge(body), None);
        }
    }
}
