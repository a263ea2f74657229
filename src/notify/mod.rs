//! Webhooks: events that operators are told of.
//!
//! An event is written to the outbox of the store, in the transaction of what has happened where there is one. Another
//! task delivers it, so that no call waits for a receiver. Receivers must expect repetitions, and any order.

mod event;
mod format;
mod outbox;
mod retry;
mod signature;
mod webhook;

pub use event::{Event, EventKind};
pub use format::WebhookFormat;
pub use outbox::{Delivery, DeliveryOutcome, Outbox, add, due, has_lease, settle};
pub use signature::{MIN_SECRET_BYTES, WebhookSecret, sign};
pub use webhook::{Webhook, WebhookUrl};
