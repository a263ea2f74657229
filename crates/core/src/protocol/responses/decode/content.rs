//! The parts of a message or of a tool's output: text, images, files, audio and refusals.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::canon::{
    Audio, Cache, DataUrl, DocumentPart, Image, Losses, Part, Source, Text, not_carried, sniff,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::JsonStr;
use crate::protocol::node::{Node, Type};

use crate::protocol::pick::{members_or_losses, unused_members};

/// Appends the parts of a content: a text, or an array. `long`: see [`cache_mark`].
pub(super) fn read<'a>(
    node: &Node<'a, '_>,
    long: bool,
    parts: &mut Vec<Part<'a>>,
    losses: &mut Losses,
) -> Result<()> {
    if node.kind() == Type::String {
        parts.push(Part::Text(Text::new(node.json_str()?)));
        return Ok(());
    }
    node.items(|part| {
        parts.push(one(&part, long, losses)?);
        Ok(())
    })
}

fn one<'a>(node: &Node<'a, '_>, long: bool, losses: &mut Losses) -> Result<Part<'a>> {
    let wire = PartWire::read(node, losses)?;
    let kind = node.at("type", wire.kind.ok_or_else(|| node.missing("type").wrong("a string"))?).string()?;
    wire.list_foreign(&kind, node, losses)?;
    let cache = wire.mark.map(|text| cache_mark(text, long));
    let needed =
        |name: &'static str, value: Option<&'a str>| node.at(name, value.unwrap_or_default()).json_str();
    match kind.as_ref() {
        "input_text" | "output_text" | "text" => {
            Ok(Part::Text(Text { text: needed("text", wire.text)?, cache }))
        }
        "refusal" => Ok(Part::Refusal(needed("refusal", wire.refusal.or(wire.text))?)),
        "input_image" => Ok(Part::Image(Image { cache, ..image(node, &wire, losses)? })),
        "input_file" => Ok(Part::Document(DocumentPart { cache, ..file(node, &wire)? })),
        "input_audio" => Ok(Part::Audio(Audio { cache, ..audio(node, wire.input_audio, losses)? })),
        _ => Err(unknown(node)),
    }
}

/// The members of a part, unread.
struct PartWire<'a> {
    kind: Option<&'a str>,
    mark: Option<&'a str>,
    text: Option<&'a str>,
    refusal: Option<&'a str>,
    image_url: Option<&'a str>,
    detail: Option<&'a str>,
    file_id: Option<&'a str>,
    file_data: Option<&'a str>,
    file_url: Option<&'a str>,
    filename: Option<&'a str>,
    input_audio: Option<&'a str>,
}

impl<'a> PartWire<'a> {
    fn read(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Self> {
        let names = [
            "type",
            "prompt_cache_breakpoint",
            "text",
            "refusal",
            "image_url",
            "detail",
            "file_id",
            "file_data",
            "file_url",
            "filename",
            "input_audio",
        ];
        let [
            kind,
            mark,
            text,
            refusal,
            image_url,
            detail,
            file_id,
            file_data,
            file_url,
            filename,
            input_audio,
        ] = members_or_losses(node, names, OF_ANSWERS, losses)?;
        Ok(Self {
            kind,
            mark,
            text,
            refusal,
            image_url,
            detail,
            file_id,
            file_data,
            file_url,
            filename,
            input_audio,
        })
    }

    /// Lists the members that belong to parts of other types.
    fn list_foreign(&self, kind: &str, node: &Node<'a, '_>, losses: &mut Losses) -> Result<()> {
        let own: &[&str] = match kind {
            "refusal" if self.refusal.is_none() => &["text"],
            "refusal" => &["refusal"],
            "input_image" => &["image_url", "detail", "file_id"],
            "input_file" => &["file_id", "file_data", "file_url", "filename"],
            "input_audio" => &["input_audio"],
            _ => &["text"],
        };
        let members = [
            ("text", self.text),
            ("refusal", self.refusal),
            ("image_url", self.image_url),
            ("detail", self.detail),
            ("file_id", self.file_id),
            ("file_data", self.file_data),
            ("file_url", self.file_url),
            ("filename", self.filename),
            ("input_audio", self.input_audio),
        ];
        unused_members(node, members.into_iter().filter(|(name, _)| !own.contains(name)), losses)
    }
}

fn image<'a>(node: &Node<'a, '_>, wire: &PartWire<'a>, losses: &mut Losses) -> Result<Image<'a>> {
    let PartWire { image_url: url, detail, file_id, .. } = *wire;
    let detail = detail.map(|text| node.at("detail", text).json_str()).transpose()?;
    let Some(url) = url else {
        return Err(match file_id {
            Some(text) => not_carried(node.at("file_id", text).path.to_string()),
            None => node.missing("image_url").wrong("a string"),
        });
    };
    let mut url = node.at("image_url", url);
    if url.kind() == Type::Object {
        // This is Chat's form.
        let [inner] = members_or_losses(&url, ["url"], &["detail"], losses)?;
        url.text = inner.unwrap_or_default();
    }
    let source = Source::of_url(url.json_str()?).ok_or_else(|| not_base64(&url))?;
    Ok(Image { source, path: url.path.to_string(), detail, cache: None })
}

fn file<'a>(node: &Node<'a, '_>, wire: &PartWire<'a>) -> Result<DocumentPart<'a>> {
    let PartWire { file_data: data, filename: name, file_url: url, file_id, .. } = *wire;
    let name = name.map(|text| node.at("filename", text).json_str()).transpose()?;
    let source = match (data, url, file_id) {
        (Some(data), ..) => file_data(&node.at("file_data", data))?,
        (None, Some(url), _) => {
            let url = node.at("file_url", url);
            Source::of_url(url.json_str()?).map(as_text).ok_or_else(|| not_base64(&url))?
        }
        (None, None, Some(id)) => return Err(not_carried(node.at("file_id", id).path.to_string())),
        (None, None, None) => return Err(node.missing("file_data").wrong("a string")),
    };
    let path = node.path.key(if data.is_some() { "file_data" } else { "file_url" }).to_string();
    let name = name.filter(|name| !name.is_empty());
    Ok(DocumentPart { source, path, name, context: None, cache: None })
}

/// Returns the bytes of a file: a `data:` URL or, from some clients, the base 64 alone.
fn file_data<'a>(node: &Node<'a, '_>) -> Result<Source<'a>> {
    let data = node.json_str()?;
    if DataUrl::is_one(data.raw()) {
        return Source::of_url(data).map(as_text).ok_or_else(|| not_base64(node));
    }
    let data = data.into_text();
    let mime = sniff(&data).unwrap_or_default();
    Ok(Source::Base64 { mime: Cow::Borrowed(mime), data })
}

/// Turns plain text files into text, because not every protocol accepts them in base 64.
fn as_text(source: Source<'_>) -> Source<'_> {
    let text = match &source {
        Source::Base64 { mime, data } if mime == "text/plain" => {
            STANDARD.decode(data.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok())
        }
        _ => None,
    };
    text.map_or(source, |text| Source::Text(JsonStr::of(&text)))
}

fn audio<'a>(node: &Node<'a, '_>, inner: Option<&'a str>, losses: &mut Losses) -> Result<Audio<'a>> {
    let inner = node.at("input_audio", inner.unwrap_or_default());
    let [data, format] = members_or_losses(&inner, ["data", "format"], &[], losses)?;
    let needed =
        |name: &'static str, value: Option<&'a str>| inner.at(name, value.unwrap_or_default()).json_str();
    let path = inner.path.to_string();
    Ok(Audio { data: needed("data", data)?, format: needed("format", format)?, path, cache: None })
}

fn not_base64(node: &Node<'_, '_>) -> Failure {
    let path = node.path.to_string();
    Failure::new(Kind::Unsupported, format!("'{path}' must be a URL, or a data URL in base 64."))
        .with_param(path)
        .with_code("invalid_base64_image")
}

/// Returns the refusal of an unknown part or item.
pub(super) fn unknown(node: &Node<'_, '_>) -> Failure {
    let path = node.path.to_string();
    Failure::new(Kind::Unsupported, format!("The type of '{path}' is not supported for this model."))
        .with_param(path)
        .with_code("unsupported_content_type")
}

/// Returns the mark of a part with `prompt_cache_breakpoint`. `long` is whether the request asks for a long
/// lifetime of all marks.
pub(super) fn cache_mark(text: &str, long: bool) -> Cache {
    Cache { long: is_long(text).unwrap_or(long) }
}

/// Whether an object with a `ttl` asks for more than the few minutes that are usual. `None` if it does not say.
pub(super) fn is_long(text: &str) -> Option<bool> {
    let ttl = Node::root(text).find("ttl")?.json_str().ok()?;
    Some(matches!(ttl.raw(), "12h" | "24h" | "1h"))
}

/// Members of parts that belong to the answer that the part was, and say nothing to the model.
const OF_ANSWERS: &[&str] = &["annotations", "logprobs"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(json: &str) -> Result<Vec<Part<'_>>> {
        let mut parts = Vec::new();
        read(&Node::root(json), false, &mut parts, &mut Losses::default())?;
        Ok(parts)
    }

    fn only(json: &str) -> Part<'_> {
        parts(json).unwrap().remove(0)
    }

    #[test]
    fn texts_and_refusals() {
        for json in [
            "\"x\"",
            r#"[{"type":"output_text","text":"x","annotations":[1]}]"#,
            r#"[{"type":"text","text":"x"}]"#,
        ] {
            assert!(matches!(only(json), Part::Text(text) if text.text.raw() == "x" && text.cache.is_none()));
        }
        assert!(
            matches!(only(r#"[{"type":"refusal","refusal":"no"}]"#), Part::Refusal(text) if text.raw() == "no")
        );
        let marked =
            r#"[{"type":"input_text","text":"x","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}}]"#;
        assert!(matches!(only(marked), Part::Text(text) if text.cache.unwrap().long));
    }

    #[test]
    fn pictures_by_url_and_in_base_64() {
        let json = r#"[{"type":"input_image","image_url":"https://x/y.png","detail":"low"}]"#;
        let Part::Image(image) = only(json) else { panic!() };
        assert!(matches!(image.source, Source::Url(url) if url.raw() == "https://x/y.png"));
        assert_eq!(image.detail.unwrap().raw(), "low");
        let json = r#"[{"type":"input_image","image_url":{"url":"data:image/jpg;base64,iVBORw0KGgoAAAAN"}}]"#;
        let Part::Image(image) = only(json) else { panic!() };
        assert!(matches!(image.source, Source::Base64 { mime, .. } if mime == "image/png"));
    }

    #[test]
    fn files_in_every_form() {
        let json = r#"[{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERi0xLjQK"}]"#;
        let Part::Document(file) = only(json) else { panic!() };
        assert!(matches!(file.source, Source::Base64 { mime, .. } if mime == "application/pdf"));
        assert_eq!(file.name.unwrap().raw(), "a.pdf");
        let Part::Document(bare) = only(r#"[{"type":"input_file","file_data":"JVBERi0xLjQK"}]"#) else {
            panic!()
        };
        assert!(matches!(bare.source, Source::Base64 { mime, .. } if mime == "application/pdf"));
        let Part::Document(url) = only(r#"[{"type":"input_file","file_url":"https://x/a.pdf"}]"#) else {
            panic!()
        };
        assert!(matches!(url.source, Source::Url(_)));
        let json = r#"[{"type":"input_file","file_data":"data:text/plain;base64,aGkK"}]"#;
        let Part::Document(text) = only(json) else { panic!() };
        assert!(matches!(text.source, Source::Text(text) if text.decode() == "hi\n"));
    }

    #[test]
    fn speech() {
        let json = r#"[{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}]"#;
        assert!(matches!(only(json), Part::Audio(audio) if audio.format.raw() == "wav"));
    }

    #[test]
    fn what_cannot_be_carried_is_refused_by_name() {
        for (json, param, code) in [
            (r#"[{"type":"input_image","file_id":"f"}]"#, "[0].file_id", "unsupported_parameter"),
            (r#"[{"type":"input_file","file_id":"f"}]"#, "[0].file_id", "unsupported_parameter"),
            (
                r#"[{"type":"input_image","image_url":"data:image/png,x"}]"#,
                "[0].image_url",
                "invalid_base64_image",
            ),
            (r#"[{"type":"input_video","video_url":"x"}]"#, "[0]", "unsupported_content_type"),
            (r#"[{"type":"input_text"}]"#, "[0].text", "unsupported_parameter"),
        ] {
            let refusal = parts(json).unwrap_err();
            assert_eq!((refusal.param(), refusal.code()), (Some(param), code));
        }
    }
}
