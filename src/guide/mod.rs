//! The manual: pages without code, built and linked with it.

/// How the crate is laid out, and what must stay true.
#[doc = include_str!("architecture.md")]
pub mod architecture {}
