//! Accounts that share one provider, and what each of them may know and use of what is there for another.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::{
    Client, Gateway, Mock, PROTOCOLS, Response, UPSTREAM_KEY, config, config_with, eventually, json, member,
    request,
};

/// A key of another account.
fn other_key(gateway: &Gateway) -> String {
    gateway.command(&["account", "create", "other"]);
    let made = gateway.command(&["key", "create", "--account", "other"]);
    made.lines().next().unwrap().to_owned()
}

/// Sends a request with further headers, and with a key.
fn send(gateway: &Gateway, key: &str, path: &str, headers: &str, body: &str) -> Response {
    let mut client = Client::connect(gateway.port);
    let request = request(path, key, body).replacen("\r\n\r\n", &format!("\r\n{headers}\r\n"), 1);
    client.send(request.as_bytes());
    client.receive()
}

#[test]
fn an_idempotency_key_is_its_accounts_own() {
    let mock = Mock::scripted(|seen, _| {
        let protocol = PROTOCOLS.iter().find(|(path, ..)| seen.request_line().contains(path)).unwrap();
        json(200, "", protocol.2)
    });
    let mut gateway = Gateway::start(&config(mock.port));
    let other = other_key(&gateway);
    let sent = |gateway: &Gateway, key: &str, protocol: usize, value: &str| {
        let headers = format!("idempotency-key: {value}\r\n");
        assert_eq!(send(gateway, key, PROTOCOLS[protocol].0, &headers, PROTOCOLS[protocol].1).status, 200);
        mock.last().header("idempotency-key").unwrap().to_owned()
    };
    let first = sent(&gateway, &gateway.key, 0, "order-1");
    assert!(!first.contains("order-1"), "{first}");
    for protocol in 0..3 {
        assert_eq!(sent(&gateway, &gateway.key, protocol, "order-1"), first, "a repeated call is one");
    }
    assert_ne!(sent(&gateway, &other, 0, "order-1"), first);
    assert_ne!(sent(&gateway, &gateway.key, 0, "order-2"), first);
    gateway.restart();
    assert_eq!(sent(&gateway, &gateway.key, 0, "order-1"), first);
    send(&gateway, &gateway.key, PROTOCOLS[0].0, "", PROTOCOLS[0].1);
    assert_eq!(mock.last().header("idempotency-key"), None);
}

#[test]
fn headers_that_name_what_the_account_at_the_provider_has_stay_here() {
    let mock = Mock::new(json(200, "", PROTOCOLS[2].2));
    let headers = "anthropic-workspace-id: w\r\nanthropic-organization-id: o\r\nanthropic-user-profile-id: u\r\n\
        anthropic-whatever: x\r\nanthropic-dangerous-direct-browser-access: true\r\nanthropic-version: 2026-10-21\r\n\
        openai-organization: o\r\nopenai-project: p\r\nx-goog-user-project: g\r\nhttp-referer: r\r\nx-title: t\r\n";
    let (path, body, _) = PROTOCOLS[2];
    let gateway = Gateway::start(&config(mock.port));
    assert_eq!(send(&gateway, &gateway.key, path, headers, body).status, 200);
    let seen = mock.last();
    assert_eq!(seen.header("anthropic-dangerous-direct-browser-access"), Some("true"));
    assert_eq!(seen.header("anthropic-version"), Some("2026-10-21"));
    let family = [
        "anthropic-workspace-id",
        "anthropic-organization-id",
        "anthropic-user-profile-id",
        "anthropic-whatever",
    ];
    let others = ["openai-organization", "openai-project", "x-goog-user-project", "http-referer", "x-title"];
    for name in family.iter().chain(&others) {
        assert_eq!(seen.header(name), None, "{name}");
    }
    let single = Gateway::start(&config_with(mock.port, ", allow_upstream_state: true"));
    assert_eq!(send(&single, &single.key, path, headers, body).status, 200);
    let seen = mock.last();
    assert!(family.iter().all(|name| seen.header(name).is_some()), "{}", seen.head);
    assert!(others.iter().all(|name| seen.header(name).is_none()), "{}", seen.head);
}

#[test]
fn betas_that_make_a_call_dearer_need_a_price() {
    let mock = Mock::new(json(200, "", PROTOCOLS[2].2));
    let headers = "anthropic-beta: fast-mode-2026-02-01, effort-2025-11-24\r\nanthropic-beta: context-1m-2025-08-07\r\n";
    let (path, body, _) = PROTOCOLS[2];
    let betas = |prices: &str| {
        let config = config(mock.port).replace("targets:", &format!("{prices}targets:"));
        let gateway = Gateway::start(&config);
        gateway.command(&["account", "top-up", "default", "1"]);
        let response = send(&gateway, &gateway.key, path, headers, body);
        assert_eq!(response.status, 200, "{}", response.body);
        mock.last().header("anthropic-beta").unwrap().to_owned()
    };
    assert_eq!(betas(""), "fast-mode-2026-02-01,effort-2025-11-24,context-1m-2025-08-07");
    assert_eq!(betas("prices: [{input: 1, output: 1}], "), "effort-2025-11-24");
    let tiers = "prices: [{input: 1, output: 1}, {threshold: 200000, input: 2, output: 2}], ";
    assert_eq!(betas(tiers), "effort-2025-11-24,context-1m-2025-08-07");
}

#[test]
fn the_providers_id_of_a_request_is_shown_only_if_it_is_one() {
    let (path, body, answer) = PROTOCOLS[0];
    let long = "x".repeat(129);
    let with_key = format!("req-{UPSTREAM_KEY}-1");
    let with_piece = format!("req-{}", &UPSTREAM_KEY[..UPSTREAM_KEY.len() - 2]);
    let ids = [
        ("req_011CaB:2/x+y==", true),
        (&long[..128], true),
        (&long, false),
        (&with_key, false),
        (&with_piece, false),
        ("see https://host/?id=1", false),
        ("org \"acme\"", false),
    ];
    for (id, shown) in ids {
        let mock = Mock::new(json(200, &format!("x-request-id: {id}\r\n"), answer));
        let gateway = Gateway::start(&config_with(mock.port, ""));
        let response = send(&gateway, &gateway.key, path, "", body);
        assert_eq!(response.status, 200);
        let expected = shown.then_some(id);
        assert_eq!(response.header("x-upstream-request-id"), expected, "{id:.40}");
    }
}

const THINKING: &str = r#"{"type":"thinking","thinking":"T","signature":"SIG=="}"#;

/// A provider of Messages that thinks before it answers, and a gateway before it.
fn thinking() -> (Mock, Gateway) {
    let answer = format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"real-model","content":[{THINKING},{{"type":"text","text":"x"}}],"stop_reason":"end_turn","usage":{{"input_tokens":3,"output_tokens":2}}}}"#
    );
    let mock = Mock::new(json(200, "", &answer));
    let gateway = Gateway::start(&config(mock.port).replace("chat, responses, ", ""));
    (mock, gateway)
}

/// The carrier in an answer of a Responses client.
fn carrier(gateway: &Gateway, key: &str) -> String {
    let response = send(gateway, key, PROTOCOLS[1].0, "", PROTOCOLS[1].1);
    assert_eq!(response.status, 200, "{}", response.body);
    let (_, rest) = response.body.split_once(r#""encrypted_content":""#).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Goes on with a conversation in which the model has thought; gives the messages that its provider is sent.
fn go_on(mock: &Mock, gateway: &Gateway, key: &str, carrier: &str) -> String {
    let body = format!(
        r#"{{"model":"v/model","input":[{{"role":"user","content":"hi"}},{{"type":"reasoning","summary":[],"encrypted_content":"{carrier}"}},{{"role":"assistant","content":"x"}},{{"role":"user","content":"more"}}]}}"#
    );
    let response = send(gateway, key, PROTOCOLS[1].0, "x-crossmodel-strict: 1\r\n", &body);
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(response.header("x-crossmodel-dropped"), None);
    member(&mock.last().text(), "messages")
}

/// Waits until so many carriers have been left out for a reason: they are counted when the client has its answer.
fn await_rejected(gateway: &Gateway, reason: &str, count: f64) {
    let name = format!("crossmodel_carriers_rejected_total{{reason=\"{reason}\"}}");
    let counted = eventually(Duration::from_secs(10), || (gateway.metric(&name) - count).abs() < 0.5);
    assert!(counted, "{reason}: {} instead of {count}", gateway.metric(&name));
}

#[test]
fn a_carrier_is_opened_for_the_account_that_was_given_it() {
    let (mock, mut gateway) = thinking();
    let other = other_key(&gateway);
    let first = carrier(&gateway, &gateway.key);
    let inside = URL_SAFE_NO_PAD.decode(first.strip_prefix("cm2.").unwrap()).unwrap();
    for name in ["up", "real-model", "default"] {
        assert!(!String::from_utf8_lossy(&inside).contains(name), "{name}");
    }
    assert_eq!(carrier(&gateway, &gateway.key), first, "the beginning of a longer conversation");
    assert_ne!(carrier(&gateway, &other), first);
    assert!(go_on(&mock, &gateway, &gateway.key, &first).contains(THINKING));
    let strange = go_on(&mock, &gateway, &other, &first);
    assert!(!strange.contains("thinking") && strange.contains("more"), "{strange}");

    gateway
        .configure(&config(mock.port).replace("chat, responses, ", "").replace("real-model", "newer-model"));
    gateway.restart();
    assert!(!go_on(&mock, &gateway, &gateway.key, &first).contains("thinking"), "for another model");
    await_rejected(&gateway, "foreign", 1.0);
    gateway.configure(&config(mock.port).replace("chat, responses, ", ""));
    gateway.restart();
    assert_eq!(carrier(&gateway, &gateway.key), first, "by another process");
    assert!(go_on(&mock, &gateway, &gateway.key, &first).contains(THINKING));
}

#[test]
fn a_carrier_that_nobody_was_given_is_left_out_and_counted() {
    let (mock, gateway) = thinking();
    let other = other_key(&gateway);
    let good = carrier(&gateway, &gateway.key);
    let mut inside = URL_SAFE_NO_PAD.decode(good.strip_prefix("cm2.").unwrap()).unwrap();
    *inside.last_mut().unwrap() ^= 1;
    let changed = format!("cm2.{}", URL_SAFE_NO_PAD.encode(inside));
    let block = r#"{"type":"thinking","thinking":"T","signature":"SIG==","file_id":"file_1"}"#;
    let old = |block: &str| URL_SAFE_NO_PAD.encode(format!(r#"{{"o":"up","m":"real-model","b":[{block}]}}"#));
    let made_up = URL_SAFE_NO_PAD.encode(format!("{}[{block}]", "k".repeat(32)));
    for (text, key, reason, count) in [
        (format!("cm1.{}", old(block)), &gateway.key, "old", 1.0),
        (changed, &gateway.key, "forged", 1.0),
        (format!("cm2.{made_up}"), &gateway.key, "forged", 2.0),
        (good, &other, "forged", 3.0),
        ("cm2.####".to_owned(), &gateway.key, "damaged", 1.0),
    ] {
        let sent = go_on(&mock, &gateway, key, &text);
        assert!(!sent.contains("thinking") && !sent.contains("file_1") && sent.contains("more"), "{sent}");
        await_rejected(&gateway, reason, count);
    }
}

#[test]
fn a_relay_sends_nobody_a_carrier() {
    let (_, translating) = thinking();
    let carrier = carrier(&translating, &translating.key);
    let mock = Mock::new(json(200, "", PROTOCOLS[1].2));
    let gateway = Gateway::start(&config(mock.port));
    let body = format!(
        r#"{{"model":"v/model","input":[{{"role":"user","content":"hi"}},{{"type":"reasoning","encrypted_content":"{carrier}"}},{{"type":"reasoning","encrypted_content":"cm1.e30"}},{{"type":"reasoning","encrypted_content":"gAAA"}},{{"role":"user","content":"more"}}]}}"#
    );
    assert_eq!(send(&gateway, &gateway.key, PROTOCOLS[1].0, "", &body).status, 200);
    assert_eq!(
        mock.one().text(),
        r#"{"model":"real-model","input":[{"role":"user","content":"hi"},{"type":"reasoning","encrypted_content":"gAAA"},{"role":"user","content":"more"}]}"#
    );
    for reason in ["old", "foreign"] {
        await_rejected(&gateway, reason, 1.0);
    }
}

#[test]
fn the_secret_of_the_carriers_is_in_no_log() {
    let (_, gateway) = thinking();
    carrier(&gateway, &gateway.key);
    let store = rusqlite::Connection::open(gateway.data().join("crossmodel.db")).unwrap();
    let secret: Vec<u8> = store.query_row("SELECT value FROM secrets", [], |row| row.get(0)).unwrap();
    assert_eq!(secret.len(), 32);
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let shown = gateway.stdout() + &gateway.stderr();
    assert!(!shown.contains(&hex) && !shown.contains(&format!("{secret:?}")));
}

const RAN: &str = r#"{"type":"code_interpreter_call","id":"ci_1","status":"completed","container_id":"cntr_1","code":"1","outputs":[]}"#;

/// A history in which code has run.
fn after_code(tools: &str) -> String {
    format!(
        r#"{{"model":"v/model","tools":[{tools}],"input":[{{"role":"user","content":"hi"}},{RAN},{{"role":"user","content":"more"}}]}}"#
    )
}

#[test]
fn a_history_goes_on_in_the_container_that_its_account_was_given() {
    const AUTO: &str = r#"{"type":"code_interpreter","container":{"type":"auto"}}"#;
    let answer = PROTOCOLS[1].2.replace(r#""output":[]"#, &format!(r#""output":[{RAN}]"#));
    let mock = Mock::new(json(200, "", &answer));
    let mut gateway = Gateway::start(&config(mock.port));
    let other = other_key(&gateway);
    let path = PROTOCOLS[1].0;
    let next = after_code(AUTO);
    let refused = |gateway: &Gateway, key: &str| {
        let asked = mock.seen().len();
        let response = send(gateway, key, path, "", &next);
        assert_eq!(response.status, 400, "{}", response.body);
        assert_eq!(response.text("error.param"), "input[1].container_id");
        assert_eq!(
            response.text("error.message"),
            "container cntr_1 is not known to this gateway; start a new conversation"
        );
        assert_eq!(mock.seen().len(), asked, "nobody is asked");
    };
    refused(&gateway, &gateway.key);
    let first =
        format!(r#"{{"model":"v/model","tools":[{AUTO}],"input":[{{"role":"user","content":"hi"}}]}}"#);
    assert_eq!(send(&gateway, &gateway.key, path, "", &first).status, 200);
    let response = send(&gateway, &gateway.key, path, "", &next);
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(mock.last().text(), next.replace("v/model", "real-model"));
    refused(&gateway, &other);

    // A new configuration forgets nothing, a new process does.
    gateway.configure(&config(mock.port).replace("real-model", "newer-model"));
    gateway.signal("HUP");
    assert!(eventually(Duration::from_secs(10), || gateway
        .metric(r#"crossmodel_config_reloads_total{result="ok"}"#)
        > 0.5));
    assert_eq!(send(&gateway, &gateway.key, path, "", &next).status, 200);
    gateway.restart();
    refused(&gateway, &gateway.key);

    let single = Gateway::start(&config_with(mock.port, ", allow_upstream_state: true"));
    assert_eq!(send(&single, &single.key, path, "", &next).status, 200);
}
