//! Decoding of a client's request.

use crate::canon::{Effort, FieldPolicy, Format, Losses, Request, Target, Text, not_carried};
use crate::failure::{Failure, Kind, Result};
use crate::json::{Document, JsonStr};
use crate::protocol::field;
use crate::protocol::node::{Node, Type};
use crate::protocol::pick::unknown_member;

use crate::protocol::messages::fields::FIELDS;
use crate::protocol::messages::relay::request::ATTRIBUTION;

use super::message::Conversation;
use super::offered_tools::GivenTools;
use super::{content, reasoning, tools};

/// Reads a request that goes to `target`.
pub(in crate::protocol::messages) fn read<'a>(
    document: &Document<'a>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Request<'a>> {
    let mut request = Request::default();
    let mut conversation = Conversation::default();
    let mut given = GivenTools::default();
    Node::of(document).members(|key, node| {
        let field = FIELDS.iter().find(|field| field.name == key);
        match field.map(|field| field.policy(target.protocol)) {
            // Also of a member that has no effect, what nobody knows is told.
            Some(FieldPolicy::Mapped | FieldPolicy::Own | FieldPolicy::Silent) => {
                let late = (&mut conversation, &mut given);
                member(key, &node, target, &mut request, late, losses)
            }
            Some(_) => field::take(FIELDS, key, &node, target, &mut request, losses),
            None => losses.drop(&node.path),
        }
    })?;
    let Conversation { turns, mut first, changes } = conversation;
    request.turns = turns;
    if request.turns.is_empty() && first.is_empty() {
        let message = "'messages' must hold at least one message.";
        return Err(Failure::new(Kind::InvalidMessages, message).with_param("messages"));
    }
    request.system.append(&mut first);
    given.offer(changes, &mut request, losses)?;
    Ok(request)
}

/// Refuses a request without a limit for its answer. Counting tokens needs no limit.
pub(in crate::protocol::messages) fn check(request: &Request<'_>) -> Result<()> {
    match request.max_output {
        Some(_) => Ok(()),
        None => Err(Failure::new(Kind::Unsupported, "max_tokens: Field required").with_param("max_tokens")),
    }
}

fn member<'a>(
    key: &str,
    node: &Node<'a, '_>,
    target: &Target<'_>,
    request: &mut Request<'a>,
    (conversation, given): (&mut Conversation<'a>, &mut GivenTools<'a>),
    losses: &mut Losses,
) -> Result<()> {
    match key {
        "messages" => {
            *conversation = Conversation::default();
            node.items(|message| conversation.read(&message, target, losses))?;
        }
        "system" => request.system = system(node, losses)?,
        "max_tokens" => request.max_output = Some(limit(node)?),
        "stream" => request.stream = node.bool()?,
        "temperature" => request.samplers.temperature = Some(node.number()?),
        "top_p" => request.samplers.top_p = Some(node.number()?),
        "top_k" => request.samplers.top_k = Some(node.number()?),
        "stop_sequences" => {
            request.stop.clear();
            node.items(|text| {
                request.stop.push(text.json_str()?);
                Ok(())
            })?;
        }
        "tools" => {
            *given = GivenTools::default();
            node.items(|tool| given.read(&tool, losses))?;
        }
        "tool_choice" => (request.choice, request.parallel) = tools::choice(node, losses)?,
        "thinking" => reasoning::thinking(node, &mut request.thinking, losses)?,
        "output_config" => output(node, request, losses)?,
        "output_format" => request.format = format(node, losses)?,
        "metadata" => node.members(|key, value| {
            match key {
                "user_id" => request.user = Some(value.string()?),
                _ => losses.drop(&value.path)?,
            }
            Ok(())
        })?,
        "service_tier" => match &*node.string()? {
            "auto" => {}
            "standard_only" => request.tier = Some("default".into()),
            _ => losses.drop(&node.path)?,
        },
        _ => {}
    }
    Ok(())
}

/// Reads instructions: a text, or blocks of text. Empty ones are left out.
fn system<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Vec<Text<'a>>> {
    let mut blocks = Vec::new();
    if node.kind() == Type::String {
        let text = without_attribution(node.json_str()?, node.text);
        if !text.is_empty() {
            blocks.push(Text::new(text));
        }
        return Ok(blocks);
    }
    node.items(|item| {
        let text = content::only_text(&item, losses)?;
        if !text.text.is_empty() && !text.text.raw().starts_with(ATTRIBUTION) {
            blocks.push(text);
        }
        Ok(())
    })?;
    Ok(blocks)
}

/// Removes the first line in which a large coding client names itself. The line contains a hash that differs in
/// each request, so a provider that sees it never finds the prompt in its cache.
fn without_attribution<'a>(text: JsonStr<'a>, literal: &'a str) -> JsonStr<'a> {
    if !text.raw().starts_with(ATTRIBUTION) {
        return text;
    }
    let mut rest = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    while let Some((_, after)) = rest.split_once('\\') {
        // The character after a backslash belongs to it, so `\ ` is not a line break.
        if let Some(line) = after.strip_prefix('n') {
            return JsonStr::part(line);
        }
        rest = after.get(1..).unwrap_or_default();
    }
    JsonStr::default()
}

/// Reads `output_config`.
fn output<'a>(node: &Node<'a, '_>, request: &mut Request<'a>, losses: &mut Losses) -> Result<()> {
    node.members(|key, value| {
        match key {
            "effort" => match Effort::read(&value.string()?) {
                Some(level) => request.thinking.effort = Some(level),
                None => losses.drop(&value.path)?,
            },
            "format" => request.format = format(&value, losses)?,
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })
}

/// Reads `output_config.format`, or `output_format`, its earlier name.
fn format<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Format<'a>> {
    let (mut kind, mut schema) = (None, None);
    node.members(|key, value| {
        match key {
            "type" => kind = Some(value.string()?),
            "schema" => schema = Some(value.raw()?),
            _ => unknown_member(&value, losses)?,
        }
        Ok(())
    })?;
    match (kind.as_deref(), schema) {
        (Some("json_schema"), Some(schema)) => {
            Ok(Format::Schema { name: None, description: None, schema, strict: None })
        }
        (Some("json_schema"), None) => Err(node.missing("schema").wrong("given")),
        _ => Err(not_carried(node.path.to_string())),
    }
}

fn limit(node: &Node<'_, '_>) -> Result<u64> {
    match node.count()? {
        0 => Err(node.wrong("a number above zero")),
        limit => Ok(limit),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
