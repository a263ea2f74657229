//! Complete answers for clients.

use super::*;
use crate::canon::{Carrier, Event, Finish, Seal, SealKey, Sealer, UsagePart};
use crate::json::Raw;

fn context() -> Context {
    Context {
        model: JsonStr::plain("vendor/m"),
        origin: "deepseek".into(),
        upstream_model: "ds".into(),
        sealer: Sealer::new(&SealKey::new([7; 32]), "account"),
        ..Context::default()
    }
}

fn body(events: Vec<Event<'_>>) -> String {
    let mut answer = Answer::default();
    answer.take(Event::Start { id: Some("resp_1".into()), created: None }).unwrap();
    for event in events {
        answer.take(event).unwrap();
    }
    answer.take(Event::End).unwrap();
    let body = String::from_utf8(write(&answer, &context()).to_vec()).unwrap();
    assert!(Raw::read(&body).is_some(), "{body}");
    body
}

fn content(events: Vec<Event<'_>>) -> String {
    let body = body(events);
    crate::protocol::node::Node::root(&body).find("content").unwrap().text.to_owned()
}

fn call<'a>(custom: bool) -> Event<'a> {
    Event::Open { key: 0, id: "c".into(), namespace: None, name: "f".into(), custom }
}

fn args<'a>(json: &str) -> Event<'a> {
    Event::Args { key: 0, part: Args::Str(JsonStr::of(json)) }
}

#[test]
fn a_whole_answer() {
    let usage = UsagePart {
        input: Some(50),
        cache_read: Some(2400),
        cache_write: Some(120),
        output: Some(10),
        ..UsagePart::default()
    };
    let expected = concat!(
        r#"{"id":"msg_1","type":"message","role":"assistant","model":"vendor/m","#,
        r#""content":[{"type":"text","text":"Hi\n"}],"stop_reason":"max_tokens","stop_sequence":null,"#,
        r#""usage":{"input_tokens":50,"cache_creation_input_tokens":120,"cache_read_input_tokens":2400,"output_tokens":10,"#,
        r#""cache_creation":{"ephemeral_5m_input_tokens":120,"ephemeral_1h_input_tokens":0},"service_tier":"priority"}}"#
    );
    let seen = body(vec![
        Event::Tier("priority".into()),
        Event::Text(JsonStr::of("Hi\n")),
        Event::Usage(usage),
        Event::Finish(Finish::Length),
    ]);
    assert_eq!(seen, expected);
}

#[test]
fn an_empty_answer_stays_empty() {
    let seen = body(vec![Event::Finish(Finish::Stop)]);
    assert!(seen.contains(r#""content":[],"stop_reason":"end_turn""#));
    assert!(seen.ends_with(r#""output_tokens":0,"service_tier":"standard"}}"#));
}

#[test]
fn arguments_are_objects() {
    let input = |json: &str| {
        let content = content(vec![call(false), args(json), Event::Finish(Finish::ToolUse)]);
        let head = r#"[{"type":"tool_use","id":"c","name":"f","input":"#;
        content.strip_prefix(head).unwrap().strip_suffix("}]").unwrap().to_owned()
    };
    assert_eq!(input(r#"{"b":1.0,"a":1e2}"#), r#"{"b":1.0,"a":1e2}"#);
    assert_eq!(input(""), "{}");
    assert_eq!(input("[1]"), r#"{"value":[1]}"#);
    assert_eq!(input(r#"{}{"a":1}"#), r#"{"a":1}"#);
    assert_eq!(input(r#"{"a":"#), r#"{"_raw_arguments":"{\"a\":"}"#);
    let cut = body(vec![call(false), args("{\"a\""), Event::Finish(Finish::Length)]);
    assert!(cut.contains(r#""stop_reason":"max_tokens""#));
    let custom = content(vec![call(true), args("raw \"text\""), Event::Finish(Finish::Stop)]);
    assert_eq!(custom, r#"[{"type":"tool_use","id":"c","name":"f","input":{"input":"raw \"text\""}}]"#);
}

#[test]
fn reasoning_as_in_a_stream() {
    let thought = || Event::Thought(JsonStr::plain("T"));
    let carrier = |blocks| context().seal(&Carrier { blocks });
    let seal = || Seal::Encrypted { id: None, content: JsonStr::plain("E"), summary: None };
    let block = || vec![seal().block(&JsonStr::default())];
    assert_eq!(
        content(vec![thought(), Event::Seal(Seal::Plain), Event::Text(JsonStr::plain("x"))]),
        format!(
            r#"[{{"type":"thinking","thinking":"T","signature":"{}"}},{{"type":"text","text":"x"}}]"#,
            carrier(vec![])
        )
    );
    assert_eq!(
        content(vec![thought(), Event::Seal(seal())]),
        format!(r#"[{{"type":"thinking","thinking":"T","signature":"{}"}}]"#, carrier(block()))
    );
    assert_eq!(
        content(vec![Event::Seal(seal())]),
        format!(r#"[{{"type":"redacted_thinking","data":"{}"}}]"#, carrier(block()))
    );
    assert_eq!(content(vec![Event::Seal(Seal::Plain)]), "[]");
    assert_eq!(
        content(vec![
            thought(),
            Event::Seal(Seal::Signature(JsonStr::plain("S"))),
            Event::Seal(Seal::Redacted(JsonStr::plain("D")))
        ]),
        r#"[{"type":"thinking","thinking":"T","signature":"S"},{"type":"redacted_thinking","data":"D"}]"#
    );
}

#[test]
fn refusals() {
    let refused = body(vec![Event::Refusal(JsonStr::plain("No.")), Event::Finish(Finish::Stop)]);
    assert!(refused.contains(r#""content":[{"type":"text","text":"No."}],"stop_reason":"refusal""#));
    assert!(refused.contains(r#""stop_details":{"type":"refusal","category":null,"explanation":"No."}"#));
    let both = content(vec![Event::Text(JsonStr::plain("x")), Event::Refusal(JsonStr::plain("No."))]);
    assert_eq!(both, r#"[{"type":"text","text":"x"}]"#);
}
