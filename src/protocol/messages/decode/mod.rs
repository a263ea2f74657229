//! From the protocol to the canonical form: clients' requests and providers' answers.

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
