//! Detection of reasoning in the events of a relayed stream.

use memchr::memmem;

/// Whether the data of an event holds a piece of reasoning, in any of the protocols. Quotes inside of texts are
/// escaped, so text about reasoning does not match.
pub(super) fn shows(data: &[u8]) -> bool {
    KINDS.iter().any(|kind| has(data, b"\"type\"", |value| value.starts_with(kind)))
        || MEMBERS.iter().any(|name| has(data, name, holds_text))
}

/// Whether a member of this name, anywhere in the data, has a value that fits.
fn has(data: &[u8], name: &[u8], fits: impl Fn(&[u8]) -> bool) -> bool {
    memmem::find_iter(data, name).any(|at| {
        let rest = data.get(at + name.len()..).unwrap_or_default().trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|value| fits(value.trim_ascii_start()))
    })
}

fn holds_text(value: &[u8]) -> bool {
    value.starts_with(b"\"") && !value.starts_with(b"\"\"")
}

/// Types of blocks in Messages and of items in Responses.
const KINDS: [&[u8]; 3] = [b"\"thinking", b"\"redacted_thinking", b"\"reasoning"];

/// Members of a delta in Chat.
const MEMBERS: [&[u8]; 2] = [b"\"reasoning_content\"", b"\"reasoning\""];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_reasoning_are_told_from_words_about_it() {
        for data in [
            r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"content":"", "reasoning" : "hm"}}]}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
            r#"{"type":"response.output_item.added","item":{"id":"rs_1", "type": "reasoning"}}"#,
        ] {
            assert!(shows(data.as_bytes()), "{data}");
        }
        for data in [
            r#"{"choices":[{"delta":{"content":"a","reasoning":null,"reasoning_content":""}}]}"#,
            r#"{"choices":[{"delta":{"content":"{\"type\":\"reasoning\",\"reasoning\":\"x\"}"}}]}"#,
            r#"{"type":"response.created","response":{"reasoning":{"effort":"low","summary":null}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ] {
            assert!(!shows(data.as_bytes()), "{data}");
        }
    }
}
