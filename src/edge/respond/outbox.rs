//! The gateway's own answers that wait for an HTTP/2 client to accept them.
//!
//! A client says how much it accepts, and may say nothing for as long as it likes. So an answer that cannot be
//! sent at once is separated from its request, with everything that is kept for that, and waits on its own. Its
//! time is limited, and so is the number of such answers of one connection.

use std::future::poll_fn;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::http::v2::server::HttpSession;
use tokio::time::timeout;

use crate::edge::wire::streams::StreamPermits;

/// The waiting answers of one connection. All clones are the same.
#[derive(Clone, Debug, Default)]
pub(in crate::edge) struct Outbox(StreamPermits);

tokio::task_local! {
    /// The outbox of the connection whose request is being answered.
    static CURRENT: Outbox;
}

impl Outbox {
    /// Runs a future that answers a request of the connection.
    pub(in crate::edge) async fn serving<T>(self, answering: impl Future<Output = T>) -> T {
        CURRENT.scope(self, answering).await
    }

    /// The outbox of the connection whose request is being answered.
    pub(in crate::edge) fn of_connection() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Sends the body of an answer whose head is written already, as soon as the client accepts it. If that takes
    /// too long, or too many answers wait already, the stream is reset.
    pub(in crate::edge) fn send(&self, session: &mut HttpSession, mut body: Bytes) {
        let Some(mut writer) = session.take_response_body_writer() else { return };
        let mut going = Box::pin(async move {
            while !body.is_empty() {
                writer.reserve_capacity(body.len());
                let Some(Ok(room)) = poll_fn(|cx| writer.poll_capacity(cx)).await else { return };
                let part = body.split_to(room.min(body.len()));
                if writer.send_data(part, body.is_empty()).is_err() {
                    return;
                }
            }
        });
        if going.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        // A stream whose writer is dropped before its end is reset.
        if let Some(place) = self.0.enter(MAX_WAITING) {
            tokio::spawn(async move {
                let _ = timeout(PATIENCE, going).await;
                drop(place);
            });
        }
    }
}

/// The most waiting answers of one connection. A chosen value: browsers and SDKs grant room before they send a
/// request.
const MAX_WAITING: usize = 8;

/// The time for which an answer waits. A chosen value: some round trips around the world.
const PATIENCE: Duration = Duration::from_secs(5);
