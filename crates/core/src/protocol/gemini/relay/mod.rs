//! The parts of the protocol that a relay reads: the request members that decide where it goes, the model's name,
//! the usage, and the progress of an answer.

pub(super) mod carriers;
pub(super) mod finish;
pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
