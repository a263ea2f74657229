//! Whatever a client repeats, spells oddly or leaves null, its request is no more work than another of its size.

use once_cell::sync::Lazy;
use proptest::prelude::*;

use super::relay::Edits;
use crate::canon::Profile;
use crate::json::{Body, work};
use crate::protocol::{Head, Protocol, REGISTRY};

/// The bytes of a request that are read, written and copied before it goes upstream.
fn work_of(protocol: &dyn Protocol, body: &str) -> usize {
    let mut spliced = Body::from(body.as_bytes());
    let ((), work) = work::of(|| {
        let Ok(head) = Head::read(body.as_bytes(), protocol.members()) else { return };
        let profile = Profile::default();
        let cap = Some(77);
        Edits::of(protocol, body.as_bytes(), &head, &profile, "real-model", cap).apply(&mut spliced);
    });
    work
}

/// A request of so many bytes with nothing odd in it: it is read once, and copied for the model's name at its end.
fn plain() -> String {
    let message = r#"{"role":"user","content":"so it is"},"#;
    let messages = message.repeat(SIZE / message.len());
    format!(r#"{{"stream":true,"input":[],"messages":[{messages}{{}}],"model":"m"}}"#)
}

/// Members as a hostile client puts them.
fn member() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "stream",
        r"str\u0065am",
        "stream_options",
        "n",
        r"\u006e",
        "model",
        "max_tokens",
        r"max\u005ftokens",
        "max_completion_tokens",
        "max_output_tokens",
        "system",
        "messages",
        "input",
        "tools",
        "models",
        "fallbacks",
        "service_tier",
        "container",
        "audio",
        "x",
    ]);
    let value = prop::sample::select(vec![
        "null",
        "1",
        "true",
        r#""m""#,
        "[]",
        "{}",
        r#"{"include_usage":false}"#,
        r#"[{"type":"text","text":"x-anthropic-billing-header: a"},{"type":"image"}]"#,
        r#"[{"id":"a"},{"role":"assistant","content":[{"type":"thinking","signature":"cm1.a"}]}]"#,
        r#"[{"type":"reasoning","id":"a","encrypted_content":"cm1.a"},{"id":"b","role":"user"}]"#,
        r#"[[[[[[[[[[[[{"file_id":null}]]]]]]]]]]]]"#,
        r#"{"type":null,"type":"image","image_url":{"url":""},"image_url":null}"#,
    ]);
    (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"))
}

/// Arrangements of few of them, some of which are taken, or of as many as fit.
fn arrangement() -> impl Strategy<Value = String> {
    let few = (prop::collection::vec(member(), 1..40), any::<bool>()).prop_map(|(members, fill)| {
        let text = members.join(",");
        let filler = if fill { "y".repeat(SIZE.saturating_sub(text.len())) } else { String::new() };
        format!(r#""model":"m","messages":[],"input":[],{text},"z":"{filler}""#)
    });
    let many = prop::collection::vec(member(), 1..8).prop_map(|members| {
        let text = members.join(",");
        let times = SIZE / text.len() + 1;
        format!(r#""model":"m","messages":[],"input":[],{},"z":0"#, vec![text; times].join(","))
    });
    prop_oneof![few, many].prop_map(|members| format!("{{{members}}}"))
}

/// The work of the plain request, in each protocol.
static USUAL: Lazy<Vec<usize>> =
    Lazy::new(|| REGISTRY.iter().map(|protocol| work_of(*protocol, &plain())).collect());

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn odd_members_are_no_more_work_than_plain_ones(body in arrangement(), which in 0usize..3) {
        let usual = USUAL[which];
        let work = work_of(REGISTRY[which], &body);
        let most = 3 * usual * body.len().max(SIZE) / SIZE;
        prop_assert!(work <= most, "{work} bytes of work for {}, {usual} for a plain one", body.len());
    }
}

#[test]
fn work_is_counted() {
    let plain = plain();
    let work = work_of(REGISTRY[0], &plain);
    assert!(work >= 2 * plain.len() && work < 3 * plain.len(), "{work} for {}", plain.len());
}

/// Bytes of a request.
const SIZE: usize = 1 << 20;
