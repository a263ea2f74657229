//! Answers of providers that are read completely before they are passed on.
//!
//! Only a stream is passed on as it arrives. For any other answer, it is known only at the end whether it is an
//! error, which status it needs and how long it is.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use crate::canon::Form;
use crate::edge::call::attempts::Attempts;
use crate::edge::call::outcome::Outcome;
use crate::edge::call::request_info::RequestInfo;
use crate::edge::call::target::{Bridged, Call};
use crate::edge::request::decode::ContentEncoding;
use crate::edge::request::headers::{self, Identity};
use crate::edge::request::plan;
use crate::edge::request::retry_after;
use crate::failure::{Failure, Kind, Result};
use crate::protocol::UpstreamError;
use crate::translate::bridge::{Bridge, refused};
use crate::translate::{self, OwnKeys};

/// The facts of an answer's head that matter here.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Head {
    pub(in crate::edge) status: u16,
    retry_after: Option<u64>,
    should_retry: Option<bool>,
    /// The form of its body.
    form: Form,
    /// The encoding of its body. Providers are asked for none, but not all of them listen.
    pub(in crate::edge) encoding: Option<ContentEncoding>,
    /// Whether the body can be read at all. One whose encoding is unknown counts as empty.
    readable: bool,
}

impl Head {
    pub(in crate::edge) fn of(head: &ResponseHeader) -> Self {
        let encoding = ContentEncoding::of(&head.headers);
        // What it says of another attempt matters if it is a failure.
        let failed = Some(&head.headers).filter(|_| head.status != StatusCode::OK);
        Self {
            status: head.status.as_u16(),
            retry_after: failed.and_then(|headers| retry_after::seconds(headers, SystemTime::now())),
            should_retry: failed.and_then(headers::should_retry),
            form: Form::of_stream(is_event_stream(head)),
            readable: encoding.is_ok(),
            encoding: encoding.unwrap_or_default(),
        }
    }

    /// Whether the body is a stream that can be passed on as it arrives.
    pub(in crate::edge) fn flows(&self) -> bool {
        self.status == 200 && self.form.is_stream() && self.readable
    }

    /// Returns the failure that the status alone means, or `None` if the body has to tell whose failure it is.
    pub(in crate::edge) fn refusal(&self) -> Option<Failure> {
        let tells = self.status != 200 && !matches!(self.status, 402 | 403);
        tells.then(|| translate::read_error(self.status, &UpstreamError::default(), self.retry_after))
    }
}

/// Returns the id under which the provider knows the request, unless it contains a credential.
pub(in crate::edge) fn upstream_id(keys: &OwnKeys, head: &ResponseHeader) -> Option<HeaderValue> {
    headers::upstream_id(&head.headers).filter(|id| !keys.is_in(id.as_bytes()))
}

/// Returns the headers of a relayed answer that go on to the client. A header that contains a credential is left
/// out.
pub(in crate::edge) fn headers_for_client(
    call: &Call,
    head: &ResponseHeader,
    client_model: &str,
) -> Vec<(HeaderName, HeaderValue)> {
    let returned = headers::returned(&head.headers, &call.upstream_model, client_model);
    returned.filter(|(_, value)| !call.keys.is_in(value.as_bytes())).collect()
}

/// Makes the head of a stream to the client.
///
/// # Errors
/// Fails if a header cannot be written.
pub(in crate::edge) fn stream_start(
    session: &Session,
    identity: Identity<'_>,
) -> pingora::Result<Box<ResponseHeader>> {
    let mut head = ResponseHeader::build_no_case(200, Some(10))?;
    head.insert_header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")?;
    head.insert_header(header::CACHE_CONTROL, "no-cache")?;
    head.insert_header("x-accel-buffering", "no")?;
    if session.req_header().version == Version::HTTP_11 && !session.downstream_session.is_http2() {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    let mut head = Parts::from(head);
    headers::identify(&mut head.headers, identity);
    Ok(Box::new(head.into()))
}

/// A complete answer for the client.
pub(in crate::edge) struct BufferedResponse {
    pub(in crate::edge) body: Bytes,
    /// The form in which the client gets it: all events of a stream, or none.
    pub(in crate::edge) form: Form,
    /// The estimated tokens.
    pub(in crate::edge) tokens: u64,
}

impl BufferedResponse {
    /// Makes an answer that is not a stream.
    fn json(body: Bytes) -> Self {
        let tokens = body.len() as u64 / translate::BYTES_PER_TOKEN;
        Self { body, form: Form::Whole, tokens }
    }
}

/// Takes an answer that is whole. Gives what the client gets of it, when it is paid for.
///
/// # Errors
/// Returns the failure if the answer is one.
pub(in crate::edge) fn buffered(
    request: &RequestInfo,
    attempts: &mut Attempts,
    outcome: &Outcome,
    head: &Head,
    body: Bytes,
) -> Result<BufferedResponse> {
    let body = if head.readable { body } else { Bytes::new() };
    let call = attempts.call()?;
    if call.shows_no_endpoint(head.status, &body) {
        attempts.change_protocol();
        return Err(Failure::provider("it has no endpoint for the protocol"));
    }
    if head.status != 200 {
        return Err(failed(call, head, body, request.client_model()));
    }
    match &call.bridged {
        None => relayed(request, attempts, outcome, head.form, body),
        Some(Bridged { client, .. }) => {
            Ok(BufferedResponse::json(translate::count::write(*client, translate::count::read(&body)?)))
        }
    }
}

/// Makes the client's answer from one in its own protocol.
fn relayed(
    request: &RequestInfo,
    attempts: &mut Attempts,
    outcome: &Outcome,
    came: Form,
    body: Bytes,
) -> Result<BufferedResponse> {
    let call = attempts.call()?;
    if !call.infers() {
        // It may be an error all the same; then it is small.
        return Ok(BufferedResponse::json(call.keys.cleaned(body)));
    }
    if came != call.form {
        return convert_form(request, attempts, outcome, came, body);
    }
    let mut reply = call.reply(request.client_model());
    let body = reply.whole(body)?;
    attempts.answer.usage = reply.usage();
    attempts.note_served(reply.served());
    attempts.answer.said = reply.metadata();
    Ok(BufferedResponse::json(body))
}

/// Returns the failure of an answer with a status other than 200.
fn failed(call: &Call, head: &Head, body: Bytes, client_model: &str) -> Failure {
    let body = call.keys.cleaned(body);
    let failure = refused(head.status, &body, head.retry_after, &call.upstream_model, client_model);
    if call.bridged.is_some() {
        return failure;
    }
    let failure = head.should_retry.into_iter().fold(failure, Failure::with_should_retry);
    translate::keep_body(failure, call.protocol, body, &call.upstream_model, client_model)
}

/// Converts an answer to the other form: a stream to a whole, or a whole to a stream.
///
/// # Errors
/// Returns the failure if the answer is one.
fn convert_form(
    request: &RequestInfo,
    attempts: &mut Attempts,
    outcome: &Outcome,
    came: Form,
    body: Bytes,
) -> Result<BufferedResponse> {
    let call = attempts.call()?;
    let context = plan::context(request, call)?;
    let (speaker, profile) = (call.protocol.protocol(), &call.provider().profile);
    let limit = request.snapshot.limits.event_bytes;
    let bridge = Bridge::new(speaker, speaker, profile, Arc::clone(&context), came.other(), limit);
    let mut bridge = bridge.hiding(&call.keys);
    if outcome.opened.is_some() {
        bridge.note_opened();
    }
    match came {
        Form::Stream => bridge.push(body).and_then(|()| bridge.end())?,
        Form::Whole => bridge.reply(&body)?,
    }
    attempts.answer.usage = bridge.usage();
    attempts.note_served(bridge.served());
    attempts.answer.said = bridge.metadata();
    attempts.answer.anomalies = bridge.anomalies();
    let tokens = bridge.delivered();
    let body = match came {
        Form::Stream => bridge.whole(speaker, &context),
        Form::Whole => bridge.ready(),
    };
    Ok(BufferedResponse { body, form: came.other(), tokens })
}

/// Returns the failure of a provider whose answer is too large. It is charged, because the client asks for the
/// size.
pub(in crate::edge) fn too_large() -> Failure {
    Failure::new(Kind::Provider, "The provider's answer is too large.").at_cost()
}

fn is_event_stream(head: &ResponseHeader) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.trim_ascii_start()
        .get(..EVENT_STREAM.len())
        .is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM))
}

const EVENT_STREAM: &[u8] = b"text/event-stream";
