//! CrossModel: an LLM gateway on Pingora.
//!
//! One base URL and one key serve every model. Clients speak OpenAI Chat Completions, OpenAI Responses or
//! Anthropic Messages, and so do providers. If both speak the same protocol, bytes are relayed with the few
//! necessary edits. Otherwise requests and responses are translated through a canonical form.
//!
//! ```text
//!  client bytes                                                              client bytes
//!      |                                                                          ^
//!      v                                                                          |
//!  edge::request -> auth -> limit -> protocol::Head -> route -> meter -> translate -> provider -> translate::{relay, bridge}
//!                                                                                         |
//!                                                                      canon::Usage -> meter, limit, observe
//! ```
//!
//! # Use as a library
//!
//! [`Gateway`] implements Pingora's `ProxyHttp`, so it can be mounted in your own server beside other services:
//!
//! ```no_run
//! use crossmodel::{Config, Gateway};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::load("gateway.yaml".as_ref())?;
//! let mut server = pingora::server::Server::new(None)?;
//! server.bootstrap();
//! let mut service = pingora_proxy::http_proxy_service(&server.configuration, Gateway::new(&config)?);
//! service.add_tcp("127.0.0.1:8080");
//! server.add_service(service);
//! server.run_forever();
//! # }
//! ```
//!
//! # Modules
//!
//! The public interface is [`Config`], [`Gateway`], [`Server`], [`CallContext`], [`Failure`] and what these name. All other
//! modules are only public for the command, the tests and the benchmarks: they are not documented here, and change
//! without notice. The translation core is a crate of its own, [`crossmodel_core`].
//!
//! Imports go only down. The guide says [why](guide::architecture), and how a gateway is [run](guide::operations).

pub mod config;
pub mod edge;
pub mod guide;

#[doc(hidden)]
pub mod admin;
#[doc(hidden)]
pub mod auth;
#[doc(hidden)]
pub mod console;
#[doc(hidden)]
pub mod demo;
#[doc(hidden)]
pub mod limit;
#[doc(hidden)]
pub mod located;
#[doc(hidden)]
pub mod meter;
#[doc(hidden)]
pub mod money;
#[doc(hidden)]
pub mod notify;
#[doc(hidden)]
pub mod observe;
#[doc(hidden)]
pub mod private;
#[doc(hidden)]
pub mod provider;
#[doc(hidden)]
pub mod repeated;
#[doc(hidden)]
pub mod route;
#[doc(hidden)]
pub mod store;

pub use config::Config;
pub use crossmodel_core::Failure;
use crossmodel_core::{canon, failure, json, protocol, translate};
pub use edge::{CallContext, Gateway, Server};
