//! The guards of a request: they are asked once its model is known, before it costs anything or goes anywhere.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderValue;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::config::{GuardFallback, GuardView};
use crate::edge::call::request_info::{GuardVerdict, RequestInfo};
use crate::edge::upstream::connection::Connector;
use crate::edge::upstream::guard_service::GuardService;
use crate::failure::{Failure, Kind, Result};
use crate::json::Body;
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
    body: Option<&'q RawValue>,
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
    Replace(Body),
}

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
    let snapshot = std::sync::Arc::clone(&request.snapshot);
    for service in snapshot.guards.iter().filter(|service| service.guard.watches(&model)) {
        let begun = Instant::now();
        let verdict = ask(service, connector, request, (client, &model), &body).await;
        let verdict = verdict.and_then(|answer| judge(&answer, &name, client, snapshot.limits.body_bytes));
        let (action, detail) = match &verdict {
            Ok(Verdict::Allow) => (GuardAction::Allow, None),
            Ok(Verdict::Deny(_)) => (GuardAction::Deny, None),
            Ok(Verdict::Replace(_)) => (GuardAction::Replace, None),
            Err(why) => (GuardAction::Error, Some(why.clone())),
        };
        let guard = std::sync::Arc::clone(&service.guard.name);
        if let Some(metrics) = &snapshot.metrics {
            metrics.guard(&guard, action);
        }
        request.guards.push(GuardVerdict { guard, action, time: begun.elapsed(), detail });
        match verdict {
            Ok(Verdict::Allow) => {}
            Ok(Verdict::Replace(other)) => body = other,
            Ok(Verdict::Deny(message)) => return Err(Failure::new(Kind::ContentPolicy, message)),
            Err(_) if service.guard.fallback == GuardFallback::Allow => {}
            Err(why) => return Err(unavailable(&service.guard.name, &why)),
        }
    }
    Ok(body)
}

async fn ask(
    service: &GuardService,
    connector: &Connector,
    request: &RequestInfo,
    (client, model): (ProtocolId, &str),
    body: &Body,
) -> std::result::Result<Bytes, String> {
    let grant = request.grant.as_deref();
    let shown = match service.guard.view {
        GuardView::Metadata => None,
        GuardView::Body => Some(serde_json::from_slice(body.bytes()).map_err(|_| "the body is not JSON")?),
    };
    let question = Question {
        id: &request.id,
        at: "request",
        time: request.time.to_string(),
        account: grant.map_or("", |grant| &grant.account),
        key: grant.map_or("", |grant| &grant.id),
        model,
        protocol: client.as_str(),
        tags: BTreeMap::new(),
        body: shown,
    };
    let question = serde_json::to_vec(&question).map_err(|_| "the question cannot be written")?;
    let fields = signature(service, request, &question)?;
    service.ask(connector, &fields, question.into()).await
}

/// Returns the headers that identify and sign a question, as those of Standard Webhooks.
fn signature(
    service: &GuardService,
    request: &RequestInfo,
    question: &[u8],
) -> std::result::Result<Vec<(&'static str, HeaderValue)>, String> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| "a header cannot be written".to_owned());
    let seconds = request.seconds().to_string();
    let mut fields = vec![("webhook-id", value(&request.id)?), ("webhook-timestamp", value(&seconds)?)];
    if let Some(secret) = &service.guard.secret {
        let code = Hmac::<Sha256>::new_from_slice(secret.expose_secret());
        let mut code = code.map_err(|_| "it cannot be signed".to_owned())?;
        for part in [request.id.as_bytes(), b".", seconds.as_bytes(), b".", question] {
            code.update(part);
        }
        let signed = format!("v1,{}", STANDARD.encode(code.finalize().into_bytes()));
        fields.push(("webhook-signature", value(&signed)?));
    }
    Ok(fields)
}

/// Reads the answer of a guard. A body in its place has to be one for the same model.
fn judge(
    answer: &[u8],
    model: &str,
    client: ProtocolId,
    most: usize,
) -> std::result::Result<Verdict, String> {
    let wrong = || "its answer is not valid".to_owned();
    let Answer { action, message, body } = serde_json::from_slice(answer).map_err(|_| wrong())?;
    match action {
        Action::Allow => Ok(Verdict::Allow),
        Action::Deny => {
            let message = message.as_deref().filter(|message| !message.is_empty()).unwrap_or(DENIED);
            let message = message.chars().map(|c| if c.is_control() { ' ' } else { c });
            Ok(Verdict::Deny(message.take(MAX_MESSAGE_CHARS).collect()))
        }
        Action::Replace => {
            let body = body.ok_or_else(wrong)?.get().as_bytes();
            if body.len() > most {
                return Err("its body is too large".to_owned());
            }
            let head = Head::read(body, client.protocol().members())
                .map_err(|_| "its body is no request".to_owned())?;
            match *head.model == *model {
                true => Ok(Verdict::Replace(Body::from(body))),
                false => Err("its body is for another model".to_owned()),
            }
        }
    }
}

fn unavailable(guard: &str, why: &str) -> Failure {
    let failure = Failure::new(
        Kind::Unavailable,
        "The gateway cannot check this request at the moment. Try again later.",
    );
    let failure = failure.with_code("guard_unavailable").with_retry_after(1);
    failure.with_detail(format!("guard {guard}: {why}"))
}

/// The message of a refusal for which a guard gives none.
const DENIED: &str = "The request was refused by a policy of this gateway.";

/// The longest message of a guard that a client is told, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(answer: &str) -> std::result::Result<Verdict, String> {
        judge(answer.as_bytes(), "v/m", ProtocolId::Chat, 100)
    }

    #[test]
    fn only_valid_answers_are_verdicts() {
        assert!(matches!(judged(r#"{"action":"allow","more":1}"#), Ok(Verdict::Allow)));
        let long = format!(r#"{{"action":"deny","message":"a\n{}"}}"#, "x".repeat(500));
        let Ok(Verdict::Deny(message)) = judged(&long) else { panic!() };
        assert!(message.starts_with("a xx") && message.len() == MAX_MESSAGE_CHARS, "{message}");
        let Ok(Verdict::Deny(message)) = judged(r#"{"action":"deny"}"#) else { panic!() };
        assert_eq!(message, DENIED);
        let replaced = r#"{"action":"replace","body":{"model":"v/m","messages":[]}}"#;
        let Ok(Verdict::Replace(body)) = judged(replaced) else { panic!() };
        assert_eq!(body.bytes(), br#"{"model":"v/m","messages":[]}"#);
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
}
