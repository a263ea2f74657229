//! The head of a provider's answer over HTTP/1, and what it says of the body and of the connection.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use httparse::{EMPTY_HEADER, ParserConfig, Status};
use memchr::memchr;
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType};

use crate::edge::wire::chunks::Chunks;

/// The end of an answer's body.
#[derive(Debug)]
pub(super) enum End {
    /// After so many bytes.
    Sized(u64),
    /// After its last chunk.
    Chunked(Chunks),
    /// With the connection.
    Closed,
}

/// Looks for a whole head at the beginning of what was read; gives its length.
///
/// # Errors
/// Fails if it is no head.
pub(super) fn read(bytes: &[u8]) -> pingora::Result<Option<(ResponseHeader, usize)>> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let mut parser = ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    parser.allow_obsolete_multiline_headers_in_responses(true);
    let length = match parser.parse_response(&mut answer, bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        // What is wrong with it is not told: it may hold anything.
        Err(_) => return Err(invalid("no head")),
    };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(|| invalid("a status"))?;
    // Pingora would read and copy each name once more.
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    head.version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    head.headers.reserve(answer.headers.len());
    // One copy, of which every value is a part.
    let mut copy = BytesMut::from(bytes.get(..length).unwrap_or_default());
    unfold(&mut copy);
    let copy = copy.freeze();
    for field in answer.headers.iter().filter(|field| !field.name.is_empty()) {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| invalid("a name"))?;
        let start = (field.value.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
        let value = match start.checked_add(field.value.len()) {
            Some(end) if end <= copy.len() => copy.slice(start..end),
            _ => Bytes::copy_from_slice(field.value),
        };
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| invalid("a value"))?;
        head.headers.try_append(name, value).map_err(|_| invalid("too many headers"))?;
    }
    Ok(Some((head.into(), length)))
}

/// The status of the first head in what was read that is not only informational, if it has come to its end.
///
/// # Errors
/// Fails if there is no head.
pub(super) fn status(mut bytes: &[u8]) -> pingora::Result<Option<StatusCode>> {
    while let Some((head, length)) = read(bytes)? {
        if !head.status.is_informational() {
            return Ok(Some(head.status));
        }
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(None)
}

/// Joins the lines of values that go over several ones (RFC 9112, 5.2).
fn unfold(head: &mut [u8]) {
    let mut at = 0;
    while let Some(end) = memchr(b'\n', head.get(at..).unwrap_or_default()).map(|found| at + found) {
        at = end + 1;
        if let [b' ' | b'\t', ..] = head.get(at..).unwrap_or_default()
            && let Some([before, line_end, _]) = head.get_mut(end.saturating_sub(1)..=at)
        {
            *line_end = b' ';
            if *before == b'\r' {
                *before = b' ';
            }
        }
    }
}

/// The end of the body that follows this head.
///
/// # Errors
/// Fails if the head states it in more than one way.
pub(super) fn end(head: &ResponseHeader) -> pingora::Result<End> {
    if matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(End::Sized(0));
    }
    // RFC 9112, 6.3: it wins over a length.
    if let Some(coding) = head.headers.get_all(header::TRANSFER_ENCODING).iter().next_back() {
        let last = tokens(coding).next_back().unwrap_or_default();
        let chunked = last.eq_ignore_ascii_case("chunked");
        return Ok(if chunked { End::Chunked(Chunks::default()) } else { End::Closed });
    }
    let mut length = None;
    for token in head.headers.get_all(header::CONTENT_LENGTH).iter().flat_map(tokens) {
        let digits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
        let size = token.parse::<u64>().ok().filter(|_| digits);
        let size = size.ok_or_else(|| invalid("the content-length"))?;
        if length.replace(size).is_some_and(|other| other != size) {
            return Err(invalid("there is more than one length"));
        }
    }
    match (length, head.headers.contains_key(header::CONTENT_LENGTH)) {
        (Some(size), _) => Ok(End::Sized(size)),
        (None, false) => Ok(End::Closed),
        (None, true) => Err(invalid("the content-length")),
    }
}

/// Whether the connection can be used again after this answer.
pub(super) fn keeps(head: &ResponseHeader) -> bool {
    let says = |word: &str| {
        let mut words = head.headers.get_all(header::CONNECTION).iter().flat_map(tokens);
        words.any(|token| token.eq_ignore_ascii_case(word))
    };
    let has = |name| head.headers.contains_key(name);
    // RFC 9112, 6.1: an HTTP/1.0 server knows no transfer-encoding, and whoever states a length beside one may mean either.
    let is_ambiguous =
        has(header::TRANSFER_ENCODING) && (head.version != Version::HTTP_11 || has(header::CONTENT_LENGTH));
    match head.version {
        _ if is_ambiguous => false,
        Version::HTTP_11 => !says("close"),
        _ => says("keep-alive"),
    }
}

fn tokens(value: &HeaderValue) -> impl DoubleEndedIterator<Item = &str> {
    value.to_str().unwrap_or("?").split(',').map(str::trim)
}

pub(super) fn invalid(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, what)
}

/// Header fields of an answer: Pingora's own `MAX_HEADERS`.
const MAX_FIELDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> ResponseHeader {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\nbody");
        let (head, length) = read(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len() - 4, "{fields:?}");
        head
    }

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let whole = "HTTP/1.0 429 Too Many\r\nRetry-After: 7\r\nx-a : b\r\n\r\nrest";
        for end in 0..whole.len() - 4 {
            assert!(read(&whole.as_bytes()[..end]).unwrap().is_none(), "{end}");
        }
        let (head, length) = read(whole.as_bytes()).unwrap().unwrap();
        assert_eq!((length, head.status.as_u16(), head.version), (whole.len() - 4, 429, Version::HTTP_10));
        assert_eq!(
            (&head.headers["retry-after"], &head.headers["x-a"]),
            (&"7".parse().unwrap(), &"b".parse().unwrap())
        );
        let folded = "HTTP/1.1 200 OK\r\na: b\r\n\t c\n d\r\nx:\r\n y\r\n\r\n \r\n";
        let (head, length) = read(folded.as_bytes()).unwrap().unwrap();
        let plain = |name: &str| head.headers[name].to_str().unwrap().split_whitespace().collect::<String>();
        assert_eq!((length, plain("a").as_str(), plain("x").as_str()), (folded.len() - 3, "bcd", "y"));
        for wrong in [
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "SSH-2.0-x\r\n",
            "HTTP/1.1 200 OK\r\na b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
        ] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_status_is_known_when_its_head_is_whole() {
        let whole =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\na: b\r\n\r\nHTTP/1.1 413 X\r\na: b\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(status(&whole.as_bytes()[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(status(whole.as_bytes()).unwrap().unwrap(), 413);
        assert!(status(b"HTTP/1.1 100 X\r\n\r\nhello").is_err());
    }

    #[test]
    fn the_head_says_where_the_body_ends() {
        let is = |fields: &str| match end(&head(fields)) {
            Ok(End::Sized(size)) => size.to_string(),
            Ok(End::Chunked(_)) => "chunked".to_owned(),
            Ok(End::Closed) => "closed".to_owned(),
            Err(_) => "wrong".to_owned(),
        };
        for (fields, expected) in [
            ("", "closed"),
            ("content-length: 5\r\n", "5"),
            ("content-length: 5\r\ncontent-length: 5, 5\r\n", "5"),
            ("content-length: 5\r\ncontent-length: 6\r\n", "wrong"),
            ("content-length: +5\r\n", "wrong"),
            ("content-length: \r\n", "wrong"),
            ("content-length: 99999999999999999999\r\n", "wrong"),
            ("content-length: 5\r\ntransfer-encoding: Chunked\r\n", "chunked"),
            ("transfer-encoding: gzip, chunked\r\n", "chunked"),
            ("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", "chunked"),
            ("transfer-encoding: chunked, gzip\r\n", "closed"),
        ] {
            assert_eq!(is(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_connection_is_kept_unless_its_server_says_otherwise() {
        for (fields, kept) in
            [("", true), ("connection: x, Close\r\n", false), ("connection: keep-alive\r\n", true)]
        {
            assert_eq!(keeps(&head(fields)), kept, "{fields:?}");
        }
        let old = |fields: &str| {
            keeps(&read(format!("HTTP/1.0 200 OK\r\n{fields}\r\n").as_bytes()).unwrap().unwrap().0)
        };
        assert!(!old("") && old("connection: keep-alive\r\n"));
        assert!(!old("connection: keep-alive\r\ntransfer-encoding: chunked\r\n"));
        assert!(!keeps(&head("transfer-encoding: chunked\r\ncontent-length: 5\r\n")));
    }
}
