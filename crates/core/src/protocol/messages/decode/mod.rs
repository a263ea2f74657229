//! From the protocol to the canonical form: clients' requests and providers' answers.

mod content;
mod media;
mod members;
mod message;
mod reasoning;

mod tools;

pub(super) mod request;
pub(super) mod stream;
