//! Responses: from the provider's answer to the client's.

pub(in crate::edge) mod account;
pub(in crate::edge) mod answer;
mod answer_body;
pub(in crate::edge) mod burst;
pub(in crate::edge) mod delivery;
pub(in crate::edge) mod driver;
pub(in crate::edge) mod early;
pub(in crate::edge) mod ending;
pub(in crate::edge) mod guarded;
pub(in crate::edge) mod outbox;
pub(in crate::edge) mod phase;
pub(in crate::edge) mod reply;
pub(in crate::edge) mod response_stream;
