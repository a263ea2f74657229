//! The place of the store: every command works on the store of the gateway, or ends and makes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::{Gateway, eventually, free_port, get, member};

/// Commands that work on a store, and whether they only read it.
const COMMANDS: [(&[&str], bool); 14] = [
    (&["key", "list"], true),
    (&["key", "show", "key_unknown"], true),
    (&["account", "list"], true),
    (&["account", "show", "default"], true),
    (&["usage"], true),
    (&["ledger", "audit"], true),
    (&["key", "create"], false),
    (&["key", "set", "key_unknown", "--rpm", "1"], false),
    (&["key", "disable", "key_unknown"], false),
    (&["key", "enable", "key_unknown"], false),
    (&["key", "delete", "key_unknown"], false),
    (&["account", "create", "team"], false),
    (&["account", "top-up", "default", "1"], false),
    (&["account", "disable", "default"], false),
];

/// A folder with a working directory, a home, and a folder of a configuration file, which are all different.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for name in ["here", "home", "etc"] {
            fs::create_dir(machine.path(name)).unwrap();
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command in the working directory, without any variable but the home.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossmodel"));
        command.args(arguments).current_dir(self.path("here")).env_clear().env("HOME", self.path("home"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Makes a store in a folder.
    fn create_store(&self, name: &str) {
        let output = self.run(&["store", "create", "--data", self.path(name).to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
    }

    /// Writes a configuration file, which refers to a secret that is not there.
    fn configure(&self, settings: &str) -> String {
        let file = self.path("etc/crossmodel.yaml");
        let text = format!("{settings}providers: {{openai: {{key: \"env:NOT_SET\"}}, demo: {{}}}}\n");
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Everything on the machine: the bytes of files, and nothing of folders.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let bytes = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap_or_default() };
                found.insert(path.clone(), bytes);
                folders.extend(path.is_dir().then_some(path));
            }
        }
        found
    }

    /// Starts a gateway, and waits until it answers.
    fn start(&self, admin: u16, arguments: &[&str]) -> Running {
        let admin_option = format!("127.0.0.1:{admin}");
        let port = free_port().to_string();
        let mut command = self.command(&[&["--admin", &admin_option, "--port", &port], arguments].concat());
        let log = || fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        command.env("NOT_SET", "sk-set").stdout(log()).stderr(log());
        let running = Running(command.spawn().unwrap());
        let is_up = || std::net::TcpStream::connect(("127.0.0.1", admin)).is_ok();
        let log = || fs::read_to_string(self.path("log")).unwrap();
        assert!(eventually(Duration::from_secs(20), is_up), "{}", log());
        assert_eq!(get(admin, "/readyz", "").status, 200, "{}", log());
        running
    }
}

/// A gateway that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn commands_without_a_store_end_and_make_nothing() {
    let machine = Machine::new();
    let file = machine.configure("data: kept\n");
    let gone = machine.path("gone");
    let gone = gone.to_str().unwrap();
    let own = machine.path("home/.local/share/crossmodel");
    let kept = machine.path("etc/kept");
    let situations: [(&[&str], &str); 3] =
        [(&["--data", gone], gone), (&["-c", &file], kept.to_str().unwrap()), (&[], own.to_str().unwrap())];
    for (situation, folder) in situations {
        if situation.is_empty() && Path::new("/etc/crossmodel/crossmodel.yaml").exists() {
            continue;
        }
        for (command, _) in COMMANDS {
            let before = machine.files();
            let output = machine.run(&[command, situation].concat());
            assert_eq!(output.status.code(), Some(5), "{command:?} {situation:?}: {output:?}");
            let words = format!(
                "no store in {folder}. Start the gateway once, name its folder with --data, or create one: "
            );
            assert!(said(&output).starts_with(&words) && output.stdout.is_empty(), "{command:?}: {output:?}");
            assert_eq!(machine.files(), before, "{command:?} {situation:?}");
        }
    }
}

#[test]
fn what_only_reads_leaves_every_byte_as_it_was() {
    let machine = Machine::new();
    machine.create_store("data");
    let data = machine.path("data");
    let data = data.to_str().unwrap();
    assert!(machine.run(&["account", "create", "default", "--data", data]).status.success());
    let before = machine.files();
    for (command, _) in COMMANDS.into_iter().filter(|(_, only_reads)| *only_reads) {
        let output = machine.run(&[command, &["--data", data]].concat());
        assert!(matches!(output.status.code(), Some(0 | 3)), "{command:?}: {output:?}");
        assert_eq!(machine.files(), before, "{command:?}");
    }
    // A store of an earlier version is brought up to date by its gateway, and not by a listing.
    let database = rusqlite::Connection::open(machine.path("data/crossmodel.db")).unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
    drop(database);
    let output = machine.run(&["key", "list", "--data", data]);
    assert!(output.status.code() == Some(5) && said(&output).contains("start the gateway"), "{output:?}");
}

#[test]
fn a_file_leads_every_command_to_the_store_of_its_gateway() {
    let machine = Machine::new();
    let file = machine.configure("data: kept\naccess_log: access.log\n");
    let gateway = machine.start(free_port(), &["-c", &file]);
    for name in ["etc/kept/crossmodel.db", "etc/access.log"] {
        assert!(machine.path(name).exists(), "{name} is beside the file");
    }
    let before: Vec<_> = machine.files().into_keys().collect();
    let made = machine.run(&["key", "create", "-c", &file]);
    assert!(made.status.success(), "no provider's key is needed: {made:?}");
    for (command, _) in COMMANDS {
        let output = machine.run(&[command, &["-c", &file]].concat());
        assert!(matches!(output.status.code(), Some(0 | 3)), "{command:?}: {output:?}");
    }
    // The same by variables, of which an option takes precedence.
    for (name, value) in [("CROSSMODEL_CONFIG", file.as_str()), ("CROSSMODEL_DATA", "../etc/kept")] {
        let output = machine.command(&["key", "list", "--json"]).env(name, value).output().unwrap();
        assert!(!member(&String::from_utf8_lossy(&output.stdout), "0.id").is_empty(), "{name}: {output:?}");
        let mut command = machine.command(&["key", "list", "--data", "gone"]);
        assert_eq!(command.env(name, value).output().unwrap().status.code(), Some(5), "{name}");
    }
    assert_eq!(machine.files().into_keys().collect::<Vec<_>>(), before, "no other file was made");
    drop(gateway);
}

#[test]
fn a_store_that_an_earlier_version_made_elsewhere_is_not_passed_over() {
    let machine = Machine::new();
    machine.create_store("here/kept");
    let file = machine.configure("threads: 1\ndata: kept\n");
    let (new, old) = (machine.path("etc/kept"), machine.path("here/kept"));
    let expected = format!(
        "no store in {} ({file}:2, `data: kept`), but there is one in {}.\n\
         Paths in the file are relative to the file. Write `data: {}`, or move the folder.\n",
        new.display(),
        old.display(),
        old.display()
    );
    for command in COMMANDS.map(|(command, _)| command).into_iter().chain([&["store", "create"][..]]) {
        let output = machine.run(&[command, &["-c", &file]].concat());
        assert_eq!((output.status.code(), said(&output)), (Some(1), expected.clone()), "{command:?}");
    }
    let output = machine.command(&["-c", &file]).env("NOT_SET", "sk-set").output().unwrap();
    assert_eq!((output.status.code(), said(&output)), (Some(1), expected), "the gateway itself");
    assert!(!new.exists());
    // Whoever names the folder, or has moved it, is not asked.
    assert!(machine.run(&["key", "list", "-c", &file, "--data", "kept"]).status.success());
    fs::rename(old, new).unwrap();
    assert!(machine.run(&["key", "list", "-c", &file]).status.success());
    // Without a file it is the same.
    machine.create_store("here/data");
    let output = machine.run(&["key", "list"]);
    assert!(output.status.code() == Some(1) && said(&output).contains("`--data "), "{output:?}");
}

#[test]
fn a_store_that_nobody_has_named_is_said() {
    let machine = Machine::new();
    let gateway = machine.start(free_port(), &[]);
    let own = machine.path("home/.local/share/crossmodel");
    assert!(own.join("crossmodel.db").exists() && !machine.path("here/data").exists());
    let line = |used: &str| format!("store: {}{used}\n", own.display());
    let used = format!(", used by gateway {}", gateway.0.id());
    assert_eq!(said(&machine.run(&["key", "list"])), line(&used));
    for silent in [&["key", "list", "--quiet"][..], &["key", "list", "--json"], &["completions", "bash"]] {
        assert_eq!(said(&machine.run(silent)), "", "{silent:?}");
    }
    let named = machine.command(&["key", "list"]).env("CROSSMODEL_DATA", &own).output().unwrap();
    assert_eq!(said(&named), "");
    drop(gateway);
    assert_eq!(said(&machine.run(&["key", "list"])), line(""), "nobody uses it any more");
    let other = machine.path("other");
    let moved = machine.command(&["key", "list"]).env("XDG_DATA_HOME", &other).output().unwrap();
    assert!(
        said(&moved).starts_with(&format!("no store in {}", other.join("crossmodel").display())),
        "{moved:?}"
    );
}

#[test]
fn commands_succeed_during_upgrades() {
    let mut gateway = Gateway::start("providers: {demo: {}}\n");
    let data = gateway.data();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let listed = std::thread::scope(|scope| {
        let lister = scope.spawn(|| {
            let mut listed = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let output = crate::support::run(&data, &["key", "list", "--json"]);
                assert!(output.status.success(), "{output:?}");
                listed += 1;
            }
            listed
        });
        (0..3).for_each(|_| gateway.upgrade());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        lister.join().unwrap()
    });
    assert!(listed > 3, "{listed}");
}

#[test]
fn a_second_gateway_on_a_store_names_the_first() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let machine = Machine::new();
    let second = machine.start(free_port(), &["--data", gateway.data().to_str().unwrap()]);
    let log = fs::read_to_string(machine.path("log")).unwrap();
    assert!(log.contains(&format!("uses {} too", gateway.data().display())), "{log}");
    assert!(!gateway.stderr().contains("too\n"), "{}", gateway.stderr());
    drop(second);
}

#[test]
fn failures_have_codes_for_programs() {
    let machine = Machine::new();
    machine.create_store("data");
    let data = machine.path("data");
    let data = data.to_str().unwrap();
    assert!(machine.run(&["account", "create", "team", "--data", data]).status.success());
    let file = machine.configure("admin: \"127.0.0.1:1\"\n");
    let cases: [(&[&str], i32, &str, &str); 8] = [
        (&["key", "show", "key_nope", "--data", data], 3, "not_found", "there is no key 'key_nope'"),
        (
            &["usage", "--account", "team", "--key", "key_nope", "--data", data],
            3,
            "not_found",
            "there is no key 'key_nope'",
        ),
        (&["account", "create", "team", "--data", data], 6, "exists", "there is already an account 'team'"),
        (&["store", "create", "--data", data], 6, "exists", "there is already a store in "),
        (&["key", "list", "--data", "gone"], 5, "store_unavailable", "no store in gone."),
        (&["health", "-c", &file], 5, "gateway_unavailable", "http://127.0.0.1:1/readyz: "),
        (&["account", "show", "--data", data], 2, "invalid_request", "the following required arguments"),
        (&["key", "list", "-c", "gone.yaml"], 1, "invalid_configuration", "gone.yaml: cannot be read"),
    ];
    for (command, code, name, words) in cases {
        let output = machine.run(&[command, &["--json"]].concat());
        let line = said(&output);
        assert_eq!((output.status.code(), line.lines().count()), (Some(code), 1), "{command:?}: {output:?}");
        assert_eq!(member(&line, "error.code"), name, "{line}");
        assert!(member(&line, "error.message").starts_with(words), "{line}");
        // For people, the same code.
        assert_eq!(machine.run(command).status.code(), Some(code), "{command:?}");
    }
}

#[test]
fn addresses_of_the_command_line_go_before_the_environment_and_the_file() {
    let machine = Machine::new();
    let (listened, other, admin) = (free_port(), free_port(), free_port());
    let file = machine.configure(&format!(
        "data: kept\nlisten: [{{address: \"127.0.0.1:{other}\"}}]\nadmin: \"127.0.0.1:{other}\"\n"
    ));
    let mut command = machine.command(&["serve", "-c", &file, "--listen", &format!("127.0.0.1:{listened}")]);
    command.env("NOT_SET", "sk-set").env("CROSSMODEL_ADMIN", format!("127.0.0.1:{admin}"));
    command
        .env("CROSSMODEL_LISTEN", format!("127.0.0.1:{other}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let running = Running(command.spawn().unwrap());
    let answers = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(eventually(Duration::from_secs(20), || answers(listened) && answers(admin)));
    assert!(!answers(other), "the file's addresses, of which one would be listened on twice, are replaced");
    // The health check of the file's gateway follows the same variable.
    let mut health = machine.command(&["health", "-c", &file]);
    let health = health.env("CROSSMODEL_ADMIN", format!("127.0.0.1:{admin}")).output().unwrap();
    assert!(health.status.success(), "{health:?}");
    drop(running);
}

/// A user that nobody is, for tests that root runs.
const SOMEBODY: u32 = 54_321;

#[test]
fn root_works_as_the_owner_of_a_store_and_others_do_not_work() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let machine = Machine::new();
    let set = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    set(machine.0.path(), 0o755);
    let binary = machine.path("crossmodel");
    fs::copy(env!("CARGO_BIN_EXE_crossmodel"), &binary).unwrap();
    let data = machine.path("owned/data");
    fs::create_dir_all(&data).unwrap();
    for folder in [&machine.path("owned"), &data] {
        chown(folder, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    let run = |uid: u32, arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.arg("--data").arg(&data).args(arguments).env_clear().current_dir("/").stdin(Stdio::null());
        // Root stays root, and does not lose its rights by a change that changes nothing.
        if uid != 0 {
            command.uid(uid).gid(uid);
        }
        command.output().unwrap()
    };
    let owners = || -> Vec<_> {
        let files = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
        files.map(|file| fs::symlink_metadata(&file).unwrap().uid()).collect()
    };
    assert!(run(SOMEBODY, &["store", "create"]).status.success());
    set(&machine.path("owned"), 0o755);
    let made = run(0, &["key", "create"]);
    assert!(made.status.success(), "{made:?}");
    assert!(owners().iter().all(|owner| *owner == SOMEBODY), "{:?}", owners());
    // Another user is told whose the store is.
    set(&data, 0o755);
    let refused = run(SOMEBODY + 1, &["key", "list"]);
    let expected = format!(
        "data: {}/crossmodel.db belongs to uid {SOMEBODY}, this process runs as uid {}. Change the owner or run as uid {SOMEBODY}. For more: crossmodel doctor\n",
        data.display(),
        SOMEBODY + 1
    );
    assert_eq!((refused.status.code(), said(&refused)), (Some(4), expected));
    set(&data, 0o700);
    // A folder of a service manager, which the owner only reaches from inside of the service.
    chown(machine.path("owned"), Some(0), Some(0)).unwrap();
    set(&machine.path("owned"), 0o700);
    let made = run(0, &["key", "create"]);
    assert!(made.status.success(), "{made:?}");
    assert!(owners().iter().all(|owner| *owner == SOMEBODY), "{:?}", owners());
    let listed = run(0, &["key", "list", "--json"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).matches("\"id\"").count(), 2, "{listed:?}");
}
