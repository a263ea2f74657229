//! As much of HTTP/1.1 as client and provider need: heads and bodies of known length or in chunks.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection, and what was read of it and not yet looked at.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
}

/// The first line of a message, and the fields that matter here.
pub(crate) struct Head {
    pub(crate) first: String,
    /// Absent: the body comes in chunks.
    pub(crate) length: Option<usize>,
    pub(crate) close: bool,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(BUFFER) })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub(crate) async fn head(&mut self) -> io::Result<Head> {
        let mut head = Head { first: self.line().await?, length: None, close: false };
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                None => return Ok(head),
                Some(("content-length", value)) => head.length = value.parse().ok(),
                Some(("connection", value)) => head.close = value == "close",
                Some(_) => {}
            }
        }
    }

    /// Reads the body that `head` announces, piece by piece as it comes.
    pub(crate) async fn body(
        &mut self,
        head: &Head,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(length) = head.length {
            return self.piece(length, &mut take).await;
        }
        loop {
            let size = usize::from_str_radix(&self.line().await?, 16).map_err(io::Error::other)?;
            self.piece(size, &mut take).await?;
            self.line().await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    async fn piece(&mut self, size: usize, take: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let here = left.min(self.buffer.len());
            take(&self.buffer[..here])?;
            self.buffer.advance(here);
            left -= here;
        }
        Ok(())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line = self.buffer.split_to(end + 1);
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(BUFFER);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

const BUFFER: usize = 64 << 10;
