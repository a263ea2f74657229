//! The gateway in a Pingora server of one's own, beside another service of that server.
//!
//! `cargo run --example embed -- gateway.yaml`: the gateway on port 8080, and on port 8081 whatever one likes.
//! The file must not name the provider `demo`, which belongs to the `crossmodel` command.

use std::path::Path;

use async_trait::async_trait;
use crossmodel::{Config, Gateway};
use http::{Response, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::server::Server;
use pingora::services::listening::Service;

/// A service that has nothing to do with the gateway.
struct Hello;

#[async_trait]
impl ServeHttp for Hello {
    async fn response(&self, _: &mut ServerSession) -> Response<Vec<u8>> {
        let text = b"Hello from beside the gateway\n".to_vec();
        let response = Response::builder().header(header::CONTENT_LENGTH, text.len()).body(text);
        response.unwrap_or_default()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("name a configuration file")?;
    let config = Config::load(Path::new(&file))?;
    let mut server = Server::new(None)?;
    server.bootstrap();
    let gateway = Gateway::new(&config)?;
    let mut clients = pingora_proxy::http_proxy_service(&server.configuration, gateway);
    clients.add_tcp("127.0.0.1:8080");
    server.add_service(clients);
    let mut hello = Service::new("hello".to_owned(), Hello);
    hello.add_tcp("127.0.0.1:8081");
    server.add_service(hello);
    server.run_forever()
}
