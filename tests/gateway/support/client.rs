//! An HTTP/1.1 client that sends what it is given and shows what comes back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Gateway;

/// One connection.
pub(crate) struct Client(BufReader<TcpStream>);

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Did the body end as its framing promised?
    pub(crate) complete: bool,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// Sends as much as the other side takes.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.0.get_mut().write_all(bytes).is_ok()
    }

    /// Waits until the other side closes the connection; gives whether nothing came before that.
    pub(crate) fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Waits for no longer than a second from now on.
    pub(crate) fn impatient(&mut self) {
        self.0.get_mut().set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    }

    /// The status of the next answer that is final, if there is one.
    pub(crate) fn first_status(&mut self) -> Option<u16> {
        loop {
            let line = self.line().ok()?;
            let status = line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
            if status >= 200 {
                return Some(status);
            }
            while !self.line().ok()?.is_empty() {}
        }
    }

    /// Reads one answer.
    pub(crate) fn receive(&mut self) -> Response {
        self.receive_for("POST")
    }

    /// Reads one answer to a request with this method.
    pub(crate) fn receive_for(&mut self, method: &str) -> Response {
        let (status, headers) = self.head();
        let mut response = Response { status, headers, body: String::new(), complete: true };
        let mut body = Vec::new();
        if method == "HEAD" {
            // Whatever its length, there is no body.
        } else if let Some(length) = response.header("content-length") {
            body.resize(length.parse().unwrap(), 0);
            response.complete = self.0.read_exact(&mut body).is_ok();
        } else if response.header("transfer-encoding").is_some() {
            response.complete = false;
            while let Some(chunk) = self.chunk() {
                if chunk.is_empty() {
                    response.complete = true;
                    break;
                }
                body.extend(chunk);
            }
        } else {
            let _ = self.0.read_to_end(&mut body);
        }
        response.body = String::from_utf8_lossy(&body).into_owned();
        response
    }

    /// Reads the head of an answer.
    pub(crate) fn head(&mut self) -> (u16, Vec<(String, String)>) {
        let status = self.line().unwrap_or_else(|why| panic!("no answer: {why}"));
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        while let Some(line) = self.line().ok().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        (status, headers)
    }

    /// Reads one chunk of a chunked body; empty for the last one, `None` if the connection ends.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(self.line().ok()?.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        self.0.read_exact(&mut chunk).ok()?;
        chunk.truncate(size);
        Some(chunk)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The text of the member that `path` leads to, as `error.code`; empty if it is null or not there.
    pub(crate) fn text(&self, path: &str) -> String {
        super::member(&self.body, path)
    }
}

/// The bytes of a request with a body, with its length and a credential.
pub(crate) fn request(path: &str, key: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends one request on a connection of its own.
pub(crate) fn post(gateway: &Gateway, path: &str, body: &str) -> Response {
    let mut client = Client::connect(gateway.port);
    client.send(request(path, &gateway.key, body).as_bytes());
    client.receive()
}

/// Sends one request without a body on a connection of its own.
pub(crate) fn ask(port: u16, method: &str, path: &str, headers: &str) -> Response {
    let mut client = Client::connect(port);
    client.send(format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").as_bytes());
    client.receive_for(method)
}

/// Gets a path.
pub(crate) fn get(port: u16, path: &str, headers: &str) -> Response {
    ask(port, "GET", path, headers)
}
