//! What a relay has to see of the protocol: the members of a request that decide where it goes, the model's
//! name, the usage, and how far an answer is.

pub(super) mod finish;
pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
