//! Answers of each protocol, for clients of each other one.

use std::sync::Arc;

use bytes::Bytes;
use crossmodel_core::Failure;
use crossmodel_core::canon::{Context, Form, ProtocolId};
use crossmodel_core::json::{Lenient as _, members};
use crossmodel_core::translate::bridge::Bridge;

use crate::mutate::{Rng, cut};
use crate::requests::{To, others};
use crate::{fuzz, is_json, seeds};

#[test]
fn streams_of_chat() {
    streams(ProtocolId::Chat);
}

#[test]
fn streams_of_responses() {
    streams(ProtocolId::Responses);
}

#[test]
fn streams_of_messages() {
    streams(ProtocolId::Messages);
}

#[test]
fn streams_of_gemini() {
    streams(ProtocolId::Gemini);
}

#[test]
fn replies_of_gemini() {
    replies(ProtocolId::Gemini);
}

#[test]
fn replies_of_chat() {
    replies(ProtocolId::Chat);
}

#[test]
fn replies_of_responses() {
    replies(ProtocolId::Responses);
}

#[test]
fn replies_of_messages() {
    replies(ProtocolId::Messages);
}

#[test]
fn cut_streams_never_succeed() {
    for upstream in ProtocolId::ALL {
        let calls = calls(upstream);
        for seed in seeds::streams(upstream) {
            let end = beginning_of_the_end(&seed);
            let mut rng = Rng::new(end as u64);
            for call in &calls {
                let cut = &seed[..rng.below(end)];
                let told = call.play(&[cut], true);
                let words =
                    || format!("{upstream} cut: {}: {}", cut.escape_ascii(), told.bytes.escape_ascii());
                assert!(told.failure.is_some(), "{}", words());
                assert!(!succeeds(call.client, &told.bytes), "{}", words());
            }
        }
    }
}

fn streams(upstream: ProtocolId) {
    let calls = calls(upstream);
    let seeds = seeds::streams(upstream);
    fuzz(&format!("streams of {upstream}"), &seeds, 1500, |input, rng| {
        let call = rng.pick(&calls);
        let whole = call.play(&[input], true);
        check_stream(call.client, &whole);
        let pieces = call.play(&cut(input, rng), true);
        assert_eq!(timeless(&whole.bytes), timeless(&pieces.bytes));
        assert_eq!(whole.failure.map(|f| f.status()), pieces.failure.map(|f| f.status()));
        let collected = call.play(&cut(input, rng), false);
        assert!(
            collected.bytes.is_empty() || is_json(&collected.bytes),
            "{}",
            collected.bytes.escape_ascii()
        );
    });
}

fn replies(upstream: ProtocolId) {
    let calls = calls(upstream);
    let seeds = seeds::replies(upstream);
    fuzz(&format!("replies of {upstream}"), &seeds, 1500, |input, rng| {
        let call = rng.pick(&calls);
        check_stream(call.client, &call.reply(input, true));
        let whole = call.reply(input, false);
        assert!(whole.bytes.is_empty() || is_json(&whole.bytes), "{}", whole.bytes.escape_ascii());
    });
}

/// What a client is sent is JSON, and it is told of success if and only if there is no failure.
fn check_stream(client: ProtocolId, told: &Told) {
    for line in told.bytes.split(|byte| *byte == b'\n') {
        if let Some(data) = line.strip_prefix(b"data: ") {
            assert!(data == b"[DONE]" || is_json(data), "not JSON: {}", data.escape_ascii());
        }
    }
    assert!(told.failure.is_none() || !succeeds(client, &told.bytes), "{}", told.bytes.escape_ascii());
    if told.failure.is_none() && client != ProtocolId::Responses {
        assert!(succeeds(client, &told.bytes), "without an end: {}", told.bytes.escape_ascii());
    }
}

/// What was sent, without the second in which a response was completed: that depends on the machine.
fn timeless(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    let parts =
        text.split("completed_at\\\":").map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
    parts.collect::<Vec<_>>().join("completed_at")
}

/// Is there an event by which the client takes the answer for whole?
fn succeeds(client: ProtocolId, bytes: &[u8]) -> bool {
    let wanted = match client {
        ProtocolId::Chat => "[DONE]",
        ProtocolId::Responses => "response.completed",
        ProtocolId::Messages => "message_stop",
        ProtocolId::Gemini => return memchr::memmem::find(bytes, b"\"finishReason\"").is_some(),
    };
    bytes.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: ")).any(|data| {
        let kind = members(data).lenient().find(|member| member.is("type"));
        data == wanted.as_bytes() || kind.and_then(|kind| kind.text()).is_some_and(|kind| kind == wanted)
    })
}

/// Where a stream first says that it ends, in whatever way.
fn beginning_of_the_end(stream: &[u8]) -> usize {
    let text = String::from_utf8_lossy(stream);
    let reasons = ["finish_reason", "stop_reason", "native_finish_reason", "finishReason", "blockReason"]
        .iter()
        .flat_map(|name| {
            let value = |at: usize| text[at + name.len()..].trim_start_matches(['"', ':', ' ']).to_owned();
            text.match_indices(name).map(|(at, _)| at).filter(move |at| !value(*at).starts_with("null"))
        });
    let others =
        ["[DONE]", "message_stop", "response.completed", "response.incomplete", "response.failed", "error"];
    let others = others.iter().filter_map(|word| text.find(word));
    reasons.chain(others).min().unwrap_or(text.len()).min(stream.len())
}

/// A request that was answered.
pub(crate) struct Call {
    pub(crate) client: ProtocolId,
    to: To,
    context: Arc<Context>,
}

/// What a client got.
pub(crate) struct Told {
    pub(crate) bytes: Vec<u8>,
    pub(crate) failure: Option<Failure>,
}

impl Call {
    /// What the provider is asked with this request, if it is not refused.
    pub(crate) fn new(client: ProtocolId, to: To, request: &[u8]) -> Option<Self> {
        let context = to.render(client, request).ok()?.context;
        Some(Self { client, to, context })
    }

    pub(crate) fn play(&self, pieces: &[&[u8]], stream: bool) -> Told {
        let mut bridge = self.bridge(stream);
        let mut bytes = Vec::new();
        let pushed = pieces.iter().try_for_each(|piece| {
            bridge.push(Bytes::copy_from_slice(piece))?;
            bytes.extend_from_slice(&bridge.ready());
            Ok(())
        });
        let result = pushed.and_then(|()| bridge.end());
        self.told(bridge, bytes, result.err())
    }

    fn reply(&self, body: &[u8], stream: bool) -> Told {
        let mut bridge = self.bridge(stream);
        let result = bridge.reply(body);
        self.told(bridge, Vec::new(), result.err())
    }

    fn bridge(&self, stream: bool) -> Bridge {
        let (client, upstream) = (self.client.protocol(), self.to.protocol.protocol());
        Bridge::new(
            client,
            upstream,
            &self.to.profile,
            Arc::clone(&self.context),
            Form::of_stream(stream),
            8 << 20,
        )
    }

    fn told(&self, mut bridge: Bridge, mut bytes: Vec<u8>, failure: Option<Failure>) -> Told {
        bytes.extend_from_slice(&bridge.ready());
        match &failure {
            Some(failure) => bytes.extend_from_slice(&bridge.fail(failure)),
            None => bytes.extend_from_slice(&bridge.whole(self.client.protocol(), &self.context)),
        }
        Told { bytes, failure }
    }
}

/// All requests among the seeds to which a provider of this protocol gives answers.
fn calls(upstream: ProtocolId) -> Vec<Call> {
    let mut rng = Rng::new(7);
    let of = |client| seeds::requests(client).into_iter().map(move |request| (client, request));
    let all = others(upstream).flat_map(of);
    all.filter_map(|(client, request)| Call::new(client, To::any(upstream, &mut rng), &request)).collect()
}
