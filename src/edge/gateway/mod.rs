//! The gateway as Pingora sees it. Each hook only delegates.

pub(in crate::edge) mod connections;
pub(in crate::edge) mod refused;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use crate::auth::{Grant, KeyTable};
use crate::config::{self, Config, Limits};
use crate::console::{Console, Sources};
use crate::edge::call::ending::Ending;
use crate::edge::call::endpoint::{self, Endpoint};
use crate::edge::call::exchange::Exchange;
use crate::edge::call::pay::Quotas;
use crate::edge::call::refusal::Refusal;
use crate::edge::call::snapshot::Snapshot;
use crate::edge::call::tenants::Tenants;
use crate::edge::gateway::connections::{Caps, Connections, Place};
use crate::edge::gateway::refused::Refused;
use crate::edge::request::headers;
use crate::edge::request::intake;
use crate::edge::request::plan;
use crate::edge::respond::account;
use crate::edge::respond::answer;
use crate::edge::respond::answer::Local;
use crate::edge::respond::driver::Driver;
use crate::edge::respond::reply;
use crate::edge::upstream::Upstream;
use crate::edge::upstream::transport::{raised, transport};
use crate::edge::wire::streams::{self, Places};
use crate::failure::{Failure, Kind, Result};
use crate::limit::{Limiter, Load, Shed, Weight};
use crate::meter::{self, Ledger};
use crate::observe::{self, AccessLog, HeadRefusal, LimitRefusal, Metrics, TargetState, Tracer};
use crate::route::{Condition, ModelList, ModelListPage, percent_decoded};

/// The gateway: cheap to clone, and to be mounted in any Pingora server.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

struct Shared {
    snapshot: ArcSwap<Snapshot>,
    key_table: KeyTable,
    quotas: Quotas,
    metrics: Arc<Metrics>,
    access: AccessLog,
    tracer: Tracer,
    load: Arc<Load>,
    connections: Arc<Connections>,
    /// Requests on HTTP/2 connections.
    streams: Places,
    /// Files that the process may have open.
    files: u64,
    /// Connections to providers.
    connector: Connector,
}

impl Gateway {
    /// A gateway with this configuration. Listeners and threads are not its business.
    ///
    /// # Errors
    /// When the key store or the access log cannot be opened.
    pub fn new(config: &Config) -> std::result::Result<Self, config::ConfigError> {
        config.log_warnings();
        let failed =
            |what: &str, why: &dyn fmt::Display| config::ConfigError::plain(format!("{what}: {why}"));
        let ledger = Ledger::open(&config.data).map_err(|e| failed("data", &e))?;
        let metrics = Arc::new(Metrics::new().map_err(|e| failed("metrics", &e))?);
        ledger.watch_commits(metrics.commits());
        let key_table = KeyTable::open(&config.data).map_err(|e| failed("data", &e))?;
        let tenants = Arc::new(Tenants::new(key_table.shared_secret()));
        Ok(Self(Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(Snapshot::new(config, &metrics, &tenants, None)),
            key_table,
            load: Arc::default(),
            connections: Arc::default(),
            streams: Places::default(),
            files: connections::raise_files(),
            quotas: Quotas { limiter: Limiter::new(), ledger },
            metrics,
            tracer: Tracer::from_env().map_err(|e| failed("OTEL_*", &e))?,
            connector: Connector::new(Some(ConnectorOptions::new(POOL))),
            access: AccessLog::open(&config.access_log).map_err(|e| failed("access_log", &e))?,
        })))
    }

    /// Puts another configuration into force, for requests that come from now on.
    pub fn reload(&self, config: &Config) {
        config.log_warnings();
        let earlier = self.0.snapshot.load_full();
        let next = Snapshot::new(config, &self.0.metrics, &earlier.tenants, Some(&earlier));
        self.0.snapshot.store(Arc::new(next));
        self.0.metrics.reloads.inc();
    }

    /// Has the names of all providers resolved that are due. [`super::Server`] does so once a second; without it,
    /// the calls do.
    pub(in crate::edge) fn keep_resolved(&self) {
        self.0.snapshot.load().upstreams().for_each(Upstream::keep_resolved);
    }

    /// The gateway's metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.0.metrics.lost(self.0.access.dropped(), observe::log_dropped());
        let (snapshot, now) = (self.0.snapshot.load(), Instant::now());
        let targets = snapshot.catalog.entries().iter().flat_map(|entry| {
            entry.targets.iter().map(move |target| {
                let state = match target.health.worst(now) {
                    Condition::Ready => TargetState::Ready,
                    Condition::BackingOff => TargetState::BackingOff,
                    Condition::Open(_) => TargetState::Open,
                };
                (entry.id.as_str(), &*target.provider.name, state)
            })
        });
        self.0.metrics.targets(targets);
        let (load, connections) = (self.0.load.total(), self.0.connections.total());
        self.0.metrics.load(load.calls, load.bytes, connections);
        self.0.metrics.waiting(self.0.quotas.ledger.waiting());
        self.0.metrics.open_holds.set(self.0.quotas.ledger.open_holds());
        self.0.metrics.ledger_failing.set(i64::from(self.0.quotas.ledger.is_failing()));
        self.0.metrics.violations(meter::violations());
        &self.0.metrics
    }

    /// Shows the console what there is.
    pub(in crate::edge) fn show<T>(&self, look: impl FnOnce(&Sources<'_>) -> T) -> T {
        let snapshot = self.0.snapshot.load();
        look(&Sources {
            catalog: &snapshot.catalog,
            key_table: &self.0.key_table,
            limiter: &self.0.quotas.limiter,
            load: &self.0.load,
            most_calls: snapshot.limits.calls,
            connections: self.0.connections.total(),
            ledger: &self.0.quotas.ledger,
            billing: snapshot.billing.is_on(),
            access_dropped: self.0.access.dropped(),
        })
    }

    /// Gives the console a sample of what goes on.
    pub(in crate::edge) fn sample(&self, console: &Console) {
        console.sample(self.0.metrics.snapshot(), self.0.load.total().calls);
    }

    /// Writes what the ledger and the access log still hold. For the end of the process.
    pub fn close(&self) {
        self.0.quotas.ledger.close();
        self.0.access.close();
        self.0.tracer.close();
    }

    /// What requests may be, at the moment.
    pub(in crate::edge) fn limits(&self) -> Limits {
        self.0.snapshot.load().limits
    }

    /// Lets a client's connection in, unless there are too many.
    pub(in crate::edge) fn enter(&self, peer: Option<IpAddr>) -> Option<Place> {
        let limits = self.limits();
        let total = limits.connections.unwrap_or_else(|| connections::default_total(self.0.files));
        let by_peer = limits.connections_per_address.unwrap_or_else(|| total.div_ceil(2));
        let place = self.0.connections.enter(peer, Caps { total, by_peer });
        place.map_err(|reason| self.0.metrics.connection_refused(reason)).ok()
    }

    /// The most connections of the built-in provider.
    pub(in crate::edge) fn demo_connections(&self) -> usize {
        connections::demo_total(self.0.files)
    }

    /// Is nothing going on, neither a call nor a connection?
    pub(in crate::edge) fn is_quiet(&self) -> bool {
        self.0.load.total().calls == 0 && self.0.connections.total() == 0
    }

    /// Calls that are being answered.
    pub(in crate::edge) fn calls(&self) -> usize {
        self.0.load.total().calls
    }

    /// What tells calls that they have to end.
    pub(in crate::edge) fn ending(&self) -> Arc<Ending> {
        Arc::clone(&self.0.snapshot.load().ending)
    }

    /// Counts a request that was refused by its head.
    pub(in crate::edge) fn refuse_head(&self, reason: HeadRefusal) {
        self.0.metrics.head_refused(reason);
    }

    /// Leaves the access line of a request that was refused by its head.
    pub(in crate::edge) fn note_refused(&self, refused: &Refused<'_>) {
        if let Some(metrics) = &self.0.snapshot.load().metrics {
            refused.count(metrics);
        }
        self.0.access.add(&refused.line());
    }

    /// Lets a request on an HTTP/2 connection in, before it has a task of its own.
    ///
    /// # Errors
    /// 431 and 405 for its head, 503 when there are too many.
    pub(in crate::edge) fn enter_stream(&self, request: &RequestHeader) -> Result<streams::Place> {
        let limits = self.limits();
        headers::check_size(request, limits.head_bytes, limits.head_fields)?;
        if request.method == http::Method::CONNECT {
            return Err(Refusal::Connect.failure());
        }
        let most = limits.calls.saturating_add(SPARE_STREAMS);
        self.0.streams.enter(most).ok_or_else(|| {
            self.0.metrics.shed(Shed::Calls);
            Shed::Calls.failure()
        })
    }

    /// Is so much going on that connections had better not be kept?
    pub(in crate::edge) fn is_near_limits(&self) -> bool {
        self.0.load.is_near(bounds(&self.limits()))
    }

    /// Everything up to the choice of the target. Answers that need no provider are written here.
    async fn receive(&self, session: &mut Session, exchange: &mut Exchange) -> Result<Option<Local>> {
        let request = session.req_header();
        exchange.anthropic = headers::is_anthropic(&request.headers);
        exchange.strict = headers::is_strict(&request.headers);
        let (endpoint, id) = endpoint::find(request.uri.path())
            .ok_or_else(|| Failure::new(Kind::UnknownUrl, "There is no such endpoint."))?;
        exchange.endpoint = Some(endpoint);
        endpoint.admit(&request.method, request.headers.contains_key(http::header::UPGRADE))?;
        let limits = exchange.snapshot.limits;
        headers::check_size(request, limits.head_bytes, limits.head_fields)?;
        refused::check_credentials(&request.headers)?;
        if endpoint == Endpoint::Root {
            return Ok(Some(Local::Lasting(Bytes::from_static(ROOT.as_bytes()))));
        }
        let grant = self.grant(request, endpoint, exchange)?;
        exchange.grant = Some(Arc::clone(&grant));
        let catalog = &exchange.snapshot.catalog;
        let (protocol, counts) = match endpoint {
            Endpoint::Root => return Ok(None),
            Endpoint::Models => {
                let page = ModelListPage::parse(request.uri.query().unwrap_or_default())?;
                return ModelList::new(catalog, &grant).answer(&page).map(Local::Lasting).map(Some);
            }
            Endpoint::Model => {
                let model = ModelList::retrieve(catalog, &grant, &percent_decoded(id));
                return model.map(Local::Lasting).map(Some);
            }
            Endpoint::Credits => return account::credits(&self.0.quotas.ledger, &grant).await.map(Some),
            Endpoint::Usage => return account::usage(&self.0.quotas.ledger, &grant).await.map(Some),
            Endpoint::Call(protocol) => (protocol, false),
            Endpoint::Count(protocol) => (protocol, true),
        };
        exchange.trace = self.0.tracer.call(&request.headers, exchange.started);
        let slot = self.0.load.enter(&grant, bounds(&limits));
        exchange.slot = Some(slot.map_err(|shed| exchange.shed(shed))?);
        self.limit(exchange, &grant)?;
        exchange.snapshot.budget.call();
        plan::admit(&self.0.quotas, session, exchange, protocol, counts).await?;
        Ok(None)
    }

    /// Counts the request for its key.
    fn limit(&self, exchange: &mut Exchange, grant: &Grant) -> Result<()> {
        match self.0.quotas.limiter.admit(grant) {
            Ok(ticket) => {
                exchange.standing = ticket.status();
                exchange.ticket = Some(ticket);
                Ok(())
            }
            Err((failure, standing)) => {
                exchange.standing = standing;
                exchange.limit = Some(LimitRefusal::Requests);
                Err(failure)
            }
        }
    }

    fn grant(&self, request: &RequestHeader, endpoint: Endpoint, exchange: &Exchange) -> Result<Grant> {
        let openai = endpoint.protocol().is_some_and(|protocol| !protocol.is_anthropic());
        let credential = headers::credential(&request.headers, openai);
        let missing = match exchange.dialect().is_anthropic() {
            true => "Missing API key.",
            false => "Missing Bearer token in Authorization header.",
        };
        self.0.key_table.grant(credential, missing)
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// In a place of its own: Pingora has its futures hold more than one of these.
    type CTX = Box<Exchange>;

    fn new_ctx(&self) -> Box<Exchange> {
        Box::new(Exchange::new(self.0.snapshot.load_full()))
    }

    /// Without this, Pingora puts a compressor into every response's way.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<bool> {
        intake::prepare(session, Duration::from_secs(exchange.snapshot.limits.write_seconds));
        match self.receive(session, exchange).await {
            Ok(None) => {
                let driver = Driver { proxy: self, connector: &self.0.connector };
                driver.serve(session, exchange).await?;
            }
            Ok(Some(answer)) => answer::local(session, exchange, answer).await?,
            Err(failure) => answer::fail(session, exchange, failure).await?,
        }
        Ok(true)
    }

    /// The address to connect to, once one is known.
    async fn upstream_peer(
        &self,
        _: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<Box<HttpPeer>> {
        let peer = exchange.call().and_then(|call| call.upstream.peer(exchange.fresh));
        peer.map_err(raised)
    }

    /// The head that its provider gets, made anew: the one that is passed in may be any.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<()> {
        let call = exchange.call().map_err(raised)?;
        *head = match &call.bridged {
            Some(_) => headers::for_bridge(call.provider(), call.protocol, call.path, call.body.len())?,
            None => headers::to_provider(session.req_header(), exchange, call)?,
        };
        headers::trace(head, &exchange.trace)
    }

    /// The body that its provider gets, at the end of the client's.
    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        ends: bool,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<()> {
        *body = exchange.call.as_ref().filter(|_| ends).map(|call| call.body.clone());
        Ok(())
    }

    /// Takes from the head of an answer what the client and the trace are told of it.
    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<()> {
        exchange.upstream_id = reply::upstream_id(exchange, head);
        exchange.trace.answered(head.status.as_u16());
        Ok(())
    }

    /// The head with which the client gets a stream. What is written as a whole gets its own from `answer`.
    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<()> {
        reply::stream_start(session, exchange, head)
    }

    /// The client is gone, or an answer to it could not be written.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Box<Exchange>,
    ) -> FailToProxy {
        session.set_keepalive(None);
        exchange.client_gone |= *error.esource() == ErrorSource::Downstream;
        if exchange.client_gone {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        if session.response_written().is_none() {
            let written = answer::fail(session, exchange, transport(error)).await;
            exchange.client_gone |= written.is_err();
        }
        FailToProxy { error_code: exchange.status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Box<Exchange>) {
        exchange.client_gone |= error.is_some_and(|error| *error.esource() == ErrorSource::Downstream);
        // What has ended already is not changed by this.
        exchange.break_off();
        exchange.attempt = None;
        exchange.record(session.req_header(), &self.0.access);
    }

    /// Our own access line says it all, and without the path and the headers of the client.
    fn suppress_error_log(&self, _: &Session, _: &Box<Exchange>, _: &Error) -> bool {
        true
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

/// How much may go on at once.
fn bounds(limits: &Limits) -> Weight {
    Weight { calls: limits.calls, bytes: limits.body_memory_bytes }
}

/// Unused connections to providers that are kept, per thread.
const POOL: usize = 512;

/// Requests on HTTP/2 connections that there may be besides calls. Whatever is answered without a provider takes no time.
const SPARE_STREAMS: usize = 1000;

const ROOT: &str = concat!("{\"name\":\"crossmodel\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");
