//! The members of a JSON object, written one after the other: by name, without a look at the names' characters.

use std::io::Write as _;

/// An object that is being written.
pub(super) struct Members<'o> {
    out: &'o mut Vec<u8>,
    begun: bool,
}

impl<'o> Members<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, begun: false }
    }

    fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        let before: &[u8] = if std::mem::replace(&mut self.begun, true) { b",\"" } else { b"{\"" };
        for part in [before, name.as_bytes(), b"\":"] {
            self.out.extend_from_slice(part);
        }
        self.out
    }

    /// Writes a text.
    pub(super) fn text(&mut self, name: &'static str, text: &str) -> serde_json::Result<()> {
        let out = self.name(name);
        // Nearly all need no escape.
        if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            return serde_json::to_writer(out, text);
        }
        for part in [b"\"", text.as_bytes(), b"\""] {
            out.extend_from_slice(part);
        }
        Ok(())
    }

    /// Writes a text if there is one.
    pub(super) fn text_if(&mut self, name: &'static str, text: Option<&str>) -> serde_json::Result<()> {
        text.map_or(Ok(()), |text| self.text(name, text))
    }

    /// Writes a time.
    pub(super) fn time(&mut self, name: &'static str, time: jiff::Timestamp) -> serde_json::Result<()> {
        write!(self.name(name), "\"{time}\"").map_err(serde_json::Error::io)
    }

    /// Writes a number if there is one.
    pub(super) fn number(&mut self, name: &'static str, number: impl Into<Option<u64>>) {
        let Some(mut left) = number.into() else { return };
        let mut digits = [0; 20];
        let mut at = digits.len();
        for place in digits.iter_mut().rev() {
            *place = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
            at -= 1;
            if left == 0 {
                break;
            }
        }
        self.name(name).extend_from_slice(digits.get(at..).unwrap_or_default());
    }

    /// Writes a number with decimals if there is one.
    pub(super) fn decimal(
        &mut self,
        name: &'static str,
        number: impl Into<Option<f64>>,
    ) -> serde_json::Result<()> {
        number.into().map_or(Ok(()), |number| serde_json::to_writer(self.name(name), &number))
    }

    /// Writes whether something is so.
    pub(super) fn flag(&mut self, name: &'static str, is: bool) {
        self.name(name).extend_from_slice(if is { b"true" } else { b"false" });
    }

    /// Ends the object.
    pub(super) fn end(self) {
        self.out.extend_from_slice(if self.begun { b"}" } else { b"{}" });
    }
}
