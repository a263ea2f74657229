//! The built-in provider's HTTP side, which plays the scripts of [`crate::demo`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use http::header;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use crate::auth::Token;
use crate::demo::{self, Script, ScriptStep};

/// The application behind the built-in provider's listener.
#[derive(Debug)]
pub(in crate::edge) struct Demo(Token);

/// The end of a script.
#[derive(PartialEq, Eq)]
enum End {
    Played,
    /// The connection has to be closed without the end that its head has promised.
    Cut,
}

impl Demo {
    /// Makes the provider, which serves requests with this credential.
    pub(in crate::edge) fn new(key: &str) -> Self {
        Self(Token::new(key))
    }

    fn admits(&self, session: &ServerSession) -> bool {
        let shown = session.req_header().headers.get(header::AUTHORIZATION);
        let token = shown.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        token.is_some_and(|token| self.0.matches(token))
    }
}

#[async_trait]
impl HttpServerApp for Demo {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !session.read_request().await.ok()? {
            return None;
        }
        if !self.admits(&session) {
            // A client that does not accept an answer gets no body.
            let mut head = ResponseHeader::build_no_case(401, Some(1)).ok()?;
            head.insert_header(header::CONTENT_LENGTH, 0).ok()?;
            session.set_keepalive(None);
            session.write_response_header(Box::new(head)).await.ok()?;
            session.finish().await.ok()?;
            return None;
        }
        let mut body = BytesMut::new();
        while let Some(part) = session.read_request_body().await.ok()? {
            body.extend_from_slice(&part);
            if body.len() > LARGEST {
                return None;
            }
        }
        let request = session.req_header();
        let path = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        let script = demo::answer(request.method.as_str(), &path, &body);
        if play(&mut session, script).await.ok()? == End::Cut {
            session.shutdown().await;
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

async fn play(session: &mut ServerSession, script: Script) -> pingora::Result<End> {
    let mut head = ResponseHeader::build_no_case(script.status, Some(8))?;
    for (name, value) in &script.headers {
        head.insert_header(*name, value.as_str())?;
    }
    match script.length() {
        Some(length) => head.insert_header(header::CONTENT_LENGTH, length)?,
        None => head.insert_header(header::TRANSFER_ENCODING, "chunked")?,
    }
    let mut head = Some(Box::new(head));
    for step in script.steps {
        // A wait before the first byte is also one before the head.
        if !matches!(step, ScriptStep::Wait(_) | ScriptStep::Stall)
            && let Some(head) = head.take()
        {
            session.write_response_header(head).await?;
        }
        match step {
            ScriptStep::Send(bytes) => session.write_response_body(bytes, false).await?,
            ScriptStep::Wait(time) => tokio::time::sleep(time).await,
            // This waits until the peer leaves; what it sends in the meantime is not a request.
            ScriptStep::Stall => {
                let _ = session.read_body_or_idle(true).await;
                return Ok(End::Cut);
            }
            ScriptStep::Cut => return Ok(End::Cut),
        }
    }
    if let Some(head) = head.take() {
        session.write_response_header(head).await?;
    }
    session.write_response_body(bytes::Bytes::new(), true).await?;
    Ok(End::Played)
}

/// Bytes of a request.
const LARGEST: usize = 256 << 20;
