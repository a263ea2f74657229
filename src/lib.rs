//! CrossModel: an LLM gateway on Pingora.
//!
//! One base URL and one key for every model. Clients speak OpenAI Chat Completions, OpenAI Responses or
//! Anthropic Messages; so do providers. Where both speak the same, bytes are relayed with the few edits
//! that must be; where they do not, requests and answers pass through a canonical form.
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
//! [`Gateway`] implements Pingora's `ProxyHttp`, so it can be mounted in a server of one's own, beside
//! other services:
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
//! In the order in which bytes travel: [`edge`] is HTTP, [`auth`] keys, [`limit`] and [`meter`] what
//! they may use and have to pay, [`protocol`] what the three protocols say, [`route`] models, [`provider`] where they are, [`translate`] what happens to the bytes.
//! [`canon`], [`json`], [`sse`], [`money`], [`private`] and [`store`] are what these are made of; [`config`], [`observe`] and [`console`] stand beside.
//! Imports only go down; the guide says [why](guide::architecture), and how a gateway is
//! [run](guide::operations).

pub mod auth;
pub mod canon;
pub mod config;
pub mod console;
pub mod demo;
pub mod edge;
pub mod failure;
pub mod guide;
pub mod json;
pub mod limit;
pub mod located;
pub mod meter;
pub mod money;
pub mod observe;
pub mod private;
pub mod protocol;
pub mod provider;
pub mod route;
pub mod sse;
pub mod store;
pub mod translate;

pub use config::Config;
pub use edge::Gateway;
pub use failure::Failure;
