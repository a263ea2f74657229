//! The refusal of a path that is no endpoint. It names the path that the client has probably meant.

use crate::edge::call::endpoint::VERSION;
use crate::failure::{self, Failure, Kind};
use crate::protocol::REGISTRY;

/// Returns the 404 of a request whose path is no endpoint. It says the same whether the request has a key or not.
pub(in crate::edge) fn refusal(method: &str, path: &str) -> Failure {
    let hint = match meant(path) {
        Some(meant) => format!("Did you mean {meant}? "),
        None => String::new(),
    };
    let (method, path) = (failure::printable(method), failure::printable(path));
    let message = format!("There is no such endpoint: {method} {path}. {hint}{BASE_URLS}");
    Failure::new(Kind::UnknownUrl, message)
}

/// Returns the endpoint that a path most resembles, if it resembles one.
fn meant(path: &str) -> Option<String> {
    if path.len() > MAX_PATH_BYTES {
        return None;
    }
    let path = path.trim_end_matches('/');
    let contained = paths().find(|known| path.ends_with(known));
    let near = || {
        let below = path.trim_start_matches('/').trim_start_matches("v1/");
        let ranked = paths().map(|known| (distance(below, known.trim_start_matches('/')), known));
        ranked.filter(|(distance, _)| *distance <= MAX_DISTANCE).min().map(|(_, known)| known)
    };
    contained.or_else(near).map(|known| format!("{VERSION}{known}"))
}

/// The paths of all endpoints without `/v1`. A longer path comes before the ends of it.
fn paths() -> impl Iterator<Item = &'static str> {
    let of_protocols = REGISTRY.iter().flat_map(|protocol| [protocol.count_path(), Some(protocol.path())]);
    of_protocols.flatten().chain(["/models", "/credits", "/usage"])
}

/// Returns the number of bytes that have to be inserted, removed or replaced to turn one text into the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, a) in one.bytes().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(other.bytes()) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

const BASE_URLS: &str =
    "The base URL is http(s)://HOST/v1 for OpenAI's SDKs, and http(s)://HOST for Anthropic's.";

/// The longest path, in bytes, that is compared with those of the endpoints: more than any of them with a prefix.
const MAX_PATH_BYTES: usize = 120;

/// The most bytes in which a misspelled path may differ: a letter too many, too few or swapped.
const MAX_DISTANCE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::call::endpoint;

    #[test]
    fn a_path_that_resembles_an_endpoint_leads_to_it() {
        for (path, expected) in [
            ("/v1/mesages", "/v1/messages"),
            ("/v1/message", "/v1/messages"),
            ("/chat/completion", "/v1/chat/completions"),
            ("/v1/chat/completions/", "/v1/chat/completions"),
            ("/v1//chat/completions", "/v1/chat/completions"),
            ("/openai/v1/responses", "/v1/responses"),
            ("/anthropic/v1/messages/count_tokens", "/v1/messages/count_tokens"),
            ("/api/v1/models/", "/v1/models"),
            ("/v1/v1/v1/models", "/v1/models"),
            ("/v1/model", "/v1/models"),
        ] {
            assert_eq!(endpoint::find(path), None, "{path}");
            assert_eq!(meant(path).as_deref(), Some(expected), "{path}");
        }
        for path in ["/v1", "/v1/", "/v1/embeddings", "/metrics", "", &"/x".repeat(100)] {
            assert_eq!(meant(path), None, "{path}");
        }
    }

    #[test]
    fn distances_count_edits() {
        for (one, other, edits) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "", 2),
            ("models", "model", 1),
            ("abc", "axc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), edits, "{one} {other}");
        }
    }

    #[test]
    fn nothing_of_a_path_breaks_out_of_the_message() {
        let failure = refusal("GET", &format!("/\u{e9}\r\n\"{}", "x".repeat(300)));
        assert!(failure.message().starts_with("There is no such endpoint: GET /???\"xxx"), "{failure:?}");
        assert!(failure.message().len() < 300, "{failure:?}");
    }
}
