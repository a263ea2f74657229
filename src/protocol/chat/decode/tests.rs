//! What the decoders make of requests and answers, by the reference. Numbers are those of its golden cases.

use crate::canon::{
    Args, Caps, Carry, Choice, Decode as _, Event, Format, Level, Losses, Part, Profile, ProtocolId,
    ReasoningIn, Request, Seal, Sealed, Source, Target, ThinkingMode, ToolKind, Usage,
};
use crate::failure::{Failure, Result};

use super::request;
use super::stream::Decoder;

/// Reads a request on its way to a protocol, and shows what was left out.
fn read(body: &str, protocol: ProtocolId) -> Result<(Request<'_>, String)> {
    let (profile, caps) = (Profile::default(), Caps::of(protocol, "m"));
    let target = Target { protocol, origin: "p", model: "m", profile: &profile, caps: &caps };
    let mut losses = Losses::default();
    let request = request::read(body, &target, &mut losses)?;
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
        Part::Text(text) => format!("text:{}{}", text.text.decode(), if text.cache.is_some() { "*" } else { "" }),
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
                Args::Lit(lit) => lit.decode().into_owned(),
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
    let body = with(r#""functions":[{"name":"f","parameters":{"type":"object"}}],"function_call":{"name":"f"}"#);
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
        {{"role":"assistant","tool_calls":[{{"id":"c","function":{{"name":"f","arguments":{{"a":1e2}}}},"extra_content":{{"google":{{"thought_signature":"X"}}}}}}]}}]"#
    ));
    let expected = [
        format!("Assistant thought:T:{details} text:a"),
        "Assistant thought:R text:b".to_owned(),
        "Assistant text:c".to_owned(),
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
    // 47: the type is what the bytes are.
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
    let system = r#"{"messages":[{"role":"system","content":[{"type":"image_url","image_url":"https://x"}]}]}"#;
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
    assert_eq!((request.samplers.top_p.unwrap().get(), request.samplers.top_k.unwrap().get()), ("1e-1", "40"));
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
    assert_eq!(lost, "seed, frequency_penalty, logit_bias, min_p, prediction, verbosity, betas, foo, metadata");
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
    for field in super::super::fields::FIELDS.iter().filter(|field| !["model", "messages"].contains(&field.name)) {
        for protocol in [MS, RS] {
            let body = with(&format!("\"{}\":{}", field.name, field.sample));
            let read = read(&body, protocol);
            let (name, neutral) = (field.name, field.is_neutral(field.sample));
            match field.carry(protocol) {
                Carry::Refused => assert_eq!(read.map(|_| ()).unwrap_err().param(), Some(name)),
                Carry::Dropped if !neutral => assert_eq!(read.unwrap().1, name),
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
    assert!(matches!(kinds[0], ("f", ToolKind::Function { schema: Some(raw), strict: Some(true) }) if raw.get() == r#"{"a":1.0}"#));
    assert!(matches!(kinds[1], ("g", ToolKind::Function { schema: None, strict: None })));
    assert!(request.tools[1].description.is_none() && request.tools[0].cache.is_some());
    assert!(matches!(kinds[2], ("h", ToolKind::Custom { grammar: Some(g) }) if g.syntax.raw() == "lark"));
    let ToolKind::WebSearch(search) = &kinds[4].1 else { panic!("{kinds:?}") };
    assert_eq!(search.location.as_ref().unwrap().get(), r#"{"city":"Rome"}"#);
    assert_eq!((search.context.as_ref().unwrap().raw(), lost.as_str()), ("low", "tools[3].function.input_examples"));
    assert_eq!(refused(r#""tools":[{"type":"mcp"}]"#, MS).param(), Some("tools[0].type"));
    assert_eq!(refused(r#""tools":[{"type":"function"}]"#, MS).param(), Some("tools[0].name"));
}

#[test]
fn choices_of_all_forms() {
    let choice = |json: &str| read(&with(&format!(r#""tool_choice":{json}"#)), MS).map(|(r, _)| format!("{:?}", r.choice));
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
    let allowed = choice(r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"b"}}]}}"#);
    assert!(allowed.unwrap().contains(r#"required: true, tools: [Chosen { namespace: None, name: "b" }]"#));
    assert!(choice(r#""any""#).is_err() && choice(r#"{"type":"mcp"}"#).is_err());
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
    assert_eq!(thinking(r#""reasoning_effort":"high""#), (None, Some(Level::High), None, None));
    assert_eq!(thinking(r#""reasoning_effort":"none""#), (Some(Off), Some(Level::None), None, None));
    assert_eq!(thinking(r#""reasoning":{"effort":"low","exclude":true}"#), (None, Some(Level::Low), None, Some(false)));
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
    let body = with(r#""response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","schema":{"b":1.0},"strict":true}}"#);
    let (request, _) = read(&body, MS).unwrap();
    let Format::Schema { name, schema, strict, .. } = request.format else { panic!() };
    assert_eq!((name.unwrap().raw(), schema.get(), strict), ("n", r#"{"b":1.0}"#, Some(true)));
    let body = with(r#""response_format":{"type":"json_object"}"#);
    assert!(matches!(read(&body, RS).unwrap().0.format, Format::JsonObject));
    assert!(matches!(read(&with(r#""response_format":{"type":"text"}"#), RS).unwrap().0.format, Format::Text));
    assert_eq!(refused(r#""response_format":{"type":"grammar"}"#, MS).param(), Some("response_format.type"));
    let bare = refused(r#""response_format":{"type":"json_schema","json_schema":{}}"#, MS);
    assert_eq!(bare.param(), Some("response_format.json_schema.schema"));
    assert_eq!(refused(r#""guided_regex":"a""#, RS).param(), Some("guided_regex"));
}

/// Shows the events of an answer, one word each.
fn show(event: &Event<'_>) -> String {
    match event {
        Event::Start { id, created } => {
            format!("start:{}:{}", id.as_deref().unwrap_or("-"), created.unwrap_or(0))
        }
        Event::Tier(tier) => format!("tier:{tier}"),
        Event::Text(text) => format!("text:{}", text.decode()),
        Event::Logprobs(raw) => format!("logprobs:{}", raw.get()),
        Event::Refusal(text) => format!("refusal:{}", text.decode()),
        Event::Thought(text) => format!("thought:{}", text.decode()),
        Event::Seal(Seal::Plain) => "plain".to_owned(),
        Event::Seal(Seal::Details(raw)) => format!("details:{}", raw.get()),
        Event::Seal(Seal::Call { id, extra }) => format!("state:{}:{}", id.decode(), extra.get()),
        Event::Seal(_) => "seal".to_owned(),
        Event::Cite(cite) => format!("cite:{}:{:?}", cite.url.decode(), cite.span),
        Event::Open { key, id, name, custom, .. } => {
            format!("open:{key}:{id}:{name}{}", if *custom { "*" } else { "" })
        }
        Event::Args { key, part: Args::Lit(text) } => format!("args:{key}:{}", text.decode()),
        Event::Args { key, part: Args::Raw(raw) } => format!("object:{key}:{}", raw.get()),
        Event::Usage(part) => {
            let usage = Usage::from(*part);
            format!("usage:{}+{}:{}", usage.input, usage.cache_read, usage.output)
        }
        Event::Finish(finish) => format!("{finish:?}"),
        Event::Fail(error) => {
            format!("fail:{}:{}", error.message, error.code.as_deref().unwrap_or("-"))
        }
        Event::End => "end".to_owned(),
        Event::Close(_) | Event::Break | Event::Search { .. } => "other".to_owned(),
    }
}

fn stream_of(profile: &Profile, events: &[&str]) -> Vec<String> {
    let (mut decoder, mut seen) = (Decoder::new(profile), Vec::new());
    for data in events {
        decoder.event(None, data, &mut |event| seen.push(show(&event))).unwrap();
    }
    decoder.end(&mut |event| seen.push(show(&event)));
    seen
}

/// A stream of deltas and its end, without the events that say nothing new.
fn deltas(profile: &Profile, deltas: &[&str], finish: &str) -> Vec<String> {
    let mut events: Vec<String> = deltas
        .iter()
        .map(|delta| format!(r#"{{"id":"i","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#))
        .collect();
    events.push(format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{finish}"}}]}}"#));
    events.push("[DONE]".to_owned());
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let mut seen = stream_of(profile, &events);
    assert_eq!(seen.remove(0), "start:i:0");
    assert_eq!(seen.pop().as_deref(), Some("end"));
    seen
}

fn plain(list: &[&str], finish: &str) -> Vec<String> {
    deltas(&Profile::default(), list, finish)
}

#[test]
fn case_84_usage_follows_the_finish() {
    let seen = stream_of(
        &Profile::default(),
        &[
            r#"{"id":"chatcmpl-1","created":1700000000,"service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"Hel"}}]}"#,
            r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"lo"}},{"index":1,"delta":{"content":"other"}}]}"#,
            r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#,
            "[DONE]",
            r#"{"choices":[{"delta":{"content":"ignored"}}]}"#,
        ],
    );
    let expected =
        ["start:chatcmpl-1:1700000000", "tier:default", "text:Hel", "text:lo", "usage:7+0:2", "Stop", "end"];
    assert_eq!(seen, expected);
}

fn call(index: &str, id: &str, name: &str, arguments: &str) -> String {
    let index = if index.is_empty() { String::new() } else { format!("\"index\":{index},") };
    let id = if id.is_empty() { String::new() } else { format!("\"id\":\"{id}\",") };
    let name = if name.is_empty() { String::new() } else { format!("\"name\":\"{name}\",") };
    format!(r#"{{{index}{id}"function":{{{name}"arguments":{arguments}}}}}"#)
}

fn calls(list: &[String]) -> String {
    format!(r#"{{"tool_calls":[{}]}}"#, list.join(","))
}

fn calls_of(list: &[String]) -> Vec<String> {
    let list: Vec<_> = list.iter().map(|one| calls(std::slice::from_ref(one))).collect();
    plain(&list.iter().map(String::as_str).collect::<Vec<_>>(), "tool_calls")
}

#[test]
fn case_85_fragments_of_parallel_calls_keep_their_keys() {
    let seen = calls_of(&[
        call("0", "a", "f", r#""{\"x\"""#),
        call("1", "b", "g", r#""{\"y\"""#),
        call("0", "", "", r#"":1}""#),
        call("1", "", "", r#"":2}""#),
    ]);
    let expected = ["open:0:a:f", "args:0:{\"x\"", "open:1:b:g", "args:1:{\"y\"", "args:0::1}", "args:1::2}", "ToolUse"];
    assert_eq!(seen, expected);
}

#[test]
fn cases_86_and_87_one_index_for_all_calls_or_none() {
    let expected = ["open:0:a:f", "args:0:{}", "open:1:b:g", "args:1:{}", "ToolUse"];
    let both = [call("0", "a", "f", r#""{}""#), call("0", "b", "g", r#""{}""#)];
    assert_eq!(plain(&[&calls(&both)], "tool_calls"), expected);
    let both = [call("", "a", "f", r#""{}""#), call("", "b", "g", r#""{}""#)];
    assert_eq!(calls_of(&both), expected);
    // Neither index nor id: a further name is a further call.
    let both = [call("", "", "f", r#""{}""#), call("", "", "g", r#""{}""#)];
    assert_eq!(calls_of(&both), ["open:0::f", "args:0:{}", "open:1::g", "args:1:{}", "ToolUse"]);
    let pieces = [call("", "", "f", r#""{""#), call("", "", "", r#""}""#)];
    assert_eq!(calls_of(&pieces), ["open:0::f", "args:0:{", "args:0:}", "ToolUse"]);
}

#[test]
fn case_88_and_99c_repeated_names_and_fresh_ids() {
    let seen = calls_of(&[call("0", "a", "get", r#""{""#), call("0", "a", "get", r#""}""#)]);
    assert_eq!(seen, ["open:0:a:get", "args:0:{", "args:0:}", "ToolUse"]);
    let seen = calls_of(&[call("0", "a", "get", r#""{""#), call("0", "b", "", r#""}""#)]);
    assert_eq!(seen, ["open:0:a:get", "args:0:{", "args:0:}", "ToolUse"]);
    // A new index with a known id is the same call.
    let seen = calls_of(&[call("0", "a", "get", r#""{""#), call("5", "a", "", r#""}""#)]);
    assert_eq!(seen, ["open:0:a:get", "args:0:{", "args:0:}", "ToolUse"]);
}

#[test]
fn names_may_come_late_and_arguments_as_objects() {
    let seen = calls_of(&[call("0", "a", "", r#""{\"x""#), call("0", "", "f", r#""\":1}""#)]);
    assert_eq!(seen, ["open:0:a:f", "args:0:{\"x", "args:0:\":1}", "ToolUse"]);
    let seen = calls_of(&[call("0", "a", "f", r#"{ "b" : 1.0, "a" : "x y" }"#), call("0", "", "", "null")]);
    assert_eq!(seen, ["open:0:a:f", "object:0:{\"b\":1.0,\"a\":\"x y\"}", "ToolUse"]);
    let custom = r#"{"tool_calls":[{"index":0,"id":"a","type":"custom","custom":{"name":"p","input":"*** x"}}]}"#;
    assert_eq!(plain(&[custom], "tool_calls"), ["open:0:a:p*", "args:0:*** x", "ToolUse"]);
    let legacy = r#"{"function_call":{"name":"f","arguments":"{}"}}"#;
    assert_eq!(plain(&[legacy], "function_call"), ["open:0::f", "args:0:{}", "ToolUse"]);
}

#[test]
fn a_call_without_a_name_is_a_failure() {
    let list = calls(&[call("0", "a", "", r#""{}""#)]);
    let events = format!(r#"{{"choices":[{{"delta":{list},"finish_reason":"tool_calls"}}]}}"#);
    let seen = stream_of(&Profile::default(), &[&events, "[DONE]"]);
    assert_eq!(seen.last().unwrap(), "fail:The provider called a tool without naming it.:upstream_invalid_tool_call");
}

#[test]
fn cases_89_to_92_calls_and_text() {
    let (one, two) = (calls(&[call("0", "a", "f", r#""{\"a\":1}""#)]), calls(&[call("1", "b", "g", r#""""#)]));
    let seen = plain(&[&one, r#"{"content":"\n"}"#, &two, r#"{"content":"Done."}"#], "tool_calls");
    let expected = ["open:0:a:f", "args:0:{\"a\":1}", "text:\n", "open:1:b:g", "text:Done.", "ToolUse"];
    assert_eq!(seen, expected);
    // 91: the chunk that opens the call has text, too.
    let both = format!(r#"{{"content":"T","tool_calls":[{}]}}"#, call("0", "a", "f", r#""{""#));
    assert_eq!(plain(&[&both], "tool_calls"), ["text:T", "open:0:a:f", "args:0:{", "ToolUse"]);
}

#[test]
fn case_95_stop_with_calls_is_a_call() {
    let list = calls(&[call("0", "a", "f", r#""{}""#)]);
    assert_eq!(plain(&[&list], "stop").last().unwrap(), "ToolUse");
    assert_eq!(plain(&[&list], "length").last().unwrap(), "Length");
    assert_eq!(plain(&[&list], "content_filter").last().unwrap(), "Refusal(None)");
    let text = [r#"{"content":"x"}"#];
    for (reason, finish) in [
        ("stop", "Stop"),
        ("max_tokens", "Length"),
        ("model_length", "Length"),
        ("SAFETY", "Refusal(None)"),
        ("recitation", "Refusal(None)"),
        ("blocklist", "Refusal(None)"),
        ("refusal", "Refusal(None)"),
        ("context_length_exceeded", "ContextWindow"),
        ("model_context_window_exceeded", "ContextWindow"),
        ("eos", "Stop"),
    ] {
        assert_eq!(plain(&text, reason).last().unwrap(), finish, "{reason}");
    }
    for failed in ["error", "abort", "insufficient_system_resource"] {
        let event = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{failed}"}}]}}"#);
        let seen = stream_of(&Profile::default(), &[&event, "[DONE]"]);
        assert_eq!(seen.last().unwrap(), &format!("fail::{failed}"));
    }
}

#[test]
fn later_reasons_win_but_stop_never_over_calls() {
    let finish = |reasons: &[&str]| {
        let list: Vec<_> = reasons
            .iter()
            .map(|reason| format!(r#"{{"choices":[{{"delta":{{"content":"x"}},"finish_reason":{reason}}}]}}"#))
            .chain(["[DONE]".to_owned()])
            .collect();
        let seen = stream_of(&Profile::default(), &list.iter().map(String::as_str).collect::<Vec<_>>());
        seen[seen.len() - 2].clone()
    };
    assert_eq!(finish(&[r#""tool_calls""#, r#""stop""#]), "ToolUse");
    assert_eq!(finish(&[r#""stop""#, r#""length""#]), "Length");
    assert_eq!(finish(&[r#""length""#, r#""""#, "null"]), "Length");
    let vllm = r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"stop","stop_reason":"END"}]}"#;
    let seen = stream_of(&Profile::default(), &[vllm, "[DONE]"]);
    assert!(seen[2].starts_with("StopSequence(Some("), "{seen:?}");
}

#[test]
fn case_97_a_report_of_a_filter_does_not_begin_the_answer() {
    let azure = r#"{"id":"","object":"","created":0,"choices":[],"prompt_filter_results":[{}]}"#;
    let next = r#"{"id":"c","created":1700000000,"choices":[{"index":0,"delta":{"content":"x"},"content_filter_results":{}}]}"#;
    let seen = stream_of(&Profile::default(), &[azure, next]);
    assert_eq!(seen, ["start:c:1700000000", "text:x"]);
}

#[test]
fn cases_98_to_101_how_streams_end() {
    let text = r#"{"id":"c","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}"#;
    let stop = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let any = Profile::default();
    let whole = ["start:c:0", "text:x", "Stop", "end"];
    assert_eq!(stream_of(&any, &[text, stop, "[DONE]"]), whole);
    assert_eq!(stream_of(&any, &[text, stop]), whole);
    assert_eq!(stream_of(&any, &[text, "[DONE]"]), whole);
    // 99b, 100, 101: cut.
    assert!(stream_of(&any, &["[DONE]"]).is_empty());
    assert_eq!(stream_of(&any, &[text]), ["start:c:0", "text:x"]);
    let optional = Profile { finish_optional: true, ..Profile::default() };
    assert_eq!(stream_of(&optional, &[text]), whole);
    assert!(stream_of(&optional, &[]).is_empty());
}

#[test]
fn case_105_failures_in_all_their_forms() {
    let any = Profile::default();
    for (frame, failure) in [
        (r#"{"object":"error","message":"boom","code":400}"#, "fail:boom:-"),
        (r#"{"error":{"message":"m","code":"insufficient_quota"}}"#, "fail:m:insufficient_quota"),
        (r#"{"error":"m"}"#, "fail:m:-"),
        (r#"[{"error":{"message":"g"}}]"#, "fail:g:-"),
        (r#"{"id":"x","error":{"message":"o"},"choices":[{"delta":{},"finish_reason":"error"}]}"#, "fail:o:-"),
        (r#"{"choices":[{"error":{"message":"c"},"delta":{}}]}"#, "fail:c:-"),
    ] {
        assert_eq!(stream_of(&any, &[frame, "[DONE]"]), [failure], "{frame}");
    }
    let mut decoder = Decoder::new(&any);
    assert!(decoder.event(None, "{broken", &mut |_| panic!("nothing")).is_err());
    for odd in ["{}", r#"{"choices":7}"#, r#"{"choices":[7]}"#, r#"{"error":null}"#, "[]"] {
        assert!(decoder.event(None, odd, &mut |event| panic!("{event:?}")).is_ok(), "{odd}");
    }
}

#[test]
fn reasoning_is_told_once_and_sealed_for_who_wants_it_back() {
    // 83: both members hold the same.
    let both = r#"{"reasoning":"x","reasoning_details":[{"type":"reasoning.text","text":"x","index":0}]}"#;
    assert_eq!(plain(&[both, r#"{"content":"a"}"#], "stop"), ["thought:x", "text:a", "Stop"]);
    let wants = Profile { reasoning_in: ReasoningIn::ReasoningContent, ..Profile::default() };
    let list = [
        r#"{"content":null,"reasoning_content":"t"}"#,
        r#"{"content":"a","reasoning_content":null}"#,
        r#"{"content":"b"}"#,
    ];
    assert_eq!(deltas(&wants, &list, "stop"), ["thought:t", "plain", "text:a", "text:b", "Stop"]);
    assert_eq!(deltas(&wants, &[r#"{"reasoning":"t"}"#], "length"), ["thought:t", "plain", "Length"]);
    let signed = [
        r#"{"reasoning_details":[{"type":"reasoning.text","text":"t","index":0}]}"#,
        r#"{"reasoning_details":[{"type":"reasoning.text","signature":"S","index":0}]}"#,
        r#"{"content":"a"}"#,
    ];
    let details = r#"details:[{"type":"reasoning.text","text":"t","signature":"S","index":0}]"#;
    assert_eq!(plain(&signed, "stop"), ["thought:t", details, "text:a", "Stop"]);
}

#[test]
fn case_82_state_of_a_call_comes_before_it() {
    let delta = r#"{"tool_calls":[{"index":0,"id":"a","extra_content":{"google":{"thought_signature":"X"}},"function":{"name":"f","arguments":"{}"}}]}"#;
    let expected = [r#"state:a:{"google":{"thought_signature":"X"}}"#, "open:0:a:f", "args:0:{}", "ToolUse"];
    assert_eq!(plain(&[delta], "stop"), expected);
}

#[test]
fn case_123_content_as_a_list() {
    let list = r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"a"},{"type":"reference","reference_ids":[1]}]}"#;
    assert_eq!(plain(&[list], "stop"), ["thought:t", "text:a", "Stop"]);
}

#[test]
fn case_124_tags_of_thinking() {
    let tags = Profile { think_tags: true, ..Profile::default() };
    let list = [r#"{"content":"<th"}"#, r#"{"content":"ink>a</thi"}"#, r#"{"content":"nk>b"}"#];
    assert_eq!(deltas(&tags, &list, "stop"), ["thought:a", "text:b", "Stop"]);
    assert_eq!(deltas(&tags, &[r#"{"content":"<th"}"#], "stop"), ["text:<th", "Stop"]);
}

#[test]
fn usage_is_found_wherever_it_stands() {
    let counts = r#"{"prompt_tokens":5,"completion_tokens":1}"#;
    for place in [
        format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"stop","usage":{counts}}}]}}"#),
        format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"stop"}}],"x_groq":{{"id":"r","usage":{counts}}}}}"#),
        format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"stop"}}],"usage":{counts}}}"#),
    ] {
        assert_eq!(stream_of(&Profile::default(), &[&place, "[DONE]"])[1], "usage:5+0:1", "{place}");
    }
}

#[test]
fn refusals_annotations_and_probabilities() {
    let delta = r#"{"content":"a","refusal":"no","annotations":[{"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":0,"end_index":1}}]}"#;
    assert_eq!(plain(&[delta], "stop"), ["text:a", "refusal:no", "cite:u:Some((0, 1))", "Stop"]);
    let event = r#"{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"a"}],"refusal":null}}]}"#;
    assert_eq!(stream_of(&Profile::default(), &[event])[2], r#"logprobs:[{"token":"a"}]"#);
}

fn reply_of(profile: &Profile, body: &str) -> Vec<String> {
    let (mut decoder, mut seen) = (Decoder::new(profile), Vec::new());
    decoder.reply(body, &mut |event| seen.push(show(&event))).unwrap();
    seen
}

#[test]
fn whole_answers_give_the_events_of_their_stream() {
    let wants = Profile { reasoning_in: ReasoningIn::ReasoningContent, ..Profile::default() };
    // 129: blank lines come first.
    let body = r#"

        {"id":"c","created":1700000000,"choices":[{"index":0,"message":{"role":"assistant","reasoning_content":"t","content":"a","tool_calls":[
        {"id":"x","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"","type":"function","function":{"name":"f","arguments":""}},{"id":"x","function":{"name":"f","arguments":{}}}]},
        "finish_reason":"tool_calls"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_cache_hit_tokens":2}}"#;
    let expected = [
        "start:c:1700000000",
        "usage:3+2:1",
        "thought:t",
        "plain",
        "text:a",
        "open:0:x:f",
        "args:0:{}",
        "open:1::f",
        "open:2:x:f",
        "object:2:{}",
        "ToolUse",
        "end",
    ];
    assert_eq!(reply_of(&wants, body), expected);
}

#[test]
fn whole_answers_may_lack_a_reason_and_may_be_failures() {
    let any = Profile::default();
    let body = r#"{"choices":[{"message":{"content":"a"},"finish_reason":null}]}"#;
    assert_eq!(reply_of(&any, body), ["start:-:0", "text:a", "Stop", "end"]);
    let body = r#"{"choices":[{"message":{"function_call":{"name":"f","arguments":"{}"}}}]}"#;
    assert_eq!(reply_of(&any, body), ["start:-:0", "open:0::f", "args:0:{}", "ToolUse", "end"]);
    // 127d: a failure with status 200.
    assert_eq!(reply_of(&any, r#"{"error":{"message":"m"}}"#), ["fail:m:-"]);
    assert_eq!(reply_of(&any, r#"[{"error":{"message":"m"}}]"#), ["fail:m:-"]);
    assert!(reply_of(&any, r#"{"choices":[]}"#).is_empty());
    assert!(Decoder::new(&any).reply("<html>", &mut |_| panic!("nothing")).is_err());
    let refusal = r#"{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}]}"#;
    assert_eq!(reply_of(&any, refusal), ["start:-:0", "refusal:no", "Stop", "end"]);
}

#[test]
fn halves_of_characters_are_given_on() {
    let list = [r#"{"content":"\ud83d"}"#, r#"{"content":"\ude00"}"#];
    let mut decoder = Decoder::new(&Profile::default());
    let mut text = String::new();
    for delta in list {
        let event = format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#);
        let mut take = |event: Event<'_>| {
            if let Event::Text(lit) = event {
                text.push_str(lit.raw());
            }
        };
        decoder.event(None, &event, &mut take).unwrap();
    }
    assert_eq!(text, r"\ud83d\ude00");
}
