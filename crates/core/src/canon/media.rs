//! Images and files inside of requests: `data:` URLs, and media types by the first bytes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::percent_decode_str;

use crate::json::{JsonStr, write};

use super::Source;

/// The parts of a `data:` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataUrl<'a> {
    /// The media type, in lower case and without parameters, corrected if the bytes show another one. Empty if
    /// unknown.
    pub mime: Cow<'a, str>,
    /// The bytes, in base 64.
    pub data: Cow<'a, str>,
}

impl<'a> DataUrl<'a> {
    /// Whether this is a `data:` URL, good or bad.
    #[must_use]
    pub fn is_one(url: &str) -> bool {
        url.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// Parses a `data:` URL; `None` if it is not in base 64.
    #[must_use]
    pub fn read(url: &'a str) -> Option<Self> {
        let (head, data) = url.get(SCHEME.len()..).filter(|_| Self::is_one(url))?.split_once(',')?;
        let mut parameters = head.split(';').map(str::trim);
        let declared = parameters.next().unwrap_or_default();
        if !parameters.any(|parameter| parameter.eq_ignore_ascii_case("base64")) {
            return None;
        }
        let data = cleaned(data);
        Some(Self { mime: media_type(declared, &data), data })
    }

    /// Writes one.
    pub(crate) fn write(out: &mut write::TextWriter<'_>, mime: &str, data: &str) {
        out.plain(SCHEME);
        out.plain(if mime.is_empty() { "application/octet-stream" } else { mime });
        out.plain(";base64,");
        out.plain(data);
    }
}

impl<'a> Source<'a> {
    /// Returns the source of a URL, which may hold the bytes itself. `None` for a `data:` URL that is not in base
    /// 64.
    #[must_use]
    pub fn of_url(url: JsonStr<'a>) -> Option<Self> {
        if !DataUrl::is_one(url.raw()) {
            return Some(Self::Url(url));
        }
        Some(match url.into_text() {
            Cow::Borrowed(text) => {
                let url = DataUrl::read(text)?;
                Self::Base64 { mime: url.mime, data: url.data }
            }
            Cow::Owned(text) => {
                let url = DataUrl::read(&text)?;
                Self::Base64 { mime: url.mime.into_owned().into(), data: url.data.into_owned().into() }
            }
        })
    }
}

/// Returns the payload without white space and percent-encoding.
fn cleaned(data: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(data).decode_utf8_lossy();
    match decoded.contains(|c: char| c.is_ascii_whitespace()) {
        true => Cow::Owned(decoded.chars().filter(|c| !c.is_ascii_whitespace()).collect()),
        false => decoded,
    }
}

/// Returns the media type that the bytes show or, if they show none, the declared one.
fn media_type<'a>(declared: &'a str, data: &str) -> Cow<'a, str> {
    if let Some(seen) = sniff(data) {
        return Cow::Borrowed(seen);
    }
    match declared.to_ascii_lowercase().as_str() {
        "image/jpg" => Cow::Borrowed("image/jpeg"),
        "application/octet-stream" => Cow::Borrowed(""),
        lower if lower == declared => Cow::Borrowed(declared),
        lower => Cow::Owned(lower.to_owned()),
    }
}

/// Returns the media type that the first bytes show, if it is one that providers accept.
#[must_use]
pub fn sniff(base64: &str) -> Option<&'static str> {
    let start = base64.get(..SNIFFED.min(base64.len() / 4 * 4))?;
    let bytes = STANDARD_NO_PAD.decode(start.trim_end_matches('=')).ok()?;
    match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'%', b'P', b'D', b'F', ..] => Some("application/pdf"),
        _ => None,
    }
}

const SCHEME: &str = "data:";

/// Number of base 64 characters that hold the first twelve bytes, which the longest signature (WebP) takes.
const SNIFFED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk";

    #[test]
    fn types_are_corrected_by_the_bytes() {
        let mime = |head: &str, data: &str| {
            DataUrl::read(&format!("{head},{data}")).map(|url| url.mime.into_owned())
        };
        assert_eq!(mime("data:image/jpg;base64", PNG).unwrap(), "image/png");
        assert_eq!(mime("DATA:Image/JPG;charset=x;base64", "AAAA").unwrap(), "image/jpeg");
        assert_eq!(mime("data:;base64", "JVBERi0xLjQK").unwrap(), "application/pdf");
        assert_eq!(mime("data:image/svg+xml;base64", "PHN2Zz4=").unwrap(), "image/svg+xml");
        assert_eq!(mime("data:image/png", "AAAA"), None);
    }

    #[test]
    fn payloads_are_cleaned_and_never_encoded_again() {
        assert_eq!(DataUrl::read("data:image/png;base64,AA\n AA%2B%3D").unwrap().data, "AAAA+=");
        assert!(DataUrl::is_one("DATA:x") && !DataUrl::is_one("https://x") && !DataUrl::is_one("dat"));
    }

    #[test]
    fn a_url_without_bytes_stays_a_url() {
        assert!(matches!(Source::of_url(JsonStr::plain("https://x/y.png")), Some(Source::Url(_))));
        assert!(Source::of_url(JsonStr::plain("data:image/png,x")).is_none());
        let escaped = JsonStr::read(r#""data:image\/png;base64,AAAA""#).unwrap();
        assert!(matches!(Source::of_url(escaped), Some(Source::Base64 { mime, .. }) if mime == "image/png"));
    }
}
