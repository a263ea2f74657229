//! What happens to a call's bytes between client and provider.
//!
//! Where both speak the same protocol, [`relay`] passes them on with the few edits that must be.

pub mod relay;

mod upstream;

pub use upstream::{keep_body, read_error, rename};
