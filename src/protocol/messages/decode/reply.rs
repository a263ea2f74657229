//! A provider's whole answer, as the events of its stream.

use crate::canon::{Event, Sink, UpstreamError};
use crate::json::{self, Malformed};
use crate::protocol::node::{Node, Type};

use super::stream::Decoder;

/// Reads an answer's body.
pub(super) fn read(decoder: &mut Decoder, body: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
    json::members(body.as_bytes()).finish()?;
    let body = Node::root(body);
    let content = body.find("content").filter(|content| content.kind() == Type::Array);
    let Some(content) = content else {
        if body.find("error").is_some() {
            sink(Event::Fail(UpstreamError::read(body.text.as_bytes())));
        }
        return Ok(());
    };
    decoder.start(&body, sink);
    decoder.blocks(&content, sink);
    decoder.usage(body.find("usage"), sink);
    decoder.remember(&body, sink);
    decoder.finish(sink);
    Ok(())
}
