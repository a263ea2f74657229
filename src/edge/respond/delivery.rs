//! The delivery of a provider's stream to a client, in a loop that listens to the provider, the client and the
//! clock.
//!
//! Each part that arrives goes through a [`ResponseStream`], and the ready ones go to the client when the provider would have to be
//! waited for. The head is held back until the provider really answers: a failure before that still is a status.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::canon::Form;
use crate::edge::call::admission::Admission;
use crate::edge::call::attempts::Attempts;
use crate::edge::call::billing::Billing;
use crate::edge::call::call_guard::{Abort, CallGuard};
use crate::edge::call::outcome::Outcome;
use crate::edge::call::request_info::RequestInfo;
use crate::edge::request::headers::Identity;
use crate::edge::respond::answer_body::AnswerBody;
use crate::edge::respond::burst::Burst;
use crate::edge::respond::ending::Ending;
use crate::edge::respond::guarded;
use crate::edge::respond::phase::Phase;
use crate::edge::respond::reply;
use crate::edge::respond::response_stream::{Parts, ResponseStream, StreamStage};
use crate::edge::upstream::connection::Connector;
use crate::edge::upstream::transport::provider_failure;
use crate::failure::Failure;

type Result<T> = std::result::Result<T, Abort>;

/// The parts of a provider's stream that have arrived since the client was written to last.
#[derive(Default)]
struct Arrivals {
    /// The parts that have not gone into the response yet.
    parts: Parts,
    /// Bytes of all parts.
    size: usize,
}

impl Arrivals {
    /// Adds a part. Returns whether it is the first that waits.
    fn add(&mut self, part: Bytes) -> bool {
        let is_first = self.parts.is_empty();
        self.size += part.len();
        self.parts.add(part);
        is_first
    }
}

/// The provider's silence, which the timer of the stream watches.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Silence {
    /// The time since which the provider is waited for.
    since: Instant,
    /// The longest time for which it may say nothing.
    most: Duration,
}

impl Silence {
    /// A silence that begins now and may last so long.
    pub(in crate::edge) fn new(most: Duration) -> Self {
        Self { since: Instant::now(), most: most.min(NEVER) }
    }

    fn ends(self) -> Instant {
        self.since + self.most
    }

    fn is_over(self) -> bool {
        Instant::now() >= self.ends()
    }
}

/// An answer on its way, with the parts of its call that are written meanwhile.
pub(in crate::edge) struct Delivery<'d> {
    pub(in crate::edge) request: &'d RequestInfo,
    pub(in crate::edge) admission: &'d mut Admission,
    pub(in crate::edge) attempts: &'d mut Attempts,
    pub(in crate::edge) billing: &'d mut Billing,
    pub(in crate::edge) outcome: &'d mut Outcome,
    pub(in crate::edge) guard: &'d mut CallGuard,
    /// The connections over which guards are asked.
    pub(in crate::edge) connector: &'d Connector,
    pub(in crate::edge) response: ResponseStream,
    pub(in crate::edge) phase: Phase,
    pub(in crate::edge) silence: Silence,
    pub(in crate::edge) ending: Ending,
    pub(in crate::edge) burst: Burst,
    /// Bytes of a large event that has not arrived completely, for which there is room.
    pub(in crate::edge) kept: usize,
}

impl Delivery<'_> {
    /// Ends a delivery that is complete or has failed. Returns whether nothing more has to be read.
    pub(in crate::edge) async fn end(&mut self, result: Result<()>, session: &mut Session) -> Result<bool> {
        self.attempts.answer.usage = self.response.usage();
        self.attempts.note_served(self.response.served());
        self.billing.deliver(self.response.delivered());
        self.attempts.note_reasoning(self.response.reasons());
        if matches!(result, Err(Abort::Gone)) && self.response.is_counted() {
            self.attempts.answer.usage = self.response.usage();
            self.settle();
        }
        self.attempts.answer.anomalies = self.response.anomalies();
        self.attempts.answer.said = self.response.said();
        match result.inspect_err(|abort| self.attempts.note_abort(abort)) {
            Ok(()) => self.finish(session).await?,
            Err(Abort::Failed(failure)) if self.speaks() => self.fail(session, failure).await?,
            Err(abort) => return Err(abort),
        }
        Ok(self.response.stage() == StreamStage::Whole)
    }

    /// Relays a provider's stream as it arrives. Parts that arrive together are sent together: the client is
    /// written to as soon as the next read from the provider would have to wait. In a [`Burst`], the next read is put off.
    pub(in crate::edge) async fn relay(
        &mut self,
        answer: &mut AnswerBody,
        session: &mut Session,
    ) -> Result<()> {
        // Pingora would set a timer for each part.
        answer.provider.set_read_timeout(None);
        let mut clock = pin!(sleep_until(self.wake()));
        let mut arrivals = Arrivals::default();
        loop {
            let mut read = pin!(answer.read());
            let arrived = match poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
                Poll::Ready(arrived) if arrivals.size < GATHER => arrived,
                early => {
                    if self.take(&mut arrivals)? {
                        return Ok(());
                    }
                    arrivals.size = 0;
                    if self.speaks() {
                        self.write(session).await?;
                    }
                    match early {
                        Poll::Ready(arrived) => arrived,
                        Poll::Pending => {
                            // Too short to listen to the client meanwhile.
                            if let Some(end) = self.burst.take_pause() {
                                clock.as_mut().reset(end);
                                clock.as_mut().await;
                                clock.as_mut().reset(self.wake());
                            }
                            self.wait(read, clock.as_mut(), session).await?
                        }
                    }
                }
            };
            match arrived {
                Ok(Some(chunk)) if !self.ending.is_past() => {
                    if arrivals.add(chunk) {
                        self.attempts.note_arrival();
                    }
                    // Until the client has its head, a failure in one part must not take those before it away.
                    if self.phase.is_committed() {
                        continue;
                    }
                    if self.take(&mut arrivals)? {
                        return Ok(());
                    }
                }
                ended => {
                    let is_whole = self.take(&mut arrivals)?;
                    return if is_whole { Ok(()) } else { self.ended(ended.map(drop)) };
                }
            }
            if self.phase.is_waiting() && self.response.has_begun() {
                self.phase.begin(Instant::now());
                clock.as_mut().reset(self.wake());
            }
        }
    }

    /// Waits for the next part of the provider's body, and meanwhile looks after the client and the time.
    async fn wait(
        &mut self,
        mut read: Pin<&mut impl Future<Output = pingora::Result<Option<Bytes>>>>,
        mut clock: Pin<&mut Sleep>,
        session: &mut Session,
    ) -> Result<pingora::Result<Option<Bytes>>> {
        self.silence.since = Instant::now();
        // Nothing else brings the time forward.
        if let Some(end) = self.ending.deadline().filter(|end| *end < clock.deadline()) {
            clock.as_mut().reset(end);
        }
        loop {
            tokio::select! {
                // Mostly it is the provider.
                biased;
                arrived = &mut read => return Ok(arrived),
                abort = self.guard.ends(session) => return Err(abort),
                () = &mut clock => {
                    if self.ending.is_past() {
                        return Ok(Ok(None));
                    }
                    if self.silence.is_over() {
                        return Ok(Error::e_explain(ErrorType::ReadTimedout, "silence"));
                    }
                    self.tick(session).await?;
                    clock.as_mut().reset(self.wake());
                }
            }
        }
    }

    /// Lets what has arrived through. Returns whether nothing more has to be read.
    fn take(&mut self, arrivals: &mut Arrivals) -> Result<bool> {
        let bytes = arrivals.parts.take();
        if !bytes.is_empty() {
            self.response.push(bytes)?;
            self.check_begun()?;
            self.hold_kept()?;
            self.note_ending();
        }
        Ok(self.response.stage() == StreamStage::Whole)
    }

    /// Checks that the provider has not refused to answer, as long as the client has nothing.
    ///
    /// # Errors
    /// Returns the failure that the provider reports in the place of an answer.
    fn check_begun(&self) -> Result<()> {
        let refusal = self.response.refusal().filter(|_| !self.phase.is_committed());
        refusal.map_or(Ok(()), |failure| Err(failure.clone().into()))
    }

    /// Takes room for an event that has not arrived completely, if it is a large one.
    ///
    /// # Errors
    /// Returns 503 if there is none.
    fn hold_kept(&mut self) -> Result<()> {
        let kept = Some(self.response.kept()).filter(|kept| *kept > SMALL_EVENT).unwrap_or_default();
        if kept != self.kept {
            self.admission.fit(self.attempts.held(self.request.bytes_in) + kept)?;
            self.kept = kept;
        }
        Ok(())
    }

    /// Notes how far the provider has told of the end of its stream.
    fn note_ending(&mut self) {
        match self.response.stage() {
            StreamStage::Over | StreamStage::Whole => self.ending.close(Instant::now()),
            StreamStage::Finished => self.ending.finish(self.response.size(), Instant::now()),
            StreamStage::Open | StreamStage::Reported => {}
        }
    }

    /// Ends the stream as the provider's body has ended.
    fn ended(&mut self, body: pingora::Result<()>) -> Result<()> {
        match body {
            Ok(()) => {
                self.response.end()?;
                self.check_begun()
            }
            Err(_) if self.response.is_whole_without_end() => self.check_begun(),
            Err(error) => Err(provider_failure(&error).into()),
        }
    }

    /// Takes an answer that the provider has given as a whole, and passes it on as if it had been a stream.
    pub(in crate::edge) fn replay(&mut self, body: &[u8]) -> Result<()> {
        self.outcome.note_first_byte(self.request.started);
        Ok(self.response.reply(body)?)
    }

    /// The client gets an answer now.
    fn commit(&mut self) {
        self.attempts.commit();
        self.admission.keep(self.attempts.held(self.request.bytes_in));
    }

    /// Ends a call whose answer is complete. When this returns, the end of the answer may be passed on.
    fn settle(&mut self) {
        self.billing.settle(&self.request.snapshot.catalog, self.attempts);
    }

    /// It ends with a failure.
    fn charge_failure(&mut self, failure: &Failure) {
        let catalog = &self.request.snapshot.catalog;
        self.billing.fail(catalog, self.attempts, failure, self.response.delivered());
    }

    /// The provider itself has told the client of a failure in its stream.
    fn fail_as_told(&mut self) {
        self.attempts.note_success();
        let failure = Failure::provider("the provider reported a failure in its stream");
        self.charge_failure(&failure);
        self.outcome.failure = Some(failure);
    }

    /// The time at which the client or the provider has to be looked after.
    fn wake(&self) -> Instant {
        let next = self.deadline().min(self.silence.ends());
        self.ending.deadline().map_or(next, |end| next.min(end))
    }

    /// Returns the time by which something has to be sent to the client.
    fn deadline(&self) -> Instant {
        let deadline =
            self.phase.deadline(self.request.snapshot.limits.keep_alive()).filter(|_| self.wants_stream());
        deadline.unwrap_or_else(|| Instant::now() + NEVER)
    }

    /// Acts on the deadline, unless it was moved in the meantime.
    async fn tick(&mut self, session: &mut Session) -> Result<()> {
        if Instant::now() < self.deadline() {
            return Ok(());
        }
        if !self.phase.is_committed() {
            return self.write(session).await;
        }
        self.response.keep_alive(self.request);
        self.write(session).await
    }

    /// Whether a failure is reported in the stream, and no longer by a status.
    fn speaks(&self) -> bool {
        self.phase.is_committed() || self.wants_stream() && self.response.is_committed()
    }

    fn wants_stream(&self) -> bool {
        self.response.form().is_stream()
    }

    /// Writes what is ready, after the head if that was not written yet. If that is nothing, a sign of the provider's
    /// life is passed on in the client's protocol.
    async fn write(&mut self, session: &mut Session) -> Result<()> {
        if !self.wants_stream() {
            return Ok(());
        }
        let is_pinged = self.response.take_ping();
        let (mut first, mut rest) = self.response.ready();
        if self.phase.is_committed() && first.is_empty() && rest.is_empty() {
            if !is_pinged || self.request.snapshot.limits.keep_alive().is_none() {
                return Ok(());
            }
            self.response.keep_alive(self.request);
            (first, rest) = self.response.ready();
        }
        self.send(session, first).await?;
        for piece in rest {
            self.send(session, piece).await?;
        }
        Ok(())
    }

    async fn send(&mut self, session: &mut Session, bytes: Bytes) -> Result<()> {
        let now = Instant::now();
        let is_first = self.phase.write(now);
        if self.guard.is_draining() {
            return Ok(());
        }
        let mut tasks = Vec::with_capacity(2);
        if is_first {
            self.commit();
            let head = reply::stream_start(session, Identity::of(self.request, self.attempts, self.billing));
            let head = head.map_err(|error| Abort::Failed(provider_failure(&error)))?;
            (self.outcome.status, self.outcome.form) = (200, Form::Stream);
            tasks.push(HttpTask::Header(head, false));
        }
        if !bytes.is_empty() {
            self.outcome.note_first_byte(self.request.started);
            self.outcome.bytes_out += bytes.len();
            self.outcome.watch(&bytes);
            tasks.push(HttpTask::Body(Some(bytes), false));
        }
        self.billing.deliver(self.response.delivered());
        if self.response.stage().is_over() {
            self.attempts.answer.usage = self.response.usage();
            self.attempts.note_served(self.response.served());
            self.settle();
        }
        let written = send_tasks(session, self.request, tasks).await;
        self.attempts.note_stall(now.elapsed());
        self.burst.note_write(now);
        match written {
            Err(_) if !self.guard.client_disconnected() => Err(Abort::Gone),
            _ => Ok(()),
        }
    }

    /// Writes the rest of a complete answer.
    async fn finish(&mut self, session: &mut Session) -> Result<()> {
        if self.response.stage() == StreamStage::Reported {
            self.fail_as_told();
        } else {
            self.settle();
        }
        if let Some(body) = self.response.whole() {
            return match self.guard.is_draining() {
                true => Ok(()),
                false => {
                    let identity = Identity::of(self.request, self.attempts, self.billing);
                    Box::pin(guarded::write(session, self.connector, self.outcome, identity, body)).await
                }
            };
        }
        self.write(session).await?;
        self.close(session).await
    }

    /// Ends the client's stream, if the client is still there.
    async fn close(&mut self, session: &mut Session) -> Result<()> {
        self.phase.end();
        if self.guard.is_draining() {
            return Ok(());
        }
        match send_tasks(session, self.request, vec![HttpTask::Done]).await {
            Err(_) if !self.guard.client_disconnected() => Err(Abort::Gone),
            _ => Ok(()),
        }
    }

    /// Reports a failure after the head was sent, as an event of the client's protocol.
    async fn fail(&mut self, session: &mut Session, failure: Failure) -> Result<()> {
        self.attempts.note_failure(&failure);
        self.charge_failure(&failure);
        self.response.fail(&failure, self.request);
        self.outcome.failure = Some(failure);
        self.write(session).await?;
        self.close(session).await
    }
}

/// Writes to the client within the time that it has for that. Pingora has no timeout for small parts of an answer
/// that leave its buffer.
///
/// # Errors
/// Fails if the client has left, or takes nothing.
pub(in crate::edge) async fn send_tasks(
    session: &mut Session,
    request: &RequestInfo,
    tasks: Vec<HttpTask>,
) -> pingora::Result<()> {
    if let Some(content) = &request.content {
        for task in &tasks {
            if let HttpTask::Body(Some(part), _) = task {
                content.add(part);
            }
        }
    }
    let mut write = pin!(session.write_response_tasks(tasks));
    // Nearly always the system takes all of it at once, and no timer is needed.
    if let Poll::Ready(written) = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await {
        return written.map(drop);
    }
    let time = Duration::from_secs(request.snapshot.limits.write_seconds);
    match timeout(time, write).await {
        Ok(written) => written.map(drop),
        Err(_) => Error::e_explain(ErrorType::WriteTimedout, "the client takes nothing")
            .map_err(|error| error.into_down()),
    }
}

/// Returns the reason for which a write to the client has failed.
pub(in crate::edge) fn client_write(result: pingora::Result<()>) -> Result<()> {
    result.map_err(|error| match error.esource() {
        ErrorSource::Upstream => Abort::Failed(provider_failure(&error)),
        _ => Abort::Gone,
    })
}

/// The largest event, in bytes, that is not counted with the memory of bodies while it arrives.
const SMALL_EVENT: usize = 1 << 20;

/// The bytes of a provider's stream after which the client is written to in any case.
const GATHER: usize = 16 << 10;

/// A time that is longer than any answer takes: a client that gets its answer as a whole gets no sign of life.
const NEVER: Duration = Duration::from_secs(7 * 24 * 3600);
