//! A provider's answer, event by event.

use crate::canon::{Decode, Profile, Sink};
use crate::json::Malformed;

/// Reads the answer of a provider.
#[derive(Debug)]
pub(in crate::protocol::responses) struct Decoder;

impl Decoder {
    pub(in crate::protocol::responses) fn new(_profile: &Profile) -> Self {
        Self
    }
}

impl Decode for Decoder {
    fn event(&mut self, _name: Option<&str>, _data: &str, _sink: &mut Sink<'_>) -> Result<(), Malformed> {
        Ok(())
    }

    fn reply(&mut self, _body: &str, _sink: &mut Sink<'_>) -> Result<(), Malformed> {
        Ok(())
    }

    fn end(&mut self, _sink: &mut Sink<'_>) {}
}
