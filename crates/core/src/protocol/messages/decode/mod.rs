//! From the protocol to the canonical form: clients' requests and providers' answers.

mod changes;
mod content;
mod message;
mod offered_tools;
mod reasoning;

mod tools;

mod reply;

pub(super) mod request;
pub(super) mod stream;
