//! Decoding of requests, as the reference describes it. Numbers are those of its golden cases.

use crate::canon::{
    Args, Caps, Choice, Effort, FieldPolicy, Format, Losses, Part, Profile, ProtocolId, Request, Sealed,
    Sealer, Source, Target, ThinkingMode, ToolKind,
};
use crate::failure::{Failure, Result};
use crate::json::Document;

/// Reads a request on its way to a protocol, and shows what was left out.
fn read(body: &str, protocol: ProtocolId) -> Result<(Request<'_>, String)> {
    let profile = Profile::default();
    let caps = Caps::of(protocol, "m", &profile);
    let target = Target {
        protocol,
        origin: "p",
        model: "m",
        profile: &profile,
        caps: &caps,
        sealer: &Sealer::default(),
    };
    let mut losses = Losses::default();
    let request = super::read(&Document::read(body), &target, &mut losses)?;
    Ok((request, losses.header().unwrap_or_default()))
}

/// A request with one message and further members.
fn with(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{comma}{members}}}"#)
}

fn refused(members: &str, protocol: ProtocolId) -> Failure {
    read(&with(members), protocol).map(|_| ()).unwrap_err()
}

const MS: ProtocolId = ProtocolId::Messages;
const RS: ProtocolId = ProtocolId::Responses;

fn show_part(part: &Part<'_>) -> String {
    match part {
        Part::Text(text) => {
            format!("text:{}{}", text.text.decode(), if text.cache.is_some() { "*" } else { "" })
        }
        Part::Refusal(text) => format!("refusal:{}", text.decode()),
        Part::Image(image) => format!("image:{}", show_source(&image.source)),
        Part::Document(document) => {
            let name = document.name.as_ref().map(|name| name.decode().into_owned()).unwrap_or_default();
            format!("file:{name}:{}", show_source(&document.source))
        }
        Part::Audio(audio) => format!("audio:{}", audio.format.decode()),
        Part::Reasoning(reasoning) => {
            let text = reasoning.text.as_ref().map(|text| text.decode().into_owned()).unwrap_or_default();
            match &reasoning.sealed {
                Some(Sealed::Details(raw)) => format!("thought:{text}:{}", raw.get()),
                _ => format!("thought:{text}"),
            }
        }
        Part::Call(call) => {
            let args = match &call.args {
                Args::Str(lit) => lit.decode().into_owned(),
                Args::Raw(raw) => raw.get().to_owned(),
            };
            let extra = call.extra.as_ref().map(|extra| extra.get().to_owned()).unwrap_or_default();
            format!("call{}:{}:{}:{args}{extra}", if call.custom { "*" } else { "" }, call.id, call.name)
        }
        Part::Result(result) => {
            let content: Vec<_> = result.content.iter().map(show_part).collect();
            format!("result{}:{}:[{}]", if result.custom { "*" } else { "" }, result.id, content.join(" "))
        }
    }
}

fn show_source(source: &Source<'_>) -> String {
    match source {
        Source::Url(url) => url.decode().into_owned(),
        Source::Base64 { mime, data } => format!("{mime};{data}"),
        Source::Text(text) => format!("text;{}", text.decode()),
    }
}

fn turns(messages: &str) -> Vec<String> {
    let body = format!(r#"{{"model":"m","messages":{messages}}}"#);
    let (request, _) = read(&body, MS).unwrap();
    let system = request.system.iter().map(|text| format!("system {}", text.text.decode()));
    let turns = request.turns.iter().map(|turn| {
        let parts: Vec<_> = turn.parts.iter().map(show_part).collect();
        format!("{:?} {}", turn.role, parts.join(" "))
    });
    system.chain(turns).collect()
}

#[test]
fn an_empty_body_of_another_kind_of_call_is_nothing() {
    let (function, custom) =
        (r#""function":{"name":"f","arguments":"{}"}"#, r#""custom":{"name":"","input":""}"#);
    for (first, second) in [(function, custom), (custom, function)] {
        let call = format!(r#"{{"id":"c1","type":"function",{first},{second}}}"#);
        let seen = turns(&format!(r#"[{{"role":"assistant","tool_calls":[{call}]}}]"#));
        assert_eq!(seen, ["Assistant call:c1:f:{}"]);
    }
}

#[test]
fn messages_become_turns() {
    let seen = turns(
        r#"[{"role":"system","content":"a"},{"role":"developer","content":[{"type":"text","text":"b","cache_control":{"type":"ephemeral"}},{"type":"text","text":""}]},
        {"role":"user","content":"q","name":"n"},{"role":"system","content":"mid"},
        {"role":"assistant","content":"\n","refusal":"no","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"b\":1.0}"}},{"id":"c2","type":"custom","custom":{"name":"g","input":"raw"}}]},
        {"role":"tool","tool_call_id":"c1","content":"r"},{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"s"}]},
        {"role":"tool","tool_call_id":"c1","content":{ "x" : 1 }},{"role":"tool","tool_call_id":"c1","content":null}]"#,
    );
    let expected = [
        "system a",
        "system b",
        "User text:q",
        "System text:mid",
        "Assistant text:\n refusal:no call:c1:f:{\"b\":1.0} call*:c2:g:raw",
        "User result:c1:[text:r]",
        "User result*:c2:[text:s]",
        "User result:c1:[text:{\"x\":1}]",
        "User result:c1:[]",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn names_and_marks_are_kept() {
    let body = r#"{"messages":[{"role":"user","name":"bob","content":[{"type":"text","text":"a","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}}]}]}"#;
    let (request, _) = read(body, MS).unwrap();
    assert_eq!(request.turns[0].name.as_ref().unwrap().raw(), "bob");
    assert!(matches!(&request.turns[0].parts[0], Part::Text(text) if text.cache.unwrap().long));
    let body = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]}],"prompt_cache_options":{"ttl":"12h","mode":"explicit"}}"#;
    let (request, lost) = read(body, MS).unwrap();
    assert!(matches!(&request.turns[0].parts[0], Part::Text(text) if text.cache.unwrap().long));
    assert_eq!(lost, "prompt_cache_options.mode");
}

#[test]
fn legacy_functions_are_tools_and_results_find_their_calls() {
    let seen = turns(
        r#"[{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},
        {"role":"assistant","function_call":{"name":"f","arguments":"{\"n\":2}"}},
        {"role":"function","name":"f","content":"two"},{"role":"function","name":"f","content":"one"}]"#,
    );
    let expected = [
        "Assistant call:call_0:f:{}",
        "Assistant call:call_1:f:{\"n\":2}",
        "User result:call_1:[text:two]",
        "User result:call_0:[text:one]",
    ];
    assert_eq!(seen, expected);
    let body =
        with(r#""functions":[{"name":"f","parameters":{"type":"object"}}],"function_call":{"name":"f"}"#);
    let (request, _) = read(&body, MS).unwrap();
    assert!(matches!(&request.tools[0].kind, ToolKind::Function { schema: Some(_), strict: None }));
    assert!(matches!(&request.choice, Some(Choice::Named(chosen)) if chosen.name == "f"));
}

#[test]
fn reasoning_of_earlier_turns_comes_first_and_details_win() {
    let details = r#"[{"type":"reasoning.text","text":"T","signature":"S"}]"#;
    let seen = turns(&format!(
        r#"[{{"role":"assistant","reasoning_content":"T","reasoning_details":{details},"content":"a"}},
        {{"role":"assistant","reasoning":"R","content":"b"}},{{"role":"assistant","reasoning_details":[],"content":"c"}},
        {{"role":"assistant","content":[{{"type":"thinking","thinking":[{{"type":"text","text":"M"}}]}},{{"type":"text","text":"d"}}]}},
        {{"role":"assistant","tool_calls":[{{"id":"c","function":{{"name":"f","arguments":{{"a":1e2}}}},"extra_content":{{"google":{{"thought_signature":"X"}}}}}}]}}]"#
    ));
    let expected = [
        format!("Assistant thought:T:{details} text:a"),
        "Assistant thought:R text:b".to_owned(),
        "Assistant text:c".to_owned(),
        "Assistant thought:M text:d".to_owned(),
        r#"Assistant call:c:f:{"a":1e2}{"google":{"thought_signature":"X"}}"#.to_owned(),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn parts_of_all_types_are_read() {
    const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ";
    let seen = turns(&format!(
        r#"[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"https://x/y.png","detail":"low"}}}},
        {{"type":"image_url","image_url":"data:image/jpg;base64,{PNG}"}},
        {{"type":"file","file":{{"file_data":"data:application/pdf;base64,JVBERi0xLjQK","filename":"a.pdf"}}}},
        {{"type":"file","file":{{"file_data":"data:text/plain;base64,aMOp"}}}},
        {{"type":"file","file":{{"file_data":"JVBERi0xLjQK"}}}},
        {{"type":"input_audio","input_audio":{{"data":"AA","format":"wav"}}}}]}}]"#
    ));
    // 47: the type is the one that the bytes show.
    let expected = format!(
        "User image:https://x/y.png image:image/png;{PNG} file:a.pdf:application/pdf;JVBERi0xLjQK file::text;hé file::application/pdf;JVBERi0xLjQK audio:wav"
    );
    assert_eq!(seen, [expected]);
}

#[test]
fn parts_that_no_protocol_carries_are_refused() {
    let refused = |content: &str| {
        let body = format!(r#"{{"messages":[{{"role":"user","content":[{content}]}}]}}"#);
        let failure = read(&body, MS).map(|_| ()).unwrap_err();
        (failure.param().unwrap_or_default().to_owned(), failure.code().to_owned())
    };
    let pair = |path: &str, code: &str| (path.to_owned(), code.to_owned());
    assert_eq!(
        refused(r#"{"type":"video_url","video_url":{}}"#),
        pair("messages[0].content[0].type", "unsupported_content_type")
    );
    assert_eq!(
        refused(r#"{"type":"image_url","image_url":{"url":"data:image/png,x"}}"#),
        pair("messages[0].content[0].image_url", "invalid_base64_image")
    );
    assert_eq!(
        refused(r#"{"type":"file","file":{"file_id":"f"}}"#),
        pair("messages[0].content[0].file.file_id", "unsupported_parameter")
    );
    assert_eq!(
        refused(r#"{"type":"text","text":7}"#),
        pair("messages[0].content[0].text", "invalid_messages")
    );
    let system =
        r#"{"messages":[{"role":"system","content":[{"type":"image_url","image_url":"https://x"}]}]}"#;
    assert_eq!(read(system, MS).map(|_| ()).unwrap_err().param(), Some("messages[0].content[0]"));
    for bad in [r#"[]"#, r#"[{"role":"robot","content":"x"}]"#, r#"[{"role":"tool","content":"x"}]"#, "7"] {
        let body = format!(r#"{{"messages":{bad}}}"#);
        assert_eq!(read(&body, MS).map(|_| ()).unwrap_err().code(), "invalid_messages", "{bad}");
    }
    assert_eq!(read("{}", RS).map(|_| ()).unwrap_err().param(), Some("messages"));
}

#[test]
fn limits_and_samplers_are_read_as_they_are_spelled() {
    let body = with(
        r#""max_tokens":5,"max_completion_tokens":7.6,"temperature":1.0,"top_p":1e-1,"top_k":40,"stop":"END","stream":true,"stream_options":{"include_usage":true},"parallel_tool_calls":false"#,
    );
    let (request, lost) = read(&body, MS).unwrap();
    assert_eq!((request.max_output, request.stream, request.include_usage), (Some(8), true, true));
    assert_eq!(request.samplers.temperature.unwrap().get(), "1.0");
    assert_eq!(
        (request.samplers.top_p.unwrap().get(), request.samplers.top_k.unwrap().get()),
        ("1e-1", "40")
    );
    assert_eq!((request.stop.len(), request.parallel, lost.as_str()), (1, Some(false), ""));
    assert_eq!(refused(r#""max_tokens":0"#, MS).param(), Some("max_tokens"));
    assert_eq!(refused(r#""temperature":"0.7""#, RS).code(), "unsupported_parameter");
}

#[test]
fn case_61_and_62_several_choices_and_probabilities() {
    assert_eq!(refused(r#""n":2"#, MS).param(), Some("n"));
    assert_eq!(refused(r#""logprobs":true"#, MS).param(), Some("logprobs"));
    assert_eq!(refused(r#""top_logprobs":2"#, MS).param(), Some("top_logprobs"));
    let (request, lost) = read(&with(r#""n":1,"logprobs":false"#), MS).map(|(r, l)| (r.logprobs, l)).unwrap();
    assert_eq!((request, lost.as_str()), (None, ""));
    let body = with(r#""logprobs":true"#);
    assert_eq!(read(&body, RS).unwrap().0.logprobs, Some(0));
    let body = with(r#""top_logprobs":3,"logprobs":true"#);
    assert_eq!(read(&body, RS).unwrap().0.logprobs, Some(3));
}

#[test]
fn what_means_nothing_is_not_a_loss() {
    let body = with(
        r#""frequency_penalty":0,"presence_penalty":0.0,"logit_bias":{},"n":1,"stop":null,"tools":null,"seed":null,"top_k":-1,"store":true,"modalities":["text"],"metadata":{}"#,
    );
    assert_eq!(read(&body, MS).unwrap().1, "");
    assert_eq!(refused(r#""modalities":["text","audio"]"#, MS).param(), Some("modalities"));
    assert_eq!(refused(r#""audio":{"voice":"x"}"#, RS).param(), Some("audio"));
}

#[test]
fn knobs_are_left_out_and_listed() {
    let members = r#""seed":1,"frequency_penalty":0.5,"logit_bias":{"1":2},"min_p":0.1,"prediction":{},"verbosity":"low","betas":["x"],"foo":1,"metadata":{"a":"b"}"#;
    let body = with(members);
    let (_, lost) = read(&body, MS).unwrap();
    assert_eq!(
        lost,
        "seed, frequency_penalty, logit_bias, min_p, prediction, verbosity, betas, foo, metadata"
    );
    let (request, lost) = read(&body, RS).unwrap();
    assert_eq!(lost, "seed, frequency_penalty, logit_bias, min_p, prediction, betas");
    let extra: Vec<_> = request.extra.iter().map(|extra| (&*extra.name, extra.value.get())).collect();
    assert_eq!(extra, [("foo", "1"), ("metadata", r#"{"a":"b"}"#)]);
    assert_eq!(request.verbosity.unwrap().raw(), "low");
    let body = with(r#""stop":["a"],"top_k":3,"stream_options":{"include_obfuscation":false}"#);
    let (request, lost) = read(&body, RS).unwrap();
    assert_eq!((request.stop.len(), lost.as_str()), (0, "stop, top_k"));
    assert_eq!(request.extra[0].value.get(), r#"{"include_obfuscation":false}"#);
    assert_eq!(read(&body, MS).unwrap().1, "stream_options.include_obfuscation");
    assert_eq!(refused(r#""moderation":{}"#, MS).param(), Some("moderation"));
}

#[test]
fn every_member_of_the_table_does_what_it_says() {
    for field in super::FIELDS.iter().filter(|field| !["model", "messages"].contains(&field.name)) {
        for protocol in [MS, RS] {
            let body = with(&format!("\"{}\":{}", field.name, field.sample));
            let read = read(&body, protocol);
            let (name, neutral) = (field.name, field.is_neutral(field.sample));
            match field.policy(protocol) {
                FieldPolicy::Refused => assert_eq!(read.map(|_| ()).unwrap_err().param(), Some(name)),
                FieldPolicy::Dropped if !neutral => assert_eq!(read.unwrap().1, name),
                _ => assert_eq!(read.unwrap().1, "", "{name} to {protocol}"),
            }
            for neutral in field.neutral {
                let body = with(&format!("\"{name}\":{neutral}"));
                assert_eq!(self::read(&body, protocol).unwrap().1, "", "{name}={neutral} to {protocol}");
            }
        }
    }
}

#[test]
fn users_and_tiers() {
    let body = with(r#""user":"u","safety_identifier":"s","service_tier":"flex""#);
    let (request, _) = read(&body, MS).unwrap();
    assert_eq!((request.user.as_deref(), request.tier.as_deref()), (Some("s"), Some("flex")));
    let body = with(r#""safety_identifier":"s","user":"u""#);
    assert_eq!(read(&body, RS).unwrap().0.user.as_deref(), Some("s"));
}

#[test]
fn tools_of_both_shapes_and_of_all_kinds() {
    let body = with(
        r#""tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"a":1.0},"strict":true},"cache_control":{"type":"ephemeral"}},
        {"type":"function","name":"g","parameters":{ },"description":""},
        {"type":"custom","custom":{"name":"h","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"x"}}}},
        {"function":{"name":"i","input_examples":[1]}}],"web_search_options":{"search_context_size":"low","user_location":{"type":"approximate","approximate":{"city":"Rome"}}}"#,
    );
    let (request, lost) = read(&body, MS).unwrap();
    let kinds: Vec<_> = request.tools.iter().map(|tool| (&*tool.name, &tool.kind)).collect();
    assert!(
        matches!(kinds[0], ("f", ToolKind::Function { schema: Some(raw), strict: Some(true) }) if raw.get() == r#"{"a":1.0}"#)
    );
    assert!(matches!(kinds[1], ("g", ToolKind::Function { schema: None, strict: None })));
    assert!(request.tools[1].description.is_none() && request.tools[0].cache.is_some());
    assert!(matches!(kinds[2], ("h", ToolKind::Custom { grammar: Some(g) }) if g.syntax.raw() == "lark"));
    let ToolKind::WebSearch(search) = &kinds[4].1 else { panic!("{kinds:?}") };
    assert_eq!(search.location.as_ref().unwrap().get(), r#"{"city":"Rome"}"#);
    assert_eq!(
        (search.context.as_ref().unwrap().raw(), lost.as_str()),
        ("low", "tools[3].function.input_examples")
    );
    assert_eq!(refused(r#""tools":[{"type":"mcp"}]"#, MS).param(), Some("tools[0].type"));
    assert_eq!(refused(r#""tools":[{"type":"function"}]"#, MS).param(), Some("tools[0].name"));
}

#[test]
fn choices_of_all_forms() {
    let choice = |json: &str| {
        read(&with(&format!(r#""tool_choice":{json}"#)), MS).map(|(r, _)| format!("{:?}", r.choice))
    };
    assert_eq!(choice(r#""auto""#).unwrap(), "Some(Auto)");
    assert_eq!(choice(r#""required""#).unwrap(), "Some(Required)");
    assert_eq!(choice(r#""none""#).unwrap(), "Some(None)");
    for named in [
        r#"{"type":"function","function":{"name":"f"}}"#,
        r#"{"type":"custom","custom":{"name":"f"}}"#,
        r#"{"type":"function","name":"f"}"#,
    ] {
        assert!(choice(named).unwrap().contains(r#"name: "f""#), "{named}");
    }
    let allowed = choice(
        r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"b"}}]}}"#,
    );
    assert!(allowed.unwrap().contains(r#"required: true, tools: [Chosen { namespace: None, name: "b" }]"#));
    assert_eq!(choice(r#""any""#).unwrap(), choice(r#""required""#).unwrap());
    assert!(choice(r#""some""#).is_err() && choice(r#"{"type":"mcp"}"#).is_err());
}

#[test]
fn wishes_to_think_of_all_kinds() {
    let thinking = |members: &str| {
        let body = with(members);
        let (request, _) = read(&body, MS).unwrap();
        let t = request.thinking;
        (t.mode, t.effort, t.budget, t.show)
    };
    use ThinkingMode::{Adaptive, Off, On};
    assert_eq!(thinking(r#""reasoning_effort":"high""#), (None, Some(Effort::High), None, None));
    assert_eq!(thinking(r#""reasoning_effort":"none""#), (Some(Off), Some(Effort::None), None, None));
    assert_eq!(
        thinking(r#""reasoning":{"effort":"low","exclude":true}"#),
        (None, Some(Effort::Low), None, Some(false))
    );
    assert_eq!(thinking(r#""reasoning":{"max_tokens":2000}"#), (Some(On), None, Some(2000), None));
    assert_eq!(thinking(r#""thinking_budget":9"#), (Some(On), None, Some(9), None));
    assert_eq!(thinking(r#""thinking":{"type":"adaptive"}"#), (Some(Adaptive), None, None, None));
    for off in [
        r#""reasoning":{"enabled":false}"#,
        r#""enable_thinking":false"#,
        r#""thinking":{"type":"disabled"}"#,
        r#""chat_template_kwargs":{"enable_thinking":false}"#,
        r#""chat_template_kwargs":{"thinking":false}"#,
    ] {
        assert_eq!(thinking(off).0, Some(Off), "{off}");
    }
    assert_eq!(thinking(""), (None, None, None, None));
    assert_eq!(read(&with(r#""reasoning_effort":"huge""#), MS).unwrap().1, "reasoning_effort");
}

#[test]
fn formats_of_answers() {
    let body = with(
        r#""response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","schema":{"b":1.0},"strict":true}}"#,
    );
    let (request, _) = read(&body, MS).unwrap();
    let Format::Schema { name, schema, strict, .. } = request.format else { panic!() };
    assert_eq!((name.unwrap().raw(), schema.get(), strict), ("n", r#"{"b":1.0}"#, Some(true)));
    let body = with(r#""response_format":{"type":"json_object"}"#);
    assert!(matches!(read(&body, RS).unwrap().0.format, Format::JsonObject));
    assert!(matches!(
        read(&with(r#""response_format":{"type":"text"}"#), RS).unwrap().0.format,
        Format::Text
    ));
    assert_eq!(refused(r#""response_format":{"type":"grammar"}"#, MS).param(), Some("response_format.type"));
    let bare = refused(r#""response_format":{"type":"json_schema","json_schema":{}}"#, MS);
    assert_eq!(bare.param(), Some("response_format.json_schema.schema"));
    assert_eq!(refused(r#""guided_regex":"a""#, RS).param(), Some("guided_regex"));
}
