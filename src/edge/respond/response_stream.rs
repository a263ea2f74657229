//! A provider's stream on its way to the client: it is translated, or relayed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::canon::Form;
use crate::canon::{Anomaly, Context, ResponseMetadata, Usage};
use crate::edge::call::attempts::Attempts;
use crate::edge::call::request_info::RequestInfo;
use crate::edge::call::target::Bridged;
use crate::failure::{Failure, Result};
use crate::protocol::Protocol;
use crate::translate::bridge::Bridge;
use crate::translate::relay::{self, End};

/// The processing that a provider's stream goes through.
pub(in crate::edge) enum ResponseStream {
    /// Translation: the stream is decoded, and encoded for the client, which may want it as a whole.
    Bridged { bridge: Box<Bridge>, client: &'static dyn Protocol, context: Arc<Context> },
    /// Relay, with the necessary edits.
    Relayed(Box<Relayed>),
}

/// The stage of a provider's answer, by what it has told of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum StreamStage {
    /// Anything may follow.
    Open,
    /// The answer has reported why it ends, so that only its token counts and its end may follow.
    Finished,
    /// The last event has arrived. The answer has to be charged before the end of this event is passed on.
    Over,
    /// The answer is complete, and nothing that may follow matters.
    Whole,
    /// The provider itself has told the client of a failure, in a stream that has ended.
    Reported,
}

impl StreamStage {
    /// Whether all of the answer has arrived.
    pub(in crate::edge) fn is_over(self) -> bool {
        matches!(self, Self::Over | Self::Whole)
    }
}

/// A stream that is relayed.
pub(in crate::edge) struct Relayed {
    stream: relay::Stream,
    ready: Parts,
    end: Option<End>,
}

/// Bytes that come in parts, of which the first is not copied as long as no other comes.
#[derive(Default)]
pub(in crate::edge) struct Parts {
    first: Bytes,
    all: Vec<u8>,
}

impl Parts {
    /// Adds a part.
    pub(in crate::edge) fn add(&mut self, part: Bytes) {
        if self.is_empty() {
            self.first = part;
        } else if !part.is_empty() {
            if self.all.is_empty() {
                self.all.reserve(ROOM.max(self.first.len() + part.len()));
            }
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
            self.all.extend_from_slice(&part);
        }
    }

    /// Takes all of them.
    pub(in crate::edge) fn take(&mut self) -> Bytes {
        match self.all.is_empty() {
            true => std::mem::take(&mut self.first),
            false => std::mem::take(&mut self.all).into(),
        }
    }

    /// Returns the number of bytes.
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// Whether there is nothing.
    pub(in crate::edge) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.all.is_empty()
    }
}

impl Relayed {
    fn push(&mut self, chunk: Bytes) -> Result<()> {
        let out = self.stream.push(chunk)?;
        self.ready.add(out);
        Ok(())
    }

    fn stage(&self) -> StreamStage {
        match &self.end {
            // The bytes that follow the last event are passed on, too.
            Some(End::Whole) => StreamStage::Whole,
            Some(End::Reported) => StreamStage::Reported,
            Some(End::Broken(_)) | None if self.stream.is_over() => StreamStage::Over,
            Some(End::Broken(_)) | None if self.stream.has_finished() => StreamStage::Finished,
            Some(End::Broken(_)) | None => StreamStage::Open,
        }
    }

    fn end(&mut self) -> &End {
        let (rest, end) = self.stream.end();
        self.ready.add(rest);
        self.end.insert(end)
    }

    fn keep_alive(&mut self, request: &RequestInfo) {
        let sign = self.stream.keep_alive(&request.id, request.client_model(), request.seconds());
        self.ready.add(sign);
    }

    fn fail(&mut self, failure: &Failure, request: &RequestInfo) {
        if matches!(self.end(), End::Broken(_)) {
            let (model, now) = (request.client_model(), request.seconds());
            let told = self.stream.failure(failure, &request.id, model, now);
            self.ready.add(told);
        }
    }
}

impl ResponseStream {
    /// Makes the response out of the stream of the provider that is called now.
    ///
    /// # Errors
    /// Returns the failure if none is called.
    pub(in crate::edge) fn new(request: &RequestInfo, attempts: &Attempts) -> Result<Self> {
        let (call, limit) = (attempts.call()?, request.snapshot.limits.event_bytes);
        Ok(match &call.bridged {
            Some(Bridged { client, context, .. }) => {
                let (client, from, profile) =
                    (client.protocol(), call.protocol.protocol(), &call.provider().profile);
                let bridge = Bridge::new(client, from, profile, Arc::clone(context), call.form, limit);
                let bridge = bridge.hiding(&call.keys);
                Self::Bridged { bridge: Box::new(bridge), client, context: Arc::clone(context) }
            }
            None => Self::relayed(call.stream(request.client_model(), limit)),
        })
    }

    /// Makes a relay.
    fn relayed(stream: relay::Stream) -> Self {
        Self::Relayed(Box::new(Relayed { stream, ready: Parts::default(), end: None }))
    }

    /// Makes the bytes ready that keep a waiting client's stream alive.
    pub(in crate::edge) fn keep_alive(&mut self, request: &RequestInfo) {
        match self {
            Self::Bridged { bridge, .. } => bridge.keep_alive(),
            Self::Relayed(relayed) => relayed.keep_alive(request),
        }
    }

    /// Notes that the client's stream was opened before the provider has answered.
    pub(in crate::edge) fn note_opened(&mut self, request: &RequestInfo) {
        self.keep_alive(request);
        self.ready();
    }

    /// Takes a complete answer that is not a stream.
    ///
    /// # Errors
    /// Returns the failure that the provider reports, or 502 if the body is not a complete answer.
    pub(in crate::edge) fn reply(&mut self, body: &[u8]) -> Result<()> {
        match self {
            Self::Bridged { bridge, .. } => bridge.reply(body),
            Self::Relayed(_) => Err(Failure::provider("the answer is no stream")),
        }
    }

    /// Takes a chunk of the stream, which may be cut anywhere.
    ///
    /// # Errors
    /// Returns the failure that the provider reports, or 502 if its stream is invalid.
    pub(in crate::edge) fn push(&mut self, chunk: Bytes) -> Result<()> {
        match self {
            Self::Bridged { bridge, .. } => bridge.push(chunk),
            Self::Relayed(relayed) => relayed.push(chunk),
        }
    }

    /// Takes the end of the stream.
    ///
    /// # Errors
    /// Returns 502 if the answer is not complete, or the failure that the provider's last event reports.
    pub(in crate::edge) fn end(&mut self) -> Result<()> {
        let relayed = match self {
            Self::Bridged { bridge, .. } => return bridge.end(),
            Self::Relayed(relayed) => relayed,
        };
        match relayed.end().clone() {
            End::Whole | End::Reported => Ok(()),
            End::Broken(error) => Err(relayed.stream.broken(&error)),
        }
    }

    /// Whether the answer is complete although the connection broke off.
    pub(in crate::edge) fn is_whole_without_end(&mut self) -> bool {
        match self {
            Self::Bridged { .. } => false,
            Self::Relayed(_) => self.end().is_ok(),
        }
    }

    /// Whether the provider of a translated stream has shown that it is alive since this was last asked. A relay passes
    /// such events on as they are.
    pub(in crate::edge) fn take_ping(&mut self) -> bool {
        match self {
            Self::Bridged { bridge, .. } => bridge.take_ping(),
            Self::Relayed(_) => false,
        }
    }

    /// Returns the bytes that are ready for a client that gets a stream, in pieces to be sent one after the other.
    pub(in crate::edge) fn ready(&mut self) -> (Bytes, Vec<Bytes>) {
        match self {
            Self::Bridged { bridge, .. } => bridge.pieces(),
            Self::Relayed(relayed) => (relayed.ready.take(), Vec::new()),
        }
    }

    /// Returns the answer for a client that gets it as a whole, or `None` if the client gets a stream.
    pub(in crate::edge) fn whole(&self) -> Option<Bytes> {
        match self {
            Self::Bridged { bridge, client, context } if !bridge.is_stream() => {
                Some(bridge.whole(*client, context))
            }
            _ => None,
        }
    }

    /// Ends the client's stream with a failure, as an event of its protocol.
    pub(in crate::edge) fn fail(&mut self, failure: &Failure, request: &RequestInfo) {
        match self {
            Self::Bridged { bridge, .. } => bridge.tell(failure),
            Self::Relayed(relayed) => relayed.fail(failure, request),
        }
    }

    /// Returns the estimated tokens of the answer so far.
    pub(in crate::edge) fn delivered(&self) -> u64 {
        match self {
            Self::Bridged { bridge, .. } => bridge.delivered(),
            Self::Relayed(relayed) => relayed.stream.delivered(),
        }
    }

    /// Whether the model has been seen to reason.
    pub(in crate::edge) fn reasons(&self) -> bool {
        match self {
            Self::Bridged { bridge, .. } => bridge.reasons(),
            Self::Relayed(relayed) => relayed.stream.reasons(),
        }
    }

    /// Notes that nobody waits for the rest. Returns whether the token counts of the whole answer have arrived,
    /// perhaps without its end.
    pub(in crate::edge) fn is_counted(&mut self) -> bool {
        match self {
            Self::Bridged { bridge, .. } => bridge.end().is_ok() && bridge.usage().is_some(),
            Self::Relayed(relayed) => relayed.stream.is_counted(),
        }
    }

    /// Returns the model that answers, in the provider's words.
    pub(in crate::edge) fn served(&self) -> Option<&str> {
        match self {
            Self::Bridged { bridge, .. } => bridge.served(),
            Self::Relayed(relayed) => relayed.stream.served(),
        }
    }

    /// Returns the token counts so far.
    pub(in crate::edge) fn usage(&self) -> Option<Usage> {
        match self {
            Self::Bridged { bridge, .. } => bridge.usage(),
            Self::Relayed(relayed) => relayed.stream.usage(),
        }
    }

    /// Takes the model and finish reasons that the answer has reported.
    pub(in crate::edge) fn said(&mut self) -> ResponseMetadata {
        match self {
            Self::Bridged { bridge, .. } => bridge.metadata(),
            Self::Relayed(relayed) => relayed.stream.metadata(),
        }
    }

    /// Takes the counts of parts that were not understood.
    pub(in crate::edge) fn anomalies(&mut self) -> BTreeMap<Anomaly, u64> {
        match self {
            Self::Bridged { bridge, .. } => bridge.anomalies(),
            Self::Relayed(_) => BTreeMap::new(),
        }
    }

    /// The form in which the client gets it.
    pub(in crate::edge) fn form(&self) -> Form {
        match self {
            Self::Bridged { bridge, .. } => Form::of_stream(bridge.is_stream()),
            Self::Relayed(_) => Form::Stream,
        }
    }

    /// Whether any event has come.
    pub(in crate::edge) fn has_begun(&self) -> bool {
        match self {
            Self::Bridged { bridge, .. } => bridge.has_begun(),
            Self::Relayed(relayed) => !relayed.ready.is_empty(),
        }
    }

    /// Whether the response is committed: the provider answers, so that a failure can no longer be an HTTP status.
    pub(in crate::edge) fn is_committed(&self) -> bool {
        match self {
            Self::Bridged { bridge, .. } => bridge.is_committed(),
            // What came in one piece with a failure has not been passed on. A provider that says much before it answers, such
            // as comments without end, is not waited for: the client, and not the gateway, is to keep what it has said.
            Self::Relayed(relayed) => {
                let has_output = relayed.stream.has_output() && !relayed.ready.is_empty();
                has_output || relayed.ready.len() > MAX_HELD_BACK_BYTES
            }
        }
    }

    /// Returns the failure that the provider has reported in the place of an answer, and that would otherwise be passed
    /// on as it is.
    pub(in crate::edge) fn refusal(&self) -> Option<&Failure> {
        match self {
            Self::Bridged { .. } => None,
            Self::Relayed(relayed) => relayed.stream.refusal(),
        }
    }

    /// Returns the number of bytes that are kept of an event that has not arrived completely.
    pub(in crate::edge) fn kept(&self) -> usize {
        match self {
            Self::Bridged { bridge, .. } => bridge.kept(),
            Self::Relayed(relayed) => relayed.stream.kept(),
        }
    }

    /// Returns the stage of the answer.
    pub(in crate::edge) fn stage(&self) -> StreamStage {
        match self {
            Self::Bridged { bridge, .. } if bridge.is_whole() => StreamStage::Whole,
            Self::Bridged { bridge, .. } if bridge.has_finished() => StreamStage::Finished,
            Self::Bridged { .. } => StreamStage::Open,
            Self::Relayed(relayed) => relayed.stage(),
        }
    }

    /// Returns the size of the answer, which grows with its events. Comments do not count.
    pub(in crate::edge) fn size(&self) -> u64 {
        match self {
            Self::Bridged { bridge, .. } => bridge.delivered(),
            Self::Relayed(relayed) => relayed.stream.events(),
        }
    }
}

/// The most bytes of a relayed stream that are held back until the provider really answers. A chosen value: the first event
/// of Responses repeats instructions and tools, which take some hundred KiB.
const MAX_HELD_BACK_BYTES: usize = 1 << 20;

/// Bytes for which there is room when a second part comes: others will follow.
const ROOM: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_comes_alone_is_not_copied() {
        let (one, two) = (Bytes::from(vec![b'a'; 9]), Bytes::from(vec![b'b'; 9]));
        let mut ready = Parts::default();
        ready.add(one.clone());
        ready.add(Bytes::new());
        assert_eq!(ready.take().as_ptr(), one.as_ptr());
        assert!(ready.is_empty() && ready.take().is_empty());
        for part in [&one, &two, &one] {
            ready.add(part.clone());
        }
        assert_eq!(ready.take(), [one.as_ref(), &two, &one].concat());
        assert!(ready.is_empty());
    }
}
