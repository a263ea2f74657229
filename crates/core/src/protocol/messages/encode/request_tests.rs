//! Encoding of requests, in cases of the reference.

use super::*;
use crate::canon::{
    AnthropicVersion, Args, Audio, Cache, Call, Caps, Carrier, Choice, Chosen, DocumentPart, Effort, Format,
    Grammar, Image, Part, Profile, ProtocolId, Reasoning, Samplers as Sent, Sealed, Sealer, Source, Text,
    Thinking, ThinkingMode, Tool, ToolKind, ToolResult, Turn, WebSearch,
};
use crate::failure::Failure;
use crate::json::{JsonStr, Raw};

#[path = "reasoning_tests.rs"]
mod reasoning_requested;

#[path = "tools_tests.rs"]
mod tools_offered;

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
    let caps = Caps::of(ProtocolId::Messages, model, profile);
    let target = Target {
        protocol: ProtocolId::Messages,
        origin: "anthropic",
        model,
        profile,
        caps: &caps,
        sealer: &Sealer::default(),
    };
    let names = ToolNames::new(&request.tools, 128, false);
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
    Part::Text(Text::new(JsonStr::of(text)))
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
        args: Args::Str(JsonStr::of(args)),
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

fn effort(level: Effort) -> Request<'static> {
    let mode = (level == Effort::None).then_some(ThinkingMode::Off);
    Request { thinking: Thinking { mode, effort: Some(level), ..Thinking::default() }, ..simple() }
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
        system: vec![Text::new(JsonStr::of("S")), Text::new(JsonStr::of("T"))],
        max_output: Some(10),
        stop: vec![JsonStr::of("END")],
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
        path: String::new(),
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
    // The result of an earlier call stays where it is.
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
    let request = Request { system: vec![Text::new(JsonStr::of("S"))], ..Request::default() };
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
    // Instructions between calls and results move behind the results.
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
    let thinking = Thinking { effort: Some(Effort::Low), ..Thinking::default() };
    let both = Request { turns: turns(), thinking, ..Request::default() };
    assert!(encode(&both, SONNET).is_err());
}

#[test]
fn thoughts_come_first_and_what_is_none_is_left_out() {
    // Cases 73, 74 and 79.
    let native = r#"{"type":"thinking","thinking":"T \u00e9","signature":"S=="}"#;
    let thought = |block| {
        let carrier = Carrier { blocks: vec![Raw::constant(block)] };
        let text = Some(JsonStr::of("T"));
        Part::Reasoning(Reasoning { text, sealed: Some(Sealed::Carried(carrier)) })
    };
    let turns = |thought| vec![user("Hi"), Turn::new(Role::Assistant, vec![thought, call("a")]), result("a")];
    assert!(messages(turns(thought(native)), SONNET).contains(&message("assistant", &[native, CALL_A])));
    assert!(messages(turns(thought("{}")), SONNET).contains(&message("assistant", &[CALL_A])));
    let plain = Part::Reasoning(Reasoning { text: Some(JsonStr::of("T")), sealed: None });
    assert!(messages(turns(plain), SONNET).contains(&message("assistant", &[CALL_A])));
}

#[test]
fn media() {
    let base64 =
        |mime: &'static str, data: &'static str| Source::Base64 { mime: mime.into(), data: data.into() };
    let image = |source| {
        let detail = Some(JsonStr::of("low"));
        Part::Image(Image { source, path: "image".into(), detail, cache: None })
    };
    let file = |source| {
        let (name, context) = (Some(JsonStr::of("a.pdf")), None);
        Part::Document(DocumentPart { source, path: "file".into(), name, context, cache: None })
    };
    let written = |part| {
        let request = Request { turns: vec![Turn::new(Role::User, vec![part])], ..Request::default() };
        encode(&request, SONNET).map(|wire| wire.get("messages").unwrap().to_owned())
    };
    let ok = |part| written(part).unwrap();
    assert!(
        ok(image(Source::Url(JsonStr::of("https://x/y.png"))))
            .contains(r#"[{"type":"image","source":{"type":"url","url":"https://x/y.png"}}]"#)
    );
    assert!(ok(image(base64("application/pdf", "JVBE"))).contains(
        r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"}}"#
    ));
    assert!(
        ok(file(Source::Url(JsonStr::of("https://x/y.pdf")))).contains(
            r#"{"type":"document","source":{"type":"url","url":"https://x/y.pdf"},"title":"a.pdf"}"#
        )
    );
    let plain = r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"Hi"},"title":"a.pdf"}"#;
    assert!(ok(file(base64("text/plain", "SGk"))).contains(plain));
    assert!(ok(file(Source::Text(JsonStr::of("Hi")))).contains(plain));
    assert!(ok(file(base64("image/png", "AAAA"))).contains(r#"[{"type":"image","source""#));
    // Case 48.
    let svg = written(image(base64("image/svg+xml", "PHN2Zz4="))).unwrap_err();
    assert_eq!((svg.status(), svg.code()), (400, "unsupported_image_media_type"));
    assert_eq!(svg.param(), Some("image"));
    let word = written(file(base64("application/msword", "AAAA"))).unwrap_err();
    assert_eq!((word.code(), word.param()), ("unsupported_file_type", Some("file")));
    let speech =
        Audio { data: JsonStr::of("AA"), format: JsonStr::of("wav"), path: "speech".into(), cache: None };
    let speech = written(Part::Audio(speech)).unwrap_err();
    assert_eq!((speech.status(), speech.param()), (400, Some("speech")));
    assert!(ok(Part::Refusal(JsonStr::of("No."))).contains(&block("No.")));
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
        assert_eq!(id(personal), format!(r#"{{"user_id":"{}"}}"#, sha256_hex(personal)));
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
    let marked = |words: &str, cache| Text { text: JsonStr::of(words), cache };
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
        stop: vec![JsonStr::of("x")],
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
    let request = Request { verbosity: Some(JsonStr::of("low")), ..simple() };
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
