//! From the canonical form to the protocol: requests for providers and answers for clients.

mod content;
mod conversation;
mod effort;
mod history;
mod ids;
mod said;
mod tools;

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;

#[cfg(test)]
mod tests;
