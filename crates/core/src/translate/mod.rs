//! The path of a call's bytes between client and provider.
//!
//! If both speak the same protocol, [`relay`] passes the bytes on with the few edits that are necessary. Otherwise
//! [`bridge`] translates.

use crate::failure::Failure;

pub mod bridge;
pub mod count;
pub mod id_recorder;
pub mod owners;
pub mod recent_map;
pub mod relay;

mod blame;
mod conform;
mod edits;
mod fresh_call_ids;
mod keys;
mod ping;
mod pipeline;
mod property_restorer;
mod reasoning;
mod response_rewriter;
mod source;
mod summary;
mod template;
mod unwrap;
mod upstream;
#[cfg(test)]
mod work_tests;

pub use keys::OwnKeys;
pub use upstream::{keep_body, read_error, rename};

/// Returns the failure for an answer above the size limit. The provider may charge for it and is not to blame,
/// because the client chooses the length of the answer.
fn too_large(detail: &str) -> Failure {
    Failure::provider(detail).at_cost()
}

/// Approximate bytes per token, for English text and code.
pub const BYTES_PER_TOKEN: u64 = 4;
