//! The state of one call, and the decisions that depend only on it. Nothing here reads or writes a connection.

pub(in crate::edge) mod admission;
pub(in crate::edge) mod attempts;
pub(in crate::edge) mod billing;
pub(in crate::edge) mod call_guard;
pub(in crate::edge) mod context;
pub(in crate::edge) mod conversations;
pub(in crate::edge) mod endpoint;
pub(in crate::edge) mod estimate;
pub(in crate::edge) mod fallback;
pub(in crate::edge) mod gemini_path;
pub(in crate::edge) mod leaving;
pub(in crate::edge) mod money_refusal;
pub(in crate::edge) mod outcome;
pub(in crate::edge) mod path_advice;
pub(in crate::edge) mod priced;
pub(in crate::edge) mod record;
pub(in crate::edge) mod refusal;
pub(in crate::edge) mod request_info;
pub(in crate::edge) mod retry_budget;
pub(in crate::edge) mod shutdown;
pub(in crate::edge) mod snapshot;
pub(in crate::edge) mod stored_answers;
pub(in crate::edge) mod target;
pub(in crate::edge) mod tenants;
pub(in crate::edge) mod tries;
pub(in crate::edge) mod unknown_path;
