//! From the protocol to the canonical form: clients' requests and providers' answers.

mod block;
mod media;
mod members;
mod turn;
mod wish;

mod tools;

pub(super) mod request;
pub(super) mod stream;
