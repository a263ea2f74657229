//! Decoding of a client's request.

use crate::canon::{
    Extra, FieldPolicy, Format, Losses, ProtocolId, Request, Samplers, Target, Text, Thinking, not_carried,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::{Document, JsonStr, Raw};
use crate::protocol::field;
use crate::protocol::gemini::fields::FIELDS;
use crate::protocol::node::Node;
use crate::protocol::pick::unknown_member;

use super::message::Conversation;
use super::{lenient, reasoning, schema, tools};

/// Reads a request that goes to `target`. A count may hold the request in a member of its own.
pub(in crate::protocol::gemini) fn read<'a>(
    document: &Document<'a>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Request<'a>> {
    let mut request = Request {
        thinking: Thinking { show: Some(false), is_carried: true, ..Thinking::default() },
        ..Request::default()
    };
    let root = Node::of(document);
    let mut is_nested = false;
    lenient::members(&root, |name, value| {
        if name == "generateContentRequest" {
            is_nested = true;
            return object(&value, target, &mut request, losses);
        }
        Ok(())
    })?;
    if !is_nested {
        object(&root, target, &mut request, losses)?;
    }
    if request.turns.is_empty() {
        let message = "'contents' must hold at least one content.";
        return Err(Failure::new(Kind::InvalidMessages, message).with_param("contents"));
    }
    Ok(request)
}

fn object<'a>(
    node: &Node<'a, '_>,
    target: &Target<'_>,
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<()> {
    lenient::members(node, |name, value| {
        let known = FIELDS.iter().find(|field| field.name == name);
        match known.map(|field| field.policy(target.protocol)) {
            Some(FieldPolicy::Mapped | FieldPolicy::Own) => member(name, &value, target, request, losses),
            Some(_) if name == "safetySettings" && is_off(&value) => Ok(()),
            Some(_) => field::take(FIELDS, name, &value, target, request, losses),
            // No other protocol has a member of that name.
            None if matches!(value.text, "{}" | "[]") => Ok(()),
            None => losses.drop(&value.path),
        }
    })
}

fn member<'a>(
    name: &str,
    node: &Node<'a, '_>,
    target: &Target<'_>,
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<()> {
    match name {
        "stream" => request.stream = node.bool()?,
        "contents" => {
            let mut conversation = Conversation::default();
            let mut place = 0;
            lenient::items(node, |content| {
                conversation.read(&content, place, target, losses)?;
                place += 1;
                Ok(())
            })?;
            request.turns = conversation.turns;
        }
        "systemInstruction" => request.system = system(node, losses)?,
        "tools" => {
            request.tools.clear();
            lenient::items(node, |tool| tools::read(&tool, &mut request.tools, losses))?;
        }
        "toolConfig" => request.choice = tools::config(node, losses)?,
        "generationConfig" => generation(node, target, request, losses)?,
        "serviceTier" => match lenient::word(node)?.as_str() {
            "" | "UNSPECIFIED" | "SERVICE_TIER_UNSPECIFIED" => {}
            "STANDARD" => request.tier = Some("default".into()),
            tier => request.tier = Some(tier.to_ascii_lowercase().into()),
        },
        _ => {}
    }
    Ok(())
}

/// Reads instructions: parts of text. Empty ones are left out.
fn system<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Vec<Text<'a>>> {
    let mut texts = Vec::new();
    lenient::members(node, |name, parts| {
        match name {
            "parts" => {}
            "role" => return Ok(()),
            _ => return unknown_member(&parts, losses),
        }
        lenient::items(&parts, |part| {
            let mut text = None;
            lenient::members(&part, |name, value| {
                match name {
                    "text" => text = Some(value.json_str()?),
                    "thought" | "thoughtSignature" | "partMetadata" => {}
                    _ => return Err(not_carried(value.path.to_string())),
                }
                Ok(())
            })?;
            texts.extend(text.filter(|text: &JsonStr<'_>| !text.is_empty()).map(Text::new));
            Ok(())
        })
    })?;
    Ok(texts)
}

/// The members of `generationConfig` that describe the form of the answer.
#[derive(Default)]
struct FormatMembers<'a> {
    mime: Option<String>,
    schema: Option<Raw<'a>>,
    json_schema: Option<Raw<'a>>,
}

fn generation<'a>(
    node: &Node<'a, '_>,
    target: &Target<'_>,
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<()> {
    let is_chat = target.protocol == ProtocolId::Chat;
    let mut format = FormatMembers::default();
    let (mut is_logged, mut count) = (false, None);
    request.samplers = Samplers::default();
    lenient::members(node, |name, value| {
        match name {
            "temperature" => request.samplers.temperature = Some(lenient::number(&value)?),
            "topP" => request.samplers.top_p = Some(lenient::number(&value)?),
            "topK" => request.samplers.top_k = top_k(&value)?,
            "maxOutputTokens" => match lenient::count(&value)? {
                0 => return Err(value.wrong("a number above zero")),
                limit => request.max_output = Some(limit),
            },
            "stopSequences" => {
                request.stop.clear();
                value.items(|text| {
                    request.stop.push(text.json_str()?);
                    Ok(())
                })?;
            }
            "candidateCount" if lenient::count(&value)? == 1 => {}
            "responseLogprobs" => is_logged = value.bool()?,
            "logprobs" => count = Some(lenient::count(&value)?),
            "seed" | "presencePenalty" | "frequencyPenalty" => {
                sampler((name, is_chat), &value, request, losses)?;
            }
            "responseMimeType" => format.mime = Some(value.string()?.to_ascii_lowercase()),
            "responseSchema" => format.schema = Some(schema::to_json_schema(&value)?),
            "responseJsonSchema" => format.json_schema = Some(value.raw()?),
            "thinkingConfig" => reasoning::thinking(&value, &mut request.thinking, losses)?,
            "responseModalities" if is_text(&value) => {}
            "candidateCount"
            | "responseModalities"
            | "responseFormat"
            | "imageConfig"
            | "speechConfig"
            | "translationConfig"
            | "audioTranscriptionConfig" => {
                return Err(not_carried(value.path.to_string()));
            }
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    request.logprobs = is_logged.then(|| count.unwrap_or(0));
    request.format = format.read(node)?;
    Ok(())
}

/// Reads a member that Chat has under another name, and other protocols do not have.
fn sampler<'a>(
    (name, is_known): (&str, bool),
    node: &Node<'a, '_>,
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<()> {
    let chat = match name {
        "seed" => "seed",
        "presencePenalty" => "presence_penalty",
        _ => "frequency_penalty",
    };
    let value = lenient::number(node)?;
    if name != "seed" && matches!(value.get(), "0" | "0.0") {
        return Ok(());
    }
    if !is_known {
        return losses.drop(&node.path);
    }
    request.extra.push(Extra { name: chat.into(), value });
    Ok(())
}

/// Reads `topK`, which some clients write with a fraction. Zero turns it off.
fn top_k<'a>(node: &Node<'a, '_>) -> Result<Option<Raw<'a>>> {
    let number = lenient::number(node)?;
    let whole = number.get().strip_suffix(".0").map(str::to_owned);
    let number = whole.and_then(Raw::read_owned).unwrap_or(number);
    Ok(Some(number).filter(|number| number.get() != "0"))
}

/// Whether only text is asked for.
fn is_text(node: &Node<'_, '_>) -> bool {
    let mut is_text = true;
    let read = lenient::items(node, |kind| {
        is_text &= lenient::word(&kind)? == "TEXT";
        Ok(())
    });
    read.is_ok() && is_text
}

/// Whether these settings only switch filters off.
fn is_off(node: &Node<'_, '_>) -> bool {
    let mut is_off = true;
    let read = lenient::items(node, |setting| {
        lenient::members(&setting, |name, value| {
            if name == "threshold" {
                is_off &= matches!(lenient::word(&value)?.as_str(), "BLOCK_NONE" | "OFF");
            }
            Ok(())
        })
    });
    read.is_ok() && is_off
}

impl<'a> FormatMembers<'a> {
    fn read(self, node: &Node<'a, '_>) -> Result<Format<'a>> {
        let schema = match (self.schema, self.json_schema) {
            (Some(_), Some(_)) => {
                let message =
                    "'responseSchema' and 'responseJsonSchema' exclude each other: send one of them.";
                return Err(Failure::new(Kind::Unsupported, message).with_param(node.path.to_string()));
            }
            (schema, json_schema) => json_schema.or(schema),
        };
        match (self.mime.as_deref(), schema) {
            (None | Some("text/plain"), None) => Ok(Format::Text),
            (Some("application/json"), Some(schema)) => {
                Ok(Format::Schema { name: None, description: None, schema, strict: None })
            }
            (Some("application/json"), None) => Ok(Format::JsonObject),
            (None | Some("text/plain"), Some(_)) => {
                Err(node.missing("responseMimeType").wrong("'application/json', because there is a schema"))
            }
            (Some(_), _) => Err(not_carried(node.missing("responseMimeType").path.to_string())),
        }
    }
}
