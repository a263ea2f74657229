//! The running binary, with raw clients on one side and scripted providers on the other.
//!
//! Each test says what the client sees and what the provider saw. Everything stays on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    reason = "these are tests"
)]

mod abuse;
mod accepted;
mod account_limits;
mod admin_api;
mod admin_gateway;
mod answers;
mod bounded;
mod bridge;
mod budgets;
mod catalogue;
mod cli;
mod client_certificates;
mod clock;
mod compaction;
mod config;
mod console;
mod content;
mod continuity;
mod corpus;
mod cors;
mod credentials;
mod declared;
mod demo;
mod differential;
mod doctor;
mod draining;
mod elsewhere;
mod encodings;
mod endings;
mod errors;
mod failover;
mod first_start;
mod forms;
mod frames;
mod gemini;
mod guards;
mod health;
mod hostile;
mod intake;
mod key_conditions;
mod keys;
mod kill_money;
mod leaving;
mod limits;
mod listeners;
mod logs;
mod measure;
mod money;
mod operation;
mod overload;
mod paths;
mod patience;
mod pictures;
mod prices;
mod private;
mod protocols;
mod providers;
mod redaction;
mod refusals;
mod relay;
mod reload;
mod requests;
mod rotation;
mod signs;
mod smuggling;
mod soak;
mod states;
mod store_places;
mod streams;
mod support;
mod tags;
mod tenants;
mod torn;
mod upgrade;
mod upstreams;
mod ways;
mod webhooks;
mod wire;
