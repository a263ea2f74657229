//! The head of an HTTP/1 request, parsed as strictly as the grammar is.
//!
//! Like most servers, Pingora is more lenient: it accepts lines that end without a carriage return, repairs
//! illegal URIs, and lets one of two lengths win. Here, a head that two readers may understand in two ways (RFC
//! 9112, 11.2) is refused, in the client's own envelope.

use bytes::Bytes;
use http::Version;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use memchr::{memchr, memchr_iter};
use pingora::http::RequestHeader;
use pingora::protocols::http::authority::validate_request_authority;

/// A search for the end of a head while it arrives, which looks at each byte once.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The bytes that were looked at.
    looked: usize,
    /// The beginning of the current line.
    line: usize,
}

/// The part of a head that is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

type Result<T> = std::result::Result<T, Malformed>;

impl Scan {
    /// Returns the length of the head, if it is complete. `bytes` is everything that has arrived so far.
    ///
    /// # Errors
    /// Fails if a line does not end with CR LF.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let fresh = bytes.get(self.looked..).unwrap_or_default();
        for at in memchr_iter(b'\n', fresh).map(|at| self.looked + at) {
            let line = bytes.get(self.line..at).unwrap_or_default();
            match line {
                b"\r" => return Ok(Some(at + 1)),
                [.., b'\r'] => self.line = at + 1,
                _ => return Err(Malformed("a line does not end with CR LF")),
            }
        }
        self.looked = bytes.len();
        Ok(None)
    }
}

/// The request line of a well-formed head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine<'h> {
    pub(crate) method: &'h str,
    pub(crate) target: &'h str,
    pub(crate) version: Version,
}

impl<'h> RequestLine<'h> {
    /// Reads the first line of a head, whatever follows it.
    ///
    /// # Errors
    /// Fails if it is not a request line.
    pub(crate) fn read(head: &'h [u8]) -> Result<Self> {
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Self::of(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Reads the first line of a head, without its end.
    fn of(line: &'h [u8]) -> Result<Self> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed("the request line"));
        };
        let version = match version {
            b"HTTP/1.1" => Version::HTTP_11,
            b"HTTP/1.0" => Version::HTTP_10,
            _ => return Err(Malformed("the request line")),
        };
        let made_of = |part: &'h [u8], allowed: &ByteSet, what| match std::str::from_utf8(part) {
            Ok(text) if !text.is_empty() && allowed.holds(part) => Ok(text),
            _ => Err(Malformed(what)),
        };
        let method = made_of(method, &TOKEN, "the method")?;
        let target = made_of(target, &URI, "the target")?;
        // RFC 9112, 3.2: a path, a URL, or an authority for CONNECT.
        if target.starts_with('/') || target.contains("://") || method == "CONNECT" {
            Ok(Self { method, target, version })
        } else {
            Err(Malformed("the target"))
        }
    }

    /// Returns the path, if the target is one.
    pub(crate) fn path(self) -> &'h str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// The length of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many bytes; none if the head does not say it.
    Sized(u64),
    /// The sum of the chunks.
    Chunked,
}

/// Checks a whole head, from the request line to the empty line.
///
/// # Errors
/// Fails with a description of what is wrong.
pub(crate) fn check(head: &[u8]) -> Result<(RequestLine<'_>, Length)> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let request = RequestLine::of(first)?;
    let old = request.version == Version::HTTP_10;
    let (mut hosts, mut lengths, mut codings, mut size) = (0, 0, 0, 0);
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = memchr(b':', line).ok_or(Malformed("a header without a colon"))?;
        let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
        if name.is_empty() || !TOKEN.holds(name) {
            return Err(Malformed("a header's name"));
        }
        if !is_value(value) {
            return Err(Malformed("a header's value"));
        }
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
            if !AUTHORITY.holds(value) {
                return Err(Malformed("the host"));
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            lengths += 1;
            let digits = value.len() <= LENGTH_DIGITS && value.iter().all(u8::is_ascii_digit);
            let number =
                std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            size = number.ok_or(Malformed("the content-length"))?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed("the transfer-encoding"));
            }
        }
    }
    match (hosts, lengths, codings) {
        (0, ..) if !old => Err(Malformed("there is no host")),
        (2.., ..) => Err(Malformed("there is more than one host")),
        (.., lengths, codings) if lengths + codings > 1 => Err(Malformed("there is more than one length")),
        (.., 1) if old => Err(Malformed("HTTP/1.0 knows no transfer-encoding")),
        (.., 1) => Ok((request, Length::Chunked)),
        _ => Ok((request, Length::Sized(size))),
    }
}

/// The request of a head that was found to be well-formed. Its fields are parts of these bytes.
///
/// # Errors
/// Fails if its target names another host than its `host`, or is no URI after all.
pub(crate) fn request(head: &Bytes) -> Result<RequestHeader> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let RequestLine { method, target, version } = RequestLine::of(first)?;
    let fields = memchr_iter(b'\n', head).count();
    let request = RequestHeader::build_no_case(method, target.as_bytes(), Some(fields));
    // Pingora would read and copy each name once more.
    let mut parts = Parts::from(request.map_err(|_| Malformed("the target"))?);
    parts.version = version;
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = memchr(b':', line).ok_or(Malformed("a header without a colon"))?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| Malformed("a header's name"))?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(trimmed(&line[colon + 1..])));
        let value = value.map_err(|_| Malformed("a header's value"))?;
        parts.headers.try_append(name, value).map_err(|_| Malformed("the headers"))?;
    }
    let mut request = RequestHeader::from(parts);
    if !target.starts_with('/') {
        // The parts have lost the host of a URL, which has to be the one of the field.
        request.set_raw_path(target.as_bytes()).map_err(|_| Malformed("the target"))?;
    }
    validate_request_authority(&request).map_err(|_| Malformed("the host"))?;
    Ok(request)
}

/// Removes the blanks around a value (RFC 9110, 5.5). A carriage return is not a blank.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Bytes that are allowed at one place, as a table: every byte of every head is looked up.
struct ByteSet([bool; 256]);

impl ByteSet {
    /// Letters, digits and these.
    const fn alphanumeric_or(others: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut byte: u8 = 0;
        while byte < 128 {
            set[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut at = 0;
        while at < others.len() {
            set[others[at] as usize] = true;
            at += 1;
        }
        Self(set)
    }

    /// Whether all of these are allowed.
    fn holds(&self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| self.0[usize::from(*byte)])
    }
}

/// The bytes of a token (RFC 9110, 5.6.2).
static TOKEN: ByteSet = ByteSet::alphanumeric_or(b"!#$%&'*+-.^_`|~");

/// The bytes of a URI without a fragment (RFC 3986, 2).
static URI: ByteSet = ByteSet::alphanumeric_or(b"-._~%:/?[]@!$&'()*+,;=");

/// The bytes of the name, the address and the port of a host (RFC 3986, 3.2.2).
static AUTHORITY: ByteSet = ByteSet::alphanumeric_or(b"-._~%:[]");

/// Whether a header's value consists of bytes that may be in it.
fn is_value(value: &[u8]) -> bool {
    // Without an early end, several bytes are looked at at once.
    !value.iter().fold(false, |is_odd, byte| is_odd | !is_field(*byte))
}

/// Whether a byte may be in a header's value (RFC 9110, 5.5): visible characters, blanks, and bytes that are not
/// ASCII.
pub(crate) fn is_field(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// The most digits of a length: all numbers of so many digits fit into 64 bits.
const LENGTH_DIGITS: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "host: g\r\n";

    fn judge(head: &str) -> std::result::Result<(), &'static str> {
        check(head.as_bytes()).map(|_| ()).map_err(|Malformed(why)| why)
    }

    #[test]
    fn the_end_is_found_however_the_head_is_cut() {
        let head = b"GET / HTTP/1.1\r\nhost: g\r\n\r\nrest\n";
        for step in 1..head.len() {
            let mut scan = Scan::default();
            let ends = (step..).step_by(step).map(|end| scan.end(&head[..end.min(head.len())]));
            assert_eq!(ends.flatten().flatten().next(), Some(head.len() - 5), "{step}");
        }
        for bare in ["GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nhost: g\n\r\n", "GET / HTTP/1.1\r\n\n"] {
            assert!(Scan::default().end(bare.as_bytes()).is_err(), "{bare:?}");
        }
    }

    #[test]
    fn what_is_sent_by_clients_is_right() {
        for head in [
            "GET / HTTP/1.1\r\nHost: g\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "POST /v1/messages?beta=true HTTP/1.1\r\nhost:g\r\ncontent-length: 5\r\n\r\n",
            "POST /v1/x HTTP/1.1\r\nhost: g\r\nTransfer-Encoding: Chunked\r\nx-empty:\r\n\r\n",
            "GET http://g/v1/models HTTP/1.1\r\nhost: g\r\nx: a\tb \u{e9}\r\n\r\n",
            "CONNECT g:443 HTTP/1.1\r\nhost: g:443\r\n\r\n",
        ] {
            assert_eq!(judge(head), Ok(()), "{head:?}");
        }
        let length = |head: &str| check(head.as_bytes()).map(|(_, length)| length);
        assert_eq!(length("GET / HTTP/1.1\r\nhost: g\r\n\r\n"), Ok(Length::Sized(0)));
        assert_eq!(length("POST / HTTP/1.1\r\nhost: g\r\ncontent-length: 07\r\n\r\n"), Ok(Length::Sized(7)));
        let chunked = "POST / HTTP/1.1\r\nhost: g\r\ntransfer-encoding: CHUNKED\r\n\r\n";
        assert_eq!(length(chunked), Ok(Length::Chunked));
        let line = RequestLine::read(b"GET /v1/models?x=1 HTTP/1.1\r\n");
        assert_eq!(line.map(RequestLine::path), Ok("/v1/models"));
    }

    #[test]
    fn a_request_has_all_of_its_head() {
        let head = "POST /v1/x?y=1 HTTP/1.1\r\nHost: g\r\nX-A:\t1 2 \r\nx-a:\r\n\r\n";
        let read = request(&Bytes::from_static(head.as_bytes())).unwrap();
        assert_eq!((read.method.as_str(), read.uri.path(), read.uri.query()), ("POST", "/v1/x", Some("y=1")));
        let values: Vec<_> =
            read.headers.get_all("x-a").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(
            (values.as_slice(), &read.headers["host"], read.version),
            (&["1 2", ""][..], &HeaderValue::from_static("g"), Version::HTTP_11)
        );
        for (target, host, right) in
            [("http://g/v1", "g", true), ("http://h/v1", "g", false), ("http://u@g/v1", "g", false)]
        {
            let head = format!("GET {target} HTTP/1.0\r\nhost: {host}\r\n\r\n");
            let read = request(&Bytes::from(head.clone().into_bytes()));
            assert_eq!(read.is_ok_and(|read| read.version == Version::HTTP_10), right, "{target}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_wrong() {
        for line in [
            "GET  / HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / HTTP/1.1\r",
            "GET /\u{e9} HTTP/1.1",
            "GET /\0 HTTP/1.1",
            "GET \\v1 HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET v1/models HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET / HTTP/1.1\rmodels HTTP/1.1",
            "GET / HTTP/1.1\r",
            "GET / HTTP/1.0\r",
            "GET / HTTP/2.0",
            "GET /",
            "G\"T / HTTP/1.1",
            " GET / HTTP/1.1",
            "PRI * HTTP/2.0",
            "",
        ] {
            assert!(judge(&format!("{line}\r\n{HOST}\r\n")).is_err(), "{line:?}");
        }
        for fields in [
            "content-length: 1\r\ntransfer-encoding: chunked\r\n",
            "content-length: 1\r\ncontent-length: 1\r\n",
            "content-length: 1, 1\r\n",
            "content-length: +1\r\n",
            "content-length: -1\r\n",
            "content-length: 0x1\r\n",
            "content-length:\r\n",
            "content-length: 12345678901234567890\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding : chunked\r\n",
            "transfer-encoding:\x0bchunked\r\n",
            " folded: 1\r\n",
            "a: 1\r\n 2\r\n",
            "a: \0\r\n",
            "a: b\rc\r\n",
            "a:\rb\r\n",
            "a: b\r\r\n",
            "content-length: \x0c1\r\n",
            ": 1\r\n",
            "no colon\r\n",
            "host: other\r\n",
            "host: g, other\r\n",
        ] {
            assert!(judge(&format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n")).is_err(), "{fields:?}");
        }
        assert!(judge("GET / HTTP/1.1\r\n\r\n").is_err());
        assert!(judge("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
