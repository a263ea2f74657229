//! The number of tokens in a request: the provider's count, or an estimate if no provider can be asked.

use bytes::Bytes;

use crate::canon::{Args, Part, ProtocolId, Request, Source, ToolKind};
use crate::failure::{Failure, Result};
use crate::json::{self, Lenient as _, write};

use super::BYTES_PER_TOKEN;

/// Reads the count in a provider's answer.
///
/// # Errors
/// Returns 502 if there is no count.
pub fn read(body: &[u8]) -> Result<u64> {
    let members = json::members(body).lenient();
    let count = members.filter(|member| member.is("input_tokens") || member.is("totalTokens")).last();
    count
        .and_then(|member| member.unsigned())
        .ok_or_else(|| Failure::provider("the provider counted no tokens"))
}

/// Writes the answer for a client of this protocol.
#[must_use]
pub fn write(client: ProtocolId, tokens: u64) -> Bytes {
    let mut out = Vec::new();
    write::object(&mut out, |o| {
        if client == ProtocolId::Responses {
            o.text("object", "response.input_tokens");
        }
        o.number(if client == ProtocolId::Gemini { "totalTokens" } else { "input_tokens" }, tokens);
    });
    out.into()
}

/// Estimates a request: one token for four bytes of text, and a fixed number for each image, document page or
/// sound.
#[must_use]
pub fn estimate(request: &Request<'_>) -> u64 {
    let mut sum = Sum::default();
    request.system.iter().for_each(|text| sum.text(text.text.raw()));
    request.turns.iter().flat_map(|turn| &turn.parts).for_each(|part| sum.part(part));
    for tool in request.tools.iter().chain(request.turns.iter().flat_map(|turn| &turn.tools)) {
        sum.text(&tool.name);
        sum.text(tool.description.as_ref().map_or("", |text| text.raw()));
        if let ToolKind::Function { schema: Some(schema), .. } = &tool.kind {
            sum.text(schema.get());
        }
    }
    sum.bytes.div_ceil(BYTES_PER_TOKEN) + sum.tokens
}

#[derive(Default)]
struct Sum {
    bytes: u64,
    tokens: u64,
}

impl Sum {
    fn text(&mut self, text: &str) {
        self.bytes += text.len() as u64;
    }

    fn part(&mut self, part: &Part<'_>) {
        match part {
            Part::Text(text) => self.text(text.text.raw()),
            Part::Refusal(text) => self.text(text.raw()),
            Part::Image(_) => self.tokens += IMAGE_TOKENS,
            Part::Document(document) => match &document.source {
                Source::Text(text) => self.text(text.raw()),
                Source::Base64 { data, .. } => self.tokens += pages(data.len() as u64),
                Source::Url(_) => self.tokens += DOCUMENT_TOKENS,
            },
            Part::Audio(audio) => self.tokens += pages(audio.data.raw().len() as u64),
            Part::Reasoning(reasoning) => self.text(reasoning.text.as_ref().map_or("", |text| text.raw())),
            Part::Call(call) => {
                self.text(&call.name);
                match &call.args {
                    Args::Str(text) => self.text(text.raw()),
                    Args::Raw(json) => self.text(json.get()),
                }
            }
            Part::Result(result) => result.content.iter().for_each(|part| match part {
                // Results do not contain results, so this recurses only one level deep.
                Part::Result(_) => {}
                part => self.part(part),
            }),
        }
    }
}

fn pages(base64: u64) -> u64 {
    (base64 / 4 * 3).div_ceil(DOCUMENT_BYTES) * DOCUMENT_TOKENS
}

/// Estimated tokens of an image of usual size.
const IMAGE_TOKENS: u64 = 1600;

/// Estimated tokens of a document, for each [`DOCUMENT_BYTES`] of it.
const DOCUMENT_TOKENS: u64 = 1500;

const DOCUMENT_BYTES: u64 = 100 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Image, Role, Text, Turn};
    use crate::json::JsonStr;

    #[test]
    fn reads_and_writes_counts() {
        assert_eq!(read(br#"{"object":"x","input_tokens":7}"#).unwrap(), 7);
        assert_eq!(read(br#"{"totalTokens":7}"#).unwrap(), 7);
        assert_eq!(write(ProtocolId::Gemini, 7), r#"{"totalTokens":7}"#);
        assert!(read(br#"{"tokens":7}"#).is_err());
        assert_eq!(write(ProtocolId::Messages, 7), r#"{"input_tokens":7}"#);
        assert_eq!(write(ProtocolId::Responses, 7), r#"{"object":"response.input_tokens","input_tokens":7}"#);
    }

    #[test]
    fn estimates_by_bytes_and_by_picture() {
        let image = Image {
            source: Source::Url(JsonStr::plain("u")),
            path: String::new(),
            detail: None,
            cache: None,
        };
        let parts = vec![Part::Text(Text::new(JsonStr::plain("123456789"))), Part::Image(image)];
        let request = Request { turns: vec![Turn::new(Role::User, parts)], ..Request::default() };
        assert_eq!(estimate(&request), 3 + 1600);
    }
}
