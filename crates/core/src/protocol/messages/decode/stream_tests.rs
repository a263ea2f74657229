//! Providers' answers, as events.

use super::*;
use crate::canon::{Answer, Profile};

/// An event, in short.
fn show(event: &Event<'_>) -> String {
    match event {
        Event::Start { id, .. } => format!("start {}", id.as_deref().unwrap_or("-")),
        Event::Text(text) => format!("text {}", text.raw()),
        Event::Thought(text) => format!("thought {}", text.raw()),
        Event::Seal(Seal::Signature(text)) => format!("signature {}", text.raw()),
        Event::Seal(Seal::Redacted(text)) => format!("redacted {}", text.raw()),
        Event::Cite(cite) => format!("cite {} {}", cite.url.raw(), cite.title.raw()),
        Event::Search { id, query } => format!("search {id} {}", query.raw()),
        Event::Open { key, id, name, .. } => format!("open {key} {id} {name}"),
        Event::Args { key, part: Args::Str(text) } => format!("args {key} {}", text.decode()),
        Event::Args { key, part: Args::Raw(json) } => format!("args {key} {}", json.get()),
        Event::Usage(part) => format!(
            "usage {:?} {:?} {:?} {:?} {:?}",
            part.input, part.cache_read, part.cache_write, part.output, part.reasoning
        ),
        Event::Fail(error) => format!("fail {:?} {}", error.kind, error.message),
        other => format!("{other:?}"),
    }
}

fn run(events: &[&str]) -> Vec<String> {
    let (mut decoder, mut seen) = (MessagesDecoder::new(&Profile::default()), Vec::new());
    for event in events {
        decoder.event(None, event, &mut |event| seen.push(show(&event))).unwrap();
    }
    decoder.end(&mut |event| seen.push(show(&event)));
    seen
}

fn reply(body: &str) -> Vec<String> {
    let (mut decoder, mut seen) = (MessagesDecoder::new(&Profile::default()), Vec::new());
    decoder.reply(body, &mut |event| seen.push(show(&event))).unwrap();
    seen
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","content":[],"usage":{"input_tokens":50,"cache_read_input_tokens":2400,"cache_creation_input_tokens":120,"output_tokens":1,"service_tier":"standard"}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn ends(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":{reason}}},"usage":{{"output_tokens":10,"input_tokens":0}}}}"#
    )
}

#[test]
fn a_whole_stream() {
    let seen = run(&[
        START,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"T"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"S=="}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"D"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Hel\n"}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":""}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"new_delta","text":"x"}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"x\":"}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
        r#"{"type":"content_block_stop","index":3}"#,
        &ends("\"tool_use\""),
        STOP,
        r#"{"type":"content_block_start","index":9,"content_block":{"type":"text","text":"late"}}"#,
    ]);
    let expected = [
        "start msg_1",
        r#"Tier("default")"#,
        "usage Some(50) Some(2400) Some(120) Some(1) None",
        "thought T",
        "signature S==",
        "redacted D",
        r"text Hel\n",
        "Close(None)",
        "open 0 a f",
        "args 0 {\"x\":",
        "args 0 1}",
        "Close(Some(0))",
        "usage Some(0) None None Some(10) None",
        "Finish(ToolUse)",
        "End",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn calls_without_pieces_and_with_their_input_at_once() {
    let seen = run(&[
        START,
        // Case 93.
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"b","name":"g","input":{"b": 1.0}}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"c","name":"h","input":{"old":1}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        STOP,
    ]);
    let expected = [
        "open 0 a f",
        "Close(Some(0))",
        "open 1 b g",
        r#"args 1 {"b":1.0}"#,
        "Close(Some(1))",
        "open 2 c h",
        "args 2 {}",
        "Close(Some(2))",
        "Finish(ToolUse)",
        "End",
    ];
    assert_eq!(seen[3..], expected);
}

#[test]
fn what_the_provider_does_by_itself_is_no_call() {
    // Case 94.
    let seen = run(&[
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"query\":\"q"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\"}"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"web_search_tool_result","tool_use_id":"s","content":[]}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"server_tool_use","id":"t","name":"code_execution","input":{}}}"#,
        r#"{"type":"content_block_stop","index":3}"#,
        r#"{"type":"content_block_start","index":4,"content_block":{"type":"text","text":"","citations":[]}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"text_delta","text":"b"}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"U","title":"T","encrypted_index":"x"}}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"citations_delta","citation":{"type":"char_location","url":"U"}}}"#,
        r#"{"type":"content_block_stop","index":4}"#,
        &ends("\"end_turn\""),
        STOP,
    ]);
    let expected = [
        "text a",
        "Close(None)",
        "search s q",
        "Break",
        "text b",
        "cite U T",
        "Anomaly(Citation)",
        "Close(None)",
    ];
    assert_eq!(seen[3..11], expected);
    assert_eq!(seen[12..], ["Finish(Stop)", "End"]);
}

#[test]
fn reasons_to_end() {
    for (reason, finish) in [
        ("\"end_turn\"", "Finish(Stop)"),
        ("\"compaction\"", "Finish(Stop)"),
        ("\"stop_sequence\",\"stop_sequence\":\"END\"", "Finish(StopSequence(Some(JsonStr(3 bytes))))"),
        ("\"tool_use\"", "Finish(ToolUse)"),
        ("\"max_tokens\"", "Finish(Length)"),
        ("\"model_context_window_exceeded\"", "Finish(ContextWindow)"),
        (
            "\"refusal\",\"stop_details\":{\"type\":\"refusal\",\"explanation\":\"No.\"}",
            "Finish(Refusal(Some(JsonStr(3 bytes))))",
        ),
        ("\"refusal\"", "Finish(Refusal(None))"),
        ("\"pause_turn\"", "Finish(Pause)"),
        ("null", "Finish(Stop)"),
    ] {
        let seen = run(&[START, &ends(reason), STOP]);
        assert_eq!(seen[4..], [finish, "End"], "{reason}");
    }
    let novel = run(&[START, &ends("\"something_new\""), STOP]);
    assert_eq!(novel[4..], ["Anomaly(Finish)", "Finish(Unknown)", "End"]);
    let last_wins = run(&[START, &ends("\"end_turn\""), &ends("\"max_tokens\""), STOP]);
    assert_eq!(last_wins[5..], ["Finish(Length)", "End"]);
}

#[test]
fn failures_and_ends_that_come_too_early() {
    // Case 102.
    let failed =
        run(&[START, r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#, STOP]);
    assert_eq!(failed[3..], [r#"fail Some("overloaded_error") busy"#]);
    let text = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#;
    assert_eq!(run(&[START, text])[3..], ["text a"]);
    let said = run(&[START, text, &ends("\"end_turn\"")]);
    assert_eq!(said[5..], ["Close(None)", "Finish(Stop)", "End"]);
    let mut decoder = MessagesDecoder::new(&Profile::default());
    for odd in ["{", "x", "[]", "{\"type\":\"message_stop\"} x"] {
        assert!(decoder.event(None, odd, &mut |_| panic!("{odd}")).is_err(), "{odd}");
    }
    for odd in [
        "[DONE]",
        "{}",
        r#"{"type":7,"index":"x"}"#,
        r#"{"type":"content_block_delta","index":0,"delta":[]}"#,
        r#"{"type":"content_block_start","content_block":7}"#,
        r#"{"type":"content_block_delta","index":5,"delta":{"type":"text_delta","text":"lost"}}"#,
        r#"{"type":"message_delta","delta":7,"usage":"x"}"#,
    ] {
        let counted = |event: &Event<'_>| matches!(event, Event::Anomaly(Anomaly::Content));
        decoder.event(None, odd, &mut |event| assert!(counted(&event), "{odd} {event:?}")).unwrap();
    }
    let mut named = Vec::new();
    decoder.event(Some("message_stop"), "{}", &mut |event| named.push(show(&event))).unwrap();
    assert_eq!(named, ["Finish(Stop)", "End"]);
}

#[test]
fn signatures_come_once_wherever_they_stand() {
    let whole = r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"T","signature":"S"}}"#;
    let stop = r#"{"type":"content_block_stop","index":0}"#;
    let again =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"S"}}"#;
    assert_eq!(run(&[START, whole, stop])[3..], ["thought T", "signature S"]);
    assert_eq!(run(&[START, whole, again, again, stop])[3..], ["thought T", "signature S"]);
    let unsigned = r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"T","signature":""}}"#;
    assert_eq!(run(&[START, unsigned, stop])[3..], ["thought T", "Close(None)"]);
}

#[test]
fn a_whole_answer_is_its_stream() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[
        {"type":"thinking","thinking":"T","signature":"S=="},{"type":"redacted_thinking","data":"D"},
        {"type":"text","text":"a","citations":[{"type":"web_search_result_location","url":"U","title":"T"}]},
        {"type":"text","text":""},
        {"type":"tool_use","id":"a","name":"f","input":{"b": 1.0, "a":[1]}},
        {"type":"text","text":"b"},{"type":"new"}],
        "stop_reason":"max_tokens","stop_sequence":null,
        "usage":{"input_tokens":5,"output_tokens":7,"output_tokens_details":{"thinking_tokens":3}}}"#;
    let expected = [
        "start msg_1",
        "thought T",
        "signature S==",
        "redacted D",
        "text a",
        "cite U T",
        "Close(None)",
        "open 0 a f",
        r#"args 0 {"b":1.0,"a":[1]}"#,
        "Close(Some(0))",
        "Break",
        "text b",
        "Close(None)",
        "Anomaly(Content)",
        "usage Some(5) None None Some(7) Some(3)",
        "Finish(Length)",
        "End",
    ];
    assert_eq!(reply(body), expected);
    assert_eq!(
        reply(r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#),
        [r#"fail Some("api_error") m"#]
    );
    assert!(reply("{}").is_empty());
    assert!(MessagesDecoder::default().reply("[1]", &mut |_| ()).is_err());
    // Legal, and empty.
    assert_eq!(reply(r#"{"content":[],"stop_reason":"end_turn"}"#), ["start -", "Finish(Stop)", "End"]);
}

#[test]
fn counts_replace_and_are_never_added() {
    // Cases 109 to 111.
    let collect = |events: &[&str]| {
        let (mut decoder, mut answer) = (MessagesDecoder::default(), Answer::default());
        for event in events {
            decoder.event(None, event, &mut |event| answer.take(event).unwrap()).unwrap();
        }
        let usage = answer.usage.unwrap();
        (usage.input, usage.cache_read, usage.cache_write, usage.output)
    };
    let repeated = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":50,"cache_read_input_tokens":2400,"cache_creation_input_tokens":120,"output_tokens":10}}"#;
    assert_eq!(collect(&[START, repeated, STOP]), (50, 2400, 120, 10));
    assert_eq!(collect(&[START, &ends("\"end_turn\""), STOP]), (50, 2400, 120, 10));
    let late = r#"{"type":"message_start","message":{"usage":{"input_tokens":0,"output_tokens":0}}}"#;
    assert_eq!(collect(&[late, repeated, STOP]), (50, 2400, 120, 10));
}
