//! What happens to a call's bytes between client and provider.
//!
//! Where both speak the same protocol, [`relay`] passes them on with the few edits that must be; where they
//! do not, [`bridge`] translates.

use crate::failure::Failure;

pub mod bridge;
pub mod count;
pub mod owners;
pub mod relay;

mod blame;
mod keys;
mod pipeline;
mod reasoning;
mod response_rewriter;
mod source;
mod template;
mod unwrap;
mod upstream;
#[cfg(test)]
mod work_tests;

pub use keys::OwnKeys;
pub use upstream::{keep_body, read_error, rename};

/// The failure of a provider whose answer is larger than may be: how much it says is its client's to ask for, and may be
/// what the client has said before.
fn too_large(detail: &str) -> Failure {
    Failure::provider(detail).at_cost()
}

/// Bytes of English text or of code for one token, roughly.
pub const BYTES_PER_TOKEN: u64 = 4;
