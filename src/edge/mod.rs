//! The HTTP side of the gateway: the only user of Pingora.
//!
//! Each folder imports only from those above it:
//!
//! | Folder | Purpose |
//! |---|---|
//! | `wire` | framing: HTTP/1 heads and chunks to the letter, the session of a request, and the requests of an HTTP/2 connection |
//! | `upstream` | connections to providers: addresses, timeouts, the observed pace, how a connection fails |
//! | `call` | the state of one call, what it may cost and has cost, and its end when the client has left |
//! | `request` | from the client's head to the body that is sent, for the first target and after a fail-over |
//! | `respond` | from the provider's answer to the client's: the driver, streams, whole answers, failures |
//! | `gateway` | [`Gateway`], which Pingora calls, and what is counted before a call is one |
//! | `accept` | connections before Pingora sees them, those of clients and those of operators |
//! | `server` | the process: listeners, signals, reloads, graceful shutdown, zero-downtime upgrade |

mod accept;
mod call;
mod gateway;
mod request;
mod respond;
mod server;
mod upstream;
mod wire;

pub use call::context::CallContext;
pub use gateway::Gateway;
#[doc(hidden)]
pub use server::probe::{Answer, Prober, Unreached, Visit, certificate_file_ends};
#[doc(hidden)]
pub use server::remote::RemoteGateway;
pub use server::{Server, run};
