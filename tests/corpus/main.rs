//! Recorded traffic of real providers through all pairs of protocols.
//!
//! The recordings are no part of the project: without them the tests are skipped, and say so. With
//! `CORPUS_OUT` every translation is written there, for the validators of `validate.py`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, and tell what they saw")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use crossmodel::provider::preset;
use crossmodel_core::canon::{Caps, Context, Form, Profile, ProtocolId, Sealer, Target};
use crossmodel_core::json::{self, JsonStr, Lenient as _};
use crossmodel_core::translate::bridge::{Bridge, RequestFacts, render};

/// One recording.
struct Case {
    name: String,
    protocol: ProtocolId,
    status: u64,
    request: Option<Vec<u8>>,
    response: Option<Vec<u8>>,
    stream: Option<Vec<u8>>,
    provider: String,
}

#[test]
fn requests_are_translated_or_refused_for_a_reason() {
    let Some(cases) = cases() else { return };
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let (mut translated, mut pairs) = (0, 0);
    for case in &cases {
        let Some(request) = &case.request else { continue };
        for to in others(case.protocol) {
            pairs += 1;
            match translate(case, request, to) {
                Ok(body) => {
                    let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(&body);
                    assert!(parsed.is_ok(), "{}: not JSON for {to}", case.name);
                    write(case, to, "request.json", &body);
                    translated += 1;
                }
                Err(failure) => {
                    assert_eq!(failure.status(), 400, "{} to {to}: {failure:?}", case.name);
                    let param = failure.param().unwrap_or("-");
                    let shape: String = param.chars().filter(|c| !c.is_ascii_digit()).collect();
                    *told
                        .entry(format!("{} {shape}: {}", failure.code(), cut(failure.message())))
                        .or_default() += 1;
                }
            }
        }
    }
    println!("requests: {translated} of {pairs} translated; refused:");
    told.iter().for_each(|(why, count)| println!("  {count:5} {why}"));
    assert!(translated * 10 > pairs * 7, "most requests can be carried");
}

#[test]
fn answers_are_translated_whole_and_however_they_are_cut() {
    let Some(cases) = cases() else { return };
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let mut translated = 0;
    for case in cases.iter().filter(|case| case.status == 200) {
        for to in others(case.protocol) {
            for stream in [false, true] {
                match answer(case, to, stream, usize::MAX) {
                    None => continue,
                    Some(Ok(body)) => {
                        translated += 1;
                        write(case, to, if stream { "sse" } else { "json" }, &body);
                        for size in [1, 7] {
                            let cut = answer(case, to, stream, size).unwrap().unwrap();
                            assert_eq!(timeless(&cut), timeless(&body), "{} to {to}", case.name);
                        }
                    }
                    Some(Err(why)) => {
                        *told.entry(why).or_default() += 1;
                    }
                }
            }
        }
    }
    println!("answers: {translated} translated; failed:");
    told.iter().for_each(|(why, count)| println!("  {count:5} {why}"));
    let failed: usize = told.values().sum();
    assert!(translated > 50 * failed, "only what is cut or broken in the recordings fails");
}

fn translate(case: &Case, request: &[u8], to: ProtocolId) -> Result<Bytes, crossmodel_core::Failure> {
    let (name, model) = match to {
        ProtocolId::Chat => ("openai", "gpt-4.1"),
        ProtocolId::Responses => ("openai", "gpt-5.1"),
        ProtocolId::Messages => ("anthropic", "claude-sonnet-4-5"),
        ProtocolId::Gemini => ("gemini", "gemini-3-flash-preview"),
    };
    let profile = profile(name);
    let caps = Caps::of(to, model, &profile);
    let target = Target {
        protocol: to,
        origin: name,
        model,
        profile: &profile,
        caps: &caps,
        sealer: &Sealer::default(),
    };
    let facts = RequestFacts {
        request_id: ID,
        now: NOW,
        model: MODEL,
        strict: false,
        counting: false,
        output_cap: None,
    };
    render(case.protocol.protocol(), request, &target, &facts).map(|rendered| rendered.body)
}

/// The answer for a client of protocol `to`, read in pieces of `size` bytes.
fn answer(case: &Case, to: ProtocolId, stream: bool, size: usize) -> Option<Result<Bytes, String>> {
    let context = Arc::new(Context {
        request_id: ID.to_owned(),
        now: NOW,
        model: JsonStr::plain(MODEL),
        origin: "recorded".to_owned(),
        upstream_model: "recorded".to_owned(),
        include_usage: true,
        show_reasoning: Some(true),
        ..Context::default()
    });
    let profile = profile(&case.provider);
    let from = case.protocol.protocol();
    let mut bridge =
        Bridge::new(to.protocol(), from, &profile, Arc::clone(&context), Form::of_stream(stream), 8 << 20);
    let mut out = Vec::new();
    let result = if let Some(events) = &case.stream {
        let mut pieces = events.chunks(size.min(events.len().max(1)));
        let pushed = pieces.try_for_each(|piece| {
            let result = bridge.push(Bytes::copy_from_slice(piece));
            out.extend_from_slice(&bridge.ready());
            result
        });
        pushed.and_then(|()| bridge.end())
    } else {
        bridge.reply(case.response.as_ref()?)
    };
    out.extend_from_slice(&bridge.ready());
    Some(match result {
        Ok(()) if stream => Ok(out.into()),
        Ok(()) => Ok(bridge.whole(to.protocol(), &context)),
        Err(failure) => Err(format!("{} {}: {:?}", case.protocol, failure.code(), failure.detail().map(cut))),
    })
}

/// An answer without the second in which it was complete, which is the machine's.
fn timeless(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.split("\"completed_at\":")
        .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()))
        .collect()
}

fn profile(provider: &str) -> Profile {
    preset(provider).map(|preset| Profile::default().with(&preset.profile)).unwrap_or_default()
}

fn others(protocol: ProtocolId) -> impl Iterator<Item = ProtocolId> {
    ProtocolId::ALL.into_iter().filter(move |other| *other != protocol)
}

fn write(case: &Case, to: ProtocolId, kind: &str, bytes: &[u8]) {
    let Some(folder) = std::env::var_os("CORPUS_OUT") else { return };
    let folder = PathBuf::from(folder).join(format!("{}-{to}", case.protocol));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{}.{kind}", case.name)), bytes).unwrap();
}

fn cases() -> Option<Vec<Case>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    if !root.is_dir() {
        // Past the capture of the test harness.
        let _ = writeln!(std::io::stderr(), "skipped: there are no recordings beside the project");
        return None;
    }
    let mut cases = Vec::new();
    for protocol in ProtocolId::ALL {
        let mut folders: Vec<_> =
            fs::read_dir(root.join(protocol.as_str())).unwrap().map(|f| f.unwrap().path()).collect();
        folders.sort();
        cases.extend(folders.iter().map(|folder| case(protocol, folder)));
    }
    Some(cases)
}

fn case(protocol: ProtocolId, folder: &Path) -> Case {
    let meta = fs::read(folder.join("meta.json")).unwrap();
    let member = |name: &str| json::members(&meta).lenient().find(|member| member.is(name));
    let text =
        |name: &str| member(name).and_then(|m| m.text().map(|text| text.into_owned())).unwrap_or_default();
    Case {
        name: folder.file_name().unwrap().to_string_lossy().into_owned(),
        protocol,
        status: member("status").and_then(|m| m.unsigned()).unwrap_or(200),
        request: fs::read(folder.join("request.json")).ok(),
        response: fs::read(folder.join("response.json")).ok(),
        stream: fs::read(folder.join("response.sse")).ok(),
        provider: text("provider"),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(90).collect()
}

const ID: &str = "req_cm_test";
const NOW: u64 = 1_767_225_600;
const MODEL: &str = "vendor/model";
