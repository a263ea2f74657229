//! What the hot path allocates: nothing for a chunk in which nothing changes, and little for a head.

#![expect(clippy::unwrap_used, reason = "these are tests")]

#[path = "../benches/translate/agent.rs"]
mod agent;

use std::sync::Arc;

use allocation_counter::measure;
use bytes::Bytes;
use crossmodel_core::canon::Profile;
use crossmodel_core::canon::{Caps, Context, Form, Sealer, Target};
use crossmodel_core::json::Body;
use crossmodel_core::protocol::{Head, Protocol, ProtocolId, REGISTRY};
use crossmodel_core::translate::bridge::{Bridge, RequestFacts, render};
use crossmodel_core::translate::relay::{Edits, Reply, Stream};

/// Events in which nothing changes, per protocol in the order of the registry.
const DELTAS: [&str; 3] = [
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"v/model\",\
     \"choices\":[{\"index\":0,\"delta\":{\"content\":\"word\"},\"finish_reason\":null}]}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\
     \"sequence_number\":7,\"item_id\":\"msg_1\",\"output_index\":0,\"delta\":\"word\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
     \"delta\":{\"type\":\"text_delta\",\"text\":\"word\"}}\n\n",
];

fn stream(protocol: &'static dyn Protocol) -> Stream {
    Stream::new(Reply::new(protocol, "v/model"), &Profile::default(), true, 1 << 20)
}

/// How often pushing `chunk` allocates, once the stream has seen as much before.
fn allocations(stream: &mut Stream, chunk: &'static str) -> u64 {
    stream.push(Bytes::from_static(chunk.as_bytes())).unwrap();
    let counted = measure(|| {
        let out = stream.push(Bytes::from_static(chunk.as_bytes())).unwrap();
        assert!(!out.is_empty());
    });
    counted.count_total
}

#[test]
fn a_chunk_without_edit_allocates_nothing() {
    for (protocol, delta) in REGISTRY.iter().zip(DELTAS) {
        let mut stream = stream(*protocol);
        for chunk in [delta, ": keep-alive\n\n", delta.repeat(5).leak()] {
            assert_eq!(allocations(&mut stream, chunk), 0, "{} {chunk}", protocol.id());
        }
    }
}

#[test]
fn an_edit_costs_one_copy() {
    let chunk = DELTAS[0].replace("v/model", "real-model").leak();
    let mut stream = stream(REGISTRY[0]);
    // The copy, and the handle that lets the copy be shared.
    let count = allocations(&mut stream, chunk);
    assert!((1..=2).contains(&count), "{count} allocations");
}

#[test]
fn all_edits_of_a_chunk_cost_one_copy() {
    let chunk = DELTAS[0].replace("v/model", "real-model").repeat(50).leak();
    let count = allocations(&mut stream(REGISTRY[0]), chunk);
    assert!((1..=2).contains(&count), "{count} allocations for 50 events");
}

/// The beginning of an answer, per protocol in the order of the registry.
const BEGINNINGS: [&str; 4] = [
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n",
    "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n\
     data: {\"type\":\"response.output_item.added\",\"output_index\":0,\
     \"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"content\":[]}}\n\n",
    "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n\
     data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"a\"}]}}],\"modelVersion\":\"v/model\"}\n\n",
];

/// The bound holds however many of them arrive together.
#[test]
fn translated_events_that_come_together_allocate_as_one_does() {
    let protocols = || REGISTRY.iter().zip(DELTAS.iter().zip(BEGINNINGS));
    for ((upstream, (delta, beginning)), client) in
        protocols().flat_map(|one| REGISTRY.iter().map(move |client| (one, client)))
    {
        if upstream.id() == client.id() {
            continue;
        }
        let pair = format!("{} to {}", upstream.id(), client.id());
        let (profile, context) = (Profile::default(), Arc::new(Context::default()));
        let mut bridge = Bridge::new(*client, *upstream, &profile, context, Form::Stream, 1 << 20);
        let mut pass = |chunk: &'static str| {
            let mut out = Bytes::new();
            let counted = measure(|| {
                bridge.push(Bytes::from_static(chunk.as_bytes())).unwrap();
                out = bridge.pieces().0;
            });
            assert!(!out.is_empty(), "{pair}: {chunk}");
            counted.count_total
        };
        pass(format!("{beginning}{delta}").leak());
        pass(delta.repeat(21).leak());
        let (one, many) = (pass(delta), pass(delta.repeat(21).leak()));
        assert!(one <= 4 && many <= one + MAX_GROWTHS, "{pair}: {one} for one, {many} for 21");
    }
}

/// Buffers that may have to grow for 20 events more.
const MAX_GROWTHS: u64 = 3;

#[test]
fn the_head_costs_the_same_whatever_the_bodys_size() {
    let of_size = |messages: usize| {
        let message = r#"{"role":"user","content":[{"type":"text","text":"words \u00e9\n and more"}]}"#;
        let messages = vec![message; messages].join(",");
        let body = format!(r#"{{"messages":[{messages}],"stream":true,"model":"v/model"}}"#);
        let protocol = REGISTRY[0];
        let mut large = Body::from(body.as_bytes());
        let profile = Profile::default();
        let counted = measure(|| {
            let head = Head::read(body.as_bytes(), protocol.members()).unwrap();
            Edits::of(protocol, body.as_bytes(), &head, &profile, "real-model", None).apply(&mut large);
        });
        (counted.count_total, counted.bytes_max)
    };
    let (small, _) = of_size(1);
    let (large, _) = of_size(10_000);
    assert_eq!(small, large, "allocations do not grow with the body");
    assert!(small <= 12, "{small} allocations");
}

/// However often a client repeats what is read of its request.
#[test]
fn members_that_stand_often_cost_no_more_than_others() {
    let member = [
        r#""stream":null"#,
        r#""str\u0065am":true"#,
        r#""n":1"#,
        r#""max_tokens":null"#,
        r#""stream_options":{}"#,
    ];
    for protocol in REGISTRY {
        for often in [12, 16_000] {
            let members = vec![member.join(","); often].join(",");
            let body = format!(r#"{{{members},"model":"v/model","messages":[],"input":[]}}"#);
            let mut large = Body::from(body.as_bytes());
            let counted = measure(|| {
                let Ok(head) = Head::read(body.as_bytes(), protocol.members()) else { return };
                let profile = Profile::default();
                Edits::of(*protocol, body.as_bytes(), &head, &profile, "real-model", Some(7))
                    .apply(&mut large);
            });
            assert!(counted.count_total < 400, "{} allocations of {often}", counted.count_total);
            assert!(
                counted.bytes_total < 40_000 + body.len() as u64,
                "{} bytes of {often}",
                counted.bytes_total
            );
        }
    }
}

/// However much there is of what is looked for below the top level.
#[test]
fn what_is_looked_for_costs_no_more_where_there_is_much_of_it() {
    for element in [
        r#"{"file_id":"f"}"#,
        r#"{"type":"item_reference"}"#,
        r#"{"type":"image","image_url":"u","image_url":"u"}"#,
        r#"{"id":"a"}"#,
        r#"{"type":"x","tools":[{"type":"web_search","model":"m","model":"n"}]}"#,
        r#"{"role":"assistant","content":[{"type":"document","source":{"type":"url"}}]}"#,
    ] {
        let all = vec![element; 10_000].join(",");
        let body = format!(
            r#"{{"model":"v/model","messages":[{all}],"input":[{all}],"contents":[{all}],"models":[{all}]}}"#
        );
        for protocol in REGISTRY {
            let counted = measure(|| drop(Head::read(body.as_bytes(), protocol.members()).unwrap()));
            assert!(counted.count_total < 1_500, "{} allocations for {element}", counted.count_total);
            assert!(counted.bytes_total < body.len() as u64, "{} bytes for {element}", counted.bytes_total);
        }
    }
}

#[test]
fn a_name_at_the_start_is_replaced_without_copying_the_body() {
    let protocol = REGISTRY[2];
    let text = "x".repeat(1 << 20);
    let body = format!(r#"{{"model":"v/model","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let head = Head::read(body.as_bytes(), protocol.members()).unwrap();
    let mut large = Body::from(body.as_bytes());
    let profile = Profile::default();
    let counted = measure(|| {
        let longer = "a-model-with-a-much-longer-name-than-before";
        Edits::of(protocol, body.as_bytes(), &head, &profile, longer, None).apply(&mut large);
    });
    assert!(counted.bytes_total < 2_000, "{} bytes", counted.bytes_total);
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(Vec::<u8>::with_capacity(100))).count_total, 1);
}

/// 60 turns and 20 tools: a tree of the same request has some ten thousand.
#[test]
fn the_request_of_an_agent_is_translated_with_few_allocations() {
    for client in ProtocolId::ALL {
        let body = agent::request(client);
        assert!((120_000..160_000).contains(&body.len()), "{client}: {} bytes", body.len());
        for upstream in ProtocolId::ALL.into_iter().filter(|other| *other != client) {
            let (profile, model) = (Profile::default(), "claude-sonnet-4-5");
            let caps = Caps::of(upstream, model, &profile);
            let target = Target {
                protocol: upstream,
                origin: "up",
                model,
                profile: &profile,
                caps: &caps,
                sealer: &Sealer::default(),
            };
            let facts = RequestFacts {
                request_id: "r",
                now: 0,
                model: "v/m",
                strict: false,
                counting: false,
                output_cap: None,
            };
            let translate = || render(client.protocol(), body.as_bytes(), &target, &facts).unwrap();
            translate();
            let counted = measure(|| drop(translate()));
            assert!(
                counted.count_total <= 250,
                "{client} to {upstream}: {} allocations",
                counted.count_total
            );
        }
    }
}
