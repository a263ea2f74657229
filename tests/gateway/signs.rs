//! Signs of life to clients that wait for a stream while the provider says nothing.

use std::time::Duration;

use crate::streams::{STREAMS, streaming};
use crate::support::{Act, Gateway, Mock, PROTOCOLS, chunk, config, json, member, open, post, sse};

/// The signs that keep a stream alive in each protocol.
const SIGNS: [&str; 3] =
    [": keep-alive\n\n", ": keep-alive\n\n", "event: ping\ndata: {\"type\":\"ping\"}\n\n"];

/// The events that tell clients in mid-stream that the answer has failed.
const FAILURES: [&str; 3] = ["data: {\"error\":", "event: response.failed", "event: error"];

const NAMES: [&str; 3] = ["chat", "responses", "messages"];

/// A provider that says nothing for some time, and then answers.
fn late(answer: Vec<Act>) -> Mock {
    Mock::new([vec![Act::Pause(Duration::from_millis(2500))], answer].concat())
}

fn start(port: u16, seconds: u64) -> Gateway {
    Gateway::start(&format!("limits: {{keep_alive_seconds: {seconds}}}\n{}", config(port)))
}

#[test]
fn a_client_sees_that_its_call_lives_before_the_provider_has_answered() {
    for (n, stream) in STREAMS.into_iter().enumerate() {
        let mock = late(sse([stream.replace('@', "real-model").as_bytes()]));
        let response = post(&start(mock.port, 1), PROTOCOLS[n].0, &streaming(n));
        assert!(response.status == 200 && response.complete, "{response:?}");
        assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(response.header("x-crossmodel-model"), Some("v/model"));
        let rest = response.body.trim_start_matches(SIGNS[n]);
        assert!(rest.len() < response.body.len(), "{}", response.body);
        assert_eq!(rest, stream.replace('@', "v/model"));

        // In a translation, and where the provider gives its answer as a whole.
        let config = config(mock.port).replace("chat, responses, messages", NAMES[n]);
        let gateway = Gateway::start(&format!("limits: {{keep_alive_seconds: 1}}\n{config}"));
        let client = (n + 1) % 3;
        let response = post(&gateway, PROTOCOLS[client].0, &streaming(client));
        assert!(response.body.starts_with(SIGNS[client]) && response.complete, "{response:?}");
        assert!(!response.body.contains(FAILURES[client]), "{response:?}");
        let whole = late(json(200, "", PROTOCOLS[n].2));
        let response = post(&start(whole.port, 1), PROTOCOLS[n].0, &streaming(n));
        assert!(response.body.starts_with(SIGNS[n]) && response.complete, "{response:?}");
        assert!(response.body.len() > 100 && !response.body.contains(FAILURES[n]), "{response:?}");
    }
}

#[test]
fn a_failure_after_a_sign_of_life_is_told_in_the_stream() {
    for (n, failure) in FAILURES.into_iter().enumerate() {
        let mock = late(json(500, "", "{}"));
        let second = "\n  second: {base_url: \"http://127.0.0.1:1/v1\", auth: none, protocols: [chat, responses, messages]}\nmodels:";
        let config = config(mock.port).replace("\nmodels:", second).replace(
            "{provider: up, model: real-model}",
            "{provider: up, model: real-model}, {provider: second, priority: 1}",
        );
        let gateway = Gateway::start(&format!("limits: {{keep_alive_seconds: 1}}\n{config}"));
        let response = post(&gateway, PROTOCOLS[n].0, &streaming(n));
        assert!(response.status == 200 && response.complete, "{response:?}");
        let told = response.body.trim_start_matches(SIGNS[n]);
        assert!(told.len() < response.body.len() && told.contains(failure), "{response:?}");
        let line = gateway.access_log(1).remove(0);
        assert_eq!(
            (member(&line, "error").as_str(), member(&line, "attempts").as_str()),
            ("provider_error", "1")
        );
        assert_eq!((member(&line, "status").as_str(), member(&line, "stream").as_str()), ("200", "true"));
    }
}

#[test]
fn signs_of_life_can_be_switched_off() {
    for (n, (path, body, _)) in PROTOCOLS.into_iter().enumerate() {
        let mock = late(json(500, "", "{}"));
        let response = post(&start(mock.port, 0), path, &streaming(n));
        assert_eq!(response.status, 502, "{response:?}");
        // Who wants no stream gets none.
        let response = post(&start(mock.port, 1), path, body);
        assert_eq!(response.status, 502, "{response:?}");
    }
}

/// Signs of life of a provider within its stream, in each protocol.
const PINGS: [&str; 3] = [
    ": PROCESSING\n\n",
    "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":1}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
];

/// Answers with the events of a stream and, before the last of them, three signs of life.
fn pinging(protocol: usize) -> Mock {
    let stream = STREAMS[protocol].replace('@', "real-model");
    let (events, last) = stream.trim_end().rsplit_once("\n\n").unwrap();
    let mut acts = open([format!("{events}\n\n").as_bytes()]);
    for _ in 0..3 {
        acts.extend([Act::Pause(Duration::from_millis(150)), chunk(PINGS[protocol].as_bytes())]);
    }
    acts.extend([Act::Pause(Duration::from_millis(150)), chunk(format!("{last}\n\n").as_bytes())]);
    acts.push(Act::Send(b"0\r\n\r\n".to_vec()));
    Mock::new(acts)
}

#[test]
fn signs_of_the_providers_life_are_passed_on_in_the_clients_protocol() {
    for (upstream, name) in NAMES.into_iter().enumerate() {
        for client in (0..3).filter(|client| *client != upstream) {
            for (seconds, most) in [(60, 3), (0, 0)].into_iter().take(if upstream == 0 { 2 } else { 1 }) {
                let mock = pinging(upstream);
                let config = config(mock.port).replace("chat, responses, messages", name);
                let config = format!("limits: {{keep_alive_seconds: {seconds}}}\n{config}");
                let response = post(&Gateway::start(&config), PROTOCOLS[client].0, &streaming(client));
                assert!(response.status == 200 && response.complete, "{response:?}");
                let signs = response.body.matches(SIGNS[client]).count();
                let pair = format!("{name} to {}: {}", NAMES[client], response.body);
                assert!(signs <= most && (signs > 0) == (most > 0), "{signs} from {pair}");
                assert!(
                    !response.body.contains(FAILURES[client]) && !response.body.contains("PROCESSING"),
                    "{pair}"
                );
            }
        }
    }
}

#[test]
fn a_sign_of_life_is_no_answer_yet() {
    for (protocol, ping) in PINGS.into_iter().enumerate() {
        let error = "data: {\"type\":\"error\",\"error\":{\"message\":\"x\",\"type\":\"overloaded_error\",\"code\":\"server_error\"}}\n\n";
        let mut acts = open([ping.as_bytes()]);
        acts.extend([Act::Pause(Duration::from_millis(200)), chunk(error.as_bytes())]);
        acts.push(Act::Send(b"0\r\n\r\n".to_vec()));
        let mock = Mock::new(acts);
        let config = config(mock.port).replace("chat, responses, messages", NAMES[protocol]);
        let client = (protocol + 1) % 3;
        let response = post(&Gateway::start(&config), PROTOCOLS[client].0, &streaming(client));
        assert!(response.status >= 500, "{response:?}");
    }
}
