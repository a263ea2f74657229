//! From the protocol to the canonical form: clients' requests and providers' answers.

mod configuration;
mod content;
mod message;
mod output_items;
mod reasoning;
mod reply;
mod tools;

pub(super) mod request;
pub(super) mod stream;
