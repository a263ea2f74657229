//! A stand-in for traces in a build without the feature `otel`. It does nothing.

use std::time::Instant;

use http::{HeaderMap, HeaderValue};

use crate::canon::ResponseMetadata;

use super::access::AccessLine;
use super::labels::AttemptFailure;
use super::target::Tried;

/// Nobody.
#[derive(Debug)]
pub struct Tracer;

/// Nothing.
#[derive(Debug, Default)]
pub struct Trace(());

impl Tracer {
    /// Makes a tracer that does nothing, whatever the environment says.
    ///
    /// # Errors
    /// Fails never; the result is only the same as with the feature `otel`.
    pub fn from_env() -> Result<Self, String> {
        Ok(Self)
    }

    /// Makes a trace that does nothing.
    #[must_use]
    pub fn call(&self, _: &HeaderMap, _: Instant) -> Trace {
        Trace(())
    }

    /// Does nothing.
    pub fn close(&self) {}
}

impl Trace {
    /// Does nothing.
    pub fn attempt(&mut self, _: &Tried<'_>) {}

    /// Does nothing.
    pub fn answered(&mut self, _: u16) {}

    /// Does nothing.
    pub fn failed(&mut self, _: AttemptFailure) {}

    /// None.
    #[must_use]
    pub fn headers(&self) -> Option<[(&'static str, HeaderValue); 2]> {
        None
    }

    /// Does nothing.
    pub fn end(&mut self, _: &AccessLine<'_>, _: &'static str, _: &ResponseMetadata) {}
}
