//! Requests and their answers on connections of clients.

use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

use super::*;
use crate::edge::wire::head::Scan;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};

fn asked(request: &str) -> (Served, DuplexStream, Arc<Return>) {
    let (own, other) = duplex(1 << 20);
    let back = Arc::new(Return::default());
    let mut bytes = BytesMut::from(request);
    let end = Scan::default().end(&bytes).unwrap().unwrap();
    let (_, length) = head::check(&bytes[..end]).unwrap();
    let served = Served::new(Box::new(own), &mut bytes, (end, length), true, &back);
    (served.map_err(|(_, malformed)| malformed).unwrap(), other, back)
}

fn answer(fields: &[(&'static str, &str)]) -> Box<ResponseHeader> {
    let mut head = ResponseHeader::build_no_case(200, None).unwrap();
    for (name, value) in fields {
        head.insert_header(*name, *value).unwrap();
    }
    Box::new(head)
}

/// Returns the bytes that were written, without those that differ from day to day.
async fn written(mut other: DuplexStream) -> String {
    let mut text = String::new();
    other.read_to_string(&mut text).await.unwrap();
    let lines = text.split_inclusive("\r\n").filter(|line| !line.to_lowercase().starts_with("date"));
    lines.collect::<String>().to_lowercase()
}

async fn body(served: &mut Served) -> pingora::Result<String> {
    let mut body = Vec::new();
    while let Some(part) = served.read_body_bytes().await? {
        body.extend_from_slice(&part);
    }
    Ok(String::from_utf8(body).unwrap())
}

const SIZED: &str = "POST / HTTP/1.1\r\nhost: g\r\ncontent-length: 5\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_body_is_the_same_however_it_comes() {
    for (head, rest) in [(SIZED, "hello"), (CHUNKED, "2;x\r\nhe\r\n3\r\nllo\r\n0\r\nt: x\r\n\r\n")] {
        for early in 0..=rest.len() {
            let (first, last) = rest.split_at(early);
            let (mut served, mut other, _) = asked(&format!("{head}{first}"));
            other.write_all(last.as_bytes()).await.unwrap();
            assert_eq!(body(&mut served).await.unwrap(), "hello", "{early} of {rest:?}");
            assert!(served.is_body_done() && served.framing.is_clear());
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_not_framed_is_none() {
    let (mut served, mut other, _) = asked(SIZED);
    other.write_all(b"hell").await.unwrap();
    drop(other);
    assert_eq!(body(&mut served).await.unwrap_err().etype(), &ErrorType::ConnectionClosed);
    let (mut served, mut other, _) = asked(CHUNKED);
    other.write_all(b"5\r\nhello!\r\n").await.unwrap();
    let error = body(&mut served).await.unwrap_err();
    let cause = error.root_cause().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::InvalidData);
    let mut bytes = BytesMut::from(format!("{CHUNKED}zz\r\n").as_str());
    let (head, back) = (CHUNKED.len(), Arc::default());
    let refused = Served::new(Box::new(duplex(1).0), &mut bytes, (head, Length::Chunked), true, &back);
    assert!(refused.is_err() && bytes.starts_with(CHUNKED.as_bytes()));
}

#[tokio::test]
async fn an_answer_goes_out_with_its_framing_and_the_connection_comes_back() {
    let (mut served, other, back) = asked(&format!("{SIZED}hello"));
    body(&mut served).await.unwrap();
    served.write_response_header(answer(&[("content-length", "2")]), false).await.unwrap();
    assert!(!served.out.is_empty(), "it waits for its body");
    served.write_body(Bytes::from_static(b"ok!"), true).await.unwrap();
    served.finish().await.unwrap();
    drop(back.take().unwrap());
    let expected = "http/1.1 200 ok\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok";
    assert_eq!(written(other).await, expected);
}

#[tokio::test]
async fn a_stream_goes_out_in_chunks_and_ends() {
    let (mut served, other, back) = asked("GET / HTTP/1.1\r\nhost: g\r\n\r\n");
    let head = answer(&[("transfer-encoding", "chunked")]);
    let large = "x".repeat(MAX_JOINED + 1);
    let part = |text: &str| HttpTask::Body(Some(Bytes::from(text.to_owned())), false);
    let tasks = vec![HttpTask::Header(head, false), part("0123456789abcdef!"), part("")];
    assert!(!served.response_duplex_vec(tasks).await.unwrap());
    assert!(served.out.is_empty(), "nothing waits for what may come late");
    assert!(served.response_duplex_vec(vec![part(&large), HttpTask::Done]).await.unwrap());
    served.finish().await.unwrap();
    drop(back.take().unwrap());
    let expected = format!(
        "http/1.1 200 ok\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n\
         11\r\n0123456789abcdef!\r\n4001\r\n{large}\r\n0\r\n\r\n"
    );
    assert_eq!(written(other).await, expected);
}

#[tokio::test]
async fn a_connection_does_not_come_back_where_nothing_may_follow() {
    let close = "GET / HTTP/1.1\r\nhost: g\r\nconnection: Close\r\n\r\n";
    for request in [close, "GET / HTTP/1.0\r\n\r\n", SIZED, "GET / HTTP/1.1\r\nhost: g\r\n\r\nGET /"] {
        let (mut served, mut other, back) = asked(request);
        served.set_total_drain_timeout(Some(Duration::ZERO));
        served.drain_request_body().await.unwrap();
        served.write_response_header(answer(&[("content-length", "0")]), true).await.unwrap();
        other.shutdown().await.unwrap();
        served.finish().await.unwrap();
        assert!(back.take().is_none(), "{request:?}");
        assert!(written(other).await.contains("connection: close"), "{request:?}");
    }
}

#[tokio::test]
async fn a_head_alone_is_the_answer_to_a_head_and_a_notice_goes_out_at_once() {
    let (mut served, mut other, back) = asked("HEAD / HTTP/1.1\r\nhost: g\r\n\r\n");
    let notice = ResponseHeader::build_no_case(100, None).unwrap();
    served.write_response_header(Box::new(notice), false).await.unwrap();
    let mut first = [0; 25];
    other.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    served.write_response_header(answer(&[("content-length", "7")]), true).await.unwrap();
    served.write_body(Bytes::from_static(b"nothing"), true).await.unwrap();
    served.finish().await.unwrap();
    assert!(back.take().is_some());
    let expected = "http/1.1 200 ok\r\ncontent-length: 7\r\nconnection: keep-alive\r\n\r\n";
    assert_eq!(written(other).await, expected);
}

#[tokio::test]
async fn an_old_client_gets_no_notice() {
    let (mut served, other, back) = asked("HEAD / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    let notice = ResponseHeader::build_no_case(100, None).unwrap();
    served.write_response_header(Box::new(notice), false).await.unwrap();
    served.write_response_header(answer(&[("content-length", "7")]), true).await.unwrap();
    served.finish().await.unwrap();
    assert!(back.take().is_some());
    let expected = "http/1.1 200 ok\r\ncontent-length: 7\r\nconnection: keep-alive\r\n\r\n";
    assert_eq!(written(other).await, expected);
}

#[tokio::test]
async fn a_client_that_goes_is_noticed() {
    let (mut served, other, _) = asked("GET / HTTP/1.1\r\nhost: g\r\n\r\n");
    let mut waiting = Box::pin(served.read_body_or_idle(true));
    assert!(futures_poll(&mut waiting).is_pending());
    drop(other);
    assert!(waiting.await.is_err());
}

/// A connection whose other side takes no last word.
#[derive(Debug)]
struct Stuck;

impl tokio::io::AsyncRead for Stuck {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl tokio::io::AsyncWrite for Stuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl Peek for Stuck {}
impl Ssl for Stuck {}

#[async_trait]
impl pingora::protocols::Shutdown for Stuck {
    async fn shutdown(&mut self) {}
}

impl UniqueID for Stuck {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl GetTimingDigest for Stuck {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Stuck {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Stuck {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_last_word_is_not_waited_for() {
    let mut bytes = BytesMut::from("GET / HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n");
    let request = (bytes.len(), Length::Sized(0));
    let back = Arc::default();
    let mut served =
        Served::new(Box::new(Stuck), &mut bytes, request, true, &back).map_err(|(_, why)| why).unwrap();
    served.write_response_header(answer(&[("content-length", "0")]), true).await.unwrap();
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, served.finish()).await.is_ok_and(|ended| ended.is_ok()));
}

fn futures_poll<T>(future: &mut Pin<Box<T>>) -> Poll<T::Output>
where
    T: Future + ?Sized,
{
    future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
}

#[test]
fn a_size_is_hexadecimal() {
    for size in [1, 15, 16, 255, 4096, usize::MAX] {
        let mut out = BytesMut::new();
        put_size(&mut out, size);
        assert_eq!(out, format!("{size:x}\r\n"), "{size}");
    }
}
