//! Decoding of clients' requests.

use super::*;
use crate::canon::{
    Args, Cache, Caps, Carrier, Choice, Effort, Format, Part, Profile, ProtocolId, Role, Seal, SealKey,
    Sealed, Sealer, Source, ThinkingMode, ToolKind,
};
use crate::json::Raw;

fn sealer() -> Sealer {
    Sealer::new(&SealKey::new([7; 32]), "account")
}

fn decode_to<'a>(body: &'a str, protocol: ProtocolId, strict: bool) -> Result<(Request<'a>, Option<String>)> {
    let (profile, sealer) = (Profile::default(), sealer());
    let caps = Caps::of(protocol, "gpt", &profile);
    let target =
        Target { protocol, origin: "openai", model: "gpt", profile: &profile, caps: &caps, sealer: &sealer };
    let mut losses = Losses::new(strict);
    let request = read(&Document::read(body), &target, &mut losses)?;
    Ok((request, losses.header()))
}

fn decode(body: &str) -> Request<'_> {
    decode_to(body, ProtocolId::Chat, false).unwrap().0
}

/// A body with a usual conversation and these members.
fn with(members: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"Hi"}}],{members}}}"#)
}

/// A body whose only user message has these blocks.
fn blocks(blocks: &str) -> String {
    format!(r#"{{"max_tokens":9,"messages":[{{"role":"user","content":[{blocks}]}}]}}"#)
}

fn refused(body: &str) -> Failure {
    decode_to(body, ProtocolId::Chat, false).map(|_| ()).unwrap_err()
}

fn lost(body: &str) -> String {
    decode_to(body, ProtocolId::Chat, false).unwrap().1.unwrap_or_default()
}

/// A short description of a part.
fn show(part: &Part<'_>) -> String {
    let source = |source: &Source<'_>| match source {
        Source::Url(url) => format!("url {}", url.decode()),
        Source::Base64 { mime, data } => format!("{mime} {data}"),
        Source::Text(text) => format!("text {}", text.decode()),
    };
    match part {
        Part::Text(text) => format!("{}{}", text.text.decode(), if text.cache.is_some() { " *" } else { "" }),
        Part::Image(image) => format!("image {}", source(&image.source)),
        Part::Document(document) => {
            let name = document.name.as_ref().map(|name| name.decode().into_owned());
            format!("document {} {name:?}", source(&document.source))
        }
        Part::Reasoning(thought) => {
            let text = thought.text.as_ref().map(|text| text.decode().into_owned());
            let sealed = match &thought.sealed {
                Some(Sealed::Carried(carrier)) => format!("carried {}", carrier.blocks[0].get()),
                Some(Sealed::Thinking(raw)) => format!("native {}", raw.get()),
                other => format!("{other:?}"),
            };
            format!("thought {text:?} {sealed}")
        }
        Part::Call(call) => {
            let Args::Raw(args) = &call.args else { panic!("{call:?}") };
            format!("call {} {} {}", call.id, call.name, args.get())
        }
        Part::Result(result) => {
            let content: Vec<_> = result.content.iter().map(show).collect();
            format!("result {} {content:?} {}", result.id, result.is_error)
        }
        other => format!("{other:?}"),
    }
}

fn parts(body: &str) -> Vec<String> {
    decode(body).turns.iter().flat_map(|turn| &turn.parts).map(show).collect()
}

#[test]
fn a_request_with_all_that_is_simple() {
    let body = with(
        r#""stream":true,"temperature":0.70,"top_p":1,"top_k":5,"stop_sequences":["END"],"metadata":{"user_id":"u","x":1},"service_tier":"standard_only","unknown":{"a":1}"#,
    );
    let (request, lost) = decode_to(&body, ProtocolId::Chat, false).unwrap();
    assert!(request.stream && request.max_output == Some(9) && request.extra.is_empty());
    assert_eq!(request.samplers.temperature.unwrap().get(), "0.70");
    assert_eq!(request.samplers.top_k.unwrap().get(), "5");
    assert_eq!((request.stop[0].raw(), request.user.as_deref()), ("END", Some("u")));
    assert_eq!(request.tier.as_deref(), Some("default"));
    assert_eq!(lost.as_deref(), Some("metadata.x, unknown"));
    let (request, lost) = decode_to(&body, ProtocolId::Responses, false).unwrap();
    assert!(request.stop.is_empty() && request.samplers.top_k.is_none());
    assert_eq!(lost.as_deref(), Some("top_k, stop_sequences, metadata.x, unknown"));
}

#[test]
fn the_table_decides_about_the_rest() {
    for field in FIELDS {
        let body = with(&format!("\"{}\":{}", field.name, field.sample));
        for protocol in [ProtocolId::Chat, ProtocolId::Responses] {
            match (field.policy(protocol), decode_to(&body, protocol, false)) {
                (FieldPolicy::Mapped, Ok((_, lost))) => assert_eq!(lost, None, "{}", field.name),
                (FieldPolicy::Dropped, Ok((_, lost))) => assert_eq!(lost.as_deref(), Some(field.name)),
                (FieldPolicy::Refused, Err(failure)) => assert_eq!(failure.param(), Some(field.name)),
                (carry, result) => panic!("{}: {carry:?} {:?}", field.name, result.map(|(_, lost)| lost)),
            }
            if field.policy(protocol) == FieldPolicy::Dropped {
                assert!(decode_to(&body, protocol, true).is_err(), "{}", field.name);
            }
        }
    }
    assert_eq!(
        lost(&with(r#""speed":"standard","fallbacks":[],"service_tier":"auto","context_management":null"#)),
        ""
    );
    assert_eq!(lost(&with(r#""service_tier":"priority""#)), "service_tier");
}

#[test]
fn limits_and_messages_are_needed() {
    let missing = read_check(r#"{"messages":[{"role":"user","content":"Hi"}]}"#);
    assert_eq!((missing.message(), missing.param()), ("max_tokens: Field required", Some("max_tokens")));
    assert_eq!(refused(&with(r#""max_tokens":0"#)).param(), Some("max_tokens"));
    assert_eq!(refused(&with(r#""max_tokens":-1"#)).param(), Some("max_tokens"));
    assert_eq!(refused(&with(r#""max_tokens":"5""#)).param(), Some("max_tokens"));
    assert_eq!(refused(r#"{"max_tokens":1,"messages":[]}"#).param(), Some("messages"));
    assert_eq!(refused(r#"{"max_tokens":1}"#).code(), "invalid_messages");
    assert_eq!(refused(&with(r#""temperature":"0.7""#)).param(), Some("temperature"));
    let role = refused(r#"{"messages":[{"role":"tool","content":"x"}]}"#);
    assert_eq!(role.param(), Some("messages[0].role"));
}

fn read_check(body: &str) -> Failure {
    check(&decode(body)).unwrap_err()
}

#[test]
fn instructions_and_the_attribution_block() {
    let system = |system: &str| {
        let body = with(&format!(r#""system":{system}"#));
        decode(&body).system.iter().map(|text| text.text.decode().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(system(r#""S""#), ["S"]);
    assert_eq!(system(r#"[{"type":"text","text":"S"},{"type":"text","text":"T"}]"#), ["S", "T"]);
    assert!(system(r#""""#).is_empty() && system("[]").is_empty());
    // Case 71a.
    let attribution = r#"{"type":"text","text":"x-anthropic-billing-header: v; cch=ab12c;"}"#;
    assert_eq!(system(&format!(r#"[{attribution},{{"type":"text","text":"S"}}]"#)), ["S"]);
    assert_eq!(system(r#""x-anthropic-billing-header: a\\nb\nrest\n""#), ["rest\n"]);
    assert!(system(r#""x-anthropic-billing-header: a""#).is_empty());
    let odd = refused(&with(r#""system":[{"type":"image","source":{}}]"#));
    assert_eq!(odd.param(), Some("system[0]"));
}

#[test]
fn instructions_among_the_messages() {
    let body = r#"{"messages":[{"role":"system","content":"F"},{"role":"user","content":"1"},
        {"role":"system","content":[{"type":"text","text":"S"}]}],"system":"T"}"#;
    let request = decode(body);
    let system: Vec<_> = request.system.iter().map(|text| text.text.raw()).collect();
    assert_eq!(system, ["T", "F"]);
    assert_eq!(request.turns[1].role, Role::System);
    let odd =
        r#"{"messages":[{"role":"user","content":"1"},{"role":"system","content":[{"type":"image"}]}]}"#;
    assert_eq!(refused(odd).param(), Some("messages[1].content[0]"));
}

#[test]
fn text_and_media() {
    let body = blocks(
        r#"{"type":"text","text":"a","citations":[{"x":1}],"cache_control":{"type":"ephemeral","ttl":"5m"}},
        {"type":"image","source":{"type":"url","url":"https://x"},"transformations":[]},
        {"type":"image","source":{"type":"base64","media_type":"Image/PNG","data":"AAAA"}},
        {"type":"document","title":"T","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"}},
        {"type":"document","source":{"type":"url","url":"https://y"}},
        {"type":"document","title":"","source":{"type":"text","media_type":"text/plain","data":"Hi"}},
        {"type":"document","title":"T","context":"C","source":{"type":"content","content":[{"type":"text","text":"x"},{"type":"text","text":"y"}]},"cache_control":{"type":"ephemeral"}},
        {"type":"document","source":{"type":"content","content":"z"}},
        {"type":"search_result","source":"https://s","title":"R","content":[{"type":"text","text":"p"},{"type":"text","text":"q"}]}"#,
    );
    let expected = [
        "a *",
        "image url https://x",
        "image image/png AAAA",
        "document application/pdf JVBE Some(\"T\")",
        "document url https://y None",
        "document text Hi None",
        "T\nC",
        "x",
        "y *",
        "z",
        "R\nhttps://s\np\nq",
    ];
    assert_eq!(parts(&body), expected);
}

#[test]
fn what_has_no_place_is_refused() {
    for (block, code) in [
        (r#"{"type":"image","source":{"type":"file","file_id":"f"}}"#, "unsupported_parameter"),
        (r#"{"type":"document","source":{"type":"file","file_id":"f"}}"#, "unsupported_parameter"),
        (r#"{"type":"container_upload","file_id":"f"}"#, "unsupported_parameter"),
        (r#"{"type":"tool_reference","tool_name":"f"}"#, "unsupported_parameter"),
        (r#"{"type":"browser_state"}"#, "unsupported_parameter"),
        (r#"{"type":"video"}"#, "unsupported_content_type"),
        (r#"{"type":"text"}"#, "invalid_messages"),
        (r#"{"type":"text","text":7}"#, "invalid_messages"),
        (r#"{"type":"image"}"#, "invalid_messages"),
        (r#"{"type":"tool_use","name":"f"}"#, "invalid_messages"),
        ("7", "invalid_messages"),
    ] {
        let failure = refused(&blocks(block));
        assert_eq!((failure.status(), failure.code()), (400, code), "{block}");
        assert!(failure.param().unwrap().starts_with("messages[0].content[0]"), "{block}");
    }
}

#[test]
fn what_the_provider_did_by_itself_is_left_out() {
    let body = r#"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[
        {"type":"server_tool_use","id":"s","name":"web_search","input":{}},
        {"type":"web_search_tool_result","tool_use_id":"s","content":[]},
        {"type":"container_upload","file_id":"f"},{"type":"mcp_tool_use"},{"type":"compaction"},{"type":"fallback"},
        {"type":"image","source":{"type":"url","url":"https://x"}},{"type":"text","text":"x"}]}]}"#;
    assert_eq!(parts(body), ["Hi", "x"]);
    let all: Vec<_> = (0..7).map(|n| format!("messages[1].content[{n}]")).collect();
    assert_eq!(lost(body), all.join(", "));
}

#[test]
fn calls_and_results() {
    let body = r#"{"messages":[{"role":"user","content":"Hi"},
        {"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{"b":1.0,"a":1e2}},{"type":"tool_use","id":"b","name":"g"}]},
        {"role":"user","content":[
          {"type":"tool_result","tool_use_id":"a","content":"old"},
          {"type":"tool_result","tool_use_id":"b","content":[{"type":"text","text":"x"},{"type":"image","source":{"type":"url","url":"u"}},{"type":"tool_reference","tool_name":"t"}],"is_error":true},
          {"type":"tool_result","tool_use_id":"a"},
          {"type":"text","text":"go"}]}]}"#;
    let expected = [
        "Hi",
        r#"call a f {"b":1.0,"a":1e2}"#,
        "call b g {}",
        r#"result b ["x", "image url u", "Tool loaded: t"] true"#,
        "result a [] false",
        "go",
    ];
    assert_eq!(parts(body), expected);
    let sloppy = blocks(r#"{"type":"tool_result","tool_use_id":"a","content":{"k": [1, "x y"]}}"#);
    assert_eq!(parts(&sloppy), [r#"result a ["{\"k\":[1,\"x y\"]}"] false"#]);
    let nested = blocks(
        r#"{"type":"tool_result","tool_use_id":"a","content":[{"type":"tool_result","tool_use_id":"b"}]}"#,
    );
    assert_eq!(refused(&nested).param(), Some("messages[0].content[0].content[0]"));
    let marked = blocks(
        r#"{"type":"tool_result","tool_use_id":"a","cache_control":{"type":"ephemeral","ttl":"1h","scope":"x"}}"#,
    );
    let request = decode(&marked);
    let Part::Result(result) = &request.turns[0].parts[0] else { panic!() };
    assert_eq!(result.cache, Some(Cache { long: true }));
}

#[test]
fn thoughts_come_back_in_carriers_or_are_others() {
    let seal = Seal::Encrypted { id: None, content: JsonStr::plain("E"), summary: None };
    let blocks = vec![seal.block(&JsonStr::default())];
    let block = blocks[0].get().to_owned();
    let carrier = Carrier { blocks };
    let other = carrier.seal(&sealer(), "openai", "gpt-2");
    let carrier = carrier.seal(&sealer(), "openai", "gpt");
    let native = r#"{"type":"thinking","thinking":"n","signature":"S=="}"#;
    let redacted = r#"{"type":"redacted_thinking","data":"D"}"#;
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"Hi"}},{{"role":"assistant","content":[
        {{"type":"thinking","thinking":"t","signature":"{carrier}"}},
        {{"type":"redacted_thinking","data":"{carrier}"}},
        {{"type":"thinking","thinking":"d","signature":"cm2.####"}},
        {{"type":"thinking","thinking":"o","signature":"{other}"}},{{"type":"redacted_thinking","data":"cm1.e30"}},
        {{"type":"thinking","thinking":"u","signature":""}},{native},{redacted}]}}]}}"#
    );
    let expected = [
        "Hi".to_owned(),
        format!("thought Some(\"t\") carried {block}"),
        format!("thought None carried {block}"),
        "thought Some(\"d\") None".to_owned(),
        "thought Some(\"o\") None".to_owned(),
        "thought None None".to_owned(),
        "thought Some(\"u\") None".to_owned(),
        format!("thought Some(\"n\") native {native}"),
        format!("thought None native {redacted}"),
    ];
    assert_eq!(parts(&body), expected);
}

#[test]
fn tools_of_all_kinds() {
    let body = with(
        r#""tools":[
        {"type":"custom","name":"f","description":"D","input_schema":{"type":"object"},"strict":true,"cache_control":{"type":"ephemeral"},"defer_loading":true,"eager_input_streaming":false},
        {"name":"g","description":"","input_schema":{}},
        {"type":"bash_20250124","name":"bash"},
        {"type":"text_editor_20250728","name":"str_replace_based_edit_tool","max_characters":1},
        {"type":"web_search_20250305","name":"web_search","max_uses":3,"allowed_domains":["a.b"],"blocked_domains":[],"user_location":{"type":"approximate","city":"Bern"}},
        {"type":"web_fetch_20250910","name":"web_fetch"},{"type":"tool_search_tool_regex_20251119","name":"s"},{"type":"advisor_20260301","name":"a"}]"#,
    );
    let (request, lost) = decode_to(&body, ProtocolId::Chat, false).unwrap();
    assert_eq!(lost.as_deref(), Some("tools[3].max_characters, tools[0].defer_loading"));
    let names: Vec<_> = request.tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names, ["f", "g", "bash", "str_replace_based_edit_tool", "web_search", "web_fetch", "s", "a"]);
    let ToolKind::Function { schema, strict } = &request.tools[0].kind else { panic!() };
    assert_eq!((schema.as_ref().unwrap().get(), *strict), (r#"{"type":"object"}"#, Some(true)));
    assert!(request.tools[0].cache.is_some() && request.tools[1].description.is_none());
    let ToolKind::Function { schema: Some(schema), .. } = &request.tools[2].kind else { panic!() };
    assert!(Raw::read(schema.get()).is_some() && schema.get().contains("\"restart\""));
    let ToolKind::Function { schema: Some(schema), .. } = &request.tools[3].kind else { panic!() };
    assert!(Raw::read(schema.get()).is_some() && schema.get().ends_with(r#""required":["command","path"]}"#));
    let ToolKind::WebSearch(search) = &request.tools[4].kind else { panic!() };
    assert_eq!((search.max_uses, search.blocked.is_none()), (Some(3), true));
    assert_eq!(search.allowed.as_ref().unwrap().get(), r#"["a.b"]"#);
    assert!(request.tools[5..].iter().all(|tool| matches!(tool.kind, ToolKind::Hosted)));
    for kind in ["computer_20251124", "browser_20260101", "code_execution_20250825", "mcp_toolset", "x"] {
        let failure = refused(&with(&format!(r#""tools":[{{"type":"{kind}","name":"n"}}]"#)));
        assert_eq!(failure.param(), Some("tools[0]"), "{kind}");
    }
    assert_eq!(refused(&with(r#""tools":[{"input_schema":{}}]"#)).param(), Some("tools[0].name"));
}

#[test]
fn choices_of_tools() {
    let choice = |choice: &str| {
        let body = with(&format!(r#""tool_choice":{choice}"#));
        let request = decode(&body);
        (format!("{:?}", request.choice.unwrap()), request.parallel)
    };
    assert_eq!(choice(r#"{"type":"auto"}"#), ("Auto".into(), None));
    assert_eq!(
        choice(r#"{"type":"any","disable_parallel_tool_use":true}"#),
        ("Required".into(), Some(false))
    );
    assert_eq!(choice(r#"{"type":"any","disable_parallel_tool_use":false}"#).1, None);
    assert_eq!(choice(r#"{"type":"none","disable_parallel_tool_use":true}"#), ("None".into(), None));
    let body = with(r#""tool_choice":{"type":"tool","name":"f"}"#);
    assert!(matches!(decode(&body).choice, Some(Choice::Named(chosen)) if chosen.name == "f"));
    for odd in [r#"{"type":"x"}"#, r#""auto""#, r#"{"type":"tool"}"#] {
        assert!(
            refused(&with(&format!(r#""tool_choice":{odd}"#))).param().unwrap().starts_with("tool_choice")
        );
    }
}

#[test]
fn wishes_to_think() {
    let thinking = |members: &str| decode(&with(members)).thinking;
    let on = thinking(r#""thinking":{"type":"enabled","budget_tokens":31999}"#);
    assert_eq!((on.mode, on.budget), (Some(ThinkingMode::On), Some(31999)));
    for kind in ["adaptive", "between_tools"] {
        let adaptive = thinking(&format!(r#""thinking":{{"type":"{kind}","display":"omitted"}}"#));
        assert_eq!((adaptive.mode, adaptive.show), (Some(ThinkingMode::Adaptive), Some(false)));
    }
    assert!(thinking(r#""thinking":{"type":"disabled"}"#).is_off());
    let effort = thinking(r#""output_config":{"effort":"xhigh"}"#);
    assert_eq!((effort.effort, effort.mode), (Some(Effort::Xhigh), None));
    let odd =
        r#""thinking":{"type":"new"},"output_config":{"effort":"huge","task_budget":{"type":"tokens"}}"#;
    assert_eq!(lost(&with(odd)), "thinking, output_config.effort, output_config.task_budget");
}

#[test]
fn forms_of_the_answer() {
    let format = r#"{"type":"json_schema","schema":{"type":"object","properties":{}}}"#;
    for member in
        [format!(r#""output_config":{{"format":{format}}}"#), format!(r#""output_format":{format}"#)]
    {
        let body = with(&member);
        let Format::Schema { name, schema, strict, .. } = decode(&body).format else { panic!("{member}") };
        assert_eq!((name, strict), (None, None));
        assert_eq!(schema.get(), r#"{"type":"object","properties":{}}"#);
    }
    assert!(refused(&with(r#""output_format":{"type":"grammar"}"#)).param() == Some("output_format"));
    assert!(
        refused(&with(r#""output_format":{"type":"json_schema"}"#)).param() == Some("output_format.schema")
    );
}

#[test]
fn hostile_bodies_do_no_harm() {
    for body in
        ["", "[]", "{", r#"{"messages":{}}"#, r#"{"messages":[[]]}"#, r#"{"messages":[{"role":"user"}]}"#]
    {
        assert_eq!(refused(body).status(), 400, "{body}");
    }
    let twice = r#"{"messages":[{"role":"user","content":"1"}],"messages":[{"role":"user","content":"2"}]}"#;
    assert_eq!(parts(twice), ["2"]);
}
