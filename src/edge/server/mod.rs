//! The process: listeners, threads, signals, its beginning and its end.
//!
//! Pingora's own server ends after a fixed time, whether something is still going on or not, and hands its
//! listeners over whether somebody takes them or not. So its services are run from here.

pub(in crate::edge) mod admin;
pub(in crate::edge) mod certificates;
pub(in crate::edge) mod demo;
pub(in crate::edge) mod handover;
pub(in crate::edge) mod listeners;
pub(in crate::edge) mod probe;
pub(in crate::edge) mod reload;

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
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use crate::config::{self, Config, Error, Timeouts};
use crate::edge::accept::Front;
use crate::edge::accept::pre_tls::BeforeTls;
use crate::edge::accept::side::Side;
use crate::edge::call::ending::Ending;
use crate::edge::gateway::Gateway;
use crate::edge::gateway::connections;
use crate::edge::server::admin::{Admin, Sampler};
use crate::edge::server::certificates::Certificates;
use crate::edge::server::demo::Demo;
use crate::edge::server::handover::{Door, Inheritance};
use crate::edge::server::listeners::Sockets;
use crate::edge::server::reload::Reload;

/// A server that is ready to run.
pub struct Server {
    main: tokio::runtime::Runtime,
    signals: Signals,
    life: Life,
}

/// What a process lives on.
struct Life {
    gateway: Gateway,
    clients: Service<Front>,
    threads: usize,
    admin: Option<(Service<Side<Admin>>, Sampler)>,
    demo: Option<(Service<Side<Demo>>, Sockets)>,
    sockets: Sockets,
    reload: Reload,
    timeouts: Timeouts,
    door: PathBuf,
    inheritance: Option<Inheritance>,
    successor: Option<Command>,
}

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// When the store, a log or a listener cannot be opened.
pub fn run(config: &Config, file: Option<PathBuf>) -> Result<(), Error> {
    Server::new(config, file)?.run()
}

impl Server {
    /// Prepares a server for a configuration, and for reloads from the file that it came from. From now on, clients
    /// can connect; they are answered when it runs.
    ///
    /// # Errors
    /// When the store, a log or a listener cannot be opened.
    pub fn new(config: &Config, file: Option<PathBuf>) -> Result<Self, Error> {
        Self::build(config, file, None)
    }

    /// Prepares a server that takes the listeners over from the gateway that has them, on the same data
    /// folder and with the same first address. That one goes on until this one runs.
    ///
    /// # Errors
    /// When there is no such gateway, or when the store, a log or a listener cannot be opened.
    pub fn taking_over(config: &Config, file: Option<PathBuf>) -> Result<Self, Error> {
        let door = door(config);
        let inheritance = Inheritance::ask(&door).map_err(|error| {
            Error::plain(format!("there is no gateway to take over from at {}: {error}", door.display()))
        })?;
        Self::build(config, file, Some(inheritance))
    }

    fn build(
        config: &Config,
        file: Option<PathBuf>,
        mut inheritance: Option<Inheritance>,
    ) -> Result<Self, Error> {
        // Who can connect may send signals, too.
        let (main, signals) =
            Signals::new().map_err(|error| Error::plain(format!("signals cannot be waited for: {error}")))?;
        let inherited = inheritance.as_mut().map(|from| std::mem::take(&mut from.sockets));
        let demo = config.demo.map(|port| format!("127.0.0.1:{port}"));
        let addresses = config.listeners.iter().map(|listener| listener.address.as_str());
        let addresses = addresses.chain(config.admin.as_ref().map(|admin| admin.address.as_str()));
        let sockets = Sockets::open(addresses, inherited.unwrap_or_default())?;
        let gateway = Gateway::new(config)?;
        let mut certificates = Certificates::default();
        let admin = config.admin.as_ref();
        let admin = admin.map(|settings| operators(settings, &config.data, gateway.clone())).transpose()?;
        // Each process has a built-in provider of its own, which nobody takes over.
        let own = Sockets::open(demo.as_deref().into_iter(), Vec::new())?;
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
            sockets,
            reload: Reload::new(gateway.clone(), certificates, file, demo.is_some()),
            demo,
            timeouts: config.timeouts,
            door: door(config),
            inheritance,
            successor: None,
            gateway,
        };
        Ok(Self { main, signals, life })
    }

    /// How the program is started that takes over when a signal says so: with arguments that make it
    /// [take over](Self::taking_over).
    #[must_use]
    pub fn with_successor(mut self, command: Command) -> Self {
        self.life.successor = Some(command);
        self
    }

    /// Runs until the process is told to stop, or another one has taken over, and calls are over.
    ///
    /// # Errors
    /// When the system gives no thread, file or signal.
    pub fn run(self) -> Result<(), Error> {
        let Self { main, signals, life } = self;
        let gateway = life.gateway.clone();
        let ended = main.block_on(life.supervise(signals));
        // A name that is being resolved is not waited for.
        main.shutdown_background();
        gateway.close();
        ended.map_err(|error| Error::plain(format!("the gateway cannot run: {error}")))
    }
}

impl Life {
    /// The whole of it.
    async fn supervise(mut self, mut signals: Signals) -> std::io::Result<()> {
        let table = self.sockets.table()?;
        let (stop, stopping) = watch::channel(false);
        // Calls that are running may need their provider to the end.
        let (_never, lasting) = watch::channel(false);
        let mut services = Services::default();
        if let Some((demo, own)) = self.demo.take() {
            services.start(demo, 1, &own.table()?, lasting);
        }
        let admin = self.admin.take().map(|(admin, sampler)| {
            tokio::spawn(sampler.run());
            services.start(admin, 1, &table, stopping.clone())
        });
        tokio::spawn(keep_resolved(self.gateway.clone()));
        let clients = services.start(self.clients, self.threads, &table, stopping);
        let mut taken = open_door(&self.door, &mut self.inheritance, &self.sockets);
        tell_manager();
        if let Some(inheritance) = self.inheritance.take() {
            log::info!("this process accepts connections now, and the one before it ends");
            inheritance.release();
        }
        let drain = Drain { gateway: &self.gateway, ending: self.gateway.ending(), timeouts: self.timeouts };
        let reason = watch_over(&mut signals, &mut taken, &mut self.reload, &mut self.successor).await;
        if reason != Reason::TakenOver {
            Door::remove(&self.door);
        }
        self.sockets.close();
        let _ = stop.send(true);
        // They have only to see that it is over.
        for accepting in [Some(clients), admin].into_iter().flatten() {
            let _ = accepting.await;
        }
        drain.run(reason, &mut signals).await;
        services.end();
        Ok(())
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// Why a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It was told to, when calls are over.
    Told,
    /// It was told to, at once.
    Now,
    /// Another one accepts connections now.
    TakenOver,
}

/// What a process can be told.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    /// From now on signals wait, and do not end the process; the runtime is the one that they are waited for in.
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
    /// Starts a service; what is returned ends when it does not accept any more.
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
        // Requests are alike and many, so threads that do not help each other cost less.
        let runtime = RuntimeBuilder::new(threads, service.name()).work_steal(false).build();
        let sockets = Arc::clone(sockets);
        let started = runtime.get_handle().spawn(async move {
            service.start_service(Some(sockets), stop, 1).await;
        });
        self.0.push(runtime);
        started
    }

    /// Ends all threads, and whatever still runs in them.
    fn end(self) {
        for runtime in self.0 {
            runtime.shutdown_timeout(Duration::ZERO);
        }
    }
}

/// Looks after files and signals until the process has to end.
async fn watch_over(
    signals: &mut Signals,
    taken: &mut Option<oneshot::Receiver<()>>,
    reload: &mut Reload,
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
            // There is no door, or not any more.
            *taken = None;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = signals.terminate.recv() => return Reason::Told,
            _ = signals.interrupt.recv() => return Reason::Now,
            _ = signals.hangup.recv() => reload.now(),
            _ = signals.upgrade.recv() => start(successor.as_mut()),
            () = taken_over => return Reason::TakenOver,
            _ = ticks.tick() => reload.tick(),
        }
    }
}

/// Starts the process that shall take over.
fn start(successor: Option<&mut Command>) {
    let Some(command) = successor else {
        return log::warn!("there is no program known that could take over");
    };
    match command.spawn() {
        Ok(mut child) => {
            log::info!("process {} was started to take over", child.id());
            // It outlives this process, unless it fails.
            let wait = move || match child.wait() {
                Ok(status) => log::error!("the process that was to take over has ended: {status}"),
                Err(error) => log::error!("the process that was to take over: {error}"),
            };
            let _ = std::thread::Builder::new().name("successor".to_owned()).spawn(wait);
        }
        Err(error) => log::error!("{} cannot be started: {error}", command.get_program().display()),
    }
}

/// A door for a successor. A gateway without one can only be stopped and started again.
fn open_door(
    path: &Path,
    inheritance: &mut Option<Inheritance>,
    sockets: &Sockets,
) -> Option<oneshot::Receiver<()>> {
    let inherited = inheritance.as_mut().and_then(Inheritance::take_door);
    let door = Door::open(path, inherited).and_then(|door| door.watch(sockets.clone()));
    door.inspect_err(|error| {
        log::warn!("{}: {error}; no process can take over from this one", path.display());
    })
    .ok()
}

/// The door of the gateway of a configuration.
fn door(config: &Config) -> PathBuf {
    let address = config.listeners.first().map_or("", |listener| listener.address.as_str());
    Door::path(&config.data, address)
}

/// Tells systemd, if it has started this, that the process is ready, and that it is the one to look after.
fn tell_manager() {
    let told = sd_notify::notify(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
    if let Err(error) = told {
        log::warn!("the service manager cannot be told that the gateway is ready: {error}");
    }
}

/// The time between the order to stop and the end.
struct Drain<'s> {
    gateway: &'s Gateway,
    ending: Arc<Ending>,
    timeouts: Timeouts,
}

impl Drain<'_> {
    /// Waits until all calls are over, as long as they may take; then tells those that are left to end.
    async fn run(&self, reason: Reason, signals: &mut Signals) {
        let seconds = match reason {
            Reason::Told => self.timeouts.drain,
            Reason::Now => 0,
            Reason::TakenOver => self.timeouts.handover,
        };
        log::info!("{} calls are running and may go on for {seconds} seconds", self.gateway.calls());
        let mut deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            tokio::select! {
                () = self.quiet() => return log::info!("all calls are over"),
                () = sleep_until(deadline) => break,
                _ = signals.interrupt.recv() => break,
                // The order to stop is one for a process that another has taken over from, too.
                _ = signals.terminate.recv() => {
                    deadline = deadline.min(Instant::now() + Duration::from_secs(self.timeouts.drain));
                }
            }
        }
        self.ending.come();
        if timeout(LAST_WORDS, self.quiet()).await.is_err() {
            log::warn!("{} calls are cut off", self.gateway.calls());
        }
    }

    /// Waits until nothing has gone on for two looks: a connection that was just accepted is not counted yet.
    async fn quiet(&self) {
        let mut looks = 0;
        while looks < 2 {
            sleep(LOOK).await;
            looks = if self.gateway.is_quiet() { looks + 1 } else { 0 };
        }
    }
}

/// Resolves the names of all providers before they are needed, and again and again.
async fn keep_resolved(gateway: Gateway) {
    loop {
        gateway.keep_resolved();
        sleep(RESOLVE).await;
    }
}

fn conf(config: &Config) -> ServerConf {
    ServerConf { threads: config.threads, ..ServerConf::default() }
}

fn clients(
    config: &Config,
    gateway: Gateway,
    certificates: &mut Certificates,
) -> Result<Service<Front>, Error> {
    let front = Front::new(&Arc::new(conf(config)), gateway.clone());
    let mut service = Service::new("clients".to_owned(), front);
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

/// What operators are answered by, and what takes the samples that it shows.
fn operators(
    settings: &config::Admin,
    data: &Path,
    gateway: Gateway,
) -> Result<(Service<Side<Admin>>, Sampler), Error> {
    let admin = Admin::new(gateway, settings, data).map_err(|e| Error::plain(format!("data: {e}")))?;
    let sampler = admin.sampler();
    let mut service = Service::new("admin".to_owned(), Side::new(admin, connections::OPERATORS));
    service.add_tcp(&settings.address);
    Ok((service, sampler))
}

/// Bytes read at once for TLS: a record (RFC 8446, 5.1) and its head. Without TLS, nothing stands between the
/// socket and the buffers into which heads and bodies are read, and no memory that each connection would
/// have for its whole life.
const TLS_READ_BUFFER: usize = (16 << 10) + 256;

/// Bytes gathered before a write: head and body of a usual answer leave together.
const WRITE_BUFFER: usize = 16 << 10;

/// The interval at which it is looked whether a provider's name is due to be resolved.
const RESOLVE: Duration = Duration::from_secs(1);

/// How often files are looked at.
const WATCH: Duration = Duration::from_millis(500);

/// How often it is looked whether something still goes on when the process ends.
const LOOK: Duration = Duration::from_millis(10);

/// The time in which calls may tell their clients that they cannot go on.
const LAST_WORDS: Duration = Duration::from_secs(2);
