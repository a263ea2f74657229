//! What a request leaves behind when it is over: counts, its access line, the end of its trace.

use std::time::Duration;

use pingora::http::RequestHeader;

use crate::canon::Usage;
use crate::edge::call::endpoint::Endpoint;
use crate::edge::call::exchange::Exchange;
use crate::edge::call::target::Call;
use crate::failure::Failure;
use crate::meter::Bill;
use crate::observe::{AccessLine, AccessLog, Metrics};

impl Exchange {
    /// The request is over.
    pub(in crate::edge) fn record(&mut self, request: &RequestHeader, access: &AccessLog) {
        if let Some(metrics) = &self.snapshot.metrics {
            self.count(metrics);
        }
        // Its provider's words, of which the log repeats some.
        let keys = &self.snapshot.keys;
        self.said.model = self.said.model.take().filter(|name| !keys.is_in(name.as_bytes()));
        self.said.finish.retain(|reason| !keys.is_in(reason.as_bytes()));
        let mut trace = std::mem::take(&mut self.trace);
        let line = self.line(request);
        access.add(&line);
        trace.end(&line, self.call.as_ref().map_or("chat", |call| call.operation()), &self.said);
    }

    fn count(&self, metrics: &Metrics) {
        let code = self.failure.as_ref().map(Failure::kind).map_or("", |kind| kind.row().code);
        let first_byte = self.first_byte.as_ref().map(Duration::as_secs_f64);
        let total = self.started.elapsed().as_secs_f64();
        metrics.request(self.endpoint_name(), self.status, code, total, first_byte);
        if let Some(shed) = self.shed {
            metrics.shed(shed);
        }
        if let Some(limit) = self.limit {
            metrics.limit_refusal(limit);
        }
        if let Some(call) = &self.call {
            self.count_call(call, metrics);
        }
    }

    fn count_call(&self, call: &Call, metrics: &Metrics) {
        if let Some(bridged) = &call.bridged {
            metrics.losses(bridged.client, call.protocol, bridged.losses);
        }
        for (rejection, count) in call.rejections.iter() {
            metrics.rejected_carriers(rejection, count.into());
        }
        for (oddity, count) in &self.oddities {
            metrics.oddities(&call.provider().name, *oddity, *count);
        }
        if let (Some(prices), Some(usage)) = (self.prices(), &self.usage) {
            prices.unpriced(usage).into_iter().for_each(|kind| metrics.unpriced(kind));
        }
        let Some(target) = &call.metrics else { return };
        if let Some(usage) = &self.usage {
            target.usage(usage);
        }
        if let Some(cost) = self.cost() {
            target.cost(cost);
        }
    }

    fn line<'a>(&'a self, request: &'a RequestHeader) -> AccessLine<'a> {
        let call = self.call.as_deref();
        let usage = self.usage.as_ref();
        AccessLine {
            time: self.time,
            request_id: &self.id,
            key: self.grant.as_ref().map(|key| key.id.as_str()),
            method: cut(request.method.as_str()),
            endpoint: self.endpoint_name(),
            protocol: self.endpoint.and_then(Endpoint::protocol).map(|protocol| protocol.as_str()),
            requested_model: self.requested_model.as_deref().map(cut),
            model: call.map(|call| call.found.id.as_str()),
            provider: call.map(|call| &*call.provider().name),
            upstream_model: call.map(|call| call.upstream_model.as_str()).map(cut),
            route: call.map(Call::route),
            dropped: self.dropped.as_deref().map(cut),
            status: self.status,
            error: self.failure.as_ref().map(Failure::logged_code),
            detail: self.failure.as_ref().and_then(Failure::detail).map(cut),
            stream: self.streams,
            client_gone: self.client_gone,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            first_byte_ms: self.first_byte.map(millis),
            total_ms: millis(self.started.elapsed()),
            attempts: self.attempts,
            prompt_tokens: usage.map(Usage::prompt),
            completion_tokens: usage.map(|usage| usage.output),
            cached_tokens: usage.map(|usage| usage.cache_read),
            finish_reason: self.said.finish.first().map(String::as_str),
            cost_nano: self.cost(),
        }
    }

    fn endpoint_name(&self) -> &'static str {
        self.endpoint.map_or("unknown", Endpoint::name)
    }

    /// What the call has cost so far, in nano-USD.
    fn cost(&self) -> Option<u64> {
        self.bill.as_ref().and_then(Bill::charge).map(|charge| charge.amount.nano())
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The first characters of a text that a caller chose.
pub(in crate::edge) fn cut(text: &str) -> &str {
    text.char_indices().nth(LOGGED).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

/// Characters of a name or a message in an access line.
const LOGGED: usize = 200;
