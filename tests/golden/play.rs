//! An answer on its way, cut into pieces.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use crossmodel_core::Failure;
use crossmodel_core::canon::{Context, Form};
use crossmodel_core::translate::bridge::{Bridge, refused};

use crate::files::{Case, MODEL};

/// What the provider sends.
#[derive(Clone, Copy)]
pub(crate) enum Answer<'a> {
    /// A stream.
    Stream(&'a [u8]),
    /// One document.
    Whole(&'a [u8]),
}

/// What the client gets.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// All that it is sent, the failure included.
    pub(crate) bytes: Vec<u8>,
    pub(crate) failure: Option<Failure>,
    /// The parts of the answer that were counted because they were not passed on as they were, by kind.
    pub(crate) odd: BTreeMap<String, u64>,
    /// Had the provider really answered when it failed, so that the failure can be no status?
    committed: bool,
}

impl Outcome {
    /// The failure, where it comes as a status.
    pub(crate) fn refusal(&self) -> Option<&Failure> {
        self.failure.as_ref().filter(|_| !self.committed)
    }
}

/// Plays an answer, a stream in these pieces.
pub(crate) fn play(
    case: &Case,
    context: &Arc<Context>,
    answer: Answer<'_>,
    stream: bool,
    pieces: &[&[u8]],
) -> Outcome {
    if let (Some(status), Answer::Whole(body)) = (case.status, answer) {
        let failure = refused(status, body, case.retry_after, &case.model, MODEL);
        return Outcome { bytes: Vec::new(), failure: Some(failure), odd: BTreeMap::new(), committed: false };
    }
    let (client, upstream) = (case.client.protocol(), case.upstream.protocol());
    let mut bridge =
        Bridge::new(client, upstream, &case.profile(), Arc::clone(context), Form::of_stream(stream), 8 << 20);
    let (mut bytes, mut committed) = (Vec::new(), false);
    let result = match answer {
        Answer::Whole(body) => bridge.reply(body),
        Answer::Stream(_) => {
            let mut pushed = pieces.iter().try_for_each(|piece| {
                bridge.push(Bytes::copy_from_slice(piece))?;
                committed = bridge.is_committed();
                bytes.extend_from_slice(&bridge.ready());
                Ok(())
            });
            if pushed.is_ok() {
                pushed = bridge.end();
            }
            pushed
        }
    };
    bytes.extend_from_slice(&bridge.ready());
    let failure = result.err();
    match &failure {
        Some(failure) => bytes.extend_from_slice(&bridge.fail(failure)),
        None if !stream => bytes = bridge.whole(client, context).to_vec(),
        None => {}
    }
    let odd = bridge.anomalies().into_iter().map(|(kind, count)| (kind.as_str().to_owned(), count)).collect();
    Outcome { bytes, failure, odd, committed: committed && stream }
}

/// `bytes` in pieces of `size`.
pub(crate) fn pieces(bytes: &[u8], size: usize) -> Vec<&[u8]> {
    bytes.chunks(size).collect()
}
