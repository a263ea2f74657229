//! Webhooks, as their receivers see them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rusqlite::Connection;
use sha2::Sha256;

use crate::money::{call, config, good};
use crate::support::{Gateway, Mock, Seen, eventually, json, member};

const SECRET: &str = "a-secret-of-more-than-24-bytes";

/// A gateway that tells a receiver of events of these kinds.
fn gateway(mock: &Mock, receiver: &Mock, events: &str) -> Gateway {
    let url = format!("http://127.0.0.1:{}/hook/path-secret?token=query-secret", receiver.port);
    let webhook = format!("{{name: ops, url: \"{url}\", secret: \"env:HOOK_SECRET\", events: [{events}]}}");
    let text = format!("webhooks: [{webhook}]\n{}", config(mock.port));
    Gateway::start_with(&text, &[], &[("HOOK_SECRET", SECRET)])
}

fn header(seen: &Seen, name: &str) -> String {
    seen.header(name).unwrap_or_default().to_owned()
}

fn sent_body(seen: &Seen) -> String {
    seen.text()
}

/// Checks the signature of a delivery.
fn is_signed(seen: &Seen) -> bool {
    let mut code = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    let signed =
        format!("{}.{}.{}", header(seen, "webhook-id"), header(seen, "webhook-timestamp"), sent_body(seen));
    code.update(signed.as_bytes());
    header(seen, "webhook-signature") == format!("v1,{}", STANDARD.encode(code.finalize().into_bytes()))
}

#[test]
fn a_receiver_is_told_of_a_budget_until_it_accepts() {
    let mock = good();
    let receiver = Mock::scripted(|_, number| json(if number == 0 { 500 } else { 204 }, "", ""));
    let mut gateway = gateway(&mock, &receiver, "budget.*");
    gateway.command(&["budget", "set", "--account", "default", "day=0.00001,soft,alert=50/100"]);
    gateway.restart_with(&[("HOOK_SECRET", SECRET)]);
    assert_eq!(call(&gateway, 0, "v/chat", "").status, 200);
    let seen = || receiver.seen();
    let condition = || {
        let status = gateway.command(&["status", "--json"]);
        let all = (0..10).map(|n| member(&status, &format!("conditions.{n}.type")));
        let at = all.into_iter().position(|kind| kind == "WebhooksDelivering").unwrap();
        member(&status, &format!("conditions.{at}.reason"))
    };
    assert_eq!(condition(), "Delivering");
    assert!(eventually(Duration::from_secs(30), || condition() == "DeliveryFailing"), "{}", gateway.stderr());
    assert!(eventually(Duration::from_secs(30), || seen().len() == 2), "{}", gateway.stderr());
    assert!(eventually(Duration::from_secs(5), || condition() == "Delivering"));
    let [first, again] = &seen()[..] else { panic!("two attempts") };
    assert!(is_signed(first) && is_signed(again), "{}", first.text());
    assert_eq!(header(first, "webhook-id"), header(again, "webhook-id"), "it is the same event");
    assert_eq!(sent_body(first), sent_body(again));
    let told = |path: &str| member(&sent_body(first), path);
    assert_eq!(
        [told("type"), told("data.owner"), told("data.percent"), told("data.spent_usd")],
        ["budget.threshold", "default", "50", "0.000007"]
    );
    assert_eq!(first.request_line(), "POST /hook/path-secret?token=query-secret HTTP/1.1");
    let metric = |result: &str| {
        gateway.metric(&format!("crossmodel_webhook_deliveries_total{{result=\"{result}\",webhook=\"ops\"}}"))
    };
    assert!(eventually(Duration::from_secs(5), || metric("delivered") > 0.0));
    assert_eq!((metric("failed"), metric("delivered")), (1.0, 1.0));
    let log = gateway.stderr();
    assert!(
        log.contains("webhook ops: an event was not delivered") && log.contains("answers with 500"),
        "{log}"
    );
    for secret in [SECRET, "path-secret", "query-secret"] {
        assert!(!log.contains(secret), "the log has no secret: {log}");
    }
    assert_eq!(call(&gateway, 0, "v/chat", "").status, 200);
    assert!(eventually(Duration::from_secs(10), || seen().len() == 3), "100 % is another event");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(seen().len(), 3, "each event is delivered once");
}

#[test]
fn a_receiver_that_is_gone_or_silent_delays_no_call() {
    let mock = good();
    let receiver = Mock::scripted(|_, _| json(410, "", ""));
    let mut gateway = gateway(&mock, &receiver, "\"*\"");
    gateway.command(&["budget", "set", "--account", "default", "day=0.00001,alert=50"]);
    gateway.restart_with(&[("HOOK_SECRET", SECRET)]);
    // The budget has room for no call of 100 tokens, and so is used up at once.
    gateway.command(&["budget", "set", "--account", "default", "day=0.002,alert=1"]);
    let passes = || call(&gateway, 0, "v/chat", "").status == 200;
    assert!(eventually(Duration::from_secs(5), passes));
    gateway.command(&["budget", "set", "--account", "default", "day=0.000007"]);
    assert!(eventually(Duration::from_secs(5), || call(&gateway, 0, "v/chat", "").status == 402));
    assert!(eventually(Duration::from_secs(10), || receiver.seen().len() == 1), "{}", gateway.stderr());
    assert!(eventually(Duration::from_secs(5), || gateway.stderr().contains("the receiver is gone (410)")));
    let audit = || {
        let books = Connection::open(gateway.data().join("crossmodel.db")).unwrap();
        let sql = "SELECT COUNT(*) FROM audit WHERE action = 'budget.exhausted' AND subject = 'default'";
        books.query_row::<i64, _, _>(sql, [], |row| row.get(0)).unwrap()
    };
    assert!(eventually(Duration::from_secs(5), || audit() == 1));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(receiver.seen().len(), 1, "nothing more is sent");
    gateway.audit();
}

#[test]
fn a_refused_configuration_and_a_failing_target_are_events() {
    let receiver = Mock::scripted(|_, _| json(200, "", "{}"));
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    let text = format!(
        "webhooks: [{{name: chat, url: \"{url}\", format: slack, events: [config.refused, \"target.*\"]}}]\n\
         providers:\n  p: {{base_url: \"http://127.0.0.1:9/v1\", auth: none, protocols: [chat], breaker_failures: 1}}\n\
         models:\n  - {{id: v/m, targets: [{{provider: p}}]}}\n"
    );
    let gateway = Gateway::start(&text);
    let body = r#"{"model":"v/m","messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(crate::support::post(&gateway, "/v1/chat/completions", body).status, 502);
    let told = |part: &str| receiver.seen().iter().any(|seen| sent_body(seen).contains(part));
    assert!(
        eventually(Duration::from_secs(10), || told("target v/m@p gets no calls")),
        "{}",
        gateway.stderr()
    );
    let file = gateway.file("conf.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("auth: none", "auth: nonsense")).unwrap();
    gateway.signal("HUP");
    let refused = || told("a changed configuration was refused");
    assert!(eventually(Duration::from_secs(10), refused), "{}", gateway.stderr());
    assert!(
        receiver.seen().iter().all(|seen| header(seen, "webhook-signature").is_empty()),
        "there is no secret"
    );
}
