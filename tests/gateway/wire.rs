//! HTTP/1 on both sides, at its edges: answers that break off or come too early, old clients, heads of many fields.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::support::{Act, Client, Gateway, Mock, PROTOCOLS, config, config_with, json, post};

const PATH: &str = PROTOCOLS[0].0;
const BODY: &str = PROTOCOLS[0].1;
const ANSWER: &str = PROTOCOLS[0].2;

#[test]
fn a_request_that_a_provider_has_begun_to_answer_is_asked_once() {
    for begun in ["HTTP/1.1 200 O", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP"] {
        // The provider answers once on each connection. On the next request, it begins and is gone.
        let mock = Mock::scripted(move |seen, _| match seen.before {
            0 => json(200, "", ANSWER),
            _ => vec![Act::Send(begun.as_bytes().to_vec()), Act::Close],
        });
        let gateway = Gateway::start(&format!("threads: 1\n{}", config(mock.port)));
        let statuses: Vec<u16> = (0..8).map(|_| post(&gateway, PATH, BODY).status).collect();
        assert!(statuses.contains(&502), "a connection was used again: {statuses:?}");
        assert_eq!(mock.seen().len(), statuses.len(), "{begun:?}: {statuses:?}");
    }
}

#[test]
fn a_refusal_is_heard_while_the_request_is_still_on_its_way() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1000]);
            let body = r#"{"error":{"message":"too long","type":"invalid_request_error"}}"#;
            let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 X\r\ncontent-type: application/json\r\n";
            let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes());
            // It neither reads on nor closes the connection.
            held.push(stream);
        }
    });
    let gateway = Gateway::start(&config_with(port, ""));
    let large = BODY.replace("hi", &"x".repeat(24 << 20));
    let response = post(&gateway, PATH, &large);
    assert_eq!(response.status, 413, "{}", response.body);
}

#[test]
fn an_answer_that_begins_before_the_request_has_ended_is_an_answer() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                let _ = stream.read_exact(&mut byte);
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let first = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                ANSWER.len()
            );
            let _ = stream.write_all(first.as_bytes());
            thread::sleep(Duration::from_millis(50));
            let mut rest = vec![0; length.parse().unwrap()];
            if stream.read_exact(&mut rest).is_ok() {
                let _ = stream.write_all(ANSWER.as_bytes());
            }
        }
    });
    let gateway = Gateway::start(&config_with(port, ""));
    let large = BODY.replace("hi", &"x".repeat(24 << 20));
    assert_eq!(post(&gateway, PATH, &large).status, 200);
}

#[test]
fn a_head_of_thousands_of_fields_is_refused() {
    let mock = Mock::new(json(200, "", ANSWER));
    let gateway = Gateway::start(&format!("limits: {{head_bytes: 1048576}}\n{}", config(mock.port)));
    for fields in [101, 30_000, 40_000] {
        for name in ["a", "#"] {
            let field = |n: usize| format!("{}:\r\n", name.replace('#', &format!("x{n}")));
            let fields: String = (0..fields).map(field).collect();
            let mut client = Client::connect(gateway.port);
            client.send(format!("GET /v1/models HTTP/1.1\r\nhost: g\r\n{fields}\r\n").as_bytes());
            assert!([400, 431].contains(&client.receive().status));
        }
    }
    assert!(mock.seen().is_empty());
}

#[test]
fn an_old_client_gets_its_answer_and_no_notice() {
    let mock = Mock::new(json(200, "", ANSWER));
    let gateway = Gateway::start(&config(mock.port));
    for (version, notice) in [("1.0", None), ("1.1", Some(100))] {
        let mut client = Client::connect(gateway.port);
        let head = format!(
            "POST {PATH} HTTP/{version}\r\nhost: g\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\n\
             content-length: {}\r\n\r\n",
            gateway.key,
            BODY.len()
        );
        client.send(head.as_bytes());
        if notice.is_some() {
            assert_eq!(Some(client.head().0), notice);
        }
        client.send(BODY.as_bytes());
        assert_eq!(client.receive().status, 200, "HTTP/{version}");
    }
}
