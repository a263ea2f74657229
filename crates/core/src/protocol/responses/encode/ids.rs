//! Ids of calls, in the form that the provider takes. The same id always becomes the same.

use std::borrow::Cow;

use crate::canon::hashed_call_id;

/// Returns the id of a call for a provider.
pub(super) fn upstream(id: &str) -> Cow<'_, str> {
    match id.len() {
        ..=MAX_ID_LEN => Cow::Borrowed(id),
        _ => Cow::Owned(hashed_call_id(id)),
    }
}

/// Characters of a call's id that OpenAI takes in this protocol: longer ones are refused.
const MAX_ID_LEN: usize = 64;
