//! From the protocol to the canonical form: clients' requests and providers' answers.

mod content;
mod grounding;
mod lenient;
mod message;
mod partial_args;
mod reasoning;
mod reply;
mod schema;
mod tools;

pub(super) mod request;
pub(super) mod stream;
