//! What becomes of each top-level member of a request in the other protocols.

use crate::canon::Field;

pub(super) static FIELDS: &[Field] = &[];
