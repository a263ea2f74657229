//! The yardstick: a Pingora proxy with one hook, the one that it cannot do without.
//!
//! Buffers and threads are the gateway's own, so what is left between the two is the gateway.

use async_trait::async_trait;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::modules::http::HttpModules;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// The argument that makes a process be this.
pub(crate) const ROLE: &str = "bare";

struct Bare {
    peer: HttpPeer,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    /// By default there is a compressor.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}

/// Serves until the process is ended.
pub(crate) fn run(listen: &str, upstream: &str) {
    let conf = ServerConf { threads: 1, work_stealing: false, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = Bare { peer: HttpPeer::new(upstream, false, String::new()) };
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_listener(ListenerConfig::tcp(listen).l4_buffer(L4BufferSettings::new(0, 16 << 10)));
    server.add_service(service);
    server.run_forever();
}
