//! The built-in provider `demo`, without its transport: a request goes in, a [`Script`] of what to send comes
//! out.
//!
//! It speaks OpenAI Chat Completions, OpenAI Responses and Anthropic Messages in the same way as the real
//! providers, with a dated model name, usage, tool calls, reasoning and structured output. The same request always
//! gives the same bytes: there is no clock and no chance in it, and ids are made from the request. So it also
//! serves as the mock of the tests and the benchmarks.
//!
//! # What it answers
//!
//! The answer is the last user text, after `You said: `. If there are tools, it calls the chosen one, or else the
//! first one that starts no other agent, until a tool result follows the last assistant message. Then the answer is that result, after `The
//! tool answered: `. If there is a JSON schema, the answer fills it. A text is sent word by word, and arguments in
//! three pieces. All of these, and the words of the reasoning, are called *deltas* below.
//!
//! # Directives
//!
//! The last user message may hold directives, several at once, and they are not part of what was said. What is
//! not known is passed over. A fault whose place is never reached happens after the last delta.
//!
//! | Directive | Answer |
//! |---|---|
//! | `[demo:status=N]` | status N with the provider's error; 429, 503 and 529 with `retry-after: 7` |
//! | `[demo:code=TEXT]` | the code (OpenAI) or type (Anthropic) of that error, or of those below |
//! | `[demo:html]` | with `status`: the body is an HTML page |
//! | `[demo:error-first]` | status 200, and the first event (or the body) is the protocol's error |
//! | `[demo:error=N]` | after N deltas that error event, then the body ends |
//! | `[demo:failed=N]` | responses: after N deltas `response.failed`; unary a response that failed |
//! | `[demo:cut=N]` | after N deltas, or N bytes of a unary body, the connection is closed |
//! | `[demo:end=N]` | after N deltas the body ends as if it were whole |
//! | `[demo:stall=N]` | after N deltas, or N bytes of a unary body, nothing more comes |
//! | `[demo:wait=MS]` | so many milliseconds, at most a minute, pass before the first byte |
//! | `[demo:slow=MS]` | so many milliseconds, at most a minute, pass between two events |
//! | `[demo:words=N]` | the text is `word0 word1 …`, N words, at most 10,000 |
//! | `[demo:huge=BYTES]` | the text is one delta of so many letters `x`, at most 1 MiB |
//! | `[demo:body]` | the text is the body of the request, as it arrived, at most 1 MiB of it |
//! | `[demo:calls=N]` | the first N tools, at most 32, are called at once, the chosen one first |
//! | `[demo:limit]` | the answer ends as if its limit of tokens had been reached |
//! | `[demo:quote]` | before the text stands one that looks like a `model` member |
//! | `[demo:chunk=N]` | the body is sent in pieces of N bytes, wherever events end; a large one in 50,000 pieces |
//! | `[demo:crlf]` | the lines of a stream end in CR LF |
//! | `[demo:no-usage]` | no usage anywhere |
//! | `[demo:no-done]` | chat: the stream ends without `[DONE]` |
//! | `[demo:no-tools]` | no tool is called: coding clients always offer some, and would run them |
//!
//! `words`, `huge`, `body` and `quote` ask for a text. If a tool is called as well, the text comes before the
//! call. `error` and `end` have no effect on a unary answer. Of several faults, the last one counts.

mod chat;
mod conversation;
mod directive;
mod error;
mod event_buffer;
mod exchange;
mod json;
mod messages;
mod protocol;
mod reply;
mod request;
mod responses;
mod schema;
mod script;

use directive::Directives;
use error::ProviderError;
use exchange::{count, exchange, generate, refuse};
use protocol::{DemoProtocol, JSON};
use reply::CREATED;

pub use script::{Script, ScriptStep};

/// The models, each named after the protocol that it is meant for. All of them answer in all protocols.
pub const MODELS: &[&str] = &["chat", "responses", "messages"];

/// Answers one request. A query in the path is ignored.
pub fn answer(method: &str, path: &str, body: &[u8]) -> Script {
    let route = path.split_once('?').map_or(path, |(route, _)| route);
    match (method, route) {
        ("POST", "/v1/chat/completions") => exchange(DemoProtocol::Chat, body, generate),
        ("POST", "/v1/responses") => exchange(DemoProtocol::Responses, body, generate),
        ("POST", "/v1/messages") => exchange(DemoProtocol::Messages, body, generate),
        ("POST", "/v1/responses/input_tokens") => exchange(DemoProtocol::Responses, body, count),
        ("POST", "/v1/messages/count_tokens") => exchange(DemoProtocol::Messages, body, count),
        ("GET", "/v1/models") => models(body),
        _ => unknown(method, route, body),
    }
}

fn models(body: &[u8]) -> Script {
    let list = json::body(|o| {
        o.text("object", "list").array("data", |list| {
            for model in MODELS {
                list.object(|o| {
                    o.text("id", model)
                        .text("object", "model")
                        .number("created", CREATED)
                        .text("owned_by", "demo");
                });
            }
        });
    });
    Script::unary(200, DemoProtocol::Chat.headers(JSON, &request::hash(body)), list, &Directives::default())
}

fn unknown(method: &str, route: &str, body: &[u8]) -> Script {
    let protocol =
        if route.starts_with("/v1/messages") { DemoProtocol::Messages } else { DemoProtocol::Chat };
    let message = format!("Invalid URL ({method} {route})");
    refuse(protocol, 404, &ProviderError::request(&message, "not_found_error"), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [(&str, &str); 3] =
        [("/v1/chat/completions", "messages"), ("/v1/responses", "input"), ("/v1/messages", "messages")];

    /// The answers of the three protocols to one text.
    fn ask(said: &str, stream: bool) -> [Script; 3] {
        PATHS.map(|(path, key)| {
            let body = format!(r#"{{"stream":{stream},"{key}":[{{"role":"user","content":"{said}"}}]}}"#);
            answer("POST", path, body.as_bytes())
        })
    }

    fn header<'s>(script: &'s Script, name: &str) -> Option<&'s str> {
        script.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn names_a_dated_model() {
        for (script, model) in ask("a", false).iter().zip(MODELS) {
            assert!(script.text().contains(&format!(r#""model":"{model}-2026-01-01""#)));
        }
    }

    #[test]
    fn gives_the_same_answer_to_the_same_request() {
        assert_eq!(ask("a", true), ask("a", true));
        assert_ne!(ask("a", true), ask("b", true));
    }

    #[test]
    fn sends_one_piece_for_each_event() {
        for script in ask("a b", true) {
            assert_eq!((script.steps.len(), script.length()), (script.events().len(), None));
            assert_eq!(header(&script, "content-type"), Some("text/event-stream; charset=utf-8"));
        }
    }

    #[test]
    fn stops_after_so_many_deltas() {
        let ends: [(&str, Option<ScriptStep>); 3] =
            [("cut", Some(ScriptStep::Cut)), ("stall", Some(ScriptStep::Stall)), ("end", None)];
        for (verb, last) in ends {
            for script in ask(&format!("b c [demo:{verb}=3]"), true) {
                assert!(script.text().contains("\"b \"") && !script.text().contains("\"c\""));
                assert_eq!(
                    script.steps.last().filter(|step| !matches!(step, ScriptStep::Send(_))),
                    last.as_ref()
                );
            }
        }
    }

    #[test]
    fn errs_in_the_stream() {
        for script in ask("b c [demo:error=3][demo:code=odd]", true) {
            let events = script.events();
            let (end, rest) = events.split_last().unwrap();
            assert!(end.1.contains("\"odd\"") && rest.last().unwrap().1.contains("\"b \""));
        }
        assert!(ask("[demo:error-first]", true).iter().all(|script| script.events().len() == 1));
        assert!(ask("[demo:error-first]", false).iter().all(|script| script.text().contains("\"error\":{")));
    }

    #[test]
    fn answers_with_a_status() {
        for script in ask("[demo:status=429]", true) {
            assert_eq!((script.status, header(&script, "retry-after")), (429, Some("7")));
            assert!(script.length().is_some() && script.text().contains("\"type\":\"rate_limit_error\""));
        }
        for script in ask("[demo:status=502][demo:html]", false) {
            assert_eq!((script.status, header(&script, "content-type")), (502, Some("text/html")));
            assert!(script.text().starts_with("<html>"));
        }
    }

    #[test]
    fn the_bytes_do_not_depend_on_how_they_are_sent() {
        let whole = ask("a b [demo:sing=0005]", true);
        for (script, pieces) in whole.iter().zip(ask("a b [demo:chunk=005]", true)) {
            assert_eq!(pieces.text().len(), script.text().len());
            assert_eq!(pieces.steps.len(), script.text().len().div_ceil(5));
        }
        for (script, plain) in ask("a [demo:crlf]", true).iter().zip(&whole) {
            assert!(script.text().replace("\r\n", "").find('\n').is_none());
            assert!(plain.text().find('\r').is_none());
        }
    }

    #[test]
    fn quotes_a_model_inside_a_text() {
        for script in ask("a [demo:quote]", false) {
            assert!(
                script.text().contains(r#"{\"model\":\"quoted-model\"} \\\"model\\\":\\\"x\\\" You said: a"#)
            );
        }
    }

    #[test]
    fn counts_and_lists() {
        let count = |path| answer("POST", path, br#"{"model":"m"}"#).text();
        assert_eq!(count("/v1/messages/count_tokens?beta=true"), r#"{"input_tokens":4}"#);
        assert_eq!(
            count("/v1/responses/input_tokens"),
            r#"{"object":"response.input_tokens","input_tokens":4}"#
        );
        let list = answer("GET", "/v1/models", b"").text();
        assert!(MODELS.iter().all(|model| list.contains(&format!(r#"{{"id":"{model}","object":"model""#))));
    }

    #[test]
    fn refuses_other_paths_and_other_bodies() {
        let told = |method, path, body: &[u8]| {
            let script = answer(method, path, body);
            (script.status, script.text().starts_with(r#"{"type":"error""#))
        };
        assert_eq!(told("GET", "/v1/chat/completions", b""), (404, false));
        assert_eq!(told("POST", "/v1/messages/batches", b"{}"), (404, true));
        assert_eq!(told("POST", "/v1/responses", b"{"), (400, false));
        assert_eq!(told("POST", "/v1/messages", b"[]"), (400, true));
    }
}
