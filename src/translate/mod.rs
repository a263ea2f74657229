//! What happens to a call's bytes between client and provider.
//!
//! Where both speak the same protocol, [`relay`] passes them on with the few edits that must be; where they
//! do not, [`bridge`] translates.

pub mod bridge;
pub mod count;
pub mod relay;

mod restore;
mod source;
mod unwrap;
mod upstream;

pub use upstream::{keep_body, read_error, rename};

/// Bytes of English text or of code for one token, roughly.
pub const BYTES_PER_TOKEN: u64 = 4;
