//! Answers for clients, as the reference describes them. Numbers are those of its golden cases.

use std::sync::Arc;

use crate::canon::{Answer, Args, Citation, Context, Encode as _, Event, Finish, Seal, UsagePart};
use crate::failure::{Failure, Kind};
use crate::json::{JsonStr, Raw};

use super::super::reply;
use super::ChatEncoder;

fn context() -> Context {
    Context { model: JsonStr::plain("vendor/model"), now: 1_700_000_000, ..Context::default() }
}

fn start<'a>() -> Event<'a> {
    Event::Start { id: Some("msg_1".into()), created: None }
}

fn text<'a>(text: &'static str) -> Event<'a> {
    Event::Text(JsonStr::of(text))
}

fn thought<'a>(text: &'static str) -> Event<'a> {
    Event::Thought(JsonStr::of(text))
}

fn open<'a>(key: u32, custom: bool) -> Event<'a> {
    Event::Open { key, id: format!("c{key}").into(), namespace: None, name: "f".into(), custom }
}

fn args<'a>(key: u32, text: &str) -> Event<'a> {
    Event::Args { key, part: Args::Str(JsonStr::of(text)) }
}

fn signature<'a>() -> Event<'a> {
    Event::Seal(Seal::Signature(JsonStr::plain("S")))
}

fn usage<'a>() -> Event<'a> {
    let (input, output) = (Some(50), Some(10));
    Event::Usage(UsagePart {
        input,
        output,
        cache_read: Some(2400),
        cache_write: Some(120),
        ..UsagePart::default()
    })
}

/// The data of all events that a client is sent.
fn sent(context: Context, events: Vec<Event<'_>>) -> Vec<String> {
    let (mut encoder, mut out) = (ChatEncoder::new(Arc::new(context)), Vec::new());
    events.into_iter().for_each(|event| encoder.event(event, &mut out));
    let out = String::from_utf8(out).unwrap();
    assert!(out.is_empty() || out.ends_with("\n\n"));
    out.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
}

/// The deltas of a stream up to its end, and the finish reason.
fn deltas(events: Vec<Event<'_>>) -> Vec<String> {
    let all = std::iter::once(start()).chain(events).chain([Event::End]).collect();
    let mut seen: Vec<_> = sent(context(), all)
        .iter()
        .map(|data| match data.split_once("\"delta\":") {
            Some((head, rest)) => {
                assert_eq!(head, HEAD);
                let rest = rest.strip_suffix("}]}").unwrap();
                let rest = rest.strip_suffix(",\"logprobs\":null,\"finish_reason\":null").unwrap_or(rest);
                rest.replace(",\"logprobs\":null,\"finish_reason\":", " ")
            }
            None => data.clone(),
        })
        .collect();
    assert_eq!(seen.remove(0), r#"{"role":"assistant","content":""}"#);
    assert_eq!(seen.pop().as_deref(), Some("[DONE]"));
    seen
}

const HEAD: &str = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"vendor/model","choices":[{"index":0,"#;

#[test]
fn every_chunk_has_the_same_head() {
    let seen = deltas(vec![text("a\n\"b\""), text(""), Event::Finish(Finish::Stop)]);
    assert_eq!(seen, [r#"{"content":"a\n\"b\""}"#, r#"{} "stop""#]);
}

#[test]
fn case_119_usage_stands_alone_before_the_end() {
    let context = Context { include_usage: true, ..context() };
    let seen = sent(context, vec![start(), text("a"), usage(), Event::Finish(Finish::Stop), Event::End]);
    assert!(seen[..3].iter().all(|data| data.ends_with(r#","usage":null}"#)), "{seen:?}");
    // 111: cached tokens are part of the prompt.
    assert!(seen[3].contains(
        r#""choices":[],"usage":{"prompt_tokens":2570,"completion_tokens":10,"total_tokens":2580,"#
    ));
    assert_eq!((seen[4].as_str(), seen.len()), ("[DONE]", 5));
    let silent = sent(self::context(), vec![start(), usage(), Event::Finish(Finish::Stop), Event::End]);
    assert!(silent.iter().all(|data| !data.contains("usage")));
}

#[test]
fn times_ids_and_tiers_are_the_providers() {
    let begin = Event::Start { id: Some("resp_a.b".into()), created: Some(1_800_000_000) };
    let seen = sent(context(), vec![begin, Event::Tier("standard".into()), text("a")]);
    assert!(
        seen[0].starts_with(r#"{"id":"chatcmpl-a_b","object":"chat.completion.chunk","created":1800000000,"#)
    );
    assert!(seen[1].contains(r#""model":"vendor/model","service_tier":"default","choices""#), "{seen:?}");
    // A missing beginning is added.
    assert_eq!(sent(context(), vec![text("a")]).len(), 2);
}

#[test]
fn calls_are_opened_once_and_continued_by_their_index() {
    let seen = deltas(vec![
        open(7, false),
        args(7, "{\"a\""),
        open(9, true),
        args(7, ":1}"),
        args(9, "*** x"),
        Event::Finish(Finish::ToolUse),
    ]);
    let expected = [
        r#"{"tool_calls":[{"index":0,"id":"c7","type":"function","function":{"name":"f","arguments":""}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}"#,
        r#"{"tool_calls":[{"index":1,"id":"c9","type":"custom","custom":{"name":"f","input":""}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}"#,
        r#"{"tool_calls":[{"index":1,"custom":{"input":"*** x"}}]}"#,
        r#"{} "tool_calls""#,
    ];
    assert_eq!(seen, expected);
}

#[test]
fn case_93_a_call_without_arguments_has_an_empty_object() {
    let empty = r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#;
    let closed =
        vec![open(0, false), args(0, ""), Event::Close(Some(0)), text("x"), Event::Finish(Finish::ToolUse)];
    let seen = deltas(closed);
    assert_eq!((seen[1].as_str(), seen.len()), (empty, 4));
    let seen = deltas(vec![open(0, false), args(0, " "), Event::Finish(Finish::ToolUse)]);
    assert_eq!((seen[1].as_str(), seen.len()), (empty, 3));
    let object = Event::Args { key: 0, part: Args::Raw(Raw::constant(r#"{"a":1.0}"#)) };
    let seen = deltas(vec![open(0, false), object, Event::Finish(Finish::ToolUse)]);
    assert_eq!(seen[1], r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1.0}"}}]}"#);
}

#[test]
fn case_94_the_providers_own_search_is_not_a_call() {
    let search = Event::Search { id: "s".into(), query: JsonStr::plain("q") };
    let cite = Citation { url: JsonStr::plain("u"), title: JsonStr::plain("t"), span: None };
    let seen = deltas(vec![
        text("é😀"),
        Event::Close(None),
        search,
        text("ab"),
        Event::Cite(cite),
        Event::Close(None),
        text("c"),
        Event::Finish(Finish::Stop),
    ]);
    let expected = [
        r#"{"content":"é😀"}"#,
        r#"{"content":"\n\nab"}"#,
        r#"{"content":"c"}"#,
        r#"{"annotations":[{"index":0,"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":4,"end_index":6}}]}"#,
        r#"{} "stop""#,
    ];
    assert_eq!(seen, expected);
}

#[test]
fn texts_are_paragraphs_where_something_stood_between() {
    let seen = deltas(vec![
        text("a"),
        text("b"),
        Event::Close(None),
        text("c"),
        Event::Close(None),
        Event::Break,
        text("d"),
        thought("t"),
        text("e"),
        Event::Finish(Finish::Length),
    ]);
    let expected = [
        r#"{"content":"a"}"#,
        r#"{"content":"b"}"#,
        r#"{"content":"c"}"#,
        r#"{"content":"\n\nd"}"#,
        r#"{"reasoning_content":"t"}"#,
        r#"{"content":"\n\ne"}"#,
        r#"{} "length""#,
    ];
    assert_eq!(seen, expected);
}

#[test]
fn blank_text_after_a_call_waits_for_more() {
    let seen = deltas(vec![
        open(0, false),
        args(0, "{}"),
        text("\n"),
        open(1, false),
        args(1, "{}"),
        text("\n"),
        text("x"),
    ]);
    assert_eq!(seen[4], r#"{"content":"\nx"}"#);
    assert_eq!(seen.len(), 6);
}

#[test]
fn case_127c_details_come_in_one_chunk_before_the_finish() {
    let seen = deltas(vec![
        thought("T"),
        thought("h"),
        signature(),
        Event::Seal(Seal::Redacted(JsonStr::plain("R"))),
        text("a"),
        thought("U"),
        signature(),
        open(0, false),
        args(0, "{}"),
        Event::Finish(Finish::ToolUse),
    ]);
    let expected = [
        r#"{"reasoning_content":"T"}"#,
        r#"{"reasoning_content":"h"}"#,
        r#"{"content":"a"}"#,
        r#"{"reasoning_content":"\n\nU"}"#,
        r#"{"tool_calls":[{"index":0,"id":"c0","type":"function","function":{"name":"f","arguments":""}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#,
        r#"{"reasoning_details":[{"type":"reasoning.text","text":"Th","signature":"S","format":"anthropic-claude-v1","id":null,"index":0},{"type":"reasoning.encrypted","data":"R","format":"anthropic-claude-v1","id":null,"index":1},{"type":"reasoning.text","text":"U","signature":"S","format":"anthropic-claude-v1","id":null,"index":2}]}"#,
        r#"{} "tool_calls""#,
    ];
    assert_eq!(seen, expected);
}

#[test]
fn encrypted_reasoning_has_a_summary_and_its_id() {
    let seal = |id| Event::Seal(Seal::Encrypted { id, content: JsonStr::plain("E"), summary: None });
    let seen = deltas(vec![
        thought("s"),
        seal(Some(JsonStr::plain("rs_1"))),
        seal(None),
        Event::Finish(Finish::Stop),
    ]);
    assert_eq!(
        seen[1],
        r#"{"reasoning_details":[{"type":"reasoning.summary","summary":"s","index":0},{"type":"reasoning.encrypted","data":"E","id":"rs_1","format":"openai-responses-v1","index":1},{"type":"reasoning.encrypted","data":"E","id":null,"format":"openai-responses-v1","index":2}]}"#
    );
}

#[test]
fn reasoning_is_hidden_from_who_does_not_want_it() {
    let context = Context { show_reasoning: Some(false), ..context() };
    let events =
        || vec![start(), thought("t"), signature(), text("a"), Event::Finish(Finish::Stop), Event::End];
    assert!(sent(context.clone(), events()).iter().all(|data| !data.contains("reasoning")));
    assert!(!whole(&context, events()).contains("reasoning"));
}

#[test]
fn case_125_refusals() {
    let seen = deltas(vec![Event::Finish(Finish::Refusal(Some(JsonStr::plain("why"))))]);
    assert_eq!(seen, [r#"{"refusal":"why"}"#, r#"{} "content_filter""#]);
    let seen = deltas(vec![Event::Finish(Finish::Refusal(None))]);
    assert_eq!(seen[0], r#"{"refusal":"The model declined to answer."}"#);
    let seen = deltas(vec![text("a"), Event::Finish(Finish::Refusal(None))]);
    assert_eq!(seen, [r#"{"content":"a"}"#, r#"{} "content_filter""#]);
    let seen = deltas(vec![Event::Refusal(JsonStr::plain("no")), Event::Finish(Finish::Stop)]);
    assert_eq!(seen, [r#"{"refusal":"no"}"#, r#"{} "stop""#]);
}

#[test]
fn case_102_a_failure_ends_without_the_mark_of_the_end() {
    let (mut encoder, mut out) = (ChatEncoder::new(Arc::new(context())), Vec::new());
    encoder.event(start(), &mut out);
    encoder.event(text("a"), &mut out);
    let before = out.len();
    encoder.fail(&Failure::new(Kind::Unavailable, "busy"), &mut out);
    let frame = String::from_utf8(out.split_off(before)).unwrap();
    assert_eq!(
        frame,
        "data: {\"error\":{\"message\":\"busy\",\"type\":\"api_error\",\"param\":null,\"code\":\"model_unavailable\"}}\n\n"
    );
}

#[test]
fn probabilities_stand_on_the_choice() {
    let list = Event::Logprobs(Raw::constant(r#"[{"token":"a"}]"#));
    let seen = sent(context(), vec![start(), text("a"), list]);
    assert!(seen[2].contains(
        r#""delta":{},"logprobs":{"content":[{"token":"a"}],"refusal":null},"finish_reason":null"#
    ));
}

fn whole(context: &Context, events: Vec<Event<'_>>) -> String {
    let mut answer = Answer::default();
    events.into_iter().for_each(|event| answer.take(event).unwrap());
    String::from_utf8(reply::write(&answer, context).to_vec()).unwrap()
}

/// The choice in a whole answer.
fn choice(events: Vec<Event<'_>>) -> String {
    let all = std::iter::once(start()).chain(events).chain([Event::End]).collect();
    let body = whole(&context(), all);
    let (head, rest) = body.split_once(r#","choices":["#).unwrap();
    assert_eq!(
        head,
        r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"vendor/model""#
    );
    rest.strip_suffix("]}").unwrap().to_owned()
}

#[test]
fn a_whole_answer_says_what_its_stream_says() {
    let cite = Citation { url: JsonStr::plain("u"), title: JsonStr::plain("t"), span: Some((0, 1)) };
    let seen = choice(vec![
        thought("T"),
        signature(),
        text("a"),
        Event::Cite(cite),
        Event::Close(None),
        open(0, false),
        args(0, "{\"b\":1.0}"),
        open(1, false),
        open(2, true),
        args(2, "x"),
        text("c"),
        Event::Finish(Finish::ToolUse),
    ]);
    let expected = r#"{"index":0,"message":{"role":"assistant","content":"a\n\nc","refusal":null,"reasoning_content":"T","reasoning_details":[{"type":"reasoning.text","text":"T","signature":"S","format":"anthropic-claude-v1","id":null,"index":0}],"annotations":[{"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":0,"end_index":1}}],"tool_calls":[{"id":"c0","type":"function","function":{"name":"f","arguments":"{\"b\":1.0}"}},{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"c2","type":"custom","custom":{"name":"f","input":"x"}}]},"logprobs":null,"finish_reason":"tool_calls"}"#;
    assert_eq!(seen, expected);
}

#[test]
fn content_is_null_only_beside_calls_and_refusals() {
    let message = |events| choice(events).split_once(r#"},"logprobs""#).unwrap().0.to_owned();
    let empty = r#"{"index":0,"message":{"role":"assistant","content":"","refusal":null"#;
    assert_eq!(message(vec![Event::Finish(Finish::Stop)]), empty);
    let calls = message(vec![open(0, false), Event::Finish(Finish::ToolUse)]);
    assert!(calls.contains(r#""content":null,"refusal":null,"tool_calls""#));
    let refused = message(vec![Event::Finish(Finish::Refusal(None))]);
    assert!(refused.ends_with(r#""content":null,"refusal":"The model declined to answer.""#));
    let refused = message(vec![Event::Refusal(JsonStr::plain("no")), Event::Finish(Finish::Stop)]);
    assert!(refused.ends_with(r#""content":null,"refusal":"no""#));
    let partly = message(vec![text("a"), Event::Finish(Finish::Refusal(Some(JsonStr::plain("why"))))]);
    assert!(partly.ends_with(r#""content":"a","refusal":"why""#));
}

#[test]
fn usage_and_probabilities_of_a_whole_answer() {
    let list = || Event::Logprobs(Raw::constant(r#"[{"token":"a"}]"#));
    let body = whole(
        &context(),
        vec![start(), text("a"), list(), list(), usage(), Event::Tier("priority".into()), Event::End],
    );
    assert!(body.contains(
        r#""logprobs":{"content":[{"token":"a"},{"token":"a"}],"refusal":null},"finish_reason":"stop""#
    ));
    assert!(body.contains(r#""service_tier":"priority""#) && body.contains(r#""prompt_tokens":2570"#));
    assert!(!whole(&context(), vec![start(), Event::End]).contains("usage"));
}

#[test]
fn state_of_a_call_stands_on_it() {
    let state = || {
        let extra = Raw::constant(r#"{"google":{"thought_signature":"X"}}"#);
        Event::Seal(Seal::Call { key: 0, id: JsonStr::plain("c0"), extra })
    };
    let expected = r#"{"id":"c0","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"X"}}}"#;
    let seen = choice(vec![state(), open(0, false), args(0, "{}"), Event::Finish(Finish::ToolUse)]);
    assert!(seen.contains(expected), "{seen}");
    let seen = deltas(vec![state(), open(0, false), args(0, "{}"), Event::Finish(Finish::ToolUse)]);
    assert!(seen[0].contains(r#""arguments":""},"extra_content":{"google":"#), "{seen:?}");
}
