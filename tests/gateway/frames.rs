//! HTTP/2 as no client speaks it: what breaks its rules ends the stream or the connection, reaches no provider, and
//! takes little memory.

use std::sync::Arc;
use std::time::Duration;

use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, Told, WINDOW_UPDATE, block, frame, literal,
};
use crate::support::{Act, Gate, Gateway, Mock, PROTOCOLS, config, eventually, h2_post, json};

const PATH: &str = PROTOCOLS[0].0;
const BODY: &str = PROTOCOLS[0].1;

/// Codes of RFC 9113, 7.
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

fn start() -> (Gateway, Mock) {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    (Gateway::start(&config(mock.port)), mock)
}

/// The fields of a good request.
fn fields(bearer: &str) -> Vec<(&str, &str)> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "g"),
        (":path", PATH),
        ("authorization", bearer),
    ]
}

/// A request with these fields, and a body.
fn post(stream: u32, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &block(fields));
    bytes.extend(frame(DATA, END_STREAM, stream, body.as_bytes()));
    bytes
}

fn still_serves(gateway: &Gateway) {
    assert_eq!(h2_post(gateway.port, PATH, &gateway.key, BODY.into(), false).status, 200);
    let idle = || {
        gateway.metric("crossmodel_requests_in_flight") + gateway.metric("crossmodel_ledger_open_holds")
            == 0.0
    };
    assert!(eventually(Duration::from_secs(5), idle), "nothing is left behind");
}

/// Is this an answer with a status of 4xx? It stands first, as an index of the static table or as a literal.
fn refused(told: &Told) -> bool {
    let Told::Answer(block) = told else { return false };
    // 0x8c is 400, 0x8d is 404; other statuses have the name's index 8 and three digits, plain or in Huffman's code.
    matches!(block.first(), Some(0x8c | 0x8d))
        || matches!(block[..], [0x48, 3, b'4', ..] | [0x48, 0x82, 0x68..=0x6f, ..])
}

#[test]
fn a_good_request_is_answered() {
    let (gateway, mock) = start();
    let bearer = format!("Bearer {}", gateway.key);
    let mut frames = Frames::connect(gateway.port);
    frames.send(&post(1, &fields(&bearer), BODY));
    let told = frames.told(1);
    assert!(matches!(&told, Told::Answer(block) if block[0] == 0x88), "{told:?}");
    assert_eq!(mock.take().len(), 1);
}

/// Fields that HTTP/1.1 would read as something else, or that have no meaning in HTTP/2 (RFC 9113, 8.2 and 8.3).
#[test]
fn malformed_requests_go_nowhere() {
    let (gateway, mock) = start();
    let bearer = format!("Bearer {}", gateway.key);
    let good = fields(&bearer);
    let with = |extra: &[(&'static str, &'static str)]| [good.clone(), extra.to_vec()].concat();
    let instead = |name: &str, value: &'static str| {
        let mut all = good.clone();
        all.iter_mut().filter(|(n, _)| *n == name).for_each(|field| field.1 = value);
        all
    };
    let without = |name: &str| good.iter().copied().filter(|(n, _)| *n != name).collect::<Vec<_>>();
    let cases = [
        ("a name in capitals", with(&[("X-Name", "1")])),
        ("a name with a blank", with(&[("x name", "1")])),
        ("a name with a colon", with(&[("x:name", "1")])),
        ("an empty name", with(&[("", "1")])),
        ("a path twice", [vec![(":path", "/v1/models")], good.clone()].concat()),
        ("a method twice", [vec![(":method", "GET")], good.clone()].concat()),
        ("no path", without(":path")),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("an empty path", instead(":path", "")),
        ("a path with a blank", instead(":path", "/v1/chat/completions HTTP/1.1")),
        ("a path with a line end", instead(":path", "/v1/chat/completions\r\nx: y")),
        ("a path that is none", instead(":path", "v1/chat/completions")),
        ("a path that is a URL", instead(":path", "http://evil/v1/chat/completions")),
        ("a method with a blank", instead(":method", "POST /")),
        ("a pseudo-header that there is not", [vec![(":host", "g")], good.clone()].concat()),
        ("the status of an answer", [vec![(":status", "200")], good.clone()].concat()),
        ("a pseudo-header behind a field", with(&[(":path", "/v1/models")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te", with(&[("te", "gzip")])),
        ("a line end in a value", with(&[("x", "a\r\ncontent-length: 0")])),
        ("a carriage return in a value", with(&[("x", "a\rb")])),
        ("a NUL in a value", with(&[("x", "a\0b")])),
        ("an authority with a user", instead(":authority", "user@g")),
        ("an authority with a path", instead(":authority", "g/../evil")),
        ("an authority with a line end", instead(":authority", "g\r\nx: y")),
        ("another host than the authority", with(&[("host", "evil")])),
        ("two hosts", with(&[("host", "g"), ("host", "evil")])),
        ("a longer length", with(&[("content-length", "100000")])),
        ("a shorter length", with(&[("content-length", "3")])),
        ("a length that is none", with(&[("content-length", "+5")])),
        ("two lengths", with(&[("content-length", "3"), ("content-length", "4")])),
    ];
    for (what, fields) in cases {
        let mut frames = Frames::connect(gateway.port);
        frames.send(&post(1, &fields, BODY));
        let told = frames.told(1);
        let ended = matches!(told, Told::Reset(_) | Told::GoAway(1..) | Told::Closed);
        assert!(ended || refused(&told), "{what}: {told:?}");
        assert!(mock.take().is_empty(), "{what}");
    }
    still_serves(&gateway);
}

/// Frames in the wrong place, or of the wrong shape (RFC 9113, 5 and 6; RFC 7541). The code may always be the most
/// general one.
#[test]
fn broken_frames_end_the_connection_or_the_stream() {
    let (gateway, mock) = start();
    let bearer = format!("Bearer {}", gateway.key);
    let good = block(&fields(&bearer));
    let open = |stream| frame(HEADERS, END_HEADERS, stream, &good);
    let then = |frames: &[Vec<u8>]| frames.concat();
    let window = |by: u32| by.to_be_bytes();
    let setting = |id: u16, value: u32| [id.to_be_bytes().to_vec(), value.to_be_bytes().to_vec()].concat();
    let cases: [(&str, Vec<u8>, &[u32]); 26] = [
        ("an even stream", open(2), &[PROTOCOL_ERROR]),
        ("stream 0 with headers", open(0), &[PROTOCOL_ERROR]),
        ("a lower stream", then(&[open(5), open(3)]), &[PROTOCOL_ERROR, STREAM_CLOSED]),
        (
            "a stream once more",
            then(&[frame(HEADERS, END_HEADERS | END_STREAM, 1, &good), open(1)]),
            &[PROTOCOL_ERROR, STREAM_CLOSED],
        ),
        ("data for no stream", frame(DATA, 0, 1, b"x"), &[PROTOCOL_ERROR, STREAM_CLOSED]),
        ("data for stream 0", frame(DATA, 0, 0, b"x"), &[PROTOCOL_ERROR]),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &good), &[PROTOCOL_ERROR]),
        (
            "another frame within headers",
            then(&[frame(HEADERS, 0, 1, &good[..9]), frame(PING, 0, 0, &[0; 8])]),
            &[PROTOCOL_ERROR],
        ),
        (
            "a continuation of another stream",
            then(&[frame(HEADERS, 0, 1, &good[..9]), frame(CONTINUATION, END_HEADERS, 3, &good[9..])]),
            &[PROTOCOL_ERROR],
        ),
        ("a frame that is too large", frame(DATA, 0, 1, &[0; (1 << 14) + 1]), &[FRAME_SIZE_ERROR]),
        ("a window of nothing more", frame(WINDOW_UPDATE, 0, 0, &window(0)), &[PROTOCOL_ERROR]),
        ("a window of 2^31", frame(WINDOW_UPDATE, 0, 0, &window(u32::MAX >> 1)), &[FLOW_CONTROL_ERROR]),
        (
            "a stream's window of 2^31",
            then(&[open(1), frame(WINDOW_UPDATE, 0, 1, &window(u32::MAX >> 1))]),
            &[FLOW_CONTROL_ERROR],
        ),
        ("a window for no stream", frame(WINDOW_UPDATE, 0, 1, &window(1)), &[PROTOCOL_ERROR]),
        (
            "an initial window of 2^31",
            frame(SETTINGS, 0, 0, &setting(4, 1 << 31)),
            &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR],
        ),
        ("a frame size of nothing", frame(SETTINGS, 0, 0, &setting(5, 0)), &[PROTOCOL_ERROR]),
        ("a push that is neither on nor off", frame(SETTINGS, 0, 0, &setting(2, 2)), &[PROTOCOL_ERROR]),
        ("half a setting", frame(SETTINGS, 0, 0, &[0; 5]), &[FRAME_SIZE_ERROR]),
        ("an answer with settings", frame(SETTINGS, ACK, 0, &setting(4, 1)), &[FRAME_SIZE_ERROR]),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), &[PROTOCOL_ERROR]),
        ("a short ping", frame(PING, 0, 0, &[0; 7]), &[FRAME_SIZE_ERROR]),
        ("a reset of no stream", frame(RST_STREAM, 0, 1, &window(8)), &[PROTOCOL_ERROR]),
        (
            "a promise of a client",
            then(&[
                open(1),
                frame(PUSH_PROMISE, END_HEADERS, 1, &[window(2).to_vec(), good.clone()].concat()),
            ]),
            &[PROTOCOL_ERROR],
        ),
        ("index 0", frame(HEADERS, END_HEADERS, 1, &[0x80]), &[COMPRESSION_ERROR]),
        ("an index of no entry", frame(HEADERS, END_HEADERS, 1, &[0xfe]), &[COMPRESSION_ERROR]),
        (
            "a number without an end",
            frame(HEADERS, END_HEADERS, 1, &[[0xff].as_slice(), &[0xff; 20]].concat()),
            &[COMPRESSION_ERROR],
        ),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, codes) in cases {
        let mut frames = Frames::connect(gateway.port);
        frames.send(&bytes);
        let told = match frames.told(1) {
            // One with an end of stream is answered first: it has no body.
            answer @ Told::Answer(_) if refused(&answer) => frames.told(1),
            told => told,
        };
        match told {
            Told::Reset(code) | Told::GoAway(code) if codes.contains(&code) || code == PROTOCOL_ERROR => {}
            told => wrong.push(format!("{what}: {told:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What is only odd is not held against anybody.
    let mut frames = Frames::connect(gateway.port);
    frames.send(&frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]));
    frames.send(&frame(0x77, 0xff, 1, b"unknown"));
    frames.send(&frame(SETTINGS, 0, 0, &setting(0x1234, 5)));
    frames.send(&post(1, &fields(&bearer), BODY));
    assert!(matches!(frames.told(1), Told::Answer(_)));
    assert_eq!(mock.take().len(), 1, "only the last one");
    still_serves(&gateway);
}

/// Small frames that make many fields: a table entry of 4,000 bytes, and references to it.
#[test]
fn a_header_block_that_unfolds_is_refused_in_bounded_memory() {
    let (gateway, mock) = start();
    let bearer = format!("Bearer {}", gateway.key);
    still_serves(&gateway);
    let before = gateway.peak_memory();
    for _ in 0..20 {
        let mut frames = Frames::connect(gateway.port);
        // Answers are not read either: the client's window is shut.
        frames.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
        let mut first = block(&fields(&bearer));
        first.extend(literal(0x40, b"x-bomb", &[b'a'; 4000]));
        frames.send(&frame(HEADERS, 0, 1, &first));
        for n in 1..=4 {
            let flags = if n == 4 { END_HEADERS } else { 0 };
            if !frames.send(&frame(CONTINUATION, flags, 1, &[0xbe; 1 << 14])) {
                break;
            }
        }
        frames.send(&frame(DATA, END_STREAM, 1, BODY.as_bytes()));
        let told = frames.told(1);
        assert!(matches!(told, Told::Reset(_) | Told::GoAway(_) | Told::Closed) || is_431(&told), "{told:?}");
    }
    let grown = gateway.peak_memory().saturating_sub(before);
    assert!(grown < 20 << 10, "{grown} KiB for what would be 5 GB");
    assert!(mock.take().len() <= 1);
    still_serves(&gateway);
}

/// The literal `431`, plain or in Huffman's code, behind the name's index.
fn is_431(told: &Told) -> bool {
    matches!(told, Told::Answer(block) if matches!(block[..], [0x48, 3, b'4', b'3', b'1', ..] | [0x48, 0x83, 0x69, 0x90, ..] | [0x48, 0x82, 0x69, ..]))
}

/// Sends the same bytes over and over, without reading; gives whether the server has had enough of it.
fn flood(gateway: &Gateway, first: &[u8], bytes: impl Fn(u32) -> Vec<u8>) -> (bool, Told) {
    let mut frames = Frames::connect(gateway.port);
    frames.send(first);
    let mut ended = false;
    // Some megabytes, and no more than that.
    for n in 0..2000 {
        let piece: Vec<u8> = (0..50).flat_map(|m| bytes(n * 50 + m)).collect();
        if !frames.send(&piece) {
            ended = true;
            break;
        }
    }
    (ended, frames.told(u32::MAX))
}

#[test]
fn who_takes_many_streams_back_is_told_to_come_again_and_loses_none() {
    let gate = Gate::new();
    let opened = Arc::clone(&gate);
    let mock = Mock::scripted(move |seen, _| {
        let answer = json(200, "", PROTOCOLS[0].2);
        if seen.text().contains("wait") {
            [vec![Act::Await(Arc::clone(&opened))], answer].concat()
        } else {
            answer
        }
    });
    let gateway = Gateway::start(&config(mock.port));
    let bearer = format!("Bearer {}", gateway.key);
    let fields = fields(&bearer);
    let mut client = Frames::connect(gateway.port);
    client.send(&post(1, &fields, &BODY.replace("hi", "wait")));
    assert!(eventually(Duration::from_secs(5), || mock.seen().len() == 1));
    let mut stream = 1;
    let told = loop {
        stream += 2;
        assert!(stream < 2000, "nobody says a word");
        assert!(client.send(&frame(HEADERS, END_HEADERS, stream, &block(&fields))));
        assert!(client.send(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])));
        // Each has been read when this is answered.
        assert!(client.send(&frame(PING, 0, 0, &[7; 8])));
        let told = loop {
            match client.next() {
                Ok(Some((PING, _, payload))) if payload == [7; 8] => break None,
                Ok(Some((GOAWAY, _, payload))) => break Some(payload),
                Ok(Some(_)) => {}
                other => panic!("{other:?} at {stream}"),
            }
        };
        if let Some(payload) = told {
            break payload;
        }
    };
    assert_eq!(told[4..8], [0; 4], "there is no error");
    gate.open();
    let told = client.told(1);
    assert!(matches!(&told, Told::Answer(block) if block.first() == Some(&0x88)), "{told:?}");
}

/// What is sent again and again.
type Flood = Box<dyn Fn(u32) -> Vec<u8>>;

#[test]
fn floods_of_frames_take_little_and_hold_nobody_up() {
    let (gateway, mock) = start();
    let bearer = format!("Bearer {}", gateway.key);
    let good = block(&fields(&bearer));
    still_serves(&gateway);
    mock.take();
    let before = gateway.peak_memory();
    let open = frame(HEADERS, END_HEADERS, 1, &good);
    let floods: [(&str, Vec<u8>, Flood); 6] = [
        ("settings", vec![], Box::new(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]))),
        ("pings", vec![], Box::new(|_| frame(PING, 0, 0, &[7; 8]))),
        ("continuations", frame(HEADERS, 0, 1, &good), Box::new(|_| frame(CONTINUATION, 0, 1, b""))),
        ("empty data", open, Box::new(|_| frame(DATA, 0, 1, b""))),
        (
            "streams that are reset",
            vec![],
            Box::new({
                let good = good.clone();
                move |n| {
                    let stream = 2 * n + 1;
                    [frame(HEADERS, END_HEADERS, stream, &good), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
                        .concat()
                }
            }),
        ),
        (
            // MadeYouReset: the server is made to reset streams that it counts no more (CVE-2025-8671).
            "streams that the server has to reset",
            vec![],
            Box::new({
                let good = good.clone();
                move |n| {
                    let stream = 2 * n + 1;
                    [frame(HEADERS, END_HEADERS, stream, &good), frame(WINDOW_UPDATE, 0, stream, &[0; 4])]
                        .concat()
                }
            }),
        ),
    ];
    for (what, first, bytes) in floods {
        let (ended, told) = flood(&gateway, &first, bytes);
        if ["continuations", "streams that are reset", "streams that the server has to reset"].contains(&what)
        {
            let enough =
                ended || matches!(told, Told::GoAway(ENHANCE_YOUR_CALM | PROTOCOL_ERROR) | Told::Closed);
            assert!(enough, "{what}: {told:?}");
        }
        assert!(mock.take().is_empty(), "{what}");
        still_serves(&gateway);
        mock.take();
    }
    let grown = gateway.peak_memory().saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB");
}
