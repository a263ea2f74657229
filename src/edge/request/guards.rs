//! The guards of a call: they are asked once its model is known, before it costs anything or goes anywhere, or when there is
//! an answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::{GuardFallback, GuardMoment, GuardView};
use crate::edge::call::request_info::{GuardVerdict, RequestInfo};
use crate::edge::upstream::connection::Connector;
use crate::edge::upstream::guard_service::GuardService;
use crate::failure::{Failure, Kind, Result};
use crate::json::Body;
use crate::notify;
use crate::observe::GuardAction;
use crate::protocol::{Head, ProtocolId};

/// The question to a guard.
#[derive(Serialize)]
struct Question<'q> {
    id: &'q str,
    at: &'static str,
    time: String,
    account: &'q str,
    key: &'q str,
    model: &'q str,
    protocol: &'static str,
    tags: BTreeMap<&'q str, &'q str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'q, RawValue>>,
}

/// The answer of a guard.
#[derive(Deserialize)]
struct Answer<'a> {
    action: Action,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Allow,
    Deny,
    Replace,
}

/// The consequence of a guard's answer.
enum Verdict {
    Allow,
    Deny(String),
    /// Another body goes on.
    Replace(Bytes),
}

/// The content about which a guard is asked.
#[derive(Clone, Copy)]
enum Content<'c> {
    Request(&'c [u8]),
    Answer(&'c [u8]),
    /// The events of a stream.
    Stream(&'c [u8]),
}

/// The call about which a guard is asked.
#[derive(Clone, Copy)]
struct Subject<'s> {
    client: ProtocolId,
    model: &'s str,
    content: Content<'s>,
}

/// The result of a question to a guard, or the reason for which there is no valid one.
type Judgement = std::result::Result<Verdict, String>;

/// Asks all guards that watch the model of a request, one after the other, and returns the body with which it goes on.
///
/// # Errors
/// Returns 400 if a guard denies the request, 503 if one fails that must not, and 404 if the model is unknown.
pub(in crate::edge) async fn check(
    connector: &Connector,
    request: &mut RequestInfo,
    client: ProtocolId,
    mut body: Body,
) -> Result<Body> {
    let members = client.protocol().members();
    let name = Head::read(body.bytes(), members)?.model.into_owned();
    let Some(grant) = request.grant.clone() else { return Ok(body) };
    let model = request.snapshot.catalog.find(&name, &grant)?.id;
    let most = request.snapshot.limits.body_bytes;
    let snapshot = Arc::clone(&request.snapshot);
    for service in
        snapshot.guards.iter().filter(|service| service.guard.watches(GuardMoment::Request, &model))
    {
        let subject = Subject { client, model: &model, content: Content::Request(body.bytes()) };
        let may_replace = |body: &[u8]| is_request_for(&name, client, body);
        let (verdict, judgement) = ask(service, connector, request, subject, most, may_replace).await;
        request.guards.push(verdict);
        if let Some(other) = settle(service, judgement, "this request")? {
            body = Body::from(&*other);
        }
    }
    Ok(body)
}

/// Whether a guard watches the answers of a model.
pub(in crate::edge) fn is_answer_watched(request: &RequestInfo, model: &str) -> bool {
    request.snapshot.guards.iter().any(|service| service.guard.watches(GuardMoment::Answer, model))
}

/// Asks all guards that watch the answers of a model about a whole answer, and returns the one that the client gets.
///
/// # Errors
/// Returns 400 if a guard denies the answer, and 503 if one fails that must not.
pub(in crate::edge) async fn check_answer(
    connector: &Connector,
    request: &RequestInfo,
    model: &str,
    mut body: Bytes,
    verdicts: &mut Vec<GuardVerdict>,
) -> Result<Bytes> {
    let (client, most) = (request.dialect(), request.snapshot.limits.reply_bytes);
    let guards = request.snapshot.guards.iter();
    for service in guards.filter(|service| service.guard.watches(GuardMoment::Answer, model)) {
        let subject = Subject { client, model, content: Content::Answer(&body) };
        let (verdict, judgement) = ask(service, connector, request, subject, most, is_object).await;
        verdicts.push(verdict);
        if let Some(other) = settle(service, judgement, "this answer")? {
            body = other;
        }
    }
    Ok(body)
}

/// Shows a stream, which the client has, to all guards that watch the answers of a model. Their verdicts are only noted.
pub(in crate::edge) async fn observe(
    connector: &Connector,
    request: &RequestInfo,
    model: &str,
    events: &[u8],
    verdicts: &mut Vec<GuardVerdict>,
) {
    let guards = request.snapshot.guards.iter();
    for service in guards.filter(|service| service.guard.watches(GuardMoment::Answer, model)) {
        let subject = Subject { client: request.dialect(), model, content: Content::Stream(events) };
        let most = request.snapshot.limits.reply_bytes;
        verdicts.push(ask(service, connector, request, subject, most, |_| Ok(())).await.0);
    }
}

/// Asks a guard, and counts its verdict.
async fn ask(
    service: &GuardService,
    connector: &Connector,
    request: &RequestInfo,
    subject: Subject<'_>,
    most: usize,
    may_replace: impl Fn(&[u8]) -> std::result::Result<(), String>,
) -> (GuardVerdict, Judgement) {
    let begun = Instant::now();
    let asking = async {
        let question = question(service, request, subject)?;
        let fields = signature(service, request, &question)?;
        service.ask(connector, &fields, question).await
    };
    let judgement = asking.await.and_then(|answer| judge(&answer, most, may_replace));
    let (action, detail) = match &judgement {
        Ok(Verdict::Allow) => (GuardAction::Allow, None),
        Ok(Verdict::Deny(_)) => (GuardAction::Deny, None),
        Ok(Verdict::Replace(_)) => (GuardAction::Replace, None),
        Err(why) => (GuardAction::Error, Some(why.clone())),
    };
    let guard = Arc::clone(&service.guard.name);
    if let Some(metrics) = &request.snapshot.metrics {
        metrics.guard(&guard, action);
    }
    (GuardVerdict { guard, action, time: begun.elapsed(), detail }, judgement)
}

/// Acts on a judgement: returns the body that takes the place of what was shown, if there is one.
///
/// # Errors
/// Returns 400 if the guard denies `what` was shown, and 503 if it fails and must not.
fn settle(service: &GuardService, judgement: Judgement, what: &str) -> Result<Option<Bytes>> {
    match judgement {
        Ok(Verdict::Allow) => Ok(None),
        Ok(Verdict::Replace(other)) => Ok(Some(other)),
        Ok(Verdict::Deny(message)) => {
            let message = if message.is_empty() { denied(what) } else { message };
            Err(Failure::new(Kind::ContentPolicy, message))
        }
        Err(_) if service.guard.fallback == GuardFallback::Allow => Ok(None),
        Err(why) => Err(unavailable(&service.guard.name, &why, what)),
    }
}

/// Writes a question.
fn question(
    service: &GuardService,
    request: &RequestInfo,
    subject: Subject<'_>,
) -> std::result::Result<Bytes, String> {
    let grant = request.grant.as_deref();
    let body = match service.guard.view {
        GuardView::Metadata => None,
        GuardView::Body => Some(subject.content.shown().map_err(|_| "the body is not JSON")?),
    };
    let tags = request.tags.list.iter().flat_map(|tags| tags.iter());
    let question = Question {
        id: &request.id,
        at: subject.content.moment(),
        time: request.time.to_string(),
        account: grant.map_or("", |grant| &grant.account),
        key: grant.map_or("", |grant| &grant.id),
        model: subject.model,
        protocol: subject.client.as_str(),
        tags: tags.map(|tag| (&*tag.name, &*tag.value)).collect(),
        body,
    };
    serde_json::to_vec(&question).map(Bytes::from).map_err(|_| "the question cannot be written".to_owned())
}

impl<'c> Content<'c> {
    /// Returns the value of `at`.
    fn moment(self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Answer(_) | Self::Stream(_) => "answer",
        }
    }

    /// Returns the value of `body`: JSON as it is, and the events of a stream as a text.
    fn shown(self) -> serde_json::Result<Cow<'c, RawValue>> {
        match self {
            Self::Request(body) | Self::Answer(body) => serde_json::from_slice(body).map(Cow::Borrowed),
            Self::Stream(events) => {
                let text = serde_json::to_string(&String::from_utf8_lossy(events))?;
                RawValue::from_string(text).map(Cow::Owned)
            }
        }
    }
}

/// Returns the headers that identify and sign a question, as those of Standard Webhooks.
fn signature(
    service: &GuardService,
    request: &RequestInfo,
    question: &[u8],
) -> std::result::Result<Vec<(&'static str, HeaderValue)>, String> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| "a header cannot be written".to_owned());
    let seconds = request.time.as_second();
    let mut fields =
        vec![("webhook-id", value(&request.id)?), ("webhook-timestamp", value(&seconds.to_string())?)];
    if let Some(secret) = &service.guard.secret {
        let signed = notify::sign(std::slice::from_ref(secret), &request.id, seconds, question);
        fields.push(("webhook-signature", value(&signed)?));
    }
    Ok(fields)
}

/// Reads the answer of a guard. `may_replace` says whether a body may take the place of what was shown.
fn judge(
    answer: &[u8],
    most: usize,
    may_replace: impl Fn(&[u8]) -> std::result::Result<(), String>,
) -> Judgement {
    let wrong = || "its answer is not valid".to_owned();
    let Answer { action, message, body } = serde_json::from_slice(answer).map_err(|_| wrong())?;
    match action {
        Action::Allow => Ok(Verdict::Allow),
        Action::Deny => {
            let message = message.as_deref().unwrap_or_default();
            let message = message.chars().map(|c| if c.is_control() { ' ' } else { c });
            Ok(Verdict::Deny(message.take(MAX_MESSAGE_CHARS).collect()))
        }
        Action::Replace => {
            let body = body.ok_or_else(wrong)?.get().as_bytes();
            if body.len() > most {
                return Err("its body is too large".to_owned());
            }
            may_replace(body)?;
            Ok(Verdict::Replace(Bytes::copy_from_slice(body)))
        }
    }
}

/// Checks that a body is a request for the same model.
fn is_request_for(model: &str, client: ProtocolId, body: &[u8]) -> std::result::Result<(), String> {
    let head =
        Head::read(body, client.protocol().members()).map_err(|_| "its body is no request".to_owned())?;
    match *head.model == *model {
        true => Ok(()),
        false => Err("its body is for another model".to_owned()),
    }
}

/// Checks that a body, which is JSON, can be an answer.
fn is_object(body: &[u8]) -> std::result::Result<(), String> {
    match body.first() {
        Some(b'{') => Ok(()),
        _ => Err("its body is no answer".to_owned()),
    }
}

fn unavailable(guard: &str, why: &str, what: &str) -> Failure {
    let message = format!("The gateway cannot check {what} at the moment. Try again later.");
    let failure = Failure::new(Kind::Unavailable, message);
    let failure = failure.with_code("guard_unavailable").with_retry_after(1);
    failure.with_detail(format!("guard {guard}: {why}"))
}

/// Returns the message of a refusal for which a guard gives none.
fn denied(what: &str) -> String {
    format!("A policy of this gateway refuses {what}.")
}

/// The longest message of a guard that a client is told, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(answer: &str) -> Judgement {
        judge(answer.as_bytes(), 100, |body| is_request_for("v/m", ProtocolId::Chat, body))
    }

    #[test]
    fn only_valid_answers_are_verdicts() {
        assert!(matches!(judged(r#"{"action":"allow","more":1}"#), Ok(Verdict::Allow)));
        let long = format!(r#"{{"action":"deny","message":"a\n{}"}}"#, "x".repeat(500));
        let Ok(Verdict::Deny(message)) = judged(&long) else { panic!() };
        assert!(message.starts_with("a xx") && message.len() == MAX_MESSAGE_CHARS, "{message}");
        let Ok(Verdict::Deny(message)) = judged(r#"{"action":"deny"}"#) else { panic!() };
        assert_eq!(message, "");
        let replaced = r#"{"action":"replace","body":{"model":"v/m","messages":[]}}"#;
        let Ok(Verdict::Replace(body)) = judged(replaced) else { panic!() };
        assert_eq!(&*body, br#"{"model":"v/m","messages":[]}"#);
        for wrong in [
            "",
            "[]",
            r#"{"action":"explode"}"#,
            r#"{"message":"x"}"#,
            r#"{"action":"replace"}"#,
            r#"{"action":"replace","body":7}"#,
            r#"{"action":"replace","body":{"model":"v/other","messages":[]}}"#,
        ] {
            assert!(judged(wrong).is_err(), "{wrong}");
        }
        let large = format!(r#"{{"action":"replace","body":{{"model":"v/m","x":"{}"}}}}"#, "x".repeat(100));
        assert!(judged(&large).is_err());
    }

    #[test]
    fn an_answer_may_be_replaced_by_any_object() {
        let judged = |answer: &str| judge(answer.as_bytes(), 100, is_object);
        let Ok(Verdict::Replace(body)) = judged(r#"{"action":"replace","body":{"id":"x"}}"#) else {
            panic!()
        };
        assert_eq!(&*body, br#"{"id":"x"}"#);
        assert!(judged(r#"{"action":"replace","body":[]}"#).is_err());
    }

    #[test]
    fn the_events_of_a_stream_are_shown_as_a_text() {
        assert_eq!(Content::Stream(b"data: \"x\"\n\n").shown().unwrap().get(), r#""data: \"x\"\n\n""#);
        assert_eq!(Content::Answer(b"{\"a\": 1}").shown().unwrap().get(), r#"{"a": 1}"#);
    }
}
