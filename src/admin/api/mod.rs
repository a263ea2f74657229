//! The admin API: requests to objects, without a network.
//!
//! One static table of routes is both the router and the source of the OpenAPI document. The gateway converts requests
//! of its admin listener and of its control socket, and the command line makes its own.

mod call;
mod examples;
mod gateway_routes;
mod guard;
mod handlers;
mod openapi;
mod repeat;
mod routes;
mod scope;
mod service;
mod table;
mod view;

pub use call::{Answer, Peer, Request};
pub use openapi::document;
pub use routes::PREFIX;
pub use service::Api;
pub use view::{GatewayView, KeyCalls};
