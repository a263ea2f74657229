//! The relay between a client and a provider that speak the same protocol: bytes pass with the necessary edits.
//!
//! In a request these are the model's name, the usage option of Chat streams, and a coding client's attribution
//! block. In an answer these are the model's name, the usage chunk that only the gateway asked for, and the
//! provider's words about its own failures. All other bytes stay unchanged and in order.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::canon::Profile;
use crate::canon::{Rates, ResponseMetadata, Usage};
use crate::failure::{Failure, Kind, Result};
use crate::json::{self, Edit};
use crate::protocol::{EventSummary, Progress, Protocol, StreamFacts, UpstreamError};
use crate::sse::{Framer, SseEvent};

pub use super::edits::Edits;
use super::id_recorder::IdRecorder;
use super::owners::Claims;
use super::template::Template;
use super::{OwnKeys, read_error, reasoning, rename};

/// The state that both forms of a relayed answer share.
#[derive(Debug)]
pub struct Reply {
    protocol: &'static dyn Protocol,
    /// The client's name of the model, as a JSON literal.
    model: Bytes,
    /// The id of the answer, as a JSON literal, if the gateway has written the events that open its stream.
    opened_as: Option<Bytes>,
    /// The provider's own name of the model, which may stand in its error texts.
    upstream_model: String,
    usage: Option<Usage>,
    /// The rates that the answer has reported beside the usage.
    rates: Rates,
    metadata: ResponseMetadata,
    /// The choices that have called tools, if those are watched.
    called: Option<BTreeSet<u64>>,
    /// The keys to remove from the provider's error texts.
    keys: Arc<OwnKeys>,
    /// The recorder of code containers, if the provider was asked to run code.
    claims: Option<Claims>,
    /// The recorder of the answer's id, until it has recorded one.
    id_recorder: Option<IdRecorder>,
}

impl Reply {
    /// Creates the reply to a request that called its model `model`.
    #[must_use]
    pub fn new(protocol: &'static dyn Protocol, model: &str) -> Self {
        let model = json::write::literal(model).into();
        Self {
            protocol,
            model,
            upstream_model: String::new(),
            usage: None,
            rates: Rates::default(),
            metadata: ResponseMetadata::default(),
            called: None,
            opened_as: None,
            keys: Arc::default(),
            claims: None,
            id_recorder: None,
        }
    }

    /// Sets the provider's own name of the model.
    #[must_use]
    pub fn known_as(self, upstream_model: &str) -> Self {
        Self { upstream_model: upstream_model.to_owned(), ..self }
    }

    /// Sets the habits of the provider.
    #[must_use]
    pub fn with_habits(self, profile: &Profile) -> Self {
        Self { called: profile.repair_finish.then(BTreeSet::new), ..self }
    }

    /// Removes these keys from failures.
    #[must_use]
    pub fn hiding(self, keys: &Arc<OwnKeys>) -> Self {
        Self { keys: Arc::clone(keys), ..self }
    }

    /// Sets the recorder of containers.
    #[must_use]
    pub fn claiming(self, claims: Option<Claims>) -> Self {
        Self { claims, ..self }
    }

    /// Sets the recorder of the id that the provider gives to the answer.
    #[must_use]
    pub fn recording(self, id_recorder: Option<IdRecorder>) -> Self {
        Self { id_recorder, ..self }
    }

    /// Returns the token counts so far.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage.clone().map(|usage| Usage { rates: usage.rates.and(self.rates), ..usage })
    }

    /// Returns the model that answers, in the provider's words.
    #[must_use]
    pub fn served(&self) -> Option<&str> {
        self.metadata.model.as_deref()
    }

    /// Takes the model and finish reasons that the answer has reported.
    pub fn metadata(&mut self) -> ResponseMetadata {
        std::mem::take(&mut self.metadata)
    }

    /// A whole answer.
    ///
    /// # Errors
    /// Returns 502 if the body is not a JSON object, and the provider's error if the body is one in spite of its
    /// status.
    pub fn whole(&mut self, body: Bytes) -> Result<Bytes> {
        let summary = self.protocol.read_reply(&body)?;
        if summary.progress == Progress::Failed {
            return Err(self.failure(&UpstreamError::read(&self.keys.cleaned(body))));
        }
        self.absorb(&summary, &body);
        let mut edits = Vec::new();
        self.edit(&summary, &body, 0, &mut edits);
        // An answer without usage may be an error in a form of its own, and one of several choices may be an error.
        if summary.usage.is_none() || self.metadata.finish.iter().any(|reason| reason == "error") {
            self.hide(&body, 0, 0, &mut edits);
        }
        Ok(if edits.is_empty() { body } else { json::splice(&body, &edits).into() })
    }

    /// Adds the edits of a body or of an event's data, which begins at `start`.
    fn edit(&mut self, summary: &EventSummary, data: &[u8], start: usize, edits: &mut Vec<Edit>) {
        let before = edits.len();
        let mut replace = |span: &Range<usize>, new: Bytes| {
            if data.get(span.clone()) != Some(&new) {
                edits.push((start + span.start..start + span.end, new));
            }
        };
        if let Some(span) = &summary.model {
            replace(span, self.model.clone());
        }
        if let (Some(span), Some(id)) = (&summary.id_span, &self.opened_as) {
            replace(span, id.clone());
        }
        if let Some(span) = &summary.error
            && let Some(new) = self.reworded(data.get(span.clone()).unwrap_or_default())
        {
            replace(span, new);
        }
        if let Some(called) = &mut self.called {
            let repairs = self.protocol.finish_edits(data, called);
            edits.extend(repairs.into_iter().map(|(at, new)| (start + at.start..start + at.end, new)));
        }
        edits.get_mut(before..).unwrap_or_default().sort_by_key(|(span, _)| span.start);
        if summary.error.is_some() || summary.progress == Progress::Failed {
            self.hide(data, start, before, edits);
        }
    }

    /// Adds the edits that remove all keys from data at `start`, whose other edits begin at the index `before`.
    fn hide(&self, data: &[u8], start: usize, before: usize, edits: &mut Vec<Edit>) {
        let of_data = self.keys.edits(data).into_iter();
        let moved = of_data.map(|(at, new)| (start + at.start..start + at.end, new));
        // The edits are sorted and do not overlap.
        let own = edits.get(before..).unwrap_or_default();
        let apart = |at: &Range<usize>| {
            let next = own.partition_point(|(other, _)| other.end <= at.start);
            own.get(next).is_none_or(|(other, _)| at.end <= other.start)
        };
        let added: Vec<_> = moved.filter(|(at, _)| apart(at)).collect();
        edits.extend(added);
        edits.get_mut(before..).unwrap_or_default().sort_by_key(|(span, _)| span.start);
    }

    /// Returns the replacement for a provider's error object, unless its words are about the request and may stay.
    fn reworded(&self, object: &[u8]) -> Option<Bytes> {
        let clean = self.keys.cleaned(Bytes::copy_from_slice(object));
        let error = UpstreamError::read(&clean);
        let failure = self.failure(&error);
        let theirs = matches!(failure.kind(), Kind::BadRequest | Kind::ContextLength | Kind::ContentPolicy);
        match theirs && failure.message() == error.message {
            true => (clean != object).then_some(clean),
            false => self.protocol.error_object(&failure),
        }
    }

    /// Returns the failure that the provider reported in spite of its status.
    fn failure(&self, error: &UpstreamError) -> Failure {
        let client_model = json::text(&self.model).unwrap_or_default();
        let error = self.keys.without(error);
        let message = rename(&error.message, &self.upstream_model, &client_model);
        read_error(200, &UpstreamError { message, ..error }, None)
    }

    fn absorb(&mut self, summary: &EventSummary, data: &[u8]) {
        if self.metadata.model.is_none()
            && let Some(name) = summary.model.clone().and_then(|span| json::text(data.get(span)?))
        {
            self.metadata.model(Some(&name));
        }
        // Only one of the last events has a finish reason or usage.
        if summary.progress != Progress::Running || summary.usage.is_some() {
            self.protocol.read_finish(data, &mut self.metadata);
        }
        if let Some(claims) = &self.claims {
            self.protocol.read_containers(data, &mut |container| claims.note(container));
        }
        if let Some(id) = &summary.id
            && let Some(recorder) = self.id_recorder.take()
        {
            recorder.record(id);
        }
        self.rates = self.rates.and(summary.rates);
        if let Some(part) = &summary.usage {
            self.usage.get_or_insert_default().absorb(part);
        }
    }
}

/// The relay of an answer that comes as a stream of events.
#[derive(Debug)]
pub struct Stream {
    reply: Reply,
    framer: Framer,
    withhold_usage: bool,
    /// Whether the stream may end without a word.
    finish_optional: bool,
    progress: Progress,
    id: Option<String>,
    events: u64,
    deltas: Deltas,
    /// Whether the model has been seen to reason.
    reasons: bool,
    /// Whether anything of the answer has come, and not only its announcement.
    has_output: bool,
    /// The failure that has come in the place of an answer, in the protocol's final form.
    refusal: Option<Failure>,
    /// Whether the last event was withheld; then an LF that completes it is withheld, too.
    withheld_last: bool,
    /// The bytes of the chunk before a failure that it reported.
    unsent: Bytes,
    /// The edits of the current chunk. The list is kept so that it is not allocated for each chunk.
    edits: Vec<Edit>,
    /// The piece of the answer that others are compared with.
    template: Template,
}

/// The end of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Complete, according to its protocol.
    Whole,
    /// Failed, with an error that the provider itself reported to the client.
    Reported,
    /// Incomplete according to its protocol: the client has to be told.
    Broken(UpstreamError),
}

impl Stream {
    /// Creates the relay of a stream with events of at most `limit` bytes.
    #[must_use]
    pub fn new(reply: Reply, profile: &Profile, withhold_usage: bool, limit: usize) -> Self {
        Self {
            reply,
            framer: Framer::new(limit),
            withhold_usage,
            finish_optional: profile.finish_optional,
            progress: Progress::Running,
            id: None,
            events: 0,
            deltas: Deltas::default(),
            reasons: false,
            has_output: false,
            refusal: None,
            withheld_last: false,
            unsent: Bytes::new(),
            edits: Vec::new(),
            template: Template::default(),
        }
    }

    /// The same, of which all events are read.
    #[cfg(test)]
    pub(super) fn without_template(self) -> Self {
        Self { template: Template::none(), ..self }
    }

    /// Takes a chunk as it arrived, and returns the bytes that go to the client now.
    ///
    /// There are none while an event is incomplete. A chunk without changes is returned without a copy.
    ///
    /// # Errors
    /// Returns 502 for an event over the limit, and the provider's failure if it reports one. Then [`Stream::end`]
    /// has the rest, and nothing may be pushed any more.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes> {
        let mut framer = std::mem::take(&mut self.framer);
        let result = self.relay(&mut framer, chunk);
        self.framer = framer;
        result
    }

    fn relay(&mut self, framer: &mut Framer, chunk: Bytes) -> Result<Bytes> {
        let block = framer.push(chunk).map_err(|_| super::too_large("upstream_event_too_large"))?;
        let Some(block) = block else { return Ok(Bytes::new()) };
        let mut completes = block.leading_lf;
        let mut end = block.bytes.len();
        for span in block.events() {
            let event = block.bytes.get(span.clone()).unwrap_or_default();
            if !std::mem::take(&mut completes) {
                self.event(span.start, event);
            } else if self.withheld_last {
                self.edits.push((span.clone(), Bytes::new()));
            }
            if matches!(self.progress, Progress::Warned(_)) {
                end = span.end;
                break;
            }
        }
        let mut bytes = block.bytes;
        bytes.truncate(end);
        if !self.edits.is_empty() {
            bytes = json::splice(&bytes, &self.edits).into();
            self.edits.clear();
        }
        match &self.progress {
            Progress::Warned(error) => {
                self.unsent = bytes;
                Err(self.broken(error))
            }
            _ => Ok(bytes),
        }
    }

    /// Takes one event, which begins at `start` in its block.
    fn event(&mut self, start: usize, bytes: &[u8]) {
        if let Some(length) = self.template.repeat(bytes, start, &mut self.edits) {
            self.withheld_last = false;
            self.events += 1;
            return self.deltas.add(length);
        }
        let event = SseEvent::parse(bytes);
        let Some(data) = &event.data else {
            self.withheld_last = false;
            return self.reply.hide(bytes, start, self.edits.len(), &mut self.edits);
        };
        let summary = self.reply.protocol.read_event(&event);
        self.reply.absorb(&summary, &data.bytes);
        // The client must not read a provider's own words about a failure.
        self.withheld_last = self.withhold_usage && summary.usage_only
            || self.reply.opened_as.is_some() && summary.opens
            || matches!(summary.progress, Progress::Warned(_));
        self.events += u64::from(!self.withheld_last);
        // Reasoning comes first.
        if !self.reasons && self.events <= FIRST_EVENTS {
            self.reasons = reasoning::shows(&data.bytes);
        }
        if summary.is_delta {
            self.deltas.add(data.bytes.len());
        }
        if self.withheld_last {
            self.edits.push((start..start + bytes.len(), Bytes::new()));
        } else {
            let before = self.edits.len();
            self.reply.edit(&summary, &data.bytes, start + data.start, &mut self.edits);
            // An event without words of the model may be an error in a form of its own or of another protocol.
            if !summary.has_words {
                self.reply.hide(bytes, start, before, &mut self.edits);
            } else if summary.is_piece() {
                let edits = self.edits.get(before..).unwrap_or_default();
                self.template.learn(bytes, data, start, edits);
            }
        }
        if !self.has_output {
            self.note_beginning(&summary, &event, &data.bytes);
        }
        advance(&mut self.progress, summary.progress);
        self.id = self.id.take().or(summary.id);
    }

    /// Returns the bytes that keep a waiting client's stream alive. If they open the stream, the provider's events that
    /// do so are left out, and its id is replaced in the others.
    pub fn keep_alive(&mut self, request_id: &str, model: &str, now: u64) -> Bytes {
        let sign = self.reply.protocol.keep_alive(&self.facts(request_id, model, now));
        if self.events == 0
            && let Some((id, events)) = self.reply.protocol.opening(request_id)
        {
            self.reply.opened_as = Some(Bytes::from(format!("\"{id}\"")));
            (self.id, self.events) = (Some(id), events);
        }
        sign
    }

    fn facts<'a>(&'a self, request_id: &'a str, model: &'a str, now: u64) -> StreamFacts<'a> {
        StreamFacts { request_id, model, id: self.id.as_deref(), events: self.events, now }
    }

    /// Notes whether one of the first events begins the answer, or is a failure in its place.
    fn note_beginning(&mut self, summary: &EventSummary, event: &SseEvent<'_>, data: &[u8]) {
        match summary.progress {
            Progress::Failed => {
                let object = summary.error.clone().and_then(|span| data.get(span)).unwrap_or_default();
                self.refusal = Some(self.reply.failure(&UpstreamError::read(object)));
            }
            Progress::Warned(_) => {}
            _ => self.has_output = !self.withheld_last && !self.reply.protocol.is_preamble(event),
        }
    }

    /// Takes the end of the stream: returns the rest to pass on, and the way in which it ended.
    pub fn end(&mut self) -> (Bytes, End) {
        let rest = self.framer.rest();
        let last = match (&self.progress, rest.is_empty()) {
            (Progress::Warned(_), _) => std::mem::take(&mut self.unsent),
            (_, true) => Bytes::new(),
            (_, false) => self.last(rest),
        };
        let end = match &self.progress {
            Progress::Finished | Progress::Over => End::Whole,
            Progress::Failed => End::Reported,
            Progress::Running if self.finish_optional && self.events > 0 => End::Whole,
            Progress::Running => End::Broken(UpstreamError::default()),
            Progress::Warned(error) => End::Broken(error.clone()),
        };
        (last, end)
    }

    /// Handles an event without its final blank line. It counts if it is complete otherwise. If not, it is
    /// dropped, so that a failure that follows does not stand in the middle of it.
    fn last(&mut self, rest: Bytes) -> Bytes {
        let event = SseEvent::parse(&rest);
        let whole = event.data.as_ref().is_some_and(|data| {
            let mut members = json::members(&data.bytes);
            data.bytes.trim_ascii() == b"[DONE]" || members.finish().is_ok()
        });
        if !whole {
            return Bytes::new();
        }
        let ended = Bytes::from([rest.as_ref(), b"\n\n"].concat());
        self.push(ended).unwrap_or_else(|_| std::mem::take(&mut self.unsent))
    }

    /// Returns the number of bytes that are kept of an unfinished event.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.framer.kept()
    }

    /// Whether the answer has reported why it ends, so that only its token counts and its end may follow.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        matches!(self.progress, Progress::Finished | Progress::Over)
    }

    /// Whether anything of the answer has come, and not only its announcement.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.has_output
    }

    /// Returns the failure that has come in the place of an answer, in the protocol's final form. It may be passed on
    /// as it is.
    #[must_use]
    pub fn refusal(&self) -> Option<&Failure> {
        self.refusal.as_ref()
    }

    /// Returns the number of the answer's events so far. Comments do not count.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Whether its last event has come, so that only the end of the body may follow.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.progress, Progress::Over)
    }

    /// Whether the model has been seen to reason.
    #[must_use]
    pub fn reasons(&self) -> bool {
        self.reasons
    }

    /// Whether the token counts of the complete answer have come, though perhaps not its end.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.reply.usage.is_some() && !self.reply.metadata.finish.is_empty()
    }

    /// Returns an estimate of the answer's tokens so far, from its events.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.deltas.tokens()
    }

    /// Returns the failure to report for [`End::Broken`].
    #[must_use]
    pub fn broken(&self, error: &UpstreamError) -> Failure {
        if *error == UpstreamError::default() { Failure::truncated() } else { self.reply.failure(error) }
    }

    /// Returns the token counts so far.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.reply.usage()
    }

    /// Returns the model that answers, in the provider's words.
    #[must_use]
    pub fn served(&self) -> Option<&str> {
        self.reply.served()
    }

    /// Takes the model and the finish reasons that the answer has named so far.
    pub fn metadata(&mut self) -> ResponseMetadata {
        self.reply.metadata()
    }

    /// Returns the events that tell the client of a failure.
    #[must_use]
    pub fn failure(&self, failure: &Failure, request_id: &str, model: &str, now: u64) -> Bytes {
        self.reply.protocol.stream_failure(failure, &self.facts(request_id, model, now))
    }
}

/// Number of first events of a stream in which reasoning is looked for: models reason before they answer.
const FIRST_EVENTS: u64 = 16;

/// Counts of an answer's pieces. Each is one token or more, in an envelope of nearly constant size, which the
/// smallest piece shows.
#[derive(Clone, Copy, Debug, Default)]
struct Deltas {
    count: u64,
    bytes: u64,
    smallest: u64,
}

impl Deltas {
    fn add(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.smallest = if self.count == 0 { bytes } else { self.smallest.min(bytes) };
        self.count += 1;
        self.bytes += bytes;
    }

    fn tokens(self) -> u64 {
        self.count + (self.bytes - self.count * self.smallest) / super::BYTES_PER_TOKEN
    }
}

/// Advances the progress of a stream. One that has finished or failed stays so, whatever follows.
fn advance(progress: &mut Progress, next: Progress) {
    match (&*progress, &next) {
        (_, Progress::Running) => {}
        (Progress::Finished, Progress::Over) => *progress = next,
        (Progress::Finished | Progress::Over | Progress::Failed | Progress::Warned(_), _) => {}
        _ => *progress = next,
    }
}
