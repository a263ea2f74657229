//! The opening of a conversation: the text of the user's first message. It stays the same from turn to turn, so a
//! conversation to which the client gives no name is known by it.

use sha2::{Digest as _, Sha256};

use crate::json::{self, Lenient as _, Member};

use super::members::RequestMembers;

/// Adds the opening of a request's conversation to `hash`. Marks for the prompt cache, which clients move from turn to
/// turn, and everything else but texts is left out.
pub fn add_opening(body: &[u8], members: &RequestMembers, hash: &mut Sha256) {
    let is_conversation = |member: &Member<'_>| members.conversation.iter().any(|name| member.is(name));
    let Some(conversation) = json::members(body).lenient().find(is_conversation) else { return };
    let mut room = MAX_OPENING_BYTES;
    let mut add = |literal: &[u8]| {
        let text = json::text(literal).unwrap_or_default();
        let text = text.as_bytes();
        let text = text.get(..room).unwrap_or(text);
        room -= text.len();
        hash.update(text);
    };
    if !conversation.value.starts_with(b"[") {
        return add(conversation.value);
    }
    let messages = json::elements(conversation.value).lenient();
    let mut messages = messages.filter_map(|(_, span)| conversation.value.get(span));
    let Some(first) = messages.find(|message| is_users(message)) else { return };
    let Some(content) = json::members(first).lenient().find(|member| member.is("content")) else { return };
    if !content.value.starts_with(b"[") {
        return add(content.value);
    }
    for (_, span) in json::elements(content.value).lenient() {
        let part = content.value.get(span).unwrap_or_default();
        json::members(part).lenient().filter(|member| member.is("text")).for_each(|text| add(text.value));
    }
}

/// Whether a message is one of the user.
fn is_users(message: &[u8]) -> bool {
    json::members(message).lenient().any(|member| member.is("role") && member.value == br#""user""#)
}

/// Maximum length of the text that counts, in bytes: enough to tell conversations apart.
const MAX_OPENING_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ProtocolId;

    fn opening(protocol: ProtocolId, body: &str) -> Vec<u8> {
        let mut hash = Sha256::new();
        add_opening(body.as_bytes(), protocol.protocol().members(), &mut hash);
        hash.finalize().to_vec()
    }

    #[test]
    fn a_conversation_keeps_its_opening() {
        let hi = Sha256::digest("hi").to_vec();
        for (protocol, body) in [
            (
                ProtocolId::Chat,
                r#"{"messages":[{"role":"system","content":"s"},{"content":"hi","role":"user"}]}"#,
            ),
            (
                ProtocolId::Messages,
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{}}]}]}"#,
            ),
            (
                ProtocolId::Messages,
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"h"},{"type":"text","text":"\u0069"}]},{"role":"assistant","content":"x"},{"role":"user","content":"y"}]}"#,
            ),
            (ProtocolId::Responses, r#"{"input":"hi"}"#),
            (
                ProtocolId::Responses,
                r#"{"input":[{"type":"reasoning"},{"role":"user","content":[{"type":"input_text","text":"hi"}]}]}"#,
            ),
        ] {
            assert_eq!(opening(protocol, body), hi, "{body}");
        }
    }

    #[test]
    fn a_long_opening_is_not_read_to_its_end() {
        let ask = |text: &str| opening(ProtocolId::Responses, &format!(r#"{{"input":"{text}"}}"#));
        let long = "x".repeat(MAX_OPENING_BYTES);
        assert_eq!(ask(&format!("{long}a")), ask(&format!("{long}b")));
        assert_ne!(ask(&long), ask("x"));
    }

    #[test]
    fn a_conversation_without_a_user_has_no_opening() {
        let none = Sha256::new().finalize().to_vec();
        for body in
            [r#"{"messages":[]}"#, r#"{"messages":[1,{"role":"assistant","content":"x"}]}"#, "{}", "["]
        {
            assert_eq!(opening(ProtocolId::Chat, body), none, "{body}");
        }
    }
}
