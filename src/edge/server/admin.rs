//! The admin listener: metrics, health checks, the console and the admin API, on an address of their own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderName, Response, header};
use pingora::apps::http_app::ServeHttp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use tokio::time::MissedTickBehavior;

use crate::admin::OperationResult;
use crate::admin::api::Answer;
use crate::config;
use crate::console::{self, AccessDenied, AdminGuard, AdminResource, Asset, Console, Query};
use crate::edge::gateway::Gateway;
use crate::edge::server::api::{self, AdminApi};
use crate::edge::server::running::RunningGateway;
use crate::observe::AdminAuthFailure;

/// The application behind the admin listener.
#[derive(Debug)]
pub(in crate::edge) struct Admin {
    gateway: Gateway,
    guard: AdminGuard,
    console: Arc<Console>,
    view: Arc<RunningGateway>,
    api: AdminApi,
}

/// The task that takes the console's samples.
#[derive(Debug)]
pub(in crate::edge) struct Sampler {
    gateway: Gateway,
    console: Arc<Console>,
    view: Arc<RunningGateway>,
}

impl Admin {
    /// Makes the application for an address, with the books of a data folder.
    ///
    /// # Errors
    /// Fails if the store cannot be opened.
    pub(in crate::edge) fn new(
        gateway: Gateway,
        settings: &config::AdminListener,
        view: Arc<RunningGateway>,
        api: &AdminApi,
    ) -> OperationResult<Self> {
        let is_loopback = settings.is_loopback();
        let guard = AdminGuard::new(settings.token.is_some(), is_loopback, settings.names());
        let console = Arc::new(Console::open(view.data())?);
        let api = api.served(is_loopback || settings.plaintext || settings.tls.is_some());
        Ok(Self { gateway, guard, console, view, api })
    }

    /// Returns the task that has to run besides it.
    pub(in crate::edge) fn sampler(&self) -> Sampler {
        Sampler {
            gateway: self.gateway.clone(),
            console: Arc::clone(&self.console),
            view: Arc::clone(&self.view),
        }
    }

    /// Checks whether a request may have a resource. Credentials are counted as those of the API are.
    async fn admit(&self, session: &ServerSession, what: AdminResource) -> Result<(), Response<Vec<u8>>> {
        let request = session.req_header();
        let authorization = field(request, header::AUTHORIZATION);
        let has_figures = matches!(what, AdminResource::Console | AdminResource::Metrics);
        let address = api::peer_address(session).map_err(|error| answer_api(Answer::refusal(&error)))?;
        if has_figures && authorization.is_some() {
            self.api.check_address(address).map_err(|error| {
                self.gateway.note_auth_failure(AdminAuthFailure::Blocked);
                answer_api(Answer::refusal(&error))
            })?;
        }
        let (host, operators) = (field(request, header::HOST), self.gateway.operators());
        let Err(refusal) = self.guard.admit(what, host, authorization, &operators) else { return Ok(()) };
        if has_figures && self.api.knows(authorization, address).await {
            return Ok(());
        }
        if refusal.status == 401 {
            self.gateway.note_auth_failure(AdminAuthFailure::of(authorization));
        }
        Err(refused(refusal))
    }

    /// Returns the figures of the console, with the store's if they arrive in time.
    async fn figures(&self, query: &Query) -> Vec<u8> {
        let view = self.gateway.show(|sources| self.console.view(sources, query));
        let (console, shown) = (Arc::clone(&self.console), view.shown());
        let read = tokio::task::spawn_blocking(move || console.figures(&shown));
        let figures = tokio::time::timeout(PATIENCE, read).await;
        view.write(figures.ok().and_then(Result::ok).flatten())
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        if let Some(path) = api::path(request.uri.path()) {
            let path = path.to_owned();
            let is_known = self.guard.is_known_name(field(request, header::HOST));
            let peer = api::network_peer(session, is_known);
            return answer_api(self.api.serve(session, path, peer).await);
        }
        if request.method != http::Method::GET {
            return answer(405, TEXT, b"only GET\n".to_vec());
        }
        let path = request.uri.path();
        let page = console::asset(path);
        let what = match path {
            "/console.json" => AdminResource::Console,
            "/metrics" => AdminResource::Metrics,
            "/healthz" | "/readyz" => AdminResource::Health,
            _ if page.is_some() => AdminResource::Page,
            _ => return answer(404, TEXT, b"there are /, /metrics, /healthz and /readyz\n".to_vec()),
        };
        if let Err(response) = self.admit(session, what).await {
            return response;
        }
        match (what, page) {
            (AdminResource::Metrics, _) => {
                answer(200, "text/plain; version=0.0.4", self.gateway.metrics().render())
            }
            (AdminResource::Console, _) => {
                let query = Query::parse(request.uri.query().unwrap_or_default());
                answer(200, "application/json", self.figures(&query).await)
            }
            (_, Some(Asset { content_type, text })) => answer(200, content_type, text.into()),
            _ if path == "/readyz" && self.gateway.is_draining() => answer(503, TEXT, b"draining\n".to_vec()),
            // The fact that this is answered is the answer: a gateway that accepts connections can serve.
            _ => answer(200, TEXT, b"ok\n".to_vec()),
        }
    }
}

impl Sampler {
    /// Takes samples until the process ends.
    pub(in crate::edge) async fn run(self) {
        let mut ticks = tokio::time::interval(SAMPLING);
        // After a delay, samples must not be made up for: a burst of them would show something that never was.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut samples = 0_u32;
        loop {
            ticks.tick().await;
            self.gateway.sample(&self.console);
            // The times of changes are right although nobody asks.
            self.view.conditions();
            if samples.is_multiple_of(SAMPLES_PER_MINUTE) {
                self.view.note_attempts();
            }
            samples = samples.wrapping_add(1);
        }
    }
}

/// Returns the value of a header, if it is text.
fn field(request: &RequestHeader, name: HeaderName) -> Option<&str> {
    request.headers.get(name).and_then(|value| value.to_str().ok())
}

/// Converts an answer of the admin API.
pub(in crate::edge) fn answer_api(from: Answer) -> Response<Vec<u8>> {
    let mut response = answer(from.status, "application/json", from.body);
    let headers = response.headers_mut();
    if from.status == 204 {
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_LENGTH);
    }
    for (name, value) in from.headers {
        if let Ok(value) = http::HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}

fn refused(AccessDenied { status, message }: AccessDenied) -> Response<Vec<u8>> {
    let mut response = answer(status, TEXT, format!("{message}\n").into_bytes());
    if status == 401 {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
    }
    response
}

/// Makes an answer whose headers keep a browser from interpreting it as anything else.
fn answer(status: u16, content_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let length = body.len();
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_LENGTH, length)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_SECURITY_POLICY, console::CONTENT_SECURITY_POLICY)
        .header(header::REFERRER_POLICY, "no-referrer")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header("cross-origin-resource-policy", "same-origin")
        .body(body);
    response.unwrap_or_default()
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The interval between two samples.
const SAMPLING: Duration = Duration::from_secs(1);

/// The samples of a minute.
const SAMPLES_PER_MINUTE: u32 = 60;

/// The time that the store may take. The other figures do not wait for it any longer.
const PATIENCE: Duration = Duration::from_secs(1);
