//! The end of a conversation: the user's last message, and the last tool result.
//!
//! Comes in: the messages or input items of a request, of any of the three protocols. Goes out: a [`Conversation`].
//! It goes backwards from the last message and reads no further than it must: agents send long histories.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{loose, read_or_default};

/// The last words of a conversation.
#[derive(Default)]
pub(super) struct Conversation {
    /// The text of the last user message that has a text or an image.
    pub(super) user: String,
    /// The images in that message.
    pub(super) images: usize,
    /// The text of the last tool result, if one came after the last assistant message.
    pub(super) result: Option<String>,
}

impl Conversation {
    /// Reads the messages; a string is one user message.
    pub(super) fn read(raw: Option<&RawValue>) -> Self {
        if raw.is_some_and(|raw| raw.get().starts_with('"')) {
            return Self { user: read_or_default(raw), ..Self::default() };
        }
        let items: Vec<ConversationItem<'_>> = read_or_default(raw);
        let (mut conversation, mut fresh, mut found) = (Self::default(), true, false);
        for item in items.iter().rev() {
            match item.speaker() {
                Speaker::Assistant => fresh = false,
                Speaker::Tool if fresh => {
                    conversation.take_result(MessageContent::read(item.output.or(item.content)).text);
                }
                Speaker::User if fresh || !found => {
                    found |= conversation.take_user(item.content, fresh, found);
                }
                _ => {}
            }
            if found && !fresh {
                break;
            }
        }
        conversation
    }

    /// Takes in a user message, and returns whether it contains anything.
    fn take_user(&mut self, raw: Option<&RawValue>, fresh: bool, found: bool) -> bool {
        let content = MessageContent::read(raw);
        if let Some(result) = content.result.filter(|_| fresh) {
            self.take_result(result);
        }
        if content.speaks && !found {
            (self.user, self.images) = (content.text, content.images);
        }
        content.speaks
    }

    /// Takes in a tool result. The walk goes backwards, so the first one seen is the last one of the conversation.
    fn take_result(&mut self, text: String) {
        self.result.get_or_insert(text);
    }
}

#[derive(Default)]
struct MessageContent {
    text: String,
    images: usize,
    result: Option<String>,
    speaks: bool,
}

impl MessageContent {
    fn read(raw: Option<&RawValue>) -> Self {
        if raw.is_some_and(|raw| raw.get().starts_with('"')) {
            return Self { text: read_or_default(raw), speaks: true, ..Self::default() };
        }
        let parts: Vec<ContentPart<'_>> = read_or_default(raw);
        let texts: Vec<&str> = parts.iter().filter_map(ContentPart::text).collect();
        let images =
            parts.iter().filter(|part| part.kind.ends_with("image") || part.kind == "image_url").count();
        let result = parts.iter().rfind(|part| part.kind == "tool_result");
        Self {
            text: texts.join(" "),
            images,
            result: result.map(|part| Self::read(part.content).text),
            speaks: images > 0 || !texts.is_empty(),
        }
    }
}

/// The one who speaks in an item.
enum Speaker {
    User,
    Assistant,
    Tool,
    Other,
}

/// A message or an input item.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ConversationItem<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

impl ConversationItem<'_> {
    fn speaker(&self) -> Speaker {
        match (&*self.role, &*self.kind) {
            ("user", _) => Speaker::User,
            ("assistant", _) => Speaker::Assistant,
            ("tool" | "function", _) => Speaker::Tool,
            (_, kind) if kind.ends_with("_call_output") => Speaker::Tool,
            (_, kind) if kind.ends_with("_call") || kind == "reasoning" => Speaker::Assistant,
            _ => Speaker::Other,
        }
    }
}

/// A part of a message.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ContentPart<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "loose")]
    text: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

impl ContentPart<'_> {
    fn text(&self) -> Option<&str> {
        matches!(&*self.kind, "text" | "input_text" | "output_text").then_some(&*self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::DemoRequest;

    fn conversation(body: &str) -> (String, usize, Option<String>) {
        let conversation = DemoRequest::read(body.as_bytes()).unwrap().conversation;
        (conversation.user, conversation.images, conversation.result)
    }

    #[test]
    fn reads_the_last_user_text_of_each_protocol() {
        let hi = ("a b".to_owned(), 1, None);
        let chat = r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"},
            {"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}},
            {"type":"text","text":"b"}]}]}"#;
        let responses = r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"a"},
            {"type":"input_image","image_url":"u"},{"type":"input_text","text":"b"}]}]}"#;
        let messages = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},
            {"type":"image","source":{}},{"type":"text","text":"b"}]}]}"#;
        assert_eq!(
            [conversation(chat), conversation(responses), conversation(messages)],
            [hi.clone(), hi.clone(), hi]
        );
        assert_eq!(conversation(r#"{"input":"a"}"#), ("a".to_owned(), 0, None));
    }

    #[test]
    fn reads_the_tool_result_of_each_protocol() {
        let done = ("q".to_owned(), 0, Some("21".to_owned()));
        let chat = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null},
            {"role":"tool","tool_call_id":"c","content":"21"}]}"#;
        let responses = r#"{"input":[{"role":"user","content":"q"},{"type":"function_call","call_id":"c"},
            {"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"21"}]}]}"#;
        let messages = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"21"}]}]}"#;
        assert_eq!(
            [conversation(chat), conversation(responses), conversation(messages)],
            [done.clone(), done.clone(), done]
        );
    }

    #[test]
    fn a_result_counts_until_the_assistant_speaks() {
        let with = |last: &str| {
            let body = format!(
                r#"{{"messages":[{{"role":"tool","content":"r"}},{last}{{"role":"user","content":"then"}}]}}"#
            );
            conversation(&body)
        };
        assert_eq!(with(""), ("then".to_owned(), 0, Some("r".to_owned())));
        assert_eq!(with(r#"{"role":"assistant","content":"ok"},"#), ("then".to_owned(), 0, None));
    }
}
