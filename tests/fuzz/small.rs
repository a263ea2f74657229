//! What the decoders are made of: events, JSON, carriers; and the configuration.

use std::path::Path;

use bytes::Bytes;
use crossmodel::Config;
use crossmodel_core::canon::{Carrier, ProtocolId, SealKey, Sealer};
use crossmodel_core::json::{Body, Cuts, JsonStr, Name, Raw, compact, elements, members, repair, splice};
use crossmodel_core::sse::{Framer, SseEvent};

use crate::mutate::{Rng, cut, mutated};
use crate::{fuzz, is_json, seeds};

#[test]
fn events() {
    let seeds: Vec<_> = ProtocolId::ALL.into_iter().flat_map(seeds::streams).collect();
    fuzz("events", &seeds, 3000, |input, rng| {
        let whole = framed(&[input]);
        assert_eq!(whole, framed(&cut(input, rng)));
        for event in &whole {
            let Some(data) = SseEvent::parse(event).data else { continue };
            assert!(data.start + data.bytes.len() <= event.len(), "the data stands in the event");
        }
    });
}

/// The events, and what is left at the end.
fn framed(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut framer = Framer::new(1 << 20);
    let mut events: Vec<Vec<u8>> = Vec::new();
    for piece in pieces {
        let Some(block) = framer.push(Bytes::copy_from_slice(piece)).unwrap() else { continue };
        for (index, span) in block.events().enumerate() {
            match (index, block.leading_lf, events.last_mut()) {
                (0, true, Some(last)) => last.push(b'\n'),
                _ => events.push(block.bytes[span].to_vec()),
            }
        }
    }
    events.push(framer.rest().to_vec());
    events
}

#[test]
fn json() {
    let mut seeds: Vec<_> = ProtocolId::ALL.into_iter().flat_map(seeds::requests).collect();
    seeds.extend(ProtocolId::ALL.into_iter().flat_map(seeds::replies));
    fuzz("json", &seeds, 3000, |input, rng| {
        let repaired = repair::repair(input);
        assert_eq!(repair::repair(repaired.as_bytes()), repaired);
        scanned(input);
        removed(&repaired, rng);
        if let Some(raw) = Raw::read(&repaired) {
            let mut out = Vec::new();
            compact(raw.get(), &mut out);
            assert!(is_json(&out), "{}", out.escape_ascii());
        }
    });
}

/// What the scanner finds stands where it says, and it finds all of what is valid.
fn scanned(input: &[u8]) {
    let mut found = members(input).watched_by(|inner, _| inner.first().copied().unwrap_or_default());
    let mut stopped = None;
    for member in found.by_ref() {
        let Ok(member) = member else {
            stopped = member.err();
            break;
        };
        assert_eq!(&input[member.span.clone()], member.value);
        let _ = (member.text(), member.unsigned(), member.is("type"), Name::read(member.key));
    }
    // It does not go as deep as the judge, which goes to any depth.
    let whole = match stopped.or_else(|| found.finish().err()) {
        Some(malformed) => malformed.expected == "less nesting",
        None => true,
    };
    assert!(!is_json(input) || !input.trim_ascii().starts_with(b"{") || whole, "valid, but not found whole");
    elements(input).flatten().for_each(|(value, span)| assert_eq!(&input[span], value));
}

/// Members and elements are taken out, and what is left is still JSON.
fn removed(text: &str, rng: &mut Rng) {
    if !is_json(text.as_bytes()) {
        return;
    }
    let spans: Vec<_> = elements(text.as_bytes()).flatten().map(|(_, span)| span).collect();
    let gone: Vec<bool> = spans.iter().map(|_| rng.below(2) == 0).collect();
    let mut cuts = Cuts::default();
    spans.iter().zip(&gone).for_each(|(span, goes)| cuts.take(span, *goes));
    let edits: Vec<_> = cuts.finish().into_iter().map(|span| (span, Bytes::new())).collect();
    let left = splice(text.as_bytes(), &edits);
    assert!(is_json(&left), "{}", left.escape_ascii());
    let mut edits = Vec::new();
    for member in members(text.as_bytes()).flatten().filter(|_| rng.below(2) == 0) {
        edits.push((member.span, Bytes::from_static(b"{\"a\":[]}")));
    }
    let mut body = Body::with_capacity(text.len());
    body.push(text.as_bytes());
    body.splice(&edits);
    assert_eq!(body.bytes(), splice(text.as_bytes(), &edits));
    assert!(is_json(body.bytes()));
}

#[test]
fn literals() {
    let seeds: Vec<Vec<u8>> = [
        r#""plain""#,
        r#""a\n\ud83d\ude00\"\\x\u00e9""#,
        "\"é😀 \u{2028}\"",
        r#""\ud83d\ud83d\ude00\ude00""#,
        r#""{\"a\":[1,\"b\"]}""#,
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    fuzz("literals", &seeds, 6000, |input, rng| {
        let text = String::from_utf8_lossy(input);
        assert_eq!(JsonStr::of(&text).decode(), text);
        let (whole, half) = repair::split_trailing_high(&text);
        assert_eq!(format!("{whole}{}", half.unwrap_or_default()), text);
        let Some(lit) = JsonStr::read(&text) else { return };
        assert!(is_json(text.as_bytes()), "{text}");
        let _ = (lit.decode(), lit.is_blank(), lit.slice(rng.below(9)..rng.below(40)));
        let pieces: Vec<_> = lit.pieces(1 + rng.below(30)).collect();
        assert!(pieces.iter().all(|piece| is_json(format!("\"{}\"", piece.raw()).as_bytes())), "{text}");
        assert_eq!(pieces.iter().map(JsonStr::raw).collect::<String>(), lit.raw());
    });
}

#[test]
fn carriers() {
    let sealer = Sealer::new(&SealKey::new([7; 32]), "account");
    let blocks =
        [r#"{"type":"thinking","thinking":"a\u00e9","signature":"S=="}"#, "{}", r#"{"tc":{"c":{"x":1}}}"#];
    let seeds: Vec<Vec<u8>> = blocks
        .iter()
        .map(|block| Carrier { blocks: vec![Raw::constant(block)] })
        .map(|carrier| carrier.seal(&sealer, "o", "m").into_bytes())
        .collect();
    fuzz("carriers", &seeds, 4000, |input, rng| {
        let text = String::from_utf8_lossy(input);
        if let Ok(carrier) = Carrier::open(&text, &sealer, "o", "m") {
            assert_eq!(carrier.seal(&sealer, "o", "m"), text);
            assert!(seeds.contains(&text.into_owned().into_bytes()), "nobody else can make one");
        }
        // The inside is damaged, and the seal is not.
        let inside = mutated(&blocks.map(|block| format!("[{block}]").into()), rng);
        let text = sealer.seal("o", "m", &inside);
        if let Ok(carrier) = Carrier::open(&text, &sealer, "o", "m") {
            assert!(carrier.blocks.iter().all(|block| is_json(block.get().as_bytes())));
        }
    });
}

#[test]
fn configurations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let files =
        ["crossmodel.yaml", "crossmodel.full.yaml"].map(|name| std::fs::read(folder.join(name)).unwrap());
    let hand =
        ["providers: {a: {preset: openai, key: sk}}\nmodels: {x: a/y}\n", "a: &a [x, *a]\nb: {? [1] : 2}\n"];
    let seeds: Vec<_> = files.into_iter().chain(hand.map(|text| text.as_bytes().to_vec())).collect();
    fuzz("configurations", &seeds, 250, |input, _| {
        let text = String::from_utf8_lossy(input);
        let read = || Config::parse(&text, |name| name.starts_with("OPEN").then(|| "key".to_owned()));
        let told = |config: Result<Config, _>| {
            config.err().map(|error: crossmodel::config::ConfigError| error.to_string())
        };
        assert_eq!(told(read()), told(read()));
    });
}
