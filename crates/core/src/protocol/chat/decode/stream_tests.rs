//! Decoding of answers, as the reference describes it. Numbers are those of its golden cases.

use crate::canon::{Args, Decode as _, Event, Profile, ReasoningIn, Seal, Usage};
use crate::json::work;

use super::ChatDecoder;

/// Shows the events of an answer, one word each.
fn show(event: &Event<'_>) -> String {
    match event {
        Event::Start { id, created } => {
            format!("start:{}:{}", id.as_deref().unwrap_or("-"), created.unwrap_or(0))
        }
        Event::Tier(tier) => format!("tier:{tier}"),
        Event::Anomaly(anomaly) => format!("odd:{}", anomaly.as_str()),
        Event::Text(text) => format!("text:{}", text.decode()),
        Event::Logprobs(raw) => format!("logprobs:{}", raw.get()),
        Event::Refusal(text) => format!("refusal:{}", text.decode()),
        Event::Thought(text) => format!("thought:{}", text.decode()),
        Event::Seal(Seal::Plain) => "plain".to_owned(),
        Event::Seal(Seal::Details(raw)) => format!("details:{}", raw.get()),
        Event::Seal(Seal::Call { id, extra, .. }) => format!("state:{}:{}", id.decode(), extra.get()),
        Event::Seal(_) => "seal".to_owned(),
        Event::Cite(cite) => format!("cite:{}:{:?}", cite.url.decode(), cite.span),
        Event::Open { key, id, name, custom, .. } => {
            format!("open:{key}:{id}:{name}{}", if *custom { "*" } else { "" })
        }
        Event::Args { key, part: Args::Str(text) } => format!("args:{key}:{}", text.decode()),
        Event::Args { key, part: Args::Raw(raw) } => format!("object:{key}:{}", raw.get()),
        Event::Usage(part) => {
            let usage = Usage::from(part.clone());
            format!("usage:{}+{}:{}", usage.input, usage.cache_read, usage.output)
        }
        Event::Finish(finish) => format!("{finish:?}"),
        Event::Fail(error) => {
            format!("fail:{}:{}", error.message, error.code.as_deref().unwrap_or("-"))
        }
        Event::End => "end".to_owned(),
        Event::Image(url) => format!("image:{}", url.decode()),
        Event::Moderation(verdict) => format!("moderation:{}", verdict.get()),
        Event::Close(_) | Event::Break | Event::Search { .. } | Event::Compacting | Event::Summary(_) => {
            "other".to_owned()
        }
    }
}

fn stream_of(profile: &Profile, events: &[&str]) -> Vec<String> {
    let (mut decoder, mut seen) = (ChatDecoder::new(profile), Vec::new());
    for data in events {
        decoder.event(None, data, &mut |event| seen.push(show(&event))).unwrap();
    }
    decoder.end(&mut |event| seen.push(show(&event)));
    seen
}

/// A stream of deltas and its end, without the events that have no content.
fn deltas(profile: &Profile, deltas: &[&str], finish: &str) -> Vec<String> {
    let mut events: Vec<String> = deltas
        .iter()
        .map(|delta| {
            format!(r#"{{"id":"i","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#)
        })
        .collect();
    events.push(format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{finish}"}}]}}"#));
    events.push("[DONE]".to_owned());
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let mut seen = stream_of(profile, &events);
    assert_eq!(seen.remove(0), "start:i:0");
    assert_eq!(seen.pop().as_deref(), Some("end"));
    seen
}

fn plain(list: &[&str], finish: &str) -> Vec<String> {
    deltas(&Profile::default(), list, finish)
}

#[test]
fn case_84_usage_follows_the_finish() {
    let seen = stream_of(
        &Profile::default(),
        &[
            r#"{"id":"chatcmpl-1","created":1700000000,"service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"Hel"}}]}"#,
            r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"lo"}},{"index":1,"delta":{"content":"other"}}]}"#,
            r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#,
            "[DONE]",
            r#"{"choices":[{"delta":{"content":"ignored"}}]}"#,
        ],
    );
    let expected =
        ["start:chatcmpl-1:1700000000", "tier:default", "text:Hel", "text:lo", "usage:7+0:2", "Stop", "end"];
    assert_eq!(seen, expected);
}

fn call(index: &str, id: &str, name: &str, arguments: &str) -> String {
    let index = if index.is_empty() { String::new() } else { format!("\"index\":{index},") };
    let id = if id.is_empty() { String::new() } else { format!("\"id\":\"{id}\",") };
    let name = if name.is_empty() { String::new() } else { format!("\"name\":\"{name}\",") };
    format!(r#"{{{index}{id}"function":{{{name}"arguments":{arguments}}}}}"#)
}

fn calls(list: &[String]) -> String {
    format!(r#"{{"tool_calls":[{}]}}"#, list.join(","))
}

fn calls_of(list: &[String]) -> Vec<String> {
    let list: Vec<_> = list.iter().map(|one| calls(std::slice::from_ref(one))).collect();
    plain(&list.iter().map(String::as_str).collect::<Vec<_>>(), "tool_calls")
}

#[test]
fn case_85_fragments_of_parallel_calls_keep_their_keys() {
    let seen = calls_of(&[
        call("0", "a", "f", r#""{\"x\"""#),
        call("1", "b", "g", r#""{\"y\"""#),
        call("0", "", "", r#"":1}""#),
        call("1", "", "", r#"":2}""#),
    ]);
    let expected =
        ["open:0:a:f", "args:0:{\"x\"", "open:1:b:g", "args:1:{\"y\"", "args:0::1}", "args:1::2}", "ToolUse"];
    assert_eq!(seen, expected);
}

#[test]
fn cases_86_and_87_one_index_for_all_calls_or_none() {
    let expected = ["open:0:a:f", "args:0:{}", "open:1:b:g", "args:1:{}", "ToolUse"];
    let both = [call("0", "a", "f", r#""{}""#), call("0", "b", "g", r#""{}""#)];
    assert_eq!(plain(&[&calls(&both)], "tool_calls"), expected);
    let both = [call("", "a", "f", r#""{}""#), call("", "b", "g", r#""{}""#)];
    assert_eq!(calls_of(&both), expected);
    // Neither index nor id: a further name begins a further call.
    let both = [call("", "", "f", r#""{}""#), call("", "", "g", r#""{}""#)];
    assert_eq!(calls_of(&both), ["open:0::f", "args:0:{}", "open:1::g", "args:1:{}", "ToolUse"]);
    let pieces = [call("", "", "f", r#""{""#), call("", "", "", r#""}""#)];
    assert_eq!(calls_of(&pieces), ["open:0::f", "args:0:{", "args:0:}", "ToolUse"]);
}

#[test]
fn case_88_and_99c_repeated_names_and_fresh_ids() {
    let seen = calls_of(&[call("0", "a", "get", r#""{""#), call("0", "a", "get", r#""}""#)]);
    assert_eq!(seen, ["open:0:a:get", "args:0:{", "args:0:}", "ToolUse"]);
    let seen = calls_of(&[call("0", "a", "get", r#""{""#), call("0", "b", "", r#""}""#)]);
    assert_eq!(seen, ["open:0:a:get", "args:0:{", "args:0:}", "ToolUse"]);
    // A new index with a known id is the same call.
    let seen = calls_of(&[call("0", "a", "get", r#""{""#), call("5", "a", "", r#""}""#)]);
    assert_eq!(seen, ["open:0:a:get", "args:0:{", "args:0:}", "ToolUse"]);
}

#[test]
fn names_may_come_late_and_arguments_as_objects() {
    let seen = calls_of(&[call("0", "a", "", r#""{\"x""#), call("0", "", "f", r#""\":1}""#)]);
    assert_eq!(seen, ["open:0:a:f", "args:0:{\"x", "args:0:\":1}", "ToolUse"]);
    let seen = calls_of(&[call("0", "a", "f", r#"{ "b" : 1.0, "a" : "x y" }"#), call("0", "", "", "null")]);
    assert_eq!(seen, ["open:0:a:f", "object:0:{\"b\":1.0,\"a\":\"x y\"}", "ToolUse"]);
    let custom =
        r#"{"tool_calls":[{"index":0,"id":"a","type":"custom","custom":{"name":"p","input":"*** x"}}]}"#;
    assert_eq!(plain(&[custom], "tool_calls"), ["open:0:a:p*", "args:0:*** x", "ToolUse"]);
    // Snowflake writes every member that a call can have.
    for members in [
        r#""custom":{"name":"","input":""},"function":{"name":"f","arguments":"{}"}"#,
        r#""function":{"name":"f","arguments":"{}"},"custom":{"name":"","input":""}"#,
    ] {
        let both = format!(r#"{{"tool_calls":[{{"index":0,"id":"a","type":"function",{members}}}]}}"#);
        assert_eq!(plain(&[&both], "tool_calls"), ["open:0:a:f", "args:0:{}", "ToolUse"]);
    }
    let legacy = r#"{"function_call":{"name":"f","arguments":"{}"}}"#;
    assert_eq!(plain(&[legacy], "function_call"), ["open:0::f", "args:0:{}", "ToolUse"]);
}

#[test]
fn a_call_without_a_name_is_a_failure() {
    let list = calls(&[call("0", "a", "", r#""{}""#)]);
    let events = format!(r#"{{"choices":[{{"delta":{list},"finish_reason":"tool_calls"}}]}}"#);
    let seen = stream_of(&Profile::default(), &[&events, "[DONE]"]);
    assert_eq!(
        seen.last().unwrap(),
        "fail:The provider called a tool without naming it.:upstream_invalid_tool_call"
    );
}

#[test]
fn cases_89_to_92_calls_and_text() {
    let (one, two) =
        (calls(&[call("0", "a", "f", r#""{\"a\":1}""#)]), calls(&[call("1", "b", "g", r#""""#)]));
    let seen = plain(&[&one, r#"{"content":"\n"}"#, &two, r#"{"content":"Done."}"#], "tool_calls");
    let expected = ["open:0:a:f", "args:0:{\"a\":1}", "text:\n", "open:1:b:g", "text:Done.", "ToolUse"];
    assert_eq!(seen, expected);
    // 91: the chunk that opens the call has text, too.
    let both = format!(r#"{{"content":"T","tool_calls":[{}]}}"#, call("0", "a", "f", r#""{""#));
    assert_eq!(plain(&[&both], "tool_calls"), ["text:T", "open:0:a:f", "args:0:{", "ToolUse"]);
}

#[test]
fn case_95_stop_with_calls_is_a_call() {
    let list = calls(&[call("0", "a", "f", r#""{}""#)]);
    assert_eq!(plain(&[&list], "stop").last().unwrap(), "ToolUse");
    assert_eq!(plain(&[&list], "thermal_event").last().unwrap(), "ToolUse");
    assert_eq!(plain(&[&list], "length").last().unwrap(), "Length");
    assert_eq!(plain(&[&list], "content_filter").last().unwrap(), "Refusal(None)");
    let text = [r#"{"content":"x"}"#];
    for (reason, finish) in [
        ("stop", "Stop"),
        ("max_tokens", "Length"),
        ("model_length", "Length"),
        ("SAFETY", "Refusal(None)"),
        ("recitation", "Refusal(None)"),
        ("blocklist", "Refusal(None)"),
        ("refusal", "Refusal(None)"),
        ("context_length_exceeded", "ContextWindow"),
        ("model_context_window_exceeded", "ContextWindow"),
        ("eos", "Stop"),
        ("EOS_TOKEN", "Stop"),
        ("end_turn", "Stop"),
        ("tool_use", "ToolUse"),
        ("thermal_event", "Unknown"),
    ] {
        assert_eq!(plain(&text, reason).last().unwrap(), finish, "{reason}");
    }
    for failed in ["error", "abort", "insufficient_system_resource"] {
        let event = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{failed}"}}]}}"#);
        let seen = stream_of(&Profile::default(), &[&event, "[DONE]"]);
        assert_eq!(seen.last().unwrap(), &format!("fail::{failed}"));
    }
}

#[test]
fn later_reasons_win_but_stop_never_over_calls() {
    let finish = |reasons: &[&str]| {
        let list: Vec<_> = reasons
            .iter()
            .map(|reason| {
                format!(r#"{{"choices":[{{"delta":{{"content":"x"}},"finish_reason":{reason}}}]}}"#)
            })
            .chain(["[DONE]".to_owned()])
            .collect();
        let seen = stream_of(&Profile::default(), &list.iter().map(String::as_str).collect::<Vec<_>>());
        seen[seen.len() - 2].clone()
    };
    assert_eq!(finish(&[r#""tool_calls""#, r#""stop""#]), "ToolUse");
    assert_eq!(finish(&[r#""stop""#, r#""length""#]), "Length");
    assert_eq!(finish(&[r#""length""#, r#""""#, "null"]), "Length");
    let vllm = r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"stop","stop_reason":"END"}]}"#;
    let seen = stream_of(&Profile::default(), &[vllm, "[DONE]"]);
    assert!(seen[2].starts_with("StopSequence(Some("), "{seen:?}");
}

#[test]
fn case_97_a_report_of_a_filter_does_not_begin_the_answer() {
    let azure = r#"{"id":"","object":"","created":0,"choices":[],"prompt_filter_results":[{}]}"#;
    let next = r#"{"id":"c","created":1700000000,"choices":[{"index":0,"delta":{"content":"x"},"content_filter_results":{}}]}"#;
    let seen = stream_of(&Profile::default(), &[azure, next]);
    assert_eq!(seen, ["start:c:1700000000", "text:x"]);
}

#[test]
fn cases_98_to_101_how_streams_end() {
    let text = r#"{"id":"c","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}"#;
    let stop = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let any = Profile::default();
    let whole = ["start:c:0", "text:x", "Stop", "end"];
    assert_eq!(stream_of(&any, &[text, stop, "[DONE]"]), whole);
    assert_eq!(stream_of(&any, &[text, stop]), whole);
    assert_eq!(stream_of(&any, &[text, "[DONE]"]), whole);
    // 99b, 100, 101: cut.
    assert!(stream_of(&any, &["[DONE]"]).is_empty());
    assert_eq!(stream_of(&any, &[text]), ["start:c:0", "text:x"]);
    let optional = Profile { finish_optional: true, ..Profile::default() };
    assert_eq!(stream_of(&optional, &[text]), whole);
    assert!(stream_of(&optional, &[]).is_empty());
}

#[test]
fn case_105_failures_in_all_their_forms() {
    let any = Profile::default();
    for (frame, failure) in [
        (r#"{"object":"error","message":"boom","code":400}"#, "fail:boom:-"),
        (r#"{"error":{"message":"m","code":"insufficient_quota"}}"#, "fail:m:insufficient_quota"),
        (r#"{"error":"m"}"#, "fail:m:-"),
        (r#"[{"error":{"message":"g"}}]"#, "fail:g:-"),
        (
            r#"{"id":"x","error":{"message":"o"},"choices":[{"delta":{},"finish_reason":"error"}]}"#,
            "fail:o:-",
        ),
        (r#"{"choices":[{"error":{"message":"c"},"delta":{}}]}"#, "fail:c:-"),
    ] {
        assert_eq!(stream_of(&any, &[frame, "[DONE]"]), [failure], "{frame}");
    }
    let mut decoder = ChatDecoder::new(&any);
    assert!(decoder.event(None, "{broken", &mut |_| panic!("nothing")).is_err());
    for odd in ["{}", r#"{"choices":7}"#, r#"{"choices":[7]}"#, r#"{"error":null}"#, "[]"] {
        assert!(decoder.event(None, odd, &mut |event| panic!("{event:?}")).is_ok(), "{odd}");
    }
}

#[test]
fn reasoning_is_told_once_and_sealed_for_who_wants_it_back() {
    // 83: both members hold the same.
    let both = r#"{"reasoning":"x","reasoning_details":[{"type":"reasoning.text","text":"x","index":0}]}"#;
    assert_eq!(plain(&[both, r#"{"content":"a"}"#], "stop"), ["thought:x", "text:a", "Stop"]);
    let wants = Profile { reasoning_in: ReasoningIn::ReasoningContent, ..Profile::default() };
    let list = [
        r#"{"content":null,"reasoning_content":"t"}"#,
        r#"{"content":"a","reasoning_content":null}"#,
        r#"{"content":"b"}"#,
    ];
    assert_eq!(deltas(&wants, &list, "stop"), ["thought:t", "plain", "text:a", "text:b", "Stop"]);
    assert_eq!(deltas(&wants, &[r#"{"reasoning":"t"}"#], "length"), ["thought:t", "plain", "Length"]);
    let signed = [
        r#"{"reasoning_details":[{"type":"reasoning.text","text":"t","index":0}]}"#,
        r#"{"reasoning_details":[{"type":"reasoning.text","signature":"S","index":0}]}"#,
        r#"{"content":"a"}"#,
    ];
    let details = r#"details:[{"type":"reasoning.text","text":"t","signature":"S","index":0}]"#;
    assert_eq!(plain(&signed, "stop"), ["thought:t", details, "text:a", "Stop"]);
}

#[test]
fn case_82_state_of_a_call_comes_before_it() {
    let delta = r#"{"tool_calls":[{"index":0,"id":"a","extra_content":{"google":{"thought_signature":"X"}},"function":{"name":"f","arguments":"{}"}}]}"#;
    let expected = [r#"state:a:{"google":{"thought_signature":"X"}}"#, "open:0:a:f", "args:0:{}", "ToolUse"];
    assert_eq!(plain(&[delta], "stop"), expected);
}

#[test]
fn case_123_content_as_a_list() {
    let list = r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"a"},{"type":"reference","reference_ids":[1]}]}"#;
    assert_eq!(plain(&[list], "stop"), ["thought:t", "text:a", "Stop"]);
}

#[test]
fn case_124_tags_of_thinking() {
    let tags = Profile { think_tags: true, ..Profile::default() };
    let list = [r#"{"content":"<th"}"#, r#"{"content":"ink>a</thi"}"#, r#"{"content":"nk>b"}"#];
    assert_eq!(deltas(&tags, &list, "stop"), ["thought:a", "text:b", "Stop"]);
    assert_eq!(deltas(&tags, &[r#"{"content":"<th"}"#], "stop"), ["text:<th", "Stop"]);
}

#[test]
fn usage_is_found_wherever_it_stands() {
    let counts = r#"{"prompt_tokens":5,"completion_tokens":1}"#;
    for place in [
        format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"stop","usage":{counts}}}]}}"#),
        format!(
            r#"{{"choices":[{{"delta":{{}},"finish_reason":"stop"}}],"x_groq":{{"id":"r","usage":{counts}}}}}"#
        ),
        format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"stop"}}],"usage":{counts}}}"#),
    ] {
        assert_eq!(stream_of(&Profile::default(), &[&place, "[DONE]"])[1], "usage:5+0:1", "{place}");
    }
}

#[test]
fn refusals_annotations_and_probabilities() {
    let delta = r#"{"content":"a","refusal":"no","annotations":[{"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":0,"end_index":1}}]}"#;
    assert_eq!(plain(&[delta], "stop"), ["text:a", "refusal:no", "cite:u:Some((0, 1))", "Stop"]);
    let event =
        r#"{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"a"}],"refusal":null}}]}"#;
    assert_eq!(stream_of(&Profile::default(), &[event])[2], r#"logprobs:[{"token":"a"}]"#);
}

fn reply_of(profile: &Profile, body: &str) -> Vec<String> {
    let (mut decoder, mut seen) = (ChatDecoder::new(profile), Vec::new());
    decoder.reply(body, &mut |event| seen.push(show(&event))).unwrap();
    seen
}

#[test]
fn whole_answers_give_the_events_of_their_stream() {
    let wants = Profile { reasoning_in: ReasoningIn::ReasoningContent, ..Profile::default() };
    // 129: blank lines come first.
    let body = r#"

        {"id":"c","created":1700000000,"choices":[{"index":0,"message":{"role":"assistant","reasoning_content":"t","content":"a","tool_calls":[
        {"id":"x","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"","type":"function","function":{"name":"f","arguments":""}},{"id":"x","function":{"name":"f","arguments":{}}}]},
        "finish_reason":"tool_calls"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_cache_hit_tokens":2}}"#;
    let expected = [
        "start:c:1700000000",
        "usage:3+2:1",
        "thought:t",
        "plain",
        "text:a",
        "open:0:x:f",
        "args:0:{}",
        "open:1::f",
        "open:2:x:f",
        "object:2:{}",
        "ToolUse",
        "end",
    ];
    assert_eq!(reply_of(&wants, body), expected);
}

#[test]
fn whole_answers_may_lack_a_reason_and_may_be_failures() {
    let any = Profile::default();
    let body = r#"{"choices":[{"message":{"content":"a"},"finish_reason":null}]}"#;
    assert_eq!(reply_of(&any, body), ["start:-:0", "text:a", "Stop", "end"]);
    let body = r#"{"choices":[{"message":{"function_call":{"name":"f","arguments":"{}"}}}]}"#;
    assert_eq!(reply_of(&any, body), ["start:-:0", "open:0::f", "args:0:{}", "ToolUse", "end"]);
    let empty = r#"{"service_tier":"","choices":[{"message":{"content":"a","refusal":"","function_call":{"arguments":"","name":""}},"finish_reason":""}]}"#;
    assert_eq!(reply_of(&any, empty), ["start:-:0", "text:a", "Stop", "end"]);
    let both = r#"{"choices":[{"message":{"content":"all"},"delta":{"content":"part"}}]}"#;
    assert_eq!(reply_of(&any, both), ["start:-:0", "text:all", "Stop", "end"]);
    assert_eq!(stream_of(&any, &[both]), ["start:-:0", "text:part"]);
    // 127d: a failure with status 200.
    assert_eq!(reply_of(&any, r#"{"error":{"message":"m"}}"#), ["fail:m:-"]);
    assert_eq!(reply_of(&any, r#"[{"error":{"message":"m"}}]"#), ["fail:m:-"]);
    assert!(reply_of(&any, r#"{"choices":[]}"#).is_empty());
    assert!(ChatDecoder::new(&any).reply("<html>", &mut |_| panic!("nothing")).is_err());
    let refusal = r#"{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}]}"#;
    assert_eq!(reply_of(&any, refusal), ["start:-:0", "refusal:no", "Stop", "end"]);
}

#[test]
fn halves_of_characters_are_given_on() {
    let list = [r#"{"content":"\ud83d"}"#, r#"{"content":"\ude00"}"#];
    let mut decoder = ChatDecoder::new(&Profile::default());
    let mut text = String::new();
    for delta in list {
        let event = format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#);
        let mut take = |event: Event<'_>| {
            if let Event::Text(lit) = event {
                text.push_str(lit.raw());
            }
        };
        decoder.event(None, &event, &mut take).unwrap();
    }
    assert_eq!(text, r"\ud83d\ude00");
}

#[test]
fn a_text_is_read_once_for_each_level_above_it() {
    let text = "so it is ".repeat(1000);
    let delta = format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#);
    let message = format!(r#"{{"choices":[{{"index":0,"message":{{"content":"{text}"}}}}]}}"#);
    let mut decoder = ChatDecoder::new(&Profile::default());
    let (streamed, of_stream) = work::of(|| decoder.event(None, &delta, &mut |_| {}));
    let mut decoder = ChatDecoder::new(&Profile::default());
    let (answered, of_reply) = work::of(|| decoder.reply(&message, &mut |_| {}));
    assert!(streamed.is_ok() && answered.is_ok());
    // The event, its choices, the choice, and its delta or message.
    for (name, work) in [("stream", of_stream), ("reply", of_reply)] {
        assert!(work < text.len() * 9 / 2, "{name}: {work} of {}", text.len());
    }
}
