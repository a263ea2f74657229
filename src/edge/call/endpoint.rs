//! The endpoints of the gateway, by path and method.

use crate::edge::call::gemini_path::{self, GeminiMethod};
use crate::failure::{self, Failure, Kind, Result};
use crate::protocol::{ProtocolId, REGISTRY};

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Endpoint {
    /// The name and the version of the gateway.
    Root,
    /// A call in a protocol.
    Call(ProtocolId),
    /// The count of a call's tokens.
    Count(ProtocolId),
    /// The compaction of a conversation.
    Compact(ProtocolId),
    /// The list of models.
    Models,
    /// One model.
    Model,
    /// The balance of the account.
    Credits,
    /// The usage of the account.
    Usage,
    /// The key itself.
    Key,
    /// A browser's question whether a script may call another endpoint.
    Preflight,
}

/// Returns the endpoint of a path and, for [`Endpoint::Model`], the id, which is still percent-encoded. For an endpoint of
/// Gemini it is the path below the version.
///
/// Clients append their paths to a base URL as it was configured. So `/v1` may stand twice, or be absent, and the first
/// slash may be doubled.
pub(in crate::edge) fn find(path: &str) -> Option<(Endpoint, &str)> {
    if path == "/" {
        return Some((Endpoint::Root, ""));
    }
    if let Some((method, below)) = gemini_path::split(path) {
        let endpoint = match method {
            GeminiMethod::Generate | GeminiMethod::Stream => Endpoint::Call(ProtocolId::Gemini),
            GeminiMethod::Count => Endpoint::Count(ProtocolId::Gemini),
        };
        return Some((endpoint, below));
    }
    if gemini_path::is_preview(path) {
        return models(gemini_path::below_version(path)?);
    }
    let single = path.strip_prefix('/').filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let once = single.strip_prefix(VERSION).unwrap_or(single);
    let below = once.strip_prefix(VERSION).unwrap_or(once);
    for protocol in REGISTRY {
        if below == protocol.path() {
            return Some((Endpoint::Call(protocol.id()), ""));
        }
        if protocol.count_path() == Some(below) {
            return Some((Endpoint::Count(protocol.id()), ""));
        }
        if protocol.compact_path() == Some(below) {
            return Some((Endpoint::Compact(protocol.id()), ""));
        }
    }
    match below {
        "/credits" => return Some((Endpoint::Credits, "")),
        "/usage" => return Some((Endpoint::Usage, "")),
        "/key" => return Some((Endpoint::Key, "")),
        _ => {}
    }
    models(below)
}

/// Whether the path of an endpoint has the version twice, or two slashes before it.
pub(in crate::edge) fn is_fixed(path: &str) -> bool {
    path.starts_with("//") || path.strip_prefix(VERSION).is_some_and(|below| below.starts_with("/v1/"))
}

/// Returns the endpoint of a path of models, below the version.
fn models(below: &str) -> Option<(Endpoint, &str)> {
    match below.strip_prefix("/models")? {
        "" | "/" => Some((Endpoint::Models, "")),
        rest => {
            let id = rest.strip_prefix('/')?;
            Some((Endpoint::Model, id.strip_suffix('/').unwrap_or(id)))
        }
    }
}

impl Endpoint {
    /// Returns the name in logs and metrics.
    pub(in crate::edge) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Call(protocol) => protocol.as_str(),
            Self::Count(ProtocolId::Messages | ProtocolId::Gemini) => "count_tokens",
            Self::Count(_) => "input_tokens",
            Self::Compact(_) => "compact",
            Self::Models => "models",
            Self::Model => "model",
            Self::Credits => "credits",
            Self::Usage => "usage",
            Self::Key => "key",
            Self::Preflight => "preflight",
        }
    }

    /// Returns the protocol to which the endpoint belongs, if it belongs to one.
    pub(in crate::edge) fn protocol(self) -> Option<ProtocolId> {
        match self {
            Self::Call(protocol) | Self::Count(protocol) | Self::Compact(protocol) => Some(protocol),
            _ => None,
        }
    }

    /// Returns the methods that the endpoint has.
    pub(in crate::edge) fn methods(self) -> &'static str {
        match self {
            Self::Call(_) | Self::Count(_) | Self::Compact(_) => "POST",
            Self::Preflight => "OPTIONS",
            _ => "GET, HEAD",
        }
    }

    /// Checks that the endpoint has this method.
    ///
    /// # Errors
    /// Returns 405 if it has not, or 426 if a coding client asks for a WebSocket: after that, such clients use
    /// plain HTTP.
    pub(in crate::edge) fn admit(self, method: &http::Method, upgrade: bool) -> Result<()> {
        let allow = self.methods();
        if allow.split(", ").any(|allowed| method == allowed) {
            return Ok(());
        }
        if upgrade && self == Self::Call(ProtocolId::Responses) && method == http::Method::GET {
            return Err(Failure::new(Kind::UpgradeRequired, "WebSocket is not served here: use POST."));
        }
        let message =
            format!("Method {} is not allowed here: use {allow}.", failure::printable(method.as_str()));
        Err(Failure::new(Kind::MethodNotAllowed, message).with_allow(allow))
    }
}

/// The part of a path that names the version of the API.
pub(in crate::edge) const VERSION: &str = "/v1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_spellings_are_served() {
        for prefix in ["", "/v1", "/v1/v1", "/", "//v1"] {
            let of = |path: &str| {
                find(&format!("{prefix}{path}")).map(|(endpoint, id)| (endpoint.name(), id.to_owned()))
            };
            for (path, name, id) in [
                ("/chat/completions", "chat", ""),
                ("/responses", "responses", ""),
                ("/messages", "messages", ""),
                ("/messages/count_tokens", "count_tokens", ""),
                ("/responses/input_tokens", "input_tokens", ""),
                ("/responses/compact", "compact", ""),
                ("/models", "models", ""),
                ("/models/", "models", ""),
                ("/models/v/m", "model", "v/m"),
                ("/models/v%2Fm/", "model", "v%2Fm"),
                ("/models/v/m:free", "model", "v/m:free"),
            ] {
                assert_eq!(of(path), Some((name, id.to_owned())), "{prefix}{path}");
            }
        }
        for (path, name) in [
            ("/v1/models/v/m:generateContent", "gemini"),
            ("/v1beta/models/v/m:streamGenerateContent", "gemini"),
            ("/v1beta1/models/v/m:countTokens", "count_tokens"),
            ("/v1beta/models", "models"),
            ("/v1alpha/models/v/m", "model"),
        ] {
            assert_eq!(find(path).map(|(endpoint, _)| endpoint.name()), Some(name), "{path}");
        }
        for path in [
            "/v1beta/chat/completions",
            "/v1beta/cachedContents",
            "/v1",
            "/v1/",
            "//",
            "//v1",
            "///v1/models",
            "/v1//models",
            "/V1/models",
            "/v1/v1/v1/models",
            "/v1/messages/",
            "/v1/modelsx",
            "/v1/%6dodels",
            "/v1/../v1/models",
            "/v1/completions",
            "/v1/responses/resp_1",
            "",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
