//! Parts of a client's request: text, media, calls and their results, thoughts.

use std::borrow::Cow;

use base64::Engine as _;

use crate::canon::{
    Args, Audio, Call, DocumentPart, Image, Losses, Part, Reasoning, Role, Source, Target, Text, ToolResult,
    not_carried,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::{self, JsonStr, Raw};
use crate::protocol::gemini::signature;
use crate::protocol::node::{Node, Type};
use crate::protocol::pick::unknown_member;

use super::lenient;

/// The members of a part, unread.
#[derive(Default)]
struct PartWire<'a> {
    /// The member that says what the part is, in camel case, and its value.
    data: Option<(Cow<'static, str>, &'a str)>,
    is_thought: bool,
    signature: Option<JsonStr<'a>>,
}

impl<'a> PartWire<'a> {
    fn read(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Self> {
        let mut wire = Self::default();
        lenient::members(node, |name, value| {
            match name {
                "thought" => wire.is_thought = value.bool()?,
                "thoughtSignature" => {
                    wire.signature = Some(value.json_str()?).filter(|text| !text.is_empty());
                }
                _ if DESCRIPTIONS.contains(&name) => losses.drop(&value.path)?,
                _ if wire.data.is_some() => {
                    let message = format!("'{}' must hold one kind of data.", node.path);
                    return Err(
                        Failure::new(Kind::InvalidMessages, message).with_param(node.path.to_string())
                    );
                }
                _ => {
                    let known = DATA.iter().find(|known| **known == name);
                    let kind = known.map_or_else(|| name.to_owned().into(), |known| Cow::Borrowed(*known));
                    wire.data = Some((kind, value.text));
                }
            }
            Ok(())
        })?;
        Ok(wire)
    }
}

/// Reads one part. Returns the name of the tool if it is a result.
pub(super) fn read<'a>(
    node: &Node<'a, '_>,
    role: Role,
    target: &Target<'_>,
    parts: &mut Vec<Part<'a>>,
    losses: &mut Losses,
) -> Result<Option<Cow<'a, str>>> {
    let wire = PartWire::read(node, losses)?;
    if let Some(sealed) = wire.signature.as_ref().and_then(|text| signature::open(text, target, losses)) {
        // The thoughts that were shown are in the carrier, too.
        while matches!(parts.last(), Some(Part::Reasoning(Reasoning { sealed: None, .. }))) {
            parts.pop();
        }
        parts.push(Part::Reasoning(Reasoning { text: None, sealed: Some(sealed) }));
    }
    let Some((kind, text)) = wire.data else { return Ok(None) };
    let data = node.at(&kind, text);
    match &*kind {
        "text" => {
            let text = data.json_str()?;
            if text.is_empty() {
                return Ok(None);
            }
            parts.push(match wire.is_thought {
                true => Part::Reasoning(Reasoning { text: Some(text), sealed: None }),
                false => Part::Text(Text::new(text)),
            });
        }
        "inlineData" | "fileData" if role == Role::Assistant => losses.drop(&node.path)?,
        "inlineData" => parts.push(inline(&data, losses)?),
        "fileData" => parts.push(file(&data, losses)?),
        "functionCall" => parts.push(Part::Call(call(&data, losses)?)),
        "functionResponse" => {
            let (result, name) = result(&data, losses)?;
            parts.push(Part::Result(result));
            return Ok(name);
        }
        // What the provider has done by itself in earlier turns lives on in the text.
        "executableCode" | "codeExecutionResult" | "toolCall" | "toolResponse" => {}
        kind => {
            let message = format!("A part with '{kind}' is not supported.");
            let failure = Failure::new(Kind::Unsupported, message).with_code("unsupported_content_type");
            return Err(failure.with_param(data.path.to_string()));
        }
    }
    Ok(None)
}

/// Reads `inlineData`.
fn inline<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Part<'a>> {
    let (mut mime, mut data, mut name) = (String::new(), None, None);
    lenient::members(node, |key, value| {
        match key {
            "mimeType" => mime = value.string()?.to_ascii_lowercase(),
            "data" => data = Some(value.string()?),
            "displayName" => name = Some(value.json_str()?),
            _ => unknown_member(&value, losses)?,
        }
        Ok(())
    })?;
    let data = data.ok_or_else(|| node.missing("data").wrong("given"))?;
    let data = match data {
        Cow::Borrowed(data) => signature::standard_alphabet(data),
        Cow::Owned(data) => Cow::Owned(signature::standard_alphabet(&data).into_owned()),
    };
    let path = node.path.to_string();
    let mime = mime.split(';').next().unwrap_or_default().trim().to_owned();
    let (kind, format) = mime.split_once('/').unwrap_or((mime.as_str(), ""));
    let is_text = kind == "text" || mime == "application/json";
    Ok(match kind {
        "image" => {
            let mime = if format == "jpg" { "image/jpeg".to_owned() } else { mime };
            let source = Source::Base64 { mime: mime.into(), data };
            Part::Image(Image { source, path, detail: None, cache: None })
        }
        "audio" => {
            let format = match format {
                "x-wav" | "wave" => "wav",
                "mpeg" => "mp3",
                other => other,
            };
            Part::Audio(Audio { data: JsonStr::of(&data), format: JsonStr::of(format), cache: None, path })
        }
        "video" => return Err(not_carried(path)),
        _ => {
            let source = match is_text {
                true => Source::Text(JsonStr::of(&decoded(&data))),
                false => Source::Base64 { mime: mime.into(), data },
            };
            Part::Document(DocumentPart { source, path, name, context: None, cache: None })
        }
    })
}

fn decoded(data: &str) -> String {
    String::from_utf8_lossy(&signature::LENIENT.decode(data).unwrap_or_default()).into_owned()
}

/// Reads `fileData`: an address that the provider fetches.
fn file<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Part<'a>> {
    let (mut mime, mut uri) = (String::new(), None);
    lenient::members(node, |key, value| {
        match key {
            "mimeType" => mime = value.string()?.to_ascii_lowercase(),
            "fileUri" => uri = Some(value.json_str()?),
            // It names the file to people; the address names it to the provider.
            "displayName" => {}
            _ => unknown_member(&value, losses)?,
        }
        Ok(())
    })?;
    let uri = uri.ok_or_else(|| node.missing("fileUri").wrong("given"))?;
    let path = node.path.to_string();
    let address = uri.decode();
    let is_stored = address.contains("generativelanguage.googleapis.com") && address.contains("/files/");
    let is_of_web = address.starts_with("https://") || address.starts_with("http://");
    if is_stored || !is_of_web || mime.starts_with("audio/") || mime.starts_with("video/") {
        return Err(not_carried(path));
    }
    drop(address);
    let source = Source::Url(uri);
    Ok(match mime.starts_with("image/") {
        true => Part::Image(Image { source, path, detail: None, cache: None }),
        false => Part::Document(DocumentPart { source, path, name: None, context: None, cache: None }),
    })
}

/// Reads `functionCall`. A call without an id gets one later.
fn call<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Call<'a>> {
    let (mut id, mut name, mut args) = (Cow::Borrowed(""), None, Args::Raw(Raw::constant("{}")));
    lenient::members(node, |key, value| {
        match key {
            "id" => id = value.string()?,
            "name" => name = Some(value.string()?),
            "args" => args = Args::Raw(value.raw()?),
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    let name = name.ok_or_else(|| node.missing("name").wrong("given"))?;
    Ok(Call { id, namespace: None, name, custom: false, args, extra: None })
}

/// Reads `functionResponse`, and the name of its tool. The id that its call has is given to it later.
fn result<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<(ToolResult<'a>, Option<Cow<'a, str>>)> {
    let mut result = ToolResult {
        id: Cow::Borrowed(""),
        custom: false,
        content: Vec::new(),
        is_error: false,
        cache: None,
    };
    let (mut media, mut name) = (Vec::new(), None);
    lenient::members(node, |key, value| {
        match key {
            "id" => result.id = value.string()?,
            "name" => name = Some(value.string()?),
            "response" => response(&value, &mut result)?,
            "parts" => lenient::items(&value, |part| {
                lenient::members(&part, |kind, value| {
                    match kind {
                        "inlineData" => media.push(inline(&value, losses)?),
                        "fileData" => media.push(file(&value, losses)?),
                        _ => losses.drop(&value.path)?,
                    }
                    Ok(())
                })
            })?,
            "willContinue" if value.text == "true" => return Err(not_carried(value.path.to_string())),
            "willContinue" => {}
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    result.content.append(&mut media);
    Ok((result, name))
}

/// Reads the object of a result. If it has only one member of a usual name, that is the result itself.
fn response<'a>(node: &Node<'a, '_>, result: &mut ToolResult<'a>) -> Result<()> {
    let (mut only, mut count) = (None, 0);
    node.members(|key, value| {
        count += 1;
        if matches!(key, "output" | "result" | "error") {
            only = Some((key == "error", value.text));
        }
        Ok(())
    })?;
    let (is_error, text) = match only.filter(|_| count == 1) {
        Some(only) => only,
        None if count == 0 => return Ok(()),
        None => (false, node.text),
    };
    let value = node.at("response", text);
    result.is_error = is_error;
    let text = match value.kind() {
        Type::String => value.json_str()?,
        _ => compacted(value.raw()?.get()),
    };
    result.content.extend(Some(text).filter(|text| !text.is_empty()).map(Text::new).map(Part::Text));
    Ok(())
}

fn compacted(json: &str) -> JsonStr<'static> {
    let mut out = Vec::with_capacity(json.len());
    json::compact(json, &mut out);
    JsonStr::of(&String::from_utf8(out).unwrap_or_default())
}

/// Members of a part that are its data.
const DATA: &[&str] = &[
    "text",
    "functionCall",
    "functionResponse",
    "inlineData",
    "fileData",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];

/// Members of a part that describe its data.
const DESCRIPTIONS: &[&str] = &[
    "audioMetadata",
    "audioTranscription",
    "documentMetadata",
    "mediaProcessing",
    "mediaResolution",
    "partMetadata",
    "speechMetadata",
    "spreadsheetMetadata",
    "videoMetadata",
];
