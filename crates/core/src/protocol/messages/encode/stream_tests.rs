//! Streams for clients, from the events of an answer.

use super::*;
use crate::canon::{Args, Carrier, Citation, SealKey, Sealer, UsagePart};
use crate::failure::Kind;
use crate::json::Raw;

fn context() -> Context {
    Context {
        request_id: "req_1".into(),
        model: JsonStr::plain("vendor/m"),
        origin: "deepseek".into(),
        upstream_model: "ds".into(),
        sealer: Sealer::new(&SealKey::new([7; 32]), "account"),
        stop: vec!["END".into()],
        ..Context::default()
    }
}

fn run_with(context: Context, events: Vec<Event<'_>>) -> Vec<String> {
    let (mut encoder, mut out) = (MessagesEncoder::new(Arc::new(context)), Vec::new());
    for event in events {
        encoder.event(event, &mut out);
    }
    lines(&out)
}

fn run(events: Vec<Event<'_>>) -> Vec<String> {
    run_with(context(), events)
}

/// The data of each event; its name must agree.
fn lines(out: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(out).unwrap();
    let events = text.split_terminator("\n\n").map(|event| {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        assert!(Raw::read(data).is_some() && data.starts_with(&format!(r#"{{"type":"{name}""#)), "{event}");
        data.to_owned()
    });
    events.collect()
}

fn start<'a>() -> Event<'a> {
    Event::Start { id: Some("chatcmpl-1".into()), created: None }
}

fn text<'a>(text: &str) -> Event<'a> {
    Event::Text(JsonStr::of(text))
}

fn open<'a>(key: u32) -> Event<'a> {
    let namespace = (key == 1).then(|| "ns".into());
    Event::Open { key, id: format!("c{key}").into(), namespace, name: "f".into(), custom: false }
}

fn args<'a>(key: u32, json: &str) -> Event<'a> {
    Event::Args { key, part: Args::Str(JsonStr::of(json)) }
}

fn block_start(index: u64, block: &str) -> String {
    format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
}

fn delta(index: u64, delta: &str) -> String {
    format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#)
}

fn block_stop(index: u64) -> String {
    format!(r#"{{"type":"content_block_stop","index":{index}}}"#)
}

fn tool(index: u64, id: &str) -> String {
    block_start(index, &format!(r#"{{"type":"tool_use","id":"{id}","name":"f","input":{{}}}}"#))
}

fn end(stop: &str, usage: &str) -> String {
    format!(r#"{{"type":"message_delta","delta":{stop},"usage":{usage}}}"#)
}

fn piece_of(index: u64, json: &str) -> String {
    let text = JsonStr::of(json);
    delta(index, &format!(r#"{{"type":"input_json_delta","partial_json":"{}"}}"#, text.raw()))
}

const TEXT: &str = r#"{"type":"text","text":""}"#;
const ZERO: &str =
    r#"{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;
const END_TURN: &str = r#"{"stop_reason":"end_turn","stop_sequence":null}"#;
const TOOL_USE: &str = r#"{"stop_reason":"tool_use","stop_sequence":null}"#;

fn message_start() -> String {
    format!(
        r#"{{"type":"message_start","message":{{"id":"msg_1","type":"message","role":"assistant","model":"vendor/m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{ZERO}}}}}"#
    )
}

#[test]
fn text_and_usage_after_the_finish() {
    // Cases 84 and 112.
    let usage = UsagePart {
        input: Some(50),
        cache_read: Some(2400),
        cache_write: Some(120),
        output: Some(40),
        reasoning: Some(30),
        ..UsagePart::default()
    };
    let seen = run(vec![
        start(),
        text("Hel"),
        text("lo"),
        Event::Finish(Finish::Stop),
        Event::Usage(usage),
        Event::End,
        text("ignored"),
    ]);
    let counts = r#"{"input_tokens":50,"cache_creation_input_tokens":120,"cache_read_input_tokens":2400,"output_tokens":40,"output_tokens_details":{"thinking_tokens":30}}"#;
    let expected = [
        message_start(),
        block_start(0, TEXT),
        delta(0, r#"{"type":"text_delta","text":"Hel"}"#),
        delta(0, r#"{"type":"text_delta","text":"lo"}"#),
        block_stop(0),
        end(END_TURN, counts),
        STOP.to_owned(),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn calls_come_one_after_the_other() {
    // Cases 85, 89 to 92, 95 and 127.
    let seen = run(vec![
        start(),
        open(0),
        args(0, "{\"a\":"),
        open(1),
        args(1, "{}"),
        args(0, "1}"),
        args(1, "{\"b\":2}"),
        text("\n"),
        open(2),
        args(2, ""),
        text("\n"),
        text("Done."),
        Event::Finish(Finish::Stop),
        Event::End,
    ]);
    let expected = [
        message_start(),
        tool(0, "c0"),
        piece_of(0, "{\"a\":"),
        piece_of(0, "1}"),
        block_stop(0),
        tool(1, "c1"),
        piece_of(1, "{\"b\":2}"),
        block_stop(1),
        tool(2, "c2"),
        block_stop(2),
        block_start(3, TEXT),
        delta(3, r#"{"type":"text_delta","text":"\nDone."}"#),
        block_stop(3),
        end(TOOL_USE, ZERO),
        STOP.to_owned(),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn an_empty_answer_has_no_blocks() {
    let seen = run(vec![start(), Event::Finish(Finish::Stop), Event::End]);
    assert_eq!(seen, [message_start(), end(END_TURN, ZERO), STOP.to_owned()]);
    assert_eq!(run(vec![Event::End]).len(), 3);
}

#[test]
fn usage_that_is_known_at_once_is_said_at_once() {
    let usage = UsagePart { input: Some(5), ..UsagePart::default() };
    let seen = run(vec![Event::Usage(usage), start()]);
    assert!(seen[0].contains(r#""usage":{"input_tokens":5,"#));
}

fn carrier(blocks: Vec<Raw<'static>>) -> String {
    context().seal(&Carrier { blocks })
}

#[test]
fn shown_reasoning_is_signed_with_a_carrier() {
    let thought = || Event::Thought(JsonStr::plain("T"));
    let start_block = block_start(0, r#"{"type":"thinking","thinking":"","signature":""}"#);
    let expected = |signature: &str| {
        [
            start_block.clone(),
            delta(0, r#"{"type":"thinking_delta","thinking":"T"}"#),
            delta(0, &format!(r#"{{"type":"signature_delta","signature":"{signature}"}}"#)),
            block_stop(0),
        ]
    };
    assert_eq!(run(vec![start(), thought(), text("x")])[1..5], expected(&carrier(vec![])));
    let plain = run(vec![start(), thought(), Event::Seal(Seal::Plain), text("x")]);
    assert_eq!(plain[1..5], expected(&carrier(vec![])));
    let seal = || Seal::Encrypted { id: None, content: JsonStr::plain("E"), summary: None };
    let sealed = run(vec![start(), thought(), Event::Seal(seal()), text("x")]);
    assert_eq!(sealed[1..5], expected(&carrier(vec![seal().block(&JsonStr::default())])));
    let native = run(vec![start(), thought(), Event::Seal(Seal::Signature(JsonStr::plain("S"))), text("x")]);
    assert_eq!(native[1..5], expected("S"));
}

#[test]
fn reasoning_without_text_is_redacted() {
    // Case 76.
    let seal = || Seal::Encrypted { id: None, content: JsonStr::plain("E"), summary: None };
    let seen = run(vec![start(), Event::Seal(seal()), text("x")]);
    let data = carrier(vec![seal().block(&JsonStr::default())]);
    let block = format!(r#"{{"type":"redacted_thinking","data":"{data}"}}"#);
    assert_eq!(seen[1..4], [block_start(0, &block), block_stop(0), block_start(1, TEXT)]);
    // State of a call stands before it.
    let state = || Seal::Call { key: 0, id: JsonStr::plain("c0"), extra: Raw::constant(r#"{"google":{}}"#) };
    let seen = run(vec![start(), Event::Seal(state()), open(0), Event::End]);
    assert!(seen[1].contains(&carrier(vec![state().block(&JsonStr::default())])));
    assert_eq!(seen[3], tool(1, "c0"));
    assert_eq!(run(vec![start(), Event::Seal(Seal::Plain), text("x")])[1], block_start(0, TEXT));
}

#[test]
fn reasoning_that_is_not_wanted_is_not_shown() {
    let hidden = || Context { show_reasoning: Some(false), ..context() };
    let thought = || Event::Thought(JsonStr::plain("T"));
    assert_eq!(run_with(hidden(), vec![start(), thought(), text("x")])[1], block_start(0, TEXT));
    let seen = run_with(hidden(), vec![start(), thought(), Event::Seal(Seal::Plain), text("x")]);
    let data = carrier(vec![Seal::Plain.block(&JsonStr::plain("T"))]);
    assert_eq!(seen[1], block_start(0, &format!(r#"{{"type":"redacted_thinking","data":"{data}"}}"#)));
}

#[test]
fn freeform_tools_stay_objects() {
    let custom = || Event::Open { key: 0, id: "c0".into(), namespace: None, name: "f".into(), custom: true };
    let seen =
        run(vec![start(), custom(), args(0, "a\n\"b"), args(0, "c"), Event::Close(Some(0)), Event::End]);
    let pieces: String = seen[2..5]
        .iter()
        .map(|event| {
            let node = crate::protocol::node::Node::root(event).find("delta").unwrap();
            node.find("partial_json").unwrap().string().unwrap().into_owned()
        })
        .collect();
    assert_eq!(pieces, r#"{"input":"a\n\"bc"}"#);
    let empty = run(vec![start(), custom(), Event::End]);
    assert_eq!(empty[2], piece_of(0, r#"{"input":""}"#));
}

#[test]
fn reasons_to_end() {
    let stop = |finish: Option<Finish<'static>>, call: bool| {
        let mut events = vec![start()];
        if call {
            events.push(open(0));
        }
        events.extend(finish.map(Event::Finish));
        events.push(Event::End);
        let seen = run(events);
        let node = crate::protocol::node::Node::root(&seen[seen.len() - 2]).find("delta").unwrap();
        node.text.to_owned()
    };
    let reason = |reason: &str| format!(r#"{{"stop_reason":"{reason}","stop_sequence":null}}"#);
    let end = |text: &str| Some(Finish::StopSequence(Some(JsonStr::of(text))));
    for (finish, call, expected) in [
        (Some(Finish::Stop), false, reason("end_turn")),
        (Some(Finish::Stop), true, reason("tool_use")),
        (Some(Finish::ToolUse), true, reason("tool_use")),
        (end("END"), false, r#"{"stop_reason":"stop_sequence","stop_sequence":"END"}"#.into()),
        (end("other"), false, reason("end_turn")),
        (end("END"), true, reason("tool_use")),
        (Some(Finish::StopSequence(None)), false, reason("end_turn")),
        (Some(Finish::Length), true, reason("max_tokens")),
        (Some(Finish::ContextWindow), false, reason("model_context_window_exceeded")),
        (Some(Finish::Pause), false, reason("pause_turn")),
        (None, false, reason("end_turn")),
        (None, true, reason("tool_use")),
    ] {
        assert_eq!(stop(finish.clone(), call), expected, "{finish:?} {call}");
    }
    let details = r#"{"stop_reason":"refusal","stop_sequence":null,"stop_details":{"type":"refusal","category":null,"explanation":"No."}}"#;
    assert_eq!(stop(Some(Finish::Refusal(Some(JsonStr::of("No.")))), false), details);
    assert!(stop(Some(Finish::Refusal(None)), true).ends_with(r#""explanation":null}}"#));
}

#[test]
fn a_refusal_is_text_unless_there_is_some() {
    let refusal = || Event::Refusal(JsonStr::of("No."));
    let seen = run(vec![start(), refusal(), Event::Finish(Finish::Stop), Event::End]);
    assert_eq!(seen[2], delta(0, r#"{"type":"text_delta","text":"No."}"#));
    assert!(seen[4].contains(r#""stop_reason":"refusal""#) && seen[4].contains(r#""explanation":"No.""#));
    let both = run(vec![start(), text("x"), refusal(), Event::Finish(Finish::Stop), Event::End]);
    assert_eq!(both.len(), 6);
    assert!(both[4].contains(r#""explanation":"No.""#));
}

#[test]
fn what_the_protocol_has_no_place_for_is_left_out() {
    let cite = Citation { url: JsonStr::plain("U"), title: JsonStr::plain("T"), span: None };
    let seen = run(vec![
        start(),
        Event::Tier("default".into()),
        Event::Search { id: "s".into(), query: JsonStr::plain("q") },
        text("x"),
        Event::Logprobs(Raw::constant("[]")),
        Event::Cite(cite),
        Event::Close(None),
        Event::Break,
        text("y"),
        Event::End,
    ]);
    let expected = [
        block_start(0, TEXT),
        delta(0, r#"{"type":"text_delta","text":"x"}"#),
        block_stop(0),
        block_start(1, TEXT),
    ];
    assert_eq!(seen[1..5], expected);
}

#[test]
fn failures_end_the_stream() {
    // Case 101.
    let (mut encoder, mut out) = (MessagesEncoder::new(Arc::new(context())), Vec::new());
    encoder.event(start(), &mut out);
    encoder.event(text("x"), &mut out);
    encoder.fail(&Failure::new(Kind::Provider, "boom"), &mut out);
    encoder.fail(&Failure::new(Kind::Provider, "twice"), &mut out);
    encoder.event(Event::End, &mut out);
    let seen = lines(&out);
    let error = r#"{"type":"error","error":{"type":"api_error","message":"boom"},"request_id":"req_1"}"#;
    assert_eq!((seen.len(), seen.last().map(String::as_str)), (4, Some(error)));
}
