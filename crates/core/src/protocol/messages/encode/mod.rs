//! From the canonical form to the protocol: requests for providers and answers for clients.

mod answer;
mod content;
mod format;
mod ids;

mod mark;
mod message;
mod reasoning;
mod samplers;
mod schema;
mod tools;

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
