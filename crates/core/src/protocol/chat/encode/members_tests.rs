//! The members of requests beside their messages.

use std::collections::BTreeSet;

use crate::canon::{
    Choice, Chosen, Effort, EffortFormat, Extra, Format, JsonSchemaSupport, Profile, Request, Sampling,
    StreamUsage, Thinking, ThinkingMode, Tool, ToolChoice, ToolId, ToolKind, UserField, WebSearch,
};
use crate::json::{JsonStr, Raw};

use super::{any, assistant, call, deepseek, function, members, openai, question, write};

fn with_tools<'a>(tools: Vec<Tool<'a>>, choice: Option<Choice<'a>>) -> Request<'a> {
    Request { tools, choice, ..question() }
}

#[test]
fn cases_39_44_and_45_names() {
    let spaced = Tool { namespace: Some("crm".into()), ..function("find") };
    let long: &'static str =
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
    let asked = with_tools(
        vec![spaced, function("mcp.server/do it"), function(long)],
        Some(Choice::Named(Chosen { namespace: None, name: "find".into() })),
    );
    let (seen, _) = members(&asked, &any());
    assert!(seen.contains(r#"{"name":"crm__find"}"#) && seen.contains(r#""mcp_server_do_it_"#), "{seen}");
    assert!(seen.contains(&format!(r#""{}_"#, long.get(..55).unwrap())));
    assert!(seen.ends_with(r#""tool_choice":{"type":"function","function":{"name":"crm__find"}}"#));
}

#[test]
fn cases_40_and_41_tools_of_the_providers_own() {
    let search = |search| Tool { kind: ToolKind::WebSearch(search), ..function("web_search") };
    let hosted = Tool { kind: ToolKind::Hosted, ..function("image_generation") };
    let asked = with_tools(vec![function("f"), search(WebSearch::default()), hosted], None);
    let (seen, lost) = members(&asked, &any());
    assert_eq!(seen, r#","tools":[{"type":"function","function":{"name":"f"}}]"#);
    assert_eq!(lost, "tools[1], tools[2]");
    let refused = write(&with_tools(vec![search(WebSearch::default())], None), &any()).unwrap_err();
    assert!(refused.message().contains("not available for this model"));
    let wish = WebSearch {
        context: Some(JsonStr::plain("low")),
        location: Some(Raw::constant(r#"{"city":"Rome"}"#)),
        allowed: Some(Raw::constant(r#"["x"]"#)),
        ..WebSearch::default()
    };
    let (seen, lost) = members(&with_tools(vec![search(wish)], Some(Choice::Auto)), &openai());
    assert_eq!(
        seen,
        r#","web_search_options":{"search_context_size":"low","user_location":{"type":"approximate","approximate":{"city":"Rome"}}}"#
    );
    assert_eq!(lost, "tools.filters");
}

#[test]
fn functions_keep_their_schemas() {
    let mut tool = function("f");
    tool.description = Some(JsonStr::plain("d"));
    tool.kind = ToolKind::Function {
        schema: Some(Raw::constant(r#"{"type":"object","b":1.0}"#)),
        strict: Some(true),
    };
    let asked = with_tools(vec![tool], None);
    let expected = r#","tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","b":1.0}}}]"#;
    assert_eq!(members(&asked, &any()), (expected.to_owned(), "tools.strict".to_owned()));
    assert!(members(&asked, &openai()).0.contains(r#""b":1.0},"strict":true}"#));
    // 71: nothing is written without tools.
    assert_eq!(members(&with_tools(vec![], Some(Choice::Auto)), &any()).0, "");
}

#[test]
fn choices_as_far_as_the_provider_knows_them() {
    let two = || vec![function("a"), function("b")];
    let named = || Choice::Named(Chosen { namespace: None, name: "b".into() });
    let knows =
        |values: &[ToolChoice]| Profile { tool_choice_values: values.iter().copied().collect(), ..any() };
    let choice = |tools, choice, profile: &Profile| {
        let (seen, lost) = members(&with_tools(tools, Some(choice)), profile);
        let seen = seen.split_once("],").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        (seen, lost)
    };
    let pair = |seen: &str, lost: &str| (seen.to_owned(), lost.to_owned());
    assert_eq!(choice(two(), Choice::Auto, &any()), pair(r#""tool_choice":"auto""#, ""));
    assert_eq!(choice(two(), Choice::None, &any()), pair(r#""tool_choice":"none""#, ""));
    assert_eq!(choice(two(), Choice::Required, &any()), pair(r#""tool_choice":"required""#, ""));
    let named_b = r#""tool_choice":{"type":"function","function":{"name":"b"}}"#;
    assert_eq!(choice(two(), named(), &any()), pair(named_b, ""));
    let mistral = Profile { tool_id: ToolId::Mistral9, ..any() };
    assert_eq!(choice(two(), Choice::Required, &mistral), pair(r#""tool_choice":"any""#, ""));
    let kimi = knows(&[ToolChoice::None, ToolChoice::Auto, ToolChoice::Named]);
    assert_eq!(choice(two(), Choice::Required, &kimi), pair(r#""tool_choice":"auto""#, "tool_choice=auto"));
    assert_eq!(choice(vec![function("b")], Choice::Required, &kimi), pair(named_b, ""));
    let few = knows(&[ToolChoice::Auto, ToolChoice::Required]);
    let (seen, lost) = members(&with_tools(two(), Some(named())), &few);
    assert_eq!(
        (seen.as_str(), lost.as_str()),
        (r#","tools":[{"type":"function","function":{"name":"b"}}],"tool_choice":"required""#, "")
    );
    assert_eq!(members(&with_tools(two(), Some(Choice::None)), &few), pair("", ""));
    let mut called = with_tools(two(), Some(Choice::None));
    called.turns.insert(0, assistant(vec![call("x")]));
    let (body, lost, _) = write(&called, &few).unwrap();
    assert!(body.contains(r#""tools":["#) && !body.contains("\"tool_choice\"") && lost == "tool_choice");
    let some =
        || Choice::Allowed { required: true, tools: vec![Chosen { namespace: None, name: "b".into() }] };
    assert_eq!(choice(two(), some(), &any()), pair(r#""tool_choice":"required""#, ""));
    let allowed = r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"b"}}]}}"#;
    assert_eq!(choice(two(), some(), &openai()), pair(allowed, ""));
}

#[test]
fn parallel_calls() {
    let asked = |parallel| Request { parallel, ..with_tools(vec![function("f")], None) };
    assert!(members(&asked(Some(false)), &any()).0.ends_with(r#""parallel_tool_calls":false"#));
    let unknown = Profile { parallel_tool_calls: false, ..any() };
    assert_eq!(members(&asked(Some(false)), &unknown).1, "parallel_tool_calls");
    assert_eq!(members(&asked(Some(true)), &unknown).1, "");
    assert_eq!(members(&Request { parallel: Some(false), ..question() }, &any()).0, "");
}

#[test]
fn case_71b_a_forced_call_wins_over_thinking() {
    let asked = with_tools(vec![function("f")], Some(Choice::Required));
    let (seen, lost) = members(&asked, &deepseek());
    assert!(seen.ends_with(r#""tool_choice":"required","thinking":{"type":"disabled"}"#), "{seen}");
    assert_eq!(lost, "");
    let mut wanted = asked;
    wanted.thinking.effort = Some(Effort::High);
    assert_eq!(members(&wanted, &deepseek()).1, "reasoning_effort");
    let qwen = Profile { effort: EffortFormat::EnableThinking, forced_with_thinking: false, ..any() };
    assert!(members(&wanted, &qwen).0.ends_with(r#""enable_thinking":false"#));
}

#[test]
fn cases_30_to_32_wishes_to_think_in_the_words_of_providers() {
    let wish = |mode, effort, budget| Thinking { mode, effort, budget, ..Thinking::default() };
    let seen = |thinking, profile: &Profile| {
        let (seen, lost) = members(&Request { thinking, ..question() }, profile);
        format!(
            "{}{}",
            seen.trim_start_matches(','),
            if lost.is_empty() { String::new() } else { format!(" -{lost}") }
        )
    };
    use ThinkingMode::{Adaptive, Off, On};
    let way = |effort| Profile { effort, ..any() };
    let on = wish(Some(On), None, Some(31999));
    assert_eq!(seen(on, &any()), r#""reasoning_effort":"high""#);
    assert_eq!(seen(on, &way(EffortFormat::ReasoningObject)), r#""reasoning":{"max_tokens":31999}"#);
    assert_eq!(
        seen(on, &way(EffortFormat::EnableThinking)),
        r#""enable_thinking":true,"thinking_budget":31999"#
    );
    assert_eq!(seen(on, &deepseek()), r#""thinking":{"type":"enabled"},"reasoning_effort":"high""#);
    assert_eq!(seen(on, &way(EffortFormat::None)), " -reasoning_effort");
    let medium = wish(None, Some(Effort::Medium), None);
    assert_eq!(seen(medium, &deepseek()), r#""thinking":{"type":"enabled"},"reasoning_effort":"low""#);
    assert_eq!(seen(medium, &way(EffortFormat::ReasoningObject)), r#""reasoning":{"effort":"medium"}"#);
    assert_eq!(seen(medium, &way(EffortFormat::EnableThinking)), r#""enable_thinking":true"#);
    let router = Profile { efforts: Effort::ALL[..6].iter().copied().collect(), ..any() };
    assert_eq!(seen(wish(None, Some(Effort::Max), None), &router), r#""reasoning_effort":"xhigh""#);
    let off = wish(Some(Off), None, None);
    assert_eq!(seen(off, &any()), r#""reasoning_effort":"none""#);
    assert_eq!(seen(off, &deepseek()), r#""thinking":{"type":"disabled"}"#);
    assert_eq!(seen(off, &way(EffortFormat::ReasoningObject)), r#""reasoning":{"enabled":false}"#);
    assert_eq!(seen(off, &way(EffortFormat::EnableThinking)), r#""enable_thinking":false"#);
    let never = Profile { efforts: BTreeSet::from([Effort::Low]), ..any() };
    assert_eq!(seen(off, &never), " -reasoning_effort");
    let adaptive = wish(Some(Adaptive), None, None);
    for profile in [any(), deepseek(), way(EffortFormat::ReasoningObject), way(EffortFormat::EnableThinking)]
    {
        assert_eq!(seen(adaptive, &profile), "");
        assert_eq!(seen(Thinking::default(), &profile), "");
    }
    let mut tools = with_tools(vec![function("f")], None);
    tools.thinking = medium;
    let (with_function, lost) = members(&tools, &openai());
    assert!(
        with_function.ends_with(r#""reasoning_effort":"medium""#) && lost.is_empty(),
        "a name of no model"
    );
}

#[test]
fn samplers_limits_and_stops() {
    let mut asked = question();
    asked.samplers.temperature = Some(Raw::constant("1.40"));
    asked.samplers.top_p = Some(Raw::constant("0.5"));
    asked.samplers.top_k = Some(Raw::constant("40"));
    asked.max_output = Some(7);
    asked.stop = ["a", "b", "c", "d", "e"].map(JsonStr::of).into();
    let pair = |seen: &str, lost: &str| (seen.to_owned(), lost.to_owned());
    let expected =
        r#","max_tokens":7,"temperature":1.40,"top_p":0.5,"top_k":40,"stop":["a","b","c","d","e"]"#;
    assert_eq!(members(&asked, &any()), pair(expected, ""));
    let expected = r#","max_completion_tokens":7,"temperature":1.40,"top_p":0.5,"stop":["a","b","c","d"]"#;
    assert_eq!(members(&asked, &openai()), pair(expected, "top_k, stop=4"));
    let clamped = Profile { sampling: Sampling::Clamp1, min_max_tokens: 16, ..any() };
    let (seen, lost) = members(&asked, &clamped);
    assert!(seen.starts_with(r#","max_tokens":16,"temperature":1,"top_p":0.5"#) && lost == "temperature=1");
    let none = Profile { sampling: Sampling::None, ..any() };
    assert_eq!(members(&asked, &none).1, "temperature, top_p");
    asked.samplers.temperature = Some(Raw::constant("1.0"));
    asked.samplers.top_p = Some(Raw::constant("1"));
    assert_eq!(members(&asked, &none).1, "");
}

#[test]
fn case_59_forms_of_answers() {
    let schema = |name: Option<JsonStr<'static>>, strict, json| Format::Schema {
        name,
        description: None,
        schema: Raw::constant(json),
        strict,
    };
    let seen = |format, profile: &Profile| members(&Request { format, ..question() }, profile).0;
    const OPEN: &str = r#"{"type":"object","properties":{"a":{}},"additionalProperties":false}"#;
    const CLOSED: &str =
        r#"{"type":"object","properties":{"a":{}},"required":["a"],"additionalProperties":false}"#;
    let native = |name: &str, schema: &str, strict: &str| {
        format!(
            r#","response_format":{{"type":"json_schema","json_schema":{{"name":"{name}","schema":{schema}{strict}}}}}"#
        )
    };
    assert_eq!(seen(schema(None, None, OPEN), &any()), native("response", OPEN, r#","strict":false"#));
    assert_eq!(seen(schema(None, None, CLOSED), &any()), native("response", CLOSED, r#","strict":true"#));
    let named = || Some(JsonStr::plain("n"));
    assert_eq!(seen(schema(named(), None, OPEN), &any()), native("n", OPEN, ""));
    assert_eq!(seen(schema(named(), Some(true), OPEN), &any()), native("n", OPEN, r#","strict":true"#));
    assert_eq!(seen(Format::JsonObject, &any()), r#","response_format":{"type":"json_object"}"#);
    assert_eq!(seen(Format::Text, &any()), "");
    let asked = Request { format: schema(None, None, r#"{ "a": 1.0 }"#), ..question() };
    let (body, ..) = write(&asked, &deepseek()).unwrap();
    let told = r#"{"role":"system","content":"Respond with one JSON object that matches this JSON schema:\n{\"a\":1.0}"},"#;
    assert!(body.contains(told) && body.ends_with(r#""response_format":{"type":"json_object"}}"#), "{body}");
    let nothing = Profile { json_schema: JsonSchemaSupport::None, ..any() };
    let (body, ..) = write(&asked, &nothing).unwrap();
    assert!(body.contains(told) && !body.contains("response_format"));
    let (body, ..) = write(&Request { format: Format::JsonObject, ..question() }, &nothing).unwrap();
    assert!(body.contains(r#""content":"Respond with one valid JSON object and nothing else.""#));
}

#[test]
fn users_tiers_and_what_else_only_some_know() {
    let mut asked = question();
    asked.user = Some("u".into());
    asked.tier = Some("flex".into());
    asked.verbosity = Some(JsonStr::plain("low"));
    asked.logprobs = Some(2);
    let (seen, lost) = members(&asked, &any());
    assert_eq!(
        (seen.as_str(), lost.as_str()),
        (r#","user":"u","logprobs":true,"top_logprobs":2"#, "service_tier, verbosity")
    );
    let (seen, lost) = members(&asked, &openai());
    let expected = r#","safety_identifier":"u","service_tier":"flex","verbosity":"low","logprobs":true,"top_logprobs":2"#;
    assert_eq!((seen.as_str(), lost.as_str()), (expected, ""));
    asked.user = Some("x".repeat(65).into());
    asked.tier = Some("standard_only".into());
    let (seen, _) = members(&asked, &openai());
    assert!(seen.contains(r#""service_tier":"default""#));
    assert_eq!(seen.split('"').nth(3).unwrap().len(), 64);
    asked.tier = Some("auto".into());
    let nobody = Profile { user_field: UserField::None, ..any() };
    assert_eq!(
        members(&asked, &nobody),
        (r#","logprobs":true,"top_logprobs":2"#.to_owned(), "verbosity".to_owned())
    );
}

#[test]
fn streams_report_their_usage_and_extras_go_on() {
    let mut asked = Request { stream: true, ..question() };
    let extra = |name: &'static str| Extra { name: name.into(), value: Raw::constant("1.0") };
    asked.extra = vec![extra("foo\""), extra("model"), extra("seed")];
    let expected = r#","stream":true,"stream_options":{"include_usage":true},"foo\"":1.0,"seed":1.0"#;
    assert_eq!(members(&asked, &any()).0, expected);
    let always = Profile { stream_usage: StreamUsage::Always, ..any() };
    assert!(members(&asked, &always).0.starts_with(r#","stream":true,"foo"#));
}
