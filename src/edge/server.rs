//! The process: listeners, threads, signals, reloads.

use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, ShutdownWatch};
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Error, Listener};

use super::admin::Admin;
use super::connections::BeforeTls;
use super::demo::Demo;
use super::front::Front;
use super::gateway::Gateway;
use super::upstream::KeepResolved;

/// A server that is ready to run.
pub struct Server {
    server: pingora::server::Server,
    gateway: Gateway,
}

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// When the store, a log or a listener can not be opened.
pub fn run(config: &Config, file: Option<PathBuf>) -> Result<(), Error> {
    Server::new(config, file)?.run();
    Ok(())
}

impl Server {
    /// Prepares a server for a configuration, and for reloads from the file that it came from.
    ///
    /// # Errors
    /// When the store, a log or a listener can not be opened.
    pub fn new(config: &Config, file: Option<PathBuf>) -> Result<Self, Error> {
        let addresses = config.listeners.iter().map(|listener| listener.address.as_str());
        let admin = config.admin.as_ref().map(|admin| admin.address.as_str());
        addresses.chain(admin).try_for_each(check_free)?;
        let gateway = Gateway::new(config)?;
        let mut server = pingora::server::Server::new_with_opt_and_conf(None, conf(config));
        server.bootstrap();
        let clients = server.add_service(clients(config, &server.configuration, gateway.clone())?);
        if let Some(settings) = &config.admin {
            let admin = Admin::new(gateway.clone(), settings, &config.data)
                .map_err(|e| Error::plain(format!("data: {e}")))?;
            server.add_service(background_service("samples", admin.sampler()));
            let mut service = Service::new("admin".to_owned(), admin);
            service.threads = Some(1);
            service.add_tcp(&settings.address);
            server.add_service(service);
        }
        if let Some(port) = config.demo {
            let mut service = Service::new("demo".to_owned(), Demo::new());
            service.threads = Some(1);
            service.add_tcp(&format!("127.0.0.1:{port}"));
            server.add_service(service);
            clients.add_dependency(server.add_service(background_service("demo-awake", Awake(port))));
        }
        server.add_service(background_service("names", KeepResolved(gateway.clone())));
        if let Some(file) = file {
            let reload = Reload { file, gateway: gateway.clone(), demo: config.demo.is_some() };
            server.add_service(background_service("reload", reload));
        }
        Ok(Self { server, gateway })
    }

    /// Runs until the process is told to stop.
    pub fn run(self) {
        self.server.run(RunArgs::default());
        self.gateway.close();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

fn conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.threads,
        // Requests are alike and many, so threads that do not help each other cost less.
        work_stealing: false,
        upstream_keepalive_pool_size: POOL,
        max_retries: ATTEMPTS,
        grace_period_seconds: Some(config.timeouts.drain),
        graceful_shutdown_timeout_seconds: Some(5),
        ..ServerConf::default()
    }
}

fn clients(config: &Config, conf: &Arc<ServerConf>, gateway: Gateway) -> Result<Service<Front>, Error> {
    let mut service = Service::new("clients".to_owned(), Front::new(conf, gateway.clone()));
    service.endpoints().set_pre_tls_callback(Arc::new(BeforeTls(gateway)));
    for listener in &config.listeners {
        service.add_listener(endpoint(listener)?);
    }
    Ok(service)
}

fn endpoint(listener: &Listener) -> Result<ListenerConfig, Error> {
    let read = if listener.tls.is_some() { TLS_READ_BUFFER } else { 0 };
    let tcp =
        ListenerConfig::tcp(listener.address.as_str()).l4_buffer(L4BufferSettings::new(read, WRITE_BUFFER));
    let Some(files) = &listener.tls else { return Ok(tcp) };
    let (certificate, key) = (files.certificate.to_string_lossy(), files.key.to_string_lossy());
    let mut settings = TlsSettings::intermediate(&certificate, &key)
        .map_err(|e| Error::plain(format!("the certificate for {}: {e}", listener.address)))?;
    settings.enable_h2();
    Ok(tcp.tls(settings))
}

/// Pingora ends the process without a clear word when it can not listen. Nothing is listened on here: a
/// client that came in between would be let in and thrown out again.
fn check_free(address: &str) -> Result<(), Error> {
    let in_use = |why: std::io::Error| Error::plain(format!("{address} can not be listened on: {why}"));
    let mut all = address.to_socket_addrs().map_err(in_use)?;
    all.try_for_each(|address| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(in_use)?;
        // As listeners do: a connection that is not quite over yet is in nobody's way.
        socket.set_reuseaddr(true).map_err(in_use)?;
        socket.bind(address).map_err(in_use)
    })
}

/// Keeps clients out until the built-in provider on this port can answer them.
struct Awake(u16);

#[async_trait]
impl BackgroundService for Awake {
    async fn start_with_ready_notifier(&self, _: ShutdownWatch, ready: ServiceReadyNotifier) {
        for _ in 0..AWAKE_LOOKS {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.0)).await.is_ok() {
                break;
            }
            tokio::time::sleep(AWAKE_PAUSE).await;
        }
        ready.notify_ready();
    }
}

/// Puts a changed file into force, also when a signal says so.
struct Reload {
    file: PathBuf,
    gateway: Gateway,
    demo: bool,
}

/// How the file looked when it was read last.
type Look = Option<(SystemTime, u64)>;

#[async_trait]
impl BackgroundService for Reload {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return log::error!("SIGHUP can not be waited for: {error}"),
        };
        let mut seen = self.look();
        // A file that is still being written looks different at the next tick; it is read once it rests.
        let mut settling = false;
        loop {
            tokio::select! {
                _ = shutdown.changed() => return,
                _ = hangup.recv() => {
                    seen = self.look();
                    settling = false;
                    self.reload();
                }
                () = tokio::time::sleep(WATCH) => {
                    let now = self.look();
                    if now != seen {
                        seen = now;
                        settling = true;
                    } else if std::mem::take(&mut settling) {
                        self.reload();
                    }
                }
            }
        }
    }
}

impl Reload {
    fn look(&self) -> Look {
        let metadata = std::fs::metadata(&self.file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    fn reload(&self) {
        match Config::load(&self.file) {
            Ok(config) => {
                if config.demo.is_some() && !self.demo {
                    log::warn!("the provider 'demo' is started with the gateway: restart it");
                }
                self.gateway.reload(&config);
                log::info!("the configuration is in force again, from {}", self.file.display());
            }
            Err(error) => {
                self.gateway.metrics().bad_reloads.inc();
                log::error!("the configuration stays as it was:\n{error}");
            }
        }
    }
}

/// Unused connections to providers that are kept, per thread.
const POOL: usize = 512;

/// Connections tried for one request: the first, and fresh ones in the place of stale ones.
const ATTEMPTS: usize = 3;

/// Bytes read at once for TLS: a record (RFC 8446, 5.1) and its head. Without TLS, nothing stands between the
/// socket and the buffers into which heads and bodies are read, and no memory that each connection would
/// have for its whole life.
const TLS_READ_BUFFER: usize = (16 << 10) + 256;

/// Bytes gathered before a write: head and body of a usual answer leave together.
const WRITE_BUFFER: usize = 16 << 10;

/// How often, and how long apart, the built-in provider is looked for when the gateway starts.
const AWAKE_LOOKS: u32 = 500;
const AWAKE_PAUSE: Duration = Duration::from_millis(2);

/// How often the file is looked at.
const WATCH: Duration = Duration::from_millis(500);
