//! Nothing of a request is lost silently: a member that is unknown goes on or is listed, wherever it stands.

#![expect(clippy::disallowed_types, reason = "the names of the members of samples are collected")]

use std::collections::BTreeSet;

use crossmodel_core::canon::{Caps, Profile, ProtocolId, Sealer, Target};
use crossmodel_core::failure::Result;
use crossmodel_core::translate::bridge::{RequestFacts, render};
use serde_json::Value;

/// The requests of each protocol. A member that nobody knows is put at each `~`, one at a time.
const REQUESTS: [(ProtocolId, &[&str]); 4] = [
    (ProtocolId::Chat, &[CHAT, CHAT_CHOICES, OLD_CHAT]),
    (ProtocolId::Responses, &[RESPONSES, RESPONSES_CHOICES]),
    (ProtocolId::Messages, &[MESSAGES]),
    (ProtocolId::Gemini, &[GEMINI]),
];

const CHAT: &str = r#"{~"model":"v/model","messages":[
    {~"role":"system","content":[{~"type":"text","text":"s"}]},
    {~"role":"user","content":[{~"type":"text","text":"t"},
        {~"type":"image_url","image_url":{~"url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}},
        {~"type":"file","file":{~"file_data":"data:application/pdf;base64,AAAA","filename":"a.pdf"}}]},
    {~"role":"assistant","content":[{~"type":"text","text":"b"}],"tool_calls":[
        {~"id":"call_1","type":"function","index":0,"function":{~"name":"f","arguments":"{}"}},
        {~"id":"call_2","type":"custom","custom":{~"name":"c","input":"x"}}]},
    {~"role":"tool","tool_call_id":"call_1","content":[{~"type":"text","text":"r"}]},
    {~"role":"tool","tool_call_id":"call_2","content":"r"},
    {~"role":"assistant","content":[{~"type":"refusal","refusal":"no"}]},
    {~"role":"user","content":"hi"}],
    "tools":[{~"type":"function","function":{~"name":"f","parameters":{"type":"object"}}},
        {~"type":"custom","custom":{~"name":"c","format":{~"type":"grammar","grammar":{~"syntax":"lark","definition":"start: x"}}}}],
    "tool_choice":{~"type":"function","function":{~"name":"f"}},
    "response_format":{~"type":"json_schema","json_schema":{~"name":"n","schema":{"type":"object"}}},
    "stream_options":{~"include_usage":true},"reasoning":{~"effort":"low"},"prompt_cache_options":{~"ttl":"1h"},
    "web_search_options":{~"search_context_size":"low","user_location":{~"type":"approximate","approximate":{~"country":"DE"}}}}"#;

const CHAT_CHOICES: &str = r#"{"model":"v/model","messages":[{"role":"user","content":"hi"}],
    "tools":[{~"type":"function","function":{~"name":"f","parameters":{"type":"object"}}}],
    "tool_choice":{~"type":"allowed_tools","allowed_tools":{~"mode":"auto","tools":[{~"type":"function","function":{~"name":"f"}}]}},
    "thinking":{~"type":"enabled","budget_tokens":2000},"response_format":{~"type":"json_object"}}"#;

const OLD_CHAT: &str = r#"{"model":"v/model","messages":[{"role":"user","content":"hi"},
    {~"role":"assistant","content":null,"function_call":{~"name":"f","arguments":"{}"}},
    {~"role":"function","name":"f","content":"x"}],
    "functions":[{~"name":"f","parameters":{"type":"object"}}],"function_call":{~"name":"f"}}"#;

const RESPONSES: &str = r#"{~"model":"v/model","instructions":"i","input":[
    {~"type":"message","role":"user","content":[{~"type":"input_text","text":"t"},
        {~"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"},
        {~"type":"input_file","file_data":"data:application/pdf;base64,AAAA","filename":"a.pdf"}]},
    {~"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[
        {~"type":"output_text","text":"t","annotations":[],"logprobs":[]},{~"type":"refusal","refusal":"n"}]},
    {~"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":"{}","status":"completed"},
    {~"type":"function_call_output","call_id":"call_1","output":[{~"type":"input_text","text":"x"}]},
    {~"type":"custom_tool_call","call_id":"call_2","name":"c","input":"x"},
    {~"type":"custom_tool_call_output","call_id":"call_2","output":"x"},
    {~"type":"additional_tools","role":"developer","tools":[{~"type":"function","name":"g","parameters":{"type":"object"}}]},
    {~"type":"configuration_update","reasoning":{~"effort":"high"},"text":{~"format":{~"type":"text"}}},
    {~"role":"developer","content":"d"},{~"role":"user","content":"hi"}],
    "tools":[{~"type":"function","name":"f","parameters":{"type":"object"}},
        {~"type":"custom","name":"c","format":{~"type":"grammar","syntax":"lark","definition":"start: x"}},
        {~"type":"namespace","name":"n","description":"d","tools":[{~"type":"function","name":"h","parameters":{"type":"object"}}]},
        {~"type":"web_search","filters":{~"allowed_domains":["a.com"]},"user_location":{~"type":"approximate","country":"DE"}}],
    "tool_choice":{~"type":"function","name":"f"},"reasoning":{~"effort":"low","summary":"auto"},
    "text":{~"format":{~"type":"json_schema","name":"n","schema":{"type":"object"}},"verbosity":"low"},
    "stream_options":{~"include_obfuscation":false},"prompt_cache_options":{~"ttl":"1h"}}"#;

const RESPONSES_CHOICES: &str = r#"{"model":"v/model","input":"hi",
    "tools":[{~"type":"function","function":{~"name":"f","parameters":{"type":"object"}}}],
    "tool_choice":{~"type":"allowed_tools","mode":"auto","tools":[{~"type":"function","name":"f"}]},
    "text":{"format":{~"type":"json_object"}}}"#;

const MESSAGES: &str = r#"{~"model":"v/model","max_tokens":999,"system":[{~"type":"text","text":"s"}],"messages":[
    {~"role":"user","content":[{~"type":"text","text":"t"},
        {~"type":"image","source":{~"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}},
        {~"type":"document","source":{~"type":"base64","media_type":"application/pdf","data":"AAAA"},"title":"T"},
        {~"type":"document","source":{~"type":"content","content":[{~"type":"text","text":"x"}]}},
        {~"type":"search_result","source":"s","title":"t","content":[{~"type":"text","text":"x"}]}]},
    {~"role":"assistant","content":[{~"type":"thinking","thinking":"t","signature":"S"},{~"type":"text","text":"a"},
        {~"type":"tool_use","id":"toolu_1","name":"f","input":{}}]},
    {~"role":"user","content":[{~"type":"tool_result","tool_use_id":"toolu_1","content":[{~"type":"text","text":"r"}]}]},
    {~"role":"system","content":[{~"type":"text","text":"s"},
        {~"type":"tool_addition","tool":{~"type":"tool_definition","definition":{~"name":"g","input_schema":{"type":"object"}}}},
        {~"type":"tool_removal","tool":{~"type":"tool_reference","name":"g"}}],"output_config":{~"effort":"low"}},
    {~"role":"user","content":"hi"}],
    "tools":[{~"name":"f","input_schema":{"type":"object"}},{~"type":"bash_20250124","name":"bash"},
        {~"type":"web_search_20250305","name":"web_search","user_location":{~"type":"approximate","country":"DE"}}],
    "tool_choice":{~"type":"tool","name":"f"},"thinking":{~"type":"adaptive"},
    "output_config":{~"effort":"low","format":{~"type":"json_schema","schema":{"type":"object"}}},"metadata":{~"user_id":"u"}}"#;

const GEMINI: &str = r#"{~"model":"v/model","systemInstruction":{~"parts":[{"text":"s"}]},"contents":[
    {"role":"user","parts":[{"text":"t"},{"inlineData":{~"mimeType":"image/png","data":"iVBORw0KGgo="}},
        {"fileData":{~"mimeType":"image/png","fileUri":"https://x/a.png"}}]},
    {"role":"model","parts":[{"functionCall":{~"name":"f","args":{}}}]},
    {"role":"user","parts":[{"functionResponse":{~"name":"f","response":{"output":"r"}}}]},
    {"role":"user","parts":[{"text":"hi"}]}],
    "tools":[{"functionDeclarations":[{~"name":"f","description":"d","parametersJsonSchema":{"type":"object"}}]},
        {"googleSearch":{~"excludeDomains":["a.com"]}}],
    "toolConfig":{~"functionCallingConfig":{~"mode":"AUTO"}},
    "generationConfig":{~"maxOutputTokens":100,"thinkingConfig":{~"includeThoughts":true}}}"#;

/// Returns what the provider is sent, and what is listed.
fn sent(client: ProtocolId, upstream: ProtocolId, body: &str) -> Result<(String, String)> {
    let profile = Profile { web_search: true, forward_unknown: false, ..Profile::default() };
    let sealer = Sealer::default();
    let model = "claude-opus-5";
    let caps = Caps::of(upstream, model, &profile);
    let target =
        Target { protocol: upstream, origin: "up", model, profile: &profile, caps: &caps, sealer: &sealer };
    let facts = RequestFacts {
        request_id: "req_1",
        now: 1,
        model: "v/model",
        strict: false,
        counting: false,
        output_cap: None,
    };
    let rendered = render(client.protocol(), body.as_bytes(), &target, &facts)?;
    let body = String::from_utf8_lossy(&rendered.body).into_owned();
    Ok((body, rendered.losses.header().unwrap_or_default()))
}

#[test]
fn a_member_that_nobody_knows_goes_on_or_is_listed() {
    for (client, requests) in REQUESTS {
        for request in requests {
            let pieces: Vec<&str> = request.split('~').collect();
            let usual = pieces.concat();
            for upstream in ProtocolId::ALL.into_iter().filter(|upstream| *upstream != client) {
                let (_, before) = sent(client, upstream, &usual).unwrap();
                for at in 1..pieces.len() {
                    let body = pieces[..at].concat() + r#""zz":7,"# + &pieces[at..].concat();
                    let (body, listed) = sent(client, upstream, &body).unwrap();
                    let is_told = body.contains("\"zz\"") || listed.contains("zz");
                    let place = pieces[at].get(..60).unwrap_or(pieces[at]);
                    assert!(is_told, "{client:?} to {upstream:?}, before {place}: {listed}");
                    let others: String = listed.split(", ").filter(|path| !path.contains("zz")).collect();
                    assert_eq!(
                        others,
                        before.replace(", ", ""),
                        "{client:?} to {upstream:?}, before {place}"
                    );
                }
            }
        }
    }
}

/// Collects the names of all members, at every depth.
fn collect_names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            found.insert(name.clone());
            collect_names(value, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, found)),
        _ => {}
    }
}

/// Returns the names of the members of an object that is cut off behind its bracket.
fn own_names(rest: &str) -> BTreeSet<String> {
    let text = format!("{{{rest}");
    let object = serde_json::Deserializer::from_str(&text).into_iter::<Value>().next();
    let Some(Ok(Value::Object(members))) = object else { return BTreeSet::new() };
    members.keys().cloned().collect()
}

#[test]
fn a_member_of_another_type_goes_on_or_is_listed() {
    for (client, requests) in REQUESTS {
        let mut known = BTreeSet::new();
        for request in requests {
            collect_names(&serde_json::from_str(&request.replace('~', "")).unwrap(), &mut known);
        }
        known.extend(MORE.into_iter().map(str::to_owned));
        let mut lost = BTreeSet::new();
        for request in requests {
            let pieces: Vec<&str> = request.split('~').collect();
            for upstream in ProtocolId::ALL.into_iter().filter(|upstream| *upstream != client) {
                for at in 1..pieces.len() {
                    let own = own_names(&pieces[at..].concat());
                    let place = pieces[at].get(..50).unwrap_or(pieces[at]);
                    let says_nothing = |name: &str| {
                        let mut known = NEUTRAL.iter().filter(|(neutral, _)| *neutral == name);
                        known.any(|(_, beginning)| place.starts_with(beginning))
                    };
                    for name in known.difference(&own).filter(|name| !says_nothing(name)) {
                        let member = format!("\"{name}\":\"zz\",");
                        let body = pieces[..at].concat() + &member + &pieces[at..].concat();
                        // What is refused is told, too.
                        let Ok((body, listed)) = sent(client, upstream, &body) else { continue };
                        let is_listed = listed.split(", ").any(|path| path.ends_with(name.as_str()));
                        if !body.contains("zz") && !is_listed {
                            lost.insert(format!("{name} before {place}"));
                        }
                    }
                }
            }
        }
        assert!(lost.is_empty(), "{client:?}: {lost:#?}");
    }
}

/// Members that no request above has.
const MORE: [&str; 9] = [
    "caller",
    "context",
    "is_error",
    "output_text",
    "reasoning_content",
    "reasoning_details",
    "thinking_blocks",
    "tool_reference",
    "video_url",
];

/// Members that say nothing to the model or only save cost, and the beginning of the objects for which that is true.
const NEUTRAL: &[(&str, &str)] = &[
    ("annotations", ""),
    ("cache_control", ""),
    ("citations", ""),
    ("id", ""),
    ("index", ""),
    ("logprobs", ""),
    ("status", ""),
    ("type", ""),
    // Some clients name the speaker, or repeat the name of the tool.
    ("name", r#""role":"#),
    ("name", r#""type":"function_call_output""#),
    ("name", r#""type":"custom_tool_call_output""#),
    // Reasoning of earlier turns goes only to models that want it.
    ("reasoning", r#""role":"assistant""#),
    ("reasoning_content", r#""role":"assistant""#),
    ("reasoning_details", r#""role":"assistant""#),
    ("thinking_blocks", r#""role":"assistant""#),
    // It is always the system.
    ("role", r#""parts":"#),
    // Gemini reads descriptions in the schema only.
    ("description", r#""type":"json_schema""#),
];
