//! The members that streams and whole answers have in common: finish reasons, details of reasoning, annotations.

use crate::canon::{Citation, Finish, Seal};
use crate::json::write::{self, Array, Object};
use crate::json::{self, JsonStr, Lenient as _};
use crate::protocol::phrases;

/// Returns the finish reason in Chat's words. Some providers report `stop` although they call tools.
pub(super) fn finish_reason(finish: Option<&Finish<'_>>, calls: bool) -> &'static str {
    match finish {
        Some(Finish::ToolUse) => "tool_calls",
        None | Some(Finish::Stop) if calls => "tool_calls",
        None | Some(Finish::Stop | Finish::StopSequence(_)) => "stop",
        // An answer that its provider has paused is not complete, and this client cannot have it continued.
        Some(Finish::Length | Finish::ContextWindow | Finish::Pause | Finish::Unknown) => "length",
        Some(Finish::Refusal(_)) => "content_filter",
    }
}

/// Returns the refusal to show for a finish reason: the provider's words or, if the answer has no text, the
/// gateway's.
pub(super) fn refusal<'f>(finish: Option<&'f Finish<'_>>, text: bool) -> Option<JsonStr<'f>> {
    match finish {
        Some(Finish::Refusal(Some(words))) if !words.is_empty() => Some(words.borrow()),
        Some(Finish::Refusal(_)) if !text => Some(JsonStr::plain(phrases::DECLINED)),
        _ => None,
    }
}

/// Returns the service tier in OpenAI's words.
pub(super) fn tier(tier: &str) -> &str {
    if matches!(tier, "standard" | "batch") { "default" } else { tier }
}

/// Writes an image that the model has made.
pub(super) fn image(list: &mut Array<'_>, url: &JsonStr<'_>) {
    list.object(|o| {
        o.text("type", "image_url").object("image_url", |o| {
            o.json_str("url", url);
        });
    });
}

/// The elements of an array that is written later.
#[derive(Debug, Default)]
pub(super) struct DetailEntries {
    json: String,
    count: u64,
}

impl DetailEntries {
    /// Returns the elements without their brackets; `None` if there are none.
    pub(super) fn get(&self) -> Option<&str> {
        Some(self.json.as_str()).filter(|json| !json.is_empty())
    }

    /// Writes the array as a member, if it has any elements.
    pub(super) fn write(&self, name: &str, o: &mut Object<'_>) {
        if let Some(json) = self.get() {
            o.array(name, |list| {
                list.json(json);
            });
        }
    }

    /// Adds the details of reasoning that ends with this seal, including its text.
    pub(super) fn seal(&mut self, seal: &Seal<'_>, text: &JsonStr<'_>) {
        match seal {
            Seal::Signature(signature) => self.entry("reasoning.text", |o| {
                o.json_str("text", text)
                    .json_str("signature", signature)
                    .text("format", ANTHROPIC)
                    .null("id");
            }),
            Seal::Redacted(data) => self.entry("reasoning.encrypted", |o| {
                o.json_str("data", data).text("format", ANTHROPIC).null("id");
            }),
            Seal::Encrypted { id, content, .. } => {
                if !text.is_empty() {
                    self.entry("reasoning.summary", |o| {
                        o.json_str("summary", text);
                    });
                }
                self.entry("reasoning.encrypted", |o| {
                    o.json_str("data", content);
                    match id {
                        Some(id) => o.json_str("id", id),
                        None => o.null("id"),
                    };
                    o.text("format", OPENAI);
                });
            }
            Seal::Details(entries) => {
                for (element, _) in json::elements(entries.get().as_bytes()).lenient() {
                    self.add(&String::from_utf8_lossy(element));
                }
            }
            Seal::Text(signature) => self.entry("reasoning.encrypted", |o| {
                o.json_str("data", signature).text("format", GOOGLE).null("id");
            }),
            Seal::Plain | Seal::Call { .. } => {}
        }
    }

    /// Adds an annotation, with its index in the list if `indexed`.
    pub(super) fn cite(&mut self, cite: &Citation<'_>, span: (u64, u64), indexed: bool) {
        let index = self.count;
        self.object(|o| {
            if indexed {
                o.number("index", index);
            }
            o.text("type", "url_citation").object("url_citation", |o| {
                o.json_str("url", &cite.url).json_str("title", &cite.title);
                o.number("start_index", span.0).number("end_index", span.1);
            });
        });
    }

    fn entry(&mut self, kind: &str, fill: impl FnOnce(&mut Object<'_>)) {
        let index = self.count;
        self.object(|o| {
            o.text("type", kind);
            fill(o);
            o.number("index", index);
        });
    }

    fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        let mut out = Vec::new();
        write::object(&mut out, fill);
        self.add(&String::from_utf8_lossy(&out));
    }

    fn add(&mut self, json: &str) {
        if self.count > 0 {
            self.json.push(',');
        }
        self.json.push_str(json);
        self.count += 1;
    }
}

/// Formats of `reasoning_details`, which show the family that they come from.
const ANTHROPIC: &str = "anthropic-claude-v1";
const OPENAI: &str = "openai-responses-v1";
const GOOGLE: &str = "google-gemini-v1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finish_has_its_reason() {
        for (finish, reason) in [
            (Finish::Stop, "stop"),
            (Finish::StopSequence(None), "stop"),
            (Finish::ToolUse, "tool_calls"),
            (Finish::Length, "length"),
            (Finish::ContextWindow, "length"),
            (Finish::Pause, "length"),
            (Finish::Unknown, "length"),
            (Finish::Refusal(None), "content_filter"),
        ] {
            assert_eq!(finish_reason(Some(&finish), false), reason);
        }
        assert_eq!(finish_reason(None, true), "tool_calls");
        assert_eq!(finish_reason(None, false), "stop");
    }

    #[test]
    fn tiers_are_called_as_openai_calls_them() {
        assert_eq!(
            ["standard", "batch", "priority", "flex"].map(tier),
            ["default", "default", "priority", "flex"]
        );
    }
}
