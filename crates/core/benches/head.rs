//! What every request costs before it goes anywhere: the head scan, and the edit that renames its model.
//!
//! `head_read` is the gateway's scan; `serde_ignored` beside it is the yardstick, a parser that checks the
//! same bytes and keeps nothing of them. Both should grow with the number of strings and brackets, not with
//! the length of the strings. `splice` puts another model's name into 1 MiB; `copy` is one plain copy of the
//! same bytes, which is what an edit would cost that moved everything once.
#![expect(clippy::unwrap_used, reason = "a benchmark that can not start shall say so and stop")]

use std::fmt;

use bytes::Bytes;
use crossmodel_core::json::{Body, Edit};
use crossmodel_core::protocol::{Head, ProtocolId};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use serde::de::IgnoredAny;

fn main() {
    divan::main();
}

#[divan::bench(args = Shape::ALL)]
fn head_read(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = shape.body();
    let members = ProtocolId::Chat.protocol().members();
    // The first call finds out what the CPU can do.
    let head = Head::read(&body, members).unwrap();
    assert_eq!(head.model, "bench/alias");
    let counted = bencher.counter(BytesCount::of_slice(&body));
    counted.bench(|| Head::read(black_box(&body), members).unwrap());
}

#[divan::bench(args = Shape::ALL)]
fn serde_ignored(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = shape.body();
    let counted = bencher.counter(BytesCount::of_slice(&body));
    counted.bench(|| serde_json::from_slice::<IgnoredAny>(black_box(&body)).unwrap());
}

// Each call needs 1 MiB of its own, so few of them make a sample.
#[divan::bench(args = Place::ALL, sample_count = 200, sample_size = 8)]
fn splice(bencher: Bencher<'_, '_>, place: Place) {
    let body = place.body();
    let edits = place.edits(&body);
    // Whatever the edit moves, the result has to be the same.
    let mut once = Body::from(body.as_slice());
    once.splice(&edits);
    assert_eq!(once.bytes(), crossmodel_core::json::splice(&body, &edits));
    bencher.with_inputs(|| Body::from(body.as_slice())).bench_refs(|body| body.splice(black_box(&edits)));
}

#[divan::bench(sample_count = 200, sample_size = 8)]
fn copy(bencher: Bencher<'_, '_>) {
    let body = Place::Front.body();
    // Dropped at once, so that the next copy finds its memory in place: page faults are not the question.
    bencher.bench(|| drop(black_box(Bytes::copy_from_slice(black_box(&body)))));
}

/// A request, by what makes it easy or hard to scan.
#[derive(Clone, Copy)]
enum Shape {
    Small,
    Agent,
    OneString,
    ManyStrings,
}

/// Where the model's name stands in a request: clients that sort their members put it behind the messages.
#[derive(Clone, Copy)]
enum Place {
    Front,
    End,
}

impl Shape {
    const ALL: [Self; 4] = [Self::Small, Self::Agent, Self::OneString, Self::ManyStrings];

    fn body(self) -> Vec<u8> {
        let rest = match self {
            Self::Small => format!(r#""messages":[{}],"stream":true,"temperature":0.2"#, said(900)),
            Self::Agent => agent(64 << 10),
            Self::OneString => format!(r#""messages":[{}]"#, said(1 << 20)),
            Self::ManyStrings => format!(r#""messages":[{}]"#, filled(1 << 20, |_| said(24))),
        };
        format!(r#"{{"model":"bench/alias",{rest}}}"#).into_bytes()
    }
}

impl Place {
    const ALL: [Self; 2] = [Self::Front, Self::End];

    fn body(self) -> Vec<u8> {
        let (model, messages) = (r#""model":"bench/alias""#, format!(r#""messages":[{}]"#, said(1 << 20)));
        match self {
            Self::Front => format!("{{{model},{messages}}}").into_bytes(),
            Self::End => format!("{{{messages},{model}}}").into_bytes(),
        }
    }

    fn edits(self, body: &[u8]) -> Vec<Edit> {
        let head = Head::read(body, ProtocolId::Chat.protocol().members()).unwrap();
        head.model_edits(body, "a-model-as-its-provider-calls-it")
    }
}

/// What a coding agent sends: tools with their schemas, then calls and their results, none of them long.
fn agent(bytes: usize) -> String {
    let tool = |n| {
        format!(
            r#"{{"type":"function","function":{{"name":"tool_{n}","description":"Reads \"a file\".","parameters":
{{"type":"object","properties":{{"path":{{"type":"string","description":"where"}},"limit":{{"type":"integer",
"minimum":1}},"flags":{{"type":"array","items":{{"type":"string","enum":["a","b","c"]}}}}}},"required":["path"]}}}}}}"#
        )
    };
    let turn = |n| {
        format!(
            r#"{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_{n}","type":"function","function":
{{"name":"tool_1","arguments":"{{\"path\":\"src/lib.rs\",\"limit\":{n}}}"}}}}]}},
{{"role":"tool","tool_call_id":"call_{n}","content":"{}"}}"#,
            r#"fn main() {\n    println!(\"{}\", 1);\n}\n"#.repeat(4)
        )
    };
    let (tools, turns) = (filled(bytes / 4, tool), filled(bytes * 3 / 4, turn));
    format!(r#""stream":true,"messages":[{},{turns}],"tools":[{tools}]"#, said(200))
}

/// One user message of so many letters.
fn said(letters: usize) -> String {
    format!(r#"{{"role":"user","content":"{}"}}"#, "x".repeat(letters))
}

/// Elements of an array, as many as fit.
fn filled(bytes: usize, element: impl Fn(usize) -> String) -> String {
    let mut all = element(0);
    for n in 1.. {
        let next = element(n);
        if all.len() + next.len() >= bytes {
            break;
        }
        all = all + "," + &next;
    }
    all
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "1 KiB",
            Self::Agent => "64 KiB, an agent's",
            Self::OneString => "1 MiB, one string",
            Self::ManyStrings => "1 MiB, many strings",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Front => "model first",
            Self::End => "model last",
        })
    }
}
