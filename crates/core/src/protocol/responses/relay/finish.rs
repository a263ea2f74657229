//! Why a Responses answer ends.

use crate::canon::ResponseMetadata;
use crate::json::{self, Lenient as _, find_member};

/// Notes why a whole answer, or the one that an event's `response` is, has ended: its status, or what
/// it is incomplete for.
pub(in crate::protocol::responses) fn read(data: &[u8], metadata: &mut ResponseMetadata) {
    let response = find_member(data, "response");
    let response = response.as_ref().map_or(data, |response| response.value);
    let (mut status, mut detail) = (None, None);
    for found in json::members(response).lenient() {
        match found.key {
            b"status" => status = found.text(),
            b"incomplete_details" => {
                detail = Some(find_member(found.value, "reason").and_then(|why| why.text()));
            }
            _ => {}
        }
        // Both stand at the beginning; what follows may be long.
        if status.is_some() && detail.is_some() {
            break;
        }
    }
    match detail.flatten().or(status) {
        Some(reason) if !matches!(&*reason, "in_progress" | "queued") => metadata.finish(&reason),
        _ => {}
    }
}
