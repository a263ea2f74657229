//! From the canonical form to the protocol: requests for providers and answers for clients.

mod input;
mod items;
mod output_message;
mod response;
mod thought;
mod tools;
mod wire;

#[cfg(test)]
mod answer_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod request_tests;

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
