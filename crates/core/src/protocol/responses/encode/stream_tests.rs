//! Streams and whole answers for clients.

#![expect(clippy::string_slice, reason = "a test may panic")]

use std::sync::Arc;

use crate::canon::{
    Answer, Args, Carrier, Citation, Context, Encode as _, Event, Finish, Seal, SealKey, Sealer, UsagePart,
};
use crate::failure::{Failure, Kind};
use crate::json::{JsonStr, Raw};

use super::super::reply;
use super::ResponsesEncoder;

fn context() -> Context {
    Context {
        request_id: "req_cm_1".into(),
        now: 1_741_476_542,
        model: JsonStr::plain("a/b"),
        origin: "claude".into(),
        upstream_model: "claude-x".into(),
        sealer: Sealer::new(&SealKey::new([7; 32]), "account"),
        echo: "\"store\":false".into(),
        ..Context::default()
    }
}

fn start() -> Event<'static> {
    Event::Start { id: Some("chatcmpl-X".into()), created: None }
}

fn text(text: &str) -> Event<'static> {
    Event::Text(JsonStr::of(text))
}

fn open(key: u32, id: &'static str, name: &'static str) -> Event<'static> {
    Event::Open { key, id: id.into(), namespace: None, name: name.into(), custom: false }
}

fn args(key: u32, json: &str) -> Event<'static> {
    Event::Args { key, part: Args::Str(JsonStr::of(json)) }
}

/// The whole stream of an answer.
fn sent(context: &Context, events: &[Event<'static>]) -> String {
    let mut encoder = ResponsesEncoder::new(Arc::new(context.clone()));
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event.clone(), &mut out));
    String::from_utf8(out).unwrap()
}

/// The data of its events, without what is the same in all of them. Checks names, numbers, and that the body
/// of an answer that is no stream says the same as the last event.
fn stream(context: &Context, events: &[Event<'static>]) -> Vec<String> {
    let sent = sent(context, events);
    let mut all = Vec::new();
    for (number, event) in sent.split_terminator("\n\n").enumerate() {
        let (name, data) = event.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap();
        let head = format!("data: {{\"type\":\"{name}\",\"sequence_number\":{number},");
        let rest = data.strip_prefix(head.as_str()).unwrap_or_else(|| panic!("{data}"));
        assert!(!rest.contains(['\n', '\r']));
        all.push(format!("{} {{{rest}", name.strip_prefix("response.").unwrap()));
    }
    let mut answer = Answer::default();
    events.iter().for_each(|event| answer.take(event.clone()).unwrap());
    let body = reply::write(&answer, context);
    let last = all.last().unwrap().split_once(' ').unwrap().1;
    assert_eq!(format!("{{\"response\":{}}}", String::from_utf8_lossy(&body)), last);
    all
}

/// The events without those that frame the stream.
fn items(context: &Context, events: &[Event<'static>]) -> Vec<String> {
    let mut all = stream(context, events);
    all.pop();
    all.drain(..2);
    all
}

/// The output of the last event.
fn output(context: &Context, events: &[Event<'static>]) -> String {
    let last = stream(context, events).pop().unwrap();
    let rest = last.split_once(r#""output":["#).unwrap().1;
    rest.split_once(r#"],"service_tier""#).unwrap().0.to_owned()
}

fn names(all: &[String]) -> Vec<&str> {
    all.iter().map(|event| event.split_once(' ').unwrap().0).collect()
}

#[test]
fn a_text_with_the_whole_ladder() {
    let usage = UsagePart { input: Some(3), output: Some(2), ..UsagePart::default() };
    let events =
        [start(), text("Hel"), text("lo"), Event::Usage(usage), Event::Finish(Finish::Stop), Event::End];
    let frame = |status: &str, completed: &str, output: &str, usage: &str| {
        format!(
            r#"{{"response":{{"id":"resp_X","object":"response","created_at":1741476542,"status":"{status}","completed_at":{completed},"error":null,"incomplete_details":null,"model":"a/b","output":[{output}],"service_tier":"default","store":false,"usage":{usage}}}}}"#
        )
    };
    let done = r#"{"id":"msg_X_0","type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}],"status":"completed"}"#;
    let counted = r#"{"input_tokens":3,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":5}"#;
    let expected = [
        format!("created {}", frame("in_progress", "null", "", "null")),
        format!("in_progress {}", frame("in_progress", "null", "", "null")),
        r#"output_item.added {"output_index":0,"item":{"id":"msg_X_0","type":"message","role":"assistant","status":"in_progress","content":[]}}"#.into(),
        r#"content_part.added {"item_id":"msg_X_0","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}"#.into(),
        r#"output_text.delta {"item_id":"msg_X_0","output_index":0,"content_index":0,"delta":"Hel","logprobs":[]}"#.into(),
        r#"output_text.delta {"item_id":"msg_X_0","output_index":0,"content_index":0,"delta":"lo","logprobs":[]}"#.into(),
        r#"output_text.done {"item_id":"msg_X_0","output_index":0,"content_index":0,"text":"Hello","logprobs":[]}"#.into(),
        r#"content_part.done {"item_id":"msg_X_0","output_index":0,"content_index":0,"part":{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}}"#.into(),
        format!(r#"output_item.done {{"output_index":0,"item":{done}}}"#),
        format!("completed {}", frame("completed", "1741476542", done, counted)),
    ];
    assert_eq!(stream(&context(), &events), expected);
}

#[test]
fn reasoning_text_and_a_call_follow_each_other() {
    // Golden case 107.
    let context = Context { show_reasoning: Some(true), ..context() };
    let events = [
        start(),
        Event::Thought(JsonStr::plain("h")),
        Event::Thought(JsonStr::plain("m")),
        text("I look."),
        open(0, "c1", "f"),
        args(0, "{\"a\":"),
        args(0, "1}"),
        Event::Finish(Finish::ToolUse),
        Event::End,
    ];
    let expected = [
        r#"output_item.added {"output_index":0,"item":{"id":"rs_X_0","type":"reasoning","summary":[]}}"#,
        r#"reasoning_summary_part.added {"item_id":"rs_X_0","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}"#,
        r#"reasoning_summary_text.delta {"item_id":"rs_X_0","output_index":0,"summary_index":0,"delta":"h"}"#,
        r#"reasoning_summary_text.delta {"item_id":"rs_X_0","output_index":0,"summary_index":0,"delta":"m"}"#,
        r#"reasoning_summary_text.done {"item_id":"rs_X_0","output_index":0,"summary_index":0,"text":"hm"}"#,
        r#"reasoning_summary_part.done {"item_id":"rs_X_0","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"hm"}}"#,
        r#"output_item.done {"output_index":0,"item":{"id":"rs_X_0","type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]}}"#,
        r#"output_item.added {"output_index":1,"item":{"id":"msg_X_1","type":"message","role":"assistant","status":"in_progress","content":[]}}"#,
        r#"content_part.added {"item_id":"msg_X_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}"#,
        r#"output_text.delta {"item_id":"msg_X_1","output_index":1,"content_index":0,"delta":"I look.","logprobs":[]}"#,
        r#"output_text.done {"item_id":"msg_X_1","output_index":1,"content_index":0,"text":"I look.","logprobs":[]}"#,
        r#"content_part.done {"item_id":"msg_X_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"I look.","annotations":[],"logprobs":[]}}"#,
        r#"output_item.done {"output_index":1,"item":{"id":"msg_X_1","type":"message","role":"assistant","content":[{"type":"output_text","text":"I look.","annotations":[],"logprobs":[]}],"status":"completed"}}"#,
        r#"output_item.added {"output_index":2,"item":{"id":"fc_X_2","type":"function_call","call_id":"c1","name":"f","status":"in_progress","arguments":""}}"#,
        r#"function_call_arguments.delta {"item_id":"fc_X_2","output_index":2,"delta":"{\"a\":"}"#,
        r#"function_call_arguments.delta {"item_id":"fc_X_2","output_index":2,"delta":"1}"}"#,
        r#"function_call_arguments.done {"item_id":"fc_X_2","output_index":2,"name":"f","arguments":"{\"a\":1}"}"#,
        r#"output_item.done {"output_index":2,"item":{"id":"fc_X_2","type":"function_call","call_id":"c1","name":"f","arguments":"{\"a\":1}","status":"completed"}}"#,
    ];
    assert_eq!(items(&context, &events), expected);
}

#[test]
fn an_empty_answer_is_one_empty_message() {
    // Golden cases 98 and 108.
    let all = stream(&context(), &[start(), Event::Finish(Finish::Stop), Event::End]);
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names(&all), expected);
    assert!(
        all[7].contains(r#""content":[{"type":"output_text","text":"","annotations":[],"logprobs":[]}]"#)
    );
    assert!(all[7].contains(r#""usage":null"#));
}

#[test]
fn a_limit_cuts_the_last_item() {
    // Golden case 117. Providers that say where a block ends say so of one that was cut, too.
    for closed in [false, true] {
        let mut events = vec![start(), text("a"), open(0, "c", "f"), args(0, "{\"x\":")];
        events.extend(closed.then_some(Event::Close(Some(0))));
        events.extend([Event::Finish(Finish::Length), Event::End]);
        let all = stream(&context(), &events);
        let last = all.last().unwrap();
        assert!(
            last.starts_with("incomplete ") && last.contains(r#""status":"incomplete","completed_at":null"#)
        );
        assert!(last.contains(r#""incomplete_details":{"reason":"max_output_tokens"}"#));
        assert!(
            last.contains(r#""arguments":"{\"x\":","status":"incomplete"}"#)
                && last.contains(r#"],"status":"completed"}"#)
        );
    }
    let all = output(
        &context(),
        &[start(), text("a"), Event::Close(None), Event::Finish(Finish::ContextWindow), Event::End],
    );
    assert!(all.ends_with(r#""status":"incomplete"}"#));
    let thought = output(
        &context(),
        &[start(), Event::Thought(JsonStr::plain("t")), Event::Finish(Finish::Length), Event::End],
    );
    assert_eq!(thought, r#"{"id":"rs_X_0","type":"reasoning","summary":[],"status":"incomplete"}"#);
    let pause =
        stream(&context(), &[start(), text("a"), Event::Finish(Finish::Pause), Event::End]).pop().unwrap();
    assert!(pause.starts_with("incomplete ") && pause.contains("max_output_tokens"));
}

#[test]
fn adjacent_texts_are_parts_of_one_message_with_their_sources() {
    // Golden case 126.
    let cite =
        |span| Event::Cite(Citation { url: JsonStr::plain("https://x"), title: JsonStr::plain("T"), span });
    let events = [
        start(),
        text("One. "),
        Event::Close(None),
        cite(None),
        text("é😀"),
        Event::Close(None),
        text("three"),
        cite(Some((1, 3))),
        Event::Finish(Finish::Stop),
        Event::End,
    ];
    let all = items(&context(), &events);
    assert_eq!(names(&all).iter().filter(|name| **name == "output_item.added").count(), 1);
    let note = |index: u64, start: u64, end: u64| {
        format!(
            r#"output_text.annotation.added {{"item_id":"msg_X_0","output_index":0,"content_index":{index},"annotation_index":0,"annotation":{{"type":"url_citation","url":"https://x","title":"T","start_index":{start},"end_index":{end}}}}}"#
        )
    };
    let notes: Vec<_> = all.iter().filter(|event| event.starts_with("output_text.annotation")).collect();
    assert_eq!(notes, [&note(1, 0, 2), &note(2, 1, 3)]);
    let place = all.iter().position(|event| *event == note(2, 1, 3)).unwrap();
    assert!(
        all[place + 1].starts_with("output_text.done") && all[place - 1].starts_with("output_text.delta")
    );
    let expected = r#""content":[{"type":"output_text","text":"One. ","annotations":[],"logprobs":[]},{"type":"output_text","text":"é😀","annotations":[{"type":"url_citation","url":"https://x","title":"T","start_index":0,"end_index":2}],"logprobs":[]},"#;
    assert!(output(&context(), &events).contains(expected));
}

#[test]
fn a_paragraph_is_a_message_of_its_own() {
    let events = [
        start(),
        text("a"),
        Event::Close(None),
        Event::Break,
        text("b"),
        Event::Finish(Finish::Stop),
        Event::End,
    ];
    let all = output(&context(), &events);
    assert!(all.contains("msg_X_0") && all.contains("msg_X_1"));
}

#[test]
fn custom_tools_and_namespaces() {
    // Golden cases 37 and 39, as far as the encoder is concerned.
    let (id, name) = ("c".into(), "apply_patch".into());
    let events = [
        start(),
        Event::Open { key: 0, id, namespace: None, name, custom: true },
        Event::Args { key: 0, part: Args::Str(JsonStr::of("*** Begin\n")) },
        Event::Close(Some(0)),
        Event::Open {
            key: 1,
            id: "d".into(),
            namespace: Some("crm".into()),
            name: "find".into(),
            custom: false,
        },
        Event::Finish(Finish::ToolUse),
        Event::End,
    ];
    let expected = [
        r#"output_item.added {"output_index":0,"item":{"id":"ctc_X_0","type":"custom_tool_call","call_id":"c","name":"apply_patch","status":"in_progress","input":""}}"#,
        r#"custom_tool_call_input.delta {"item_id":"ctc_X_0","output_index":0,"delta":"*** Begin\n"}"#,
        r#"custom_tool_call_input.done {"item_id":"ctc_X_0","output_index":0,"input":"*** Begin\n"}"#,
        r#"output_item.done {"output_index":0,"item":{"id":"ctc_X_0","type":"custom_tool_call","call_id":"c","name":"apply_patch","input":"*** Begin\n","status":"completed"}}"#,
        r#"output_item.added {"output_index":1,"item":{"id":"fc_X_1","type":"function_call","call_id":"d","name":"find","namespace":"crm","status":"in_progress","arguments":""}}"#,
        r#"function_call_arguments.delta {"item_id":"fc_X_1","output_index":1,"delta":"{}"}"#,
        r#"function_call_arguments.done {"item_id":"fc_X_1","output_index":1,"name":"find","arguments":"{}"}"#,
        r#"output_item.done {"output_index":1,"item":{"id":"fc_X_1","type":"function_call","call_id":"d","name":"find","namespace":"crm","arguments":"{}","status":"completed"}}"#,
    ];
    assert_eq!(items(&context(), &events), expected);
}

#[test]
fn names_and_ids_that_are_repeated_are_said_once() {
    // Golden case 88, as far as the encoder is concerned: the decoder opens a call once.
    let events = [
        start(),
        open(0, "c", "get_weather"),
        args(0, "{"),
        args(0, "}"),
        Event::Finish(Finish::ToolUse),
        Event::End,
    ];
    let all = items(&context(), &events);
    assert_eq!(names(&all).iter().filter(|name| **name == "output_item.added").count(), 1);
    assert!(all.iter().all(|event| !event.contains("get_weatherget_weather")));
}

/// The carriers of an output, decoded.
fn carriers(output: &str) -> Vec<Carrier> {
    let ends = output.split(r#""encrypted_content":""#).skip(1);
    let sealer = context().sealer;
    let open = |text: &str| Carrier::open(text, &sealer, "claude", "claude-x").unwrap();
    ends.map(|rest| open(rest.split('"').next().unwrap())).collect()
}

#[test]
fn signatures_travel_in_carriers_and_are_shown_only_on_demand() {
    // Golden case 75, on its way out.
    let signed = |text: &'static str, signature: &'static str| {
        [Event::Thought(JsonStr::plain(text)), Event::Seal(Seal::Signature(JsonStr::plain(signature)))]
    };
    let mut events = vec![start()];
    events.extend(signed("T1", "S1"));
    events.push(Event::Seal(Seal::Redacted(JsonStr::plain("R"))));
    events.extend([open(0, "c", "f"), args(0, "{\"a\":1}"), Event::Close(Some(0))]);
    events.extend(signed("T2", "S2"));
    events.extend([Event::Finish(Finish::ToolUse), Event::End]);
    let hidden = output(&context(), &events);
    let blocks = |output: &str| {
        let one = |carrier: &Carrier| {
            carrier.blocks.iter().map(|block| block.get().to_owned()).collect::<Vec<_>>().join(",")
        };
        carriers(output).iter().map(one).collect::<Vec<_>>()
    };
    let expected = [
        r#"{"type":"thinking","thinking":"T1","signature":"S1"}"#,
        r#"{"type":"redacted_thinking","data":"R"}"#,
        r#"{"type":"thinking","thinking":"T2","signature":"S2"}"#,
    ];
    assert_eq!(blocks(&hidden), expected);
    assert!(!hidden.contains("summary_text"));
    let kinds: Vec<_> =
        hidden.split(r#","type":""#).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "reasoning", "function_call", "reasoning"]);
    let shown = output(&Context { show_reasoning: Some(true), ..context() }, &events);
    assert_eq!(blocks(&shown), expected);
    assert!(shown.contains(r#""summary":[{"type":"summary_text","text":"T1"}],"encrypted_content":"cm2."#));
    assert!(shown.contains(r#""id":"rs_X_1","type":"reasoning","summary":[],"encrypted_content":"#));
}

#[test]
fn plain_reasoning_is_carried_where_its_provider_wants_it_back() {
    let events =
        [start(), Event::Thought(JsonStr::plain("t")), text("x"), Event::Finish(Finish::Stop), Event::End];
    let shown = Context { show_reasoning: Some(true), ..context() };
    assert!(carriers(&output(&shown, &events)).is_empty());
    let wanted = Context { returns_reasoning: true, ..shown };
    assert_eq!(carriers(&output(&wanted, &events))[0].blocks[0].get(), r#"{"reasoning_content":"t"}"#);
    // State that is bound to a call stands in front of it.
    let extra = Raw::constant(r#"{"google":{"thought_signature":"s"}}"#);
    let seal = Event::Seal(Seal::Call { key: 0, id: JsonStr::plain("c"), extra });
    let events = [start(), seal, open(0, "c", "f"), Event::Finish(Finish::ToolUse), Event::End];
    let all = output(&wanted, &events);
    let block = carriers(&all)[0].blocks[0].get().to_owned();
    assert_eq!(block, r#"{"tc":{"c":{"google":{"thought_signature":"s"}}}}"#);
    assert!(all.find("rs_X_0").unwrap() < all.find("fc_X_1").unwrap());
}

#[test]
fn a_search_of_the_provider_is_shown_as_one() {
    let search = Event::Search { id: "srvtoolu_1".into(), query: JsonStr::plain("rust") };
    let events = [start(), search, text("x"), Event::Finish(Finish::Stop), Event::End];
    let all = items(&context(), &events);
    let item = |status: &str| {
        format!(
            r#"{{"output_index":0,"item":{{"id":"ws_X_0","type":"web_search_call","status":"{status}","action":{{"type":"search","query":"rust"}}}}}}"#
        )
    };
    let expected = [
        format!("output_item.added {}", item("in_progress")),
        format!("output_item.done {}", item("completed")),
    ];
    assert_eq!(all[..2], expected);
}

#[test]
fn refusals_are_the_last_part() {
    let said =
        [start(), text("a"), Event::Refusal(JsonStr::plain("no")), Event::Finish(Finish::Stop), Event::End];
    let all = items(&context(), &said);
    let refusal: Vec<_> = all.iter().filter(|event| event.contains(r#""content_index":1"#)).collect();
    let expected = [
        r#"content_part.added {"item_id":"msg_X_0","output_index":0,"content_index":1,"part":{"type":"refusal","refusal":""}}"#,
        r#"refusal.delta {"item_id":"msg_X_0","output_index":0,"content_index":1,"delta":"no"}"#,
        r#"refusal.done {"item_id":"msg_X_0","output_index":0,"content_index":1,"refusal":"no"}"#,
        r#"content_part.done {"item_id":"msg_X_0","output_index":0,"content_index":1,"part":{"type":"refusal","refusal":"no"}}"#,
    ];
    assert_eq!(refusal, expected);
    let end = |events: Vec<Event<'static>>| stream(&context(), &events).pop().unwrap();
    let why = Finish::Refusal(Some(JsonStr::plain("because")));
    let all = end(vec![start(), text("a"), Event::Finish(why), Event::End]);
    assert!(
        all.starts_with("incomplete ") && all.contains(r#""incomplete_details":{"reason":"content_filter"}"#)
    );
    assert!(all.contains(r#"},{"type":"refusal","refusal":"because"}]"#));
    let silent = end(vec![start(), Event::Finish(Finish::Refusal(None)), Event::End]);
    assert!(silent.contains(r#""content":[{"type":"refusal","refusal":"The model declined to answer."}]"#));
    let cut = end(vec![start(), text("a"), Event::Finish(Finish::Refusal(None)), Event::End]);
    assert!(!cut.contains("refusal"));
}

#[test]
fn probabilities_are_told_on_one_line() {
    let list = |json: &'static str| Event::Logprobs(Raw::read(json).unwrap());
    let events = [
        start(),
        text("a"),
        list("[{\"token\":\n\"a\"}]"),
        list("[]"),
        text("b"),
        list("[ {\"token\":\"b\"} ]"),
        Event::Finish(Finish::Stop),
        Event::End,
    ];
    let all = items(&context(), &events);
    let both = r#""logprobs":[{"token":"a"},{"token":"b"}]}"#;
    assert!(all.iter().any(|event| event.starts_with("output_text.done") && event.ends_with(both)));
    assert!(output(&context(), &events).contains(both));
}

#[test]
fn usage_and_tier_stand_in_the_last_event() {
    // Golden case 111, and the names of tiers.
    for (tier, shown) in
        [("standard", "default"), ("batch", "default"), ("priority", "priority"), ("flex", "flex")]
    {
        let usage = UsagePart {
            input: Some(50),
            cache_read: Some(2400),
            cache_write: Some(120),
            output: Some(10),
            reasoning: Some(4),
            ..UsagePart::default()
        };
        let events = [
            start(),
            text("a"),
            Event::Tier(tier.into()),
            Event::Usage(usage),
            Event::Finish(Finish::Stop),
            Event::End,
        ];
        let last = stream(&context(), &events).pop().unwrap();
        assert!(last.contains(&format!(r#""service_tier":"{shown}""#)));
        assert!(last.contains(r#""input_tokens":2570"#) && last.contains(r#""total_tokens":2580"#));
    }
}

#[test]
fn a_failure_keeps_what_was_said() {
    // Golden case 100: a cut-off answer is no success.
    let fail = |events: &[Event<'static>], failure: &Failure| {
        let mut encoder = ResponsesEncoder::new(Arc::new(context()));
        let mut out = Vec::new();
        events.iter().for_each(|event| encoder.event(event.clone(), &mut out));
        out.clear();
        encoder.fail(failure, &mut out);
        encoder.event(Event::End, &mut out);
        String::from_utf8(out).unwrap()
    };
    let cut = fail(&[start(), text("par"), text("tial")], &Failure::truncated());
    let expected = concat!(
        "event: response.failed\n",
        r#"data: {"type":"response.failed","sequence_number":6,"response":{"id":"resp_X","object":"response","#,
        r#""created_at":1741476542,"status":"failed","completed_at":null,"#,
        r#""error":{"code":"server_error","message":"upstream stream ended before completion"},"incomplete_details":null,"#,
        r#""model":"a/b","output":[{"id":"msg_X_0","type":"message","role":"assistant","content":[{"type":"output_text","#,
        r#""text":"partial","annotations":[],"logprobs":[]}],"status":"incomplete"}],"service_tier":"default","store":false,"#,
        "\"usage\":null}}\n\n",
    );
    assert_eq!(cut, expected);
    let shown = [start(), Event::Thought(JsonStr::plain("t"))];
    assert!(fail(&shown, &Failure::truncated()).contains(r#""summary":[],"status":"incomplete"}"#));
    for (kind, code) in [
        (Kind::RateLimited, "rate_limit_exceeded"),
        (Kind::ContextLength, "context_length_exceeded"),
        (Kind::ContentPolicy, "invalid_prompt"),
        (Kind::Unavailable, "server_error"),
    ] {
        let failed = fail(&[start(), text("a")], &Failure::new(kind, "m"));
        assert!(failed.contains(&format!(r#""error":{{"code":"{code}","message":"m"}}"#)));
    }
    let early = fail(&[], &Failure::truncated());
    assert!(early.starts_with("event: response.created\n") && early.contains("event: response.failed\n"));
}

#[test]
fn answers_without_an_id_get_one_that_stays() {
    let all = stream(&context(), &[Event::Start { id: None, created: Some(7) }, text("a"), Event::End]);
    let id = |event: &String| event.split(r#""id":"resp_"#).nth(1).unwrap()[..24].to_owned();
    let ids: Vec<_> = [0, 1, all.len() - 1].map(|index| id(&all[index])).to_vec();
    assert!(ids.iter().all(|other| *other == ids[0] && other.chars().all(|c| c.is_ascii_alphanumeric())));
    assert!(all[0].contains(r#""created_at":7,"#));
}
