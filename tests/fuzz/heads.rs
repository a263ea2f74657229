//! Heads of HTTP/1 requests: what is taken for one is read alike by the framework's parser, however it arrives.

use crate::head::{RequestLine, Scan, check};
use crate::mutate::cut;
use crate::{fuzz, seeds};

#[test]
fn heads() {
    fuzz("heads", &seeds::heads(), 20_000, |input, rng| {
        let whole = Scan::default().end(input);
        let mut scan = Scan::default();
        let (mut arrived, mut in_pieces) = (0, Ok(None));
        for piece in cut(input, rng) {
            arrived += piece.len();
            in_pieces = scan.end(&input[..arrived]);
            if in_pieces != Ok(None) {
                break;
            }
        }
        assert_eq!(in_pieces, whole);
        let line = RequestLine::read(input);
        let Ok(Some(end)) = whole else { return };
        let Ok((checked, _)) = check(&input[..end]) else { return };
        assert_eq!(line, Ok(checked));
        assert!(checked.target.starts_with(checked.path()));
        same_to_another_reader(&input[..end], checked);
    });
}

/// Is the head understood by the parser that reads it next, and in the same way?
fn same_to_another_reader(head: &[u8], line: RequestLine<'_>) {
    let count = head.split(|byte| *byte == b'\n').count();
    let mut fields = vec![httparse::EMPTY_HEADER; count];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(request.parse(head), Ok(httparse::Status::Complete(head.len())));
    assert_eq!((request.method, request.path), (Some(line.method), Some(line.target)));
    // The request line, the empty line, and what is after its end.
    assert_eq!(request.headers.len(), count - 3);
    let of =
        |name: &str| request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
    assert!(of("content-length") + of("transfer-encoding") <= 1, "one length");
    assert!(of("host") <= 1, "one host");
    let plain = |value: &[u8]| !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    assert!(request.headers.iter().all(|field| plain(field.value)));
}
