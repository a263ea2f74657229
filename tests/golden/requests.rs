//! Requests: what the provider gets, and what is told of it.

use crossmodel_core::Failure;
use crossmodel_core::canon::ProtocolId;
use crossmodel_core::translate::bridge::Rendered;
use serde_json::{Value, json};

use crate::compare::compare;
use crate::files::{Case, Folder, ID, elements};

/// The faults of a case.
pub(crate) fn check(folder: &Folder) -> Vec<String> {
    let case = match &folder.case {
        Ok(case) => case,
        Err(why) => return vec![format!("case.json: {why}")],
    };
    let Some(request) = folder.file("request.json") else { return vec!["request.json: missing".to_owned()] };
    match (case.render(request.as_bytes()), folder.file("error.json")) {
        (Ok(rendered), None) => carried(case, folder, request, &rendered),
        (Err(failure), Some(expected)) => refused(expected, &failure, case.client),
        (Ok(rendered), Some(_)) => {
            vec![format!("not refused, but sent: {}", String::from_utf8_lossy(&rendered.body))]
        }
        (Err(failure), None) => vec![format!(
            "refused: {} {} {:?}: {}",
            failure.status(),
            failure.code(),
            failure.param(),
            failure.message()
        )],
    }
}

/// The faults of a refusal.
pub(crate) fn refused(expected: &str, failure: &Failure, client: ProtocolId) -> Vec<String> {
    let body = client.protocol().envelope(failure, ID);
    let body: Value = serde_json::from_slice(&body).unwrap();
    let actual = json!({
        "status": failure.status(),
        "code": failure.code(),
        "param": failure.param(),
        "message": failure.message(),
        "retry_after": failure.retry_after(),
        "body": body,
    });
    compare(expected, actual.to_string().as_bytes(), "error")
}

fn carried(case: &Case, folder: &Folder, request: &str, rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    match folder.file("upstream.json") {
        Some(expected) => faults.extend(compare(expected, &rendered.body, "upstream")),
        None => faults.push("upstream.json: missing".to_owned()),
    }
    let body = String::from_utf8_lossy(&rendered.body);
    for line in folder.file("contains.txt").unwrap_or_default().lines() {
        if !body.contains(line) {
            faults.push(format!("contains.txt: not there: {line}: {body}"));
        }
    }
    for line in folder.file("absent.txt").unwrap_or_default().lines() {
        if body.contains(line) {
            faults.push(format!("absent.txt: there: {line}: {body}"));
        }
    }
    let told = rendered.losses.header().unwrap_or_default();
    let wanted = folder.file("losses.txt").unwrap_or_default().trim();
    if !tells(&told, wanted) {
        faults.push(format!("losses: wanted \"{wanted}\", not \"{told}\""));
    }
    let (beta, wanted) = (rendered.beta.unwrap_or_default(), folder.file("betas.txt").unwrap_or_default());
    if beta != wanted.trim() {
        faults.push(format!("betas: wanted \"{}\", not \"{beta}\"", wanted.trim()));
    }
    faults.extend(grown(case, request));
    faults
}

/// Are these the losses, in whatever order? The reference names members, not what took their place.
fn tells(told: &str, wanted: &str) -> bool {
    let list = |text: &str| -> Vec<String> {
        let mut all: Vec<_> =
            text.split(", ").filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect();
        all.sort();
        all
    };
    let (told, wanted) = (list(told), list(wanted));
    let fits = |(told, wanted): (&String, &String)| {
        told.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['=', '[']))
    };
    told.len() == wanted.len() && told.iter().zip(&wanted).all(fits)
}

/// A conversation that goes on keeps the bytes of its beginning: otherwise the provider's cache is lost.
fn grown(case: &Case, request: &str) -> Vec<String> {
    if case.final_because.is_some() {
        return Vec::new();
    }
    let Ok(mut request) = serde_json::from_str::<Value>(request) else { return Vec::new() };
    let name = conversation(case.client);
    let before = request.to_string();
    let Some(turns) = request.get_mut(name).and_then(Value::as_array_mut) else { return Vec::new() };
    let last = turns.last().and_then(|turn| turn.get("role")).and_then(Value::as_str);
    let is_gemini = case.client == ProtocolId::Gemini;
    let model = if is_gemini { "model" } else { "assistant" };
    let roles: &[&str] = if last == Some(model) { &["user"] } else { &[model, "user"] };
    turns.extend(roles.iter().map(|role| match is_gemini {
        true => json!({"role": role, "parts": [{"text": "go on"}]}),
        false => json!({"role": role, "content": "go on"}),
    }));
    let name = conversation(case.upstream);
    let (before, after) = match (case.render(before.as_bytes()), case.render(request.to_string().as_bytes()))
    {
        (Ok(before), Ok(after)) => (before, after),
        (Err(failure), _) | (_, Err(failure)) => return vec![format!("with another turn: {failure:?}")],
    };
    let (before, after) = (elements(&before.body, name), elements(&after.body, name));
    match before.iter().zip(&after).find(|(before, after)| before != after) {
        Some((before, after)) => vec![format!("another turn changes {before} to {after}")],
        None if after.len() <= before.len() => vec!["another turn adds no message".to_owned()],
        None => Vec::new(),
    }
}

/// The member that holds a protocol's conversation.
fn conversation(protocol: ProtocolId) -> &'static str {
    match protocol {
        ProtocolId::Responses => "input",
        ProtocolId::Gemini => "contents",
        ProtocolId::Chat | ProtocolId::Messages => "messages",
    }
}
