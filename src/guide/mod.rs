//! The manual: pages without code, built and linked with it.

/// How the crate is laid out, and what must stay true.
#[doc = include_str!("architecture.md")]
pub mod architecture {}

/// How a gateway is run, changed and watched.
#[doc = include_str!("operations.md")]
pub mod operations {}

/// The front page; here, so that the code in it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub mod readme {}

/// What becomes of a request's members where client and provider speak different protocols.
#[doc = include_str!("fidelity.md")]
pub mod fidelity {}
