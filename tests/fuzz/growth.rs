//! Time that grows with the input, and not with its square: eight times the input may take up to 24 times as
//! long as the input itself, in the same run.

use std::time::{Duration, Instant};

use crossmodel::canon::ProtocolId;
use crossmodel::json::{elements, members, repair};

use crate::answers::Call;
use crate::requests::{To, others};
use crate::variable;

#[test]
fn requests_of_many() {
    let mut slow = Vec::new();
    for client in ProtocolId::ALL {
        for (what, request) in many(client) {
            for upstream in others(client) {
                let to = To::plain(upstream);
                grows(&format!("{what}, {client} to {upstream}"), &request, &mut slow, |body| {
                    let _ = to.render(client, body);
                });
            }
        }
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

#[test]
fn streams_of_many() {
    let mut slow = Vec::new();
    for upstream in ProtocolId::ALL {
        for client in others(upstream) {
            let call = Call::new(client, To::plain(upstream), asks(client, 1, "").as_bytes()).unwrap();
            for (what, stream) in many_events(upstream) {
                for streamed in [true, false] {
                    let title = format!("{what}, {upstream} to {client}, stream: {streamed}");
                    grows(&title, &stream, &mut slow, |bytes| drop(call.play(&[bytes], streamed)));
                }
            }
        }
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

/// The names of many tools had to be changed for the provider, and it calls each of them.
#[test]
fn calls_of_many_tools() {
    let mut slow = Vec::new();
    for client in others(ProtocolId::Chat) {
        let calls = |n: usize| all(n, |at| call_of_chat(at, &format!("odd_{at}")), CHAT_END);
        let asked = |n: usize| asks(client, n, ".");
        let call = |n| Call::new(client, To::plain(ProtocolId::Chat), asked(n).as_bytes()).unwrap();
        let (some, many) = (call(few()), call(few() * TIMES));
        let (short, long) = (calls(few()), calls(few() * TIMES));
        let play = |call: &Call, bytes: &str| drop(call.play(&[bytes.as_bytes()], true));
        judge(
            &format!("calls of tools, {client}"),
            &|| play(&some, &short),
            &|| play(&many, &long),
            &mut slow,
        );
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

/// A provider repeats the beginning of the answer that the request gave, letter by letter.
#[test]
fn a_long_beginning() {
    let mut slow = Vec::new();
    let request = |n: usize| {
        let text = "a".repeat(n);
        format!(
            r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"x"}},{{"role":"assistant","content":"{text}"}}]}}"#
        )
    };
    let letters =
        |n: usize| all(n, |_| event(r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#), CHAT_END);
    let play = |n: usize| {
        let call =
            Call::new(ProtocolId::Messages, To::plain(ProtocolId::Chat), request(n).as_bytes()).unwrap();
        move || drop(call.play(&[letters(n).as_bytes()], true))
    };
    judge("a long beginning", &play(8 * few()), &play(8 * few() * TIMES), &mut slow);
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

#[test]
fn documents() {
    let mut slow = Vec::new();
    let texts: [(&str, Make<'_>); 5] = [
        ("elements", Box::new(|n| format!("[{}0]", "1,".repeat(n)))),
        ("backslashes", Box::new(|n| format!("\"{}\\ud83d\"", "\\".repeat(2 * n)))),
        ("halves", Box::new(|n| format!("\"{}\"", r"\ud83d".repeat(n)))),
        ("quotes", Box::new(|n| "\"".repeat(n))),
        ("brackets", Box::new(|n| "[".repeat(n))),
    ];
    for (what, make) in texts {
        grows(what, &make, &mut slow, |bytes| {
            let _ = repair::repair(bytes);
            elements(bytes).for_each(drop);
            members(bytes).for_each(drop);
        });
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

/// What is nested deeply neither overflows the stack nor is refused with another failure than 400.
#[test]
fn depth() {
    for client in ProtocolId::ALL {
        for depth in [60, 126, 1000, 100_000] {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let schema = format!("{}{{}}{}", r#"{"properties":{"a":"#.repeat(depth), "}}".repeat(depth));
            let results = format!(
                "{}\"x\"{}",
                r#"[{"type":"tool_result","tool_use_id":"a","content":"#.repeat(depth),
                "}]".repeat(depth)
            );
            let arguments = serde_json::to_string(&nested).unwrap();
            let bodies = [
                asks(client, 1, "").replace(r#""object""#, &nested),
                asks(client, 1, "").replace(r#"{"type":"object"}"#, &schema),
                asks(client, 1, "").replace(r#""hi""#, &results),
                conversation(client, &called(client, 0).replace(r#""{}""#, &arguments)),
            ];
            for (body, upstream) in bodies.iter().flat_map(|body| others(client).map(move |up| (body, up))) {
                if let Err(failure) = To::plain(upstream).render(client, body.as_bytes()) {
                    assert_eq!(failure.status(), 400, "{failure:?}");
                }
            }
        }
    }
}

type Make<'m> = Box<dyn Fn(usize) -> String + 'm>;

/// Requests with many of something.
fn many(client: ProtocolId) -> Vec<(&'static str, Make<'static>)> {
    let list = |n: usize, item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(",");
    let messages = move |n| {
        list(n, &|at| {
            let role = if at % 2 == 0 { "user" } else { "assistant" };
            format!(r#"{{"role":"{role}","content":"{at}"}}"#)
        })
    };
    let kind = if client == ProtocolId::Responses { "input_text" } else { "text" };
    let parts = move |n| list(n, &|at| format!(r#"{{"type":"{kind}","text":"{at}"}}"#));
    let plain =
        move |n: usize| asks(client, 1, "").replace(r#""model""#, &format!(r#"{},"model""#, unknown(n)));
    let subset = move |n: usize| {
        let chosen = list(n, &|at| format!(r#"{{"type":"function","name":"odd{at}"}}"#));
        let choice = format!(r#""tool_choice":{{"type":"allowed_tools","mode":"auto","tools":[{chosen}]}}"#);
        asks(client, n, "").replace(r#""model""#, &format!(r#"{choice},"model""#))
    };
    let mut all: Vec<(&str, Make<'_>)> = vec![
        ("tools", Box::new(move |n| asks(client, n, ""))),
        ("odd names", Box::new(move |n| asks(client, n, "."))),
        ("messages", Box::new(move |n| conversation(client, &messages(n)))),
        (
            "parts",
            Box::new(move |n| {
                conversation(client, &format!(r#"{{"role":"user","content":[{}]}}"#, parts(n)))
            }),
        ),
        ("unknown members", Box::new(plain)),
        ("losses", Box::new(move |n| conversation(client, &list(n, &|at| lossy(client, at))))),
        ("turns with calls", Box::new(move |n| conversation(client, &list(n, &|at| called(client, at))))),
        ("calls at once", Box::new(move |n| conversation(client, &together(client, n)))),
    ];
    if client == ProtocolId::Responses {
        all.push(("a subset", Box::new(subset)));
    }
    all
}

fn unknown(n: usize) -> String {
    (0..n).map(|at| format!(r#""zz{at}":{at}"#)).collect::<Vec<_>>().join(",")
}

/// A message that can not be carried whole.
fn lossy(client: ProtocolId, at: usize) -> String {
    match client {
        ProtocolId::Responses => format!(
            r#"{{"role":"user","content":"x"}},{{"type":"reasoning","id":"r{at}","summary":[],"encrypted_content":"E"}},{{"role":"assistant","content":"y","zz":1}}"#
        ),
        ProtocolId::Chat => format!(r#"{{"role":"user","name":"n{at}","content":"x","zz":1}}"#),
        ProtocolId::Messages => format!(
            r#"{{"role":"user","content":[{{"type":"text","text":"{at}","citations":[{{}}],"zz":1,"cache_control":{{"type":"ephemeral"}}}}]}}"#
        ),
    }
}

/// A request with this conversation.
fn conversation(client: ProtocolId, messages: &str) -> String {
    let name = if client == ProtocolId::Responses { "input" } else { "messages" };
    let limit = if client == ProtocolId::Messages { r#""max_tokens":9,"# } else { "" };
    format!(r#"{{"model":"m",{limit}"{name}":[{messages}]}}"#)
}

/// A request with so many tools, in whose names there is `odd`.
fn asks(client: ProtocolId, tools: usize, odd: &str) -> String {
    let tool = |at: usize| match client {
        ProtocolId::Chat => format!(
            r#"{{"type":"function","function":{{"name":"odd{odd}{at}","parameters":{{"type":"object"}}}}}}"#
        ),
        ProtocolId::Responses => {
            format!(r#"{{"type":"function","name":"odd{odd}{at}","parameters":{{"type":"object"}}}}"#)
        }
        ProtocolId::Messages => format!(r#"{{"name":"odd{odd}{at}","input_schema":{{"type":"object"}}}}"#),
    };
    let tools: Vec<_> = (0..tools).map(tool).collect();
    let body = conversation(client, r#"{"role":"user","content":"hi"}"#);
    format!(r#"{{"tools":[{}],{}"#, tools.join(","), body.strip_prefix('{').unwrap())
}

/// A turn with a call and its result.
fn called(client: ProtocolId, at: usize) -> String {
    match client {
        ProtocolId::Chat => format!(
            r#"{{"role":"assistant","tool_calls":[{{"id":"c{at}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}},{{"role":"tool","tool_call_id":"c{at}","content":"ok"}}"#
        ),
        ProtocolId::Responses => format!(
            r#"{{"type":"function_call","call_id":"c{at}","name":"f","arguments":"{{}}"}},{{"type":"function_call_output","call_id":"c{at}","output":"ok"}}"#
        ),
        ProtocolId::Messages => format!(
            r#"{{"role":"assistant","content":[{{"type":"tool_use","id":"c{at}","name":"f","input":{{}}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"c{at}","content":"ok"}}]}}"#
        ),
    }
}

/// One turn with many calls, whose results come in the opposite order.
fn together(client: ProtocolId, n: usize) -> String {
    let join = |item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(",");
    match client {
        ProtocolId::Chat => {
            let calls = join(&|at| {
                format!(r#"{{"id":"c{at}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}"#)
            });
            let results =
                join(&|at| format!(r#"{{"role":"tool","tool_call_id":"c{}","content":"ok"}}"#, n - 1 - at));
            format!(r#"{{"role":"assistant","tool_calls":[{calls}]}},{results}"#)
        }
        ProtocolId::Responses => {
            let calls = join(&|at| {
                format!(r#"{{"type":"function_call","call_id":"c{at}","name":"f","arguments":"{{}}"}}"#)
            });
            let results = join(&|at| {
                format!(r#"{{"type":"function_call_output","call_id":"c{}","output":"ok"}}"#, n - 1 - at)
            });
            format!("{calls},{results}")
        }
        ProtocolId::Messages => {
            let calls = join(&|at| format!(r#"{{"type":"tool_use","id":"c{at}","name":"f","input":{{}}}}"#));
            let results = join(&|at| {
                format!(r#"{{"type":"tool_result","tool_use_id":"c{}","content":"ok"}}"#, n - 1 - at)
            });
            format!(r#"{{"role":"assistant","content":[{calls}]}},{{"role":"user","content":[{results}]}}"#)
        }
    }
}

/// Streams with many of something.
fn many_events(upstream: ProtocolId) -> Vec<(&'static str, Make<'static>)> {
    match upstream {
        ProtocolId::Chat => vec![
            ("texts", of_chat(|at| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{at}"}}}}]}}"#))),
            (
                "thoughts",
                of_chat(|at| {
                    format!(r#"{{"choices":[{{"index":0,"delta":{{"reasoning_content":"{at}"}}}}]}}"#)
                }),
            ),
            (
                "details",
                of_chat(|at| {
                    format!(
                        r#"{{"choices":[{{"index":0,"delta":{{"reasoning_details":[{{"type":"reasoning.encrypted","data":"{at}","index":{at}}}]}}}}]}}"#
                    )
                }),
            ),
            ("calls", Box::new(|n| all(n, |at| call_of_chat(at, "f"), CHAT_END))),
            (
                "arguments",
                Box::new(|n| all(n, |at| if at == 0 { open_of_chat() } else { args_of_chat() }, CHAT_END)),
            ),
            (
                "tags",
                of_chat(|_| r#"{"choices":[{"index":0,"delta":{"content":"<think></think>"}}]}"#.into()),
            ),
        ],
        ProtocolId::Responses => vec![
            (
                "texts",
                Box::new(|n| {
                    let open = event(
                        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"m","content":[]}}"#,
                    );
                    let text = |at| {
                        event(&format!(
                            r#"{{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"{at}"}}"#
                        ))
                    };
                    open + &all(n, text, RESPONSES_END)
                }),
            ),
            (
                "calls",
                Box::new(|n| {
                    all(
                        n,
                        |at| {
                            event(&format!(
                                r#"{{"type":"response.output_item.added","output_index":{at},"item":{{"type":"function_call","call_id":"c{at}","name":"f","arguments":""}}}}"#
                            )) + &event(&format!(
                                r#"{{"type":"response.function_call_arguments.delta","output_index":{at},"delta":"{{}}"}}"#
                            ))
                        },
                        RESPONSES_END,
                    )
                }),
            ),
            (
                "whole items",
                Box::new(|n| {
                    all(
                        n,
                        |at| {
                            event(&format!(
                                r#"{{"type":"response.output_item.done","output_index":{at},"item":{{"type":"reasoning","id":"r{at}","summary":[],"encrypted_content":"E"}}}}"#
                            ))
                        },
                        RESPONSES_END,
                    )
                }),
            ),
        ],
        ProtocolId::Messages => vec![
            (
                "blocks",
                Box::new(|n| {
                    MESSAGES_BEGIN.to_owned()
                        + &all(
                            n,
                            |at| {
                                event(&format!(
                                    r#"{{"type":"content_block_start","index":{at},"content_block":{{"type":"tool_use","id":"c{at}","name":"f","input":{{}}}}}}"#
                                )) + &event(&format!(r#"{{"type":"content_block_stop","index":{at}}}"#))
                            },
                            MESSAGES_END,
                        )
                }),
            ),
            (
                "open blocks",
                Box::new(|n| {
                    MESSAGES_BEGIN.to_owned()
                        + &all(
                            n,
                            |at| {
                                event(&format!(
                                    r#"{{"type":"content_block_start","index":{at},"content_block":{{"type":"tool_use","id":"c{at}","name":"f","input":{{}}}}}}"#
                                )) + &event(&format!(
                                    r#"{{"type":"content_block_delta","index":{at},"delta":{{"type":"input_json_delta","partial_json":"{{\"a\":"}}}}"#
                                ))
                            },
                            MESSAGES_END,
                        )
                }),
            ),
            (
                "thoughts",
                Box::new(|n| {
                    MESSAGES_BEGIN.to_owned()
                        + &all(
                            n,
                            |at| {
                                event(&format!(
                                    r#"{{"type":"content_block_start","index":{at},"content_block":{{"type":"redacted_thinking","data":"E"}}}}"#
                                )) + &event(&format!(r#"{{"type":"content_block_stop","index":{at}}}"#))
                            },
                            MESSAGES_END,
                        )
                }),
            ),
        ],
    }
}

fn of_chat(make: impl Fn(usize) -> String + 'static) -> Make<'static> {
    Box::new(move |n| all(n, |at| event(&make(at)), CHAT_END))
}

fn all(n: usize, make: impl Fn(usize) -> String, end: &str) -> String {
    (0..n).map(make).collect::<String>() + end
}

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

fn call_of_chat(at: usize, name: &str) -> String {
    event(&format!(
        r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":{at},"id":"c{at}","type":"function","function":{{"name":"{name}","arguments":"{{}}"}}}}]}}}}]}}"#
    ))
}

fn open_of_chat() -> String {
    event(
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"["}}]}}]}"#,
    )
}

fn args_of_chat() -> String {
    event(r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1,"}}]}}]}"#)
}

const CHAT_END: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

const RESPONSES_END: &str =
    "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n";

const MESSAGES_BEGIN: &str =
    "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":{}}}\n\n";

const MESSAGES_END: &str = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n";

/// Notes what grows faster than its input.
fn grows(what: &str, make: &dyn Fn(usize) -> String, slow: &mut Vec<String>, run: impl Fn(&[u8])) {
    let (small, large) = (make(few()), make(few() * TIMES));
    judge(what, &|| run(small.as_bytes()), &|| run(large.as_bytes()), slow);
}

fn judge(what: &str, small: &dyn Fn(), large: &dyn Fn(), slow: &mut Vec<String>) {
    let compared = || (time(small), time(large));
    let fine = |(small, large): &(Duration, Duration)| *large < *small * MOST_TIMES + SLACK && *large < CAP;
    // Once more, in case that something else has kept the machine busy.
    let first = compared();
    let (small, large) = if fine(&first) { first } else { compared() };
    if variable("FUZZ_FEW").is_some() {
        println!("{what}: {small:?} and {large:?}");
    }
    if !fine(&(small, large)) {
        slow.push(format!("{what}: {small:?}, and {large:?} for {TIMES} times the input"));
    }
}

fn time(run: &dyn Fn()) -> Duration {
    let (started, worked) = (Instant::now(), worked());
    run();
    let elapsed = started.elapsed();
    self::worked().zip(worked).map_or(elapsed, |(after, before)| after.saturating_sub(before))
}

/// The time for which this thread has run, where the system tells: others may take most of the machine.
fn worked() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// How many of something are few; more of them, by hand, show more.
fn few() -> usize {
    variable("FUZZ_FEW").map_or(300, |few| usize::try_from(few).unwrap())
}

const TIMES: usize = 8;

const MOST_TIMES: u32 = 24;

/// Noise.
const SLACK: Duration = Duration::from_millis(15);

/// Nothing takes that long, on whatever machine.
const CAP: Duration = Duration::from_secs(30);
