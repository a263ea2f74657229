//! From the client's head to the body that is sent.

pub(in crate::edge) mod body;
pub(in crate::edge) mod client_address;
pub(in crate::edge) mod cors;
pub(in crate::edge) mod decode;
pub(in crate::edge) mod failover;
pub(in crate::edge) mod guards;
pub(in crate::edge) mod headers;
pub(in crate::edge) mod plan;
mod provider_head;
pub(in crate::edge) mod retry_after;
