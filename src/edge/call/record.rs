//! The records of a finished request: its counts, its access line and the end of its trace.

use std::net::IpAddr;
use std::time::Duration;

use http::Version;
use pingora::http::RequestHeader;

use crate::auth::{self, CallOutcome};
use crate::canon::Usage;
use crate::edge::call::context::CallContext;
use crate::edge::call::endpoint::Endpoint;
use crate::edge::call::request_info::GuardVerdict;
use crate::edge::call::target::{Call, Operation};
use crate::failure::Failure;
use crate::observe::{AccessLine, AccessLog, LimitRefusal, Metrics, RecentFailures, millis};
use crate::route::is_model_name;

/// The facts of a client's connection that the access line tells.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::edge) struct ConnectionInfo<'c> {
    pub(in crate::edge) client: Option<IpAddr>,
    pub(in crate::edge) listener: Option<&'c str>,
    /// The name in the client's certificate.
    pub(in crate::edge) certificate: Option<&'c str>,
}

impl CallContext {
    /// Records the finished request.
    pub(in crate::edge) fn record(
        &mut self,
        request: &RequestHeader,
        connection: ConnectionInfo<'_>,
        access: &AccessLog,
        recent: &RecentFailures,
    ) {
        if let Some(metrics) = &self.request.snapshot.metrics {
            self.count(metrics);
        }
        if self.request.snapshot.metrics_settings.counts_tenants() {
            self.count_for_key();
        }
        // These are the provider's own words, some of which the log repeats.
        let keys = &self.request.snapshot.keys;
        let may_show = |name: &String| !keys.is_in(name.as_bytes());
        self.attempts.answer.said.model = self.attempts.answer.said.model.take().filter(may_show);
        self.attempts.answer.served = self.attempts.answer.served.take().filter(may_show);
        self.attempts.answer.said.finish.retain(|reason| !keys.is_in(reason.as_bytes()));
        let mut trace = std::mem::take(&mut self.attempts.trace);
        let line = self.line(request, connection);
        access.add(&line);
        recent.add(&line);
        trace.end(
            &line,
            self.attempts.call.as_ref().map_or(Operation::Infer, |call| call.operation).as_str(),
            &self.attempts.answer.said,
        );
    }

    fn count(&self, metrics: &Metrics) {
        let code = self.outcome.failure.as_ref().map(Failure::kind).map_or("", |kind| kind.row().code);
        let first_byte = self.outcome.first_byte.as_ref().map(Duration::as_secs_f64);
        let total = self.request.started.elapsed().as_secs_f64();
        metrics.request(self.request.endpoint_name(), self.outcome.status, code, total, first_byte);
        if let Some(shed) = self.admission.shed() {
            metrics.shed(shed);
        }
        if let Some(limit) = self.limit_refusal() {
            metrics.limit_refusal(limit);
        }
        if let Some(call) = &self.attempts.call {
            self.count_call(call, metrics);
        }
    }

    /// Counts the call of a model for its key.
    fn count_for_key(&self) {
        let is_call = self.request.endpoint.and_then(Endpoint::protocol).is_some();
        let Some(grant) = self.request.grant.as_ref().filter(|_| is_call) else { return };
        let failure = self.outcome.failure.as_ref().map(Failure::status);
        grant.counts.add(CallOutcome::of(failure), self.billing.cost());
    }

    fn count_call(&self, call: &Call, metrics: &Metrics) {
        if let Some(bridged) = &call.bridged {
            metrics.losses(bridged.client, call.protocol, bridged.losses);
        }
        for (rejection, count) in call.rejections.iter() {
            metrics.rejected_carriers(rejection, count.into());
        }
        for (provider, anomaly, count) in self.attempts.anomalies() {
            metrics.anomalies(provider, anomaly, count);
        }
        let prices = call.prices.as_ref().filter(|_| self.billing.has_bill());
        if let (Some(prices), Some(usage)) = (prices, &self.attempts.answer.usage) {
            prices.unpriced(usage).into_iter().for_each(|kind| metrics.unpriced(kind));
        }
        let Some(target) = &call.metrics else { return };
        if let Some(usage) = &self.attempts.answer.usage {
            target.usage(usage);
        }
        if let Some(cost) = self.billing.cost() {
            target.cost(cost);
        }
    }

    fn line<'a>(&'a self, request: &'a RequestHeader, connection: ConnectionInfo<'a>) -> AccessLine<'a> {
        let call = self.attempts.call.as_deref();
        let usage = self.attempts.answer.usage.as_ref();
        AccessLine {
            time: self.request.time,
            request_id: &self.request.id,
            client: connection.client,
            listener: connection.listener,
            client_cert: connection.certificate.map(cut),
            account: self.request.grant.as_ref().map(|key| key.account.as_str()),
            key_hint: self.request.key_hint.as_deref(),
            path: self.unknown_path(request),
            limit: self.limit_refusal().map(LimitRefusal::limit),
            guard: self.request.guards.iter().chain(&self.outcome.guards).map(GuardVerdict::line).collect(),
            tries: self.attempts.tries(),
            key: self.request.grant.as_ref().map(|key| key.id.as_str()),
            secret: self.request.secret_in_rotation(),
            path_fixed: self.request.has_fixed_path(request.uri.path()).then_some(true),
            method: cut(request.method.as_str()),
            endpoint: self.request.endpoint_name(),
            protocol: self.request.endpoint.and_then(Endpoint::protocol).map(|protocol| protocol.as_str()),
            client_protocol_version: version_name(request.version),
            requested_model: self.request.requested_model.as_deref().map(cut),
            model: call.map(|call| &*call.found.id),
            provider: call.map(|call| &*call.provider().name),
            credential: call.and_then(Call::credential_name).map(|name| &**name),
            upstream_model: call.map(|call| call.upstream_model.as_str()).map(cut),
            served_model: self.attempts.answer.served.as_deref().filter(|name| is_model_name(name)).map(cut),
            route: call.map(Call::route),
            dropped: call.and_then(|call| call.dropped.as_deref()).map(cut),
            status: self.outcome.status,
            error: self.outcome.failure.as_ref().map(Failure::logged_code),
            detail: self.outcome.failure.as_ref().and_then(Failure::detail).map(cut),
            stream: self.outcome.form.is_stream(),
            client_gone: self.outcome.client_gone,
            bytes_in: self.request.bytes_in,
            bytes_out: self.outcome.bytes_out,
            first_byte_ms: self.outcome.first_byte.map(millis),
            total_ms: millis(self.request.started.elapsed()),
            attempts: self.attempts.count(),
            prompt_tokens: usage.map(Usage::prompt),
            completion_tokens: usage.map(|usage| usage.output),
            cached_tokens: usage.map(|usage| usage.cache_read),
            finish_reason: self.attempts.answer.said.finish.first().map(String::as_str),
            cost_nano: self.billing.cost(),
            tags: self.request.tags.list.as_deref(),
            user: self.request.tags.user.as_deref(),
        }
    }
}

impl CallContext {
    /// Returns the limit of its key or account by which the call was refused.
    fn limit_refusal(&self) -> Option<LimitRefusal> {
        self.admission.refused_by().or_else(|| self.billing.refused_by())
    }

    /// Returns the beginning of a path that is no endpoint, unless it contains something like a secret.
    fn unknown_path<'a>(&self, request: &'a RequestHeader) -> Option<&'a str> {
        if self.request.endpoint.is_some() {
            return None;
        }
        let path = request.uri.path();
        let is_secret = auth::contains_secret(path) || self.request.snapshot.keys.is_in(path.as_bytes());
        let end = path.bytes().position(|byte| !byte.is_ascii_graphic()).unwrap_or(path.len());
        path.get(..end.min(LOGGED_PATH)).filter(|_| !is_secret)
    }
}

/// Returns the first characters of a text that a caller chose.
pub(in crate::edge) fn cut(text: &str) -> &str {
    text.char_indices().nth(LOGGED).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

/// Returns the name of a version of HTTP in access lines, if a client can speak it here.
pub(in crate::edge) fn version_name(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("HTTP/1.0"),
        Version::HTTP_11 => Some("HTTP/1.1"),
        Version::HTTP_2 => Some("HTTP/2"),
        _ => None,
    }
}

/// The most characters of a name or a message in an access line.
const LOGGED: usize = 200;

/// The most characters of an unknown path in an access line.
const LOGGED_PATH: usize = 120;
