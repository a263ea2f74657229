//! The paths of Gemini clients, which name the model and the form of the answer.

use percent_encoding::percent_decode_str;

use crate::failure::{Failure, Kind, Result};

/// The model and the form that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge) struct GeminiAddress {
    pub(in crate::edge) model: String,
    pub(in crate::edge) is_stream: bool,
}

/// A method of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum GeminiMethod {
    Generate,
    Stream,
    Count,
}

/// Splits the path of a call behind the last colon: returns the method, and the path below the version.
pub(in crate::edge) fn split(path: &str) -> Option<(GeminiMethod, &str)> {
    let below = below_version(path)?;
    let method = match below.rsplit_once(':')?.1 {
        "generateContent" => GeminiMethod::Generate,
        "streamGenerateContent" => GeminiMethod::Stream,
        "countTokens" => GeminiMethod::Count,
        _ => return None,
    };
    Some((method, below))
}

/// Returns the part of a path below the version, such as `/models/vendor/model:generateContent`.
pub(in crate::edge) fn below_version(path: &str) -> Option<&str> {
    let (version, _) = path.strip_prefix('/')?.split_once('/')?;
    path.get(version.len() + 1..).filter(|_| version == "v1" || PREVIEWS.contains(&version))
}

/// Whether only Google's clients use a path of this version.
pub(in crate::edge) fn is_preview(path: &str) -> bool {
    let version = path.strip_prefix('/').and_then(|rest| rest.split('/').next());
    version.is_some_and(|version| PREVIEWS.contains(&version))
}

impl GeminiAddress {
    /// Reads the path of a call below its version, and its query.
    ///
    /// # Errors
    /// Returns 404 if the path names no model, and 400 for a stream in another form than events.
    pub(in crate::edge) fn read(below: &str, query: Option<&str>) -> Result<Self> {
        let (name, method) = below.rsplit_once(':').unwrap_or((below, ""));
        let decoded = percent_decode_str(name).decode_utf8_lossy();
        let model = model(&decoded).ok_or_else(|| Failure::new(Kind::UnknownUrl, UNKNOWN))?;
        let is_stream = method == "streamGenerateContent";
        let is_event_stream = query.unwrap_or_default().split('&').any(|parameter| parameter == "alt=sse");
        if is_stream && !is_event_stream {
            return Err(Failure::new(Kind::Unsupported, WITHOUT_EVENTS).with_param("alt"));
        }
        Ok(Self { model, is_stream })
    }
}

/// Returns the id of the model that a path names.
fn model(path: &str) -> Option<String> {
    let name = path.strip_prefix('/')?;
    if name.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return None;
    }
    // In Vertex mode, SDKs write the vendor as a publisher.
    let name = match name.split_once("/locations/").filter(|(project, _)| project.starts_with("projects/")) {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => name,
    };
    if let Some(rest) = name.strip_prefix("publishers/") {
        let (vendor, model) = rest.split_once("/models/")?;
        return Some(format!("{vendor}/{model}"));
    }
    match name.split_once('/') {
        Some(("models", model)) => Some(model.to_owned()),
        Some((folder, _)) if OTHERS.contains(&folder) => None,
        Some(_) => Some(name.to_owned()),
        None => None,
    }
}

/// Versions of the API besides `v1`. All of them mean the same.
const PREVIEWS: [&str; 3] = ["v1beta", "v1alpha", "v1beta1"];

/// Folders of things that are no models of the catalog.
const OTHERS: [&str; 6] = ["tunedModels", "cachedContents", "files", "batches", "operations", "corpora"];

const UNKNOWN: &str =
    "There is no such endpoint. The path of a model is /v1beta/models/VENDOR/MODEL:generateContent.";

const WITHOUT_EVENTS: &str = "Streams are sent as events: add '?alt=sse' to the URL.";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<(String, bool)> {
        let (_, below) = split(path)?;
        let address = GeminiAddress::read(below, Some("key=x&alt=sse")).ok()?;
        Some((address.model, address.is_stream))
    }

    #[test]
    fn all_spellings_of_a_model_are_one_call() {
        for path in [
            "/v1beta/models/vendor/model:generateContent",
            "/v1/models/vendor%2Fmodel:generateContent",
            "/v1alpha/vendor/model:generateContent",
            "/v1beta1/publishers/vendor/models/model:generateContent",
            "/v1beta1/projects/P/locations/L/publishers/vendor/models/model:generateContent",
        ] {
            assert_eq!(read(path), Some(("vendor/model".to_owned(), false)), "{path}");
        }
        assert_eq!(read("/v1/models/alias:streamGenerateContent"), Some(("alias".to_owned(), true)));
        assert_eq!(read("/v1/models/v/m:free:generateContent"), Some(("v/m:free".to_owned(), false)));
        for path in [
            "/v1beta/models/x:embedContent",
            "/models/x:generateContent",
            "/v2/models/x:generateContent",
            "/v1beta/tunedModels/x:generateContent",
            "/v1beta/models//x:generateContent",
            "/v1beta/models/..%2Fx:generateContent",
            "/v1beta/x:generateContent",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn a_stream_comes_as_events_only() {
        let refusal = GeminiAddress::read("/models/v/m:streamGenerateContent", Some("alt=json")).unwrap_err();
        assert!(refusal.status() == 400 && refusal.message().contains("?alt=sse"));
    }
}
