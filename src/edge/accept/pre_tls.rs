//! Connections before their TLS handshake.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::listeners::PreTlsProcess;
use pingora::protocols::l4::stream::Stream;
use pingora::upstreams::peer::{Tracer, Tracing};
use pingora::{Error, ErrorType};

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
        Ok(())
    }
}

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
