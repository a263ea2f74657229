//! Pictures and documents for a provider.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::canon::{Document, Part, Source};
use crate::failure::{Failure, Kind, Result};
use crate::json::Lit;
use crate::json::write::Object;

/// What a source is for the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Image,
    Document,
    /// A document of text, in base 64.
    TextFile,
}

/// Refuses what the protocol has no place for; what passes can be written.
pub(super) fn check(part: &Part<'_>) -> Result<()> {
    match part {
        Part::Image(image) if form(&image.source, true).is_none() => {
            let message = "Images must be JPEG, PNG, GIF or WebP for this model.";
            Err(refused(message, &image.path).with_code("unsupported_image_media_type"))
        }
        Part::Document(document) if form(&document.source, false).is_none() => {
            let message = "Files must be PDF or text for this model.";
            Err(refused(message, &document.path).with_code("unsupported_file_type"))
        }
        Part::Audio(audio) => Err(refused("Audio is not supported for this model.", &audio.path)),
        Part::Result(result) => result.content.iter().try_for_each(inner),
        _ => Ok(()),
    }
}

fn refused(message: &'static str, path: &str) -> Failure {
    Failure::new(Kind::Unsupported, message).with_param(path.to_owned())
}

fn inner(part: &Part<'_>) -> Result<()> {
    match part {
        // Results do not nest.
        Part::Result(_) => Ok(()),
        other => check(other),
    }
}

/// Writes the members of a picture's block.
pub(super) fn image(source: &Source<'_>, o: &mut Object<'_>) {
    block(source, true, None, o);
}

/// Writes the members of a document's block.
pub(super) fn document(document: &Document<'_>, o: &mut Object<'_>) {
    block(&document.source, false, Some(document), o);
}

fn block(source: &Source<'_>, is_image: bool, document: Option<&Document<'_>>, o: &mut Object<'_>) {
    let form = form(source, is_image).unwrap_or(Form::Document);
    o.text("type", if form == Form::Image { "image" } else { "document" });
    o.object("source", |o| match source {
        Source::Url(url) => {
            o.text("type", "url").lit("url", url);
        }
        Source::Text(text) => {
            o.text("type", "text").text("media_type", "text/plain").lit("data", text);
        }
        Source::Base64 { data, .. } if form == Form::TextFile => {
            let text = text_of(data).unwrap_or_default();
            o.text("type", "text").text("media_type", "text/plain").text("data", &text);
        }
        Source::Base64 { mime, data } => {
            o.text("type", "base64").text("media_type", mime).text("data", data);
        }
    });
    if let Some(document) = document.filter(|_| form != Form::Image) {
        member("title", document.name.as_ref(), o);
        member("context", document.context.as_ref(), o);
    }
}

fn member(name: &str, text: Option<&Lit<'_>>, o: &mut Object<'_>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        o.lit(name, text);
    }
}

/// What a source is, if the protocol has a place for it. Bytes are what they are, whatever they came as.
fn form(source: &Source<'_>, is_image: bool) -> Option<Form> {
    match source {
        Source::Url(_) if is_image => Some(Form::Image),
        Source::Url(_) | Source::Text(_) => Some(Form::Document),
        Source::Base64 { mime, data } => match &**mime {
            "image/jpeg" | "image/png" | "image/gif" | "image/webp" => Some(Form::Image),
            "application/pdf" => Some(Form::Document),
            mime if mime.starts_with("text/") && !is_image => text_of(data).map(|_| Form::TextFile),
            _ => None,
        },
    }
}

fn text_of(data: &str) -> Option<String> {
    String::from_utf8(LENIENT.decode(data).ok()?).ok()
}

/// Base 64 with or without its padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
