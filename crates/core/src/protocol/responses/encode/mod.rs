//! From the canonical form to the protocol: requests for providers and answers for clients.

mod answer;
mod compacted;
mod content;
mod event_writer;
mod ids;
mod message;
mod output_items;
mod output_message;
mod reasoning;
mod tools;

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
