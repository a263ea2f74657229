//! From the protocol to the canonical form: clients' requests and providers' answers.

mod content;
mod message;
mod reasoning;

mod tools;

mod reply;

pub(super) mod request;
pub(super) mod stream;
