//! A changed configuration comes into force without a request lost; a wrong one never does.

use std::time::Duration;

use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, chunk, config, eventually, get, json, open, post, request,
};

const OK: &str = "crossmodel_config_reloads_total{result=\"ok\"}";
const REFUSED: &str = "crossmodel_config_reloads_total{result=\"refused\"}";
const PATH: &str = PROTOCOLS[0].0;
const BODY: &str = PROTOCOLS[0].1;

/// A signal works at once, the watch of the file within two looks; the rest is for slow machines.
const SOON: Duration = Duration::from_secs(10);

fn answers() -> Vec<Act> {
    json(200, "", PROTOCOLS[0].2)
}

fn reaches(gateway: &Gateway, metric: &str, count: f64) -> bool {
    eventually(SOON, || gateway.metric(metric) >= count)
}

#[test]
fn a_signal_reloads_also_what_the_file_refers_to() {
    let mock = Mock::new(answers());
    let with = |model: &str| {
        format!(
            "providers: {{up: {{base_url: \"http://127.0.0.1:{}/v1\", key: \"file:@FOLDER@/secret\", protocols: [chat]}}}}\n\
             models: [{{id: v/{model}, targets: [{{provider: up}}]}}]\n",
            mock.port
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "sk-one\n").unwrap();
    let config = with("model").replace("@FOLDER@", &folder.path().display().to_string());
    let gateway = Gateway::start(&config);
    assert_eq!(post(&gateway, PATH, BODY).status, 200);
    assert_eq!(mock.last().header("authorization"), Some("Bearer sk-one"));

    std::fs::write(&secret, "sk-two\n").unwrap();
    gateway.signal("HUP");
    assert!(reaches(&gateway, OK, 1.0));
    assert_eq!(post(&gateway, PATH, BODY).status, 200);
    assert_eq!(mock.last().header("authorization"), Some("Bearer sk-two"));
    assert_eq!(gateway.metric(REFUSED), 0.0);
}

#[test]
fn secrets_in_files_come_into_force_without_a_signal() {
    let mock = Mock::new(answers());
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        // A secret is replaced as a whole, as the agents of secret stores do it.
        let fresh = folder.path().join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, folder.path().join(name)).unwrap();
    };
    write("key", "sk-one\n");
    write("operator", &"a".repeat(40));
    write("reader", &"r".repeat(40));
    let text = format!(
        "admin: {{address: \"127.0.0.1:@ADMIN@\", token: \"file:@FILES@/reader\", \
         tokens: [{{name: ops, role: admin, token: \"file:@FILES@/operator\"}}]}}\n\
         providers: {{up: {{base_url: \"http://127.0.0.1:{}/v1\", key: \"file:@FILES@/key\", protocols: [chat]}}}}\n\
         models: [{{id: v/model, targets: [{{provider: up}}]}}]\n",
        mock.port
    );
    let gateway = Gateway::start(&text.replace("@FILES@", &folder.path().display().to_string()));
    let credential = || {
        assert_eq!(post(&gateway, PATH, BODY).status, 200);
        mock.last().header("authorization").unwrap().to_owned()
    };
    assert_eq!(credential(), "Bearer sk-one");
    let status = |path: &str, token: &str| {
        get(gateway.admin, path, &format!("authorization: Bearer {}\r\n", token.repeat(40))).status
    };
    assert_eq!(
        [status("/admin/v1/keys", "a"), status("/metrics", "r"), status("/metrics", "s")],
        [200, 200, 401]
    );
    write("key", "sk-two\n");
    assert!(eventually(SOON, || credential() == "Bearer sk-two"));
    write("operator", &"b".repeat(40));
    let reloads =
        |count| eventually(SOON, || gateway.stderr().matches("in force again: secrets").count() == count);
    assert!(reloads(2));
    assert_eq!(status("/admin/v1/keys", "b"), 200);
    assert_eq!(status("/admin/v1/keys", "a"), 401, "the earlier one is gone");
    write("reader", &"s".repeat(40));
    assert!(reloads(3));
    assert_eq!(status("/metrics", "s"), 200);
    assert_eq!([status("/metrics", "r"), status("/console.json", "r")], [401, 401]);
    assert!(!gateway.stderr().contains("needs a new process"), "{}", gateway.stderr());
    // A broken secret leaves the one in force, and says so.
    write("key", "");
    assert!(eventually(SOON, || gateway.stderr().contains("key is empty")));
    assert_eq!(credential(), "Bearer sk-two");
    write("key", "sk-three\n");
    assert!(eventually(SOON, || credential() == "Bearer sk-three"));
    let failures = |reason: &str| {
        let page =
            get(gateway.admin, "/metrics", &format!("authorization: Bearer {}\r\n", "s".repeat(40))).body;
        let name = format!("crossmodel_admin_auth_failures_total{{reason=\"{reason}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u32>().ok()).unwrap()
    };
    let (missing, wrong) = (failures("missing"), failures("wrong"));
    assert_eq!(
        [get(gateway.admin, "/metrics", "").status, get(gateway.admin, "/admin/v1/keys", "").status],
        [401, 401]
    );
    assert_eq!([status("/console.json", "x"), status("/admin/v1/keys", "x")], [401, 401]);
    assert_eq!((failures("missing"), failures("wrong")), (missing + 2, wrong + 2));
    let page = get(gateway.admin, "/metrics", &format!("authorization: Bearer {}\r\n", "s".repeat(40))).body;
    let counted = |code: u16| {
        page.contains(&format!("crossmodel_admin_requests_total{{code=\"{code}\",operation=\"listKeys\"}}"))
    };
    assert!([200, 401].into_iter().all(counted), "{page}");
    // Whoever guesses is turned away everywhere, whatever it shows next.
    while status("/admin/v1/keys", "x") != 429 {}
    assert_eq!([status("/metrics", "s"), status("/console.json", "s")], [429, 429]);
}

#[test]
fn a_changed_file_is_read_without_a_signal() {
    let mock = Mock::new(answers());
    let gateway = Gateway::start(&config(mock.port));
    let other = BODY.replace("v/model", "v/other");
    assert_eq!(post(&gateway, PATH, &other).status, 404);
    gateway.configure(&config(mock.port).replace("v/model", "v/other"));
    assert!(eventually(SOON, || post(&gateway, PATH, &other).status == 200));
    assert_eq!(post(&gateway, PATH, BODY).text("error.code"), "model_not_found", "the old model has gone");
    assert_eq!((gateway.metric(OK), gateway.metric(REFUSED)), (1.0, 0.0), "read once");
}

#[test]
fn a_wrong_file_changes_nothing_and_says_why() {
    let mock = Mock::new(answers());
    let gateway = Gateway::start(&config(mock.port));
    let good = std::fs::read_to_string(gateway.file("conf.yaml")).unwrap();
    let wrong = [
        (good.replace("provider: up", "provider: nobody"), "there is no provider 'nobody'"),
        (
            good.replace("env:UPSTREAM_KEY", "env:NOT_SET_ANYWHERE"),
            "the variable NOT_SET_ANYWHERE is not set",
        ),
        (good.replace("models:", "models: ["), "this is not YAML"),
        (String::new(), "the file is empty"),
    ];
    for (n, (text, why)) in wrong.iter().enumerate() {
        std::fs::write(gateway.file("conf.yaml"), text).unwrap();
        gateway.signal("HUP");
        assert!(reaches(&gateway, REFUSED, (n + 1) as f64), "{why}");
        assert!(eventually(SOON, || gateway.stderr().contains(why)), "{why} in {}", gateway.stderr());
        assert_eq!(post(&gateway, PATH, BODY).status, 200, "{why}");
    }
    let place = format!("{}:", gateway.file("conf.yaml").display());
    assert!(gateway.stderr().contains(&place), "the place is said: {}", gateway.stderr());

    std::fs::remove_file(gateway.file("conf.yaml")).unwrap();
    gateway.signal("HUP");
    assert!(reaches(&gateway, REFUSED, wrong.len() as f64 + 1.0));
    assert_eq!((post(&gateway, PATH, BODY).status, gateway.metric(OK)), (200, 0.0));
    std::fs::write(gateway.file("conf.yaml"), good).unwrap();
    gateway.signal("HUP");
    assert!(reaches(&gateway, OK, 1.0));
    assert_eq!(get(gateway.admin, "/readyz", "").status, 200);
}

#[test]
fn running_requests_end_as_they_began() {
    let gate = Gate::new();
    let first = b"data: {\"model\":\"real-model\",\"choices\":[]}\n\n";
    let last = b"data: {\"model\":\"real-model\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let mut script = open([&first[..]]);
    script.extend([Act::Await(gate.clone()), chunk(last), Act::Send(b"0\r\n\r\n".to_vec())]);
    let mock = Mock::new(script);
    let gateway = Gateway::start(&config(mock.port));
    let mut client = Client::connect(gateway.port);
    client.send(
        request(PATH, &gateway.key, &BODY.replace("{\"model\"", "{\"stream\":true,\"model\"")).as_bytes(),
    );
    assert_eq!(client.head().0, 200);
    let mut received = client.chunk().unwrap();

    gateway.configure("providers: {demo: {}}\n");
    gateway.signal("HUP");
    assert!(reaches(&gateway, OK, 1.0));
    assert_eq!(post(&gateway, PATH, BODY).text("error.code"), "model_not_found", "its provider is gone");
    gate.open();
    while let Some(part) = client.chunk().filter(|part| !part.is_empty()) {
        received.extend(part);
    }
    let expected = [&first[..], last].concat();
    let expected = String::from_utf8_lossy(&expected).replace("real-model", "v/model");
    assert_eq!(String::from_utf8_lossy(&received), expected);
}

#[test]
fn a_request_sees_one_configuration_only() {
    let mock = Mock::new(answers());
    let with = |name: &str| {
        config(mock.port)
            .replace("/v1\"", &format!("/{name}/v1\""))
            .replace("real-model", &format!("real-{name}"))
    };
    let gateway = Gateway::start(&with("a"));
    let mut client = Client::connect(gateway.port);
    for (round, name) in ["b", "a", "b", "a"].into_iter().enumerate() {
        gateway.configure(&with(name));
        gateway.signal("HUP");
        let goal = (round + 1) as f64;
        let done = eventually(SOON, || {
            client.send(request(PATH, &gateway.key, BODY).as_bytes());
            assert_eq!(client.receive().status, 200);
            let seen = mock.last();
            let by_path = seen.request_line().split('/').nth(1).unwrap().to_owned();
            assert!(seen.text().contains(&format!("\"real-{by_path}\"")), "{seen:?}");
            by_path == name && gateway.metric(OK) >= goal
        });
        assert!(done, "round {round}");
    }
}

#[test]
fn only_whole_files_come_into_force_however_they_are_written() {
    let mock = Mock::new(answers());
    let gateway = Gateway::start(&config(mock.port));
    let place = gateway.file("conf.yaml");
    let text = std::fs::read_to_string(&place).unwrap();
    let with = |name: &str| text.replace("v/model", name);
    let serves = |name: &str| post(&gateway, PATH, &BODY.replace("v/model", name)).status == 200;

    // Written in pieces, none of which is a configuration by itself.
    let new = with("v/slow");
    let (first, last) = new.split_at(new.find("targets:").unwrap() + 12);
    std::fs::write(&place, "").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(serves("v/model"));
    std::fs::write(&place, first).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(serves("v/model"));
    std::fs::write(&place, format!("{first}{last}")).unwrap();
    assert!(eventually(SOON, || serves("v/slow")));

    // Put in its place as a whole, of the same length and with the same time.
    let whole = gateway.file("next.yaml");
    std::fs::write(&whole, with("v/move")).unwrap();
    let time = std::fs::metadata(&place).unwrap().modified().unwrap();
    std::fs::File::options().write(true).open(&whole).unwrap().set_modified(time).unwrap();
    std::fs::rename(&whole, &place).unwrap();
    assert!(eventually(SOON, || serves("v/move")));

    // A link that comes to mean another file, as orchestrators do it.
    for name in ["v/link", "v/swap"] {
        let (file, link) = (gateway.file(&name.replace('/', "-")), gateway.file("link"));
        std::fs::write(&file, with(name)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::fs::rename(&link, &place).unwrap();
        assert!(eventually(SOON, || serves(name)), "{name}");
    }

    // Gone, and there again.
    let refused = gateway.metric(REFUSED);
    std::fs::remove_file(&place).unwrap();
    assert!(reaches(&gateway, REFUSED, refused + 1.0));
    assert!(serves("v/swap"));
    std::fs::write(&place, with("v/back")).unwrap();
    assert!(eventually(SOON, || serves("v/back")));
}

#[test]
fn a_reload_says_what_took_effect_and_what_needs_a_new_process() {
    const RESTART: &str = "crossmodel_config_restart_required";
    const IN_FORCE: &str = "crossmodel_config_in_force_timestamp_seconds";
    const KEPT: &str = "crossmodel_config_refused";
    let mock = Mock::new(answers());
    let good = format!("threads: 2\n{}", config(mock.port));
    let gateway = Gateway::start(&good);
    assert!(gateway.metric(IN_FORCE) > 1e9);
    assert_eq!((gateway.metric(RESTART), gateway.metric(KEPT)), (0.0, 0.0));
    // Nothing has changed, so there is nothing to say.
    gateway.signal("HUP");
    assert!(reaches(&gateway, OK, 1.0));
    assert!(!gateway.stderr().contains("in force"), "{}", gateway.stderr());
    // Two of these settings wait.
    let more = good.replace("threads: 2", "threads: 3\nlimits: {calls: 77}");
    gateway.configure(&format!(
        "listen: [{{address: \"127.0.0.1:@PORT@\"}}, {{address: \"127.0.0.1:1\"}}]\n{more}"
    ));
    gateway.signal("HUP");
    assert!(reaches(&gateway, RESTART, 1.0));
    let log = gateway.stderr();
    assert!(log.contains("the configuration is in force again: limits\n"), "{log}");
    for name in ["listen", "threads"] {
        let line = format!(
            "{name}: needs a new process: systemctl kill -s USR2 crossmodel, or crossmodel --upgrade"
        );
        assert!(log.contains(&line), "{log}");
    }
    // A file that is refused is told until another one is in force.
    gateway.configure("providers: nothing\n");
    gateway.signal("HUP");
    assert!(reaches(&gateway, KEPT, 1.0));
    assert_eq!(gateway.metric(RESTART), 1.0);
    gateway.configure(&good);
    gateway.signal("HUP");
    assert!(eventually(SOON, || gateway.metric(KEPT) == 0.0 && gateway.metric(RESTART) == 0.0));
    assert_eq!(post(&gateway, PATH, BODY).status, 200);
}

#[test]
fn metrics_tell_the_states_of_targets_and_of_the_process() {
    let mock = Mock::scripted(|_, n| if n < 3 { json(500, "", "{}") } else { answers() });
    let text = config(mock.port).replace("breaker_failures: 0", "breaker_failures: 3");
    let gateway = Gateway::start(&text);
    let state = |name: &str| {
        gateway
            .metric(&format!("crossmodel_target_state{{model=\"v/model\",provider=\"up\",state=\"{name}\"}}"))
    };
    let states = || ["closed", "backing_off", "open", "half_open"].map(state);
    let available = || gateway.metric("crossmodel_model_targets_available{model=\"v/model\"}");
    assert_eq!((states(), available()), ([1.0, 0.0, 0.0, 0.0], 1.0));
    for _ in 0..3 {
        assert_eq!(post(&gateway, PATH, BODY).status, 502);
    }
    assert_eq!((states(), available()), ([0.0, 0.0, 1.0, 0.0], 0.0));
    assert!(
        eventually(SOON, || states() == [0.0, 0.0, 0.0, 1.0] && available() == 1.0),
        "a trial comes next"
    );
    assert_eq!(post(&gateway, PATH, BODY).status, 200);
    assert_eq!((states(), available()), ([1.0, 0.0, 0.0, 0.0], 1.0));
    assert!(eventually(SOON, || gateway.metric("crossmodel_data_free_bytes") > 0.0));
}
