//! The tries of a call: which targets it was sent to, and what came of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::edge::call::target::Call;
use crate::observe::{AttemptFailure, TryLine, millis};

/// The tries of a call that have failed, and the one under way.
#[derive(Debug, Default)]
pub(in crate::edge) struct Tries {
    failed: Vec<FailedTry>,
    /// The start of the current try, until it has failed.
    started: Option<Instant>,
}

/// A try that has failed.
#[derive(Debug)]
struct FailedTry {
    provider: Arc<str>,
    model: String,
    credential: Option<Arc<str>>,
    status: Option<u16>,
    time: Duration,
    error: AttemptFailure,
    detail: String,
}

impl Tries {
    /// Begins a try at the present target.
    pub(super) fn begin(&mut self) {
        self.started = Some(Instant::now());
    }

    /// Whether the current try has not failed yet.
    pub(super) fn is_under_way(&self) -> bool {
        self.started.is_some()
    }

    /// Notes the failure of the current try. A try fails once.
    pub(super) fn fail(&mut self, call: &Call, error: AttemptFailure, status: Option<u16>, detail: &str) {
        let Some(started) = self.started.take() else { return };
        // The last one tells what the client was told.
        if self.failed.len() == MAX_TRIES {
            self.failed.pop();
        }
        self.failed.push(FailedTry {
            provider: Arc::clone(&call.provider().name),
            model: call.upstream_model.clone(),
            credential: call.credential_name().cloned(),
            status,
            time: started.elapsed(),
            error,
            detail: call.keys.redacted(detail).into_owned(),
        });
    }

    /// Adds the detail of a failure of which only the status was known.
    pub(super) fn explain(&mut self, call: &Call, detail: &str) {
        if let Some(last) = self.failed.last_mut().filter(|last| last.detail.is_empty()) {
            last.detail = call.keys.redacted(detail).into_owned();
        }
    }

    /// Returns the failure of the last try, with its reason.
    pub(super) fn last(&self) -> Option<(AttemptFailure, &str)> {
        self.failed.last().map(|last| (last.error, last.detail.as_str()))
    }

    /// Returns the tries for the access line; none if the only one has succeeded. `call` is the call where it has
    /// come to.
    pub(super) fn lines<'t>(&'t self, call: Option<&'t Call>) -> Vec<TryLine<'t>> {
        if self.failed.is_empty() {
            return Vec::new();
        }
        let failed = self.failed.iter().map(|failed| TryLine {
            provider: &failed.provider,
            model: &failed.model,
            credential: failed.credential.as_deref(),
            status: failed.status,
            ms: millis(failed.time),
            error: Some(failed.error.as_str()),
            detail: Some(failed.detail.as_str()).filter(|detail| !detail.is_empty()),
        });
        let last = call.zip(self.started).map(|(call, started)| TryLine {
            provider: &call.provider().name,
            model: &call.upstream_model,
            credential: call.credential_name().map(|name| &**name),
            status: Some(200),
            ms: millis(started.elapsed()),
            error: None,
            detail: None,
        });
        failed.chain(last).collect()
    }
}

/// The most failed tries of a call that are kept, so that an access line has at most eight.
const MAX_TRIES: usize = 7;
