//! The gateway as Pingora's proxy. Each hook only delegates.

pub(in crate::edge) mod connections;
mod declared;
pub(in crate::edge) mod facts;
mod listener_names;
mod operate;
mod operator_metrics;
pub(in crate::edge) mod refused;
mod rests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use crate::auth::{self, Grant, KeyTable};
use crate::canon::Form;
use crate::config::{self, Config, ConfigStatus, Limits};
use crate::edge::call::billing::Quotas;
use crate::edge::call::context::CallContext;
use crate::edge::call::endpoint::{self, Endpoint};
use crate::edge::call::gemini_path::GeminiAddress;
use crate::edge::call::path_advice::PathAdvice;
use crate::edge::call::record::ConnectionInfo;
use crate::edge::call::refusal::Refusal;
use crate::edge::call::request_info::RequestInfo;
use crate::edge::call::shutdown::Shutdown;
use crate::edge::call::snapshot::Snapshot;
use crate::edge::call::tags::{BodyRules, CallTags};
use crate::edge::call::target::Operation;
use crate::edge::call::tenants::Tenants;
use crate::edge::call::unknown_path;
use crate::edge::gateway::connections::{ConnectionLimits, ConnectionPermit, Connections};
use crate::edge::gateway::declared::DeclaredStore;
use crate::edge::gateway::facts::ProcessFacts;
use crate::edge::gateway::listener_names::ListenerNames;
use crate::edge::gateway::refused::Refused;
use crate::edge::gateway::rests::RestOrders;
use crate::edge::request::body;
use crate::edge::request::client_address;
use crate::edge::request::cors::{self, Preflight};
use crate::edge::request::guards;
use crate::edge::request::headers::{self, Identity};
use crate::edge::request::plan;
use crate::edge::respond::account::{self, SharedBooks};
use crate::edge::respond::answer;
use crate::edge::respond::answer::Local;
use crate::edge::respond::driver::{self, Driver};
use crate::edge::respond::reply;
use crate::edge::upstream::Upstream;
use crate::edge::upstream::connection::Connector;
use crate::edge::upstream::guard_service::GuardService;
use crate::edge::upstream::transport::{hook_error, provider_failure};
use crate::edge::wire::client_subject::ClientSubject;
use crate::edge::wire::streams::{self, StreamPermits};
use crate::failure::Result;
use crate::limit::{Limiter, Load, Shed, Weight};
use crate::meter::{Ledger, UsageRetention};
use crate::notify::Outbox;
use crate::observe::{AccessLog, ContentLog, Metrics, RecentFailures, Tracer};
use crate::protocol::ProtocolId;
use crate::route::{ModelList, ModelListPage, percent_decoded};
use crate::store;

/// The gateway. It is cheap to clone, and can be mounted in any Pingora server.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

struct Shared {
    snapshot: ArcSwap<Snapshot>,
    key_table: KeyTable,
    declared: DeclaredStore,
    quotas: Quotas,
    metrics: Arc<Metrics>,
    access: AccessLog,
    /// The requests that have failed or were refused lately.
    recent: RecentFailures,
    content: ContentLog,
    tracer: Tracer,
    load: Arc<Load>,
    connections: Arc<Connections>,
    /// The places of requests on HTTP/2 connections.
    streams: StreamPermits,
    /// The number of files that the process may have open.
    files: u64,
    /// The names of the clients' listeners.
    listeners: ListenerNames,
    /// The state of the configuration.
    config: ArcSwap<ConfigStatus>,
    draining: AtomicBool,
    /// The events for webhooks.
    outbox: Arc<Outbox>,
    facts: Mutex<ProcessFacts>,
    /// The books that clients read their budgets from.
    books: SharedBooks,
    /// The orders of operators about targets.
    rests: RestOrders,
    path_advice: PathAdvice,
    /// The pool of connections to providers.
    connector: Connector,
}

impl Gateway {
    /// Makes a gateway with this configuration. Its listeners and threads are up to the caller.
    ///
    /// # Errors
    /// Fails if the store or the access log cannot be opened, and if the store has a key or an account that the file
    /// must not declare.
    pub fn new(config: &Config) -> std::result::Result<Self, config::ConfigError> {
        config.log_warnings();
        let failed =
            |what: &str, why: &dyn fmt::Display| config::ConfigError::plain(format!("{what}: {why}"));
        store::close_to_others(&config.data);
        let ledger = Ledger::open(&config.data).map_err(|e| failed("data", &e))?;
        let metrics = Arc::new(Metrics::new().map_err(|e| failed("metrics", &e))?);
        ledger.watch_commits(metrics.ledger.commits());
        let content = ContentLog::default();
        content.reopen(config.content_log.as_deref()).map_err(|e| failed("content_log", &e))?;
        let access = AccessLog::open(&config.access_log).map_err(|e| failed("access_log", &e))?;
        let tracer = Tracer::from_env().map_err(|e| failed("OTEL_*", &e))?;
        let books = SharedBooks::open(&config.data).map_err(|e| failed("data", &e))?;
        // A gateway that cannot start leaves the keys of others alone.
        let declared = DeclaredStore::open(config)?;
        let key_table = KeyTable::open(&config.data).map_err(|e| failed("data", &e))?;
        ledger.write_uses(key_table.uses());
        let outbox: Arc<Outbox> = Arc::default();
        outbox.set(config.webhooks.clone());
        ledger.write_events(&outbox);
        let tenants = Arc::new(Tenants::new(key_table.shared_secret()));
        Ok(Self(Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(Snapshot::new(config, &metrics, &tenants, None)),
            key_table,
            declared,
            load: Arc::default(),
            connections: Arc::default(),
            streams: StreamPermits::default(),
            files: connections::raise_files(),
            listeners: ListenerNames::of(&config.listeners),
            config: ArcSwap::default(),
            draining: AtomicBool::new(false),
            outbox,
            facts: Mutex::default(),
            books,
            rests: RestOrders::default(),
            path_advice: PathAdvice::default(),
            quotas: Quotas { limiter: Limiter::new(), ledger },
            metrics,
            tracer,
            connector: Connector::new(),
            recent: RecentFailures::default(),
            content,
            access,
        })))
    }

    /// Puts another configuration into effect for the requests that arrive from now on.
    ///
    /// # Errors
    /// Fails if the keys and accounts that it declares cannot be written to the store. Then nothing has changed.
    pub fn reload(&self, config: &Config) -> std::result::Result<(), config::ConfigError> {
        self.0.declared.replace(config)?;
        config.log_warnings();
        if let Err(error) = self.0.access.reopen(&config.access_log) {
            log::error!("access_log: stays as it was: {error}");
        }
        if let Err(error) = self.0.content.reopen(config.content_log.as_deref()) {
            log::error!("content_log: stays as it was: {error}");
        }
        let earlier = self.0.snapshot.load_full();
        let next = Snapshot::new(config, &self.0.metrics, &earlier.tenants, Some(&earlier));
        self.0.rests.apply(&next.catalog);
        self.0.snapshot.store(Arc::new(next));
        self.0.outbox.set(config.webhooks.clone());
        self.0.metrics.reloads.inc();
        Ok(())
    }

    /// Returns the time for which usage is kept.
    pub(in crate::edge) fn retention(&self) -> UsageRetention {
        self.0.snapshot.load().retention
    }

    /// Returns the events for webhooks.
    pub(in crate::edge) fn outbox(&self) -> &Arc<Outbox> {
        &self.0.outbox
    }

    /// Looks after the names of all providers and the connections to them. [`super::Server`] does so once a second; without
    /// it, the calls do.
    pub(in crate::edge) fn look_after_upstreams(&self) {
        let snapshot = self.0.snapshot.load();
        snapshot.upstreams().for_each(Upstream::look_after);
        snapshot.guards.iter().for_each(GuardService::look_after);
    }

    /// Writes what the ledger and the access log still hold. It is called at the end of the process.
    pub fn close(&self) {
        self.0.quotas.ledger.close();
        self.0.access.close();
        self.0.content.close();
        self.0.tracer.close();
    }

    /// Returns the current limits on requests.
    pub(in crate::edge) fn limits(&self) -> Limits {
        self.0.snapshot.load().limits
    }

    /// Admits a client's connection, unless there are too many.
    pub(in crate::edge) fn enter(&self, peer: Option<IpAddr>) -> Option<ConnectionPermit> {
        let limits = self.limits();
        let total = limits.connections.unwrap_or_else(|| connections::default_total(self.0.files));
        let by_peer = limits.connections_per_address.unwrap_or_else(|| total.div_ceil(2));
        // A proxy has the connections of all its clients.
        let snapshot = self.0.snapshot.load();
        let peer = peer.filter(|peer| !snapshot.trusted_proxies.contains(*peer));
        let place = self.0.connections.enter(peer, ConnectionLimits { total, by_peer });
        place.map_err(|reached| self.0.metrics.connection_refused(reached)).ok()
    }

    /// Returns the most connections of the built-in provider.
    pub(in crate::edge) fn demo_connections(&self) -> usize {
        connections::demo_total(self.0.files)
    }

    /// Whether there is neither a call nor a connection.
    pub(in crate::edge) fn is_quiet(&self) -> bool {
        self.0.load.total().calls == 0 && self.0.connections.total() == 0
    }

    /// Returns the number of calls that are being answered.
    pub(in crate::edge) fn calls(&self) -> usize {
        self.0.load.total().calls
    }

    /// Returns the signal that all calls have to end.
    pub(in crate::edge) fn shutdown(&self) -> Arc<Shutdown> {
        Arc::clone(&self.0.snapshot.load().shutdown)
    }

    /// Counts a request that was refused because of its head.
    pub(in crate::edge) fn refuse_head(&self, refusal: Refusal) {
        self.0.metrics.head_refused(refusal.reason());
    }

    /// Writes the access line of a request that was refused because of its head.
    pub(in crate::edge) fn note_refused(&self, refused: &Refused<'_>) {
        if let Some(metrics) = &self.0.snapshot.load().metrics {
            refused.count(metrics);
        }
        let line = refused.line(self.0.access.client(refused.client));
        self.0.access.add(&line);
        self.0.recent.add(&line);
    }

    /// Admits a request on an HTTP/2 connection, before it has a task of its own.
    ///
    /// # Errors
    /// Returns 431 if its head is too large, 405 if it asks for a tunnel, and 503 if there are too many requests.
    pub(in crate::edge) fn enter_stream(&self, request: &RequestHeader) -> Result<streams::StreamPermit> {
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

    /// Returns the value that allows the origin of a request, if its scripts may read the answer.
    pub(in crate::edge) fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        cors::origin(headers, &self.0.snapshot.load().cors)
    }

    /// Returns the address of the client behind a connection's peer.
    pub(in crate::edge) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        client_address::behind(peer, headers, &self.0.snapshot.load().trusted_proxies)
    }

    /// Whether the load is so high that connections should be closed after their answer.
    pub(in crate::edge) fn is_near_limits(&self) -> bool {
        self.0.load.is_near(bounds(&self.limits()))
    }

    /// Does everything up to the choice of the target. Requests that need no provider are answered here.
    async fn receive(&self, session: &mut Session, ctx: &mut CallContext) -> Result<Option<Local>> {
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
        let request = session.req_header();
        let trusted = &ctx.request.snapshot.trusted_proxies;
        ctx.request.client = client_address::behind(peer, &request.headers, trusted);
        ctx.request.origin = cors::origin(&request.headers, &ctx.request.snapshot.cors);
        ctx.request.anthropic = headers::is_anthropic(&request.headers);
        ctx.request.strict = headers::is_strict(&request.headers);
        let path = request.uri.path();
        ctx.request.google = headers::is_google(request);
        // A method that Google has for a model, and the gateway has not.
        let is_method = |endpoint| endpoint == Endpoint::Model && request.method == http::Method::POST;
        let (endpoint, id) = endpoint::find(path)
            .filter(|(endpoint, _)| !(ctx.request.google && is_method(*endpoint)))
            .ok_or_else(|| unknown_path::refusal(request.method.as_str(), path))?;
        ctx.request.endpoint = Some(endpoint);
        if ctx.request.origin.is_some()
            && let Some(preflight) = Preflight::of(request, endpoint, &ctx.request.snapshot.cors)
        {
            ctx.request.endpoint = Some(Endpoint::Preflight);
            return Ok(Some(Local::Preflight(preflight)));
        }
        endpoint.admit(&request.method, request.headers.contains_key(http::header::UPGRADE))?;
        let limits = ctx.request.snapshot.limits;
        headers::check_size(request, limits.head_bytes, limits.head_fields)?;
        refused::check_credentials(&request.headers)?;
        if endpoint == Endpoint::Root {
            return Ok(Some(Local::Lasting(Bytes::from_static(ROOT.as_bytes()))));
        }
        let grant = self.grant(request, endpoint, &mut ctx.request)?;
        ctx.request.grant = Some(Arc::clone(&grant));
        ctx.request.tags = CallTags::of(&grant, &request.headers);
        if endpoint.protocol() == Some(ProtocolId::Gemini) {
            ctx.request.address = Some(GeminiAddress::read(id, request.uri.query())?);
        }
        let catalog = &ctx.request.snapshot.catalog;
        let (protocol, operation) = match endpoint {
            Endpoint::Root | Endpoint::Preflight => return Ok(None),
            Endpoint::Models if ctx.request.google => {
                let list = ModelList::new(catalog, &grant);
                return list
                    .for_google(request.uri.query().unwrap_or_default())
                    .map(Local::Lasting)
                    .map(Some);
            }
            Endpoint::Model if ctx.request.google => {
                let model = ModelList::retrieve_for_google(catalog, &grant, &percent_decoded(id));
                return model.map(Local::Lasting).map(Some);
            }
            Endpoint::Models => {
                let page = ModelListPage::parse(request.uri.query().unwrap_or_default())?;
                return ModelList::new(catalog, &grant).answer(&page).map(Local::Lasting).map(Some);
            }
            Endpoint::Model => {
                let model = ModelList::retrieve(catalog, &grant, &percent_decoded(id));
                return model.map(Local::Lasting).map(Some);
            }
            Endpoint::Credits => return account::credits(&self.0.quotas.ledger, &grant).await.map(Some),
            Endpoint::Key => {
                return account::key(&self.0.quotas.ledger, &self.0.books, &grant).await.map(Some);
            }
            Endpoint::Usage => return account::usage(&self.0.quotas.ledger, &grant).await.map(Some),
            Endpoint::Call(protocol) => (protocol, Operation::Infer),
            Endpoint::Count(protocol) => (protocol, Operation::Count),
            Endpoint::Compact(protocol) => (protocol, Operation::Compact),
        };
        ctx.attempts.trace = self.0.tracer.call(&request.headers, ctx.request.started);
        ctx.admission.enter(&self.0.load, &grant, bounds(&limits))?;
        ctx.billing.enter(&self.0.quotas.limiter, &grant)?;
        ctx.request.snapshot.budget.call();
        self.admit(session, ctx, (protocol, operation)).await?;
        Ok(None)
    }

    /// Reads the body, and admits the call to its first target.
    async fn admit(
        &self,
        session: &mut Session,
        ctx: &mut CallContext,
        wanted: (ProtocolId, Operation),
    ) -> Result<()> {
        let CallContext { request, attempts, billing, admission, .. } = ctx;
        let mut body = body::read(session, request.snapshot.limits, admission).await?;
        request.bytes_in = body.bytes().len();
        request.note_content(body.bytes());
        let Snapshot { tags, user, tenants, .. } = &*request.snapshot;
        request.tags.add_body(BodyRules { tags, user: *user, names: &tenants.users }, body.bytes());
        billing.tags.clone_from(&request.tags.list);
        if let Some(GeminiAddress { model, is_stream }) = &request.address {
            let edit = wanted.0.protocol().addressed(body.bytes(), model, Form::of_stream(*is_stream));
            body.splice(edit.as_slice());
        }
        if !request.snapshot.guards.is_empty() {
            // Each question repeats the body.
            admission.hold(body.bytes().len())?;
            body = guards::check(&self.0.connector, request, wanted.0, body).await?;
        }
        let hint = headers::session(&session.req_header().headers);
        let (call, fallbacks) = plan::admit(&self.0.quotas, request, billing, wanted, hint, body).await?;
        attempts.start(call, fallbacks);
        admission.fit(attempts.held(request.bytes_in))
    }

    fn grant(&self, request: &RequestHeader, endpoint: Endpoint, info: &mut RequestInfo) -> Result<Grant> {
        let google = Some(info.dialect()).filter(|dialect| *dialect == ProtocolId::Gemini);
        let credential = headers::credential(&request.headers, endpoint.protocol().or(google));
        let missing = match info.dialect() {
            ProtocolId::Gemini if headers::has_key_in_query(request) => {
                "API keys in the query string are not accepted. Send the header x-goog-api-key."
            }
            ProtocolId::Messages | ProtocolId::Gemini => "Missing API key.",
            ProtocolId::Chat | ProtocolId::Responses => "Missing Bearer token in Authorization header.",
        };
        let grant = self.0.key_table.grant(credential, missing, info.client);
        if grant.is_err() {
            info.key_hint = credential.and_then(auth::key_hint);
        }
        grant
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed, because Pingora's futures hold several copies of it.
    type CTX = Box<CallContext>;

    fn new_ctx(&self) -> Box<CallContext> {
        Box::new(CallContext::new(self.0.snapshot.load_full()))
    }

    /// Omits Pingora's default modules, which would put a compressor into the way of every response.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Box<CallContext>,
    ) -> pingora::Result<bool> {
        body::prepare(session, Duration::from_secs(ctx.request.snapshot.limits.write_seconds));
        match self.receive(session, ctx).await {
            Ok(None) => {
                let driver = Driver { proxy: self, connector: &self.0.connector };
                driver.serve(session, ctx).await?;
            }
            Ok(Some(answer)) => {
                let CallContext { request, attempts, billing, outcome, .. } = &mut **ctx;
                let identity = Identity::of(request, attempts, billing);
                answer::local(session, outcome, identity, answer).await?;
            }
            Err(failure) => driver::fail(session, ctx, failure).await?,
        }
        Ok(true)
    }

    /// Returns the address to connect to, once one is known.
    async fn upstream_peer(
        &self,
        _: &mut Session,
        ctx: &mut Box<CallContext>,
    ) -> pingora::Result<Box<HttpPeer>> {
        let peer = ctx.attempts.call().and_then(|call| call.upstream.peer(ctx.attempts.is_fresh()));
        peer.map_err(hook_error)
    }

    /// Makes the head for the provider. The head that is passed in is replaced.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut Box<CallContext>,
    ) -> pingora::Result<()> {
        let call = ctx.attempts.call().map_err(hook_error)?;
        *head = match &call.bridged {
            Some(bridged) => headers::for_bridge(call, bridged)?,
            None => headers::to_provider(session.req_header(), &ctx.request, call)?,
        };
        headers::trace(head, &ctx.attempts.trace)
    }

    /// Replaces the body for the provider, at the end of the client's.
    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        ends: bool,
        ctx: &mut Box<CallContext>,
    ) -> pingora::Result<()> {
        *body = ctx.attempts.call.as_ref().filter(|_| ends).map(|call| call.body.clone());
        Ok(())
    }

    /// Takes those facts from the head of an answer that the client and the trace are told.
    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Box<CallContext>,
    ) -> pingora::Result<()> {
        let keys = &ctx.request.snapshot.keys;
        ctx.attempts.answer.upstream_id = reply::upstream_id(keys, head);
        let relayed = ctx.attempts.call.as_ref().filter(|call| call.bridged.is_none());
        let client_model = ctx.request.client_model();
        let headers = relayed.map(|call| reply::headers_for_client(call, head, client_model));
        ctx.attempts.answer.headers = headers.unwrap_or_default();
        ctx.attempts.trace.answered(head.status.as_u16());
        Ok(())
    }

    /// Ends the call of a client that has left, or to which an answer could not be written.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Box<CallContext>,
    ) -> FailToProxy {
        session.set_keepalive(None);
        ctx.outcome.client_gone |= *error.esource() == ErrorSource::Downstream;
        if ctx.outcome.client_gone {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        if session.response_written().is_none() {
            let written = driver::fail(session, ctx, provider_failure(error)).await;
            ctx.outcome.client_gone |= written.is_err();
        }
        FailToProxy { error_code: ctx.outcome.status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Box<CallContext>) {
        ctx.outcome.client_gone |= error.is_some_and(|error| *error.esource() == ErrorSource::Downstream);
        // A call that has ended is not changed by this.
        ctx.billing.break_off(&ctx.request.snapshot.catalog, &ctx.attempts);
        ctx.attempts.end();
        let listener = session.server_addr().and_then(|address| address.as_inet());
        let connection = ConnectionInfo {
            client: self.0.access.client(ctx.request.client),
            listener: listener.and_then(|address| self.0.listeners.name(*address)),
            certificate: ClientSubject::of(session.digest().and_then(|digest| digest.ssl_digest.as_ref())),
        };
        self.0.path_advice.note(&ctx.request, session.req_header().uri.path());
        ctx.request.write_content(&self.0.content, ctx.outcome.status);
        ctx.record(session.req_header(), connection, &self.0.access, &self.0.recent);
    }

    /// Suppresses Pingora's error log. The access line has the same facts, without the client's path and headers.
    fn suppress_error_log(&self, _: &Session, _: &Box<CallContext>, _: &Error) -> bool {
        true
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

/// Returns the limits on concurrent calls and on the bytes of their bodies.
fn bounds(limits: &Limits) -> Weight {
    Weight { calls: limits.calls, bytes: limits.body_memory_bytes }
}

/// The requests on HTTP/2 connections that are allowed besides calls. Requests that need no provider take no time.
const SPARE_STREAMS: usize = 1000;

const ROOT: &str = concat!("{\"name\":\"crossmodel\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");
