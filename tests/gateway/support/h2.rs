//! HTTP/2 on both sides, without TLS.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use super::{Response, Seen};

/// A provider that speaks HTTP/2 by prior knowledge and gives the same answer to all.
pub(crate) struct H2Mock {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: Runtime,
}

/// What an [`H2Mock`] answers.
#[derive(Clone)]
struct Answer {
    content_type: &'static str,
    chunks: Vec<Bytes>,
    end: End,
}

/// How an answer of an [`H2Mock`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With an empty frame that says so.
    Frame,
    /// With trailers.
    Trailers,
    /// Not: the stream is reset.
    Reset,
}

impl H2Mock {
    /// Answers with these chunks.
    pub(crate) fn new(content_type: &'static str, chunks: Vec<Bytes>) -> Self {
        Self::ending(content_type, chunks, End::Frame)
    }

    /// Answers with these chunks, and ends as told.
    pub(crate) fn ending(content_type: &'static str, chunks: Vec<Bytes>, end: End) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (all, answer) = (Arc::clone(&seen), Answer { content_type, chunks, end });
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all), answer.clone()));
            }
        });
        Self { port, seen, _runtime: runtime }
    }

    /// The requests since the last look.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, answer: Answer) {
    stream.set_nodelay(true).unwrap();
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (seen, answer) = (Arc::clone(&seen), answer.clone());
        tokio::spawn(async move {
            let (head, body) = request.into_parts();
            let fields = head.headers.iter();
            let fields = fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")));
            let head = format!("{} {}\n{}", head.method, head.uri, fields.collect::<Vec<_>>().join("\n"));
            let body = collect(body).await.0;
            seen.lock().unwrap().push(Seen { head, body, before: 0 });
            let response =
                http::Response::builder().header("content-type", answer.content_type).body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            for chunk in answer.chunks {
                let _ = stream.send_data(chunk, false);
            }
            match answer.end {
                End::Frame => drop(stream.send_data(Bytes::new(), true)),
                End::Trailers => {
                    let trailers =
                        HeaderMap::from_iter([("x-checksum".parse().unwrap(), "1".parse().unwrap())]);
                    drop(stream.send_trailers(trailers));
                }
                End::Reset => stream.send_reset(h2::Reason::INTERNAL_ERROR),
            }
        });
    }
}

/// The body, and whether it came to its end.
async fn collect(mut body: RecvStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let Ok(part) = part else { return (bytes, false) };
        bytes.extend_from_slice(&part);
        let _ = body.flow_control().release_capacity(part.len());
    }
    (bytes, true)
}

/// Sends one request over HTTP/2 by prior knowledge; `sized`: with a content-length.
pub(crate) fn h2_post(port: u16, path: &str, key: &str, body: Vec<u8>, sized: bool) -> Response {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        h2_exchange(stream, path, key, body, sized).await
    })
}

/// Sends one request over a connection that speaks HTTP/2.
pub(crate) async fn h2_exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    key: &str,
    body: Vec<u8>,
    sized: bool,
) -> Response {
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let uri = format!("http://gateway{path}");
    let mut head = http::Request::post(uri).header("authorization", format!("Bearer {key}"));
    if sized {
        head = head.header("content-length", body.len());
    }
    let (response, mut stream) = client.send_request(head.body(()).unwrap(), body.is_empty()).unwrap();
    if !body.is_empty() {
        let _ = stream.send_data(body.into(), true);
    }
    let (head, body) = response.await.unwrap().into_parts();
    let headers = head.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
    let (body, complete) = collect(body).await;
    let body = String::from_utf8_lossy(&body).into_owned();
    Response { status: head.status.as_u16(), headers, body, complete }
}
