//! From the protocol to the canonical form: clients' requests and providers' answers.

mod calls;
mod conversation;
mod details;
mod parts;
mod think;
mod tools;
mod wish;

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;

#[cfg(test)]
mod answer_tests;
#[cfg(test)]
mod request_tests;
