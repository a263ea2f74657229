//! From the protocol to the canonical form: clients' requests and providers' answers.

mod content;
mod message;
mod reasoning;
mod reasoning_details;
mod reasoning_tags;
mod tool_calls;
mod tools;

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
