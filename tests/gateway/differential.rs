//! Requests that are nearly right, beside nginx where it is installed: what it refuses is refused here too, and the
//! provider never sees more than one request of one.

#![expect(clippy::print_stdout, reason = "a test that is left out shall say so")]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{Client, Gateway, Mock, PROTOCOLS, config, eventually, free_port, json};

const BODY: &str = PROTOCOLS[0].1;

/// A proxy before a provider; it ends with the value.
struct Nginx {
    port: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start(upstream: u16) -> Option<Self> {
        Command::new("nginx").arg("-v").stderr(Stdio::null()).status().ok()?;
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let path = folder.path().display();
        let text = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/log; events {{}}
http {{
  access_log off; client_body_temp_path {path}/1; proxy_temp_path {path}/2; fastcgi_temp_path {path}/3;
  uwsgi_temp_path {path}/4; scgi_temp_path {path}/5;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; }}
  }}
}}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let log = folder.path().join("log");
        let child = Command::new("nginx").arg("-e").arg(log).arg("-c").arg(file).spawn().ok()?;
        let nginx = Self { port, child, _folder: folder };
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(eventually(Duration::from_secs(10), listens), "nginx does not listen");
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines and fields with one change each, at each place where there may be one.
fn mutations(key: &str) -> Vec<String> {
    let length = BODY.len();
    let mut all = Vec::new();
    let chunked = format!("{length:x}\r\n{BODY}\r\n0\r\n\r\n");
    let framings = [
        (format!("Content-Length: {length}"), BODY.to_owned()),
        ("Transfer-Encoding: chunked".to_owned(), chunked),
    ];
    for (framing, body) in &framings {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {key}\r\n{framing}\r\nX: y\r\n\r\n"
        );
        let good = format!("{head}{body}");
        let places = [head.find(framing).unwrap(), head.find(": ").unwrap(), head.find("HTTP/").unwrap()];
        let of_framing = [
            head.find(framing).unwrap() + framing.find(':').unwrap(),
            head.find(framing).unwrap() + framing.find(':').unwrap() + 2,
            head.find(framing).unwrap() + framing.len(),
            head.len() - 2,
        ];
        for at in places.into_iter().chain(of_framing) {
            for piece in [
                "\0", "\t", " ", "\r", "\n", "\r\n", "\x0b", "\x0c", "\x7f", ",", ";", "x", "\r\n ",
                "\r\n\t", ":", "\u{a0}",
            ] {
                all.push(format!("{}{piece}{}", &good[..at], &good[at..]));
            }
        }
        for extra in [
            "Content-Length: 0",
            "Content-Length: 5",
            "Content-Length: 0x10",
            "Content-Length:",
            "Content_Length: 5",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: x, chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding:\tchunked",
            "Transfer_Encoding: chunked",
            "TE: chunked",
            "Host: evil",
            "Connection: content-length",
            "Connection: transfer-encoding",
            "Expect: 100-continue",
            "Expect: 200-ok",
            "Upgrade: h2c",
            "X-Forwarded-Host: evil",
        ] {
            all.push(good.replacen("X: y", extra, 1));
            all.push(good.replacen("Host: g", &format!("{extra}\r\nHost: g"), 1));
        }
        all.push(good.replace("HTTP/1.1", "HTTP/1.0"));
        all.push(good.replace("HTTP/1.1", "HTTP/1.9"));
        all.push(good.replace("HTTP/1.1", "http/1.1"));
        all.push(good.replace("POST", "post"));
        all.push(good.replace("POST", "GET"));
    }
    all
}

/// The first status that comes, if one does, to a request with another one behind it.
fn first_status(port: u16, bytes: &str) -> Option<u16> {
    let mut client = Client::connect(port);
    client.impatient();
    client.try_send(bytes.as_bytes());
    client.first_status()
}

#[test]
fn what_nginx_refuses_is_refused_and_nothing_is_smuggled() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let behind_nginx = Mock::new(json(200, "", PROTOCOLS[0].2));
    let Some(nginx) = Nginx::start(behind_nginx.port) else {
        return println!("SKIPPED: nginx is not installed");
    };
    let gateway = Gateway::start(&config(mock.port));
    let hidden = "GET /hidden HTTP/1.1\r\nHost: g\r\n\r\n";
    let (mut judged, mut stricter, mut laxer) = (0, 0, Vec::new());
    for request in mutations(&gateway.key) {
        let whole = format!("{request}{hidden}");
        let theirs = first_status(nginx.port, &whole);
        let ours = first_status(gateway.port, &whole);
        let seen = mock.take();
        assert!(seen.len() <= 1, "{request:?}: {seen:?}");
        for seen in &seen {
            assert_eq!(seen.request_line(), "POST /v1/chat/completions HTTP/1.1", "{request:?}");
            assert_eq!(seen.text(), BODY.replace("v/model", "real-model"), "{request:?}");
        }
        let refuses = |status: Option<u16>| status != Some(200);
        // A tab is a blank, beside a value (RFC 9110, 5.5); nginx does not take it for one.
        if !refuses(ours) && refuses(theirs) && !request.contains('\t') {
            laxer.push(format!("nginx: {theirs:?}, gateway: {ours:?}: {request:?}"));
        }
        judged += 1;
        stricter += usize::from(refuses(ours) && !refuses(theirs));
    }
    println!("{judged} requests, {stricter} of which are refused here and not by nginx");
    assert!(laxer.is_empty(), "{laxer:#?}");
    assert!(judged > 250 && stricter > 0);
}
