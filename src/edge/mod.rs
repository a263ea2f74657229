//! The HTTP side of the gateway: the only user of Pingora.
//!
//! Bytes travel through the files in this order: `front` takes connections and reads heads, `framing` and `chunks` see
//! where a request ends, `streams` takes those of HTTP/2 apart, `refusal`, `refused` and `outbox` tell those that go no further,
//! [`gateway`](Gateway) is called by Pingora, `endpoint` tells what a path means, `intake` reads the body, `call`
//! decides what happens to it, `pay` what that costs, `driver` carries it, `upstream` is the way to the provider,
//! `transport` knows how that fails, `delivery` passes a stream on, through a `passage`, `reply` takes an answer that has to
//! be whole, `leaving` what its client does not wait for, `answer` says what the gateway itself has to say, `record` keeps
//! what is known at the end. `probe` goes that way without a call.
//!
//! [`server`](Server) is the process around them: `listeners` opens its sockets, `side` serves those that are not for
//! clients, `handover` takes them over from another process, `certificates` and `reload` follow what changes while it
//! runs, `ending` tells calls when their time is up.

mod account;
mod admin;
mod answer;
mod attempt;
mod betas;
mod call;
mod certificates;
mod chunks;
mod connections;
mod delivery;
mod demo;
mod driver;
mod ending;
mod endpoint;
mod estimate;
mod exchange;
mod failover;
mod fallback;
mod framing;
mod front;
mod gateway;
mod handover;
mod head;
mod headers;
mod intake;
mod leaving;
mod listeners;
mod names;
mod outbox;
mod pace;
mod passage;
mod pay;
mod plan;
mod pre_tls;
mod priced;
mod probe;
mod record;
mod refusal;
mod refused;
mod reload;
mod reply;
mod retry_budget;
mod server;
mod side;
mod snapshot;
mod streams;
mod tenants;
mod transport;
mod upstream;
mod watch;
mod wire;

pub use exchange::Exchange;
pub use gateway::Gateway;
pub use probe::{Answer, Prober, Unreached, Visit, certificate_file_ends};
pub use server::{Server, run};
