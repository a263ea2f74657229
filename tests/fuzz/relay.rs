//! What is relayed: requests with the edits that must be, and answers in the grammar that they came in.

use std::collections::HashMap;

use bytes::Bytes;
use crossmodel::provider::Profile;
use crossmodel_core::canon::{Form, ProtocolId};
use crossmodel_core::json::Body;
use crossmodel_core::protocol::{Head, Protocol};
use crossmodel_core::translate::relay::{Edits, End, Reply, Stream};
use serde_json::value::RawValue;

use crate::mutate::{Rng, cut};
use crate::{fuzz, is_json, seeds};

#[test]
fn chat() {
    relayed(ProtocolId::Chat);
}

#[test]
fn responses() {
    relayed(ProtocolId::Responses);
}

#[test]
fn gemini() {
    relayed(ProtocolId::Gemini);
}

#[test]
fn messages() {
    relayed(ProtocolId::Messages);
}

fn relayed(id: ProtocolId) {
    let protocol = id.protocol();
    fuzz(&format!("relayed requests of {id}"), &seeds::requests(id), 2000, |input, rng| {
        request(protocol, input, rng);
    });
    fuzz(&format!("relayed streams of {id}"), &seeds::streams(id), 1500, |input, rng| {
        let withhold = rng.below(2) == 0;
        let whole = stream(protocol, &[input], withhold);
        let pieces = stream(protocol, &cut(input, rng), withhold);
        assert_eq!(whole.0.escape_ascii().to_string(), pieces.0.escape_ascii().to_string());
        assert_eq!(whole.1, pieces.1);
    });
    fuzz(&format!("relayed replies of {id}"), &seeds::replies(id), 1500, |input, _| {
        let Ok(out) = Reply::new(protocol, MODEL).whole(Bytes::copy_from_slice(input)) else { return };
        assert!(!is_json(input) || is_json(&out), "{}", out.escape_ascii());
    });
}

/// The provider is asked for the model that was decided on, whoever reads the request, and for nothing else.
fn request(protocol: &dyn Protocol, input: &[u8], rng: &mut Rng) {
    if protocol.id() == ProtocolId::Gemini {
        return addressed(protocol, input, rng);
    }
    let Ok(head) = Head::read(input, protocol.members()) else { return };
    let profile = Profile { strip_attribution: rng.below(2) == 0, ..Profile::default() };
    let cap = (rng.below(2) == 0).then_some(77);
    let edited = |bytes: &[u8], head: &Head<'_>, cap| {
        let mut body = Body::from(bytes);
        Edits::of(protocol, bytes, head, &profile, MODEL, cap).apply(&mut body);
        body.bytes().to_vec()
    };
    let out = edited(input, &head, cap);
    // What is no JSON is not seen as such where it is not looked at; other readers take none of it.
    let Ok(read) = serde_json::from_slice::<HashMap<String, &RawValue>>(input) else { return };
    let asked: Option<String> = read.get("model").and_then(|model| serde_json::from_str(model.get()).ok());
    if let Some(asked) = asked {
        assert_eq!(head.model, asked, "another reader of the same model");
    }
    let sent: HashMap<String, &RawValue> =
        serde_json::from_slice(&out).unwrap_or_else(|why| panic!("{why}: {}", out.escape_ascii()));
    assert_eq!(sent.get("model").unwrap().get(), format!("\"{MODEL}\""), "{}", out.escape_ascii());
    let again = Head::read(&out, protocol.members()).unwrap();
    assert_eq!(again.model, MODEL);
    assert_eq!(edited(&out, &again, None).escape_ascii().to_string(), out.escape_ascii().to_string());
}

/// The model that the path names counts, whatever the body says, and the provider gets what the client has sent.
fn addressed(protocol: &dyn Protocol, input: &[u8], rng: &mut Rng) {
    let Some(edit) = protocol.addressed(input, MODEL, Form::Stream) else { return };
    let mut with = Body::from(input);
    with.splice(&[edit]);
    let Ok(head) = Head::read(with.bytes(), protocol.members()) else { return };
    assert!(head.model == MODEL && head.stream, "{}", with.bytes().escape_ascii());
    let mut out = Body::from(with.bytes());
    let cap = (rng.below(2) == 0).then_some(77);
    Edits::of(protocol, with.bytes(), &head, &Profile::default(), "other", cap).apply(&mut out);
    assert!(!is_json(input) || is_json(out.bytes()), "{}", out.bytes().escape_ascii());
}

/// What the client gets, and how it ended.
fn stream(protocol: &'static dyn Protocol, pieces: &[&[u8]], withhold: bool) -> (Vec<u8>, End) {
    let mut stream = Stream::new(Reply::new(protocol, MODEL), &Profile::default(), withhold, 1 << 20);
    let mut out = Vec::new();
    for piece in pieces {
        match stream.push(Bytes::copy_from_slice(piece)) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            // What could not be read any more is told at the end.
            Err(_) => break,
        }
    }
    let (last, end) = stream.end();
    out.extend_from_slice(&last);
    (out, end)
}

const MODEL: &str = "the-model";
