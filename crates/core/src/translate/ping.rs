//! Events by which a provider only shows that it is alive.

use memchr::memmem::Finder;
use once_cell::sync::Lazy;

use crate::json::{self, Lenient as _};
use crate::sse::SseEvent;

/// Whether an event, as the framer cut it, says nothing but that the provider is alive: a comment, or an event of that
/// type.
pub(super) fn is_ping(event: &[u8]) -> bool {
    if event.len() > MAX_PING_BYTES {
        return false;
    }
    let is_comment = event.starts_with(b":");
    // Most events are told apart without being read.
    if !is_comment && !FINDERS.iter().any(|kind| kind.find(event).is_some()) {
        return false;
    }
    let parsed = SseEvent::parse(event);
    if parsed.name.is_some_and(|name| TYPES.contains(&name)) {
        return true;
    }
    parsed.data.map_or(is_comment, |data| {
        json::members(&data.bytes).lenient().any(|member| {
            member.is("type") && member.text().is_some_and(|text| TYPES.contains(&text.as_bytes()))
        })
    })
}

/// Types of such events.
const TYPES: [&[u8]; 2] = [b"ping", b"keepalive"];

static FINDERS: Lazy<[Finder<'static>; 2]> = Lazy::new(|| TYPES.map(Finder::new));

/// Maximum length of such an event, in bytes. Longer ones are not looked at.
const MAX_PING_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_are_known() {
        for event in [
            ": OPENROUTER PROCESSING\n\n",
            ":\r\n\r\n",
            "event: ping\ndata: {\"type\": \"ping\"}\n\n",
            "data: {\"type\":\"ping\"}\n\n",
            "event: ping\n\n",
            "data: {\"type\":\"keepalive\",\"sequence_number\":3}\n\n",
        ] {
            assert!(is_ping(event.as_bytes()), "{event}");
        }
        let long = format!(": {}\n\n", "x".repeat(MAX_PING_BYTES));
        for event in [
            "\n",
            "data: [DONE]\n\n",
            "data: {\"type\":\"x\"}\n\n",
            "retry: 3\n\n",
            "data: {\"ping\":1}\n: x\n\n",
            &long,
        ] {
            assert!(!is_ping(event.as_bytes()), "{event}");
        }
    }
}
