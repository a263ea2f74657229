//! How long a provider may take, and what becomes of its answer when nobody waits for it any more.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Builder;

use crate::streams::{STREAMS, streaming};
use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, Response, chunk, eventually, json, member, open, post,
    request, sse,
};

const PROTOCOL_NAMES: [&str; 3] = ["chat", "responses", "messages"];

/// A provider at a port that speaks one protocol, with more members, and beside it one that answers well.
fn config(port: u16, protocol: &str, provider: &str, prices: &str) -> String {
    format!(
        "providers:\n  up: {{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", \
         breaker_failures: 0, protocols: [{protocol}]{provider}}}\n\
         models:\n  - {{id: v/model, {prices}targets: [{{provider: up, model: real-model}}]}}\n"
    )
}

/// In seconds.
const FIRST_BYTE: &str = ", timeouts: {first_byte: 1, silence: 60}";
const SILENCE: &str = ", timeouts: {first_byte: 60, silence: 1}";
const TOTALS: [&str; 2] = [", timeouts: {total: 1}", ", timeouts: {silence: 1, total: 1}"];

const LATE: &str = "The provider did not answer in time.";

fn call(gateway: &Gateway, client: usize, stream: bool) -> Response {
    let body = if stream { streaming(client) } else { PROTOCOLS[client].1.to_owned() };
    post(gateway, PROTOCOLS[client].0, &body)
}

/// A client of each protocol, relayed and translated.
fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..3).flat_map(|client| [client, (client + 1) % 3].map(|provider| (client, provider)))
}

/// The first words of an answer in each protocol.
pub(crate) const BEGUN: [&str; 3] = [
    "data: {\"id\":\"c\",\"model\":\"real-model\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"word\"}}]}\n\n",
    concat!(
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"model\":\"real-model\"}}\n\n",
        "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"i\",\"role\":\"assistant\",\"content\":[]}}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"word\"}\n\n",
    ),
    concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"real-model\",\"usage\":{\"input_tokens\":300}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word\"}}\n\n",
    ),
];

/// And its last ones: 300 tokens in, 200 out.
pub(crate) const ENDED: [&str; 3] = [
    concat!(
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":300,\"completion_tokens\":200}}\n\n",
        "data: [DONE]\n\n",
    ),
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":300,\"output_tokens\":200}}}\n\n",
    concat!(
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":200}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ),
];

#[test]
fn a_provider_that_does_not_begin_in_time_is_a_status() {
    for (client, provider) in pairs() {
        let mock = Mock::new(vec![Act::Hold]);
        let gateway = Gateway::start(&config(mock.port, PROTOCOL_NAMES[provider], FIRST_BYTE, ""));
        for (n, stream) in [(1, false), (2, true)] {
            let start = Instant::now();
            let response = call(&gateway, client, stream);
            let what = format!("{client} to {provider}, stream {stream}: {response:?}");
            assert_eq!(response.status, 502, "{what}");
            assert_eq!(response.text("error.message"), LATE, "{what}");
            assert!(start.elapsed() < Duration::from_secs(30), "{what}");
            assert!(
                eventually(Duration::from_secs(5), || mock.left() == n),
                "the provider is let go: {what}"
            );
        }
    }
}

#[test]
fn a_provider_that_falls_silent_is_told_in_the_stream() {
    const COUNTED: &str =
        "crossmodel_upstream_failures_total{kind=\"timeout\",model=\"v/model\",provider=\"up\"}";
    let told = ["data: {\"error\":", "event: response.failed", "event: error"];
    for (client, provider) in pairs() {
        let mock = Mock::new([open([BEGUN[provider].as_bytes()]), vec![Act::Hold]].concat());
        let gateway = Gateway::start(&config(mock.port, PROTOCOL_NAMES[provider], SILENCE, ""));
        let response = call(&gateway, client, true);
        let what = format!("{client} to {provider}: {response:?}");
        assert_eq!((response.status, response.complete), (200, true), "{what}");
        assert!(response.body.contains(told[client]) && response.body.contains(LATE), "{what}");
        assert!(!response.body.contains("[DONE]") && !response.body.contains("message_stop"), "{what}");
        assert!(eventually(Duration::from_secs(5), || mock.left() == 1), "{what}");
        assert!(eventually(Duration::from_secs(5), || gateway.metric(COUNTED) == 1.0), "{what}");
    }
}

#[test]
fn a_stream_may_take_longer_than_its_first_byte_and_an_answer_that_is_whole() {
    // Each event comes after a pause as long as the first byte may take, and all after the total.
    for (client, provider) in pairs() {
        let gate = Gate::new();
        let text = [BEGUN[provider], ENDED[provider]].concat();
        let mut script = open([]);
        for event in text.split_inclusive("\n\n") {
            script.extend([chunk(event.as_bytes()), Act::Await(Arc::clone(&gate))]);
        }
        script.push(Act::Send(b"0\r\n\r\n".to_vec()));
        let mock = Mock::new(script);
        let times = ", timeouts: {first_byte: 1, silence: 60, total: 1}";
        let gateway = Gateway::start(&config(mock.port, PROTOCOL_NAMES[provider], times, ""));
        let opener = std::thread::spawn(move || {
            for _ in text.split_inclusive("\n\n") {
                std::thread::sleep(Duration::from_millis(600));
                gate.open();
            }
        });
        let response = call(&gateway, client, true);
        assert!(response.complete && !response.body.contains(LATE), "{client} to {provider}: {response:?}");
        opener.join().unwrap();
    }
}

#[test]
fn an_answer_that_is_no_stream_has_to_be_whole_in_time() {
    for ((client, provider), total) in pairs().flat_map(|pair| TOTALS.map(|total| (pair, total))) {
        // Drops of it keep coming.
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n";
        let gate = Gate::new();
        let mut script = vec![Act::Send(head.as_bytes().to_vec())];
        for _ in 0..2000 {
            script.extend([Act::Await(Arc::clone(&gate)), Act::Send(b" ".to_vec())]);
        }
        let mock = Mock::new(script);
        let gateway = Gateway::start(&config(mock.port, PROTOCOL_NAMES[provider], total, ""));
        let dripping = Arc::clone(&gate);
        let drip = std::thread::spawn(move || {
            for _ in 0..120 {
                dripping.open();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let response = call(&gateway, client, false);
        assert_eq!((response.status, response.text("error.message").as_str()), (502, LATE), "{response:?}");
        drip.join().unwrap();
    }
}

#[test]
fn a_handshake_that_does_not_end_is_given_up() {
    // The system takes its connections, and nobody says a word.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    for provider in ["chat", "messages"] {
        let text = config(port, provider, ", timeouts: {connect: 1}", "").replace("http://", "https://");
        let gateway = Gateway::start(&text);
        let start = Instant::now();
        let response = call(&gateway, 0, false);
        assert_eq!(response.text("error.message"), "The provider could not be reached in time.");
        assert!(response.status == 502 && start.elapsed() < Duration::from_secs(20), "{response:?}");
    }
}

#[test]
fn what_takes_too_long_costs_nothing_and_the_next_target_answers() {
    for (slow, stream) in [("chat", false), ("chat", true), ("messages", false), ("messages", true)] {
        let silent = Mock::new(vec![Act::Hold]);
        let good = Mock::scripted(|seen, _| match seen.text().contains("\"stream\":true") {
            true => sse([STREAMS[0].as_bytes()]),
            false => json(200, "", PROTOCOLS[0].2),
        });
        let gateway = Gateway::start(&format!(
            "providers:\n  a: {{base_url: \"http://127.0.0.1:{}/v1\", auth: none, breaker_failures: 1, protocols: [{slow}]{FIRST_BYTE}}}\n  \
             b: {{base_url: \"http://127.0.0.1:{}/v1\", auth: none, protocols: [chat]}}\n\
             models: [{{id: v/model, prices: [{{input: 1000000, output: 1000000}}], \
             targets: [{{provider: a}}, {{provider: b, priority: 1}}]}}]\n",
            silent.port, good.port
        ));
        gateway.command(&["account", "top-up", "default", "1"]);
        for _ in 0..2 {
            assert_eq!(call(&gateway, 0, stream).status, 200, "{slow}, stream {stream}");
        }
        assert_eq!((silent.seen().len(), good.seen().len()), (1, 2), "it was the target's own failure");
        gateway.command(&["ledger", "audit"]);

        let alone = Gateway::start(&config(
            silent.port,
            slow,
            FIRST_BYTE,
            "prices: [{input: 1000000, output: 1000000}], ",
        ));
        alone.command(&["account", "top-up", "default", "1"]);
        assert_eq!(call(&alone, 0, stream).status, 502);
        let balance = member(&alone.command(&["account", "show", "default", "--json"]), "wallet.balance_usd");
        assert_eq!(balance, "1.00");
        alone.command(&["ledger", "audit"]);
    }
}

#[test]
fn a_name_with_several_addresses_is_used_at_those_that_answer() {
    // `localhost` is ::1 and 127.0.0.1 on most machines, and only one of them is listened on.
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    for provider in ["chat", "messages"] {
        let answer = PROTOCOLS[PROTOCOL_NAMES.iter().position(|name| *name == provider).unwrap()].2;
        let other = Mock::new(json(200, "", answer));
        let port = if provider == "chat" { mock.port } else { other.port };
        let gateway = Gateway::start(&config(port, provider, "", "").replace("127.0.0.1", "localhost"));
        for _ in 0..6 {
            assert_eq!(call(&gateway, 0, false).status, 200, "{provider}");
        }
        for line in gateway.access_log(6) {
            assert!(["1", "2"].contains(&member(&line, "attempts").as_str()), "{line}");
        }
    }
}

/// In which phase a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Head,
    Unary,
    Stream,
}

const PHASES: [Phase; 3] = [Phase::Head, Phase::Unary, Phase::Stream];

/// A provider that is in this phase when its gate is waited for, and what it says after that.
fn in_phase(phase: Phase, protocol: usize, then: Vec<Act>) -> Vec<Act> {
    let begin = match phase {
        Phase::Head => vec![],
        Phase::Unary => {
            let length = PROTOCOLS[protocol].2.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{{"
            );
            vec![Act::Send(head.into_bytes())]
        }
        Phase::Stream => open([BEGUN[protocol].as_bytes()]),
    };
    [begin, then].concat()
}

/// Sends a request, over HTTP/1.1 or HTTP/2, and goes as soon as `seen` says so.
fn go(gateway: &Gateway, client: usize, stream: bool, http2: bool, seen: impl Fn() -> bool) {
    let body = if stream { streaming(client) } else { PROTOCOLS[client].1.to_owned() };
    if !http2 {
        let mut connection = Client::connect(gateway.port);
        connection.send(request(PROTOCOLS[client].0, &gateway.key, &body).as_bytes());
        assert!(eventually(Duration::from_secs(10), seen));
        std::thread::sleep(Duration::from_millis(100));
        return;
    }
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let head = http::Request::post(format!("http://g{}", PROTOCOLS[client].0))
            .header("authorization", format!("Bearer {}", gateway.key));
        let (_answer, mut out) = requests.send_request(head.body(()).unwrap(), false).unwrap();
        out.send_data(Bytes::from(body), true).unwrap();
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if seen() {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        out.send_reset(h2::Reason::CANCEL);
        // The connection has to live on to send it.
        tokio::time::sleep(Duration::from_millis(100)).await;
    });
}

#[test]
fn a_client_that_goes_in_any_phase_takes_the_providers_request_with_it() {
    for phase in PHASES {
        for (provider, more) in [(0, ""), (0, FIRST_BYTE), (2, "")] {
            let mock = Mock::new(in_phase(phase, provider, vec![Act::Hold]));
            let gateway = Gateway::start(&config(mock.port, PROTOCOL_NAMES[provider], more, ""));
            for (n, http2) in [(1, false), (2, true)] {
                go(&gateway, 0, phase == Phase::Stream, http2, || mock.seen().len() == n);
                let what = format!("{phase:?}, provider {provider}{more}, http2 {http2}");
                assert!(eventually(Duration::from_secs(5), || mock.left() == n), "{what}");
                assert_eq!(member(&gateway.access_log(n)[n - 1], "client_gone"), "true", "{what}");
            }
        }
    }
}

#[test]
fn an_answer_is_read_on_when_its_client_goes_for_what_it_costs() {
    for phase in PHASES {
        let cases = [(0, false), (0, true), (2, false), (2, true)].into_iter();
        // Where it is not wanted, it is read on for a moment.
        let all = cases.flat_map(|case| ["", ", on_client_gone: drain"].map(|more| (case, more)));
        for ((provider, http2), more) in all {
            let gate = Gate::new();
            let rest = match (phase, provider) {
                (Phase::Head, _) => json(200, "", PROTOCOLS[provider].2),
                (Phase::Unary, _) => vec![Act::Send(PROTOCOLS[provider].2.as_bytes()[1..].to_vec())],
                (Phase::Stream, _) => {
                    vec![chunk(ENDED[provider].as_bytes()), Act::Send(b"0\r\n\r\n".to_vec())]
                }
            };
            let script = [vec![Act::Await(Arc::clone(&gate))], rest].concat();
            let mock = Mock::new(in_phase(phase, provider, script));
            let prices = "prices: [{input: 1000000, output: 2000000}], ";
            let text = config(mock.port, PROTOCOL_NAMES[provider], more, prices);
            let gateway = Gateway::start(&text);
            gateway.command(&["account", "top-up", "default", "1"]);
            go(&gateway, 0, phase == Phase::Stream, http2, || !mock.seen().is_empty());
            // Whether it has noticed by then or not, the call costs the same.
            std::thread::sleep(Duration::from_millis(if more.is_empty() { 200 } else { 500 }));
            gate.open();
            let line = gateway.access_log(1).remove(0);
            let cost = if phase == Phase::Stream { 300 + 2 * 200 } else { 3 + 2 * 2 };
            let what = format!("{phase:?}, provider {provider}, http2 {http2}{more}: {line}");
            assert_eq!(member(&line, "cost_nano"), (cost * 1000).to_string(), "{what}");
            gateway.command(&["ledger", "audit"]);
        }
    }
}

#[test]
fn what_is_read_for_nobody_has_bounds() {
    for bounds in ["timeouts: {client_gone: 1}", "limits: {drains: 0}"] {
        for provider in [0, 2] {
            let mock = Mock::new(in_phase(Phase::Stream, provider, vec![Act::Hold]));
            let text = config(mock.port, PROTOCOL_NAMES[provider], ", on_client_gone: drain", "");
            let gateway = Gateway::start(&format!("{bounds}\n{text}"));
            go(&gateway, 0, true, false, || !mock.seen().is_empty());
            assert!(
                eventually(Duration::from_secs(10), || mock.left() == 1),
                "{bounds}, provider {provider}"
            );
            assert_eq!(member(&gateway.access_log(1)[0], "client_gone"), "true");
        }
    }
}

#[test]
fn the_id_of_a_client_goes_to_the_provider_that_it_is_relayed_to() {
    for (client, name) in [(0, "x-request-id"), (1, "x-request-id"), (2, "request-id")] {
        let mock = Mock::new(json(200, "", PROTOCOLS[client].2));
        let gateway = Gateway::start(&config(mock.port, PROTOCOL_NAMES[client], "", ""));
        let long = "x".repeat(129);
        for (id, kept) in [("job-7", true), (&*long, false), ("a b", false), ("é", false)] {
            let text = request(PROTOCOLS[client].0, &gateway.key, PROTOCOLS[client].1);
            let mut connection = Client::connect(gateway.port);
            connection.send(text.replacen("\r\n", &format!("\r\n{name}: {id}\r\n"), 1).as_bytes());
            let response = connection.receive();
            assert_eq!(response.status, 200);
            assert!(response.header("x-request-id").unwrap().starts_with("req_cm_"));
            assert_eq!(mock.last().header(name), kept.then_some(id), "{id}");
        }
    }
}
