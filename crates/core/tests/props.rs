//! Properties of the relay: how bytes are split never matters, and nothing but the listed edits changes.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use bytes::Bytes;
use crossmodel_core::canon::Profile;
use crossmodel_core::failure::Kind;
use crossmodel_core::json::{self, Body};
use crossmodel_core::protocol::{Head, Protocol, REGISTRY, UpstreamError};
use crossmodel_core::sse::{Framer, SseEvent};
use crossmodel_core::translate::relay::{Edits, End, Reply, Stream};
use proptest::prelude::*;

/// The client's name for the model, and the provider's.
const CLIENT: &str = "v/model";
const UPSTREAM: &str = "real-model";

/// What comes out of a relay for these chunks, and how it ended.
fn relayed(protocol: &'static dyn Protocol, withhold: bool, chunks: &[&[u8]]) -> (Vec<u8>, End) {
    let mut stream = Stream::new(Reply::new(protocol, CLIENT), &Profile::default(), withhold, 1 << 20);
    let mut out = Vec::new();
    for chunk in chunks {
        match stream.push(Bytes::copy_from_slice(chunk)) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(_) => break,
        }
    }
    let (last, end) = stream.end();
    out.extend_from_slice(&last);
    (out, end)
}

/// `bytes` cut at these places, whatever order they are in.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let mut start = 0;
    ends.iter().map(|&end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

fn protocol() -> impl Strategy<Value = &'static dyn Protocol> {
    prop::sample::select(REGISTRY)
}

fn places() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

/// Text as it stands in a JSON string, also such that looks like what the relay edits.
fn literal() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        r#""model":"x""#,
        "\n\ndata: {\"model\":\"x\"}\n\n",
        "[DONE]",
        "\\",
        r#"\"model\":\"real-model\""#,
        "\u{2028}\r\n",
        "é\u{1f600}",
    ]);
    prop_oneof![any::<String>(), odd.prop_map(str::to_owned)]
        .prop_map(|text| serde_json::to_string(&text.replace('@', "a")).unwrap())
}

/// White space of the grammar.
fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", " ", "\t", "  "])
}

/// A member that the relay has no business with.
fn member() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        literal(),
        Just("1.50".to_owned()),
        Just("-1E+3".to_owned()),
        Just("null".to_owned()),
        literal().prop_map(|text| format!(r#"{{"model":{text},"usage":{{"x":[{{}},[]]}}}}"#)),
        literal().prop_map(|text| format!(r#"[{text} , true,{{"model" :"a"}}]"#)),
    ];
    ("[f-l]{1,6}", space(), value, space()).prop_map(|(key, a, value, b)| format!("\"{key}\"{a}:{b}{value}"))
}

/// An object whose member `special` stands among others.
fn object(special: String) -> impl Strategy<Value = String> {
    let others = prop::collection::vec(member(), 0..4);
    (others, any::<prop::sample::Index>(), space(), space()).prop_map(move |(mut members, at, a, b)| {
        members.insert(at.index(members.len() + 1), special.clone());
        format!("{{{a}{}{b}}}", members.join(&format!("{b},{a}")))
    })
}

/// One event of a stream as the provider sends it; the model stands in it as `@`.
fn event(protocol: &'static dyn Protocol) -> BoxedStrategy<String> {
    let data = |special: &str| object(special.to_owned()).boxed();
    let variants: &[&str] = match protocol.id().as_str() {
        "chat" => &[
            r#""choices":[{"delta":{"content":"\"model\":\"x\""}}],"model":"@""#,
            r#""model" : "@","choices":[],"usage":null"#,
            r#""choices":[{"finish_reason":"stop"}]"#,
        ],
        "responses" => &[
            r#""type":"response.created","response":{"id":"r","model":"@","output":[{"model":"x"}]}"#,
            r#""type":"response.output_text.delta","delta":"\"model\":\"x\"","model":"x""#,
            r#""type":"response.completed","response":{"usage":{"input_tokens":1},"model": "@"}"#,
        ],
        "gemini" => &[
            r#""candidates":[{"content":{"parts":[{"text":"\"modelVersion\":\"x\""}]}}],"modelVersion":"@","model":"x""#,
            r#""modelVersion" : "@","usageMetadata":{"promptTokenCount":1}"#,
            r#""candidates":[{"finishReason":"STOP"}]"#,
        ],
        _ => &[
            r#""type":"message_start","message":{"model":"@","usage":{"input_tokens":1}}"#,
            r#""type":"content_block_delta","delta":{"text":"\"model\":\"x\""},"model":"x""#,
            r#""type":"message_delta","usage":{"output_tokens":2}"#,
            r#""type":"message_stop""#,
        ],
    };
    let of_protocol = prop::sample::select(variants).prop_flat_map(data);
    let other = prop::sample::select(vec![": note\n\n", "\n", "event: ping\n\n", "retry: 1\n\n"]);
    let named = (prop::sample::select(vec!["", "event: x\n", "id: 1\n", ": c\n"]), of_protocol, space())
        .prop_map(|(name, data, space)| format!("{name}data:{space}{data}\n\n"));
    prop_oneof![4 => named, 1 => other.prop_map(str::to_owned)].boxed()
}

/// A stream, with one of the three line ends.
fn stream() -> impl Strategy<Value = (&'static dyn Protocol, String)> {
    let of = |protocol| {
        let events = prop::collection::vec(event(protocol), 0..8);
        let ends = prop::sample::select(vec!["\n", "\r\n", "\r"]);
        (Just(protocol), events, ends, any::<bool>()).prop_map(|(protocol, events, end, bom)| {
            let bom = if bom && events.first().is_some_and(|first| first != "\n") { "\u{feff}" } else { "" };
            (protocol, format!("{bom}{}", events.concat().replace('\n', end)))
        })
    };
    protocol().prop_flat_map(of)
}

/// Bytes that are more often close to an event stream than random ones are.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "data:",
        "data: ",
        "event: error",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ":",
        ",",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\"model\"",
        "\"m\"",
        "\"usage\"",
        "null",
        "1",
        "[DONE]",
        "\"choices\":[]",
        "\"type\":\"error\"",
        "{\"choices\":[],\"model\":\"m\",\"usage\":{\"prompt_tokens\":1}}",
        "\u{feff}",
        " ",
        "\"message\":{",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}",
        "\"response\":{",
    ]);
    let word = prop_oneof![
        6 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_differs_in_the_models_place_only((protocol, text) in stream(), places in places()) {
        let upstream = text.replace('@', "real-model-0613");
        let expected = text.replace('@', CLIENT);
        let (out, _) = relayed(protocol, false, &cut(upstream.as_bytes(), &places));
        prop_assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn any_split_gives_the_same_bytes(
        protocol in protocol(), bytes in soup(), places in places(), withhold in any::<bool>()
    ) {
        let whole = relayed(protocol, withhold, &[&bytes]);
        prop_assert_eq!(&relayed(protocol, withhold, &cut(&bytes, &places)), &whole);
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(&relayed(protocol, withhold, &single), &whole);
    }

    #[test]
    fn a_request_differs_in_the_models_place_only(
        protocol in protocol(), object in object("@".to_owned()), stream in any::<bool>(), ask in any::<bool>()
    ) {
        if protocol.id().as_str() == "gemini" {
            // The path has named the model, and the gateway has put it at the end.
            let expected = object.replacen('@', r#""contents":[]"#, 1);
            let (begin, _) = expected.rsplit_once('}').unwrap();
            let body = format!(r#"{begin},"model":"{CLIENT}","stream":{stream}}}"#);
            let head = Head::read(body.as_bytes(), protocol.members()).unwrap();
            let mut edited = Body::from(body.as_bytes());
            Edits::of(protocol, body.as_bytes(), &head, &Profile::default(), UPSTREAM, None).apply(&mut edited);
            prop_assert_eq!(String::from_utf8_lossy(edited.bytes()), expected);
            return Ok(());
        }
        let options = if ask { r#","stream_options":{"include_usage":true}"# } else { "" };
        let with = |name: &str| {
            let members = format!(r#""messages":[],"model" : "{name}","input":[],"stream": {stream}{options}"#);
            object.replacen("@", &members, 1)
        };
        let body = with(CLIENT);
        let head = Head::read(body.as_bytes(), protocol.members()).unwrap();
        let mut edited = Body::from(body.as_bytes());
        let edits = Edits::of(protocol, body.as_bytes(), &head, &Profile::default(), UPSTREAM, None);
        let adds = edits.apply(&mut edited);
        let mut expected = with(UPSTREAM);
        prop_assert_eq!(adds, protocol.id().as_str() == "chat" && stream && !ask);
        if adds {
            expected = expected.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
        }
        prop_assert_eq!(String::from_utf8_lossy(edited.bytes()), expected);
    }

    #[test]
    fn an_answer_differs_in_the_models_place_only(protocol in protocol(), object in object("@".to_owned())) {
        let key = if protocol.id().as_str() == "gemini" { "modelVersion" } else { "model" };
        let with = |name: &str| object.replace('@', &format!(r#""{key}": "{name}","choices":[]"#));
        let out = Reply::new(protocol, CLIENT).whole(with("real-model-0613").into()).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&out), with(CLIENT));
    }

    #[test]
    fn scanners_take_any_bytes(
        bytes in prop_oneof![soup(), prop::collection::vec(any::<u8>(), 0..300)], limit in 0usize..100
    ) {
        let _ = json::members(&bytes).watched_by(|inner, _| u8::from(inner == b"file_id")).count();
        let _ = json::members(&bytes).finish();
        let _ = json::elements(&bytes).count();
        let _ = json::text(&bytes);
        let event = SseEvent::parse(&bytes);
        let _ = UpstreamError::read(&bytes);
        for protocol in REGISTRY {
            protocol.read_event(&event);
            let _ = protocol.read_reply(&bytes);
            if let Ok(head) = Head::read(&bytes, protocol.members()) {
                let edits = Edits::of(*protocol, &bytes, &head, &Profile::default(), UPSTREAM, None);
                edits.apply(&mut Body::from(bytes.as_slice()));
            }
        }
        let mut framer = Framer::new(limit);
        for chunk in bytes.chunks(7) {
            if framer.push(Bytes::copy_from_slice(chunk)).is_err() {
                break;
            }
        }
    }

    #[test]
    fn what_is_json_is_read_to_its_end(object in object("\"model\":\"m\"".to_owned())) {
        prop_assert_eq!(json::members(object.as_bytes()).finish(), Ok(()));
        let parsed: std::collections::BTreeMap<String, serde::de::IgnoredAny> =
            serde_json::from_str(&object).unwrap();
        let keys: std::collections::BTreeSet<_> =
            json::members(object.as_bytes()).map(|member| member.unwrap().key.to_vec()).collect();
        prop_assert_eq!(keys.len(), parsed.len());
        prop_assert!(json::members(&object.as_bytes()[..object.len() - 1]).finish().is_err());
    }

    #[test]
    fn names_of_models_survive_the_splice(name in any::<String>()) {
        prop_assume!(!name.is_empty());
        let literal = serde_json::to_string(&name).unwrap();
        let body = format!(r#"{{"messages":[],"model":{literal}}}"#);
        let head = Head::read(body.as_bytes(), REGISTRY[0].members()).unwrap();
        prop_assert_eq!(&head.model, &name);
        let other = Head::read(br#"{"messages":[],"model":"m"}"#, REGISTRY[0].members()).unwrap();
        let spliced = json::splice(br#"{"messages":[],"model":"m"}"#, &other.model_edits(br#"{"messages":[],"model":"m"}"#, &name));
        let read = Head::read(&spliced, REGISTRY[0].members()).unwrap();
        prop_assert_eq!(&read.model, &name);
    }
}

#[test]
fn a_body_that_is_no_object_is_refused_as_such() {
    for body in ["", "[]", "{\"model\":\"m\"", "{}x", "nul"] {
        for protocol in REGISTRY {
            let failure = Head::read(body.as_bytes(), protocol.members()).unwrap_err();
            assert_eq!(failure.kind(), Kind::InvalidJson, "{body}");
        }
    }
}
