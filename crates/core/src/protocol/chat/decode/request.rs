//! Decoding of a client's request.

use crate::canon::{Extra, FieldPolicy, Format, Losses, Request, Target, not_carried};
use crate::failure::{Failure, Kind, Result};
use crate::json::{Document, JsonStr, Raw};
use crate::protocol::chat::fields::FIELDS;
use crate::protocol::field;
use crate::protocol::node::{Node, Type};
use crate::protocol::pick::{unknown_member, unused_members};

use super::{content, message, reasoning, tools};

/// Reads a request that goes to `target`.
pub(in crate::protocol::chat) fn read<'a>(
    document: &Document<'a>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Request<'a>> {
    let mut reader = ChatRequestReader {
        target,
        losses,
        request: Request::default(),
        messages: false,
        limit: None,
        structured: None,
        long: false,
    };
    Node::of(document).members(|name, node| reader.member(name, node))?;
    reader.finish()
}

struct ChatRequestReader<'a, 't, 'l> {
    target: &'t Target<'t>,
    losses: &'l mut Losses,
    request: Request<'a>,
    /// Whether there were any messages.
    messages: bool,
    /// The value of `max_tokens`, which counts if `max_completion_tokens` is missing.
    limit: Option<u64>,
    /// The format in the words of vLLM, which counts if `response_format` is missing.
    structured: Option<Format<'a>>,
    /// Whether all marks for the prompt cache are to last long.
    long: bool,
}

impl<'a> ChatRequestReader<'a, '_, '_> {
    fn member(&mut self, name: &str, node: Node<'a, '_>) -> Result<()> {
        let known = FIELDS.iter().find(|field| field.name == name);
        let decided = match known.map(|field| (field, field.policy(self.target.protocol))) {
            Some((field, _)) if field.is_neutral(node.text) => return Ok(()),
            // Also of a member that has no effect, what nobody knows is told.
            Some((_, carry)) => matches!(carry, FieldPolicy::Dropped | FieldPolicy::Refused),
            None => true,
        };
        if decided || !self.known(name, node)? {
            return field::take(FIELDS, name, &node, self.target, &mut self.request, self.losses);
        }
        Ok(())
    }

    /// Reads a member that has its own place in the canonical form; false for all others.
    fn known(&mut self, name: &str, node: Node<'a, '_>) -> Result<bool> {
        let request = &mut self.request;
        match name {
            "model" => {}
            "messages" => self.messages = message::read(node, request, self.target, self.losses)?,
            "stream" => request.stream = node.bool()?,
            "stream_options" => self.stream_options(node)?,
            "max_completion_tokens" => request.max_output = Some(limit(node)?),
            "max_tokens" => self.limit = Some(limit(node)?),
            "temperature" => request.samplers.temperature = Some(node.number()?),
            "top_p" => request.samplers.top_p = Some(node.number()?),
            "top_k" => request.samplers.top_k = Some(node.number()?),
            "logprobs" => {
                if node.bool()? {
                    request.logprobs.get_or_insert(0);
                }
            }
            "top_logprobs" => request.logprobs = Some(node.count()?),
            "stop" => request.stop = stop(node)?,
            "parallel_tool_calls" => request.parallel = Some(node.bool()?),
            "response_format" => request.format = format(node, self.losses)?,
            "structured_outputs" => self.structured = Some(structured_outputs(&node)?),
            "verbosity" => request.verbosity = Some(node.json_str()?),
            "modalities" => modalities(node)?,
            "safety_identifier" => request.user = Some(node.string()?),
            "user" => {
                let user = node.string()?;
                request.user.get_or_insert(user);
            }
            "service_tier" => request.tier = Some(node.string()?),
            "cache_control" => request.cache = Some(content::cache(node)?),
            "prompt_cache_options" => return self.cache_options(node),
            _ => {
                let losses = &mut *self.losses;
                return Ok(tools::member(name, node, request, losses)?
                    || reasoning::member(name, node, request, losses)?);
            }
        }
        Ok(true)
    }

    fn stream_options(&mut self, node: Node<'a, '_>) -> Result<()> {
        let (target, losses, request) = (self.target, &mut *self.losses, &mut self.request);
        node.members(|name, node| {
            match name {
                "include_usage" => request.include_usage = node.bool()?,
                // This is the only option that Responses has, too.
                "include_obfuscation" if target.protocol == crate::canon::ProtocolId::Responses => {
                    let value = if node.bool()? { OBFUSCATED } else { CLEAR };
                    request.extra.push(Extra { name: "stream_options".into(), value: Raw::constant(value) });
                }
                _ => losses.drop(&node.path)?,
            }
            Ok(())
        })
    }

    /// Reads the cache options. If marks for the cache are part of the prompt, only their lifetime is taken from
    /// here.
    fn cache_options(&mut self, node: Node<'a, '_>) -> Result<bool> {
        let forwarded = FIELDS.iter().find(|field| field.name == "prompt_cache_options");
        if forwarded.is_some_and(|field| field.policy(self.target.protocol) == FieldPolicy::Forwarded) {
            return Ok(false);
        }
        let (losses, long) = (&mut *self.losses, &mut self.long);
        node.members(|name, node| match name {
            "ttl" => {
                *long = content::is_long(&node);
                Ok(())
            }
            _ => losses.drop(&node.path),
        })?;
        Ok(true)
    }

    fn finish(mut self) -> Result<Request<'a>> {
        if !self.messages {
            return Err(Failure::new(Kind::InvalidMessages, "'messages' must be a list that is not empty.")
                .with_param("messages"));
        }
        self.request.max_output = self.request.max_output.or(self.limit);
        if let (Format::Text, Some(format)) = (&self.request.format, self.structured.take()) {
            self.request.format = format;
        }
        if self.long {
            content::lengthen(&mut self.request);
        }
        self.request.thinking.is_carried = true;
        Ok(self.request)
    }
}

/// A limit of tokens, which cannot be zero.
fn limit(node: Node<'_, '_>) -> Result<u64> {
    match node.count()? {
        0 => Err(node.wrong("a number above zero")),
        count => Ok(count),
    }
}

fn stop<'a>(node: Node<'a, '_>) -> Result<Vec<JsonStr<'a>>> {
    if node.kind() == Type::String {
        return Ok(vec![node.json_str()?]);
    }
    let mut stop = Vec::new();
    node.items(|node| {
        stop.push(node.json_str()?);
        Ok(())
    })?;
    Ok(stop)
}

/// Accepts only text: any other modality would have to be spoken.
fn modalities(node: Node<'_, '_>) -> Result<()> {
    node.items(|item| match item.string()?.as_ref() {
        "text" => Ok(()),
        _ => Err(not_carried(node.path.to_string())),
    })
}

fn format<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Format<'a>> {
    let (mut kind, mut schema) = (None, None);
    node.members(|name, node| {
        match name {
            "type" => kind = Some(node.string()?),
            "json_schema" => schema = Some(node.text),
            _ => unknown_member(&node, losses)?,
        }
        Ok(())
    })?;
    let other = schema.filter(|_| matches!(kind.as_deref(), Some("text" | "json_object")));
    unused_members(&node, [("json_schema", other)], losses)?;
    match (kind.as_deref(), schema) {
        (Some("text"), _) => Ok(Format::Text),
        (Some("json_object"), _) => Ok(Format::JsonObject),
        (Some("json_schema"), Some(text)) => json_schema(node.at("json_schema", text), losses),
        (Some("json_schema"), None) => Err(node.missing("json_schema").wrong("an object")),
        _ => Err(not_carried(node.path.key("type").to_string())),
    }
}

/// Reads vLLM's `structured_outputs`: a schema, as an object or its text, or any object.
fn structured_outputs<'a>(node: &Node<'a, '_>) -> Result<Format<'a>> {
    let (mut format, mut other) = (None, false);
    node.members(|name, inner| {
        match name {
            "json" => {
                let schema = match inner.kind() {
                    Type::String => Raw::read_owned(inner.string()?.into_owned()),
                    _ => Some(inner.raw()?),
                };
                let schema = schema.ok_or_else(|| inner.wrong("a JSON schema"))?;
                let name = Some(JsonStr::plain("response"));
                format = Some(Format::Schema { name, description: None, schema, strict: Some(true) });
            }
            "json_object" if inner.text == "true" => {
                format.get_or_insert(Format::JsonObject);
            }
            _ => other |= inner.text != "false",
        }
        Ok(())
    })?;
    format.filter(|_| !other).ok_or_else(|| not_carried(node.path.to_string()))
}

fn json_schema<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Format<'a>> {
    let (mut title, mut about, mut body, mut exact) = (None, None, None, None);
    node.members(|name, node| {
        match name {
            "name" => title = Some(node.json_str()?),
            "description" => about = Some(node.json_str()?),
            "schema" => body = Some(node.raw()?),
            "strict" => exact = Some(node.bool()?),
            _ => unknown_member(&node, losses)?,
        }
        Ok(())
    })?;
    let schema = body.ok_or_else(|| node.missing("schema").wrong("a JSON schema"))?;
    Ok(Format::Schema { name: title, description: about, schema, strict: exact })
}

const OBFUSCATED: &str = r#"{"include_obfuscation":true}"#;
const CLEAR: &str = r#"{"include_obfuscation":false}"#;

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
