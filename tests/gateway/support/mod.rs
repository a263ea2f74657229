//! A gateway process, scripted providers, and clients that show every byte.

mod client;
pub(crate) mod frames;
mod gateway;
mod h2;
mod mock;
mod terminal;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

pub(crate) use client::{Client, Response, ask, get, post, request};
pub(crate) use gateway::{Gateway, create_store, faults, free_port, run};
pub(crate) use h2::{End, H2Mock, h2_exchange, h2_post};
pub(crate) use mock::{Act, Gate, Mock, Seen, chunk, json, open, sse, whole};
pub(crate) use terminal::Terminal;

/// Looks again and again until something holds; gives whether it came to hold in time.
pub(crate) fn eventually(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// What a JSON document holds at a path of names and positions: the text of a string, the literal of any
/// other value, nothing for null and for what is not there.
pub(crate) fn member(json: &str, path: &str) -> String {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let value = match name.parse::<usize>() {
        Ok(n) => serde_json::from_str::<Vec<&RawValue>>(json).ok().and_then(|all| all.get(n).copied()),
        Err(_) => serde_json::from_str::<HashMap<String, &RawValue>>(json)
            .ok()
            .and_then(|all| all.get(name).copied()),
    };
    match value.map(RawValue::get) {
        None | Some("null") => String::new(),
        Some(value) if !rest.is_empty() => member(value, rest),
        Some(value) => serde_json::from_str(value).unwrap_or_else(|_| value.to_owned()),
    }
}

/// One model for each protocol, all answered by one provider at `port`, under names that it does not use
/// itself.
pub(crate) fn config(port: u16) -> String {
    config_with(port, "")
}

/// The same, with more members for the provider.
pub(crate) fn config_with(port: u16, provider: &str) -> String {
    format!(
        "providers:\n  up: {{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", \
         breaker_failures: 0, protocols: [chat, responses, messages]{provider}}}\n\
         models:\n  - {{id: v/model, targets: [{{provider: up, model: real-model}}]}}\n"
    )
}

/// The provider's credential, as every gateway of these tests has it.
pub(crate) const UPSTREAM_KEY: &str = "sk-upstream-canary";

/// A path, a request and an answer of each protocol. The answers name a model that no client asked for.
pub(crate) const PROTOCOLS: [(&str, &str, &str); 3] = [
    (
        "/v1/chat/completions",
        r#"{"model":"v/model","messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"id":"c","object":"chat.completion","model":"real-model-0613","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
    ),
    (
        "/v1/responses",
        r#"{"model":"v/model","input":"hi"}"#,
        r#"{"id":"resp_1","object":"response","status":"completed","model":"real-model-0613","output":[],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"v/model","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"id":"msg_1","type":"message","role":"assistant","model":"real-model-0613","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}"#,
    ),
];
