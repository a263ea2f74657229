//! Finish reasons of answers, and their repair for providers that report `stop` although tools are called.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;

use crate::canon::ResponseMetadata;
use crate::json::{self, Edit, Lenient as _, find_member};

/// Returns the edits of a complete answer, or of one chunk of a stream. `called` has the choices that have called
/// tools before.
pub(in crate::protocol::chat) fn edits(data: &[u8], called: &mut BTreeSet<u64>) -> Vec<Edit> {
    let Some(choices) = find_member(data, "choices") else { return Vec::new() };
    let mut edits = Vec::new();
    for (choice, span) in json::elements(choices.value).lenient() {
        let index = find_member(choice, "index").and_then(|index| index.unsigned()).unwrap_or(0);
        if calls(choice) {
            called.insert(index);
        }
        let finish = find_member(choice, "finish_reason").filter(|finish| finish.value == b"\"stop\"");
        if let Some(finish) = finish.filter(|_| called.contains(&index)) {
            let at = choices.span.start + span.start;
            edits.push((moved(&finish.span, at), Bytes::from_static(b"\"tool_calls\"")));
        }
    }
    edits
}

/// Notes the finish reasons of the choices.
pub(in crate::protocol::chat) fn read(data: &[u8], metadata: &mut ResponseMetadata) {
    let reasons = json::members_of_each(data, "choices").filter(|member| member.is("finish_reason"));
    for reason in reasons.filter_map(|member| member.text()) {
        metadata.finish(&reason);
    }
}

/// Whether a choice holds a call, or a piece of one.
fn calls(choice: &[u8]) -> bool {
    let content = find_member(choice, "delta").or_else(|| find_member(choice, "message"));
    let calls = content.and_then(|content| find_member(content.value, "tool_calls"));
    calls.is_some_and(|calls| json::elements(calls.value).next().is_some_and(|call| call.is_ok()))
}

fn moved(span: &Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::splice;

    fn repaired(chunks: &[&str]) -> Vec<String> {
        let mut called = BTreeSet::new();
        let repaired = |chunk: &&str| splice(chunk.as_bytes(), &edits(chunk.as_bytes(), &mut called));
        chunks.iter().map(repaired).map(|chunk| String::from_utf8(chunk).unwrap()).collect()
    }

    #[test]
    fn a_choice_that_has_called_a_tool_ends_so() {
        let call = r#"{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0}]}}]}"#;
        let ends =
            r#"{"choices":[{"index":0,"finish_reason":"stop"}, { "finish_reason" : "stop","index":1}]}"#;
        let expected = ends.replace(r#" : "stop""#, r#" : "tool_calls""#);
        assert_eq!(repaired(&[call, ends]), [call, &expected]);
        let whole = r#"{"choices":[{"message":{"tool_calls":[{}]},"finish_reason":"stop"}]}"#;
        assert_eq!(repaired(&[whole]), [whole.replace("stop", "tool_calls")]);
    }

    #[test]
    fn other_ends_stay() {
        for chunk in [
            r#"{"choices":[{"delta":{"tool_calls":[]},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{}]},"finish_reason":"length"}]}"#,
            r#"{"choices":[{"delta":{"content":"tool_calls"},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ] {
            assert_eq!(repaired(&[chunk]), [chunk]);
        }
    }
}
