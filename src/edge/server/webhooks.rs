//! The task that delivers events to webhooks.
//!
//! It has a connection to the store of its own, and no call waits for it. Of the processes on a store, one delivers.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;
use rusqlite::Connection;
use tokio::time::{Instant, sleep, timeout};

use crate::auth;
use crate::config::RefusedFile;
use crate::edge::gateway::Gateway;
use crate::edge::upstream::reason::reason;
use crate::notify::{self, Delivery, DeliveryOutcome, Event, EventKind, Outbox, Webhook, WebhookUrl};
use crate::repeated::RepeatedLine;
use crate::route::{Circuit, TargetSnapshot};
use crate::store::{self, StoreError};

/// The task, and its state.
pub(in crate::edge) struct WebhookTask {
    gateway: Gateway,
    data: PathBuf,
    /// The name of this process among those on the store.
    holder: String,
    /// The connections to receivers. They are made with the first delivery: it takes a while to read the trusted authorities.
    connector: Option<Connector>,
    connection: Option<Connection>,
    gone: GoneWebhooks,
    /// The targets that were out of use at the last look.
    out_of_use: HashSet<String>,
    dropped: u64,
    /// The time of the last look for keys that expire.
    looked: Option<Instant>,
}

/// The webhooks that have told that they are gone.
#[derive(Default)]
struct GoneWebhooks {
    names: HashSet<String>,
    /// The list of webhooks at that time: another one begins anew.
    among: Arc<Vec<Arc<Webhook>>>,
}

/// The work of one round.
struct Round {
    due: Vec<(Arc<Webhook>, Vec<Delivery>)>,
    waiting: Vec<(String, i64)>,
}

/// The facts of a target that has gone out of use, or come back.
#[derive(serde::Serialize)]
struct TargetFacts<'t> {
    target: &'t str,
    model: &'t str,
    provider: &'t str,
    reason: Option<&'t str>,
}

/// The reason for which a receiver has not accepted an event.
enum DeliveryError {
    /// It is gone, as it says.
    Gone,
    /// Another reason.
    Other(String),
}

impl WebhookTask {
    pub(in crate::edge) fn new(gateway: Gateway, data: PathBuf) -> Self {
        Self {
            gateway,
            data,
            holder: auth::random_id("process_"),
            connector: None,
            connection: None,
            gone: GoneWebhooks::default(),
            out_of_use: HashSet::new(),
            dropped: 0,
            looked: None,
        }
    }

    /// Delivers events until the process ends.
    pub(in crate::edge) async fn run(mut self) {
        loop {
            let webhooks = self.gateway.outbox().webhooks();
            if webhooks.is_empty() {
                self.gateway.metrics().webhooks.set_waiting(&[]);
            } else if let Err(error) = self.round(webhooks).await {
                UNREADABLE.write(log::Level::Warn, format_args!("webhooks: {error}"));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    async fn round(&mut self, webhooks: Arc<Vec<Arc<Webhook>>>) -> Result<(), StoreError> {
        if !Arc::ptr_eq(&self.gone.among, &webhooks) {
            self.gone = GoneWebhooks { names: HashSet::new(), among: Arc::clone(&webhooks) };
        }
        self.look_at_targets();
        let outbox = Arc::clone(self.gateway.outbox());
        let (holder, gone) = (self.holder.clone(), self.gone.names.clone());
        let looks_at_keys = self.looked.is_none_or(|last| last.elapsed() > KEY_INTERVAL);
        let Round { due, waiting } = self
            .with_store(move |connection| {
                if looks_at_keys {
                    tell_of_keys(connection, &outbox, store::now())?;
                }
                outbox.post(connection, store::now())?;
                plan(connection, &webhooks, &gone, &holder)
            })
            .await?;
        if looks_at_keys {
            self.looked = Some(Instant::now());
        }
        let metrics = &self.gateway.metrics().webhooks;
        metrics.set_waiting(&waiting);
        let dropped = self.gateway.outbox().dropped();
        metrics.lost(dropped.saturating_sub(std::mem::replace(&mut self.dropped, dropped)));
        for (webhook, deliveries) in due {
            self.deliver_all(&webhook, deliveries).await?;
        }
        Ok(())
    }

    /// Delivers events to one webhook, for a part of the time for which this process may.
    async fn deliver_all(&mut self, webhook: &Webhook, deliveries: Vec<Delivery>) -> Result<(), StoreError> {
        let begun = Instant::now();
        for delivery in deliveries {
            if begun.elapsed() > MAX_TURN {
                break;
            }
            let connector =
                self.connector.get_or_insert_with(|| Connector::new(Some(ConnectorOptions::new(1))));
            let answered = timeout(DELIVERY_TIMEOUT, deliver(connector, webhook, &delivery)).await;
            let late =
                || DeliveryError::Other(format!("no answer came within {} s", DELIVERY_TIMEOUT.as_secs()));
            let result = answered.unwrap_or_else(|_| Err(late()));
            self.gateway.metrics().webhooks.attempt(&webhook.name, result.is_ok());
            self.gateway.note_delivery(&webhook.name, result.is_ok());
            if let Err(error) = &result {
                UNDELIVERED.write(log::Level::Warn, format_args!("webhook {}: {error}", webhook.name));
            }
            let outcome = if result.is_ok() { DeliveryOutcome::Delivered } else { DeliveryOutcome::Failed };
            let given_up = self
                .with_store(move |connection| {
                    Ok(notify::settle(connection, &delivery, outcome, store::now())?)
                })
                .await?;
            if given_up {
                self.gateway.metrics().webhooks.given_up();
            }
            match result {
                Ok(()) => {}
                Err(DeliveryError::Gone) => {
                    self.gone.names.insert(webhook.name.clone());
                    break;
                }
                // The next one would fail as well.
                Err(DeliveryError::Other(_)) => break,
            }
        }
        Ok(())
    }

    /// Tells of targets that have gone out of use since the last look, and of those that are back.
    fn look_at_targets(&mut self) {
        let outbox = Arc::clone(self.gateway.outbox());
        if !outbox.wants(EventKind::TargetUnavailable) && !outbox.wants(EventKind::TargetRecovered) {
            return;
        }
        for target in self.gateway.target_snapshots() {
            match target.state {
                // A short opening may have come to its trial by now.
                Circuit::Open | Circuit::HalfOpen if !self.out_of_use.contains(&target.id) => {
                    outbox.tell(target_event(EventKind::TargetUnavailable, &target));
                    self.out_of_use.insert(target.id);
                }
                Circuit::Closed if self.out_of_use.remove(&target.id) => {
                    outbox.tell(target_event(EventKind::TargetRecovered, &target));
                }
                _ => {}
            }
        }
    }

    /// Works with the store in a thread that may wait.
    async fn with_store<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (kept, folder) = (self.connection.take(), self.data.clone());
        let done = tokio::task::spawn_blocking(move || {
            let connection = kept.map_or_else(|| store::open(&folder), Ok)?;
            work(&connection).map(|result| (result, connection))
        });
        let (result, connection) =
            done.await.map_err(|_| StoreError::Invalid("the work was given up".into()))??;
        self.connection = Some(connection);
        Ok(result)
    }
}

/// Finds the deliveries that are due, if this process may deliver.
fn plan(
    connection: &Connection,
    webhooks: &[Arc<Webhook>],
    gone: &HashSet<String>,
    holder: &str,
) -> Result<Round, StoreError> {
    let now = store::now();
    let (mut due, mut waiting) = (Vec::new(), Vec::new());
    for webhook in webhooks {
        let sql = "SELECT COUNT(*) FROM outbox WHERE webhook = ?1";
        let count: i64 = connection.prepare_cached(sql)?.query_row([&webhook.name], |row| row.get(0))?;
        waiting.push((webhook.name.clone(), count));
        if count > 0 && !gone.contains(&webhook.name) {
            let deliveries = notify::due(connection, &webhook.name, now)?;
            due.extend(
                Some((Arc::clone(webhook), deliveries)).filter(|(_, deliveries)| !deliveries.is_empty()),
            );
        }
    }
    // Nothing is written while there is nothing to do.
    if !due.is_empty() && !notify::has_lease(connection, holder, now)? {
        due.clear();
    }
    Ok(Round { due, waiting })
}

/// Notes the keys that expire within seven days, and within one, each once.
fn tell_of_keys(connection: &Connection, outbox: &Outbox, now: i64) -> Result<(), StoreError> {
    if !outbox.wants(EventKind::KeyExpiring) {
        return Ok(());
    }
    for expiring in auth::expiring_keys(connection, now)? {
        let text = format!("key {} ({}) expires at {}", expiring.key, expiring.name, expiring.expires_at);
        outbox.tell(Event::new(EventKind::KeyExpiring, &expiring, text));
    }
    Ok(())
}

/// Tells webhooks of a configuration that was refused.
pub(in crate::edge) fn tell_of_refusal(gateway: &Gateway, refused: &RefusedFile) {
    let text = "a changed configuration was refused, and the earlier one stays in force".to_owned();
    gateway.outbox().tell(Event::new(EventKind::ConfigRefused, refused, text));
}

fn target_event(kind: EventKind, target: &TargetSnapshot) -> Event {
    let TargetSnapshot { id, model, provider, reason, .. } = target;
    let facts = TargetFacts { target: id, model, provider, reason: reason.as_deref() };
    let text = match (kind, reason) {
        (EventKind::TargetRecovered, _) => format!("target {id} gets calls again"),
        (_, Some(reason)) => format!("target {id} gets no calls: {reason}"),
        (_, None) => format!("target {id} gets no calls"),
    };
    Event::new(kind, &facts, text)
}

/// Sends an event. A redirection is not followed, and counts as a failure.
async fn deliver(connector: &Connector, webhook: &Webhook, delivery: &Delivery) -> Result<(), DeliveryError> {
    let WebhookUrl { tls, host, port, .. } = &webhook.url;
    let resolved = tokio::net::lookup_host((host.as_str(), *port)).await;
    let address: Option<SocketAddr> = resolved.ok().and_then(|mut all| all.next());
    let address = address.ok_or_else(|| DeliveryError::Other(format!("{host} cannot be resolved")))?;
    let failed = |error: Box<pingora::Error>| DeliveryError::Other(reason(&error));
    let peer = HttpPeer::new(address, *tls, host.clone());
    let (mut session, _) = connector.get_http_session(&peer).await.map_err(failed)?;
    let head = head(webhook, delivery).map_err(failed)?;
    session.write_request_header(Box::new(head)).await.map_err(failed)?;
    let body = Bytes::from(delivery.body.clone());
    session.write_request_body(body, true).await.map_err(failed)?;
    session.finish_request_body().await.map_err(failed)?;
    session.read_response_header().await.map_err(failed)?;
    let status = session.response_header().map_or(0, |head| head.status.as_u16());
    session.shutdown().await;
    match status {
        200..=299 => Ok(()),
        410 => Err(DeliveryError::Gone),
        status => Err(DeliveryError::Other(format!("the receiver answers with {status}"))),
    }
}

fn head(webhook: &Webhook, delivery: &Delivery) -> pingora::Result<RequestHeader> {
    let mut head = RequestHeader::build_no_case("POST", webhook.url.path.as_bytes(), Some(8))?;
    let now = store::now();
    head.insert_header(header::HOST, webhook.url.authority.as_str())?;
    head.insert_header(header::CONTENT_TYPE, "application/json")?;
    head.insert_header(header::CONTENT_LENGTH, delivery.body.len())?;
    head.insert_header(header::USER_AGENT, concat!("CrossModel/", env!("CARGO_PKG_VERSION")))?;
    head.insert_header("webhook-id", delivery.event.as_str())?;
    head.insert_header("webhook-timestamp", now)?;
    if !webhook.secrets.is_empty() {
        let signature = notify::sign(&webhook.secrets, &delivery.event, now, delivery.body.as_bytes());
        head.insert_header("webhook-signature", signature)?;
    }
    Ok(head)
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => {
                f.write_str("the receiver is gone (410): nothing is sent to it until the next reload")
            }
            Self::Other(why) => write!(f, "an event was not delivered, and will be sent again: {why}"),
        }
    }
}

/// The interval at which the outbox is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The time that one delivery may take.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for deliveries to one webhook in a row: with the last one, less than the lease of this process.
const MAX_TURN: Duration = Duration::from_secs(15);

/// The interval at which keys are looked at that expire.
const KEY_INTERVAL: Duration = Duration::from_secs(600);

/// The line about a store that cannot be used.
static UNREADABLE: RepeatedLine = RepeatedLine::new();

/// The line about events that are not delivered.
static UNDELIVERED: RepeatedLine = RepeatedLine::new();
