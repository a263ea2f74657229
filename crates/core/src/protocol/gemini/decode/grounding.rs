//! The sources of an answer's text, and the searches by which the provider found them.

use crate::canon::{Citation, Event, Sink};
use crate::json::JsonStr;
use crate::protocol::pick::{elements, fields_named};

/// The text of an answer so far, in which the provider counts bytes, while clients count characters.
#[derive(Debug, Default)]
pub(super) struct SaidText {
    text: String,
    /// Whether it was too long to be kept.
    is_cut: bool,
    /// Number of searches that were reported.
    searches: usize,
}

impl SaidText {
    /// Adds a text.
    pub(super) fn add(&mut self, text: &JsonStr<'_>) {
        self.is_cut |= self.text.len() + text.raw().len() > MAX_SAID_BYTES;
        if !self.is_cut {
            self.text.push_str(&text.decode());
        }
    }

    /// Reads `groundingMetadata`.
    pub(super) fn read(&mut self, json: &str, sink: &mut Sink<'_>) {
        let [queries, chunks, supports] =
            fields_named(json, ["webSearchQueries", "groundingChunks", "groundingSupports"]);
        let sources: Vec<_> = elements(chunks.unwrap_or("[]")).map(source).collect();
        for support in elements(supports.unwrap_or("[]")) {
            let [segment, indices] = fields_named(support, ["segment", "groundingChunkIndices"]);
            let span = segment.and_then(|segment| self.span(segment));
            for index in elements(indices.unwrap_or("[]")) {
                let found = index.parse::<usize>().ok().and_then(|index| sources.get(index)?.as_ref());
                if let Some((url, title)) = found {
                    sink(Event::Cite(Citation { url: url.borrow(), title: title.borrow(), span }));
                }
            }
        }
        // Behind the sources, which belong to the text before.
        for (index, query) in elements(queries.unwrap_or("[]")).enumerate().skip(self.searches) {
            self.searches = index + 1;
            if let Some(query) = JsonStr::read(query) {
                sink(Event::Search { id: format!("search_{index}").into(), query });
            }
        }
    }

    /// Returns a segment in characters.
    fn span(&self, segment: &str) -> Option<(u64, u64)> {
        let [start, end] = fields_named(segment, ["startIndex", "endIndex"]);
        let start = start.map_or(Some(0), |start| start.parse().ok())?;
        let end: usize = end?.parse().ok()?;
        if self.is_cut {
            return None;
        }
        let characters = |at: usize| Some(self.text.get(..at)?.chars().count() as u64);
        Some((characters(start)?, characters(end)?))
    }
}

/// Returns the address and title of a page.
fn source(chunk: &str) -> Option<(JsonStr<'_>, JsonStr<'_>)> {
    let [web] = fields_named(chunk, ["web"]);
    let [uri, title] = fields_named(web?, ["uri", "title"]);
    Some((JsonStr::read(uri?)?, title.and_then(JsonStr::read).unwrap_or_default()))
}

/// Maximum number of bytes of text that are kept: 1 MiB, far more than a model writes. Sources of a longer text have
/// no spans.
const MAX_SAID_BYTES: usize = 1 << 20;
