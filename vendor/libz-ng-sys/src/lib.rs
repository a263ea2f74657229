//! The zlib functions that `flate2` calls, taken from stock zlib, which a C compiler alone can build.
//!
//! Pingora asks `flate2` for zlib-ng, whose crate needs cmake. By `[patch.crates-io]` this crate
//! takes its place; both crates are made from one source file, so their items are the same. Only
//! Pingora's gzip support, which the gateway uses as a safety net at most, is compiled against it.

pub use libz_sys::*;
