//! The process: listeners, threads, signals, its beginning and its end.
//!
//! Pingora's own server ends after a fixed time, whether calls are still running or not, and hands its listeners
//! over whether another process takes them or not. So its services are run from here.

pub(in crate::edge) mod admin;
pub(in crate::edge) mod api;
pub(in crate::edge) mod certificates;
pub(in crate::edge) mod conditions;
pub(in crate::edge) mod control;
pub(in crate::edge) mod demo;
pub(in crate::edge) mod handover;
pub(in crate::edge) mod housekeeping;
pub(in crate::edge) mod listeners;
pub(in crate::edge) mod money;
pub(in crate::edge) mod port_owner;
pub(in crate::edge) mod probe;
pub(in crate::edge) mod ranking;
pub(in crate::edge) mod reload;
pub(in crate::edge) mod reload_requests;
pub(in crate::edge) mod remote;
pub(in crate::edge) mod rests;
pub(in crate::edge) mod running;
pub(in crate::edge) mod target_history;
pub(in crate::edge) mod webhooks;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::configuration::ServerConf;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use pingora_runtime::{Runtime, RuntimeBuilder};
use sd_notify::NotifyState;
use secrecy::ExposeSecret;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use crate::config::{self, Config, ConfigError, Timeouts};
use crate::edge::accept::Acceptor;
use crate::edge::accept::pre_tls::BeforeTls;
use crate::edge::accept::side::Side;
use crate::edge::call::shutdown::Shutdown;
use crate::edge::gateway::Gateway;
use crate::edge::gateway::connections;
use crate::edge::server::admin::{Admin, Sampler};
use crate::edge::server::api::AdminApi;
use crate::edge::server::certificates::Certificates;
use crate::edge::server::control::ControlSocket;
use crate::edge::server::demo::Demo;
use crate::edge::server::handover::{HandoverSocket, InheritedListeners};
use crate::edge::server::listeners::{ADMIN_OPTION, LISTEN_OPTION, ListenError, Sockets};
use crate::edge::server::reload::Reload;
use crate::edge::server::reload_requests::{ReloadRequest, ReloadRequests};
use crate::edge::server::running::RunningGateway;
use crate::edge::server::webhooks::WebhookTask;
use crate::store;

/// A server that is ready to run.
pub struct Server {
    main: tokio::runtime::Runtime,
    signals: Signals,
    life: Life,
}

/// The parts of a running process.
struct Life {
    gateway: Gateway,
    clients: Service<Acceptor>,
    threads: usize,
    admin: Option<(Service<Side<Admin>>, Sampler)>,
    api: AdminApi,
    demo: Option<(Service<Side<Demo>>, Sockets)>,
    sockets: Sockets,
    reload: Reload,
    reload_requests: mpsc::Receiver<ReloadRequest>,
    data: PathBuf,
    /// The first address for clients.
    address: String,
    door: PathBuf,
    inheritance: Option<InheritedListeners>,
    successor: Option<Command>,
}

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// Fails if the store, a log or a listener cannot be opened.
pub fn run(config: &Config, file: Option<PathBuf>) -> Result<(), ConfigError> {
    Server::new(config, file)?.run()
}

impl Server {
    /// Prepares a server for a configuration, and for reloads from its file. From now on, clients can connect;
    /// they are answered once the server runs.
    ///
    /// # Errors
    /// Fails if the store, a log or a listener cannot be opened.
    pub fn new(config: &Config, file: Option<PathBuf>) -> Result<Self, ConfigError> {
        Self::build(config, file, None)
    }

    /// Prepares a server that takes the listeners over from the running gateway with the same data folder and the
    /// same first address. That gateway continues until this server runs.
    ///
    /// # Errors
    /// Fails if there is no such gateway, or if the store, a log or a listener cannot be opened.
    pub fn taking_over(config: &Config, file: Option<PathBuf>) -> Result<Self, ConfigError> {
        let door = door(config);
        let inheritance = InheritedListeners::ask(&door).map_err(|error| {
            ConfigError::plain(format!(
                "there is no gateway to take over from at {}: {error}",
                door.display()
            ))
        })?;
        Self::build(config, file, Some(inheritance))
    }

    fn build(
        config: &Config,
        file: Option<PathBuf>,
        mut inheritance: Option<InheritedListeners>,
    ) -> Result<Self, ConfigError> {
        // Signals may arrive as soon as clients can connect.
        let (main, signals) = Signals::new()
            .map_err(|error| ConfigError::plain(format!("signals cannot be waited for: {error}")))?;
        let inherited = inheritance.as_mut().map(|from| std::mem::take(&mut from.sockets));
        let demo = config.demo.map(|port| format!("127.0.0.1:{port}"));
        let addresses = config.listeners.iter().map(|listener| listener.address.as_str());
        let addresses = addresses.chain(config.admin.as_ref().map(|admin| admin.address.as_str()));
        let sockets = Sockets::open(addresses, inherited.unwrap_or_default());
        let sockets = sockets.map_err(|error| refused(config, &error))?;
        log_others(&config.data, inheritance.is_some());
        let gateway = Gateway::new(config)?;
        rests::follow_first(&gateway, &config.data)
            .map_err(|error| ConfigError::plain(format!("data: {error}")))?;
        let mut certificates = Certificates::default();
        let admin = config.admin.as_ref();
        let (reloads, reload_requests) = ReloadRequests::new();
        let view = Arc::new(RunningGateway::new(gateway.clone(), config, file.as_deref(), reloads));
        let api = AdminApi::new(&view);
        let admin =
            admin.map(|settings| operators(settings, (gateway.clone(), view), &api, &mut certificates));
        let admin = admin.transpose()?;
        // Each process has a built-in provider of its own, which is not handed over.
        let own = Sockets::open(demo.as_deref().into_iter(), Vec::new());
        let own = own.map_err(|error| refused(config, &error))?;
        let demo = demo.map(|address| {
            let provider = config.providers.iter().find(|provider| &*provider.name == config::DEMO);
            let key = provider.and_then(|provider| provider.key()).map_or("", ExposeSecret::expose_secret);
            let app = Side::new(Demo::new(key), gateway.demo_connections()).lasting();
            let mut service = Service::new("demo".to_owned(), app);
            service.add_tcp(&address);
            (service, own)
        });
        let life = Life {
            clients: clients(config, gateway.clone(), &mut certificates)?,
            threads: config.threads,
            admin,
            api,
            sockets,
            reload: Reload::new(gateway.clone(), certificates, file, config),
            reload_requests,
            demo,
            data: config.data.clone(),
            address: first_address(config).to_owned(),
            door: door(config),
            inheritance,
            successor: None,
            gateway,
        };
        Ok(Self { main, signals, life })
    }

    /// Sets the command that is started on the signal for an upgrade. Its arguments have to make it [take
    /// over](Self::taking_over).
    #[must_use]
    pub fn with_successor(mut self, command: Command) -> Self {
        self.life.successor = Some(command);
        self
    }

    /// Runs until the process is told to stop, or another one has taken over, and all calls are over.
    ///
    /// # Errors
    /// Fails if the system provides no thread, file or signal.
    pub fn run(self) -> Result<(), ConfigError> {
        let Self { main, signals, life } = self;
        let gateway = life.gateway.clone();
        let ended = main.block_on(life.supervise(signals));
        // A name that is being resolved is not waited for.
        main.shutdown_background();
        gateway.close();
        ended.map_err(|error| ConfigError::plain(format!("the gateway cannot run: {error}")))
    }
}

impl Life {
    /// Runs the process from its start to its end.
    async fn supervise(mut self, mut signals: Signals) -> std::io::Result<()> {
        let table = self.sockets.table()?;
        let (stop, stopping) = watch::channel(false);
        // Running calls may need the built-in provider until their end.
        let (_never, lasting) = watch::channel(false);
        let mut services = Services::default();
        if let Some((demo, own)) = self.demo.take() {
            services.start(demo, 1, &own.table()?, lasting);
        }
        // Who is told that the gateway is ready may call it.
        let clients = services.start(self.clients, self.threads, &table, stopping);
        self.gateway.note_serving();
        // Commands find the gateway as soon as it says that it is ready.
        let (stop_control, control_stopping) = watch::channel(false);
        let control = ControlSocket::open(&self.data, &self.address)
            .map(|socket| services.spawn("control", socket.serve(self.api.clone(), control_stopping)));
        // Operators may look until the last call is over.
        let (stop_admin, admin_stopping) = watch::channel(false);
        let admin = self.admin.take().map(|(admin, sampler)| {
            tokio::spawn(sampler.run());
            services.start(admin, 1, &table, admin_stopping)
        });
        tokio::spawn(watch_disk(self.gateway.clone(), self.data.clone()));
        tokio::spawn(housekeeping::run(self.gateway.clone(), self.data.clone()));
        tokio::spawn(money::watch(self.gateway.clone(), self.data.clone()));
        tokio::spawn(WebhookTask::new(self.gateway.clone(), self.data.clone()).run());
        tokio::spawn(ranking::rank_accounts(self.gateway.clone(), self.data.clone()));
        tokio::spawn(look_after_upstreams(self.gateway.clone()));
        tokio::spawn(rests::follow(self.gateway.clone(), self.data.clone()));
        let mut taken = open_door(&self.door, &mut self.inheritance, &self.sockets);
        tell_manager();
        if let Some(inheritance) = self.inheritance.take() {
            log::info!("this process accepts connections now, and the one before it ends");
            inheritance.release();
        }
        let reason = watch_over(
            &mut signals,
            &mut taken,
            (&mut self.reload, &mut self.reload_requests),
            &mut self.successor,
        )
        .await;
        let timeouts = self.reload.timeouts();
        let drain = Drain { gateway: &self.gateway, shutdown: self.gateway.shutdown(), timeouts };
        self.gateway.note_draining();
        if reason != Reason::TakenOver {
            HandoverSocket::remove(&self.door);
        }
        self.sockets.close();
        let _ = stop.send(true);
        if reason == Reason::TakenOver {
            // Operators talk to the new process.
            let _ = stop_admin.send(true);
        }
        // This thread only has to notice that the process ends.
        let _ = clients.await;
        drain.run(reason, &mut signals).await;
        let _ = stop_admin.send(true);
        if let Some(admin) = admin {
            let _ = admin.await;
        }
        let _ = stop_control.send(true);
        if let Some(control) = control {
            let _ = control.await;
        }
        services.end();
        Ok(())
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// The reason for which a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It was told to stop after its calls.
    Told,
    /// It was told to stop at once.
    Now,
    /// Another process accepts connections now.
    TakenOver,
}

/// The signals that a process acts on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    /// Registers the signals, which no longer end the process from now on. They are delivered in the runtime that
    /// is returned.
    fn new() -> std::io::Result<(tokio::runtime::Runtime, Self)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let signals = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        };
        drop(inside);
        Ok((runtime, signals))
    }
}

/// Services of Pingora, each with threads of its own.
#[derive(Default)]
struct Services(Vec<Runtime>);

impl Services {
    /// Starts a service. The task that is returned ends when the service stops accepting.
    fn start<A>(
        &mut self,
        mut service: Service<A>,
        threads: usize,
        sockets: &ListenFds,
        stop: ShutdownWatch,
    ) -> JoinHandle<()>
    where
        A: pingora::apps::ServerApp + Send + Sync + 'static,
    {
        // Requests are numerous and alike, so threads without work stealing cost less.
        let runtime = RuntimeBuilder::new(threads, service.name()).work_steal(false).build();
        let sockets = Arc::clone(sockets);
        let started = runtime.get_handle().spawn(async move {
            service.start_service(Some(sockets), stop, 1).await;
        });
        self.0.push(runtime);
        started
    }

    /// Starts a task in a thread of its own.
    fn spawn(&mut self, name: &str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let runtime = RuntimeBuilder::new(1, name).work_steal(false).build();
        let started = runtime.get_handle().spawn(task);
        self.0.push(runtime);
        started
    }

    /// Ends all threads, with everything that still runs in them.
    fn end(self) {
        for runtime in self.0 {
            runtime.shutdown_timeout(Duration::ZERO);
        }
    }
}

/// Watches files and signals until the process has to end.
async fn watch_over(
    signals: &mut Signals,
    taken: &mut Option<oneshot::Receiver<()>>,
    (reload, requests): (&mut Reload, &mut mpsc::Receiver<ReloadRequest>),
    successor: &mut Option<Command>,
) -> Reason {
    let mut ticks = interval(WATCH);
    loop {
        let taken_over = async {
            if let Some(taken) = taken.as_mut()
                && taken.await.is_ok()
            {
                return;
            }
            // There is no door, or no longer one.
            *taken = None;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = signals.terminate.recv() => return Reason::Told,
            _ = signals.interrupt.recv() => return Reason::Now,
            _ = signals.hangup.recv() => reload.now(),
            _ = signals.upgrade.recv() => start(successor.as_mut()),
            () = taken_over => return Reason::TakenOver,
            Some(request) = requests.recv() => request.answer(reload.on_request()),
            _ = ticks.tick() => reload.tick(),
        }
    }
}

/// Starts the process that is to take over.
fn start(successor: Option<&mut Command>) {
    let Some(command) = successor else {
        return log::warn!("there is no program known that could take over");
    };
    match command.spawn() {
        Ok(mut child) => {
            log::info!("process {} was started to take over", child.id());
            // The new process outlives this one, unless it fails.
            let wait = move || match child.wait() {
                Ok(status) => log::error!("the process that was to take over has ended: {status}"),
                Err(error) => log::error!("the process that was to take over: {error}"),
            };
            let _ = std::thread::Builder::new().name("successor".to_owned()).spawn(wait);
        }
        Err(error) => log::error!("{} cannot be started: {error}", command.get_program().display()),
    }
}

/// Opens a door for a successor. A gateway without a door can only be stopped and started again.
fn open_door(
    path: &Path,
    inheritance: &mut Option<InheritedListeners>,
    sockets: &Sockets,
) -> Option<oneshot::Receiver<()>> {
    let inherited = inheritance.as_mut().and_then(InheritedListeners::take_door);
    let door = HandoverSocket::open(path, inherited).and_then(|door| door.watch(sockets.clone()));
    door.inspect_err(|error| {
        log::warn!("{}: {error}; no process can take over from this one", path.display());
    })
    .ok()
}

/// Describes an address that the process cannot listen on.
fn refused(config: &Config, error: &ListenError) -> ConfigError {
    let is_admin = config.admin.as_ref().is_some_and(|admin| admin.address == error.address);
    ConfigError::plain(error.describe(if is_admin { ADMIN_OPTION } else { LISTEN_OPTION }))
}

/// Says whether other gateways use the same data folder, apart from one that is taken over from.
fn log_others(folder: &Path, is_upgrade: bool) {
    if let Some(first) = store::gateways(folder).first().filter(|_| !is_upgrade) {
        log::info!("gateway {first} uses {} too", folder.display());
    }
}

/// Returns the path of the door for a configuration.
fn door(config: &Config) -> PathBuf {
    HandoverSocket::path(&config.data, first_address(config))
}

/// Returns the first address for clients, which tells this gateway from others on the same folder.
fn first_address(config: &Config) -> &str {
    config.listeners.first().map_or("", |listener| listener.address.as_str())
}

/// Tells systemd, if it has started this process, that it is ready, and that it is the main process.
fn tell_manager() {
    let told = sd_notify::notify(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
    if let Err(error) = told {
        log::warn!("the service manager cannot be told that the gateway is ready: {error}");
    }
}

/// The time between the order to stop and the end (graceful shutdown).
struct Drain<'s> {
    gateway: &'s Gateway,
    shutdown: Arc<Shutdown>,
    timeouts: Timeouts,
}

impl Drain<'_> {
    /// Waits for all calls, at most as long as they may take, and then signals the remaining ones to end.
    async fn run(&self, reason: Reason, signals: &mut Signals) {
        let seconds = match reason {
            Reason::Told => self.timeouts.drain,
            Reason::Now => 0,
            Reason::TakenOver => self.timeouts.handover,
        };
        log::info!("{} calls are running and may go on for {seconds} seconds", self.gateway.calls());
        let mut deadline = Instant::now() + Duration::from_secs(seconds);
        let mut report = Instant::now() + DRAIN_REPORT_INTERVAL;
        loop {
            tokio::select! {
                () = self.quiet() => return log::info!("all calls are over"),
                () = sleep_until(deadline) => break,
                () = sleep_until(report) => {
                    let left = deadline.saturating_duration_since(Instant::now()).as_secs();
                    log::info!("draining: {} calls, {left} s left", self.gateway.calls());
                    report += DRAIN_REPORT_INTERVAL;
                }
                _ = signals.interrupt.recv() => break,
                // A process that another has taken over from also obeys the order to stop.
                _ = signals.terminate.recv() => {
                    deadline = deadline.min(Instant::now() + Duration::from_secs(self.timeouts.drain));
                }
            }
        }
        self.shutdown.announce();
        if timeout(LAST_WORDS, self.quiet()).await.is_err() {
            log::warn!("{} calls are cut off", self.gateway.calls());
        }
    }

    /// Waits until two looks in a row have found nothing running: a connection that was just accepted is not
    /// counted yet.
    async fn quiet(&self) {
        let mut looks = 0;
        while looks < 2 {
            sleep(LOOK).await;
            looks = if self.gateway.is_quiet() { looks + 1 } else { 0 };
        }
    }
}

/// Resolves the names of all providers before they are needed, and then repeatedly.
async fn look_after_upstreams(gateway: Gateway) {
    loop {
        gateway.look_after_upstreams();
        sleep(RESOLVE).await;
    }
}

/// Notes again and again how much room is left on the disk of the data folder. No scrape waits for the disk.
async fn watch_disk(gateway: Gateway, data: PathBuf) {
    loop {
        let folder = data.clone();
        let free = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder)).await;
        if let Ok(Ok(free)) = free {
            gateway.note_free(free.f_bavail.saturating_mul(free.f_frsize));
        }
        sleep(DISK).await;
    }
}

fn conf(config: &Config) -> ServerConf {
    ServerConf { threads: config.threads, ..ServerConf::default() }
}

fn clients(
    config: &Config,
    gateway: Gateway,
    certificates: &mut Certificates,
) -> Result<Service<Acceptor>, ConfigError> {
    let acceptor = Acceptor::new(&Arc::new(conf(config)), gateway.clone());
    let mut service = Service::new("clients".to_owned(), acceptor);
    service.endpoints().set_pre_tls_callback(Arc::new(BeforeTls(gateway)));
    for listener in &config.listeners {
        let read = if listener.tls.is_some() { TLS_READ_BUFFER } else { 0 };
        let tcp = ListenerConfig::tcp(listener.address.as_str())
            .l4_buffer(L4BufferSettings::new(read, WRITE_BUFFER));
        service.add_listener(match &listener.tls {
            None => tcp,
            Some(files) => tcp.tls(certificates.settings(&listener.address, files)?),
        });
    }
    Ok(service)
}

/// Makes the admin listener's service, and the task that takes its samples.
fn operators(
    settings: &config::AdminListener,
    (gateway, view): (Gateway, Arc<RunningGateway>),
    api: &AdminApi,
    certificates: &mut Certificates,
) -> Result<(Service<Side<Admin>>, Sampler), ConfigError> {
    let admin =
        Admin::new(gateway, settings, view, api).map_err(|e| ConfigError::plain(format!("data: {e}")))?;
    let sampler = admin.sampler();
    let mut service = Service::new("admin".to_owned(), Side::new(admin, connections::OPERATORS));
    match &settings.tls {
        None => service.add_tcp(&settings.address),
        Some(files) => {
            let tls = certificates.settings_for_http1(&settings.address, files)?;
            service.add_tls_with_settings(&settings.address, None, tls);
        }
    }
    Ok((service, sampler))
}

/// The bytes that are read at once with TLS: a record (RFC 8446, 5.1) and its header. Without TLS, there is no
/// buffer between the socket and the buffers for heads and bodies, so that connections need no memory for it.
const TLS_READ_BUFFER: usize = (16 << 10) + 256;

/// The bytes that are gathered before a write. A chosen value: head and body of a usual answer are written
/// together.
const WRITE_BUFFER: usize = 16 << 10;

/// The interval at which providers' names are checked for a refresh.
const RESOLVE: Duration = Duration::from_secs(1);

/// The interval at which files are checked for changes.
const WATCH: Duration = Duration::from_millis(500);

/// The interval at which a process that ends checks whether it is idle.
const LOOK: Duration = Duration::from_millis(10);

/// The time in which calls may tell their clients that they have to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The interval at which the room on the disk is looked at.
const DISK: Duration = Duration::from_secs(15);

/// The interval at which a process that ends tells how many calls are still running.
const DRAIN_REPORT_INTERVAL: Duration = Duration::from_secs(10);
