//! The gateway as a process of its own.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;

use super::{UPSTREAM_KEY, eventually, get};

/// A running gateway with a folder of its own. It ends with the value.
pub(crate) struct Gateway {
    pub(crate) port: u16,
    pub(crate) admin: u16,
    /// Its first key; empty if it has none.
    pub(crate) key: String,
    folder: TempDir,
    child: Child,
    /// Processes that another has taken over from.
    earlier: Vec<Child>,
}

impl Gateway {
    /// Starts a gateway with a configuration, to which listeners and folders are added.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[], &[])
    }

    /// Starts a gateway whose first key was made with `key` as further arguments.
    pub(crate) fn start_with(config: &str, key: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let secret = create_key(&folder.path().join("data"), key);
        Self::run(folder, config, secret, environment)
    }

    /// Starts a gateway that has no store and no key yet.
    pub(crate) fn first_run(config: &str, environment: &[(&str, &str)]) -> Self {
        Self::run(TempDir::new().unwrap(), config, String::new(), environment)
    }

    fn run(folder: TempDir, config: &str, key: String, environment: &[(&str, &str)]) -> Self {
        let (port, admin) = (free_port(), free_port());
        let text = complete(folder.path(), config, port, admin);
        std::fs::write(folder.path().join("conf.yaml"), text).unwrap();
        let child = spawn(&mut command(folder.path(), environment));
        let mut gateway = Self { port, admin, key, folder, child, earlier: Vec::new() };
        gateway.await_port();
        gateway
    }

    /// Starts a gateway whose standard output and error nobody reads yet.
    pub(crate) fn unread(config: &str) -> (Self, ChildStdout, ChildStderr) {
        let folder = TempDir::new().unwrap();
        let key = create_key(&folder.path().join("data"), &[]);
        let (port, admin) = (free_port(), free_port());
        std::fs::write(folder.path().join("conf.yaml"), complete(folder.path(), config, port, admin))
            .unwrap();
        let mut child = spawn(command(folder.path(), &[]).stdout(Stdio::piped()).stderr(Stdio::piped()));
        let pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let mut gateway = Self { port, admin, key, folder, child, earlier: Vec::new() };
        gateway.await_port();
        (gateway, pipes.0, pipes.1)
    }

    /// Starts another process that is to take over from the one that runs.
    pub(crate) fn successor(&self) -> Child {
        spawn(command(self.folder.path(), &[]).arg("--upgrade"))
    }

    /// Has another process take over; from then on it is the gateway.
    pub(crate) fn upgrade(&mut self) {
        let child = self.successor();
        self.earlier.push(std::mem::replace(&mut self.child, child));
        let count = self.earlier.len();
        let done = eventually(Duration::from_secs(60), || {
            let log = self.stderr();
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the new process has ended: {log}");
            ["accepts connections now", "may go on for"].iter().all(|said| log.matches(said).count() >= count)
        });
        assert!(done, "nobody has taken over: {}", self.stderr());
    }

    /// Waits until all processes that were taken over from have ended; gives how.
    pub(crate) fn await_earlier(&mut self, time: Duration) -> Vec<Option<i32>> {
        let mut earlier = std::mem::take(&mut self.earlier);
        eventually(time, || earlier.iter_mut().all(|child| child.try_wait().unwrap().is_some()));
        let code = |child: &mut Child| child.try_wait().unwrap().and_then(|status| status.code());
        let codes = earlier.iter_mut().map(code).collect();
        self.earlier = earlier;
        codes
    }

    fn await_port(&mut self) {
        let listens = eventually(Duration::from_secs(20), || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the gateway has ended: {}", self.stderr());
            [self.port, self.admin].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
        assert!(listens, "the gateway does not listen: {}", self.stderr());
        // It listens before it answers, and has said what it has to say when it does.
        assert_eq!(get(self.admin, "/readyz", "").status, 200);
    }

    /// Ends the process and starts it again on what it has left.
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// Does the same with variables of the environment.
    pub(crate) fn restart_with(&mut self, environment: &[(&str, &str)]) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for log in ["stdout", "stderr"] {
            std::fs::write(self.file(log), "").unwrap();
        }
        self.child = spawn(&mut command(self.folder.path(), environment));
        self.await_port();
    }

    /// Writes another configuration into its file, completed as the first one was.
    pub(crate) fn configure(&self, config: &str) {
        let text = complete(self.folder.path(), config, self.port, self.admin);
        std::fs::write(self.file("conf.yaml"), text).unwrap();
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.file("data")
    }

    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(self.file("stdout")).unwrap_or_default()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.file("stderr")).unwrap_or_default()
    }

    /// The access log, once it has `lines` lines, in the order in which the requests came.
    pub(crate) fn access_log(&self, lines: usize) -> Vec<String> {
        let read = || std::fs::read_to_string(self.file("access.log")).unwrap_or_default();
        eventually(Duration::from_secs(5), || read().lines().count() >= lines);
        let mut all: Vec<_> = read().lines().map(str::to_owned).collect();
        // Lines are written when requests are over, and begin with the time at which they began.
        all.sort();
        all
    }

    /// The value of a metric, with its labels as the text format writes them; 0 if it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = get(self.admin, "/metrics", "").body;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Checks that the books add up, and that the gateway has noticed no contradiction in them.
    pub(crate) fn audit(&self) {
        self.command(&["ledger", "audit"]);
        let page = get(self.admin, "/metrics", "").body;
        let violations = "crossmodel_ledger_invariant_violations_total{";
        let violations: Vec<_> = page.lines().filter(|line| line.starts_with(violations)).collect();
        assert!(
            !violations.is_empty() && violations.iter().all(|line| line.ends_with(" 0")),
            "{violations:?}"
        );
    }

    /// Runs a command on the gateway's folder and returns what it printed.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let output = run(&self.data(), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the process to end by itself.
    pub(crate) fn await_end(&mut self, time: Duration) -> Option<i32> {
        let mut code = None;
        eventually(time, || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.and_then(|status| status.code())
    }

    /// The most memory that the process has had so far, in KiB, without its program's pages.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:") - self.status("RssFile:")
    }

    /// The memory that the process has now, in KiB, without its program's pages.
    pub(crate) fn memory(&self) -> u64 {
        self.status("RssAnon:")
    }

    /// How many files the process has open.
    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The sockets that it has open, as the system names them.
    pub(crate) fn sockets(&self) -> Vec<String> {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets.map(|target| target.to_string_lossy().into_owned()).collect()
    }

    /// The seconds of CPU that it has used.
    pub(crate) fn cpu(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = text.rsplit_once(") ").unwrap().1;
        let ticks = after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        // Linux counts a hundred in a second (USER_HZ), whatever it counts by inside.
        ticks.sum::<u64>() as f64 / 100.0
    }

    /// Lets it have no more open files than this, from now on.
    pub(crate) fn limit_files(&self, count: u64) {
        let limit = Rlimit { current: Some(count), ..getrlimit(Resource::Nofile) };
        prlimit(Pid::from_child(&self.child).into(), Resource::Nofile, limit).unwrap();
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    #[expect(clippy::print_stdout, reason = "the harness shows it beside a failed test")]
    fn drop(&mut self) {
        for child in self.earlier.iter_mut().chain([&mut self.child]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            println!("--- the gateway's standard error:\n{}", self.stderr());
        }
    }
}

/// The gateway of a folder, to be started. Several processes may write their logs to its files.
fn command(folder: &Path, environment: &[(&str, &str)]) -> Command {
    let log = |name: &str| File::options().create(true).append(true).open(folder.join(name)).unwrap();
    // Figures may be wanted of another build than that of the tests.
    let binary = std::env::var("CROSSMODEL").unwrap_or_else(|_| env!("CARGO_BIN_EXE_crossmodel").to_owned());
    let mut command = Command::new(binary);
    command
        .arg("-c")
        .arg(folder.join("conf.yaml"))
        .env("UPSTREAM_KEY", UPSTREAM_KEY)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(log("stdout"))
        .stderr(log("stderr"));
    command
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap()
}

/// A configuration with folders, and with each kind of listeners and an access log unless it has its own.
fn complete(folder: &Path, config: &str, port: u16, admin: u16) -> String {
    let unless_own = |name: &str, line: String| match config.lines().any(|line| line.starts_with(name)) {
        true => String::new(),
        false => line,
    };
    let listen = unless_own("listen:", format!("listen: [{{address: \"127.0.0.1:{port}\"}}]\n"));
    let operators = unless_own("admin:", format!("admin: \"127.0.0.1:{admin}\"\n"));
    let log = unless_own("access_log:", format!("access_log: {}\n", folder.join("access.log").display()));
    let data = unless_own("data:", format!("data: {}\n", folder.join("data").display()));
    let text = format!("{listen}{operators}{log}{data}{config}");
    let text = text.replace("@ADMIN@", &admin.to_string());
    text.replace("@PORT@", &port.to_string()).replace("@FOLDER@", &folder.display().to_string())
}

/// Runs the binary on a data folder.
pub(crate) fn run(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crossmodel"))
        .arg("--data")
        .arg(data)
        .args(arguments)
        .env("UPSTREAM_KEY", UPSTREAM_KEY)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A port that nobody listens on. It is below those that systems give to clients, and it is given to nobody
/// else, neither in this process nor in another run of these tests.
pub(crate) fn free_port() -> u16 {
    static BLOCK: LazyLock<(u16, File)> = LazyLock::new(own_block);
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let ports = (0..BLOCK_SIZE).map(|_| BLOCK.0 + NEXT.fetch_add(1, Ordering::Relaxed) % BLOCK_SIZE);
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a free port")
}

/// The first port of a block that is this process's own for as long as the file is open.
fn own_block() -> (u16, File) {
    let taken = |n: u16| {
        let path = std::env::temp_dir().join(format!("crossmodel-test-ports-{n}"));
        let file = File::options().create(true).truncate(false).write(true).open(path).ok()?;
        file.try_lock().is_ok().then_some((FIRST_PORT + n * BLOCK_SIZE, file))
    };
    (0..BLOCKS).find_map(taken).expect("a block of ports")
}

const FIRST_PORT: u16 = 20_000;
const BLOCK_SIZE: u16 = 1_000;
const BLOCKS: u16 = 12;

/// Builds what lets a gateway's disk fail and its clock jump, for `LD_PRELOAD`.
pub(crate) fn faults(folder: &Path) -> PathBuf {
    let shim = folder.join("faults.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/faults.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(source).status();
    assert!(built.unwrap().success(), "a C compiler is what the gateway itself is built with");
    shim
}

/// Makes a store in a data folder that has none.
pub(crate) fn create_store(data: &Path) {
    let output = run(data, &["store", "create"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a store and a key in a data folder; gives its secret.
fn create_key(data: &Path, arguments: &[&str]) -> String {
    create_store(data);
    let output =
        run(data, &[&["key", "create", "--rpm", "unlimited", "--tpm", "unlimited"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().next().unwrap().to_owned()
}
