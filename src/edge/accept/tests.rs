//! A call in this process: by the listener for HTTP/1 and by Pingora's own flow, and what it allocates.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use allocation_counter::measure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::auth::{NewKey, RateLimits, Rights, Store};
use crate::config::Config;

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"real","choices":[{"index":0,"message":{"role":"assistant","content":"a word"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#;

/// A provider in a thread of its own, where nothing is counted, which wants a request in one piece.
fn provider() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
            let answer = format!("{head} {}\r\n\r\n{ANSWER}", ANSWER.len());
            let mut room = vec![0; 64 << 10];
            while let Ok(count @ 1..) = stream.read(&mut room) {
                assert!(room[..count].trim_ascii_end().ends_with(b"}"), "a request in pieces");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    address
}

/// A gateway in front of it, with a key.
fn gateway(folder: &Path, provider: SocketAddr) -> (Gateway, String) {
    let rights = Rights { rate: RateLimits { rpm: None, tpm: None }, ..Rights::default() };
    let store = Store::open(folder).unwrap();
    store.create_account("a").unwrap();
    let new = NewKey { account: "a".to_owned(), name: String::new(), rights };
    let (_, secret) = store.create_key(&new).unwrap();
    let (data, file) = (folder.display(), folder.join("config.yaml"));
    let text = format!(
        "listen: [{{address: \"127.0.0.1:0\"}}]\ndata: {data}\naccess_log: {data}/access.log\nbilling: off\nproviders:\n  \
         up: {{base_url: \"http://{provider}/v1\", auth: none, protocols: [chat]}}\nmodels:\n  - {{id: v/m, targets: [{{provider: up, model: real}}]}}\n"
    );
    std::fs::write(&file, text).unwrap();
    (Gateway::new(&Config::load(&file).unwrap()).unwrap(), secret.expose().to_owned())
}

fn request(key: &str) -> Vec<u8> {
    let body =
        format!(r#"{{"model":"v/m","messages":[{{"role":"user","content":"{}"}}]}}"#, "word ".repeat(180));
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         accept: */*\r\nuser-agent: x\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Asks once; gives the bytes that have come with the first read, which are all of an answer that is written at once.
async fn ask(client: &mut DuplexStream, request: &[u8], room: &mut [u8]) -> usize {
    client.write_all(request).await.unwrap();
    client.read(room).await.unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_plain_relay_allocates_little() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, key) = gateway(folder.path(), provider());
    let (request, mut room) = (request(&key), vec![0; 1 << 16]);
    let (mut client, server) = duplex(1 << 16);
    let (_stop, shutdown) = watch::channel(false);
    let front = Arc::new(Acceptor::new(&Arc::default(), gateway));
    // What is counted is the thread's, so all of it runs here.
    let (calls, runtime) = (100, runtime());
    runtime.block_on(async {
        assert!(front.process_new(Box::new(server), &shutdown).await.is_none());
        for _ in 0..20 {
            let count = ask(&mut client, &request, &mut room).await;
            let text = std::str::from_utf8(&room[..count]).unwrap();
            let expected = ANSWER.replace("real", "v/m");
            assert!(text.starts_with("HTTP/1.1 200") && text.ends_with(&expected), "{text}");
        }
    });
    let counted = measure(|| {
        runtime.block_on(async {
            for _ in 0..calls {
                ask(&mut client, &request, &mut room).await;
            }
        });
    });
    let each = counted.count_total / calls;
    assert!(each <= MAX_ALLOCATIONS, "{each} allocations, {} bytes", counted.bytes_total / calls);
}

#[test]
fn a_call_is_served_the_same_by_pingoras_own_flow() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, key) = gateway(folder.path(), provider());
    let mut request = request(&key);
    // Larger than what Pingora's session may keep.
    let padding = b" ".repeat(8 << 10);
    let head = String::from_utf8(request.clone()).unwrap();
    let (head, body) = head.split_once("\r\n\r\n").unwrap();
    let length = format!("content-length: {}", body.len() + padding.len());
    let head = head.replace(&format!("content-length: {}", body.len()), &length);
    request = [head.as_bytes(), b"\r\n\r\n", body.as_bytes(), &padding].concat();
    runtime().block_on(async {
        let proxy = Arc::new(http_proxy(&Arc::new(ServerConf::default()), gateway));
        let (mut client, server) = duplex(1 << 16);
        let (_stop, shutdown) = watch::channel(false);
        client.write_all(&request).await.unwrap();
        let session = ServerSession::new_http1(Box::new(server));
        let reused = proxy.process_new_http(session, &shutdown).await;
        assert!(reused.is_some(), "the connection can be used again");
        drop(reused);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"v/m\""), "{answer}");
    });
}

/// Allocations of a plain relay: 96 of them, most for header maps, names and values.
const MAX_ALLOCATIONS: u64 = 100;
