//! The end of a Responses answer: its status, and the reason for which it is incomplete.

use crate::canon::ResponseMetadata;
use crate::json::{self, Lenient as _, find_member};

/// Notes the end of a complete answer, or of the answer in an event's `response`: the reason for which it is
/// incomplete, or its status.
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
        // Both stand at the beginning, and the rest may be long.
        if status.is_some() && detail.is_some() {
            break;
        }
    }
    match detail.flatten().or(status) {
        Some(reason) if !matches!(&*reason, "in_progress" | "queued") => metadata.finish(&reason),
        _ => {}
    }
}
