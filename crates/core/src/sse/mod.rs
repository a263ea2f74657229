//! Server-sent events as bytes, for relays: the ends of events, and the position of their data.
//!
//! The rules are those of the HTML standard, section 9.2: lines end with LF, CRLF or CR, a blank line ends an
//! event, and one byte order mark may lead the stream.

mod event;
mod frame;

pub use event::{Data, SseEvent};
pub use frame::{EventBlock, Framer, TooLarge};
