//! The path of an answer's events from the decoder to the client's bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::canon::{Anomaly, Answer, Encode, Event, Overflow, Rate, Rates, ResponseMetadata, Usage};
use crate::failure::{Failure, Result};

use super::response_rewriter::ResponseRewriter;
use super::summary::SummaryCollector;
use super::{OwnKeys, read_error};

/// The stages after the decoder: the client's own names are restored, and the answer is written for it.
#[derive(Debug)]
pub(super) struct Pipeline {
    rewriter: ResponseRewriter,
    /// The collector of the answer, if it is a summary.
    summary: Option<SummaryCollector>,
    pub(super) output: PipelineOutput,
    pub(super) usage: Option<Usage>,
    /// The rates that the answer reports.
    pub(super) rates: Rates,
    pub(super) anomalies: BTreeMap<Anomaly, u64>,
    pub(super) metadata: ResponseMetadata,
    /// Whether the answer is complete or has failed: later events are ignored.
    pub(super) ended: bool,
    /// Whether the response is committed, because content has come that cannot be taken back.
    pub(super) committed: bool,
    /// Number of bytes of the answer's own content.
    pub(super) delivered: u64,
    /// Whether the model has been seen to reason.
    pub(super) reasons: bool,
    pub(super) began: bool,
    pub(super) failure: Option<Failure>,
    /// The keys to remove from the provider's error texts.
    pub(super) keys: Arc<OwnKeys>,
}

/// The answer in the client's form: as a stream, or complete.
#[derive(Debug)]
pub(super) enum PipelineOutput {
    Stream { encoder: Box<dyn Encode>, ready: Vec<u8> },
    Whole(Box<Answer>),
}

impl Pipeline {
    /// Creates a pipeline before its first event.
    pub(super) fn new(rewriter: ResponseRewriter, output: PipelineOutput) -> Self {
        let summary = rewriter.is_compaction().then(SummaryCollector::default);
        Self {
            rewriter,
            summary,
            output,
            usage: None,
            rates: Rates::default(),
            anomalies: BTreeMap::new(),
            metadata: ResponseMetadata::default(),
            ended: false,
            committed: false,
            delivered: 0,
            reasons: false,
            began: false,
            failure: None,
            keys: Arc::default(),
        }
    }

    /// Takes one event of the decoder.
    pub(super) fn take(&mut self, event: Event<'_>) {
        if self.ended {
            return;
        }
        self.began = true;
        if let Event::Tier(tier) = &event {
            self.rates = self.rates.and(Rate::of_tier(tier).into_iter().collect());
        }
        match &event {
            Event::Usage(part) => self.usage.get_or_insert_default().absorb(part),
            Event::Anomaly(anomaly) => return *self.anomalies.entry(*anomaly).or_default() += 1,
            Event::Cite(_) if !self.rewriter.client().protocol().names_sources() => {
                return *self.anomalies.entry(Anomaly::Citation).or_default() += 1;
            }
            Event::Fail(error) => {
                let error = self.rewriter.renamed(&self.keys.without(error));
                return self.fail(read_error(OK, &error, None));
            }
            Event::End => (self.committed, self.ended) = (true, true),
            event => {
                if let Event::Finish(finish) = event {
                    self.metadata.finish(finish.as_str());
                }
                self.committed |= event.commits();
                self.reasons |= matches!(event, Event::Thought(_) | Event::Seal(_)) && event.size() > 0;
                self.delivered += event.size() as u64;
            }
        }
        let (rewriter, summary, output) = (&mut self.rewriter, &mut self.summary, &mut self.output);
        let mut overflow = false;
        let mut flaw = Ok(());
        let mut write = |event: Event<'_>| overflow |= output.take(event).is_err();
        match summary {
            None => rewriter.take(event, &mut write),
            Some(summary) => rewriter.take(event, &mut |event| {
                if flaw.is_ok() {
                    flaw = summary.take(event, &mut write);
                }
            }),
        }
        if overflow {
            self.fail(super::too_large(Overflow::DETAIL));
        }
        if let Err(failure) = flaw {
            self.fail(failure);
        }
    }

    /// Takes an event like [`Pipeline::take`], with long texts split into pieces as in a stream.
    pub(super) fn take_in_pieces(&mut self, event: Event<'_>) {
        let streams = matches!(self.output, PipelineOutput::Stream { .. });
        match event {
            Event::Text(text) if streams => {
                text.pieces(PIECE_BYTES).for_each(|piece| self.take(Event::Text(piece)));
            }
            other => self.take(other),
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.ended = true;
        self.failure = Some(failure);
    }

    pub(super) fn check(&self) -> Result<()> {
        self.failure.clone().map_or(Ok(()), Err)
    }
}

impl PipelineOutput {
    /// Makes room for what a client gets for so many bytes of a provider's.
    pub(super) fn reserve(&mut self, bytes: usize) {
        if let Self::Stream { ready, .. } = self {
            ready.reserve(bytes + bytes / 2);
        }
    }

    fn take(&mut self, event: Event<'_>) -> std::result::Result<(), Overflow> {
        match self {
            Self::Stream { encoder, ready } => {
                encoder.event(event, ready);
                Ok(())
            }
            Self::Whole(answer) => answer.take(event),
        }
    }
}

/// The HTTP status of an answer that contains a failure.
const OK: u16 = 200;

/// Bytes of text in one event when a complete answer is turned into a stream: 4 KiB.
const PIECE_BYTES: usize = 4 << 10;
