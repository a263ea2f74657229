//! The shipped configuration: it loads, the fuller example leaves no setting out, and the schema is current.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crossmodel::Config;
use crossmodel::config::schema;
use crossmodel::route::ModelEntry;
use serde::Deserialize;
use serde::de::IgnoredAny;

const MINIMAL: &str = include_str!("../conf/crossmodel.yaml");
const FULL: &str = include_str!("../conf/crossmodel.full.yaml");

/// As much of a JSON Schema as names things.
#[derive(Deserialize)]
struct Schema {
    #[serde(default)]
    properties: BTreeMap<String, IgnoredAny>,
    #[serde(default, rename = "$defs")]
    definitions: BTreeMap<String, Self>,
}

#[test]
fn the_schema_is_current() {
    // Without the two texts, which are too long to compare by eye.
    let is_current = include_str!("../conf/schema.json") == schema();
    assert!(is_current, "cargo run -- schema > conf/schema.json brings it up to date");
}

#[test]
fn the_minimal_file_is_what_a_gateway_without_one_does() {
    let (shipped, without) =
        (Config::parse(MINIMAL, |_| None).unwrap(), Config::from_environment(|_| None).unwrap());
    assert_eq!(shipped.listeners, without.listeners);
    assert_eq!((&shipped.admin, &shipped.data), (&without.admin, &without.data));
    assert_eq!(shipped.access_log, without.access_log);
    let ids = |config: &Config| config.catalog.entries().iter().map(|e| e.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&shipped), ids(&without));
}

#[test]
fn the_minimal_file_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (clients, operators) = (free(), free());
    let text = MINIMAL.replace("127.0.0.1:8080", &clients).replace("127.0.0.1:9090", &operators);
    let file = folder.path().join("crossmodel.yaml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossmodel"));
    command.arg("-c").arg(&file).current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::null());
    let mut gateway = command.spawn().unwrap();
    let start = Instant::now();
    let listens = |address: &String| TcpStream::connect(address).is_ok();
    let up = loop {
        // It listens before it has a store.
        let up =
            listens(&clients) && listens(&operators) && folder.path().join("data/crossmodel.db").exists();
        if up || start.elapsed() > Duration::from_secs(20) || gateway.try_wait().unwrap().is_some() {
            break up;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    assert!(up);
}

/// The commented-out parts are meant to be switched on.
#[test]
fn what_the_minimal_file_has_in_comments_is_right() {
    let uncommented = MINIMAL.replace("# models:", "models:").replace("\n#   - id", "\n  - id");
    let uncommented = uncommented.replace("\n#     targets", "\n    targets").replace("  # ", "  ");
    let kept = |line: &&str| !line.contains("Built in") && !line.contains("Keys are") && line.trim() != "#";
    let text: Vec<_> = uncommented.lines().filter(kept).collect();
    let config =
        Config::parse(&text.join("\n"), |_| Some("sk-test-of-24-bytes-at-least".to_owned())).unwrap();
    let names: Vec<_> = config.providers.iter().map(|provider| &*provider.name).collect();
    assert_eq!(names, ["anthropic", "demo", "openai"]);
    assert!(config.catalog.entries().iter().any(|entry| entry.id == "anthropic/*"));
}

/// What images and manifests start with loads without any variable.
#[test]
fn the_files_for_containers_load() {
    for text in [include_str!("../conf/container.yaml"), include_str!("../conf/kubernetes/crossmodel.yaml")] {
        let config = Config::parse(text, |_| None).unwrap();
        assert_eq!(config.data, Path::new("/var/lib/crossmodel"));
        assert_eq!(config.listeners[0].address, "0.0.0.0:8080");
        assert_eq!(
            config.admin.map(|admin| admin.address).as_deref(),
            Some("0.0.0.0:9090"),
            "what probes ask"
        );
        assert!(config.demo.is_none(), "it answers everybody, and is for trying things out");
        assert!(config.providers.is_empty(), "what the environment does not name is not there");
        let config = Config::parse(text, |name| {
            (name == "OPENAI_API_KEY").then(|| "sk-test-of-24-bytes-at-least".to_owned())
        })
        .unwrap();
        assert!(config.catalog.entries().iter().any(|entry| entry.id == "openai/*"));
    }
}

/// A service and its commands find the same store: by the file alone.
#[test]
fn the_files_for_services_name_the_store() {
    let config = Config::parse(include_str!("../conf/service.yaml"), |_| None).unwrap();
    assert_eq!(config.data, Path::new("/var/lib/crossmodel"));
    assert!(config.demo.is_none() && config.admin.unwrap().is_loopback());
    let unit = include_str!("../conf/crossmodel.service");
    assert!(!unit.contains("--data") && unit.contains("-c /etc/crossmodel/crossmodel.yaml"));
    let variable = "CROSSMODEL_CONFIG";
    let file = "/etc/crossmodel/crossmodel.yaml";
    assert!(include_str!("../Dockerfile").contains(&format!("\nENV {variable}={file}\n")));
    assert!(
        include_str!("../conf/kubernetes/gateway.yaml").contains(&format!("name: {variable}, value: {file}"))
    );
}

/// Whatever stops a gateway waits for running calls, for what is written down after them, and a bit longer.
#[test]
fn whatever_stops_a_gateway_is_patient() {
    let drain = Config::parse(MINIMAL, |_| None).unwrap().timeouts.drain;
    let number = |text: &str, name: &str| -> u64 {
        let rest = text.split(name).nth(1).unwrap_or_else(|| panic!("no {name}"));
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
    };
    let unit = include_str!("../conf/crossmodel.service");
    assert!(number(unit, "TimeoutStopSec=") >= drain + 10);
    let pod = include_str!("../conf/kubernetes/gateway.yaml");
    let before = number(pod, "command: [\"sleep\", \"");
    assert!(number(pod, "terminationGracePeriodSeconds: ") >= before + drain + 10);
    assert!(number(include_str!("../Dockerfile"), "--stop-timeout ") >= drain + 10);
}

/// Nobody copies a trap from here.
#[test]
fn the_shipped_files_warn_of_nothing() {
    let folder = with_certificate();
    let full = placed(FULL, folder.path());
    let warnings = |text: &str| {
        Config::parse(text, |_| Some("sk-test-of-more-than-24-bytes".to_owned())).unwrap().warnings()
    };
    for text in [MINIMAL, &full, include_str!("../conf/service.yaml")] {
        assert_eq!(warnings(text), []);
    }
    // A port that is not published, or that a policy keeps, is open to nobody, which a file does not tell.
    for text in [include_str!("../conf/container.yaml"), include_str!("../conf/kubernetes/crossmodel.yaml")] {
        let warnings: Vec<_> = warnings(text).iter().map(|warning| warning.about).collect();
        assert_eq!(warnings, ["admin"]);
    }
}

#[test]
fn the_full_file_loads_where_its_variables_are_set() {
    let folder = with_certificate();
    let config =
        Config::parse(&placed(FULL, folder.path()), |_| Some("sk-test-of-more-than-24-bytes".to_owned()))
            .unwrap();
    assert!(config.listeners.iter().any(|listener| listener.tls.is_some()));
    assert!(config.admin.as_ref().unwrap().token.is_some());
    assert!(config.demo.is_none(), "a file that does not name it switches it off");
    let entry = |id: &str| config.catalog.entries().iter().find(|entry| entry.id == id).unwrap();
    let shares =
        |entry: &ModelEntry| entry.targets.iter().map(|t| (t.weight, t.priority)).collect::<Vec<_>>();
    assert_eq!(shares(entry("openai/gpt-5")), [(3, 0), (1, 0), (1, 1)]);
    assert_eq!(entry("anthropic/claude-sonnet-4.6").targets[0].model.as_deref(), Some("claude-sonnet-4-6"));
    let inhouse = config.providers.iter().find(|provider| &*provider.name == "inhouse").unwrap();
    assert!(inhouse.profile.finish_optional && inhouse.profile.betas.is_some());
}

#[test]
fn the_command_checks_the_full_file() {
    let folder = with_certificate();
    let file = folder.path().join("crossmodel.yaml");
    std::fs::write(&file, placed(FULL, folder.path())).unwrap();
    let check = |variables: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossmodel"));
        command.arg("check").arg("-c").arg(&file).env_clear();
        command.envs(variables.iter().map(|name| (name, "sk-test-of-more-than-24-bytes"))).output().unwrap()
    };
    let variables: Vec<_> = FULL.split("env:").skip(1).filter_map(|rest| rest.lines().next()).collect();
    let good = check(&variables);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let bad = check(&[]);
    let said = String::from_utf8_lossy(&bad.stderr);
    assert!(!bad.status.success());
    assert_eq!(said.lines().count(), variables.len(), "{said}");
    for name in variables {
        assert!(said.contains(&format!("the variable {name} is not set")), "{said}");
    }
}

#[test]
fn the_full_file_names_every_setting() {
    let schema: Schema = serde_json::from_str(&schema()).unwrap();
    let all = schema.definitions.values().chain([&schema]).flat_map(|part| part.properties.keys());
    let named = |name: &&String| FULL.lines().any(|line| line.contains(&format!("{name}:")));
    let missing: Vec<_> = all.filter(|name| !named(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Habits stand in comments with their defaults: written out, they change nothing.
#[test]
fn the_habits_in_comments_are_the_defaults() {
    let comments = FULL.lines().filter_map(|line| line.strip_prefix("      # "));
    let habit = |line: &&str| {
        line.split_once(": ")
            .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let habits: Vec<_> = comments.filter(habit).map(|line| format!("      {line}")).collect();
    assert!(habits.len() > 20);
    let with = format!(
        "providers:\n  x:\n    base_url: http://x\n    auth: none\n    protocols: [chat]\n    profile:\n{}\n",
        habits.join("\n")
    );
    let config = Config::parse(&with, |_| None).unwrap();
    let mut profile = config.providers[0].profile.clone();
    // What is absent depends on the protocol; the file says what it is in Chat.
    assert_eq!(profile.tool_name_max.take(), Some(64));
    assert!(profile.mid_system.take().is_some() && profile.tool_schemas.take().is_some());
    assert_eq!(profile, crossmodel::provider::Profile::default());
}

/// An address that nobody listens on, which is true until somebody does.
fn free() -> String {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string()
}

/// A folder with a certificate and its key where the full file looks for them.
fn with_certificate() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::create_dir_all(folder.path().join("data/tls")).unwrap();
    std::fs::write(folder.path().join("data/tls/certificate.pem"), made.cert.pem()).unwrap();
    let key = folder.path().join("data/tls/key.pem");
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

/// The file, as if it were used in `folder`.
fn placed(text: &str, folder: &Path) -> String {
    text.replace("data/tls/", &format!("{}/data/tls/", folder.display()))
}

#[test]
fn the_document_of_the_admin_api_is_up_to_date() {
    let document = crossmodel::admin::api::document();
    let file = include_str!("../conf/openapi.json");
    assert!(document == file, "cargo run -q -- openapi > conf/openapi.json");
}
