//! Marks for the prompt cache, of which the protocol allows four.

use crate::canon::{Cache, Part};
use crate::json::write::Object;

/// A counter of marks in the order of the prompt: tools, instructions, messages. The last ones are kept.
#[derive(Debug)]
pub(super) struct CacheMarks {
    /// Number of first marks that are left out.
    skip: usize,
}

impl CacheMarks {
    pub(super) fn new(wanted: usize, at_the_end: bool) -> Self {
        Self { skip: wanted.saturating_sub(MAX_MARK_COUNT - usize::from(at_the_end)) }
    }

    /// Writes the next mark, if there is one here and it is kept.
    pub(super) fn write(&mut self, cache: Option<Cache>, o: &mut Object<'_>) {
        let Some(cache) = cache else { return };
        if self.skip > 0 {
            self.skip -= 1;
        } else {
            write(cache, o);
        }
    }
}

/// Writes a mark.
pub(super) fn write(cache: Cache, o: &mut Object<'_>) {
    let value = match cache.long {
        true => r#"{"type":"ephemeral","ttl":"1h"}"#,
        false => r#"{"type":"ephemeral"}"#,
    };
    o.json("cache_control", value);
}

/// Returns the mark of a part. Marks inside of a result belong to the result.
pub(super) fn of(part: &Part<'_>) -> Option<Cache> {
    match part {
        Part::Text(text) => text.cache,
        Part::Image(image) => image.cache,
        Part::Document(document) => document.cache,
        Part::Result(result) => result.cache.or_else(|| result.content.iter().rev().find_map(inner)),
        _ => None,
    }
}

fn inner(part: &Part<'_>) -> Option<Cache> {
    match part {
        Part::Text(text) => text.cache,
        Part::Image(image) => image.cache,
        Part::Document(document) => document.cache,
        _ => None,
    }
}

/// Maximum number of marks in a request, as the protocol allows them.
const MAX_MARK_COUNT: usize = 4;
