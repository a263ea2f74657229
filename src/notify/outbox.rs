//! The events that have still to be delivered, in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rusqlite::{Connection, Row, params};

use super::event::{Event, EventKind};
use super::retry;
use super::webhook::Webhook;

/// The webhooks of the configuration in force, and the events for them.
#[derive(Debug, Default)]
pub struct Outbox {
    webhooks: ArcSwap<Vec<Arc<Webhook>>>,
    /// Events that are not in the store yet.
    waiting: Mutex<Vec<Event>>,
    /// Events that were lost because there were too many.
    dropped: AtomicU64,
}

/// A delivery that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    seq: i64,
    /// The name of the webhook.
    pub webhook: String,
    /// The id of the event, which stays the same for all attempts.
    pub event: String,
    /// The body.
    pub body: String,
    /// The failed attempts so far.
    attempts: u32,
    /// The time of the event.
    time: i64,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver has accepted the event.
    Delivered,
    /// It has not.
    Failed,
}

impl Outbox {
    /// Sets the webhooks.
    pub fn set(&self, webhooks: Vec<Webhook>) {
        self.webhooks.store(Arc::new(webhooks.into_iter().map(Arc::new).collect()));
    }

    /// Returns the webhooks.
    #[must_use]
    pub fn webhooks(&self) -> Arc<Vec<Arc<Webhook>>> {
        self.webhooks.load_full()
    }

    /// Whether a webhook wants events of a kind.
    #[must_use]
    pub fn wants(&self, kind: EventKind) -> bool {
        self.webhooks.load().iter().any(|webhook| webhook.wants(kind))
    }

    /// Returns the number of events that were lost because too many were waiting.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Notes that so many events were lost because too many were waiting.
    pub fn note_lost(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds an event in the transaction of what has happened.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn add(&self, connection: &Connection, event: &Event, now: i64) -> rusqlite::Result<()> {
        self.note_lost(add(connection, &self.webhooks.load(), event, now)?);
        Ok(())
    }

    /// Notes an event that belongs to no transaction. It is written with the next look at the outbox.
    pub fn tell(&self, event: Event) {
        if !self.wants(event.kind) {
            return;
        }
        let mut waiting = self.waiting.lock();
        if waiting.len() < MAX_UNWRITTEN_COUNT {
            waiting.push(event);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes the events that belong to no transaction.
    ///
    /// # Errors
    /// Fails if the store cannot be written. The events stay.
    pub fn post(&self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        let events = std::mem::take(&mut *self.waiting.lock());
        if events.is_empty() {
            return Ok(());
        }
        let written = connection.unchecked_transaction().and_then(|transaction| {
            events.iter().try_for_each(|event| self.add(&transaction, event, now))?;
            transaction.commit()
        });
        if written.is_err() {
            events.into_iter().for_each(|event| self.tell(event));
        }
        written
    }
}

/// Adds an event for those of the webhooks that want it, in the transaction of what has happened. Returns the number of
/// older events that are lost, because too many are waiting.
///
/// # Errors
/// Fails if the store cannot be written.
pub fn add(
    connection: &Connection,
    webhooks: &[Arc<Webhook>],
    event: &Event,
    now: i64,
) -> rusqlite::Result<u64> {
    let (id, mut lost) = (event_id(), 0);
    for webhook in webhooks.iter().filter(|webhook| webhook.wants(event.kind)) {
        let sql = "INSERT INTO outbox (webhook, event, body, due, time) VALUES (?1, ?2, ?3, ?4, ?4)";
        let row = params![webhook.name, id, event.body(webhook.format, now), now];
        connection.prepare_cached(sql)?.execute(row)?;
        let sql = "DELETE FROM outbox WHERE webhook = ?1 AND seq <=
            (SELECT seq FROM outbox WHERE webhook = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)";
        lost += connection.prepare_cached(sql)?.execute(params![webhook.name, MAX_WAITING_COUNT])? as u64;
    }
    Ok(lost)
}

/// Returns the deliveries to a webhook that are due, oldest first.
///
/// # Errors
/// Fails if the store cannot be read.
pub fn due(connection: &Connection, webhook: &str, now: i64) -> rusqlite::Result<Vec<Delivery>> {
    let mut query = connection.prepare_cached(
        "SELECT seq, webhook, event, body, attempts, time FROM outbox
         WHERE webhook = ?1 AND due <= ?2 ORDER BY seq LIMIT ?3",
    )?;
    let delivery = |row: &Row<'_>| {
        let (seq, webhook, event) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Delivery { seq, webhook, event, body: row.get(3)?, attempts: row.get(4)?, time: row.get(5)? })
    };
    query.query_map(params![webhook, now, MAX_DUE_COUNT], delivery)?.collect()
}

/// Notes the outcome of an attempt. A failed one comes again later; an event that is too old is given up. Returns whether
/// it was given up.
///
/// # Errors
/// Fails if the store cannot be written.
pub fn settle(
    connection: &Connection,
    delivery: &Delivery,
    outcome: DeliveryOutcome,
    now: i64,
) -> rusqlite::Result<bool> {
    let failed = delivery.attempts.saturating_add(1);
    let due = now + retry::delay(failed, rand::random_range(retry::JITTER));
    let is_over = outcome == DeliveryOutcome::Failed && due > delivery.time + retry::MAX_AGE;
    if is_over || outcome == DeliveryOutcome::Delivered {
        connection.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?.execute([delivery.seq])?;
        return Ok(is_over);
    }
    let sql = "UPDATE outbox SET attempts = ?2, due = ?3 WHERE seq = ?1";
    connection.prepare_cached(sql)?.execute(params![delivery.seq, failed, due])?;
    Ok(false)
}

/// Takes or renews the right to deliver the events of all processes on the store; returns whether this process has it.
///
/// # Errors
/// Fails if the store cannot be written.
pub fn has_lease(connection: &Connection, holder: &str, now: i64) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO outbox_lease VALUES (1, ?1, ?2) ON CONFLICT (only) DO UPDATE
        SET holder = excluded.holder, until = excluded.until WHERE holder = excluded.holder OR until <= ?3";
    let changed = connection.prepare_cached(sql)?.execute(params![holder, now + LEASE_SECONDS, now])?;
    Ok(changed == 1)
}

/// Makes an id of an event.
fn event_id() -> String {
    let random: [u8; 16] = rand::random();
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("msg_{digits}")
}

/// The most events that wait for one webhook in the store.
const MAX_WAITING_COUNT: i64 = 1_000;

/// The most events that wait for the store.
const MAX_UNWRITTEN_COUNT: usize = 100;

/// The most deliveries to one webhook in a row. A chosen value.
const MAX_DUE_COUNT: i64 = 8;

/// The time for which one process delivers, in seconds, unless it renews that.
const LEASE_SECONDS: i64 = 30;

#[cfg(test)]
mod tests {
    use super::super::format::WebhookFormat;
    use super::super::webhook::WebhookUrl;
    use super::*;

    fn webhook(name: &str, events: &[&str]) -> Webhook {
        Webhook {
            name: name.to_owned(),
            url: WebhookUrl::parse("http://127.0.0.1/").unwrap(),
            secrets: Vec::new(),
            events: events.iter().map(ToString::to_string).collect(),
            format: WebhookFormat::Standard,
        }
    }

    fn event(kind: EventKind) -> Event {
        Event::new(kind, &"x", String::new())
    }

    #[test]
    fn an_event_waits_for_each_webhook_that_wants_it_until_it_is_delivered_or_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::store::open(folder.path()).unwrap();
        let outbox = Outbox::default();
        outbox.add(&connection, &event(EventKind::BalanceLow), 100).unwrap();
        outbox.set(vec![webhook("a", &["balance.*"]), webhook("b", &["*"]), webhook("c", &["target.*"])]);
        outbox.add(&connection, &event(EventKind::BalanceLow), 100).unwrap();
        let waiting = |name: &str, now| due(&connection, name, now).unwrap();
        let counts = ["a", "b", "c"].map(|name| waiting(name, 100).len());
        assert_eq!(counts, [1, 1, 0], "before there were webhooks, nobody was to be told");
        let first = waiting("a", 100).pop().unwrap();
        assert_eq!(first.event, waiting("b", 100).pop().unwrap().event, "the event is the same for both");
        assert!(!settle(&connection, &first, DeliveryOutcome::Failed, 100).unwrap());
        assert!(waiting("a", 103).is_empty());
        let again = waiting("a", 106).pop().unwrap();
        assert_eq!((&again.event, again.attempts), (&first.event, 1));
        assert!(!settle(&connection, &again, DeliveryOutcome::Delivered, 106).unwrap());
        assert!(waiting("a", i64::MAX).is_empty());
        let old = waiting("b", 100).pop().unwrap();
        assert!(
            settle(&connection, &old, DeliveryOutcome::Failed, 100 + retry::MAX_AGE).unwrap(),
            "it is too old"
        );
        assert!(waiting("b", i64::MAX).is_empty());
    }

    #[test]
    fn too_many_events_are_dropped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::store::open(folder.path()).unwrap();
        let outbox = Outbox::default();
        outbox.set(vec![webhook("a", &["*"])]);
        let transaction = connection.unchecked_transaction().unwrap();
        for n in 0..MAX_WAITING_COUNT + 5 {
            outbox.add(&transaction, &event(EventKind::BalanceLow), n).unwrap();
        }
        transaction.commit().unwrap();
        let rest = || {
            connection
                .query_row("SELECT COUNT(*), MIN(time) FROM outbox", [], |row| Ok((row.get(0)?, row.get(1)?)))
        };
        assert_eq!(rest().unwrap(), (MAX_WAITING_COUNT, 5_i64), "the oldest go");
        assert_eq!(outbox.dropped(), 5);
        (0..MAX_UNWRITTEN_COUNT + 3).for_each(|_| outbox.tell(event(EventKind::TargetUnavailable)));
        assert_eq!(outbox.dropped(), 8);
        outbox.post(&connection, 9).unwrap();
        assert_eq!(outbox.dropped(), 8 + MAX_UNWRITTEN_COUNT as u64);
    }

    #[test]
    fn one_process_delivers() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::store::open(folder.path()).unwrap();
        let has = |holder: &str, now| has_lease(&connection, holder, now).unwrap();
        assert!(has("a", 100) && has("a", 110));
        assert!(!has("b", 139));
        assert!(has("b", 140));
        assert!(!has("a", 141));
    }
}
