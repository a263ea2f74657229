//! The answer to a request for a compaction: the items that the conversation goes on with.

use crate::canon::Usage;
use crate::json::write;
use crate::protocol::responses::usage;

/// The items of a compacted conversation.
#[derive(Clone, Copy, Debug)]
pub(super) struct CompactedItems<'c> {
    /// The id, without `resp_`.
    pub(super) id: &'c str,
    pub(super) created: u64,
    /// The user's messages, separated by commas.
    pub(super) kept: &'c [u8],
    /// The item with the summary.
    pub(super) summary: &'c [u8],
}

/// Returns the body of the answer.
pub(super) fn compacted(items: &CompactedItems<'_>, counts: Option<&Usage>) -> Vec<u8> {
    let mut out = Vec::with_capacity(items.kept.len() + items.summary.len() + ROOM);
    write::object(&mut out, |o| {
        o.string("id", |text| {
            text.plain("resp_");
            text.plain(items.id);
        });
        o.text("object", "response.compaction").number("created_at", items.created);
        o.value("output", |out| {
            out.push(b'[');
            out.extend_from_slice(items.kept);
            if !items.kept.is_empty() && !items.summary.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(items.summary);
            out.push(b']');
        });
        match counts {
            Some(counts) => o.object("usage", |o| usage::write(counts, o)),
            None => o.null("usage"),
        };
    });
    out
}

/// Bytes for the other members.
const ROOM: usize = 512;
