//! Cases of the reference, from the canonical form to the provider's.

use super::*;
use crate::canon::{
    Args, Cache, Call, Caps, Carrier, Choice, Chosen, Document, Format, Grammar, Image, Level, Part, Profile,
    ProtocolId, Reasoning, Samplers as Sent, Sealed, Source, Text, Thinking, ThinkingMode, Tool, ToolKind,
    ToolResult, Turn, WebSearch,
};
use crate::failure::Failure;
use crate::json::{Lit, Raw};

const SONNET: &str = "claude-sonnet-4-5";
const OPUS_5: &str = "claude-opus-5";
const FOREIGN: &str = "kimi-k3";

struct Wire {
    body: String,
    lost: Option<String>,
    written: Written,
}

impl Wire {
    /// The text of a top-level member.
    fn get(&self, name: &str) -> Option<&str> {
        crate::protocol::node::Node::root(&self.body).find(name).map(|node| node.text)
    }
}

fn encode(request: &Request<'_>, model: &str) -> std::result::Result<Wire, Failure> {
    with(request, model, &Profile::default(), false)
}

fn with(
    request: &Request<'_>,
    model: &str,
    profile: &Profile,
    strict: bool,
) -> std::result::Result<Wire, Failure> {
    let caps = Caps::of(ProtocolId::Messages, model);
    let target = Target { protocol: ProtocolId::Messages, origin: "anthropic", model, profile, caps: &caps };
    let names = Names::new(&request.tools, 128, false);
    let (mut losses, mut out) = (Losses::new(strict), Vec::new());
    let written = write(request, &target, &names, &mut losses, &mut out)?;
    let body = String::from_utf8(out).unwrap();
    assert!(Raw::read(&body).is_some(), "{body}");
    Ok(Wire { body, lost: losses.header(), written })
}

fn messages(turns: Vec<Turn<'_>>, model: &str) -> String {
    let request = Request { turns, ..Request::default() };
    encode(&request, model).unwrap().get("messages").unwrap().to_owned()
}

fn text(text: &str) -> Part<'static> {
    Part::Text(Text::new(Lit::of(text)))
}

fn said(role: Role, words: &str) -> Turn<'static> {
    Turn::new(role, vec![text(words)])
}

fn user(words: &str) -> Turn<'static> {
    said(Role::User, words)
}

fn call(id: &'static str) -> Part<'static> {
    call_with(id, "f", r#"{"x":1}"#)
}

fn call_with(id: &'static str, name: &'static str, args: &str) -> Part<'static> {
    Part::Call(Call {
        id: id.into(),
        namespace: None,
        name: name.into(),
        custom: false,
        args: Args::Lit(Lit::of(args)),
        extra: None,
    })
}

fn result_with(id: &'static str, content: Vec<Part<'static>>) -> Part<'static> {
    Part::Result(ToolResult { id: id.into(), custom: false, content, is_error: false, cache: None })
}

fn result(id: &'static str) -> Turn<'static> {
    Turn::new(Role::User, vec![result_with(id, vec![text("ok")])])
}

fn function(name: &'static str) -> Tool<'static> {
    Tool::function(name.into(), None, None)
}

fn simple() -> Request<'static> {
    Request { turns: vec![user("Hi")], ..Request::default() }
}

fn effort(level: Level) -> Request<'static> {
    let mode = (level == Level::None).then_some(ThinkingMode::Off);
    Request { thinking: Thinking { mode, effort: Some(level), ..Thinking::default() }, ..simple() }
}

fn schema(text: &'static str) -> Request<'static> {
    let format =
        Format::Schema { name: None, description: None, schema: Raw::constant(text), strict: Some(true) };
    Request { format, ..simple() }
}

const CALL_A: &str = r#"{"type":"tool_use","id":"a","name":"f","input":{"x":1}}"#;
const CALL_B: &str = r#"{"type":"tool_use","id":"b","name":"f","input":{"x":1}}"#;
const RESULT_A: &str = r#"{"type":"tool_result","tool_use_id":"a","content":"ok"}"#;
const RESULT_B: &str = r#"{"type":"tool_result","tool_use_id":"b","content":"ok"}"#;

fn block(words: &str) -> String {
    format!(r#"{{"type":"text","text":"{words}"}}"#)
}

fn message(role: &str, blocks: &[&str]) -> String {
    format!(r#"{{"role":"{role}","content":[{}]}}"#, blocks.join(","))
}

#[test]
fn a_simple_request() {
    let request = Request {
        stream: true,
        system: vec![Text::new(Lit::of("S")), Text::new(Lit::of("T"))],
        max_output: Some(10),
        stop: vec![Lit::of("END")],
        ..simple()
    };
    let expected = concat!(
        r#"{"model":"kimi-k3","max_tokens":10,"stream":true,"#,
        r#""system":[{"type":"text","text":"S"},{"type":"text","text":"T"}],"#,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}],"#,
        r#""stop_sequences":["END"]}"#
    );
    let wire = encode(&request, FOREIGN).unwrap();
    assert_eq!((wire.body.as_str(), wire.lost), (expected, None));
    assert_eq!(wire.written, Written::default());
}

#[test]
fn results_of_parallel_calls_come_in_one_turn_in_their_order() {
    let calls = || Turn::new(Role::Assistant, vec![call("a"), call("b")]);
    let expected = format!(
        "[{},{},{}]",
        message("user", &[&block("Hi")]),
        message("assistant", &[CALL_A, CALL_B]),
        message("user", &[RESULT_A, RESULT_B, &block("go")])
    );
    let case_1 = vec![user("Hi"), calls(), result("a"), result("b"), user("go")];
    assert_eq!(messages(case_1, SONNET), expected);
    let case_2 = vec![user("Hi"), calls(), result("b"), result("a"), user("go")];
    assert_eq!(messages(case_2, SONNET), expected);
}

#[test]
fn neighbouring_items_become_one_turn() {
    // Case 3.
    let turns = vec![
        user("Hi"),
        said(Role::Assistant, "I look"),
        Turn::new(Role::Assistant, vec![call("a")]),
        Turn::new(Role::Assistant, vec![call("b")]),
        result("b"),
        user("hurry"),
        result("a"),
    ];
    let expected = format!(
        "[{},{},{}]",
        message("user", &[&block("Hi")]),
        message("assistant", &[&block("I look"), CALL_A, CALL_B]),
        message("user", &[RESULT_A, RESULT_B, &block("hurry")])
    );
    assert_eq!(messages(turns, SONNET), expected);
}

#[test]
fn images_stay_in_their_results() {
    // Case 4.
    let image = Part::Image(Image {
        source: Source::Base64 { mime: "image/png".into(), data: "AAAA".into() },
        detail: None,
        cache: None,
    });
    let turns = vec![
        user("Hi"),
        Turn::new(Role::Assistant, vec![call("a"), call("b")]),
        Turn::new(Role::User, vec![result_with("a", vec![image, text("seen")])]),
        result("b"),
    ];
    let first = concat!(
        r#"{"type":"tool_result","tool_use_id":"a","content":[{"type":"image","source":"#,
        r#"{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"text","text":"seen"}]}"#
    );
    assert!(messages(turns, SONNET).ends_with(&format!("{}]", message("user", &[first, RESULT_B]))));
}

#[test]
fn nothing_is_made_up_for_a_missing_result_and_the_last_of_several_counts() {
    // Case 5.
    let turns = vec![user("Hi"), Turn::new(Role::Assistant, vec![call("a")]), user("well?")];
    let expected = format!(
        "[{},{},{}]",
        message("user", &[&block("Hi")]),
        message("assistant", &[CALL_A]),
        message("user", &[&block("well?")])
    );
    assert_eq!(messages(turns, SONNET), expected);
    let twice = vec![
        user("Hi"),
        Turn::new(Role::Assistant, vec![call("a")]),
        Turn::new(Role::User, vec![result_with("a", vec![text("old")])]),
        result("a"),
    ];
    assert!(messages(twice, SONNET).ends_with(&format!("{}]", message("user", &[RESULT_A]))));
    // A result of a call that is further away stays where it is.
    let late = vec![
        user("Hi"),
        Turn::new(Role::Assistant, vec![call("a")]),
        user("x"),
        said(Role::Assistant, "y"),
        result("a"),
    ];
    assert!(messages(late, SONNET).ends_with(&format!("{}]", message("user", &[RESULT_A]))));
}

#[test]
fn results_say_that_they_failed_and_may_be_empty() {
    let failed = ToolResult { id: "a".into(), custom: false, content: vec![], is_error: true, cache: None };
    let turns = vec![
        user("Hi"),
        Turn::new(Role::Assistant, vec![call("a")]),
        Turn::new(Role::User, vec![Part::Result(failed)]),
    ];
    let expected = r#"{"type":"tool_result","tool_use_id":"a","is_error":true}"#;
    assert!(messages(turns, SONNET).contains(expected));
}

#[test]
fn the_user_comes_first_and_instructions_alone_are_the_user() {
    // Case 6.
    let turns = vec![said(Role::Assistant, "Hi"), user("Hello")];
    assert!(messages(turns, SONNET).starts_with(&format!("[{},", message("user", &[&block(".")]))));
    // Case 7.
    let request = Request { system: vec![Text::new(Lit::of("S"))], ..Request::default() };
    let wire = encode(&request, SONNET).unwrap();
    assert_eq!(wire.get("messages").unwrap(), format!("[{}]", message("user", &[&block("S")])));
    assert_eq!(wire.get("system"), None);
}

#[test]
fn late_instructions_stay_in_their_place() {
    let turns = |more: bool| {
        let mut turns = vec![user("1"), said(Role::Assistant, "2"), said(Role::System, "S"), user("3")];
        if more {
            turns.extend([said(Role::Assistant, "4"), user("5")]);
        }
        turns
    };
    let expected = format!(
        "[{},{},{},{}]",
        message("user", &[&block("1")]),
        message("assistant", &[&block("2")]),
        message("user", &[&block("3")]),
        message("system", &[&block("S")])
    );
    // Case 9.
    assert_eq!(messages(turns(false), OPUS_5), expected);
    // Case 10.
    let note = block(r"[System instruction, not written by the user]\nS");
    let noted = format!(
        "[{},{},{}]",
        message("user", &[&block("1")]),
        message("assistant", &[&block("2")]),
        message("user", &[&note, &block("3")])
    );
    assert_eq!(messages(turns(false), SONNET), noted);
    // Case 11.
    for model in [OPUS_5, SONNET] {
        let (short, long) = (messages(turns(false), model), messages(turns(true), model));
        assert!(long.starts_with(short.strip_suffix(']').unwrap()), "{model}");
    }
}

#[test]
fn late_instructions_without_a_legal_place_are_notes() {
    let note = block(r"[System instruction, not written by the user]\nS");
    let between = vec![
        user("1"),
        said(Role::Assistant, "2"),
        said(Role::System, "S"),
        said(Role::Assistant, "3"),
        user("4"),
    ];
    let expected = format!("{},{}", message("assistant", &[&block("2")]), message("user", &[&note]));
    assert!(messages(between, OPUS_5).contains(&expected));
    // Between calls and results they move behind the results.
    let in_a_loop =
        || vec![user("1"), Turn::new(Role::Assistant, vec![call("a")]), said(Role::System, "S"), result("a")];
    let behind = format!("{},{}]", message("user", &[RESULT_A]), message("system", &[&block("S")]));
    assert!(messages(in_a_loop(), OPUS_5).ends_with(&behind));
    assert!(messages(in_a_loop(), SONNET).ends_with(&format!("{}]", message("user", &[RESULT_A, &note]))));
}

#[test]
fn blank_text_goes_unless_other_text_stands_beside_it() {
    // Case 55.
    let calls = Turn::new(Role::Assistant, vec![text(""), call("a")]);
    assert!(
        messages(vec![user("Hi"), calls, result("a")], SONNET).contains(&message("assistant", &[CALL_A]))
    );
    let blank = vec![user("1"), said(Role::Assistant, " \n"), user("2")];
    assert_eq!(messages(blank, SONNET), format!("[{}]", message("user", &[&block("1"), &block("2")])));
    let both = vec![Turn::new(Role::User, vec![text(" "), text("x"), text("")])];
    assert_eq!(messages(both, SONNET), format!("[{}]", message("user", &[&block(" "), &block("x")])));
}

#[test]
fn an_answer_is_continued_by_models_that_do_so() {
    let turns = || vec![user("Hi"), said(Role::Assistant, "It is \n")];
    let expected = message("assistant", &[&block("It is")]);
    assert!(messages(turns(), SONNET).contains(&expected));
    let refused = encode(&Request { turns: turns(), ..Request::default() }, OPUS_5).map(|_| ()).unwrap_err();
    assert_eq!((refused.status(), refused.param()), (400, Some("messages")));
    // Calls without results are for the provider to refuse.
    let open = vec![user("Hi"), Turn::new(Role::Assistant, vec![call("a")])];
    assert!(messages(open, OPUS_5).ends_with(&format!("{}]", message("assistant", &[CALL_A]))));
    let thinking = Thinking { effort: Some(Level::Low), ..Thinking::default() };
    let both = Request { turns: turns(), thinking, ..Request::default() };
    assert!(encode(&both, SONNET).is_err());
}

#[test]
fn limits() {
    // Case 13.
    assert_eq!(encode(&simple(), SONNET).unwrap().get("max_tokens"), Some("64000"));
    assert_eq!(encode(&simple(), FOREIGN).unwrap().get("max_tokens"), Some("8192"));
    let high = Request { max_output: Some(900_000), ..simple() };
    let wire = encode(&high, SONNET).unwrap();
    assert_eq!((wire.get("max_tokens"), wire.lost.as_deref()), (Some("64000"), None));
}

fn sampled(
    temperature: Option<&'static str>,
    top_p: Option<&'static str>,
    top_k: Option<&'static str>,
) -> Request<'static> {
    let raw = |value: Option<&'static str>| value.map(Raw::constant);
    let samplers = Sent { temperature: raw(temperature), top_p: raw(top_p), top_k: raw(top_k) };
    Request { samplers, ..simple() }
}

#[test]
fn sampling_follows_what_the_model_takes() {
    let wire = |request: Request<'_>, model: &str| {
        let wire = encode(&request, model).unwrap();
        let get = |name| wire.get(name).unwrap_or("-").to_owned();
        (get("temperature"), get("top_p"), get("top_k"), wire.lost.clone().unwrap_or_default())
    };
    let is = |a: &str, b: &str, c: &str, d: &str| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned());
    // Case 15.
    assert_eq!(wire(sampled(Some("1.4"), None, None), SONNET), is("1.0", "-", "-", "temperature=1.0"));
    // Case 16.
    assert_eq!(wire(sampled(Some("0.2"), None, None), OPUS_5), is("-", "-", "-", "temperature"));
    // Case 17.
    assert_eq!(wire(sampled(Some("1"), Some("1"), None), OPUS_5), is("-", "-", "-", ""));
    // Case 18.
    assert_eq!(wire(sampled(Some("0.70"), Some("0.9"), None), SONNET), is("0.70", "-", "-", "top_p"));
    assert_eq!(wire(sampled(Some("0.7"), Some("1"), None), SONNET), is("0.7", "-", "-", ""));
    assert_eq!(wire(sampled(None, Some("0.9"), Some("40")), SONNET), is("-", "0.9", "40", ""));
    assert_eq!(wire(sampled(Some("0.7"), Some("0.9"), Some("-1")), FOREIGN), is("0.7", "0.9", "-", ""));
    assert_eq!(wire(sampled(None, None, Some("40")), OPUS_5), is("-", "-", "-", "top_k"));
    let mut thinking = sampled(Some("0.7"), Some("0.97"), Some("40"));
    thinking.thinking.effort = Some(Level::Low);
    assert_eq!(wire(thinking, SONNET), is("-", "0.97", "-", "temperature, top_k"));
}

#[test]
fn effort_becomes_a_budget_or_a_level() {
    let thinking = |request: &Request<'_>, model: &str| {
        let wire = encode(request, model).unwrap();
        let get = |name| wire.get(name).unwrap_or("-").to_owned();
        (get("thinking"), get("output_config"), get("max_tokens"), wire.lost.clone().unwrap_or_default())
    };
    let is = |a: &str, b: &str, c: &str, d: &str| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned());
    let budget = |n: u64| format!(r#"{{"type":"enabled","budget_tokens":{n}}}"#);
    let limited = |limit| Request { max_output: Some(limit), ..effort(Level::High) };
    // Cases 21 to 23.
    assert_eq!(thinking(&effort(Level::High), SONNET), is(&budget(16384), "-", "64000", ""));
    assert_eq!(thinking(&limited(1000), SONNET), is("-", "-", "1000", "reasoning_effort"));
    assert_eq!(thinking(&limited(8000), SONNET), is(&budget(6400), "-", "8000", ""));
    // Cases 24 and 25.
    assert_eq!(thinking(&effort(Level::Minimal), OPUS_5), is(ADAPTIVE, r#"{"effort":"low"}"#, "128000", ""));
    let xhigh = thinking(&effort(Level::Xhigh), "claude-opus-4-6");
    assert_eq!(xhigh, is(ADAPTIVE, r#"{"effort":"high"}"#, "128000", ""));
    // Case 26.
    let none = thinking(&effort(Level::None), "claude-fable-5");
    assert_eq!(none, is("-", r#"{"effort":"low"}"#, "128000", "reasoning_effort"));
    assert_eq!(thinking(&effort(Level::None), SONNET), is("-", "-", "64000", ""));
    assert_eq!(thinking(&effort(Level::None), OPUS_5), is(r#"{"type":"disabled"}"#, "-", "128000", ""));
    assert_eq!(thinking(&effort(Level::High), FOREIGN), is("-", "-", "8192", "reasoning_effort"));
    let off = Thinking { mode: Some(ThinkingMode::Off), effort: Some(Level::Max), ..Thinking::default() };
    let off = Request { thinking: off, ..simple() };
    assert_eq!(thinking(&off, OPUS_5), is(r#"{"type":"disabled"}"#, r#"{"effort":"high"}"#, "128000", ""));
}

const ADAPTIVE: &str = r#"{"type":"adaptive","display":"summarized"}"#;

#[test]
fn budgets() {
    let wish =
        |budget| Thinking { mode: Some(ThinkingMode::On), budget: Some(budget), ..Thinking::default() };
    let request = |budget| Request { thinking: wish(budget), ..simple() };
    let thinking = |budget, model: &str| {
        let wire = encode(&request(budget), model).unwrap();
        let config = wire.get("output_config").unwrap_or_default();
        format!("{}{config}", wire.get("thinking").unwrap_or_default())
    };
    assert_eq!(thinking(5, SONNET), r#"{"type":"enabled","budget_tokens":1024}"#);
    assert_eq!(thinking(5000, "claude-opus-4-6"), r#"{"type":"enabled","budget_tokens":5000}"#);
    assert_eq!(thinking(5000, OPUS_5), format!(r#"{ADAPTIVE}{{"effort":"medium"}}"#));
    assert_eq!(thinking(40_000, OPUS_5), format!(r#"{ADAPTIVE}{{"effort":"xhigh"}}"#));
    assert_eq!(thinking(60_000, SONNET), r#"{"type":"enabled","budget_tokens":51200}"#);
}

#[test]
fn a_forced_call_excludes_thinking() {
    let request = |model: &str, level, choice| {
        let request = Request { tools: vec![function("f")], choice: Some(choice), ..effort(level) };
        let wire = encode(&request, model).unwrap();
        let get = |name| wire.get(name).unwrap_or("-").to_owned();
        format!("{} {} {} {:?}", get("thinking"), get("output_config"), get("tool_choice"), wire.lost)
    };
    let named = Choice::Named(Chosen { namespace: None, name: "f".into() });
    // Case 27.
    assert_eq!(
        request("claude-sonnet-4-6", Level::High, Choice::Required),
        r#"- {"effort":"high"} {"type":"any"} None"#
    );
    // Case 28.
    assert_eq!(
        request("claude-opus-5-5", Level::High, Choice::Required),
        format!(r#"{ADAPTIVE} {{"effort":"high"}} {{"type":"auto"}} Some("tool_choice=auto")"#)
    );
    // Case 71f.
    assert_eq!(
        request("claude-opus-4-8", Level::High, named),
        r#"- {"effort":"high"} {"type":"tool","name":"f"} None"#
    );
    assert_eq!(
        request(SONNET, Level::High, Choice::Required),
        r#"- - {"type":"any"} Some("reasoning_effort")"#
    );
}

#[test]
fn calls_without_thoughts_exclude_a_budget() {
    // Case 29.
    let calls = |parts| vec![user("Hi"), Turn::new(Role::Assistant, parts), result("a")];
    let request = |turns| Request { turns, ..effort(Level::Low) };
    let wire = encode(&request(calls(vec![call("a")])), SONNET).unwrap();
    assert_eq!((wire.get("thinking"), wire.lost.as_deref()), (None, Some("reasoning_effort")));
    let signed = Part::Reasoning(Reasoning {
        text: None,
        sealed: Some(Sealed::Thinking(Raw::constant(
            r#"{"type":"thinking","thinking":"T","signature":"S"}"#,
        ))),
    });
    let wire = encode(&request(calls(vec![signed, call("a")])), SONNET).unwrap();
    assert!(wire.get("thinking").is_some() && wire.lost.is_none());
    // The loop is over once the user speaks.
    let mut over = calls(vec![call("a")]);
    over.extend([said(Role::Assistant, "done"), user("next")]);
    assert!(encode(&request(over), SONNET).unwrap().get("thinking").is_some());
}

#[test]
fn thoughts_of_this_model_come_first_and_others_are_left_out() {
    // Cases 73, 74 and 79.
    let native = r#"{"type":"thinking","thinking":"T \u00e9","signature":"S=="}"#;
    let thought = |model: &str| {
        let carrier =
            Carrier { origin: "anthropic".into(), model: model.into(), blocks: vec![Raw::constant(native)] };
        let text = Some(Lit::of("T"));
        Part::Reasoning(Reasoning { text, sealed: Some(Sealed::Carried(carrier)) })
    };
    let turns = |thought| vec![user("Hi"), Turn::new(Role::Assistant, vec![thought, call("a")]), result("a")];
    assert!(messages(turns(thought(SONNET)), SONNET).contains(&message("assistant", &[native, CALL_A])));
    assert!(messages(turns(thought(OPUS_5)), SONNET).contains(&message("assistant", &[CALL_A])));
    let plain = Part::Reasoning(Reasoning { text: Some(Lit::of("T")), sealed: None });
    assert!(messages(turns(plain), SONNET).contains(&message("assistant", &[CALL_A])));
}

#[test]
fn one_call_at_most() {
    let request = |tools, choice| Request { tools, choice, parallel: Some(false), ..simple() };
    let choice = |request: Request<'_>| {
        encode(&request, SONNET).unwrap().get("tool_choice").unwrap_or_default().to_owned()
    };
    // Case 33.
    assert_eq!(
        choice(request(vec![function("f")], None)),
        r#"{"type":"auto","disable_parallel_tool_use":true}"#
    );
    // Case 34.
    assert_eq!(choice(request(vec![], None)), "");
    assert_eq!(choice(request(vec![function("f")], Some(Choice::None))), r#"{"type":"none"}"#);
    assert_eq!(
        choice(request(vec![function("f")], Some(Choice::Required))),
        r#"{"type":"any","disable_parallel_tool_use":true}"#
    );
    assert_eq!(choice(Request { choice: Some(Choice::Auto), ..simple() }), "");
}

#[test]
fn a_subset_of_tools() {
    // Case 35.
    let chosen = vec![Chosen { namespace: None, name: "b".into() }];
    let choice = Some(Choice::Allowed { required: true, tools: chosen });
    let request = Request { tools: vec![function("a"), function("b"), function("c")], choice, ..simple() };
    let wire = encode(&request, SONNET).unwrap();
    assert_eq!(wire.get("tools"), Some(r#"[{"name":"b","input_schema":{"type":"object","properties":{}}}]"#));
    assert_eq!(wire.get("tool_choice"), Some(r#"{"type":"any"}"#));
}

#[test]
fn freeform_tools_become_functions() {
    // Case 36.
    let grammar = Grammar { syntax: Lit::of("lark"), definition: Lit::of("start: \"x\"") };
    let tool = Tool {
        kind: ToolKind::Custom { grammar: Some(grammar) },
        description: Some(Lit::of("Edits.")),
        ..function("apply_patch")
    };
    let custom = Call {
        id: "a".into(),
        namespace: None,
        name: "apply_patch".into(),
        custom: true,
        args: Args::Lit(Lit::of("*** Begin\n")),
        extra: None,
    };
    let turns = vec![user("Hi"), Turn::new(Role::Assistant, vec![Part::Call(custom)]), result("a")];
    let request = Request { tools: vec![tool], turns, ..Request::default() };
    let wire = encode(&request, SONNET).unwrap();
    let expected = concat!(
        r#"[{"name":"apply_patch","description":"Edits.\nThe input must match this lark grammar:\nstart: \"x\"","#,
        r#""input_schema":{"type":"object","properties":{"input":{"type":"string","description":"Raw text input of the tool"}},"#,
        r#""required":["input"],"additionalProperties":false}}]"#
    );
    assert_eq!(wire.get("tools"), Some(expected));
    assert!(wire.body.contains(r#""name":"apply_patch","input":{"input":"*** Begin\n"}"#));
}

#[test]
fn names_and_namespaces_agree_with_the_history() {
    let spaced = Tool { namespace: Some("crm".into()), ..function("find") };
    let chosen = Chosen { namespace: Some("crm".into()), name: "find".into() };
    let calls = Call {
        id: "functions.Bash:0".into(),
        namespace: Some("crm".into()),
        name: "find".into(),
        custom: false,
        args: Args::Raw(Raw::constant(r#"{"b":1.0, "a":1e2}"#)),
        extra: None,
    };
    let turns =
        vec![user("Hi"), Turn::new(Role::Assistant, vec![Part::Call(calls)]), result("functions.Bash:0")];
    let request = Request {
        tools: vec![spaced, function("mcp.server/do it")],
        choice: Some(Choice::Named(chosen)),
        turns,
        ..Request::default()
    };
    let wire = encode(&request, SONNET).unwrap();
    assert!(wire.get("tools").unwrap().contains(r#""name":"crm__find""#));
    assert!(wire.get("tools").unwrap().contains(r#""name":"mcp_server_do_it_"#));
    assert_eq!(wire.get("tool_choice"), Some(r#"{"type":"tool","name":"crm__find"}"#));
    // Cases 67 and 72.
    let call = r#"{"type":"tool_use","id":"functions_Bash_0","name":"crm__find","input":{"b":1.0,"a":1e2}}"#;
    assert!(wire.body.contains(call) && wire.body.contains(r#""tool_use_id":"functions_Bash_0""#));
}

#[test]
fn schemas_of_tools_are_objects() {
    let tool = |schema: Option<&'static str>, strict| Tool {
        kind: ToolKind::Function { schema: schema.map(Raw::constant), strict },
        ..function("f")
    };
    let written = |schema, strict| {
        let request = Request { tools: vec![tool(schema, strict)], ..simple() };
        encode(&request, SONNET).unwrap().get("tools").unwrap().to_owned()
    };
    // Case 46.
    let none = r#"[{"name":"f","input_schema":{"type":"object","properties":{}}}]"#;
    assert_eq!(written(None, None), none);
    assert_eq!(written(Some("{ }"), Some(true)), none);
    assert_eq!(
        written(Some(r#"{"anyOf":[1.0]}"#), None),
        r#"[{"name":"f","input_schema":{"type":"object","anyOf":[1.0]}}]"#
    );
    let exact = r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#;
    assert_eq!(
        written(Some(exact), Some(true)),
        format!(r#"[{{"name":"f","input_schema":{exact},"strict":true}}]"#)
    );
    assert_eq!(written(Some(exact), Some(false)), format!(r#"[{{"name":"f","input_schema":{exact}}}]"#));
    let open = r#"{"type":"object","properties":{"a":{"type":"string","minLength":1}}}"#;
    assert_eq!(written(Some(open), Some(true)), format!(r#"[{{"name":"f","input_schema":{open}}}]"#));
    let twice = Request { tools: vec![function("f"), function("f")], ..simple() };
    assert!(encode(&twice, SONNET).is_err());
}

#[test]
fn the_search_of_the_web() {
    let search = WebSearch {
        context: Some(Lit::of("high")),
        location: Some(Raw::constant(r#"{"type":"approximate","city":"Bern","country":null}"#)),
        allowed: Some(Raw::constant(r#"["a.b"]"#)),
        ..WebSearch::default()
    };
    let tool = Tool { kind: ToolKind::WebSearch(search), ..function("web_search") };
    let hosted = Tool { kind: ToolKind::Hosted, ..function("image_generation") };
    let request = Request { tools: vec![tool, function("f"), hosted], ..simple() };
    let wire = encode(&request, SONNET).unwrap();
    let expected = concat!(
        r#"[{"type":"web_search_20250305","name":"web_search","max_uses":10,"allowed_domains":["a.b"],"#,
        r#""user_location":{"type":"approximate","city":"Bern"}},"#
    );
    assert!(wire.get("tools").unwrap().starts_with(expected));
    assert_eq!(wire.lost.as_deref(), Some("tools[2]"));
    assert_eq!(encode(&request, FOREIGN).unwrap().lost.as_deref(), Some("tools[0], tools[2]"));
    let only = Request { tools: request.tools[..1].to_vec(), ..simple() };
    assert!(
        encode(&only, FOREIGN).map(|_| ()).unwrap_err().message().contains("not available for this model")
    );
}

#[test]
fn media() {
    let base64 =
        |mime: &'static str, data: &'static str| Source::Base64 { mime: mime.into(), data: data.into() };
    let image = |source| Part::Image(Image { source, detail: Some(Lit::of("low")), cache: None });
    let file = |source| {
        let (name, context) = (Some(Lit::of("a.pdf")), None);
        Part::Document(Document { source, name, context, cache: None })
    };
    let written = |part| {
        let request = Request { turns: vec![Turn::new(Role::User, vec![part])], ..Request::default() };
        encode(&request, SONNET).map(|wire| wire.get("messages").unwrap().to_owned())
    };
    let ok = |part| written(part).unwrap();
    assert!(
        ok(image(Source::Url(Lit::of("https://x/y.png"))))
            .contains(r#"[{"type":"image","source":{"type":"url","url":"https://x/y.png"}}]"#)
    );
    assert!(ok(image(base64("application/pdf", "JVBE"))).contains(
        r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"}}"#
    ));
    assert!(
        ok(file(Source::Url(Lit::of("https://x/y.pdf")))).contains(
            r#"{"type":"document","source":{"type":"url","url":"https://x/y.pdf"},"title":"a.pdf"}"#
        )
    );
    let plain = r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"Hi"},"title":"a.pdf"}"#;
    assert!(ok(file(base64("text/plain", "SGk"))).contains(plain));
    assert!(ok(file(Source::Text(Lit::of("Hi")))).contains(plain));
    assert!(ok(file(base64("image/png", "AAAA"))).contains(r#"[{"type":"image","source""#));
    // Case 48.
    let svg = written(image(base64("image/svg+xml", "PHN2Zz4="))).unwrap_err();
    assert_eq!((svg.status(), svg.code()), (400, "unsupported_image_media_type"));
    let word = written(file(base64("application/msword", "AAAA"))).unwrap_err();
    assert_eq!(word.code(), "unsupported_file_type");
    let speech = Part::Audio(crate::canon::Audio { data: Lit::of("AA"), format: Lit::of("wav") });
    assert_eq!(written(speech).unwrap_err().status(), 400);
    assert!(ok(Part::Refusal(Lit::of("No."))).contains(&block("No.")));
}

#[test]
fn answers_by_schema() {
    // Case 56.
    let wire = encode(
        &schema(r#"{"type":"object","properties":{"n":{"type":"integer","minimum":0},"u":{"oneOf":[{"type":"null"}]}}}"#),
        SONNET,
    )
    .unwrap();
    let expected = concat!(
        r#"{"format":{"type":"json_schema","schema":{"type":"object","properties":{"#,
        r#""n":{"type":"integer","description":"Note: minimum: 0"},"u":{"anyOf":[{"type":"null"}]}},"#,
        r#""additionalProperties":false}}}"#
    );
    assert_eq!(wire.get("output_config"), Some(expected));
    // Case 57.
    let open = r#"{"type":"object","properties":{},"additionalProperties":{"type":"string"}}"#;
    let wire = encode(&schema(open), SONNET).unwrap();
    assert_eq!(wire.written.answer_tool, Some("structured_output"));
    assert_eq!(
        wire.get("tools").unwrap(),
        format!(r#"[{{"name":"structured_output","input_schema":{open}}}]"#)
    );
    assert_eq!(
        wire.get("tool_choice"),
        Some(r#"{"type":"tool","name":"structured_output","disable_parallel_tool_use":true}"#)
    );
    assert_eq!((wire.get("output_config"), wire.lost.as_deref()), (None, None));
}

#[test]
fn answers_by_instruction() {
    // Case 58.
    let system = vec![Text::new(Lit::of("S"))];
    let request = Request { format: Format::JsonObject, system, ..simple() };
    let asked = r#"[{"type":"text","text":"S"},{"type":"text","text":"Respond with one valid JSON object and nothing else."}]"#;
    assert_eq!(encode(&request, SONNET).unwrap().get("system"), Some(asked));
    let by_schema = r#"[{"type":"text","text":"Respond with one JSON object that matches this JSON schema:\n{\"type\":\"object\"}"}]"#;
    let open = || schema(r#"{"type": "object"}"#);
    let others = Request { tools: vec![function("f")], ..open() };
    let thinks = Request { thinking: effort(Level::Low).thinking, ..open() };
    for (request, model) in [(&others, SONNET), (&thinks, SONNET), (&open(), "claude-opus-5-5")] {
        let wire = encode(request, model).unwrap();
        assert_eq!((wire.get("system"), wire.written.answer_tool), (Some(by_schema), None));
    }
}

#[test]
fn stop_texts_that_are_blank_are_left_out() {
    // Case 60.
    let request = Request { stop: vec![Lit::of("\n\n"), Lit::of("END"), Lit::of("")], ..simple() };
    let wire = encode(&request, SONNET).unwrap();
    assert_eq!(
        (wire.get("stop_sequences"), wire.lost.as_deref()),
        (Some(r#"["END"]"#), Some("stop[0], stop[2]"))
    );
}

#[test]
fn users_stay_anonymous() {
    let id = |user: &'static str| {
        let request = Request { user: Some(user.into()), ..simple() };
        encode(&request, SONNET).unwrap().get("metadata").unwrap().to_owned()
    };
    assert_eq!(id("user_12345678"), r#"{"user_id":"user_12345678"}"#);
    // Case 65.
    for personal in ["a@b.co", "+41 (0)79 123-45-67", "a\u{7}b"] {
        assert_eq!(id(personal), format!(r#"{{"user_id":"{}"}}"#, hex(personal)));
    }
}

#[test]
fn tiers_never_cost_more() {
    let tier = |tier: &'static str| {
        let wire = encode(&Request { tier: Some(tier.into()), ..simple() }, SONNET).unwrap();
        (wire.get("service_tier").map(str::to_owned), wire.lost)
    };
    assert_eq!(tier("auto"), (Some(r#""auto""#.into()), None));
    assert_eq!(tier("default"), (Some(r#""standard_only""#.into()), None));
    assert_eq!(tier("flex"), (None, Some("service_tier".into())));
}

#[test]
fn the_last_four_marks_are_kept() {
    // Case 70.
    let cache = Some(Cache { long: false });
    let marked = |words: &str, cache| Text { text: Lit::of(words), cache };
    let tool = Tool { cache, ..function("f") };
    let inner = Part::Text(marked("r", Some(Cache { long: true })));
    let turns = vec![
        Turn::new(Role::User, vec![Part::Text(marked("1", cache))]),
        Turn::new(Role::Assistant, vec![call("a")]),
        Turn::new(Role::User, vec![result_with("a", vec![inner]), Part::Text(marked("2", cache))]),
    ];
    let system = vec![marked("S", cache), marked("T", cache)];
    let request = Request { tools: vec![tool], system, turns, ..Request::default() };
    let wire = encode(&request, SONNET).unwrap();
    assert_eq!(wire.body.matches("cache_control").count(), 4);
    assert!(!wire.get("tools").unwrap().contains("cache_control"));
    assert!(
        wire.get("system")
            .unwrap()
            .contains(r#""S"},{"type":"text","text":"T","cache_control":{"type":"ephemeral"}}"#)
    );
    assert!(wire.body.contains(r#""content":"r","cache_control":{"type":"ephemeral","ttl":"1h"}}"#));
    let top = Request { cache, ..request };
    let wire = encode(&top, SONNET).unwrap();
    assert_eq!(wire.body.matches("cache_control").count(), 4);
    assert_eq!(wire.get("cache_control"), Some(r#"{"type":"ephemeral"}"#));
}

#[test]
fn counting_needs_the_prompt_only() {
    let request = Request {
        counting: true,
        stream: true,
        max_output: Some(9),
        stop: vec![Lit::of("x")],
        user: Some("u".into()),
        ..sampled(Some("0.5"), None, None)
    };
    let wire = encode(&request, FOREIGN).unwrap();
    assert_eq!(
        wire.body,
        format!(r#"{{"model":"kimi-k3","messages":[{}]}}"#, message("user", &[&block("Hi")]))
    );
}

#[test]
fn strict_mode_and_what_has_no_place() {
    assert!(with(&sampled(Some("0.2"), None, None), OPUS_5, &Profile::default(), true).is_err());
    assert!(encode(&Request { logprobs: Some(2), ..simple() }, SONNET).is_err());
    let request = Request { verbosity: Some(Lit::of("low")), ..simple() };
    assert_eq!(encode(&request, SONNET).unwrap().lost.as_deref(), Some("verbosity"));
}

#[test]
fn a_growing_conversation_keeps_its_beginning() {
    let mut turns = vec![user("Hi")];
    let mut before = messages(turns.clone(), OPUS_5);
    for round in 0..6 {
        let id: &'static str = ["a.1", "a_1", "b", "c", "d", "e"][round];
        turns.push(Turn::new(Role::Assistant, vec![text("I look"), call(id)]));
        turns.push(result(id));
        if round % 2 == 0 {
            turns.push(said(Role::System, "S"));
        }
        let now = messages(turns.clone(), OPUS_5);
        assert!(now.starts_with(before.strip_suffix(']').unwrap()), "{now}");
        before = now;
    }
}
