//! Money and limits, as clients and the books see them: whatever happens to a call, it is charged once, or not at
//! all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::streams::STREAMS;
use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, Response, Seen, chunk, eventually, faults, get, json,
    member, open, post, request, sse,
};

/// One dollar for a million input tokens, two for as many output tokens: a micro-USD for a token.
pub(crate) const PRICES: &str = "prices: [{input: 1000000, output: 2000000}]";

/// A model for each protocol that its provider speaks, `v/chat`, `v/responses` and `v/messages`, and a free one.
pub(crate) fn config(port: u16) -> String {
    let mut text = "providers:\n".to_owned();
    let mut models = "models:\n".to_owned();
    for protocol in ["chat", "responses", "messages"] {
        text += &format!(
            "  {protocol}: {{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", breaker_failures: 0, protocols: [{protocol}]}}\n"
        );
        models += &format!("  - {{id: v/{protocol}, {PRICES}, targets: [{{provider: {protocol}}}]}}\n");
    }
    text + &models + "  - {id: v/free, targets: [{provider: chat}]}\n"
}

pub(crate) const MODELS: [&str; 3] = ["v/chat", "v/responses", "v/messages"];

/// A gateway whose account has so many dollars.
pub(crate) fn gateway(mock: &Mock, dollars: &str) -> Gateway {
    let gateway = Gateway::start(&format!("billing: prepaid\n{}", config(mock.port)));
    if dollars != "0" {
        gateway.command(&["account", "top-up", "default", dollars]);
    }
    gateway
}

/// The request of a client for a model; it limits its answer to 100 tokens.
pub(crate) fn body(client: usize, model: &str, more: &str) -> String {
    let cap = ["max_completion_tokens", "max_output_tokens", "max_tokens"][client];
    let without = PROTOCOLS[client].1.replace("\"max_tokens\":9,", "").replace("v/model", model);
    without.replacen('{', &format!("{{\"{cap}\":100,{more}"), 1)
}

pub(crate) fn call(gateway: &Gateway, client: usize, model: &str, more: &str) -> Response {
    post(gateway, PROTOCOLS[client].0, &body(client, model, more))
}

/// The protocol in which a provider was asked.
pub(crate) fn asked(seen: &Seen) -> usize {
    PROTOCOLS.iter().position(|(path, _, _)| seen.request_line().contains(path)).unwrap()
}

pub(crate) fn streams(seen: &Seen) -> bool {
    seen.text().contains("\"stream\":true")
}

/// Whole streams with their usage: 3 tokens in, 2 out.
pub(crate) fn stream(protocol: usize) -> String {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
    let text = STREAMS[protocol].replace('@', "real").replace("\"input_tokens\":1", "\"input_tokens\":3");
    text.replace("data: [DONE]", &format!("{usage}data: [DONE]"))
}

/// A provider that answers everything well.
pub(crate) fn good() -> Mock {
    Mock::scripted(|seen, _| match (asked(seen), streams(seen)) {
        (protocol, true) => sse(stream(protocol).split_inclusive("\n\n").map(str::as_bytes)),
        (protocol, false) => json(200, "", PROTOCOLS[protocol].2),
    })
}

/// What the account has and what is held, in micro-USD, as the client is told.
pub(crate) fn credits(gateway: &Gateway) -> (u64, u64) {
    let answer = get(gateway.port, "/v1/credits", &format!("x-api-key: {}\r\n", gateway.key)).body;
    assert_eq!(member(&answer, "currency"), "USD");
    let amount = |name| member(&answer, name).parse().unwrap();
    (amount("balance_micro"), amount("uncollected_micro"))
}

/// The books add up; these are the ways in which calls have ended, and what each was charged, in micro-USD.
pub(crate) fn audited(gateway: &Gateway) -> Vec<(String, u64)> {
    // What was told before is in the books when this is answered.
    credits(gateway);
    gateway.audit();
    let books = Connection::open(gateway.data().join("crossmodel.db")).unwrap();
    let mut query = books.prepare("SELECT outcome, amount FROM charges ORDER BY call").unwrap();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs() / 1000));
    query.query_map([], read).unwrap().map(Result::unwrap).collect()
}

#[test]
fn every_path_is_charged_once_by_the_providers_count() {
    let mock = good();
    let gateway = gateway(&mock, "10");
    let mut calls = 0;
    for client in 0..3 {
        for model in MODELS {
            for more in ["", "\"stream\":true,"] {
                let response = call(&gateway, client, model, more);
                assert_eq!((response.status, response.complete), (200, true), "{}", response.body);
                calls += 1;
                // 3 tokens in and 2 out are 7 micro-USD, and the client that has its answer has paid for it.
                assert_eq!(credits(&gateway), (10_000_000 - 7 * calls, 0), "{client} {model} {more}");
            }
        }
    }
    assert!(audited(&gateway).iter().all(|charge| *charge == ("exact".to_owned(), 7)));
    let log = gateway.access_log(2 * usize::try_from(calls).unwrap());
    assert!(
        log.iter().all(|line| line.contains("credits") || line.contains("\"cost_nano\":7000")),
        "{log:?}"
    );
    let usage = get(gateway.port, "/v1/usage", &format!("authorization: Bearer {}\r\n", gateway.key)).body;
    for period in ["daily", "weekly", "monthly"] {
        let count = |name: &str| member(&usage, &format!("{period}.{name}")).parse::<u64>().unwrap();
        assert_eq!(count("cost_micro"), 7 * calls);
        assert_eq!((count("prompt_tokens"), count("completion_tokens")), (3 * calls, 2 * calls));
        assert_eq!((count("request_count"), count("success_count")), (calls, calls));
        assert_eq!(count("total_tokens"), 5 * calls);
    }
}

#[test]
fn the_cost_of_an_account_without_a_wallet_is_counted_until_it_has_one() {
    let mock = good();
    let gateway = Gateway::start(&config(mock.port));
    let usage = |name: &str| {
        let head = format!("authorization: Bearer {}\r\n", gateway.key);
        member(&get(gateway.port, "/v1/usage", &head).body, &format!("daily.{name}"))
    };
    for (client, model) in [(0, "v/chat"), (1, "v/chat"), (2, "v/messages")] {
        let response = call(&gateway, client, model, "\"service_tier\":\"auto\",");
        assert_eq!(response.status, 200, "{}", response.body);
    }
    assert_eq!((usage("cost_micro"), usage("request_count")), ("21".to_owned(), "3".to_owned()));
    assert_eq!(credits(&gateway), (0, 0));
    assert_eq!(audited(&gateway), [], "nobody was charged");
    let log = gateway.access_log(7);
    assert_eq!(log.iter().filter(|line| line.contains("\"cost_nano\":7000")).count(), 3, "{log:?}");
    let told = gateway.command(&["account", "top-up", "default", "1"]);
    assert!(told.contains("has a wallet now"), "{told}");
    assert_eq!(call(&gateway, 0, "v/chat", "").status, 200);
    let paid = || call(&gateway, 0, "v/chat", "").status == 200 && credits(&gateway).0 < 1_000_000;
    assert!(eventually(Duration::from_secs(1), paid), "from now on it pays");
    assert_eq!(usage("cost_micro"), (7 * mock.seen().len()).to_string());
    audited(&gateway);
}

#[test]
fn billing_that_is_off_counts_no_cost() {
    let mock = good();
    let gateway = Gateway::start(&format!("billing: off\n{}", config(mock.port)));
    gateway.command(&["account", "top-up", "default", "1"]);
    assert_eq!(call(&gateway, 0, "v/chat", "").status, 200);
    assert_eq!(credits(&gateway), (1_000_000, 0));
    assert!(gateway.access_log(2).iter().any(|line| line.contains("\"cost_nano\":0")));
    assert_eq!(audited(&gateway), []);
}

#[test]
fn who_can_not_pay_is_told_so_in_its_own_envelope() {
    let mock = good();
    let gateway = Gateway::start(&format!("billing: prepaid\n{}", config(mock.port)));
    let refused = |code: &str, message: &str, retry: &str| {
        for client in 0..3 {
            let response = call(&gateway, client, "v/chat", "");
            assert_eq!(response.status, 402, "{}", response.body);
            assert_eq!(response.header("x-should-retry"), Some(retry));
            let told = match client {
                2 => format!(r#"{{"type":"error","error":{{"type":"billing_error","message":"{message}"}}"#),
                _ => format!(
                    r#"{{"error":{{"message":"{message}","type":"billing_error","param":null,"code":"{code}"}}}}"#
                ),
            };
            assert!(response.body.starts_with(&told), "{} is not {told}", response.body);
        }
    };
    let message = "The account of this API key has no wallet. An operator can create one: crossmodel account top-up default 25.";
    refused("no_wallet", message, "false");
    let nothing = get(gateway.port, "/v1/credits", &format!("x-api-key: {}\r\n", gateway.key)).body;
    assert_eq!(nothing, r#"{"currency":"USD","balance_micro":0,"uncollected_micro":0}"#);
    gateway.command(&["account", "top-up", "default", "0.0001"]);
    for (client, model) in MODELS.into_iter().enumerate() {
        let response = call(&gateway, client, model, "");
        // A micro-USD for each byte of the request and some more, and two for each of a hundred tokens.
        let needs = format!("0.00{}", body(client, model, "").len() + 1024 + 200);
        let needs = needs.trim_end_matches('0');
        let message = format!(
            "Insufficient balance: 0.0001 USD left, and this request may cost up to {needs} USD. Ask for fewer output tokens or a top-up."
        );
        assert_eq!((response.status, member(&response.body, "error.message")), (402, message));
        assert_eq!(response.header("x-should-retry"), Some("false"));
    }
    assert!(mock.seen().is_empty(), "nothing was asked for");
    assert_eq!(call(&gateway, 0, "v/free", "").status, 200, "what costs nothing needs no money");
    gateway.command(&["account", "top-up", "default", "1"]);
    assert_eq!(call(&gateway, 0, "v/chat", "").status, 200, "the next call knows of it");
    assert_eq!(audited(&gateway), [("exact".to_owned(), 7)]);
}

#[test]
fn a_spending_limit_holds_for_its_key() {
    let mock = good();
    let gateway = gateway(&mock, "10");
    let id = member(&gateway.command(&["key", "list", "--json"]), "0.id");
    gateway.command(&["key", "set", &id, "--spending-limit", "0.000006"]);
    let refused = || call(&gateway, 0, "v/chat", "");
    assert!(eventually(Duration::from_secs(1), || refused().status == 402));
    let told = refused().body;
    assert!(told.contains("the total budget of this API key has 0.000006 USD left"), "{told}");
    gateway.command(&["key", "set", &id, "--spending-limit", "unlimited"]);
    assert!(eventually(Duration::from_secs(1), || refused().status == 200));
}

#[test]
fn money_that_others_hold_is_worth_waiting_for() {
    let gate = Gate::new();
    let wait = Arc::clone(&gate);
    let mock = Mock::scripted(move |seen, _| {
        [vec![Act::Await(Arc::clone(&wait))], json(200, "", PROTOCOLS[asked(seen)].2)].concat()
    });
    // Enough for one call of about 1,100 tokens in and 100 out, and not for two.
    let gateway = gateway(&mock, "0.002");
    let mut first = Client::connect(gateway.port);
    first.send(request(PROTOCOLS[0].0, &gateway.key, &body(0, "v/chat", "")).as_bytes());
    assert!(eventually(Duration::from_secs(5), || credits(&gateway).1 > 0));
    let second = call(&gateway, 2, "v/messages", "");
    assert_eq!((second.status, second.header("retry-after")), (402, Some("1")));
    assert_eq!(second.header("x-should-retry"), Some("true"));
    gate.open();
    assert_eq!(first.receive().status, 200);
    gate.open();
    assert_eq!(call(&gateway, 2, "v/messages", "").status, 200);
    assert_eq!(audited(&gateway).len(), 2);
}

#[test]
fn an_answer_is_limited_to_what_is_paid_for() {
    let mock = good();
    let gateway = gateway(&mock, "0.005");
    let plain = PROTOCOLS[0].1.replace("v/model", "v/chat");
    let response = post(&gateway, PROTOCOLS[0].0, &plain);
    assert_eq!(response.status, 200, "{}", response.body);
    let told = response.header("x-crossmodel-dropped").unwrap().to_owned();
    let cap: u64 = told.strip_prefix("max_output_tokens=").unwrap().parse().unwrap();
    assert!((1024..2500).contains(&cap), "{cap}");
    assert_eq!(member(&mock.last().text(), "max_tokens"), cap.to_string());
    // So it is where the call is translated.
    let translated = PROTOCOLS[0].1.replace("v/model", "v/messages");
    let response = post(&gateway, PROTOCOLS[0].0, &translated);
    let told = response.header("x-crossmodel-dropped").unwrap();
    assert_eq!(told, format!("max_output_tokens={}", member(&mock.last().text(), "max_tokens")));
    // A null in the place of the limit is no limit.
    post(&gateway, PROTOCOLS[0].0, &plain.replacen('{', "{\"max_tokens\":null,", 1));
    assert!(mock.last().text().starts_with("{\"max_tokens\":"), "{}", mock.last().text());
    assert!(member(&mock.last().text(), "max_tokens").parse::<u64>().unwrap() >= 1024);
    // Who limits it himself gets that, and is not told anything.
    let limited = call(&gateway, 0, "v/chat", "");
    assert_eq!(limited.header("x-crossmodel-dropped"), None);
    assert_eq!(member(&mock.last().text(), "max_tokens"), "100", "the member that its provider reads");
    let wrong = plain.replacen('{', "{\"max_tokens\":\"many\",", 1);
    let response = post(&gateway, PROTOCOLS[0].0, &wrong);
    assert_eq!((response.status, member(&response.body, "error.param").as_str()), (400, "max_tokens"));
    // Rather nothing than less than it is worth: about 1,100 tokens in and 1,024 out.
    let id = member(&gateway.command(&["key", "list", "--json"]), "0.id");
    gateway.command(&["key", "set", &id, "--strict"]);
    assert!(eventually(Duration::from_secs(1), || post(&gateway, PROTOCOLS[0].0, &plain).status == 402));
}

#[test]
fn what_fails_costs_nothing() {
    let answers: [fn(usize) -> Vec<Act>; 6] = [
        |_| json(500, "", r#"{"error":{"message":"x"}}"#),
        |_| json(429, "", r#"{"error":{"message":"x","type":"rate_limit_error"}}"#),
        |_| json(200, "", r#"{"error":{"message":"x"}}"#),
        |_| json(200, "", "<html>"),
        |_| vec![Act::Close],
        |_| sse([&b"data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n"[..]]),
    ];
    for (n, answer) in answers.into_iter().enumerate() {
        let mock = Mock::scripted(move |seen, _| answer(asked(seen)));
        let gateway = gateway(&mock, "1");
        for (client, model) in [(0, "v/chat"), (2, "v/chat"), (0, "v/messages")] {
            for more in ["", "\"stream\":true,"] {
                call(&gateway, client, model, more);
                assert_eq!(credits(&gateway), (1_000_000, 0), "answer {n} {client} {model} {more}");
            }
        }
        assert!(audited(&gateway).iter().all(|charge| *charge == ("released".to_owned(), 0)));
    }
}

/// Words of a Chat stream, which does not end.
fn words(count: usize) -> Vec<Act> {
    let word = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word\"}}]}\n\n";
    open(std::iter::repeat_n(word.as_bytes(), count))
}

#[test]
fn what_breaks_off_costs_what_has_gone_either_way() {
    // In the middle of the stream the provider goes, or the client does.
    for (client, provider_goes) in [(0, true), (2, true), (0, false), (2, false)] {
        let mock = Mock::scripted(move |_, _| {
            [words(20), vec![if provider_goes { Act::Close } else { Act::Hold }]].concat()
        });
        let gateway = gateway(&mock, "1");
        let mut going = Client::connect(gateway.port);
        let text = body(client, "v/chat", "\"stream\":true,");
        let prompt = text.len().div_ceil(4) as u64;
        going.send(request(PROTOCOLS[client].0, &gateway.key, &text).as_bytes());
        assert_eq!(going.head().0, 200);
        if provider_goes {
            while going.chunk().is_some_and(|chunk| !chunk.is_empty()) {}
        } else {
            let mut seen = String::new();
            while seen.matches("word").count() < 20 {
                seen += &String::from_utf8(going.chunk().unwrap()).unwrap();
            }
            drop(going);
        }
        assert!(eventually(Duration::from_secs(5), || credits(&gateway).1 == 0));
        let charges = audited(&gateway);
        assert_eq!(charges, [("estimated".to_owned(), prompt + 2 * 20)], "{client} {provider_goes}");
    }
}

#[test]
fn a_client_that_goes_while_the_provider_thinks_pays_for_its_prompt() {
    for model in ["v/chat", "v/messages"] {
        let mock = Mock::new(vec![Act::Hold]);
        let gateway = gateway(&mock, "1");
        let text = body(0, model, "");
        let mut going = Client::connect(gateway.port);
        going.send(request(PROTOCOLS[0].0, &gateway.key, &text).as_bytes());
        assert!(eventually(Duration::from_secs(5), || !mock.seen().is_empty()));
        drop(going);
        assert!(eventually(Duration::from_secs(5), || mock.left() == 1), "the provider is let go");
        assert!(eventually(Duration::from_secs(5), || credits(&gateway).1 == 0));
        assert_eq!(audited(&gateway), [("estimated".to_owned(), text.len().div_ceil(4) as u64)]);
    }
}

#[test]
fn counts_that_can_not_be_right_cost_no_more_than_was_held() {
    let held = |client: usize| (body(client, MODELS[client], "").len() + 1024 + 2 * 100) as u64;
    let huge = u64::MAX;
    let cases = [
        (format!("{{\"prompt_tokens\":{huge},\"completion_tokens\":{huge}}}"), ("exact", held(0))),
        ("{\"prompt_tokens\":-5,\"completion_tokens\":-1}".to_owned(), ("estimated", 0)),
        // A count that is a string counts nothing.
        ("{\"prompt_tokens\":\"3\",\"completion_tokens\":2.0}".to_owned(), ("exact", 4)),
        ("null".to_owned(), ("estimated", 0)),
    ];
    for (usage, (outcome, charge)) in cases {
        let answer =
            PROTOCOLS[0].2.split_once(",\"usage\"").unwrap().0.to_owned() + ",\"usage\":" + &usage + "}";
        let mock = Mock::new(json(200, "", &answer));
        let gateway = gateway(&mock, "1");
        assert_eq!(call(&gateway, 0, "v/chat", "").status, 200);
        let charged = audited(&gateway).remove(0);
        assert_eq!(charged.0, outcome, "{usage}");
        match outcome {
            // By the length of the request and of the answer.
            "estimated" => assert!((20..200).contains(&charged.1), "{charged:?}"),
            _ => assert_eq!(charged.1, charge, "{usage}"),
        }
    }
}

#[test]
fn billing_can_be_switched_off() {
    let mock = good();
    let gateway = Gateway::start(&format!("billing: off\n{}", config(mock.port)));
    assert_eq!(call(&gateway, 0, "v/chat", "").status, 200);
    let usage = get(gateway.port, "/v1/usage", &format!("x-api-key: {}\r\n", gateway.key)).body;
    assert_eq!(
        (member(&usage, "daily.cost_micro"), member(&usage, "daily.prompt_tokens")),
        ("0".into(), "3".into())
    );
}

#[test]
fn counting_tokens_costs_nothing() {
    let mock = Mock::new(json(200, "", r#"{"input_tokens":5}"#));
    let gateway = gateway(&mock, "0");
    let count = PROTOCOLS[2].1.replace("v/model", "v/messages");
    assert_eq!(post(&gateway, "/v1/messages/count_tokens", &count).status, 200);
}

#[test]
fn exactly_as_many_calls_as_can_be_paid_for() {
    let gate = Gate::new();
    let wait = Arc::clone(&gate);
    let mock = Mock::scripted(move |seen, _| {
        [vec![Act::Await(Arc::clone(&wait))], json(200, "", PROTOCOLS[asked(seen)].2)].concat()
    });
    let text = body(0, "v/chat", "");
    let held = text.len() as u64 + 1024 + 200;
    let gateway = gateway(&mock, &format!("0.0{}", held * 10 + held / 2));
    let refused = AtomicU64::new(0);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let one = || {
            let mut client = Client::connect(gateway.port);
            client.send(request(PROTOCOLS[0].0, &gateway.key, &text).as_bytes());
            let status = client.receive().status;
            refused.fetch_add(u64::from(status == 402), Ordering::Relaxed);
            status
        };
        let mut calls = Vec::new();
        calls.resize_with(128, || scope.spawn(one));
        assert!(eventually(Duration::from_secs(10), || credits(&gateway).1 == held * 10));
        // Who comes later may find money that others have not needed.
        assert!(eventually(Duration::from_secs(20), || refused.load(Ordering::Relaxed) == 118));
        (0..10).for_each(|_| gate.open());
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|&&other| other == status).count();
    assert_eq!((count(200), count(402)), (10, 118));
    assert_eq!(audited(&gateway).len(), 10);
}

/// A provider that waits in the middle of its streams.
pub(crate) fn halting(gate: &Arc<Gate>) -> Mock {
    let gate = Arc::clone(gate);
    Mock::scripted(move |seen, _| {
        let rest = stream(asked(seen));
        let (first, rest) = rest.split_at(rest.find("\n\n").unwrap() + 2);
        let mut acts = open([first.as_bytes()]);
        acts.extend([
            Act::Await(Arc::clone(&gate)),
            chunk(rest.as_bytes()),
            Act::Send(b"0\r\n\r\n".to_vec()),
        ]);
        acts
    })
}

/// While the store cannot be written, a running call ends in good time, a new one is refused without having been
/// asked for, and one that costs nothing is served; afterwards, nothing is lost.
fn refuses_calls_and_loses_nothing(gateway: &Gateway, mock: &Mock, gate: &Gate, breaks: impl Fn(bool)) {
    let before = credits(gateway).0;
    let asked = mock.seen().len();
    let mut running = Client::connect(gateway.port);
    running.send(request(PROTOCOLS[0].0, &gateway.key, &body(0, "v/chat", "\"stream\":true,")).as_bytes());
    assert_eq!(running.head().0, 200);
    breaks(true);
    gate.open();
    let begun = Instant::now();
    let mut seen = String::new();
    while let Some(chunk) = running.chunk().filter(|chunk| !chunk.is_empty()) {
        seen += &String::from_utf8(chunk).unwrap();
    }
    assert!(seen.ends_with("data: [DONE]\n\n") && begun.elapsed() < Duration::from_secs(3), "{seen}");
    // A short while is waited for a store that is only busy.
    let failing = || gateway.metric("crossmodel_ledger_failing") > 0.5;
    assert!(eventually(Duration::from_secs(20), failing));
    let refused = call(gateway, 0, "v/chat", "");
    assert_eq!((refused.status, member(&refused.body, "error.code").as_str()), (503, "db_error"));
    assert!(refused.header("retry-after").is_some());
    assert!(failing());
    assert_eq!(mock.seen().len() - asked, 1, "it was not asked for");
    gate.open();
    assert_eq!(call(gateway, 0, "v/free", "\"stream\":true,").status, 200);
    breaks(false);
    assert!(eventually(Duration::from_secs(10), || credits_if_told(gateway) == Some((before - 7, 0))));
    audited(gateway);
}

/// Returns the same as [`credits`], unless the store cannot be read.
fn credits_if_told(gateway: &Gateway) -> Option<(u64, u64)> {
    let told = get(gateway.port, "/v1/credits", &format!("x-api-key: {}\r\n", gateway.key)).status == 200;
    told.then(|| credits(gateway))
}

#[test]
fn a_store_that_is_locked_refuses_calls_and_loses_nothing() {
    let gate = Gate::new();
    let mock = halting(&gate);
    let gateway = gateway(&mock, "1");
    let other = Connection::open(gateway.data().join("crossmodel.db")).unwrap();
    refuses_calls_and_loses_nothing(&gateway, &mock, &gate, |locked| {
        other.execute_batch(if locked { "BEGIN IMMEDIATE" } else { "ROLLBACK" }).unwrap();
    });
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_disk_that_is_full_or_fails_refuses_calls_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (shim, fault) = (faults(folder.path()), folder.path().join("fault"));
    let gate = Gate::new();
    let mock = halting(&gate);
    let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("FAULT", fault.to_str().unwrap())];
    let gateway = Gateway::start_with(&config(mock.port), &[], &environment);
    gateway.command(&["account", "top-up", "default", "1"]);
    for how in ["sync", "full"] {
        refuses_calls_and_loses_nothing(&gateway, &mock, &gate, |broken| {
            std::fs::write(&fault, if broken { how } else { "" }).unwrap();
        });
    }
    assert_eq!(credits(&gateway), (1_000_000 - 14, 0));
}

/// Calls until the gateway dies; counts the answers that were seen to their ends.
pub(crate) fn call_until_death(port: u16, key: &str, complete: &AtomicU64) {
    for n in 0.. {
        let Ok(stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return };
        drop(stream);
        let more = if n % 2 == 0 { "\"stream\":true," } else { "" };
        let text = request(PROTOCOLS[n % 3].0, key, &body(n % 3, MODELS[n / 3 % 3], more));
        let answer = std::panic::catch_unwind(|| {
            let mut client = Client::connect(port);
            client.send(text.as_bytes());
            client.receive()
        });
        match answer {
            Ok(response) if response.status == 200 && response.complete => {
                complete.fetch_add(1, Ordering::Relaxed);
            }
            Ok(response) if response.status == 200 => return,
            Ok(response) => panic!("{}: {}", response.status, response.body),
            Err(_) => return,
        }
    }
}

/// However often the process is killed: who saw the end of an answer has paid for it, once, and whatever was in
/// flight is settled when it is back. `KILLS` sets how often.
#[test]
fn a_killed_gateway_has_charged_every_answer_that_was_seen() {
    let kills: u64 = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4);
    let mock = good();
    let mut gateway = gateway(&mock, "1000");
    let seen = AtomicU64::new(0);
    for round in 0..kills {
        let (port, key) = (gateway.port, gateway.key.clone());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| call_until_death(port, &key, &seen));
            }
            // However slow the machine is, there is something to lose.
            let enough = (round + 1) * 12;
            let seen = eventually(Duration::from_secs(30), || seen.load(Ordering::Relaxed) >= enough);
            std::thread::sleep(Duration::from_millis(round * 37 % 200));
            gateway.signal("KILL");
            assert!(seen, "no {enough} answers");
        });
        let begun = Instant::now();
        gateway.restart();
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(credits(&gateway).1, 0, "nothing is held for calls that are gone");
    }
    let (seen, charges) = (seen.into_inner(), audited(&gateway));
    let exact = charges.iter().filter(|(outcome, _)| outcome == "exact").count() as u64;
    let others = charges.len() as u64 - exact;
    // An answer may have been charged whose end did not get to the client any more.
    assert!((seen..=seen + kills * 8).contains(&exact), "{seen} answers seen, {exact} charged");
    assert!(others <= kills * 8, "{others}");
    assert!(charges.iter().all(|(outcome, charge)| outcome != "exact" || *charge == 7));
}
