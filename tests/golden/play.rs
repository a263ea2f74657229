//! An answer on its way, cut into pieces.

use std::sync::Arc;

use bytes::Bytes;
use crossmodel::Failure;
use crossmodel::canon::Context;
use crossmodel::translate::bridge::{Bridge, refused};

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
    pub(crate) bytes: Vec<u8>,
    /// The failure that comes as a status.
    pub(crate) failure: Option<Failure>,
}

/// Plays an answer in pieces of these lengths, the last for all that is left.
pub(crate) fn play(
    case: &Case,
    context: &Arc<Context>,
    answer: Answer<'_>,
    stream: bool,
    pieces: &[&[u8]],
) -> Outcome {
    if let (Some(status), Answer::Whole(body)) = (case.status, answer) {
        let failure = refused(status, body, case.retry_after, &case.model, MODEL);
        return Outcome { bytes: Vec::new(), failure: Some(failure) };
    }
    let (client, upstream) = (case.client.protocol(), case.upstream.protocol());
    let mut bridge = Bridge::new(client, upstream, &case.profile(), Arc::clone(context), stream, 8 << 20);
    let mut bytes = Vec::new();
    let result = match answer {
        Answer::Whole(body) => bridge.reply(body),
        Answer::Stream(_) => {
            let mut pushed = Ok(());
            for piece in pieces {
                pushed = bridge.push(Bytes::copy_from_slice(piece));
                bytes.extend_from_slice(&bridge.ready());
                if pushed.is_err() {
                    break;
                }
            }
            pushed.and_then(|()| bridge.end())
        }
    };
    bytes.extend_from_slice(&bridge.ready());
    let failure = result.err();
    match &failure {
        Some(failure) if stream && bridge.is_committed() => {
            bytes.extend_from_slice(&bridge.fail(failure));
            return Outcome { bytes, failure: None };
        }
        // Nothing was sent yet that could not be taken back.
        Some(_) => bytes.clear(),
        None if !stream => bytes = bridge.whole(client, context).to_vec(),
        None => {}
    }
    Outcome { bytes, failure }
}

/// `bytes` in pieces of `size`.
pub(crate) fn pieces(bytes: &[u8], size: usize) -> Vec<&[u8]> {
    bytes.chunks(size).collect()
}
