//! What a translation costs, without the network.
//!
//! `agent` renders the request of a coding agent (60 turns, 20 tools, 140 kB) for another protocol; the yardstick
//! `agent_tree` parses the same bytes into a `serde_json` tree and writes it out again. `event` reads one word of a
//! provider's stream and writes it for a client of another protocol; the yardstick `event_tree` parses and writes
//! its JSON only. At the end stands, for each pair, how `agent` compares to `agent_tree`.
#![expect(clippy::unwrap_used, reason = "a benchmark that can not start shall say so and stop")]
#![expect(clippy::print_stdout, reason = "the ratios are what it is for")]
#![expect(clippy::disallowed_types, reason = "the tree is what is compared with")]

mod agent;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossmodel_core::canon::{Caps, Context, Form, Profile, Sealer, Target};
use crossmodel_core::json::JsonStr;
use crossmodel_core::protocol::ProtocolId;
use crossmodel_core::translate::bridge::{Bridge, Rendered, RequestFacts, render};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
    for pair in pairs() {
        let (ours, tree) = fastest(rendering(pair), tree(pair.0));
        println!("{pair}: {:.3} of what the tree takes", ours.as_secs_f64() / tree.as_secs_f64());
    }
}

/// From a client's protocol to a provider's.
#[derive(Clone, Copy)]
struct Pair(ProtocolId, ProtocolId);

fn pairs() -> impl Iterator<Item = Pair> {
    let all = ProtocolId::ALL;
    all.into_iter().flat_map(move |a| all.into_iter().filter(move |b| *b != a).map(move |b| Pair(a, b)))
}

/// How long two calls take when nothing disturbs them. They take turns, so that both find the machine as it is.
fn fastest<A, B>(one: impl Fn() -> A, other: impl Fn() -> B) -> (Duration, Duration) {
    let rounds = (0..500).map(|_| (time(&one), time(&other)));
    rounds.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1))).unwrap_or_default()
}

fn time<T>(call: impl Fn() -> T) -> Duration {
    let start = Instant::now();
    black_box(call());
    start.elapsed()
}

#[divan::bench(args = pairs())]
fn agent(bencher: Bencher<'_, '_>, pair: Pair) {
    bencher.bench(rendering(pair));
}

#[divan::bench(args = ProtocolId::ALL)]
fn agent_tree(bencher: Bencher<'_, '_>, protocol: ProtocolId) {
    bencher.bench(tree(protocol));
}

fn rendering(pair: Pair) -> impl Fn() -> Rendered {
    let body = agent::request(pair.0);
    let (profile, model) = (Profile::default(), "claude-sonnet-4-5");
    let caps = Caps::of(pair.1, model, &profile);
    move || {
        let target = Target {
            protocol: pair.1,
            origin: "up",
            model,
            profile: &profile,
            caps: &caps,
            sealer: &Sealer::default(),
        };
        let facts = RequestFacts {
            request_id: "req_cm_bench",
            now: 0,
            model: "v/m",
            strict: false,
            counting: false,
            output_cap: None,
        };
        render(pair.0.protocol(), black_box(body.as_bytes()), &target, &facts).unwrap()
    }
}

fn tree(protocol: ProtocolId) -> impl Fn() -> Vec<u8> {
    let body = agent::request(protocol);
    move || {
        let tree: serde_json::Value = serde_json::from_slice(black_box(body.as_bytes())).unwrap();
        serde_json::to_vec(&tree).unwrap()
    }
}

#[divan::bench(args = pairs())]
fn event(bencher: Bencher<'_, '_>, pair: Pair) {
    let context = Arc::new(Context { model: JsonStr::plain("v/m"), ..Context::default() });
    let (client, upstream) = (pair.0.protocol(), pair.1.protocol());
    let mut bridge = Bridge::new(client, upstream, &Profile::default(), context, Form::Stream, 8 << 20);
    for opening in openings(pair.1) {
        bridge.push(Bytes::from_static(opening.as_bytes())).unwrap();
    }
    bridge.push(Bytes::from_static(word(pair.1).as_bytes())).unwrap();
    bridge.ready();
    bencher.bench_local(|| {
        bridge.push(Bytes::from_static(black_box(word(pair.1)).as_bytes())).unwrap();
        bridge.ready()
    });
}

#[divan::bench(args = ProtocolId::ALL)]
fn event_tree(bencher: Bencher<'_, '_>, protocol: ProtocolId) {
    let (_, data) = word(protocol).split_once("data: ").unwrap();
    bencher.bench(|| {
        let tree: serde_json::Value = serde_json::from_str(black_box(data.trim())).unwrap();
        serde_json::to_vec(&tree).unwrap()
    });
}

/// What a provider sends before the first word.
fn openings(protocol: ProtocolId) -> &'static [&'static str] {
    match protocol {
        ProtocolId::Chat | ProtocolId::Gemini => &[],
        ProtocolId::Responses => &[
            "data: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"created_at\":1767225600}}\n\n",
            "data: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"msg_1\",\"content\":[]}}\n\n",
        ],
        ProtocolId::Messages => &[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":1}}}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        ],
    }
}

/// One word of a provider's stream.
fn word(protocol: ProtocolId) -> &'static str {
    match protocol {
        ProtocolId::Chat => {
            "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
        }
        ProtocolId::Responses => {
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"word \",\"logprobs\":[],\"sequence_number\":9}\n\n"
        }
        ProtocolId::Messages => {
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word \"}}\n\n"
        }
        ProtocolId::Gemini => {
            "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"word \"}]},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":9,\"totalTokenCount\":9},\"modelVersion\":\"m\",\"responseId\":\"r\"}\n\n"
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.0, self.1)
    }
}
