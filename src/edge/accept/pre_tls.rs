//! Connections before their TLS handshake.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::listeners::PreTlsProcess;
use pingora::protocols::Peek as _;
use pingora::protocols::l4::stream::Stream;
use pingora::upstreams::peer::{Tracer, Tracing};
use pingora::{Error, ErrorType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};
use tokio::time::timeout;

use crate::edge::gateway::Gateway;
use crate::edge::gateway::connections::{ConnectionPermit, peer};

/// A counter of connections before their TLS handshake, which may take a minute.
pub(in crate::edge) struct BeforeTls(pub(in crate::edge) Gateway);

#[async_trait]
impl PreTlsProcess for BeforeTls {
    async fn process(&self, stream: &mut Stream) -> pingora::Result<()> {
        let place = self.0.enter(peer(stream));
        let place = place.ok_or_else(|| Error::explain(ErrorType::ConnectRefused, "too many"))?;
        // This is the only place in which a connection can carry a value of ours through its handshake.
        stream.tracer = Some(Tracer(Box::new(Kept(Arc::new(place)))));
        refuse_plain_http(stream).await
    }
}

/// Tells a client that speaks HTTP without TLS what is wrong. Its first byte is a letter, and that of TLS is none.
async fn refuse_plain_http(stream: &mut Stream) -> pingora::Result<()> {
    let mut first = [0];
    match stream.try_peek(&mut first).await {
        Ok(_) if first.iter().all(u8::is_ascii_uppercase) => {
            let _ = timeout(LAST_ANSWER_TIMEOUT, answer(stream)).await;
            Error::e_explain(ErrorType::TLSHandshakeFailure, "the client speaks HTTP without TLS")
        }
        Ok(_) => Ok(()),
        Err(error) => Err(Error::because(ErrorType::TLSHandshakeFailure, "before the handshake", error)),
    }
}

/// Answers a request without TLS, and reads the rest of it: a connection that is closed before may lose the answer.
async fn answer(stream: &mut Stream) -> std::io::Result<()> {
    stream.write_all(PLAIN_HTTP.as_bytes()).await?;
    AsyncWriteExt::shutdown(stream).await?;
    let (mut rest, mut read) = ([0; 1024], 0);
    while read < MAX_REST_BYTES {
        match stream.read(&mut rest).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(())
}

/// The time for an answer without TLS. A chosen value: the request is on its way already.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The bytes of a request without TLS that are read.
const MAX_REST_BYTES: usize = 64 << 10;

/// The answer to a request without TLS on a port for TLS.
const PLAIN_HTTP: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 23\r\nconnection: close\r\n\r\nThis port speaks HTTPS.";

/// The place of a connection, which is kept for as long as the connection lives.
#[derive(Clone)]
struct Kept(#[expect(dead_code, reason = "it is kept only to be dropped")] Arc<ConnectionPermit>);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

impl Tracing for Kept {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {}

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}
