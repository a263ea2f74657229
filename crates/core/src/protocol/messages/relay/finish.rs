//! The stop reason of a Messages answer.

use crate::canon::ResponseMetadata;
use crate::json::find_member;

/// Notes the stop reason of a complete answer or of a `message_delta`.
pub(in crate::protocol::messages) fn read(data: &[u8], metadata: &mut ResponseMetadata) {
    let whole = find_member(data, "stop_reason");
    let reason = whole.or_else(|| find_member(find_member(data, "delta")?.value, "stop_reason"));
    if let Some(reason) = reason.and_then(|reason| reason.text()) {
        metadata.finish(&reason);
    }
}
