//! Reloads that operators ask for.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::config::ConfigStatus;

/// The result of a look at the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum ReloadOutcome {
    /// The file is in force already, or there is none.
    Unchanged,
    /// The file was put into effect.
    Applied,
    /// The file was refused.
    Refused,
}

/// The result of a reload, and the state of the configuration after it.
pub(in crate::edge) type ReloadAnswer = (ReloadOutcome, Arc<ConfigStatus>);

/// A request for a reload.
#[derive(Debug)]
pub(in crate::edge) struct ReloadRequest(oneshot::Sender<ReloadAnswer>);

/// The way by which a reload is asked for.
#[derive(Clone, Debug)]
pub(in crate::edge) struct ReloadRequests(mpsc::Sender<ReloadRequest>);

impl ReloadRequests {
    /// Makes the way, and its end.
    pub(in crate::edge) fn new() -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), receiver)
    }

    /// Asks for a reload, and waits for its result; `None` if there is none in time. The caller is a thread that may
    /// wait.
    pub(in crate::edge) fn ask(&self) -> Option<ReloadAnswer> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(ReloadRequest(reply)).ok()?;
        let answer = Handle::try_current().ok()?.block_on(async { timeout(RELOAD_TIMEOUT, answer).await });
        answer.ok()?.ok()
    }
}

impl ReloadRequest {
    /// Tells the result. Whoever asked may have given up.
    pub(in crate::edge) fn answer(self, answer: ReloadAnswer) {
        let _ = self.0.send(answer);
    }
}

/// The requests that may wait at once.
const MAX_WAITING: usize = 8;

/// The time for a reload. A chosen value: a configuration is read in milliseconds, and its secrets may be on a slow disk.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(20);
