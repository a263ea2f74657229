//! Providers that refuse what the real ones refuse, model by model: whatever a client asks for, no request that is
//! translated for one of their models fails there.
//!
//! The tables stand for the providers' pages. They share nothing with those of the gateway, so that a wrong row there is
//! a failing call here.

use std::fmt::Write as _;

use crate::support::{Client, Gateway, Mock, PROTOCOLS, Response, json, member, request};

/// One of OpenAI's models.
struct OpenaiModel {
    name: &'static str,
    /// Its effort levels; the first one is what it does without being told.
    efforts: &'static [&'static str],
    /// The efforts with which it takes tools in Chat; nothing stands for a request without an effort. `None`: any.
    with_tools: Option<&'static [&'static str]>,
    /// Whether it takes sampling parameters while its effort is `none`.
    samples: bool,
    /// Whether it is served in Chat.
    in_chat: bool,
}

const fn model(
    name: &'static str,
    efforts: &'static [&'static str],
    with_tools: Option<&'static [&'static str]>,
    samples: bool,
) -> OpenaiModel {
    OpenaiModel { name, efforts, with_tools, samples, in_chat: true }
}

/// A model that is served in Responses alone.
const fn modern(name: &'static str, efforts: &'static [&'static str]) -> OpenaiModel {
    OpenaiModel { name, efforts, with_tools: Some(&[]), samples: false, in_chat: false }
}

const OLD: &[&str] = &[];
const TO_HIGH: &[&str] = &["medium", "low", "high"];
const TO_XHIGH: &[&str] = &["medium", "low", "high", "xhigh"];
const TO_MAX: &[&str] = &["medium", "low", "high", "xhigh", "max"];
const OFF_TO_XHIGH: &[&str] = &["none", "low", "medium", "high", "xhigh"];
const OFF_AND_MAX: &[&str] = &["medium", "none", "low", "high", "xhigh", "max"];
const PLAIN: Option<&[&str]> = Some(&["", "none"]);
const OFF: Option<&[&str]> = Some(&["none"]);
const NEVER: Option<&[&str]> = Some(&[]);

#[rustfmt::skip]
const OPENAI: &[OpenaiModel] = &[
    model("gpt-3.5-turbo", OLD, None, true),
    model("gpt-4-turbo", OLD, None, true),
    model("gpt-4.1-mini", OLD, None, true),
    model("gpt-4o-2024-11-20", OLD, None, true),
    model("chatgpt-4o-latest", OLD, None, true),
    model("gpt-5-chat-latest", OLD, None, true),
    model("gpt-5.1-chat-latest", OLD, None, true),
    model("gpt-5.2-chat-latest", OLD, None, true),
    model("gpt-5.3-chat-latest", OLD, None, true),
    model("chat-latest", OLD, None, true),
    model("o1", TO_HIGH, None, false),
    model("o3-2025-04-16", TO_HIGH, None, false),
    model("o4-mini", TO_HIGH, None, false),
    modern("gpt-5-pro", &["high"]),
    modern("o3-pro", &["medium", "high", "xhigh"]),
    modern("gpt-5.4-pro", &["medium", "high", "xhigh"]),
    modern("gpt-5-codex", TO_HIGH),
    modern("gpt-5.1-codex", TO_HIGH),
    modern("gpt-5.1-codex-mini", TO_HIGH),
    modern("gpt-5.1-codex-max", TO_XHIGH),
    modern("gpt-5.3-codex", TO_XHIGH),
    model("gpt-5", &["medium", "minimal", "low", "high"], None, false),
    model("gpt-5-mini-2025-08-07", &["medium", "minimal", "low", "high"], None, false),
    model("gpt-5-nano", &["medium", "minimal", "low", "high"], None, false),
    model("gpt-5.1", &["none", "low", "medium", "high"], None, true),
    model("gpt-5.2", OFF_TO_XHIGH, None, true),
    model("gpt-5.3", OFF_TO_XHIGH, None, true),
    model("gpt-5.4-2026-03-05", OFF_TO_XHIGH, PLAIN, true),
    model("gpt-5.5", OFF_TO_XHIGH, PLAIN, true),
    model("gpt-5.6-luna", OFF_AND_MAX, OFF, true),
    model("gpt-6-sol", OFF_AND_MAX, OFF, true),
    model("gpt-6-luna", OFF_AND_MAX, OFF, true),
    model("gpt-6.1-terra", OFF_AND_MAX, OFF, true),
    model("gpt-6-astra", TO_MAX, NEVER, false),
    model("gpt-6.1-sol", TO_MAX, NEVER, false),
    model("gpt-6.2", TO_MAX, NEVER, false),
    model("gpt-7", TO_MAX, NEVER, false),
];

/// Members of requests that OpenAI knows, of those that translated requests may have.
const KNOWN: &[&str] = &[
    "model",
    "messages",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "stream",
    "max_completion_tokens",
    "max_output_tokens",
    "temperature",
    "top_p",
    "stop",
    "reasoning_effort",
    "reasoning",
    "store",
    "include",
    "frequency_penalty",
    "safety_identifier",
];

impl OpenaiModel {
    /// Whether it knows this effort level.
    fn takes(&self, effort: &str, in_chat: bool) -> bool {
        // One model, like those that nobody knows yet, has a level less in Chat than in Responses.
        let is_missing = in_chat && effort == "max" && matches!(self.name, "gpt-6.1-sol" | "gpt-7");
        !is_missing && self.efforts.contains(&effort)
    }

    /// Whether it takes sampling parameters beside this effort; nothing stands for a request without one.
    fn can_sample(&self, effort: &str) -> bool {
        let level = if effort.is_empty() { self.efforts.first().copied() } else { Some(effort) };
        self.samples && level.is_none_or(|level| level == "none")
    }

    /// Returns the reason for which it refuses a request, if it does.
    fn refusal(&self, body: &str, in_chat: bool) -> Option<String> {
        let unknown = members(body).into_iter().find(|name| !KNOWN.contains(&name.as_str()));
        if let Some(name) = unknown {
            return Some(format!("Unknown parameter: '{name}'."));
        }
        let effort = member(body, if in_chat { "reasoning_effort" } else { "reasoning.effort" });
        if !effort.is_empty() && !self.takes(&effort, in_chat) {
            return Some(format!("Unsupported value: '{effort}'."));
        }
        if self.efforts.is_empty() && !member(body, "reasoning").is_empty() {
            return Some("Unsupported parameter: 'reasoning'.".to_owned());
        }
        let samples = self.can_sample(&effort);
        let sampler = ["temperature", "top_p", "stop", "frequency_penalty"];
        if let Some(name) = sampler.into_iter().find(|name| !samples && !member(body, name).is_empty()) {
            return Some(format!("Unsupported parameter: '{name}'."));
        }
        let is_fine = self.with_tools.is_none_or(|efforts| efforts.contains(&effort.as_str()));
        (in_chat && !is_fine && !member(body, "tools").is_empty())
            .then(|| "Function tools are not supported with this reasoning effort in Chat.".to_owned())
    }
}

/// One of Anthropic's models.
struct ClaudeModel {
    name: &'static str,
    /// The kinds of `thinking` that it takes.
    thinking: &'static [&'static str],
    efforts: &'static [&'static str],
    samples: bool,
    can_be_forced: bool,
}

const fn claude(
    name: &'static str,
    thinking: &'static [&'static str],
    efforts: &'static [&'static str],
    can_be_forced: bool,
) -> ClaudeModel {
    ClaudeModel { name, thinking, efforts, samples: false, can_be_forced }
}

const BUDGET: &[&str] = &["enabled", "disabled"];
const BOTH: &[&str] = &["enabled", "adaptive", "disabled"];
const ADAPTIVE: &[&str] = &["adaptive", "disabled"];
const BETWEEN: &[&str] = &["adaptive", "between_tools"];
const ALWAYS: &[&str] = &["adaptive"];
const ALL: &[&str] = &["low", "medium", "high", "xhigh", "max"];
const NOT_XHIGH: &[&str] = &["low", "medium", "high", "max"];

#[rustfmt::skip]
const CLAUDE: &[ClaudeModel] = &[
    ClaudeModel { samples: true, ..claude("claude-haiku-4-5", BUDGET, &[], true) },
    ClaudeModel { samples: true, ..claude("claude-sonnet-4-5-20250929", BUDGET, &[], true) },
    ClaudeModel { samples: true, ..claude("claude-opus-4-5", BUDGET, &["low", "medium", "high"], true) },
    ClaudeModel { samples: true, ..claude("claude-opus-4-6", BOTH, NOT_XHIGH, true) },
    ClaudeModel { samples: true, ..claude("claude-sonnet-4-6", BOTH, NOT_XHIGH, true) },
    claude("claude-opus-4-7", ADAPTIVE, ALL, true),
    claude("claude-opus-4-8", ADAPTIVE, ALL, true),
    claude("claude-sonnet-5", ADAPTIVE, ALL, true),
    claude("claude-opus-5", ADAPTIVE, ALL, true),
    claude("claude-fable-5", ALWAYS, ALL, true),
    claude("claude-mythos-5", ALWAYS, ALL, true),
    claude("claude-fable-5-1", ALWAYS, ALL, false),
    claude("claude-mythos-5-1", ALWAYS, ALL, false),
    claude("claude-fable-5-2", ALWAYS, ALL, false),
    claude("claude-mythos-5-2", ALWAYS, ALL, false),
    claude("claude-mythos-preview", ALWAYS, ALL, false),
    claude("claude-opus-5-5", ALWAYS, ALL, false),
    claude("claude-sonnet-5-5", BETWEEN, ALL, false),
    claude("claude-haiku-5-5", ADAPTIVE, ALL, true),
    claude("claude-opus-7", ALWAYS, ALL, false),
];

impl ClaudeModel {
    /// Returns the reason for which it refuses a request, if it does.
    fn refusal(&self, body: &str) -> Option<String> {
        let (thinking, effort) = (member(body, "thinking.type"), member(body, "output_config.effort"));
        if !thinking.is_empty() && !self.thinking.contains(&thinking.as_str()) {
            return Some(format!("thinking.type: '{thinking}' is not supported for this model"));
        }
        if !effort.is_empty() && !self.efforts.contains(&effort.as_str()) {
            return Some(format!("output_config.effort: '{effort}' is not supported for this model"));
        }
        let is_off = matches!(thinking.as_str(), "disabled" | "between_tools");
        if is_off && matches!(effort.as_str(), "xhigh" | "max") {
            return Some(format!("output_config.effort: '{effort}' needs thinking"));
        }
        let (temperature, top_p) = (member(body, "temperature"), member(body, "top_p"));
        let thinks = !thinking.is_empty() && !is_off;
        if !temperature.is_empty() && (thinks || !self.samples || !top_p.is_empty()) {
            return Some("temperature: deprecated for this model".to_owned());
        }
        if !top_p.is_empty() && !self.samples {
            return Some("top_p: deprecated for this model".to_owned());
        }
        let is_forced = matches!(member(body, "tool_choice.type").as_str(), "any" | "tool");
        (is_forced && (thinks || !self.can_be_forced)).then(|| "tool_choice: not supported".to_owned())
    }
}

/// The names of the members of a request.
fn members(body: &str) -> Vec<String> {
    let all: std::collections::HashMap<String, &serde_json::value::RawValue> =
        serde_json::from_str(body).unwrap();
    all.into_keys().collect()
}

/// The wish of a client about thinking.
const WISHES: [&str; 8] = ["", "none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// The tools of a request, and whether it forces a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tools {
    None,
    Offered,
    Forced,
}

/// A request in one of the protocols that asks for everything.
fn wish(protocol: usize, model: &str, effort: &str, tools: Tools) -> String {
    let mut body = format!(r#"{{"model":"{model}","temperature":0.5,"top_p":0.96"#);
    body.push_str(match (protocol, tools) {
        (_, Tools::None) => "",
        (0, _) => r#","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]"#,
        (1, _) => r#","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}]"#,
        _ => r#","tools":[{"name":"f","input_schema":{"type":"object"}}]"#,
    });
    body.push_str(match (protocol, tools) {
        (_, Tools::None | Tools::Offered) => "",
        (2, Tools::Forced) => r#","tool_choice":{"type":"any"}"#,
        (_, Tools::Forced) => r#","tool_choice":"required""#,
    });
    let words = match (protocol, effort) {
        (_, "") => String::new(),
        (0, effort) => format!(r#","reasoning_effort":"{effort}""#),
        (1, effort) => format!(r#","reasoning":{{"effort":"{effort}","summary":"auto"}}"#),
        (_, "none") => r#","thinking":{"type":"disabled"}"#.to_owned(),
        (_, "minimal") => r#","thinking":{"type":"enabled","budget_tokens":1024}"#.to_owned(),
        (_, effort) => {
            format!(r#","thinking":{{"type":"adaptive"}},"output_config":{{"effort":"{effort}"}}"#)
        }
    };
    body.push_str(&words);
    body.push_str(match protocol {
        0 => r#","stop":["END"],"frequency_penalty":0.5,"session_id":"s","messages":[{"role":"user","content":"hi"}]}"#,
        1 => r#","frequency_penalty":0.5,"session_id":"s","input":"hi"}"#,
        _ => r#","max_tokens":9000,"stop_sequences":["END"],"messages":[{"role":"user","content":"hi"}]}"#,
    });
    body
}

/// A gateway before a provider that refuses, in one protocol, what the real one refuses there.
fn strict(preset: &str, protocol: &str, names: impl Iterator<Item = &'static str>) -> (Gateway, Mock) {
    let mock = Mock::scripted(|seen, _| {
        let body = seen.text();
        let name = member(&body, "model");
        let place = PROTOCOLS.iter().position(|known| seen.head.contains(known.0)).unwrap();
        let openai = OPENAI.iter().find(|model| model.name == name);
        let claude = CLAUDE.iter().find(|model| model.name == name);
        let refusal = openai.and_then(|model| model.refusal(&body, place == 0));
        match refusal.or_else(|| claude.and_then(|model| model.refusal(&body))) {
            Some(why) => {
                json(400, "", &format!(r#"{{"error":{{"message":"{why}","type":"invalid_request_error"}}}}"#))
            }
            None => json(200, "", PROTOCOLS[place].2),
        }
    });
    let mut config = format!(
        "providers:\n  up: {{preset: {preset}, base_url: \"http://127.0.0.1:{}/v1\", key: \"env:UPSTREAM_KEY\", \
         breaker_failures: 0, protocols: [{protocol}]}}\nmodels:\n",
        mock.port
    );
    for name in names {
        writeln!(config, "  - {{id: v/{name}, targets: [{{provider: up, model: {name}}}]}}").unwrap();
    }
    (Gateway::start(&config), mock)
}

/// A client's request, and its result.
struct Asked<'r> {
    effort: &'static str,
    tools: Tools,
    response: &'r Response,
    /// The request that the provider got, if it got one.
    sent: &'r str,
}

/// Asks for everything, in each protocol but one, of each of the models. Gives what went wrong.
fn wrong(
    (gateway, mock): &(Gateway, Mock),
    models: impl Iterator<Item = &'static str>,
    upstream: usize,
    is_right: impl Fn(&str, &Asked<'_>) -> bool,
) -> String {
    let mut client = Client::connect(gateway.port);
    let mut report = String::new();
    for name in models {
        for protocol in (0..PROTOCOLS.len()).filter(|protocol| *protocol != upstream) {
            for effort in WISHES {
                for tools in [Tools::None, Tools::Offered, Tools::Forced] {
                    let body = wish(protocol, &format!("v/{name}"), effort, tools);
                    client.send(request(PROTOCOLS[protocol].0, &gateway.key, &body).as_bytes());
                    let response = client.receive();
                    let sent = mock.take().pop().map(|seen| seen.text()).unwrap_or_default();
                    // Messages has no such level; the least budget stands for the next one.
                    let effort = if protocol == 2 && effort == "minimal" { "low" } else { effort };
                    if !is_right(name, &Asked { effort, tools, response: &response, sent: &sent }) {
                        let told = &response.body;
                        writeln!(report, "{} {told}\n  of {body}\n  as {sent}", response.status).unwrap();
                    }
                }
            }
        }
    }
    report
}

/// Whether one of OpenAI's models got as much of a wish as it accepts.
fn is_openai_served(name: &str, asked: &Asked<'_>, in_chat: bool) -> bool {
    let model = OPENAI.iter().find(|model| model.name == name).unwrap();
    let has_tools = in_chat && asked.tools != Tools::None;
    let efforts = model.with_tools.filter(|_| has_tools);
    if efforts.is_some_and(<[_]>::is_empty) {
        // Tools that no request of this protocol may have are refused before the provider sees them.
        return asked.response.status == 400
            && asked.sent.is_empty()
            && asked.response.body.contains("Responses");
    }
    let effort = member(asked.sent, if in_chat { "reasoning_effort" } else { "reasoning.effort" });
    let is_takeable =
        model.takes(asked.effort, in_chat) && efforts.is_none_or(|efforts| efforts.contains(&asked.effort));
    let samples = !member(asked.sent, "temperature").is_empty();
    asked.response.status == 200
        && (!is_takeable || effort == asked.effort)
        && samples == model.can_sample(&effort)
}

#[test]
fn models_in_responses_get_what_they_accept() {
    let names = || OPENAI.iter().map(|model| model.name);
    let place = strict("openai", "responses", names());
    let report = wrong(&place, names(), 1, |name, asked| is_openai_served(name, asked, false));
    assert!(report.is_empty(), "{report}");
}

#[test]
fn models_in_chat_get_what_they_accept() {
    let names = || OPENAI.iter().filter(|model| model.in_chat).map(|model| model.name);
    let place = strict("openai", "chat", names());
    let report = wrong(&place, names(), 0, |name, asked| is_openai_served(name, asked, true));
    assert!(report.is_empty(), "{report}");
}

#[test]
fn models_in_messages_get_what_they_accept() {
    let names = || CLAUDE.iter().map(|model| model.name);
    let place = strict("anthropic", "messages", names());
    let report = wrong(&place, names(), 2, |name, asked| {
        let model = CLAUDE.iter().find(|model| model.name == name).unwrap();
        let is_takeable = model.thinking.contains(&"adaptive") && model.efforts.contains(&asked.effort);
        let effort = member(asked.sent, "output_config.effort");
        let is_forced = member(asked.sent, "tool_choice.type") == "any";
        asked.response.status == 200
            && (!is_takeable || effort == asked.effort)
            && is_forced == (asked.tools == Tools::Forced && model.can_be_forced)
    });
    assert!(report.is_empty(), "{report}");
}

#[test]
fn the_provider_refuses_what_the_real_one_refuses() {
    let refuses = |name: &str, body: &str, in_chat| {
        let model = OPENAI.iter().find(|model| model.name == name).unwrap();
        model.refusal(body, in_chat).is_some()
    };
    assert!(refuses("gpt-6.2", r#"{"reasoning":{"effort":"none"}}"#, false));
    assert!(refuses("gpt-5.4-2026-03-05", r#"{"reasoning_effort":"low","tools":[1]}"#, true));
    assert!(!refuses("gpt-5.4-2026-03-05", r#"{"tools":[1],"temperature":0.5}"#, true));
    assert!(refuses("gpt-5.6-luna", r#"{"tools":[1]}"#, true) && refuses("gpt-5", r#"{"top_p":1}"#, false));
    assert!(refuses("gpt-4.1-mini", r#"{"session_id":1}"#, false));
    let claude = |name: &str, body: &str| {
        CLAUDE.iter().find(|model| model.name == name).unwrap().refusal(body).is_some()
    };
    assert!(claude("claude-opus-5-5", r#"{"thinking":{"type":"disabled"}}"#));
    assert!(claude("claude-fable-5-2", r#"{"tool_choice":{"type":"any"}}"#));
    assert!(!claude("claude-haiku-5-5", r#"{"tool_choice":{"type":"any"}}"#));
}
