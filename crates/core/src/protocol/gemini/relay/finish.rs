//! The finish reasons of a Gemini answer.

use crate::canon::ResponseMetadata;
use crate::json::{self, Lenient as _, find_member};

/// Notes the finish reasons of the candidates, or the reason for which the prompt was blocked.
pub(in crate::protocol::gemini) fn read(data: &[u8], metadata: &mut ResponseMetadata) {
    let blocked = find_member(data, "promptFeedback")
        .and_then(|feedback| find_member(feedback.value, "blockReason").and_then(|reason| reason.text()));
    if let Some(reason) = blocked {
        metadata.finish(&reason);
    }
    let Some(candidates) = find_member(data, "candidates") else { return };
    for (candidate, _) in json::elements(candidates.value).lenient() {
        if let Some(reason) = find_member(candidate, "finishReason").and_then(|reason| reason.text()) {
            metadata.finish(&reason);
        }
    }
}
