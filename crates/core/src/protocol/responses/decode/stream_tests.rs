//! The events of a provider's stream.

#[path = "reply_tests.rs"]
mod replies;

use super::*;
use crate::canon::{Args, Seal};

/// Returns a short description of an event.
fn note(event: &Event<'_>) -> String {
    match event {
        Event::Start { id, created } => {
            format!("start {} {}", id.as_deref().unwrap_or("-"), created.unwrap_or(0))
        }
        Event::Tier(tier) => format!("tier {tier}"),
        Event::Text(text) => text.decode().into_owned(),
        Event::Logprobs(raw) => format!("logprobs {}", raw.get()),
        Event::Refusal(text) => format!("refusal {}", text.decode()),
        Event::Thought(text) => format!("thought {}", text.decode()),
        Event::Seal(Seal::Encrypted { id, content, summary }) => format!(
            "seal {} {} {}",
            id.as_ref().map_or("-", |id| id.raw()),
            content.raw(),
            summary.as_ref().map_or("-", |summary| summary.get())
        ),
        Event::Cite(cite) => format!("cite {} {} {:?}", cite.url.raw(), cite.title.raw(), cite.span),
        Event::Open { key, id, namespace, name, custom } => {
            let space = namespace.as_deref().map(|space| format!("{space}/")).unwrap_or_default();
            format!("open {key} {id} {space}{name}{}", if *custom { "!" } else { "" })
        }
        Event::Args { key, part: Args::Str(text) } => format!("args {key} {}", text.decode()),
        Event::Args { key, part: Args::Raw(raw) } => format!("object {key} {}", raw.get()),
        Event::Close(Some(key)) => format!("close {key}"),
        Event::Close(None) => "close".to_owned(),
        Event::Break => "break".to_owned(),
        Event::Usage(part) => format!("usage {:?} {:?}", part.input, part.output),
        Event::Finish(finish) => format!("{finish:?}"),
        Event::Fail(error) => format!("fail {} {}", error.code.as_deref().unwrap_or("-"), error.message),
        other => format!("{other:?}"),
    }
}

fn stream(events: &[&str]) -> Vec<String> {
    let (mut decoder, mut notes) = (ResponsesDecoder::default(), Vec::new());
    for event in events {
        let (kind, rest) = event.split_once(' ').unwrap_or((event, ""));
        let data = format!(r#"{{"type":"response.{kind}"{}{rest}}}"#, if rest.is_empty() { "" } else { "," });
        decoder.event(None, &data, &mut |event| notes.push(note(&event))).unwrap();
    }
    decoder.end(&mut |event| notes.push(note(&event)));
    notes
}

const CREATED: &str =
    r#"created "response":{"id":"resp_1","created_at":1741476542,"status":"in_progress","output":[]}"#;
const DONE: &str = r#"completed "response":{"id":"resp_1","status":"completed","output":[]}"#;

#[test]
fn text_reasoning_and_calls_in_order() {
    let notes = stream(&[
        CREATED,
        r#"in_progress "response":{"id":"resp_1"}"#,
        r#"output_item.added "output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[]}"#,
        r#"reasoning_summary_part.added "output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}"#,
        r#"reasoning_summary_text.delta "output_index":0,"summary_index":0,"delta":"a"}"#
            .trim_end_matches('}'),
        r#"reasoning_summary_text.done "output_index":0,"summary_index":0,"text":"a""#,
        r#"reasoning_summary_part.added "output_index":0,"summary_index":1,"part":{"type":"summary_text","text":""}"#,
        r#"reasoning_summary_text.delta "output_index":0,"summary_index":1,"delta":"b""#,
        r#"reasoning_text.delta "output_index":0,"content_index":0,"delta":"full""#,
        r#"output_item.done "output_index":0,"item":{"type":"reasoning","id":"rs_1","encrypted_content":"E","summary":[{"type":"summary_text","text":"a"}]}"#,
        r#"output_item.added "output_index":1,"item":{"type":"message","id":"m","content":[]}"#,
        r#"content_part.added "output_index":1,"content_index":0,"part":{"type":"output_text","text":""}"#,
        r#"output_text.delta "output_index":1,"content_index":0,"delta":"Hel","logprobs":[]"#,
        r#"output_text.delta "output_index":1,"content_index":0,"delta":"lo","logprobs":[{"token":"lo"}]"#,
        r#"output_text.annotation.added "output_index":1,"content_index":0,"annotation_index":0,"annotation":{"type":"url_citation","url":"https://x","title":"T","start_index":1,"end_index":3}"#,
        r#"output_text.done "output_index":1,"content_index":0,"text":"Hello""#,
        r#"output_item.done "output_index":1,"item":{"type":"message","content":[{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://x","title":"T"}]}]}"#,
        r#"output_item.added "output_index":2,"item":{"type":"function_call","id":"fc","call_id":"c1","name":"f","arguments":""}"#,
        r#"function_call_arguments.delta "output_index":2,"delta":"{\"a\":""#,
        r#"function_call_arguments.delta "output_index":2,"delta":"1}""#,
        r#"function_call_arguments.done "output_index":2,"arguments":"{\"a\":1}""#,
        r#"output_item.done "output_index":2,"item":{"type":"function_call","call_id":"c1","name":"f","arguments":"{\"a\":1}"}"#,
        r#"completed "response":{"id":"resp_1","status":"completed","service_tier":"default","output":[{"type":"reasoning"},{"type":"message"},{"type":"function_call"}],"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5}}"#,
        r#"output_text.delta "output_index":3,"delta":"late""#,
    ]);
    let expected = [
        "start resp_1 1741476542",
        "thought a",
        "thought \n\n",
        "thought b",
        r#"seal rs_1 E [{"type":"summary_text","text":"a"}]"#,
        "Hel",
        "lo",
        r#"logprobs [{"token":"lo"}]"#,
        "cite https://x T Some((1, 3))",
        "close",
        "open 0 c1 f",
        r#"args 0 {"a":"#,
        "args 0 1}",
        "close 0",
        "tier default",
        "usage Some(6) Some(5)",
        "ToolUse",
        "End",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn parallel_calls_end_only_with_the_answer() {
    // Golden case 114.
    let notes = stream(&[
        CREATED,
        r#"output_item.added "output_index":0,"item":{"type":"function_call","call_id":"a","name":"f","arguments":""}"#,
        r#"function_call_arguments.delta "output_index":0,"delta":"{}""#,
        r#"output_item.done "output_index":0,"item":{"type":"function_call","call_id":"a","name":"f","arguments":"{}"}"#,
        r#"output_item.added "output_index":1,"item":{"type":"function_call","call_id":"b","name":"f","arguments":""}"#,
        r#"function_call_arguments.delta "output_index":1,"delta":"{}""#,
        r#"output_item.done "output_index":1,"item":{"type":"function_call","call_id":"b","name":"f","arguments":"{}"}"#,
        DONE,
    ]);
    let calls =
        ["open 0 a f", "args 0 {}", "close 0", "open 1 b f", "args 1 {}", "close 1", "ToolUse", "End"];
    assert_eq!(notes[1..], calls);
}

#[test]
fn ids_that_change_do_not_matter() {
    // Golden case 115.
    let notes = stream(&[
        CREATED,
        r#"output_item.added "output_index":0,"item":{"type":"function_call","id":"x1","call_id":"a","name":"f","arguments":"{"}"#,
        r#"function_call_arguments.delta "item_id":"x2","output_index":0,"delta":"}""#,
        r#"output_item.done "output_index":0,"item":{"type":"function_call","id":"x3","call_id":"a","name":"f","arguments":"{}"}"#,
        DONE,
    ]);
    assert_eq!(notes[1..], ["open 0 a f", "args 0 {", "args 0 }", "close 0", "ToolUse", "End"]);
}

#[test]
fn texts_need_no_announcement() {
    // Golden case 116.
    let notes = stream(&[
        r#"output_text.delta "item_id":"m","output_index":0,"content_index":0,"delta":"a""#,
        r#"output_text.delta "item_id":"n","delta":"b""#,
        DONE,
    ]);
    assert_eq!(notes, ["start - 0", "a", "b", "Stop", "End"]);
}

#[test]
fn whole_arguments_without_any_delta() {
    // Golden case 116a.
    let added = r#"output_item.added "output_index":0,"item":{"type":"function_call","call_id":"a","name":"f","arguments":""}"#;
    let notes = stream(&[
        CREATED,
        added,
        r#"function_call_arguments.done "output_index":0,"arguments":"{\"a\":1}""#,
        DONE,
    ]);
    assert_eq!(notes[1..], ["open 0 a f", r#"args 0 {"a":1}"#, "ToolUse", "End"]);
    let custom = r#"output_item.added "output_index":0,"item":{"type":"custom_tool_call","call_id":"a","name":"p","input":""}"#;
    let notes =
        stream(&[CREATED, custom, r#"custom_tool_call_input.done "output_index":0,"input":"x\ny""#, DONE]);
    assert_eq!(notes[1..], ["open 0 a p!", "args 0 x\ny", "ToolUse", "End"]);
}

#[test]
fn the_rest_of_arguments_is_said_and_a_contradiction_is_not() {
    let added = r#"output_item.added "output_index":0,"item":{"type":"function_call","call_id":"a","name":"f","arguments":""}"#;
    let run = |delta: &str, whole: &str| {
        let delta = format!(r#"function_call_arguments.delta "output_index":0,"delta":"{delta}""#);
        let whole = format!(r#"function_call_arguments.done "output_index":0,"arguments":"{whole}""#);
        stream(&[CREATED, added, &delta, &whole])[2..].to_vec()
    };
    assert_eq!(run(r#"{\"a\""#, r#"{\"a\":1}"#), [r#"args 0 {"a""#, "args 0 :1}"]);
    assert_eq!(run(r#"{\"b\""#, r#"{\"a\":1}"#), [r#"args 0 {"b""#, "Anomaly(Arguments)"]);
    assert_eq!(run("{}", "{}"), ["args 0 {}"]);
}

#[test]
fn items_that_only_come_whole() {
    // Golden case 116b.
    let notes = stream(&[
        CREATED,
        r#"output_item.done "output_index":0,"item":{"type":"reasoning","id":"r","summary":[],"content":[{"type":"reasoning_text","text":"t"}]}"#,
        r#"output_item.done "output_index":1,"item":{"type":"message","content":[{"type":"output_text","text":"hi","annotations":[{"type":"url_citation","url":"u","title":"t","start_index":0,"end_index":2}]},{"type":"refusal","refusal":"no"}]}"#,
        r#"output_item.done "output_index":2,"item":{"type":"function_call","call_id":"a","name":"f","arguments":{"x": 1}}"#,
        r#"output_item.done "output_index":2,"item":{"type":"function_call","call_id":"a","name":"f","arguments":"{}"}"#,
        DONE,
    ]);
    let expected = [
        "thought t",
        "close",
        "hi",
        "cite u t Some((0, 2))",
        "close",
        "refusal no",
        "close",
        "open 0 a f",
        r#"object 0 {"x":1}"#,
        "close 0",
        "ToolUse",
        "End",
    ];
    assert_eq!(notes[1..], expected);
    let only_at_last = stream(&[
        CREATED,
        r#"output_text.delta "output_index":0,"delta":"a""#,
        r#"completed "response":{"status":"completed","output":[{"type":"reasoning","encrypted_content":"E","summary":[]},{"type":"message","content":[{"type":"output_text","text":"a"}]},{"type":"message","content":[{"type":"output_text","text":"b"}]}]}"#,
    ]);
    assert_eq!(only_at_last[1..], ["a", "close", "seal - E []", "break", "b", "close", "Stop", "End"]);
}

#[test]
fn messages_are_paragraphs_and_parts_are_not() {
    let notes = stream(&[
        CREATED,
        r#"output_text.delta "output_index":0,"content_index":0,"delta":"a""#,
        r#"output_text.delta "output_index":0,"content_index":1,"delta":"b""#,
        r#"output_text.delta "output_index":1,"content_index":0,"delta":"c""#,
        r#"refusal.delta "output_index":1,"content_index":1,"delta":"d""#,
        r#"refusal.done "output_index":1,"content_index":1,"refusal":"d""#,
    ]);
    assert_eq!(notes[1..], ["a", "close", "b", "close", "break", "c", "close", "refusal d"]);
}

#[test]
fn silent_parts_speak_when_they_are_done() {
    let notes = stream(&[
        CREATED,
        r#"output_item.added "output_index":0,"item":{"type":"message","content":[]}"#,
        r#"output_text.done "output_index":0,"content_index":0,"text":"a","logprobs":[]"#,
        r#"content_part.done "output_index":0,"content_index":0,"part":{"type":"output_text","text":"a"}"#,
        r#"content_part.done "output_index":0,"content_index":1,"part":{"type":"output_text","text":"b"}"#,
        r#"refusal.done "output_index":0,"content_index":2,"refusal":"r""#,
        r#"reasoning_summary_text.done "output_index":1,"summary_index":0,"text":"s""#,
        r#"reasoning_text.done "output_index":2,"content_index":0,"text":"t""#,
    ]);
    let expected = ["a", "close", "b", "close", "refusal r", "close", "thought s", "close", "thought t"];
    assert_eq!(notes[1..], expected);
}

#[test]
fn what_concerns_only_the_provider_is_skipped() {
    let notes = stream(&[
        CREATED,
        r#"output_item.added "output_index":0,"item":{"type":"web_search_call","id":"ws"}"#,
        r#"web_search_call.completed "output_index":0,"item_id":"ws""#,
        r#"mcp_call_arguments.delta "output_index":0,"delta":"{}""#,
        r#"output_text.delta "output_index":0,"delta":"not of a search""#,
        r#"output_item.done "output_index":0,"item":{"type":"web_search_call","id":"ws"}"#,
        r#"output_item.added "output_index":1,"item":{"type":"novelty"}"#,
        r#"shell_call.done "output_index":1"#,
        r#"output_text.delta "output_index":2,"delta":7"#,
        DONE,
    ]);
    assert_eq!(notes[1..], ["Stop", "End"]);
    let mut decoder = ResponsesDecoder::default();
    let mut none = |event: Event<'_>| panic!("{event:?}");
    decoder.event(None, r#"{"type":"keepalive"}"#, &mut none).unwrap();
    decoder.event(None, "[DONE]", &mut none).unwrap();
    assert!(decoder.event(None, "{\"type\":", &mut none).is_err());
}

#[test]
fn endings() {
    let end = |event: &str| stream(&[CREATED, event])[1..].join(", ");
    for (reason, finish) in [
        ("max_output_tokens", "Length"),
        ("content_filter", "Refusal(None)"),
        ("max_messages", "Stop"),
        ("steered", "Stop"),
        ("model_context_window_exceeded", "ContextWindow"),
        ("novelty", "Anomaly(Finish), Unknown"),
    ] {
        let event = format!(
            r#"incomplete "response":{{"status":"incomplete","incomplete_details":{{"reason":"{reason}"}},"output":[]}}"#
        );
        assert_eq!(end(&event), format!("{finish}, End"));
    }
    assert_eq!(end(r#"incomplete "response":{"status":"incomplete"}"#), "Length, End");
    assert_eq!(
        end(
            r#"failed "response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"slow"}}"#
        ),
        "fail rate_limit_exceeded slow"
    );
    assert_eq!(
        end(r#"in_progress "response":{"error":{"code":"server_error","message":"boom"}}"#),
        "fail server_error boom"
    );
    assert_eq!(end(r#"output_text.delta "output_index":0,"delta":"cut""#), "cut");
}

#[test]
fn errors_have_two_shapes() {
    // Golden case 104, as far as the decoder is concerned.
    for data in [
        r#"{"type":"error","code":"insufficient_quota","message":"m","param":null}"#,
        r#"{"type":"error","error":{"type":"t","code":"insufficient_quota","message":"m"}}"#,
    ] {
        let mut notes = Vec::new();
        ResponsesDecoder::default().event(Some("x"), data, &mut |event| notes.push(note(&event))).unwrap();
        assert_eq!(notes, ["fail insufficient_quota m"]);
    }
    let mut notes = Vec::new();
    let named = r#"{"code":"c","message":"m"}"#;
    ResponsesDecoder::default().event(Some("error"), named, &mut |event| notes.push(note(&event))).unwrap();
    assert_eq!(notes, ["fail c m"]);
}
