//! Texts that the encoders of all protocols write alike.

use crate::json::JsonStr;

/// Text in front of instructions where there is no place for them in mid-conversation.
pub(super) const SYSTEM_NOTE: &str = "[System instruction, not written by the user]\n";

/// Text in front of the result of a tool that has failed, unless the result begins so.
pub(super) const ERROR_PREFIX: &str = "Error: ";

/// Instructions for an answer in JSON of any form.
pub(super) const ANY_OBJECT: &str = "Respond with one valid JSON object and nothing else.";

/// Instructions for an answer that matches the schema that follows.
pub(super) const OBJECT_OF_SCHEMA: &str = "Respond with one JSON object that matches this JSON schema:\n";

/// The refusal for an answer that has neither text nor a reason.
pub(super) const DECLINED: &str = "The model declined to answer.";

/// The text in the place of an image that the model has made, where the protocol has none for it.
pub(super) const IMAGE_OMITTED: JsonStr<'static> =
    JsonStr::plain("[image omitted: the Messages protocol can not return images]");

/// The schema of a function that stands for a freeform tool: its only argument is the text.
pub(super) const TEXT_INPUT_SCHEMA: &str = r#"{"type":"object","properties":{"input":{"type":"string","description":"Raw text input of the tool"}},"required":["input"],"additionalProperties":false}"#;

/// The members of the place for which a provider's search of the web is done.
pub(super) const SEARCH_LOCATION: [&str; 4] = ["city", "region", "country", "timezone"];
