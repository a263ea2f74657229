//! The user's messages in a request, which a compaction keeps.

use bytes::Bytes;

use crate::canon::base62;
use crate::json::write::{self, Object};
use crate::json::{Document, Lenient as _, MarkHint};

/// Writes the messages as items, separated by commas.
pub(super) fn write(document: &Document<'_>, request_id: &str) -> Bytes {
    let mut kept = KeptMessages { document, id: base62(request_id, ID_LEN), out: Vec::new(), count: 0 };
    let body = document.text();
    let members = document.members(body.as_bytes(), MarkHint::ROOT).lenient();
    let input = members.filter(|(member, _)| member.is("input")).last();
    if let Some((input, hint)) = input.and_then(|(member, hint)| Some((body.get(member.span)?, hint))) {
        if input.starts_with('"') {
            kept.message(Some(input));
        }
        for (span, _) in document.elements(input.as_bytes(), hint).lenient() {
            if let Some(content) = input.get(span).and_then(|item| kept.content(item)) {
                kept.message(Some(content));
            }
        }
    }
    kept.out.into()
}

struct KeptMessages<'d, 'a> {
    document: &'d Document<'a>,
    id: String,
    out: Vec<u8>,
    count: usize,
}

impl KeptMessages<'_, '_> {
    /// Returns the content of an item, if it is a message of the user.
    fn content<'i>(&self, item: &'i str) -> Option<&'i str> {
        let (mut is_message, mut is_users, mut content) = (true, false, None);
        for (member, _) in self.document.members(item.as_bytes(), MarkHint::ROOT).lenient() {
            let value = item.get(member.span.clone())?;
            match member.key {
                b"type" => is_message = value == "\"message\"",
                b"role" => is_users = value == "\"user\"",
                b"content" => content = Some(value),
                _ => {}
            }
        }
        content.filter(|_| is_message && is_users)
    }

    /// Writes a message with this content: a text, or parts.
    fn message(&mut self, content: Option<&str>) {
        let Some(content) = content.and_then(|content| self.document.raw(content)) else { return };
        if !self.out.is_empty() {
            self.out.push(b',');
        }
        let (document, id) = (self.document, format!("msg_{}_{}", self.id, self.count));
        let compact = |o: &mut Object<'_>, name: &str| {
            o.value(name, |out| document.compact(content.get(), out));
        };
        write::object(&mut self.out, |o| {
            o.text("id", &id).text("type", "message").text("status", "completed").text("role", "user");
            if content.get().starts_with('"') {
                o.array("content", |list| {
                    list.object(|o| {
                        o.text("type", "input_text");
                        compact(o, "text");
                    });
                });
            } else {
                compact(o, "content");
            }
        });
        self.count += 1;
    }
}

/// Number of characters in the common part of the messages' ids.
const ID_LEN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(body: &str) -> String {
        let bytes = write(&Document::read(body), "req_1");
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn only_messages_of_the_user_are_kept() {
        let body = r#"{"input":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"type":"function_call","role":"user","content":"x"},
            {"type":"message","role":"user","content":[ {"type":"input_text","text":"c"} ]}]}"#;
        let id = base62("req_1", ID_LEN);
        let head = |n: u8| {
            format!(r#"{{"id":"msg_{id}_{n}","type":"message","status":"completed","role":"user","content":"#)
        };
        let (a, c) = (r#"[{"type":"input_text","text":"a"}]}"#, r#"[{"type":"input_text","text":"c"}]}"#);
        assert_eq!(kept(body), format!("{}{a},{}{c}", head(0), head(1)));
        assert_eq!(kept(r#"{"input":"a"}"#), format!("{}{a}", head(0)));
        assert_eq!(kept("{}"), "");
    }
}
