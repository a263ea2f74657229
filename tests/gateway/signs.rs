//! Signs of life to clients that wait for a stream while the provider says nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::streams::{STREAMS, streaming};
use crate::support::{Act, Gateway, Mock, PROTOCOLS, chunk, config, json, member, open, post, sse};

/// The signs that keep a stream alive in each protocol. The first one of Responses opens the stream, because some clients
/// only count events, and others refuse any event before that one.
const SIGNS: [&str; 3] = [
    ": keep-alive\n\n",
    "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":1}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
];

/// The events that tell clients in mid-stream that the answer has failed.
const FAILURES: [&str; 3] = ["data: {\"error\":", "event: response.failed", "event: error"];

const NAMES: [&str; 3] = ["chat", "responses", "messages"];

/// A provider that says nothing for some time, and then answers.
fn late(answer: Vec<Act>) -> Mock {
    Mock::new([vec![Act::Pause(Duration::from_millis(2500))], answer].concat())
}

/// Returns the events of the protocol `n` behind the signs of life with which its stream begins. There is one at least.
fn after_signs(n: usize, body: &str) -> String {
    let mut rest = body;
    if n == 1 {
        let opening = ["created", "in_progress"].map(|name| {
            let (event, after) = rest.split_once("\n\n").unwrap();
            rest = after;
            let (name_line, data) = event.split_once("\ndata: ").unwrap();
            assert_eq!(name_line, format!("event: response.{name}"), "{body}");
            assert_eq!(member(data, "response.model"), "v/model", "{body}");
            assert_eq!(member(data, "response.status"), "in_progress", "{body}");
            (member(data, "sequence_number"), member(data, "response.id"))
        });
        assert_eq!(opening[0].1, opening[1].1, "{body}");
        assert_eq!([&opening[0].0, &opening[1].0], ["0", "1"], "{body}");
    }
    let rest = rest.trim_start_matches(SIGNS[n]);
    assert!(rest.len() < body.len(), "{body}");
    rest.to_owned()
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
        // The provider's own opening is left out behind the gateway's.
        let opening = if n == 1 { stream.find("event: response.output_text").unwrap() } else { 0 };
        assert_eq!(after_signs(n, &response.body), stream[opening..].replace('@', "v/model"));

        // In a translation, and where the provider gives its answer as a whole.
        let config = config(mock.port).replace("chat, responses, messages", NAMES[n]);
        let gateway = Gateway::start(&format!("limits: {{keep_alive_seconds: 1}}\n{config}"));
        let client = (n + 1) % 3;
        let response = post(&gateway, PROTOCOLS[client].0, &streaming(client));
        let rest = after_signs(client, &response.body);
        assert!(!rest.contains(FAILURES[client]) && !rest.contains("response.created"), "{response:?}");
        assert!(rest.len() > 100 && response.complete, "{response:?}");
        let whole = late(json(200, "", PROTOCOLS[n].2));
        let response = post(&start(whole.port, 1), PROTOCOLS[n].0, &streaming(n));
        let rest = after_signs(n, &response.body);
        assert!(!rest.contains(FAILURES[n]) && !rest.contains("response.created"), "{response:?}");
        assert!(rest.len() > 100 && response.complete, "{response:?}");
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
        assert!(after_signs(n, &response.body).contains(failure), "{response:?}");
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
                let signs = response.body.matches(SIGNS[client].lines().next().unwrap()).count();
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

/// One stream of Responses has one id, whoever has written its events: libraries look at it. Signs of life take no numbers.
#[test]
fn a_stream_of_responses_that_is_kept_alive_stays_one_stream() {
    let stream =
        STREAMS[1].replace("{\"response\":{", "{\"response\":{\"id\":\"r\",").replace('@', "real-model");
    let (head, tail) = stream.split_at(stream.find("event: response.completed").unwrap());
    let mut relayed = vec![Act::Pause(Duration::from_millis(1500))];
    relayed.extend(open([head.as_bytes()]));
    relayed.extend([
        Act::Pause(Duration::from_millis(1500)),
        chunk(tail.as_bytes()),
        Act::Send(b"0\r\n\r\n".to_vec()),
    ]);
    let translated = sse([STREAMS[0].replace('@', "real-model").as_bytes()]);
    for (protocol, mock) in [("responses", Mock::new(relayed)), ("chat", late(translated))] {
        let config = config(mock.port).replace("chat, responses, messages", protocol);
        let gateway = Gateway::start(&format!("limits: {{keep_alive_seconds: 1}}\n{config}"));
        let body = post(&gateway, PROTOCOLS[1].0, &streaming(1)).body;
        let events: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let of_type = |name: &str| events.iter().filter(|data| member(data, "type") == name).count();
        assert_eq!((of_type("response.created"), of_type("response.completed")), (1, 1), "{body}");
        let ids = events.iter().map(|data| member(data, "response.id")).filter(|id| !id.is_empty());
        assert_eq!(ids.collect::<BTreeSet<_>>().len(), 1, "{body}");
        // In the middle of the text, too.
        let signs: Vec<_> = events.iter().filter(|data| member(data, "type") == "keepalive").collect();
        assert_eq!(
            member(signs.last().unwrap(), "sequence_number"),
            if protocol == "chat" { "1" } else { "2" }
        );
    }
}
