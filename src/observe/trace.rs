//! Traces of calls for OpenTelemetry, with its conventions for generative AI.
//!
//! There is one span for each call, and below it one for each attempt at a target. A thread of its own sends them
//! by OTLP over HTTP to the endpoint that the `OTEL_*` variables name. Spans that it cannot send in time are
//! dropped. They contain nothing of a prompt or an answer.

use std::env;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider as _};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};

use crate::canon::ResponseMetadata;

use super::access::AccessLine;
use super::labels::AttemptFailure;
use super::target::Tried;

/// The maker of traces; absent if they are off.
#[derive(Debug)]
pub struct Tracer(Option<(SdkTracerProvider, SdkTracer)>);

/// The trace of one call; absent if traces are off.
#[derive(Default)]
pub struct Trace(Option<Box<OpenTrace>>);

struct OpenTrace {
    tracer: SdkTracer,
    /// The context with the span of the call.
    context: Context,
    attempt: Option<Span>,
}

impl Tracer {
    /// Makes a tracer as the environment says. Traces are off unless the environment names an endpoint.
    ///
    /// # Errors
    /// Fails with the reason for which it cannot be used.
    pub fn from_env() -> Result<Self, String> {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let off = |name, value| env::var(name).is_ok_and(|is: String| is.eq_ignore_ascii_case(value));
        let disabled = off("OTEL_SDK_DISABLED", "true") || off("OTEL_TRACES_EXPORTER", "none");
        if disabled || !ENDPOINTS.into_iter().any(set) {
            return Ok(Self(None));
        }
        let exporter = SpanExporter::builder().with_http().with_http_client(Client::new()).build();
        let exporter = exporter.map_err(|error| error.to_string())?;
        let resource = Resource::builder();
        let resource = match set("OTEL_SERVICE_NAME") {
            true => resource,
            false => resource.with_service_name(env!("CARGO_PKG_NAME")),
        };
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.with_attribute(version).build())
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
        Ok(Self(Some((provider, tracer))))
    }

    /// Begins the trace of a call, as a part of its caller's trace if there is one.
    #[must_use]
    pub fn call(&self, headers: &HeaderMap, started: Instant) -> Trace {
        let Some((_, tracer)) = &self.0 else { return Trace(None) };
        let caller =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let start = SystemTime::now() - started.elapsed();
        let builder = tracer.span_builder("call").with_kind(SpanKind::Server).with_start_time(start);
        let span = builder.start_with_context(tracer, &caller);
        let context = Context::new().with_span(span);
        Trace(Some(Box::new(OpenTrace { tracer: tracer.clone(), context, attempt: None })))
    }

    /// Sends the remaining spans, for up to two seconds. It is called at the end of the process.
    pub fn close(&self) {
        if let Some((provider, _)) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(LAST_EXPORT_TIMEOUT)
        {
            log::warn!("traces: {error}");
        }
    }
}

impl Trace {
    /// Begins the span of an attempt at a target.
    pub fn attempt(&mut self, tried: &Tried<'_>) {
        let Some(open) = &mut self.0 else { return };
        let name = format!("{} {}", tried.operation, tried.model);
        let builder = open.tracer.span_builder(name).with_kind(SpanKind::Client).with_attributes([
            KeyValue::new("gen_ai.operation.name", tried.operation),
            KeyValue::new("gen_ai.provider.name", tried.provider.to_owned()),
            KeyValue::new("gen_ai.request.model", tried.model.to_owned()),
            KeyValue::new("server.address", tried.host.to_owned()),
            KeyValue::new("server.port", i64::from(tried.port)),
        ]);
        // Ends the span of the attempt before.
        open.attempt = Some(builder.start_with_context(&open.tracer, &open.context));
    }

    /// Notes that the target has answered with this status.
    pub fn answered(&mut self, status: u16) {
        if let Some(span) = self.0.as_mut().and_then(|open| open.attempt.as_mut()) {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        }
    }

    /// Notes that the attempt has failed.
    pub fn failed(&mut self, failure: AttemptFailure) {
        if let Some(span) = self.0.as_mut().and_then(|open| open.attempt.as_mut()) {
            span.set_attribute(KeyValue::new("error.type", failure.as_str()));
            span.set_status(Status::error(failure.as_str()));
        }
    }

    /// Returns the headers by which the provider continues the trace (W3C Trace Context). An empty value is not
    /// sent.
    #[must_use]
    pub fn headers(&self) -> Option<[(&'static str, HeaderValue); 2]> {
        let context = self.0.as_ref()?.attempt.as_ref()?.span_context();
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
        let parent = HeaderValue::try_from(format!("00-{trace}-{span}-{flags:02x}")).ok()?;
        let state = HeaderValue::try_from(context.trace_state().header()).ok()?;
        Some([("traceparent", parent), ("tracestate", state)])
    }

    /// Ends the trace of a call.
    pub fn end(&mut self, line: &AccessLine<'_>, operation: &'static str, said: &ResponseMetadata) {
        let Some(open) = self.0.take() else { return };
        let span = open.context.span();
        span.update_name(format!("{operation} {}", line.model.unwrap_or("unknown")));
        let word = |name, value: Option<&str>| value.map(|value| KeyValue::new(name, value.to_owned()));
        let number = |name, value: Option<u64>| {
            value.map(|value| KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX)))
        };
        let finish = said.finish.iter().map(|reason| StringValue::from(reason.clone())).collect::<Vec<_>>();
        let finish = Some(finish).filter(|all| !all.is_empty());
        let attributes = [
            word("gen_ai.operation.name", Some(operation)),
            word("gen_ai.provider.name", line.provider),
            word("gen_ai.request.model", line.requested_model),
            word("gen_ai.response.model", said.model.as_deref()),
            finish
                .map(|all| KeyValue::new("gen_ai.response.finish_reasons", Value::Array(Array::String(all)))),
            number("gen_ai.usage.input_tokens", line.prompt_tokens),
            number("gen_ai.usage.output_tokens", line.completion_tokens),
            number("gen_ai.usage.cache_read.input_tokens", line.cached_tokens),
            word("http.request.method", Some(line.method)),
            number("http.response.status_code", Some(line.status.into()).filter(|status| *status > 0)),
            word("error.type", line.error),
            word("crossmodel.request_id", Some(line.request_id)),
            word("crossmodel.key", line.key),
            word("crossmodel.route", line.route),
            number("crossmodel.attempts", Some(line.attempts.into())),
            number("crossmodel.cost_nano_usd", line.cost_nano),
            Some(KeyValue::new("crossmodel.client_gone", line.client_gone)),
        ];
        span.set_attributes(attributes.into_iter().flatten());
        if line.status >= 500 || line.status == 200 && line.error.is_some() {
            span.set_status(Status::error(line.error.unwrap_or_default().to_owned()));
        }
        drop(open.attempt);
        span.end();
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.0.is_some()).finish()
    }
}

/// The sender of spans. It is used by the exporter's thread only, which may wait.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    /// Whether the last export failed. Only changes are logged.
    failing: AtomicBool,
}

impl Client {
    fn new() -> Self {
        let millis = TIMEOUTS.into_iter().find_map(|name| env::var(name).ok()?.parse().ok());
        let timeout = millis.map_or(EXPORT_TIMEOUT, Duration::from_millis);
        let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false);
        Self { agent: config.build().into(), failing: AtomicBool::new(false) }
    }

    fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let (head, mut body) = self.agent.run(http::Request::from_parts(head, &body[..]))?.into_parts();
        Ok(http::Response::from_parts(head, body.read_to_vec()?.into()))
    }

    fn note(&self, failure: Option<String>) {
        let before = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(why) if !before => log::warn!("traces cannot be sent: {why}"),
            None if before => log::info!("traces are sent again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let sent = self.send(request);
        self.note(match &sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        });
        sent
    }
}

/// The variables any of which gives the address that traces are sent to.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The variables for the time of an export in milliseconds, the more special one first.
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];

/// The time for one export: the default in the specification of the exporter.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for the last export of a process.
const LAST_EXPORT_TIMEOUT: Duration = Duration::from_secs(2);
