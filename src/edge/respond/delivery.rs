//! A stream on its way from a provider to a client, in a loop that listens to the provider, the client and the clock.
//!
//! Each part that arrives goes through a passage, and the ready ones go to the client when the provider would have to be
//! waited for. The head is held back until the provider really answers: a failure before that still is a status.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::client::HttpSession;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::{ProxyHttp, Session};
use tokio::time::{Instant, sleep_until, timeout};

use crate::edge::call::exchange::Exchange;
use crate::edge::call::watch::{Stop, Watch};
use crate::edge::respond::answer;
use crate::edge::respond::passage::{Parts, Passage};
use crate::edge::upstream::transport::transport;
use crate::failure::Failure;

type Result<T> = std::result::Result<T, Stop>;

/// Whose hooks a call goes through.
pub(in crate::edge) trait Proxy: ProxyHttp<CTX = Box<Exchange>> + Sync {}

impl<P: ProxyHttp<CTX = Box<Exchange>> + Sync> Proxy for P {}

/// What has arrived of a provider's stream since the client was written to last.
#[derive(Default)]
struct Arrivals {
    /// The parts that have not gone through the passage yet.
    parts: Parts,
    /// Bytes of all parts.
    size: usize,
}

impl Arrivals {
    /// Adds a part. Gives whether it is the first that waits.
    fn add(&mut self, part: Bytes) -> bool {
        let is_first = self.parts.is_empty();
        self.size += part.len();
        self.parts.add(part);
        is_first
    }
}

/// An answer on its way.
pub(in crate::edge) struct Delivery<'d, P> {
    proxy: &'d P,
    passage: Passage,
    watch: &'d mut Watch,
    /// Whether the client has got its head.
    started: bool,
    /// The time of the provider's head, later that of the last write to the client.
    since: Instant,
    /// The time of the provider's first event.
    seen: Option<Instant>,
    /// The time since which the provider is waited for.
    waits: Instant,
    /// The longest time for which it may say nothing.
    silence: Duration,
}

impl<'d, P: Proxy> Delivery<'d, P> {
    /// One that begins now.
    pub(in crate::edge) fn new(proxy: &'d P, passage: Passage, watch: &'d mut Watch) -> Self {
        let now = Instant::now();
        Self { proxy, passage, watch, started: false, since: now, seen: None, waits: now, silence: NEVER }
    }

    /// The watch over the call.
    pub(in crate::edge) fn watch(&mut self) -> &mut Watch {
        self.watch
    }

    /// Ends what has come to its end, as well or badly as it did. Gives whether nothing more has to be read.
    pub(in crate::edge) async fn end(
        &mut self,
        result: Result<()>,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> Result<bool> {
        exchange.usage = self.passage.usage();
        exchange.note_served(self.passage.served());
        exchange.deliver(self.passage.delivered());
        exchange.note_reasoning(self.passage.reasons());
        if matches!(result, Err(Stop::Gone)) && self.passage.is_counted() {
            exchange.usage = self.passage.usage();
            exchange.settle();
        }
        exchange.oddities = self.passage.oddities();
        exchange.said = self.passage.said();
        match result.inspect_err(|stop| exchange.note_stop(stop)) {
            Ok(()) => self.finish(session, exchange).await?,
            Err(Stop::Failed(failure)) if self.speaks() => self.fail(session, exchange, failure).await?,
            Err(stop) => return Err(stop),
        }
        Ok(self.passage.is_whole())
    }

    /// Passes a provider's stream on, as it comes. What has arrived together goes out together: the client is
    /// written to when the provider would have to be waited for.
    pub(in crate::edge) async fn relay(
        &mut self,
        provider: &mut HttpSession,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        // Pingora would set a timer for each part.
        provider.set_read_timeout(None);
        self.silence = exchange.call()?.upstream.times.silence.min(NEVER);
        let mut clock = pin!(sleep_until(self.wake()));
        let mut arrivals = Arrivals::default();
        loop {
            let mut read = pin!(provider.read_response_body());
            let arrived = match poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
                Poll::Ready(arrived) if arrivals.size < GATHER => arrived,
                early => {
                    if self.take(&mut arrivals)? {
                        return Ok(());
                    }
                    arrivals.size = 0;
                    if self.speaks() {
                        self.write(session, exchange).await?;
                    }
                    match early {
                        Poll::Ready(arrived) => arrived,
                        Poll::Pending => {
                            self.waits = Instant::now();
                            loop {
                                tokio::select! {
                                    // Mostly it is the provider.
                                    biased;
                                    arrived = &mut read => break arrived,
                                    stop = self.watch.ends(session) => return Err(stop),
                                    () = &mut clock => {
                                        if self.is_silent() {
                                            break Error::e_explain(ErrorType::ReadTimedout, "silence");
                                        }
                                        self.tick(session, exchange).await?;
                                        clock.as_mut().reset(self.wake());
                                    }
                                }
                            }
                        }
                    }
                }
            };
            match arrived {
                Ok(Some(chunk)) => {
                    if arrivals.add(chunk) {
                        exchange.note_arrival();
                    }
                    // Until the client has its head, a failure in one part must not take those before it away.
                    if self.started {
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
            if self.passage.has_begun() && self.seen.is_none() {
                self.seen = Some(Instant::now());
                clock.as_mut().reset(self.wake());
            }
        }
    }

    /// Lets what has arrived through. Gives whether nothing more has to be read.
    fn take(&mut self, arrivals: &mut Arrivals) -> Result<bool> {
        let bytes = arrivals.parts.take();
        if !bytes.is_empty() {
            self.passage.push(bytes)?;
        }
        Ok(self.passage.is_whole())
    }

    /// Ends the stream as the provider's body has ended.
    fn ended(&mut self, body: pingora::Result<()>) -> Result<()> {
        match body {
            Ok(()) => Ok(self.passage.end()?),
            Err(_) if self.passage.is_whole_without_end() => Ok(()),
            Err(error) => Err(transport(&error).into()),
        }
    }

    /// A provider that answers as a whole: its answer is told as if it had been a stream.
    pub(in crate::edge) fn replay(&mut self, exchange: &mut Exchange, body: &[u8]) -> Result<()> {
        exchange.note_first_byte();
        Ok(self.passage.reply(body)?)
    }

    /// The time at which the client or the provider has to be looked after.
    fn wake(&self) -> Instant {
        self.deadline().min(self.waits + self.silence)
    }

    /// Whether the provider has said nothing for too long.
    fn is_silent(&self) -> bool {
        Instant::now() >= self.waits + self.silence
    }

    /// Until when the client may be left without a word.
    fn deadline(&self) -> Instant {
        if !self.wants_stream() {
            return self.since + NEVER;
        }
        match (self.started, self.seen) {
            (true, _) => self.since + KEEP_ALIVE,
            (false, Some(seen)) => (seen + COMMIT_AFTER_FIRST).min(self.since + COMMIT_AFTER_HEAD),
            (false, None) => self.since + COMMIT_AFTER_HEAD,
        }
    }

    /// The clock has come to the deadline, or it was moved since.
    async fn tick(&mut self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<()> {
        if Instant::now() < self.deadline() {
            return Ok(());
        }
        if !self.started {
            return self.write(session, exchange).await;
        }
        let sign = exchange.dialect().protocol().keep_alive();
        self.send(session, exchange, Bytes::from_static(sign)).await
    }

    /// Whether a failure is told in the stream, and no longer by a status.
    fn speaks(&self) -> bool {
        self.started || self.wants_stream() && self.passage.is_committed()
    }

    fn wants_stream(&self) -> bool {
        self.passage.is_stream()
    }

    /// Writes what is ready, after the head if that was not written yet.
    async fn write(&mut self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<()> {
        if !self.wants_stream() {
            return Ok(());
        }
        let (first, rest) = self.passage.ready();
        if self.started && first.is_empty() && rest.is_empty() {
            return Ok(());
        }
        self.send(session, exchange, first).await?;
        for piece in rest {
            self.send(session, exchange, piece).await?;
        }
        Ok(())
    }

    async fn send(
        &mut self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
        bytes: Bytes,
    ) -> Result<()> {
        self.since = Instant::now();
        if self.watch.is_alone() {
            self.started = true;
            return Ok(());
        }
        let mut tasks = Vec::with_capacity(2);
        if !std::mem::replace(&mut self.started, true) {
            exchange.commit();
            let head = head(self.proxy, session, exchange).await;
            let head = head.map_err(|error| Stop::Failed(transport(&error)))?;
            tasks.push(HttpTask::Header(head, false));
        }
        if !bytes.is_empty() {
            exchange.note_first_byte();
            exchange.bytes_out += bytes.len();
            tasks.push(HttpTask::Body(Some(bytes), false));
        }
        exchange.deliver(self.passage.delivered());
        if self.passage.is_over() {
            exchange.usage = self.passage.usage();
            exchange.note_served(self.passage.served());
            exchange.settle();
        }
        let written = send_tasks(session, exchange, tasks).await;
        exchange.stalled += self.since.elapsed();
        match written {
            Err(_) if !self.watch.lose() => Err(Stop::Gone),
            _ => Ok(()),
        }
    }

    /// The answer is whole: writes what is left of it.
    async fn finish(&mut self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<()> {
        if self.passage.is_reported() {
            exchange.fail_as_told(self.passage.delivered());
        } else {
            exchange.settle();
        }
        if let Some(body) = self.passage.whole() {
            return match self.watch.is_alone() {
                true => Ok(()),
                false => sent(answer::write(session, exchange, 200, answer::JSON, body).await),
            };
        }
        self.write(session, exchange).await?;
        self.close(session, exchange).await
    }

    /// Ends the client's stream, if there still is a client.
    async fn close(&mut self, session: &mut Session, exchange: &Exchange) -> Result<()> {
        if self.watch.is_alone() {
            return Ok(());
        }
        match send_tasks(session, exchange, vec![HttpTask::Done]).await {
            Err(_) if !self.watch.lose() => Err(Stop::Gone),
            _ => Ok(()),
        }
    }

    /// It has failed after its head was sent: the client is told in its own grammar.
    async fn fail(
        &mut self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
        failure: Failure,
    ) -> Result<()> {
        exchange.note_failure(&failure);
        exchange.fail(&failure, self.passage.delivered());
        self.passage.fail(&failure, exchange);
        exchange.failure = Some(failure);
        self.write(session, exchange).await?;
        self.close(session, exchange).await
    }
}

/// The head with which the client gets a stream.
///
/// # Errors
/// When a header cannot be written.
pub(in crate::edge) async fn head<P: Proxy>(
    proxy: &P,
    session: &mut Session,
    exchange: &mut Box<Exchange>,
) -> pingora::Result<Box<ResponseHeader>> {
    let mut head = Box::new(ResponseHeader::build_no_case(200, Some(10))?);
    proxy.response_filter(session, &mut head, exchange).await?;
    (exchange.status, exchange.streams) = (200, true);
    Ok(head)
}

/// Writes to the client, in the time that it has for that: Pingora does not watch the time in which small parts
/// of an answer leave its buffer.
async fn send_tasks(session: &mut Session, exchange: &Exchange, tasks: Vec<HttpTask>) -> pingora::Result<()> {
    let mut write = pin!(session.write_response_tasks(tasks));
    // Nearly always the system takes all of it at once, and no timer is needed.
    if let Poll::Ready(written) = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await {
        return written.map(drop);
    }
    let time = Duration::from_secs(exchange.snapshot.limits.write_seconds);
    match timeout(time, write).await {
        Ok(written) => written.map(drop),
        Err(_) => Error::e_explain(ErrorType::WriteTimedout, "the client takes nothing")
            .map_err(|error| error.into_down()),
    }
}

/// The reason for which a write to the client has failed.
pub(in crate::edge) fn sent(result: pingora::Result<()>) -> Result<()> {
    result.map_err(|error| match error.esource() {
        ErrorSource::Upstream => Stop::Failed(transport(&error)),
        _ => Stop::Gone,
    })
}

/// The longest time from the provider's first event to the client's head, and the longest time from the
/// provider's head: a failure that comes earlier still is a status.
const COMMIT_AFTER_FIRST: Duration = Duration::from_millis(50);
const COMMIT_AFTER_HEAD: Duration = Duration::from_secs(5);

/// Bytes of a provider's stream after which the client is written to in any case.
const GATHER: usize = 16 << 10;

/// The longest time for which a client that waits for a stream is left without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Longer than any answer takes: nothing is said to a client that gets its answer as a whole, and no provider is silent for so
/// long.
const NEVER: Duration = Duration::from_secs(7 * 24 * 3600);
