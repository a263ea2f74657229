//! The translation core of CrossModel: requests, answers and streams of LLM APIs, relayed and translated between OpenAI
//! Chat Completions, OpenAI Responses and Anthropic Messages, without I/O.
//!
//! Bytes go in, bytes come out. There is no socket, no timer, no thread and no async function here, so that the same
//! code serves a proxy, a test double or a program that calls a provider itself.
//!
//! ```text
//!  client's request  -> protocol::Head -> translate::relay::Edits    -> the same bytes with a few edits
//!                                      -> translate::bridge::render  -> a request in the provider's protocol
//!
//!  provider's answer -> translate::relay::Stream, Whole              -> the same bytes with a few edits
//!                    -> translate::bridge::Bridge                    -> an answer in the client's protocol
//! ```
//!
//! # Modules
//!
//! [`protocol`] has a folder for each protocol: its decoder, its encoder and what a relay has to know of it. One protocol
//! never knows of another: all meet in [`canon`], the canonical form of requests, events and failures to carry
//! something. [`translate`] drives both roads. [`json`] and [`sse`] read, edit and frame bytes; [`failure`] is the one
//! error type. Imports only go down in the order `failure`, `json`, `sse`, `canon`, `protocol`, `translate`.
//!
//! # Features
//!
//! * `schema`: JSON schemas (by `schemars`) of the types that stand in configuration files.

pub mod canon;
pub mod failure;
pub mod json;
pub mod protocol;
pub mod sse;
pub mod translate;

pub use failure::Failure;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
