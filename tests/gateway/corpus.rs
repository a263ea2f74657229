//! Recorded traffic of real providers and clients, where it is at hand: what the relay does to it, held
//! against places that another parser finds.

#![expect(clippy::string_slice, reason = "spans come from a parser")]

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use crossmodel::provider::Profile;
use crossmodel_core::json::Body;
use crossmodel_core::protocol::{Head, Protocol, REGISTRY, UpstreamError};
use crossmodel_core::translate::relay::{Edits, End, Reply, Stream};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::support::{
    Act, Client, Gateway, Mock, PROTOCOLS, UPSTREAM_KEY, config, config_with, json, member, post, sse,
};

/// Folders of the corpus, in the order of the registry.
const FOLDERS: [&str; 3] = ["chat", "responses", "messages"];

/// A folder of recordings, unless it is absent, which is said where everyone sees it.
fn recordings(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name);
    if !folder.is_dir() {
        // Past the capture of the test harness.
        let _ = writeln!(std::io::stderr(), "skipped: there are no recordings at {}", folder.display());
        return None;
    }
    Some(folder)
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(!all.is_empty(), "{}", folder.display());
    all
}

/// All cases that have this file, with the number of their protocol.
fn cases(file: &'static str) -> Option<Vec<(usize, PathBuf)>> {
    let corpus = recordings("corpus")?;
    let of = |(n, folder): (usize, &&str)| {
        let all = sorted(&corpus.join(folder));
        all.into_iter().map(move |case| (n, case.join(file))).filter(|(_, path)| path.is_file())
    };
    Some(FOLDERS.iter().enumerate().flat_map(of).collect())
}

fn status(file: &Path) -> String {
    member(&fs::read_to_string(file.with_file_name("meta.json")).unwrap(), "status")
}

/// The members of an object, as another parser finds them. Of two with the same name, the last.
fn members(json: &str) -> HashMap<String, &RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

/// Where `part`, which was borrowed from `whole`, stands in it.
fn place(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// Where the value at a path of names stands.
fn find(json: &str, path: &[&str]) -> Option<Range<usize>> {
    let mut inner = json;
    for name in path {
        inner = members(inner).get(*name)?.get();
    }
    Some(place(json, inner))
}

/// Where the name of a model stands, if it is a name.
fn model(json: &str, path: &[&str]) -> Option<Range<usize>> {
    find(json, path).filter(|span| json[span.clone()].starts_with('"'))
}

fn replaced(text: &str, span: Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..span.start], &text[span.end..])
}

fn named(json: &str, path: &[&str], name: &str) -> String {
    model(json, path).map_or_else(|| json.to_owned(), |span| replaced(json, span, &format!("\"{name}\"")))
}

/// What a provider must get for this request of the protocol `n`.
fn expected_request(n: usize, request: &str) -> String {
    let mut expected = named(request, &["model"], "real-model");
    if let Some(span) = attribution(request) {
        expected = named(&replaced(request, span, ""), &["model"], "real-model");
    }
    let streams = find(request, &["stream"]).is_some_and(|span| &request[span] == "true");
    let asks = find(request, &["stream_options"]).map(|span| &request[span]);
    if n == 0 && streams && asks.is_none() {
        return expected.replacen('{', "{\"stream_options\":{\"include_usage\":true},", 1);
    }
    if n == 0 && streams {
        assert!(
            members(asks.unwrap()).contains_key("include_usage"),
            "an option that no recording had: {asks:?}"
        );
    }
    expected
}

/// The attribution block of a coding client, with the space up to the next one.
fn attribution(request: &str) -> Option<Range<usize>> {
    let system = members(request).get("system")?.get();
    let blocks: Vec<&RawValue> = serde_json::from_str(system).ok()?;
    let first = blocks.first()?.get();
    if !member(first, "text").starts_with("x-anthropic-billing-header:") {
        return None;
    }
    Some(place(request, first).start..place(request, blocks[1].get()).start)
}

#[test]
fn every_recorded_request_keeps_its_bytes() {
    let Some(all) = cases("request.json") else { return };
    let (mut nameless, mut stateful) = (0, 0);
    for (n, file) in &all {
        let body = fs::read_to_string(file).unwrap();
        let protocol = REGISTRY[*n];
        let Ok(head) = Head::read(body.as_bytes(), protocol.members()) else {
            assert_eq!(model(&body, &["model"]), None, "{}", file.display());
            nameless += 1;
            continue;
        };
        let mut edited = Body::from(body.as_bytes());
        Edits::of(protocol, body.as_bytes(), &head, &Profile::default(), "real-model", None)
            .apply(&mut edited);
        assert!(edited.bytes() == expected_request(*n, &body).as_bytes(), "{}", file.display());
        if let Some(failure) = &head.stateful {
            let path = failure.param().unwrap_or_default().to_owned();
            let last = path.rsplit('.').next().unwrap_or_default();
            let is_item = path.starts_with("input[") && path.ends_with(']');
            assert!(STATE.contains(&last) || is_item, "{}: {path}", file.display());
            stateful += 1;
        }
    }
    assert!(
        nameless * 20 < all.len() && stateful * 10 < all.len(),
        "{nameless} and {stateful} of {}",
        all.len()
    );
}

/// Members that refer to what the provider keeps.
const STATE: &[&str] = &[
    "previous_response_id",
    "conversation",
    "background",
    "prompt",
    "file_id",
    "file_ids",
    "container",
    "container_id",
    "vector_store_ids",
    "audio",
    "type",
];

#[test]
fn every_recorded_answer_keeps_its_bytes() {
    let Some(all) = cases("response.json") else { return };
    for (n, file) in &all {
        let body = fs::read_to_string(file).unwrap();
        let what = file.display();
        if body.trim().is_empty() || status(file).starts_with('4') {
            let error = UpstreamError::read(body.as_bytes());
            assert!(!error.message.is_empty() || body.trim().is_empty(), "{what}: {body}");
            continue;
        }
        let mut reply = Reply::new(REGISTRY[*n], "v/model");
        let out = reply.whole(Bytes::from(body.clone())).unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert!(out == named(&body, &["model"], "v/model").as_bytes(), "{what}");
        let usage = find(&body, &["usage"]).is_some_and(|span| body[span].starts_with('{'));
        assert_eq!(reply.usage().is_some(), usage, "{what}");
    }
}

/// What a client must get for this stream. Recordings hold one line of data for each event.
fn expected_stream(n: usize, stream: &str, withhold: bool) -> String {
    let mut out = String::new();
    let (mut withheld, mut finished) = (false, false);
    for line in stream.split_inclusive('\n') {
        let Some(data) = line.strip_prefix("data:") else {
            if !std::mem::take(&mut withheld) {
                out.push_str(line);
            }
            continue;
        };
        let all = members(data);
        let is = |name: &str, value: &str| all.get(name).is_some_and(|found| found.get() == value);
        let kind = member(data, "type");
        withheld =
            withhold && is("choices", "[]") && all.get("usage").is_some_and(|u| u.get().starts_with('{'));
        // A failure that is reported of an answer that was whole already.
        let failed = n == 0 && all.get("error").is_some_and(|error| error.get() != "null");
        withheld |= failed && finished;
        finished |= n == 0 && data.contains("\"finish_reason\":\"");
        if withheld {
            continue;
        }
        let data = match (n, kind.as_str()) {
            _ if failed => return without_last_name(out),
            (0, _) => named(data, &["model"], "v/model"),
            (1, "error") | (2, "error") => return without_last_name(out),
            (1, kind) if LIFECYCLE.contains(&kind) => named(data, &["response", "model"], "v/model"),
            (2, "message_start") => named(data, &["message", "model"], "v/model"),
            _ => data.to_owned(),
        };
        out.push_str("data:");
        out.push_str(&data);
    }
    out
}

/// `out` without the line that names an event whose data does not follow.
fn without_last_name(out: String) -> String {
    match out.rsplit_once("event:") {
        Some((before, name)) if !name.contains("data:") => before.to_owned(),
        _ => out,
    }
}

const LIFECYCLE: [&str; 6] = [
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.completed",
    "response.failed",
    "response.incomplete",
];

fn relayed(protocol: &'static dyn Protocol, withhold: bool, stream: &Bytes, size: usize) -> (String, End) {
    let reply = Reply::new(protocol, "v/model");
    let mut relay = Stream::new(reply, &Profile::default(), withhold, 8 << 20);
    let mut out = Vec::new();
    let mut rest = stream.clone();
    while !rest.is_empty() {
        match relay.push(rest.split_to(size.min(rest.len()))) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(_) => break,
        }
    }
    let (last, end) = relay.end();
    out.extend_from_slice(&last);
    (String::from_utf8(out).unwrap(), end)
}

#[test]
fn every_recorded_stream_keeps_its_bytes_however_it_is_cut() {
    let Some(all) = cases("response.sse") else { return };
    let (mut changed, mut broken) = (0, Vec::new());
    for (n, file) in &all {
        let sent = fs::read_to_string(file).unwrap();
        let stream = Bytes::from(sent.clone());
        for withhold in [false, true] {
            let expected = expected_stream(*n, &sent, withhold);
            changed += usize::from(expected != sent);
            for size in [usize::MAX, 7, 1] {
                let (out, end) = relayed(REGISTRY[*n], withhold, &stream, size);
                // A last event that lacks its blank line gets one.
                let same =
                    out == expected || out.trim_end() == expected.trim_end() && !expected.ends_with("\n\n");
                assert!(same, "{} in pieces of {size}", file.display());
                if let (End::Broken(error), usize::MAX, false) = (end, size, withhold) {
                    broken.push(format!("{}: {error:?}", file.display()));
                }
            }
        }
    }
    assert!(changed > all.len(), "most streams name their model");
    assert!(broken.len() * 20 < all.len(), "{} of {} have no end: {broken:#?}", broken.len(), all.len());
}

#[test]
fn a_sample_of_recordings_passes_the_binary() {
    let (Some(whole), Some(streams)) = (cases("response.json"), cases("response.sse")) else { return };
    let complete = |(n, file): &(usize, PathBuf)| {
        let request = fs::read_to_string(file.with_file_name("request.json")).ok()?;
        let body = request.as_bytes();
        let usable = Head::read(body, REGISTRY[*n].members()).is_ok() && status(file) == "200";
        let answer = fs::read_to_string(file).unwrap();
        (usable && !answer.is_empty()).then_some((*n, request, answer))
    };
    let sample: Vec<_> =
        whole.iter().step_by(20).chain(streams.iter().step_by(9)).filter_map(complete).collect();
    assert!(sample.len() > 60, "{}", sample.len());
    let sample = Arc::new(sample);
    let script = Arc::clone(&sample);
    let mock = Mock::scripted(move |_, number| {
        let answer = &script[number].2;
        match answer.trim_start().starts_with('{') {
            true => json(200, "", answer),
            false => sse(answer.as_bytes().chunks(1_000)),
        }
    });
    let gateway = Gateway::start(&config_with(mock.port, ", allow_upstream_state: true"));
    for (n, request, answer) in sample.iter() {
        let request = named(request, &["model"], "v/model");
        let response = post(&gateway, PROTOCOLS[*n].0, &request);
        assert_eq!(response.status, 200, "{request}");
        assert!(mock.last().text() == expected_request(*n, &request), "{request}");
        let asked = find(&request, &["stream_options", "include_usage"]).is_some();
        let expected = match answer.trim_start().starts_with('{') {
            true => named(answer, &["model"], "v/model"),
            false => expected_stream(*n, answer, *n == 0 && !asked),
        };
        assert!(response.body.starts_with(expected.trim_end()), "{request}\n{}\n{expected}", response.body);
    }
}

/// A recorded request of a real client.
#[derive(Deserialize)]
struct Capture<'a> {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// The bytes of a captured request, with another credential in place of its own.
fn replay(capture: &Capture<'_>, key: &str) -> String {
    let mut head = format!("{} {} HTTP/1.1\r\n", capture.method, capture.path);
    for (name, value) in &capture.headers {
        let value = match name.to_ascii_lowercase().as_str() {
            "content-length" | "transfer-encoding" => continue,
            "authorization" => format!("Bearer {key}"),
            "x-api-key" | "x-goog-api-key" => key.to_owned(),
            _ => value.clone(),
        };
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = capture.body.map_or("", RawValue::get);
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    format!("{head}\r\n{body}")
}

/// Whether a client speaks Gemini's protocol, whose clients have a test of their own.
fn speaks_gemini(recording: &Path) -> bool {
    let name = recording.file_name().unwrap().to_string_lossy();
    ["gemini", "genai", "google"].iter().any(|word| name.contains(word))
}

#[test]
fn every_captured_client_is_served() {
    let Some(folder) = recordings("clients/captures") else { return };
    let mock = Mock::scripted(|seen, _| answer_to(&seen.request_line().replace("?beta=true", "")));
    let aliases = "aliases: {claude-sonnet-4-5: v/model, anthropic/claude-sonnet-4-5: v/model, m: v/model, \
                   gpt-5: v/model, openai/gpt-5: v/model, gpt-5-codex: v/model}\n";
    let gateway = Gateway::start(&format!("{aliases}{}", config(mock.port)));
    let mut served = 0;
    for client in sorted(&folder).into_iter().filter(|client| !speaks_gemini(client)) {
        // What is no request stands in folders of its own.
        for file in sorted(&client).into_iter().filter(|file| file.extension().is_some_and(|e| e == "json")) {
            let text = fs::read_to_string(&file).unwrap();
            let capture: Capture<'_> = serde_json::from_str(&text).unwrap();
            let mut connection = Client::connect(gateway.port);
            connection.send(replay(&capture, &gateway.key).as_bytes());
            let response = connection.receive_for(&capture.method);
            let what = format!("{}: {}", file.display(), response.body);
            let upgrade = capture.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
            assert_eq!(response.status, if upgrade { 426 } else { 200 }, "{what}");
            if capture.method != "POST" {
                continue;
            }
            let seen = mock.last();
            assert!(!seen.head.contains(&gateway.key) && seen.head.contains(UPSTREAM_KEY), "{what}");
            let n = PROTOCOLS.iter().position(|(path, ..)| capture.path.starts_with(path)).unwrap();
            assert!(seen.text() == expected_request(n, capture.body.unwrap().get()), "{what}");
            served += 1;
        }
    }
    assert!(served > 50, "{served} requests");
    assert_eq!(mock.seen().len(), served);
}

/// A provider of one protocol for each model that a captured client of Gemini calls.
fn models_of_gemini_clients(port: u16, protocol: &str) -> String {
    let version = if protocol == "gemini" { "v1beta" } else { "v1" };
    let models = ["google/gemini-2.5-flash", "google/gemini-3-flash-preview", "anthropic/claude-sonnet-4.6"];
    let models =
        models.map(|id| format!("  - {{id: {id}, targets: [{{provider: up, model: real-model}}]}}\n"));
    format!(
        "providers: {{up: {{base_url: \"http://127.0.0.1:{port}/{version}\", key: \"env:UPSTREAM_KEY\", breaker_failures: 0, protocols: [{protocol}]}}}}\nmodels:\n{}",
        models.concat()
    )
}

#[test]
fn every_captured_client_of_gemini_is_served() {
    let Some(folder) = recordings("clients/captures") else { return };
    for protocol in ["gemini", "chat", "responses", "messages"] {
        let mock = Mock::scripted(|seen, _| match seen.request_line() {
            line if line.contains(":streamGenerateContent?alt=sse") => {
                sse([crate::gemini::event().as_bytes()])
            }
            line if line.contains(":generateContent") => json(200, "", crate::gemini::WHOLE),
            line if line.contains(":countTokens") => json(200, "", r#"{"totalTokens":3}"#),
            line => answer_to(line),
        });
        let gateway = Gateway::start(&models_of_gemini_clients(mock.port, protocol));
        let mut served = 0;
        for client in sorted(&folder).into_iter().filter(|client| speaks_gemini(client)) {
            for file in
                sorted(&client).into_iter().filter(|file| file.extension().is_some_and(|e| e == "json"))
            {
                let text = fs::read_to_string(&file).unwrap();
                let capture: Capture<'_> = serde_json::from_str(&text).unwrap();
                let mut connection = Client::connect(gateway.port);
                connection.send(replay(&capture, &gateway.key).as_bytes());
                let response = connection.receive_for(&capture.method);
                let what = format!("{protocol}: {}: {}", file.display(), response.body);
                // Not each protocol, or its provider here, has a place for these.
                let is_strange =
                    ["odeExecution", "code_execution", "fileData", "file_data", "Search", "_search"];
                if is_strange.iter().any(|word| text.contains(word)) && response.status == 400 {
                    assert!(protocol != "gemini" && response.body.contains(" for this model"), "{what}");
                    continue;
                }
                assert_eq!(response.status, 200, "{what}");
                assert!(response.complete && !response.body.contains("real-model"), "{what}");
                if protocol == "gemini" && capture.method == "POST" {
                    let seen = mock.last();
                    assert!(seen.text() == capture.body.unwrap().get(), "{what}");
                    assert!(seen.request_line().starts_with("POST /v1beta/models/real-model:"), "{what}");
                }
                served += 1;
            }
        }
        assert!(served > 35, "{served} requests");
    }
}

#[test]
fn every_captured_client_is_served_by_models_with_prices() {
    let Some(folder) = recordings("clients/captures") else { return };
    let mock = Mock::scripted(|seen, _| answer_to(&seen.request_line().replace("?beta=true", "")));
    for n in 0..3 {
        // The provider speaks one protocol: one client is relayed, two are translated.
        let text = crate::money::config(mock.port).replace("v/free", "v/other");
        let model = ["v/chat", "v/responses", "v/messages"][n];
        let names =
            ["claude-sonnet-4-5", "anthropic/claude-sonnet-4-5", "m", "gpt-5", "openai/gpt-5", "gpt-5-codex"];
        let aliases: Vec<_> = names.iter().map(|name| format!("{name}: {model}")).collect();
        let gateway = Gateway::start(&format!("aliases: {{{}}}\n{text}", aliases.join(", ")));
        gateway.command(&["account", "top-up", "default", "100"]);
        for client in sorted(&folder).into_iter().filter(|client| !speaks_gemini(client)) {
            for file in
                sorted(&client).into_iter().filter(|file| file.extension().is_some_and(|e| e == "json"))
            {
                let text = fs::read_to_string(&file).unwrap();
                let capture: Capture<'_> = serde_json::from_str(&text).unwrap();
                if capture.method != "POST" {
                    continue;
                }
                let mut connection = Client::connect(gateway.port);
                connection.send(replay(&capture, &gateway.key).as_bytes());
                let response = connection.receive_for("POST");
                assert_eq!(response.status, 200, "{model} {}: {}", file.display(), response.body);
            }
        }
    }
}

fn answer_to(request_line: &str) -> Vec<Act> {
    let path = request_line.split(' ').nth(1).unwrap();
    match PROTOCOLS.iter().find(|(known, ..)| *known == path) {
        Some((.., answer)) => json(200, "", answer),
        None => json(200, "", r#"{"input_tokens":7}"#),
    }
}
