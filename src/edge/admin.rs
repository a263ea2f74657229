//! What operators may ask: metrics and health, on an address of their own.

use async_trait::async_trait;
use http::{Response, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use super::gateway::Gateway;

/// The application behind the admin listener.
#[derive(Debug)]
pub(super) struct Admin(pub(super) Gateway);

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        if request.method != http::Method::GET {
            return answer(405, "text/plain", b"only GET\n".to_vec());
        }
        match request.uri.path() {
            "/metrics" => answer(200, "text/plain; version=0.0.4", self.0.metrics().render()),
            // That this is answered is the answer; a gateway that accepts connections can serve.
            "/healthz" | "/readyz" => answer(200, "text/plain", b"ok\n".to_vec()),
            _ => answer(404, "text/plain", b"there are /metrics, /healthz and /readyz\n".to_vec()),
        }
    }
}

fn answer(status: u16, content_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let length = body.len();
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_LENGTH, length)
        .body(body);
    response.unwrap_or_default()
}
