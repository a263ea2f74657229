//! What is measured: processes that are started here, watched in `/proc`, and ended with the benchmark.

use std::fs::{self, DirEntry, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;

use crate::bare;

/// The model, as the client calls it.
pub(crate) const ALIAS: &str = "bench/alias";

/// A model of a provider that only speaks Chat Completions.
pub(crate) const TRANSLATED: &str = "bench/translated";

/// What is compared with what; the second of each is what all are compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// The gateway, bare Pingora, nginx.
    Proxies,
    /// The gateway and bare Pingora.
    Counted,
    /// The gateway with and without its ledger.
    Billing,
    /// The gateway with and without its access log, metrics and listener for operators.
    Watching,
}

/// A proxy in front of the provider.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// The client's credential; only the gateway looks at it.
    pub(crate) key: String,
    /// Do client and provider each see the name by which they call the model?
    pub(crate) renames: bool,
    process: Child,
}

/// The programs that are started, and the command that starts them.
#[derive(Clone)]
pub(crate) struct Programs {
    gateway: String,
    bare: String,
    /// The command that starts each of them, as `taskset` does; it may be empty.
    launcher: Vec<String>,
    /// The time that one may take until it listens.
    patience: Duration,
}

/// All of a group, and the folder of their files.
pub(crate) struct Subjects {
    pub(crate) all: Vec<Subject>,
    _folder: TempDir,
}

struct Starter<'a> {
    folder: &'a Path,
    upstream: SocketAddr,
    programs: &'a Programs,
}

#[derive(Deserialize)]
struct NewKey {
    secret: String,
}

impl Subjects {
    /// The place of the one that all are compared with.
    pub(crate) const BASE: usize = 1;

    pub(crate) fn start(group: Group, upstream: SocketAddr, programs: &Programs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let starter = Starter { folder: folder.path(), upstream, programs };
        let gateway = |name, settings: &str| starter.gateway(name, settings).unwrap();
        let watched = |name, billing| {
            let (admin, log) = (free(), folder.path().join("access.log"));
            let watched = format!("admin: \"{admin}\"\naccess_log: {}", log.display());
            gateway(name, &format!("{watched}\nbilling: {billing}"))
        };
        let all = match group {
            Group::Proxies => starter.others(watched("crossmodel", "off")),
            Group::Counted => vec![watched("crossmodel", "off"), starter.bare().unwrap()],
            Group::Billing => vec![watched("with-billing", "on"), watched("without", "off")],
            Group::Watching => vec![
                watched("watched", "off"),
                gateway("unwatched", "admin: off\naccess_log: off\nmetrics: off\nbilling: off"),
            ],
        };
        Self { all, _folder: folder }
    }
}

impl Programs {
    /// Those that the benchmark was built with.
    pub(crate) fn built_along(pinned: bool) -> Self {
        let taskset = ["taskset", "-c", SUBJECT_CPU].map(str::to_owned);
        Self {
            gateway: GATEWAY.to_owned(),
            bare: std::env::current_exe().unwrap().to_string_lossy().into_owned(),
            launcher: if pinned { taskset.to_vec() } else { Vec::new() },
            patience: Duration::from_secs(10),
        }
    }

    /// Those of `cargo build --profile dist --workspace`; nothing if they are not there.
    pub(crate) fn released(pinned: bool) -> Option<Self> {
        let own = std::env::current_exe().ok()?;
        let folder = own.ancestors().nth(3)?.join("dist");
        let path = |name: &str| {
            let path = folder.join(name);
            path.is_file().then(|| path.to_string_lossy().into_owned())
        };
        Some(Self { gateway: path("crossmodel")?, bare: path("bare-pingora")?, ..Self::built_along(pinned) })
    }

    /// The same under Valgrind, which starts slowly.
    pub(crate) fn under(mut self, valgrind: &[String]) -> Self {
        self.launcher.extend_from_slice(valgrind);
        self.patience = Duration::from_secs(120);
        self
    }
}

impl Starter<'_> {
    /// The gateway, and what it is compared with.
    fn others(&self, gateway: Subject) -> Vec<Subject> {
        let mut all = vec![gateway, self.bare().unwrap()];
        match self.nginx() {
            Ok(nginx) => all.push(nginx),
            Err(why) => println!("without nginx: {why}\n"),
        }
        all
    }

    fn gateway(&self, name: &'static str, settings: &str) -> io::Result<Subject> {
        let (address, upstream) = (free(), self.upstream);
        let data = self.folder.join(format!("{name}.data"));
        fs::create_dir(&data)?;
        let folder = data.display();
        let config = self.file(
            &format!("{name}.yaml"),
            &format!(
                r#"
listen: [{{address: "{address}"}}]
data: {folder}
threads: 1
{settings}
providers:
  up: {{base_url: "http://{upstream}/v1", auth: none, protocols: [chat, responses, messages]}}
  other: {{base_url: "http://{upstream}/v1", auth: none, protocols: [chat]}}
models:
  - {{id: bench/real, targets: [{{provider: up, model: chat}}], prices: [{{input: 1250000, output: 10000000}}]}}
  - {{id: {TRANSLATED}, targets: [{{provider: other, model: chat}}]}}
"#
            ),
        )?;
        let key = key(&self.programs.gateway, &data);
        let mut gateway = self.start(name, &[&self.programs.gateway, "-c", &config], address)?;
        (gateway.key, gateway.renames) = (key, true);
        Ok(gateway)
    }

    fn bare(&self) -> io::Result<Subject> {
        let address = free();
        let (listen, upstream) = (address.to_string(), self.upstream.to_string());
        self.start("bare Pingora", &[&self.programs.bare, bare::ROLE, &listen, &upstream], address)
    }

    /// One process of nginx that passes everything on, and writes nothing to disk on the way.
    fn nginx(&self) -> io::Result<Subject> {
        let (address, upstream, folder) = (free(), self.upstream, self.folder.display());
        let config = self.file(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 10000000;
  client_max_body_size 64m; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2;
  fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  upstream provider {{ server {upstream}; keepalive 512; keepalive_requests 10000000; }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection '';
      proxy_buffering off; proxy_request_buffering off;
    }}
  }}
}}"
            ),
        )?;
        let log = format!("{folder}/nginx.log");
        self.start("nginx", &["nginx", "-e", &log, "-c", &config], address)
    }

    fn file(&self, name: &str, text: &str) -> io::Result<String> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn start(&self, name: &'static str, command: &[&str], address: SocketAddr) -> io::Result<Subject> {
        let said = self.folder.join(name);
        let launcher = self.programs.launcher.iter().map(String::as_str);
        let words: Vec<_> = launcher.chain(command.iter().copied()).collect();
        let output = File::create(&said)?;
        let process = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut subject = Subject { name, address, key: "none".to_owned(), renames: false, process };
        match subject.listens(self.programs.patience) {
            true => Ok(subject),
            false => Err(io::Error::other(fs::read_to_string(said)?)),
        }
    }
}

impl Subject {
    fn listens(&mut self, patience: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < patience && matches!(self.process.try_wait(), Ok(None)) {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// CPU time so far, its own and the kernel's on its behalf.
    pub(crate) fn cpu(&self) -> Duration {
        // The scheduler counts nanoseconds, where it is built to; all others have ticks of 10 ms.
        self.scheduled().unwrap_or_else(|| self.ticks())
    }

    /// Of all threads that still run: none of the subjects ends one under load.
    fn scheduled(&self) -> Option<Duration> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).ok()?;
        let nanos = |thread: io::Result<DirEntry>| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        let nanos = threads.filter_map(nanos).sum();
        (nanos > 0).then_some(Duration::from_nanos(nanos))
    }

    fn ticks(&self) -> Duration {
        let stat = self.proc("stat");
        // The name in front may hold anything, also spaces and brackets.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in MiB.
    pub(crate) fn resident(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // All of them may be ended at any time: their folder is temporary.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Keeps the client and the provider off the CPU of what is measured; says whether it could.
pub(crate) fn pin_self() -> bool {
    let own = std::process::id().to_string();
    let runs = |arguments: &[&str]| {
        let status =
            Command::new("taskset").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    runs(&["-c", SUBJECT_CPU, "true"]) && runs(&["-c", "-p", OWN_CPU, &own])
}

/// A key without limits, of an account that will not run out of money.
fn key(program: &str, folder: &Path) -> String {
    let run = |arguments: &[&str]| {
        let made = Command::new(program).arg("--data").arg(folder).args(arguments).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        made.stdout
    };
    run(&["store", "create"]);
    run(&["account", "create", ACCOUNT]);
    run(&["account", "top-up", ACCOUNT, "1000000"]);
    let alias = format!("{ALIAS}=bench/real");
    let limits = ["--rpm", "unlimited", "--tpm", "unlimited"];
    let key = ["key", "create", "--json", "--account", ACCOUNT, "--alias", &alias];
    serde_json::from_slice::<NewKey>(&run(&[&key[..], &limits].concat())).unwrap().secret
}

/// An address that nobody listens on, which is true until somebody does.
fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

const GATEWAY: &str = env!("CARGO_BIN_EXE_crossmodel");
const ACCOUNT: &str = "bench";
const SUBJECT_CPU: &str = "0";
const OWN_CPU: &str = "1";
