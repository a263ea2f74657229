//! Requests of clients, in the canonical form.

use super::*;
use crate::canon::{Caps, Effort, FieldPolicy, Format, Part, Profile, Role, Sealer, ToolKind};

fn decode<'a>(json: &'a str, to: ProtocolId, profile: &Profile) -> Result<(Request<'a>, Option<String>)> {
    let caps = Caps::of(to, "m", profile);
    let target =
        Target { protocol: to, origin: "o", model: "m", profile, caps: &caps, sealer: &Sealer::default() };
    let mut losses = Losses::default();
    let request = read(&Document::read(json), &target, &mut losses)?;
    Ok((request, losses.header()))
}

fn chat(json: &str) -> Result<(Request<'_>, Option<String>)> {
    decode(json, ProtocolId::Chat, &Profile::default())
}

fn messages(json: &str) -> Result<(Request<'_>, Option<String>)> {
    decode(json, ProtocolId::Messages, &Profile::default())
}

#[test]
fn the_table_says_what_is_done() {
    for field in FIELDS {
        let input = if field.name == "input" { "" } else { r#""input":"x","# };
        let body = format!(r#"{{{input}"{}":{}}}"#, field.name, field.sample);
        for to in [ProtocolId::Chat, ProtocolId::Messages] {
            let done = decode(&body, to, &Profile::default());
            match (field.policy(to), done) {
                (FieldPolicy::Refused, Err(refusal)) => {
                    assert_eq!(refusal.param(), Some(field.name), "{to}");
                }
                (FieldPolicy::Dropped, Ok((_, lost))) => assert!(lost.unwrap().starts_with(field.name)),
                (FieldPolicy::Mapped | FieldPolicy::Silent, Ok((_, lost))) => {
                    assert_eq!(lost, None, "{}", field.name);
                }
                (carry, done) => panic!("{} {to} {carry:?} {done:?}", field.name),
            }
            for neutral in field.neutral {
                let body = format!(r#"{{"input":"x","{}":{neutral}}}"#, field.name);
                let lost = decode(&body, to, &Profile::default()).unwrap().1;
                assert_eq!(lost, None, "{} {neutral}", field.name);
            }
        }
    }
}

#[test]
fn a_whole_request() {
    let (request, lost) = chat(
            r#"{"model":"a/b","instructions":"Be brief.","input":[{"role":"developer","content":"d"},{"role":"user","content":"hi"}],
            "stream":true,"max_output_tokens":99.6,"temperature":0.50,"top_p":1,"tool_choice":"required",
            "parallel_tool_calls":false,"tools":[{"type":"function","name":"f"}],"user":"u","safety_identifier":"s",
            "service_tier":"flex","reasoning":{"effort":"high"},"stop":["x"]}"#,
        )
        .unwrap();
    assert_eq!(lost, None);
    let system: Vec<_> = request.system.iter().map(|text| text.text.raw()).collect();
    assert_eq!((system, request.turns.len(), request.turns[0].role), (vec!["Be brief.", "d"], 1, Role::User));
    assert!(request.stream && request.parallel == Some(false));
    assert_eq!((request.max_output, request.thinking.effort), (Some(100), Some(Effort::High)));
    assert_eq!(request.samplers.temperature.unwrap().get(), "0.50");
    assert_eq!((request.user.as_deref(), request.tier.as_deref()), (Some("s"), Some("flex")));
    assert_eq!(request.extra[0].name, "stop");
}

#[test]
fn an_input_is_needed_unless_there_are_instructions() {
    for bad in ["{}", r#"{"input":[]}"#, r#"{"input":null,"instructions":""}"#] {
        let refusal = chat(bad).unwrap_err();
        assert_eq!((refusal.param(), refusal.code()), (Some("input"), "invalid_messages"));
    }
    assert!(chat(r#"{"instructions":"x"}"#).is_ok());
    assert_eq!(chat(r#"{"input":7}"#).unwrap_err().param(), Some("input"));
    assert_eq!(
        chat(r#"{"input":"x","max_output_tokens":0}"#).unwrap_err().param(),
        Some("max_output_tokens")
    );
}

#[test]
fn state_of_the_server_is_refused_with_its_own_code() {
    // Golden case 63.
    for (name, value) in [
        ("previous_response_id", "\"resp_1\""),
        ("conversation", "{\"id\":\"c\"}"),
        ("prompt", "{}"),
        ("background", "true"),
    ] {
        let body = format!(r#"{{"input":"x","{name}":{value}}}"#);
        let refusal = chat(&body).unwrap_err();
        assert_eq!(
            (refusal.status(), refusal.code(), refusal.param()),
            (400, "unsupported_responses_feature", Some(name))
        );
    }
    let message = chat(r#"{"input":"x","previous_response_id":"r"}"#).unwrap_err();
    assert!(message.message().contains("send the full conversation in `input`"));
    assert!(
        chat(r#"{"input":"x","previous_response_id":"","conversation":null,"background":false}"#).is_ok()
    );
}

#[test]
fn what_clients_send_by_habit_is_accepted() {
    // Golden case 64.
    let body =
        r#"{"input":"x","store":true,"include":["reasoning.encrypted_content"],"client_metadata":{"a":"b"}}"#;
    assert_eq!(chat(body).unwrap().1, None);
    let (_, lost) =
        chat(r#"{"input":"x","include":["file_search_call.results"],"truncation":"auto"}"#).unwrap();
    assert_eq!(lost.unwrap(), "truncation, include[0]");
}

#[test]
fn probabilities_go_where_they_exist() {
    let wish = r#"{"input":"x","include":["message.output_text.logprobs"]}"#;
    assert_eq!(chat(wish).unwrap().0.logprobs, Some(0));
    assert_eq!(chat(r#"{"input":"x","top_logprobs":3}"#).unwrap().0.logprobs, Some(3));
    assert_eq!(chat(r#"{"input":"x","top_logprobs":0}"#).unwrap().0.logprobs, None);
    assert_eq!(messages(wish).unwrap_err().param(), Some("include[0]"));
    assert_eq!(messages(r#"{"input":"x","top_logprobs":3}"#).unwrap_err().param(), Some("top_logprobs"));
}

#[test]
fn forms_of_the_answer() {
    let format = |json: &str| chat(json).map(|(request, _)| format!("{:?}", request.format));
    assert_eq!(format(r#"{"input":"x","text":{"format":{"type":"text"}}}"#).unwrap(), "Text");
    assert_eq!(format(r#"{"input":"x","text":{"format":{"type":"json_object"}}}"#).unwrap(), "JsonObject");
    let schema = r#"{"input":"x","text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"},"strict":true}}}"#;
    let Format::Schema { name, schema, strict, .. } = chat(schema).unwrap().0.format else { panic!() };
    assert_eq!((name.unwrap().raw(), schema.get(), strict), ("n", r#"{"type":"object"}"#, Some(true)));
    let grammar = chat(r#"{"input":"x","text":{"format":{"type":"grammar","definition":"x"}}}"#).unwrap_err();
    assert_eq!(grammar.param(), Some("text.format"));
}

#[test]
fn verbosity_is_for_openai_alone() {
    let body = r#"{"input":"x","text":{"verbosity":"low"}}"#;
    assert_eq!(chat(body).unwrap().1.unwrap(), "text.verbosity");
    let openai = Profile { is_openai: true, ..Profile::default() };
    let (request, lost) = decode(body, ProtocolId::Chat, &openai).unwrap();
    assert_eq!((request.verbosity.unwrap().raw(), lost), ("low", None));
    assert_eq!(decode(body, ProtocolId::Messages, &openai).unwrap().1.unwrap(), "text.verbosity");
}

#[test]
fn reasoning_is_wished_and_shown() {
    let (request, lost) =
        messages(r#"{"input":"x","reasoning":{"effort":"none","context":"later","mode":"fast"}}"#).unwrap();
    assert!(request.thinking.is_off() && request.thinking.show.is_none());
    assert_eq!(lost.unwrap(), "reasoning.context, reasoning.mode");
    for shown in ["summary", "generate_summary"] {
        let body = format!(r#"{{"input":"x","reasoning":{{"{shown}":"auto"}}}}"#);
        assert_eq!(messages(&body).unwrap().0.thinking.show, Some(true));
    }
    assert_eq!(chat(r#"{"input":"x"}"#).unwrap().0.thinking.show, Some(true));
    for bad in [r#"{"mode":"pro"}"#, r#"{"effort":"huge"}"#] {
        assert!(messages(&format!(r#"{{"input":"x","reasoning":{bad}}}"#)).is_err());
    }
}

#[test]
fn wishes_for_the_prompt_cache_go_where_it_is() {
    let body = r#"{"prompt_cache_key":"k","prompt_cache_options":{"ttl":"12h","mode":"explicit"},
            "input":[{"role":"user","content":[{"type":"input_text","text":"x","prompt_cache_breakpoint":{"mode":"explicit"}}]}]}"#;
    let (request, lost) = messages(body).unwrap();
    assert_eq!(lost.unwrap(), "prompt_cache_options.mode");
    assert!(matches!(&request.turns[0].parts[0], Part::Text(text) if text.cache.unwrap().long));
    let openai = Profile { cache_parts: CacheParts::OpenaiBreakpoint, ..Profile::default() };
    let (request, lost) = decode(body, ProtocolId::Chat, &openai).unwrap();
    let names: Vec<_> = request.extra.iter().map(|extra| extra.name.as_ref()).collect();
    assert_eq!((names, lost), (vec!["prompt_cache_key", "prompt_cache_options"], None));
}

#[test]
fn tools_among_the_items_follow_those_of_the_request() {
    let (request, _) = chat(
            r#"{"input":[{"type":"additional_tools","tools":[{"type":"custom","name":"b"}]},{"role":"user","content":"x"}],
            "tools":[{"type":"function","name":"a"}],"tool_choice":{"type":"function","name":"a"}}"#,
        )
        .unwrap();
    assert!(matches!(request.tools[0].kind, ToolKind::Function { .. }) && request.tools[1].is_custom());
}
