//! From the canonical form to the protocol: requests for providers and answers for clients.

mod said;

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
