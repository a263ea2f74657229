//! The members that streams and whole answers have in common: parts, their signatures, the end, the sources.

use crate::canon::{Args, Carrier, Citation, Context, DataUrl, Finish, Seal, Usage};
use crate::json::write::{Array, Object, members};
use crate::json::{JsonStr, Raw, compact};
use crate::protocol::gemini::{signature, usage};
use crate::protocol::input;
use crate::protocol::pick::{elements, fields_named};

/// State of reasoning that waits for the part that carries it.
///
/// Clients keep the signature of a part, but no parts of thoughts. So the next part carries what was sealed before it.
#[derive(Debug, Default)]
pub(super) struct PendingState(Vec<Raw<'static>>);

impl PendingState {
    /// Adds the state of reasoning with this text.
    pub(super) fn add(&mut self, seals: &[Seal<'_>], text: &JsonStr<'_>) {
        self.0.extend(seals.iter().map(|seal| seal.block(text)));
    }

    /// Returns the signature for the next part, if anything waits.
    pub(super) fn take(&mut self, context: &Context) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let carrier = Carrier { blocks: std::mem::take(&mut self.0) };
        Some(signature::of_carrier(&context.seal(&carrier)))
    }
}

/// Writes a part of text.
pub(super) fn text(text: &JsonStr<'_>, is_thought: bool, signature: Option<&str>, o: &mut Object<'_>) {
    o.json_str("text", text);
    if is_thought {
        o.bool("thought", true);
    }
    sign(signature, o);
}

/// Writes the signature of a part, if it has one.
fn sign(signature: Option<&str>, o: &mut Object<'_>) {
    if let Some(signature) = signature {
        o.text("thoughtSignature", signature);
    }
}

/// A tool call of an answer.
#[derive(Debug)]
pub(super) struct CallPart<'c> {
    pub(super) id: &'c str,
    pub(super) name: &'c str,
    pub(super) custom: bool,
    pub(super) args: JsonStr<'c>,
}

impl CallPart<'_> {
    /// Writes the part. Clients of this protocol know no namespaces, so one that a provider adds is left out.
    pub(super) fn write(&self, signature: Option<&str>, o: &mut Object<'_>) {
        o.object("functionCall", |o| {
            o.text("id", self.id).text("name", self.name);
            let mut args = Vec::with_capacity(self.args.raw().len());
            input::write(&Args::Str(self.args.borrow()), self.custom, &mut args);
            // A line break in them would end the line of the event.
            o.value("args", |out| compact(std::str::from_utf8(&args).unwrap_or("{}"), out));
        });
        sign(signature, o);
    }
}

/// Writes an image that the model has made, which comes as a data URL.
pub(super) fn image(url: &JsonStr<'_>, o: &mut Object<'_>) {
    let url = url.decode();
    match DataUrl::read(&url) {
        Some(data) => o.object("inlineData", |o| {
            o.text("mimeType", &data.mime).text("data", &data.data);
        }),
        None => o.text("text", ""),
    };
}

/// Returns the finish reason in the protocol's words, and the explanation of a refusal.
pub(super) fn finish<'f>(
    finish: Option<&'f Finish<'static>>,
    refused: Option<&'f JsonStr<'f>>,
) -> (&'static str, Option<&'f JsonStr<'f>>) {
    match finish {
        // An answer that its provider has paused is not complete, and this client cannot have it continued.
        Some(Finish::Length | Finish::ContextWindow | Finish::Pause) => ("MAX_TOKENS", None),
        Some(Finish::Refusal(words)) => ("SAFETY", words.as_ref().or(refused)),
        _ if refused.is_some() => ("SAFETY", refused),
        _ => ("STOP", None),
    }
}

/// Writes the members behind the candidates.
pub(super) fn tail(id: &str, counts: &Usage, context: &Context, o: &mut Object<'_>) {
    o.object("usageMetadata", |o| match counts.output {
        0 => {
            o.number("promptTokenCount", counts.prompt()).number("totalTokenCount", counts.prompt());
        }
        _ => usage::write(counts, o),
    });
    o.json_str("modelVersion", &context.model).text("responseId", id);
}

/// The sources of an answer.
#[derive(Debug, Default)]
pub(super) struct Sources {
    queries: Vec<String>,
    /// Addresses and titles, as insides of literals; each address once.
    pages: Vec<(String, String)>,
    /// Spans of the text in bytes, and the page that supports each.
    supports: Vec<(u64, u64, usize)>,
    /// The text so far.
    said: String,
}

impl Sources {
    /// Takes a search, whose query is the inside of a literal.
    pub(super) fn search(&mut self, query: &str) {
        self.queries.push(query.to_owned());
    }

    /// Takes a piece of the text, of which the protocol counts bytes.
    pub(super) fn say(&mut self, text: &JsonStr<'_>) {
        if self.said.len() <= MAX_SAID_BYTES {
            self.said.push_str(&text.decode());
        }
    }

    /// Takes a source. `base` is the position in bytes at which the text of its segment begins.
    pub(super) fn cite(&mut self, cite: &Citation<'_>, base: usize) {
        let known = self.pages.iter().position(|(url, _)| url == cite.url.raw());
        if known.is_none() && self.pages.len() >= MAX_PAGES {
            return;
        }
        let page = known.unwrap_or(self.pages.len());
        if known.is_none() {
            self.pages.push((cite.url.raw().to_owned(), cite.title.raw().to_owned()));
        }
        let segment = self.said.get(base..).unwrap_or_default();
        let byte = |character: u64| {
            let at = usize::try_from(character).ok()?;
            let place = segment.char_indices().map(|(at, _)| at).chain([segment.len()]).nth(at)?;
            Some((base + place) as u64)
        };
        let span = cite.span.and_then(|(start, end)| byte(start).zip(byte(end)));
        self.supports.extend(span.map(|(start, end)| (start, end, page)));
    }

    /// Returns the number of bytes of text so far.
    pub(super) fn length(&self) -> usize {
        self.said.len()
    }

    /// Writes `groundingMetadata`, if there are any sources.
    pub(super) fn write(&self, o: &mut Object<'_>) {
        if self.queries.is_empty() && self.pages.is_empty() {
            return;
        }
        o.object("groundingMetadata", |o| {
            if !self.queries.is_empty() {
                o.array("webSearchQueries", |list| {
                    self.queries.iter().for_each(|query| {
                        list.json_str(&JsonStr::part(query));
                    });
                });
            }
            if !self.pages.is_empty() {
                o.array("groundingChunks", |list| self.pages.iter().for_each(|page| web(page, list)));
            }
            if !self.supports.is_empty() {
                o.array("groundingSupports", |list| {
                    self.supports.iter().for_each(|support| self.support(*support, list));
                });
            }
        });
    }

    fn support(&self, (start, end, page): (u64, u64, usize), list: &mut Array<'_>) {
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        let text = self.said.get(at(start)..at(end)).unwrap_or_default();
        list.object(|o| {
            o.object("segment", |o| {
                o.number("startIndex", start).number("endIndex", end).text("text", text);
            });
            o.array("groundingChunkIndices", |list| {
                list.json(&page.to_string());
            });
        });
    }
}

fn web((url, title): &(String, String), list: &mut Array<'_>) {
    list.object(|o| {
        o.object("web", |o| {
            o.json_str("uri", &JsonStr::part(url)).json_str("title", &JsonStr::part(title));
        });
    });
}

/// The token probabilities of an answer, which come as arrays in OpenAI's form.
#[derive(Debug, Default)]
pub(super) struct TokenProbabilities {
    lists: Vec<Raw<'static>>,
    size: usize,
}

impl TokenProbabilities {
    /// Takes the probabilities of a piece of text. Beyond [`MAX_PROBABILITY_BYTES`] they are left out.
    pub(super) fn take(&mut self, list: &Raw<'_>) {
        self.size += list.get().len();
        if self.size <= MAX_PROBABILITY_BYTES {
            self.lists.push(list.clone().into_owned());
        }
    }

    /// Writes `logprobsResult`, if there are any.
    pub(super) fn write(&self, o: &mut Object<'_>) {
        if self.lists.is_empty() {
            return;
        }
        let tokens = || self.lists.iter().flat_map(|list| elements(list.get()));
        o.object("logprobsResult", |o| {
            o.array("chosenCandidates", |list| tokens().for_each(|token| probability(token, list)));
            o.array("topCandidates", |list| {
                for token in tokens() {
                    let [others] = fields_named(token, ["top_logprobs"]);
                    list.object(|o| {
                        o.array("candidates", |list| {
                            elements(others.unwrap_or("[]")).for_each(|other| probability(other, list));
                        });
                    });
                }
            });
        });
    }
}

fn probability(token: &str, list: &mut Array<'_>) {
    let [text, value] = fields_named(token, ["token", "logprob"]);
    let text = text.and_then(JsonStr::read).unwrap_or_default();
    list.object(|o| {
        o.json_str("token", &text).json("logProbability", value.unwrap_or("0"));
    });
}

/// Writes the members of a candidate: one content of these parts and, at the end of the answer, the rest.
pub(super) fn candidate(
    parts: impl FnOnce(&mut Array<'_>),
    end: impl FnOnce(&mut Object<'_>),
    out: &mut Vec<u8>,
) {
    members(out, |o| {
        o.array("candidates", |list| {
            list.object(|o| {
                o.object("content", |o| {
                    o.text("role", "model").array("parts", parts);
                });
                end(o);
                o.number("index", 0);
            });
        });
    });
}

/// Maximum number of bytes of text that are kept for spans: 1 MiB, far more than a model writes.
const MAX_SAID_BYTES: usize = 1 << 20;

/// Maximum number of bytes of token probabilities: 4 MiB, those of some ten thousand tokens.
const MAX_PROBABILITY_BYTES: usize = 4 << 20;

/// Maximum number of pages of one answer: far more than any provider names.
const MAX_PAGES: usize = 1000;
