//! One request and its answer: all that is known of them between the hooks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use jiff::Timestamp;

use crate::auth::Grant;
use crate::canon::{Anomaly, ResponseMetadata, Sealer, Usage};
use crate::edge::call::endpoint::Endpoint;
use crate::edge::call::fallback::Fallbacks;
use crate::edge::call::snapshot::Snapshot;
use crate::edge::call::target::Call;
use crate::failure::{Failure, Kind};
use crate::limit::{Shed, Slot, Standing, Ticket};
use crate::meter::Bill;
use crate::observe::{Attempt, Trace};
use crate::protocol::ProtocolId;
use crate::route::Visit;

/// The state of one request. Opaque: embedders hold it in their own context.
#[derive(Debug)]
pub struct Exchange {
    pub(in crate::edge) id: String,
    pub(in crate::edge) time: Timestamp,
    pub(in crate::edge) started: Instant,
    /// The configuration that holds for this request from its start to its end.
    pub(in crate::edge) snapshot: Arc<Snapshot>,
    pub(in crate::edge) endpoint: Option<Endpoint>,
    /// Whether the client expects Anthropic's error shape.
    pub(in crate::edge) anthropic: bool,
    pub(in crate::edge) grant: Option<Grant>,
    pub(in crate::edge) requested_model: Option<String>,
    pub(in crate::edge) call: Option<Box<Call>>,
    /// The targets that the call may still go to if it fails where it is.
    pub(in crate::edge) fallbacks: Option<Box<Fallbacks>>,
    /// The call's stay at the target that is being asked.
    pub(in crate::edge) asked: Option<Visit>,
    /// The call's place in the limits of its key.
    pub(in crate::edge) ticket: Option<Ticket>,
    /// The key's standing in its limits.
    pub(in crate::edge) standing: Standing,
    pub(in crate::edge) bill: Option<Bill>,
    /// The id under which the provider knows the request.
    pub(in crate::edge) upstream_id: Option<HeaderValue>,
    /// Tools that were left out of the request, because the model has no price for them.
    pub(in crate::edge) spared: Option<String>,
    /// The members of the request that could not be carried.
    pub(in crate::edge) dropped: Option<String>,
    /// Whether the client wants a refusal rather than a loss.
    pub(in crate::edge) strict: bool,
    /// The try of a target that is going on, or was the last.
    pub(in crate::edge) attempt: Option<Attempt>,
    pub(in crate::edge) trace: Trace,
    /// Whether the answer is only an estimate.
    pub(in crate::edge) estimated: bool,
    /// The call's place in all that goes on.
    pub(in crate::edge) slot: Option<Slot>,
    /// The reason for which the call was not let in.
    pub(in crate::edge) shed: Option<Shed>,
    /// The limit of its key or account by which it was refused.
    pub(in crate::edge) limit: Option<&'static str>,
    pub(in crate::edge) failure: Option<Failure>,
    pub(in crate::edge) usage: Option<Usage>,
    /// The model that has answered, in its provider's words, if it is not the one that was asked.
    pub(in crate::edge) served: Option<String>,
    /// The answer's own id, model and finish reason.
    pub(in crate::edge) said: ResponseMetadata,
    /// The parts of the answer that were not understood.
    pub(in crate::edge) oddities: BTreeMap<Anomaly, u64>,
    pub(in crate::edge) status: u16,
    /// Whether the client was sent the head of a stream.
    pub(in crate::edge) streams: bool,
    pub(in crate::edge) attempts: u32,
    /// Of these, how many at the target where the call is.
    pub(in crate::edge) tries: u32,
    pub(in crate::edge) first_asked: Option<Instant>,
    /// The time at which the request went to the target that is being asked.
    pub(in crate::edge) sent: Option<Instant>,
    /// The time for which the client was waited for to take its answer.
    pub(in crate::edge) stalled: Duration,
    /// Whether the target is asked by a connection that nothing was sent on yet.
    pub(in crate::edge) fresh: bool,
    pub(in crate::edge) bytes_in: usize,
    pub(in crate::edge) bytes_out: usize,
    pub(in crate::edge) first_byte: Option<Duration>,
    pub(in crate::edge) client_gone: bool,
}

impl Exchange {
    pub(in crate::edge) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            id: new_id(),
            time: Timestamp::now(),
            started: Instant::now(),
            snapshot,
            endpoint: None,
            anthropic: false,
            grant: None,
            requested_model: None,
            call: None,
            fallbacks: None,
            asked: None,
            ticket: None,
            standing: Standing::default(),
            bill: None,
            upstream_id: None,
            spared: None,
            dropped: None,
            strict: false,
            attempt: None,
            trace: Trace::default(),
            estimated: false,
            slot: None,
            shed: None,
            limit: None,
            failure: None,
            usage: None,
            served: None,
            said: ResponseMetadata::default(),
            oddities: BTreeMap::new(),
            status: 0,
            streams: false,
            attempts: 0,
            tries: 0,
            first_asked: None,
            sent: None,
            stalled: Duration::ZERO,
            fresh: false,
            bytes_in: 0,
            bytes_out: 0,
            first_byte: None,
            client_gone: false,
        }
    }

    /// The protocol in which the client is answered.
    pub(in crate::edge) fn dialect(&self) -> ProtocolId {
        let shared = if self.anthropic { ProtocolId::Messages } else { ProtocolId::Chat };
        self.endpoint.and_then(Endpoint::protocol).unwrap_or(shared)
    }

    /// The call, which is there from the choice of the target on.
    pub(in crate::edge) fn call(&self) -> Result<&Call, Failure> {
        self.call.as_deref().ok_or_else(|| Failure::new(Kind::Internal, "The request has no target."))
    }

    /// The model, as the client named it.
    pub(in crate::edge) fn client_model(&self) -> &str {
        self.requested_model.as_deref().unwrap_or_default()
    }

    /// The seal of the reasoning that the account carries.
    pub(in crate::edge) fn sealer(&self) -> Sealer {
        self.snapshot.tenants.sealer(self.grant.as_ref())
    }

    /// The time at which an answer that is no stream has to be there.
    pub(in crate::edge) fn deadline(&self) -> Option<Instant> {
        let call = self.call.as_ref().filter(|call| !call.streams)?;
        self.first_asked.unwrap_or_else(Instant::now).checked_add(call.upstream.times.total)
    }

    /// Whether the time is over in which the answer had to be there.
    pub(in crate::edge) fn is_late(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The time of the request, in seconds since the epoch.
    pub(in crate::edge) fn seconds(&self) -> u64 {
        u64::try_from(self.time.as_second()).unwrap_or(0)
    }

    /// Notes how the target that was tried has failed.
    pub(in crate::edge) fn fail_attempt(&mut self, kind: &'static str) {
        if let Some(attempt) = &self.attempt {
            attempt.failed(kind);
        }
        self.trace.failed(kind);
    }

    /// Notes that something of the target's answer has arrived.
    pub(in crate::edge) fn note_arrival(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.arrived();
        }
    }

    /// Notes why the call is not let in.
    pub(in crate::edge) fn shed(&mut self, shed: Shed) -> Failure {
        self.shed = Some(shed);
        shed.failure()
    }

    /// The client gets an answer now: nobody is asked any more, so what could be asked again is let go of.
    pub(in crate::edge) fn commit(&mut self) {
        self.fallbacks = None;
        if let Some(call) = &mut self.call {
            call.body = Bytes::new();
        }
        self.keep_held();
    }

    /// Lets go of the room for what is not kept in memory any more.
    pub(in crate::edge) fn keep_held(&mut self) {
        let held = self.held();
        if let Some(slot) = &mut self.slot {
            slot.keep(held);
        }
    }

    /// Bytes of the request that are kept in memory: as it goes to the provider, as it may go to others, and what its
    /// answer repeats of it.
    pub(in crate::edge) fn held(&self) -> usize {
        let call = self.call.as_ref().map_or(0, |call| call.held(self.bytes_in));
        call + self.fallbacks.as_ref().map_or(0, |rest| rest.body.len())
    }

    /// Notes that the first byte of the answer goes out now.
    pub(in crate::edge) fn note_first_byte(&mut self) {
        self.first_byte.get_or_insert_with(|| self.started.elapsed());
    }
}

/// An id for a request.
pub(in crate::edge) fn new_id() -> String {
    format!("{ID_PREFIX}{}", crate::auth::random(ID_LENGTH))
}

const ID_PREFIX: &str = "req_cm_";

/// Characters after the prefix.
const ID_LENGTH: usize = 24;
