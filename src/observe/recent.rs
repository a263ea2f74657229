//! The requests that have failed or were refused lately, in memory: two rings, so that refusals do not push out failures.

use std::collections::VecDeque;

use jiff::Timestamp;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

use super::access::{AccessLine, TryLine};

/// The recent requests that have failed or were refused.
#[derive(Debug, Default)]
pub struct RecentFailures {
    failed: Mutex<VecDeque<FailedRequest>>,
    refused: Mutex<VecDeque<FailedRequest>>,
}

/// The recent requests that have failed or were refused, newest first.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct FailureList {
    /// Requests that failed: with a status of 500 and above, or after the answer had begun.
    pub failed: Vec<FailedRequest>,
    /// Requests that were refused: with the status 401, 402, 403 or 429.
    pub refused: Vec<FailedRequest>,
}

/// A request that has failed or was refused. Unknown facts are absent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FailedRequest {
    /// The time at which the request began.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// The gateway's id of the request.
    pub request_id: Box<str>,
    /// The account of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Box<str>>,
    /// The key's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
    /// The endpoint.
    pub endpoint: &'static str,
    /// The id of the model, or the name by which the client asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Box<str>>,
    /// The provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Box<str>>,
    /// The HTTP status.
    pub status: u16,
    /// The error's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Box<str>>,
    /// Details of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
    /// The limit that has refused the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Box<str>>,
    /// The attempts at targets.
    pub tries: Vec<FailedTry>,
}

/// An attempt at a target.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FailedTry {
    /// The provider.
    pub provider: Box<str>,
    /// The status of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The kind of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
}

/// The ring to which a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ring {
    Failed,
    Refused,
}

impl RecentFailures {
    /// Keeps a finished request if it has failed or was refused.
    pub fn add(&self, line: &AccessLine<'_>) {
        let ring = match Ring::of(line) {
            None => return,
            Some(Ring::Failed) => &self.failed,
            Some(Ring::Refused) => &self.refused,
        };
        let request = FailedRequest::new(line);
        let mut ring = ring.lock();
        if ring.len() >= MAX_REQUESTS {
            ring.pop_front();
        }
        ring.push_back(request);
    }

    /// Returns the requests.
    #[must_use]
    pub fn list(&self) -> FailureList {
        let newest =
            |ring: &Mutex<VecDeque<FailedRequest>>| ring.lock().iter().rev().cloned().collect::<Vec<_>>();
        FailureList { failed: newest(&self.failed), refused: newest(&self.refused) }
    }
}

impl Ring {
    fn of(line: &AccessLine<'_>) -> Option<Self> {
        match line.status {
            401 | 402 | 403 | 429 => Some(Self::Refused),
            500.. => Some(Self::Failed),
            // The status was sent before the stream broke.
            200..300 if line.error.is_some() && !line.client_gone => Some(Self::Failed),
            _ => None,
        }
    }
}

impl FailedRequest {
    fn new(line: &AccessLine<'_>) -> Self {
        let tried = |attempt: &TryLine<'_>| FailedTry {
            provider: attempt.provider.into(),
            status: attempt.status,
            error: attempt.error.map(Into::into),
        };
        Self {
            time: line.time,
            request_id: line.request_id.into(),
            account: line.account.map(Into::into),
            key: line.key.map(Into::into),
            endpoint: line.endpoint,
            model: line.model.or(line.requested_model).map(Into::into),
            provider: line.provider.map(Into::into),
            status: line.status,
            code: line.error.map(Into::into),
            detail: line.detail.map(Into::into),
            limit: line.limit.map(Into::into),
            tries: line.tries.iter().map(tried).collect(),
        }
    }
}

/// The most requests of a ring: at most a kilobyte each.
const MAX_REQUESTS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(status: u16, error: Option<&'static str>) -> AccessLine<'static> {
        AccessLine { status, error, request_id: "req", ..AccessLine::new(Timestamp::now()) }
    }

    #[test]
    fn failures_and_refusals_are_kept_apart_and_the_newest_stay() {
        let recent = RecentFailures::default();
        recent.add(&line(502, Some("upstream_error")));
        recent.add(&line(200, Some("stream_broken")));
        for status in [200, 400, 404] {
            recent.add(&line(status, None));
        }
        recent.add(&AccessLine { client_gone: true, ..line(200, Some("client_gone")) });
        for _ in 0..2 * MAX_REQUESTS {
            recent.add(&line(429, Some("rate_limit_exceeded")));
        }
        recent.add(&line(401, None));
        let FailureList { failed, refused } = recent.list();
        let statuses = |list: &[FailedRequest]| list.iter().map(|request| request.status).collect::<Vec<_>>();
        assert_eq!(statuses(&failed), [200, 502]);
        assert_eq!((refused.len(), statuses(&refused)[..2].to_vec()), (MAX_REQUESTS, vec![401, 429]));
    }
}
