//! Connections to the admin API of a running gateway, for commands: through its control socket, or over the network.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Uri, header};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::upstreams::peer::HttpPeer;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use crate::admin::api::{Answer, PREFIX, Request};
use crate::admin::client::Transport;
use crate::admin::model::ErrorBody;
use crate::admin::{Code, OperationError, OperationResult};
use crate::edge::upstream::reason::{innermost, reason};
use crate::store::{ControlName, SocketPath};

/// The admin API of a running gateway.
pub struct RemoteGateway {
    way: Way,
    /// The name of the gateway in messages.
    name: String,
    /// The header `host`.
    host: String,
    /// The path before that of the API.
    path: String,
    token: Option<SecretString>,
    answer_timeout: Duration,
    runtime: Runtime,
}

/// The way to a gateway.
enum Way {
    Socket(SocketPath),
    Plain(Vec<SocketAddr>),
    /// TLS, with the name that the certificate has to be for.
    Tls(Vec<SocketAddr>, String),
}

/// The reason for which there is no answer.
enum Unanswered {
    /// There is no connection, so that the gateway has not seen the request.
    Connection(String),
    /// The gateway may have seen the request.
    Answer(String),
}

impl RemoteGateway {
    /// Returns the gateway behind a control socket, or `None` if there is none.
    ///
    /// # Errors
    /// Fails if the socket cannot be used, for example because the user has no permission.
    pub fn at_socket(data: &Path, name: &ControlName) -> io::Result<Option<Self>> {
        let found = name.path(data).and_then(|path| {
            std::os::unix::net::UnixStream::connect(&path)?;
            Ok(path)
        });
        match found {
            Ok(path) => Self::new(Way::Socket(path), "the running gateway".to_owned()).map(Some),
            // Its process has ended, or ends at this moment.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the gateway whose admin listener has this URL.
    ///
    /// # Errors
    /// Fails if the URL is not one of a gateway, or its name cannot be resolved.
    pub fn at_url(url: &Uri, token: SecretString) -> io::Result<Self> {
        let wrong =
            || io::Error::new(io::ErrorKind::InvalidInput, "write http://HOST:PORT or https://HOST:PORT");
        let is_tls = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority =
            url.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        if url.query().is_some() {
            return Err(wrong());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let addresses: Vec<_> = (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| io::Error::new(error.kind(), format!("{host} cannot be resolved: {error}")))?
            .collect();
        let way = if is_tls { Way::Tls(addresses, host) } else { Way::Plain(addresses) };
        let mut gateway = Self::new(way, url.to_string().trim_end_matches('/').to_owned())?;
        authority.as_str().clone_into(&mut gateway.host);
        gateway.path = url.path().trim_end_matches('/').trim_end_matches(PREFIX).to_owned();
        gateway.token = Some(token);
        Ok(gateway)
    }

    /// Returns the gateway whose admin listener has this address on this machine. It is asked without a token, and only for
    /// what it answers at once.
    ///
    /// # Errors
    /// Fails if the system provides no runtime.
    pub fn nearby(address: SocketAddr) -> io::Result<Self> {
        let gateway = Self::new(Way::Plain(vec![address]), address.to_string())?;
        Ok(Self { host: address.to_string(), answer_timeout: NEARBY_TIMEOUT, ..gateway })
    }

    fn new(way: Way, name: String) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (host, path) = (LOCAL_NAME.to_owned(), String::new());
        Ok(Self { way, name, host, path, token: None, answer_timeout: ANSWER_TIMEOUT, runtime })
    }

    /// Sends a request until it is answered, or may not be sent again.
    async fn ask(&self, request: &Request) -> OperationResult<Answer> {
        for attempt in 1.. {
            let answered = timeout(self.answer_timeout, self.exchange(request)).await;
            let silent =
                |_| Unanswered::Answer(format!("no answer came within {} s", self.answer_timeout.as_secs()));
            let is_last = attempt >= MAX_ATTEMPTS;
            match answered.map_err(silent).flatten() {
                // A gateway refuses changes that come too fast, and has not made them.
                Ok(answer) if answer.status == 429 && !is_last && is_soon(&answer) => {}
                // A process that another has taken over from refuses changes, and the next connection leads to the other.
                Ok(answer) if self.is_local() && !is_last && is_draining(&answer) => {}
                Ok(answer) if answer.status == 401 && self.token.is_some() => return Err(self.refused()),
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Answer(_)) if request.method == "GET" && !is_last && self.is_local() => {}
                Err(Unanswered::Answer(why)) if request.method != "GET" => {
                    return Err(self.unreached(&format!("{why}; see whether the change was made")));
                }
                Err(Unanswered::Answer(why) | Unanswered::Connection(why)) => {
                    return Err(self.unreached(&why));
                }
            }
            sleep(PAUSE).await;
        }
        Err(self.unreached("it does not answer"))
    }

    /// Whether the gateway is reached through its control socket. One that ends hands over to another there.
    fn is_local(&self) -> bool {
        matches!(self.way, Way::Socket(_))
    }

    fn refused(&self) -> OperationError {
        let message = format!(
            "{}: the token is not known there; it has to be one of `admin.tokens` or of `crossmodel token create`",
            self.name
        );
        OperationError::new(Code::Unauthorized, message)
    }

    fn unreached(&self, why: &str) -> OperationError {
        OperationError::new(Code::GatewayUnavailable, format!("{}: {why}", self.name))
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, Unanswered> {
        let stream = timeout(CONNECT_TIMEOUT, self.connect()).await;
        let stream = stream
            .unwrap_or_else(|_| Err("no connection in time".to_owned()))
            .map_err(Unanswered::Connection)?;
        let failed = |error: Box<pingora::Error>| Unanswered::Answer(reason(&error));
        let head = self.head(request).map_err(failed)?;
        let mut session = HttpSession::new(stream);
        session.write_request_header(Box::new(head)).await.map_err(failed)?;
        if !request.body.is_empty() {
            session.write_body(&request.body).await.map_err(failed)?;
        }
        session.finish_body().await.map_err(failed)?;
        session.read_response().await.map_err(failed)?;
        let status = session.get_status().map_or(0, |status| status.as_u16());
        let retry_after = session.get_header(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let headers = retry_after.map(|value| (RETRY_AFTER, value.to_owned())).into_iter().collect();
        let mut body = Vec::new();
        while let Some(part) = session.read_body_bytes().await.map_err(failed)? {
            append(&mut body, &part)?;
        }
        Ok(Answer { status, headers, body })
    }

    fn head(&self, request: &Request) -> Result<RequestHeader, Box<pingora::Error>> {
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        let target = format!("{}{PREFIX}{}{query}", self.path, request.path);
        let mut head = RequestHeader::build(request.method.as_str(), target.as_bytes(), Some(6))?;
        head.insert_header(header::HOST, &self.host)?;
        head.insert_header(header::CONNECTION, "close")?;
        head.insert_header(header::CONTENT_LENGTH, request.body.len())?;
        if !request.body.is_empty() {
            head.insert_header(header::CONTENT_TYPE, "application/json")?;
        }
        if let Some(token) = &self.token {
            head.insert_header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()))?;
        }
        Ok(head)
    }

    async fn connect(&self) -> Result<Stream, String> {
        let words = |error: io::Error| match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        match &self.way {
            Way::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(words)?;
                Ok(Box::new(L4Stream::from(stream)))
            }
            Way::Plain(addresses) => {
                let stream = TcpStream::connect(addresses.as_slice()).await.map_err(words)?;
                Ok(Box::new(L4Stream::from(stream)))
            }
            Way::Tls(addresses, host) => encrypted(addresses, host).await,
        }
    }
}

impl Transport for RemoteGateway {
    fn answer(&self, request: &Request) -> OperationResult<Answer> {
        self.runtime.block_on(self.ask(request))
    }
}

impl std::fmt::Debug for RemoteGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteGateway").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Connects to the first of some addresses that can be reached, with TLS.
async fn encrypted(addresses: &[SocketAddr], host: &str) -> Result<Stream, String> {
    let connector = TransportConnector::new(Some(ConnectorOptions::new(1)));
    let mut why = "the name has no address".to_owned();
    for address in addresses {
        let peer = HttpPeer::new(*address, true, host.to_owned());
        match connector.new_stream(&peer).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = told(&error),
        }
    }
    Err(why)
}

/// Describes why there is no connection, with advice for certificates of an authority of one's own.
fn told(error: &pingora::Error) -> String {
    let why = reason(error);
    match why.starts_with("unknown authority") {
        true => format!("{why}; name the authority's file with SSL_CERT_FILE"),
        false if why.is_empty() => innermost(error),
        false => why,
    }
}

/// Whether a refused request may come again soon.
fn is_soon(answer: &Answer) -> bool {
    let seconds =
        answer.headers.iter().find(|(name, _)| *name == RETRY_AFTER).map(|(_, value)| value.as_str());
    seconds.is_some_and(|seconds| seconds == "1")
}

/// Whether a gateway that ends has refused a change.
fn is_draining(answer: &Answer) -> bool {
    let body = serde_json::from_slice::<ErrorBody>(&answer.body);
    answer.status == 503 && body.is_ok_and(|body| body.error.code == Code::Draining.parts().0)
}

fn append(body: &mut Vec<u8>, part: &Bytes) -> Result<(), Unanswered> {
    if body.len() + part.len() > MAX_BODY_BYTES {
        return Err(Unanswered::Answer(format!("the answer is longer than {MAX_BODY_BYTES} bytes")));
    }
    body.extend_from_slice(part);
    Ok(())
}

const RETRY_AFTER: &str = "retry-after";

/// The name of the gateway behind a control socket, in the header `host`.
const LOCAL_NAME: &str = "localhost";

/// The time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for an answer: longer than the gateway takes at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// The time for an answer of a gateway on this machine that may not run.
const NEARBY_TIMEOUT: Duration = Duration::from_millis(300);

/// The attempts of a request. A chosen value: an operator may make 10 changes per second, so that a few commands at once
/// all come through.
const MAX_ATTEMPTS: u32 = 10;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest answer: the largest page has 1000 objects of some thousand bytes.
const MAX_BODY_BYTES: usize = 64 << 20;
