//! Requests for providers.

#![expect(clippy::string_slice, reason = "a test may panic")]

use std::borrow::Cow;

use crate::canon::{
    Args, Audio, Cache, CacheParts, Call, Caps, Choice, Chosen, DocumentPart, Effort, EffortFormat, Extra,
    Format, Grammar, Image, Losses, MidSystem, Part, Profile, ProtocolId, Request, Role, Samplers, Sampling,
    Sealer, Source, Target, Text, Thinking, ThinkingMode, Tool, ToolChoice, ToolKind, ToolNames, ToolResult,
    Turn, UserField, WebSearch, sha256_hex,
};
use crate::failure::Result;
use crate::json::{JsonStr, Raw};

#[path = "message_tests.rs"]
mod messages;
#[path = "reasoning_tests.rs"]
mod past_reasoning;

/// The settings of the provider that tests change.
pub(super) struct Provider {
    profile: Profile,
    caps: Caps,
}

pub(super) fn provider() -> Provider {
    let profile = Profile::default();
    let caps = Caps::of(ProtocolId::Responses, "gpt", &profile);
    Provider { profile, caps }
}

fn openai() -> Provider {
    let profile = Profile {
        is_openai: true,
        custom_tools: true,
        cache_parts: CacheParts::OpenaiBreakpoint,
        user_field: UserField::SafetyIdentifier,
        tool_choice_values: [
            ToolChoice::None,
            ToolChoice::Auto,
            ToolChoice::Required,
            ToolChoice::Named,
            ToolChoice::Allowed,
        ]
        .into(),
        ..Profile::default()
    };
    Provider { profile, ..provider() }
}

fn try_written(request: &Request<'_>, provider: &Provider) -> Result<(String, Option<String>)> {
    let (profile, caps) = (&provider.profile, &provider.caps);
    let target = Target {
        protocol: ProtocolId::Responses,
        origin: "openai",
        model: "gpt",
        profile,
        caps,
        sealer: &Sealer::default(),
    };
    let names = ToolNames::new(&request.tools, 64, profile.custom_tools);
    let (mut losses, mut out) = (Losses::default(), Vec::new());
    super::write(request, &target, &names, &mut losses, &mut out)?;
    let json = String::from_utf8(out).unwrap();
    assert!(Raw::read(&json).is_some(), "{json}");
    Ok((json, losses.header()))
}

fn written(request: &Request<'_>, provider: &Provider) -> (String, Option<String>) {
    try_written(request, provider).unwrap()
}

/// The request without the members that are the same in all tests.
fn body(request: &Request<'_>, provider: &Provider) -> String {
    let json = written(request, provider).0;
    let rest = json.strip_prefix(r#"{"model":"gpt","#).unwrap();
    rest.replace(r#","store":false,"include":["reasoning.encrypted_content"]"#, "")
        .strip_suffix('}')
        .unwrap()
        .to_owned()
}

/// The items of the input.
pub(super) fn input(request: &Request<'_>, provider: &Provider) -> String {
    let json = written(request, provider).0;
    let (_, rest) = json.split_once(r#""input":["#).unwrap();
    let end = [r#"],"tools""#, r#"],"store""#, r#"],"text""#, r#"],"reasoning""#, r#"],"max_output_tokens""#];
    let end = end.iter().filter_map(|end| rest.find(end)).min().unwrap();
    rest[..end].to_owned()
}

pub(super) fn text(text: &str) -> Part<'static> {
    Part::Text(Text::new(JsonStr::of(text)))
}

fn marked(text: &'static str, long: bool) -> Text<'static> {
    Text { text: JsonStr::plain(text), cache: Some(Cache { long }) }
}

pub(super) fn user(parts: Vec<Part<'static>>) -> Turn<'static> {
    Turn::new(Role::User, parts)
}

pub(super) fn assistant(parts: Vec<Part<'static>>) -> Turn<'static> {
    Turn::new(Role::Assistant, parts)
}

pub(super) fn turns(turns: Vec<Turn<'static>>) -> Request<'static> {
    Request { turns, ..Request::default() }
}

fn hello() -> Request<'static> {
    turns(vec![user(vec![text("hi")])])
}

pub(super) fn call(id: &'static str, args: Args<'static>) -> Part<'static> {
    Part::Call(Call { id: id.into(), namespace: None, name: "f".into(), custom: false, args, extra: None })
}

fn result(id: &'static str, content: Vec<Part<'static>>) -> ToolResult<'static> {
    ToolResult { id: id.into(), custom: false, content, is_error: false, cache: None }
}

fn function(name: &'static str) -> Tool<'static> {
    Tool::function(name.into(), None, None)
}

#[test]
fn the_least_that_is_said() {
    let expected = concat!(
        r#"{"model":"gpt","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}],"#,
        r#""store":false,"include":["reasoning.encrypted_content"]}"#,
    );
    assert_eq!(written(&hello(), &provider()), (expected.to_owned(), None));
}

#[test]
fn freeform_tools_as_such_or_wrapped() {
    let grammar = Some(Grammar { syntax: JsonStr::plain("lark"), definition: JsonStr::of("start: \"x\"") });
    let tool = Tool {
        kind: ToolKind::Custom { grammar },
        description: Some(JsonStr::plain("Patch.")),
        ..function("p")
    };
    let part = Call {
        id: "c".into(),
        namespace: None,
        name: "p".into(),
        custom: true,
        args: Args::Str(JsonStr::of("a \"b\"\n")),
        extra: None,
    };
    let output = ToolResult { custom: true, ..result("c", vec![text("ok")]) };
    let choice = Some(Choice::Named(Chosen { namespace: None, name: "p".into() }));
    let all = Request {
        tools: vec![tool],
        choice,
        ..turns(vec![assistant(vec![Part::Call(part)]), user(vec![Part::Result(output)])])
    };
    let native = written(&all, &openai()).0;
    for expected in [
        r#"{"type":"custom_tool_call","call_id":"c","name":"p","input":"a \"b\"\n"}"#,
        r#"{"type":"custom_tool_call_output","call_id":"c","output":"ok"}"#,
        r#""tools":[{"type":"custom","name":"p","description":"Patch.","format":{"type":"grammar","syntax":"lark","definition":"start: \"x\""}}]"#,
        r#""tool_choice":{"type":"custom","name":"p"}"#,
    ] {
        assert!(native.contains(expected), "{expected} in {native}");
    }
    let wrapped = written(&all, &provider()).0;
    for expected in [
        r#"{"type":"function_call","call_id":"c","name":"p","arguments":"{\"input\":\"a \\\"b\\\"\\n\"}"}"#,
        r#"{"type":"function_call_output","call_id":"c","output":"ok"}"#,
        r#"{"type":"function","name":"p","description":"Patch.\nThe input must match this lark grammar:\nstart: \"x\"","parameters":{"type":"object","properties":{"input":{"type":"string","description":"Raw text input of the tool"}},"required":["input"],"additionalProperties":false},"strict":false}"#,
        r#""tool_choice":{"type":"function","name":"p"}"#,
    ] {
        assert!(wrapped.contains(expected), "{expected} in {wrapped}");
    }
}

/// The request from `tools` on, to the end of the choice.
fn tools(request: &Request<'_>, provider: &Provider) -> String {
    let json = written(request, provider).0;
    let (_, rest) = json.split_once(r#","tools":"#).unwrap_or_default();
    rest.split_once(r#","store""#).unwrap_or_default().0.to_owned()
}

#[test]
fn functions_are_strict_only_if_the_client_says_so() {
    // Golden case 43.
    let schema = Raw::constant(r#"{"type":"object","properties":{"a":{}}}"#);
    let full = Tool::function("g".into(), Some(JsonStr::plain("")), Some(schema.clone()));
    let strict = ToolKind::Function { schema: Some(schema), strict: Some(true) };
    let strict = Tool { kind: strict, description: Some(JsonStr::plain("d")), ..function("h") };
    let all = Request { tools: vec![function("f"), full, strict], ..hello() };
    let expected = concat!(
        r#"[{"type":"function","name":"f","parameters":{"type":"object","properties":{}},"strict":false},"#,
        r#"{"type":"function","name":"g","parameters":{"type":"object","properties":{"a":{}}},"strict":false},"#,
        r#"{"type":"function","name":"h","description":"d","parameters":{"type":"object","properties":{"a":{}}},"strict":true}]"#,
    );
    assert_eq!(tools(&all, &provider()), expected);
}

#[test]
fn names_and_ids_are_made_to_fit() {
    let long: &'static str =
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
    let mut part = Call {
        id: long.into(),
        namespace: None,
        name: long.into(),
        custom: false,
        args: Args::Str(JsonStr::plain("{}")),
        extra: None,
    };
    let all = Request {
        tools: vec![function(long)],
        choice: Some(Choice::Named(Chosen { namespace: None, name: long.into() })),
        ..turns(vec![
            assistant(vec![Part::Call(part.clone())]),
            user(vec![Part::Result(result(long, vec![]))]),
        ])
    };
    let json = written(&all, &openai()).0;
    let name = format!("{}_{}", "n".repeat(55), &sha256_hex(long)[..8]);
    assert_eq!(json.matches(&format!(r#""name":"{name}""#)).count(), 3);
    // Golden case 71c, here with 64 characters.
    let id = format!("call_{}", &sha256_hex(long)[..32]);
    assert_eq!(json.matches(&format!(r#""call_id":"{id}""#)).count(), 2);
    part.id = Cow::Borrowed("functions.Bash:0");
    assert!(
        written(&turns(vec![assistant(vec![Part::Call(part)])]), &openai())
            .0
            .contains(r#""call_id":"functions.Bash:0""#)
    );
}

#[test]
fn choices() {
    let with =
        |choice| Request { tools: vec![function("a"), function("b")], choice: Some(choice), ..hello() };
    let chosen = |name: &'static str| Chosen { namespace: None, name: name.into() };
    let said = |choice, provider: &Provider| {
        let all = tools(&with(choice), provider);
        all.split_once(r#""tool_choice":"#).unwrap_or_default().1.to_owned()
    };
    assert_eq!(said(Choice::Auto, &openai()), r#""auto""#);
    assert_eq!(said(Choice::None, &openai()), r#""none""#);
    assert_eq!(said(Choice::Required, &openai()), r#""required""#);
    assert_eq!(said(Choice::Named(chosen("b")), &openai()), r#"{"type":"function","name":"b"}"#);
    let subset = Choice::Allowed { required: true, tools: vec![chosen("b")] };
    let native = r#"{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"b"}]}"#;
    assert_eq!(said(subset.clone(), &openai()), native);
    let narrowed = tools(&with(subset), &provider());
    assert!(!narrowed.contains(r#""name":"a""#) && narrowed.ends_with(r#""tool_choice":"required""#));
    // Without tools there is no choice, and there are no parallel calls.
    let bare = Request { choice: Some(Choice::Auto), parallel: Some(false), ..hello() };
    assert_eq!(tools(&bare, &openai()), "");
    let one = Request { parallel: Some(false), ..with(Choice::Auto) };
    assert!(tools(&one, &openai()).ends_with(r#","parallel_tool_calls":false"#));
}

#[test]
fn choices_that_a_provider_does_not_know() {
    let all =
        Request { tools: vec![function("a"), function("b")], choice: Some(Choice::Required), ..hello() };
    let mut weak = provider();
    weak.caps.forced_tool = false;
    let (json, lost) = written(&all, &weak);
    assert!(json.contains(r#""tool_choice":"auto""#));
    assert_eq!(lost.unwrap(), "tool_choice=auto");
    let mut simple = provider();
    simple.profile.tool_choice_values = [ToolChoice::Auto].into();
    assert_eq!(written(&all, &simple).1.unwrap(), "tool_choice=auto");
    let none = Request { choice: Some(Choice::None), ..all.clone() };
    assert!(!written(&none, &simple).0.contains("tool"));
    simple.profile.tool_choice_values = [ToolChoice::Auto, ToolChoice::Named].into();
    let only = Request { tools: vec![function("a")], ..all.clone() };
    assert!(written(&only, &simple).0.contains(r#""tool_choice":{"type":"function","name":"a"}"#));
    simple.profile.tool_choice_values = [ToolChoice::Auto, ToolChoice::Required].into();
    let named = Request { choice: Some(Choice::Named(Chosen { namespace: None, name: "b".into() })), ..all };
    let json = written(&named, &simple).0;
    assert!(json.contains(r#""tool_choice":"required""#) && !json.contains(r#""name":"a""#));
}

#[test]
fn the_search_of_the_web_is_the_providers_own() {
    let search = WebSearch {
        context: None,
        max_uses: Some(5),
        location: Some(Raw::constant(r#"{"type":"approximate","city":"B","x":1}"#)),
        allowed: Some(Raw::constant(r#"["x.y"]"#)),
        blocked: None,
    };
    let all = Request {
        tools: vec![Tool { kind: ToolKind::WebSearch(search), ..function("web_search") }],
        ..hello()
    };
    let expected = r#"[{"type":"web_search","search_context_size":"medium","user_location":{"type":"approximate","city":"B"},"filters":{"allowed_domains":["x.y"]}}]"#;
    assert_eq!(tools(&all, &provider()), expected);
}

#[test]
fn limits_have_a_least_and_a_most() {
    // Golden case 14.
    let limit = |max: u64, provider: &Provider| body(&Request { max_output: Some(max), ..hello() }, provider);
    assert!(limit(1, &provider()).ends_with(r#""max_output_tokens":16"#));
    let mut small = provider();
    small.caps.max_output = Some(1000);
    assert!(limit(5000, &small).ends_with(r#""max_output_tokens":1000"#));
}

#[test]
fn samplers_and_stop_texts() {
    let raw = |json: &'static str| Some(Raw::constant(json));
    let all = Request {
        samplers: Samplers { temperature: raw("1.40"), top_p: raw("0.9"), top_k: raw("40") },
        stop: vec![JsonStr::plain("END")],
        ..hello()
    };
    let (json, lost) = written(&all, &provider());
    assert!(json.contains(r#""temperature":1.40,"top_p":0.9"#));
    assert_eq!(lost.unwrap(), "top_k, stop");
    let mut clamped = provider();
    clamped.profile.sampling = Sampling::Clamp1;
    assert_eq!(written(&all, &clamped).1.unwrap(), "temperature=1, top_k, stop");
    clamped.profile.sampling = Sampling::None;
    let (json, lost) = written(&all, &clamped);
    assert!(!json.contains("temperature") && !json.contains("top_p"));
    assert_eq!(lost.unwrap(), "temperature, top_p, top_k, stop");
    let neutral = Request {
        samplers: Samplers { temperature: raw("1"), top_p: raw("1.0"), top_k: raw("-1") },
        ..hello()
    };
    assert_eq!(written(&neutral, &clamped).1, None);
}

#[test]
fn effort_and_summary() {
    let said = |thinking: Thinking, provider: &Provider| {
        let (json, lost) = written(&Request { thinking, ..hello() }, provider);
        let (_, rest) = json.split_once(r#""reasoning":"#).unwrap_or_default();
        (rest.split_once('}').map_or("", |(object, _)| object).to_owned(), lost)
    };
    let plain = |thinking| said(thinking, &provider()).0;
    let none = Thinking::default();
    assert_eq!(plain(none), "");
    let effort = |level| Thinking { effort: Some(level), ..none };
    assert_eq!(plain(effort(Effort::High)), r#"{"effort":"high","summary":"auto""#);
    let off = Thinking { mode: Some(ThinkingMode::Off), ..none };
    assert_eq!(plain(off), r#"{"effort":"none""#);
    for (budget, level) in [(4095, "low"), (4096, "medium"), (31999, "high"), (32768, "xhigh")] {
        let thinking = Thinking { mode: Some(ThinkingMode::On), budget: Some(budget), ..none };
        assert_eq!(plain(thinking), format!(r#"{{"effort":"{level}","summary":"auto""#));
    }
    let adaptive = Thinking { mode: Some(ThinkingMode::Adaptive), ..none };
    assert_eq!(plain(adaptive), r#"{"summary":"auto""#);
    assert_eq!(plain(Thinking { show: Some(false), ..effort(Effort::Low) }), r#"{"effort":"low""#);
    let mut coarse = provider();
    coarse.profile.efforts = [Effort::Low, Effort::High].into();
    assert_eq!(said(effort(Effort::Medium), &coarse).0, r#"{"effort":"low","summary":"auto""#);
    assert_eq!(said(off, &coarse), (String::new(), Some("reasoning.effort".into())));
    coarse.profile.effort = EffortFormat::None;
    assert_eq!(said(effort(Effort::Low), &coarse), (String::new(), Some("reasoning.effort".into())));
}

#[test]
fn forms_of_the_answer() {
    let said = |format| body(&Request { format, ..hello() }, &provider());
    assert!(said(Format::JsonObject).ends_with(r#""text":{"format":{"type":"json_object"}}"#));
    let schema = |json: &'static str, name: Option<&'static str>, strict| {
        let name = name.map(JsonStr::plain);
        said(Format::Schema { name, description: None, schema: Raw::constant(json), strict })
    };
    // Golden case 59, for this protocol.
    let open = r#"{"type":"object","properties":{"a":{}},"additionalProperties":false}"#;
    let expected = format!(
        r#""text":{{"format":{{"type":"json_schema","name":"response","schema":{open},"strict":false}}}}"#
    );
    assert!(schema(open, None, None).ends_with(&expected));
    let closed = r#"{"type":"object","properties":{},"additionalProperties":false}"#;
    assert!(schema(closed, None, None).ends_with(r#""strict":true}}"#));
    assert!(schema(closed, Some("n"), None).ends_with(r#""strict":false}}"#));
    assert!(schema(open, Some("n"), Some(true)).ends_with(r#""strict":true}}"#));
    let verbose = Request { verbosity: Some(JsonStr::plain("low")), ..hello() };
    assert!(body(&verbose, &provider()).ends_with(r#""text":{"verbosity":"low"}"#));
}

#[test]
fn who_the_user_is() {
    // Golden case 66.
    let said = |user: &'static str, provider: &Provider| {
        body(&Request { user: Some(user.into()), ..hello() }, provider)
    };
    assert!(said("u", &provider()).ends_with(r#""user":"u""#));
    let long = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert!(said(long, &openai()).ends_with(&format!(r#""safety_identifier":"{}""#, sha256_hex(long))));
    let mut none = provider();
    none.profile.user_field = UserField::None;
    assert!(!said("u", &none).contains("\"u\""));
}

#[test]
fn probabilities_stream_tier_and_members_that_go_as_they_came() {
    let extra =
        |name: &'static str, value: &'static str| Extra { name: name.into(), value: Raw::constant(value) };
    let all = Request {
        stream: true,
        logprobs: Some(2),
        tier: Some("flex".into()),
        extra: vec![
            extra("metadata", r#"{"k":"v"}"#),
            extra("odd\"name", "1"),
            extra("store", "true"),
            extra("service_tier", "\"auto\""),
            extra("previous_response_id", "\"resp_1\""),
        ],
        ..hello()
    };
    let (json, lost) = written(&all, &provider());
    let ends = r#""service_tier":"flex","store":false,"include":["reasoning.encrypted_content","message.output_text.logprobs"],"top_logprobs":2,"stream":true,"metadata":{"k":"v"},"odd\"name":1}"#;
    assert!(json.ends_with(ends), "{json}");
    assert_eq!(lost.unwrap(), "store, service_tier, previous_response_id");
}

#[test]
fn a_count_has_no_limits_and_the_like() {
    let all =
        Request { counting: true, stream: true, max_output: Some(9), user: Some("u".into()), ..hello() };
    let expected = r#"{"model":"gpt","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}]}"#;
    assert_eq!(written(&all, &provider()).0, expected);
}

#[test]
fn what_has_no_place_here_is_told() {
    let all = Request { cache: Some(Cache { long: false }), ..hello() };
    assert_eq!(written(&all, &provider()).1.unwrap(), "cache_control");
    let twice = Request { tools: vec![function("a"), function("a")], ..hello() };
    assert!(try_written(&twice, &provider()).is_err());
}
