//! From the protocol to the canonical form: clients' requests and providers' answers.

mod answer;
mod cache;
mod choice;
mod items;
#[cfg(test)]
mod notes;
mod parts;
#[cfg(test)]
mod reply_tests;
mod speech;
mod thought;
mod tools;

pub(super) mod request;
pub(super) mod stream;
