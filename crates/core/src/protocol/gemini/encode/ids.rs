//! The ids of calls.

use crate::json::write::Object;

/// Writes the id of a call or of its result. The provider takes ids of any form.
pub(super) fn write(id: &str, o: &mut Object<'_>) {
    if !id.is_empty() {
        o.text("id", id);
    }
}
