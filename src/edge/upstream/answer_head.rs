//! The head of a provider's answer over HTTP/1, and what it says of the body and of the connection.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use httparse::{EMPTY_HEADER, ParserConfig, Response, Status};
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
    let mut answer = Response::new(&mut fields);
    let mut parser = ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    let length = match parser.parse_response(&mut answer, bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        // What is wrong with it is not told: it may hold anything.
        Err(_) => return Err(invalid("no head")),
    };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(|| invalid("a status"))?;
    let mut head = ResponseHeader::build_no_case(status, Some(answer.headers.len()))?;
    head.set_version(if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 });
    // One copy, of which every value is a part.
    let copy = Bytes::copy_from_slice(bytes.get(..length).unwrap_or_default());
    for field in answer.headers.iter().filter(|field| !field.name.is_empty()) {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| invalid("a name"))?;
        let start = (field.value.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
        let value = match start.checked_add(field.value.len()) {
            Some(end) if end <= copy.len() => copy.slice(start..end),
            _ => Bytes::copy_from_slice(field.value),
        };
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| invalid("a value"))?;
        head.append_header(name, value)?;
    }
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        // RFC 9112, 6.3: it wins.
        head.remove_header(&header::CONTENT_LENGTH);
    }
    Ok(Some((head, length)))
}

/// The end of the body that follows this head.
///
/// # Errors
/// Fails if the head states it in more than one way.
pub(super) fn end(head: &ResponseHeader) -> pingora::Result<End> {
    if matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(End::Sized(0));
    }
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
    match head.version {
        Version::HTTP_11 => !says("close"),
        _ => is_kept_by_an_old_server(&head.headers) && says("keep-alive"),
    }
}

/// RFC 9112, 6.1: an HTTP/1.0 server knows no transfer-encoding.
fn is_kept_by_an_old_server(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::TRANSFER_ENCODING)
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
    }
}
