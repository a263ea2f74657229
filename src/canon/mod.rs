//! What all protocols mean alike, in the gateway's own form.

mod usage;

pub use usage::{Usage, UsagePart};
