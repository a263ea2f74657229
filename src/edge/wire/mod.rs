//! Connections whose bytes are inspected while they are read.

pub(in crate::edge) mod alarm;
pub(in crate::edge) mod chunks;
pub(in crate::edge) mod client_subject;
pub(in crate::edge) mod framing;
pub(in crate::edge) mod head;
pub(in crate::edge) mod quirks;
pub(in crate::edge) mod served;
pub(in crate::edge) mod streams;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An inspector of the bytes that are read from a connection.
pub(in crate::edge) trait Reader: fmt::Debug + Send + Sync + Unpin + 'static {
    /// Reads from the connection, or returns bytes that were read before.
    fn poll_read(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;
}

/// A connection, and the inspector of what is read from it. Writes pass through.
#[derive(Debug)]
pub(in crate::edge) struct Wire<R> {
    pub(in crate::edge) reader: R,
    pub(in crate::edge) stream: Stream,
}

impl<R: Reader> AsyncRead for Wire<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { reader, stream } = &mut *self;
        reader.poll_read(stream, cx, buf)
    }
}

impl<R: Reader> AsyncWrite for Wire<R> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// No peeking: bytes that were inspected cannot be inspected again before they are read.
impl<R: Reader> Peek for Wire<R> {}

#[async_trait]
impl<R: Reader> Shutdown for Wire<R> {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.stream).await;
    }
}

impl<R: Reader> UniqueID for Wire<R> {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl<R: Reader> Ssl for Wire<R> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl<R: Reader> GetTimingDigest for Wire<R> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl<R: Reader> GetProxyDigest for Wire<R> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl<R: Reader> GetSocketDigest for Wire<R> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

/// A closed connection, for a session that has lost its own.
#[derive(Debug)]
pub(in crate::edge) struct Over;

impl AsyncRead for Over {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Over {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Peek for Over {}

#[async_trait]
impl Shutdown for Over {
    async fn shutdown(&mut self) {}
}

impl UniqueID for Over {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for Over {}

impl GetTimingDigest for Over {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Over {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Over {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}
