//! Answers: what the client gets, as a stream and as a whole, however the provider's stream is cut.

use std::sync::Arc;

use crossmodel_core::Failure;
use crossmodel_core::canon::{Context, ProtocolId};
use serde_json::Value;

use crate::compare::{Comparison, compare};
use crate::digest::{events, of_stream, of_whole};
use crate::files::{Case, Folder};
use crate::play::{Answer, Outcome, pieces, play};
use crate::requests::refused;

/// The faults of a case.
pub(crate) fn check(folder: &Folder) -> Vec<String> {
    let case = match &folder.case {
        Ok(case) => case,
        Err(why) => return vec![format!("case.json: {why}")],
    };
    let usual = usual_request(case);
    let request = folder.file("request.json").unwrap_or(&usual);
    let context = match case.render(request.as_bytes()) {
        Ok(rendered) => rendered.context,
        Err(failure) => return vec![format!("request.json: refused: {failure:?}")],
    };
    let answer = match (folder.file("upstream.sse"), folder.file("upstream.json")) {
        (Some(stream), None) => Answer::Stream(stream.as_bytes()),
        (None, Some(body)) => Answer::Whole(body.as_bytes()),
        _ => return vec!["upstream: one of upstream.sse and upstream.json is wanted".to_owned()],
    };
    let mut faults = Vec::new();
    let stream = in_full(case, &context, answer, true);
    let whole = in_full(case, &context, answer, false);
    let (error, told, unary) =
        (folder.file("error.json"), folder.file("client.events.json"), folder.file("client.json"));
    if error.is_none() && told.is_none() && unary.is_none() {
        faults.push("there is no expectation".to_owned());
    }
    match (stream.refusal(), error) {
        (Some(failure), Some(expected)) => faults.extend(refused(expected, failure, case.client)),
        (None, Some(_)) => faults.push(format!("no failure, but {}", shown(&stream.bytes))),
        (Some(failure), None) => faults.push(failed("the stream", failure)),
        (None, None) => {}
    }
    if let Some(expected) = told {
        faults.extend(told_as(expected, &stream.bytes));
    }
    if let Some(expected) = unary {
        match &whole.failure {
            None => faults.extend(compare(expected, &whole.bytes, "client")),
            Some(failure) => faults.push(failed("the whole answer", failure)),
        }
    }
    if let Some(expected) = folder.file("counted.json") {
        for outcome in [&stream, &whole] {
            let odd = serde_json::to_vec(&outcome.odd).unwrap_or_default();
            faults.extend(compare(expected, &odd, "counted"));
        }
    }
    faults.extend(alike(case.client, &stream, &whole));
    if let Answer::Stream(bytes) = answer {
        faults.extend(cut_anywhere(case, &context, bytes, &stream));
    }
    faults
}

fn in_full(case: &Case, context: &Arc<Context>, answer: Answer<'_>, stream: bool) -> Outcome {
    // Byte by byte, so that nothing is known too early.
    let pieces = match answer {
        Answer::Stream(bytes) => pieces(bytes, 1),
        Answer::Whole(_) => Vec::new(),
    };
    play(case, context, answer, stream, &pieces)
}

/// A stream and a whole answer say the same, and both fail or neither does.
fn alike(client: ProtocolId, stream: &Outcome, whole: &Outcome) -> Vec<String> {
    let told = match stream.refusal() {
        Some(_) => None,
        None => match of_stream(client, &events(&stream.bytes)) {
            Ok(digest) => digest,
            Err(why) => return vec![format!("the stream: {why}: {}", shown(&stream.bytes))],
        },
    };
    let unary = match &whole.failure {
        Some(_) => None,
        None => Some(of_whole(client, &whole.bytes)),
    };
    if told == unary {
        return Vec::new();
    }
    vec![format!("the stream says {told:?}, the whole answer {unary:?}")]
}

/// The client gets the same bytes however the network cuts the stream, and however its lines end.
fn cut_anywhere(case: &Case, context: &Arc<Context>, bytes: &[u8], stream: &Outcome) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |bytes: &[u8], cut: &[&[u8]], how: &str| {
        let other = play(case, context, Answer::Stream(bytes), true, cut);
        let same = other.bytes == stream.bytes
            && other.failure.as_ref().map(Failure::status) == stream.failure.as_ref().map(Failure::status);
        if !same && faults.is_empty() {
            faults.push(format!("{how}: {} and not {}", shown(&other.bytes), shown(&stream.bytes)));
        }
    };
    for at in 1..bytes.len() {
        let (first, second) = bytes.split_at(at);
        check(bytes, &[first, second], &format!("cut at {at}"));
    }
    let text = std::str::from_utf8(bytes).unwrap();
    for (end, name) in [("\n", "LF"), ("\r\n", "CRLF"), ("\r", "CR")] {
        let ended = text.replace('\n', end);
        for size in [1, 2, 3, 7, ended.len().max(1)] {
            check(ended.as_bytes(), &pieces(ended.as_bytes(), size), &format!("{name}, pieces of {size}"));
        }
    }
    faults
}

fn told_as(expected: &str, bytes: &[u8]) -> Vec<String> {
    let wanted: Vec<Value> = match serde_json::from_str(expected) {
        Ok(wanted) => wanted,
        Err(error) => return vec![format!("client.events.json: {error}")],
    };
    let told = events(bytes);
    let mut comparison = Comparison::default();
    for (index, (wanted, told)) in wanted.iter().zip(&told).enumerate() {
        let at = format!("event {index}");
        let name = wanted.get("event").and_then(Value::as_str);
        if name != told.name.as_deref() {
            comparison.faults.push(format!("{at}: wanted {name:?}, not {:?}", told.name));
        }
        comparison.take(wanted.get("data").unwrap_or(&Value::Null), &told.data, &at);
    }
    if wanted.len() != told.len() {
        let (wanted, told) = (wanted.len(), told.len());
        comparison.faults.push(format!("{wanted} events wanted, not {told}: {}", shown(bytes)));
    }
    comparison.faults
}

/// What a client asks for that asks for nothing in particular.
fn usual_request(case: &Case) -> String {
    match case.client {
        ProtocolId::Chat => format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"stream":true,"stream_options":{{"include_usage":{}}}}}"#,
            case.include_usage
        ),
        ProtocolId::Responses => r#"{"model":"m","input":"hi","stream":true}"#.to_owned(),
        ProtocolId::Gemini => {
            r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"thinkingConfig":{"includeThoughts":true}},"model":"m","stream":true}"#
                .to_owned()
        }
        ProtocolId::Messages => {
            r#"{"model":"m","max_tokens":1000,"messages":[{"role":"user","content":"hi"}],"stream":true}"#
                .to_owned()
        }
    }
}

fn failed(what: &str, failure: &Failure) -> String {
    format!("{what} fails: {} {}: {failure:?}", failure.status(), failure.code())
}

pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\n', " ")
}
