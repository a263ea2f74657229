//! Complete answers of a provider, as the events of their streams.

use crate::canon::Decode as _;

use super::{ResponsesDecoder, note};

fn reply(body: &str) -> Vec<String> {
    let mut notes = Vec::new();
    ResponsesDecoder::default().reply(body, &mut |event| notes.push(note(&event))).unwrap();
    notes
}

#[test]
fn a_body_says_what_its_stream_says() {
    let notes = reply(
        r#"{"id":"resp_1","created_at":1741476542.5,"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},
        "service_tier":"flex","error":null,"output":[
        {"type":"reasoning","id":"rs","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}],"encrypted_content":"E"},
        {"type":"message","content":[{"type":"output_text","text":"x","logprobs":[{"token":"x"}]}]},
        {"type":"web_search_call"},
        {"type":"message","content":[{"type":"output_text","text":"y"}]},
        {"type":"custom_tool_call","call_id":"c","namespace":"n","name":"p","input":"z"},
        {"type":"function_call","call_id":"d","name":"f","arguments":"{\"a\"","status":"incomplete"}],
        "usage":{"input_tokens":1,"output_tokens":2}}"#,
    );
    let expected = [
        "start resp_1 1741476542",
        "thought a",
        "thought \n\n",
        "thought b",
        r#"seal rs E [{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}]"#,
        "x",
        r#"logprobs [{"token":"x"}]"#,
        "close",
        "break",
        "y",
        "close",
        "open 0 c n/p!",
        "args 0 z",
        "close 0",
        "open 1 d f",
        "args 1 {\"a\"",
        "close 1",
        "tier flex",
        "usage Some(1) Some(2)",
        "Length",
        "End",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn bodies_that_are_no_answers() {
    assert_eq!(reply(r#"{"error":{"message":"m","code":"c"}}"#), ["fail c m"]);
    assert_eq!(reply(r#"{"status":"failed","error":{"message":"m"},"output":[]}"#), ["fail - m"]);
    assert_eq!(reply(r#"{"status":"in_progress","output":[]}"#), Vec::<String>::new());
    assert_eq!(reply("{}"), Vec::<String>::new());
    assert_eq!(reply(r#"{"output":[]}"#), ["start - 0", "Stop", "End"]);
    assert!(ResponsesDecoder::default().reply("[]", &mut |_| {}).is_err());
}
