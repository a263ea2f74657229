//! The content of an answer's items, piece by piece, whichever of a stream's many forms carries it.
//!
//! Items are identified by their `output_index` and not by their ids, which some servers change from event to
//! event. Content that came in deltas is not emitted again by the events that repeat it as a whole.

use std::collections::BTreeMap;

use crate::canon::{Anomaly, Args, Citation, Event, Seal, Sink};
use crate::json::{self, JsonStr, Lenient as _, Raw, compact};

use super::message::is_hosted;
use crate::protocol::pick::{fields_named, indexed_elements};

/// The items of one answer so far.
#[derive(Debug, Default)]
pub(super) struct OutputItems {
    items: Vec<OutputItem>,
    places: ItemIndex,
    /// The item whose text, refusal or reasoning is open.
    speaking: Option<usize>,
    /// Whether a message has said something.
    spoke: bool,
    calls: u32,
}

/// An index into [`OutputItems::items`], because a provider may make very many.
#[derive(Debug, Default)]
struct ItemIndex {
    /// The last item at an index.
    last: BTreeMap<u64, usize>,
    /// The first item of a kind at an index.
    first: BTreeMap<(u64, OutputKind), usize>,
    /// All items of a kind, in order.
    of_kind: BTreeMap<OutputKind, Vec<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OutputKind {
    Message,
    Reasoning,
    Call,
    /// An item that only matters to its provider.
    Other,
}

#[derive(Debug)]
struct OutputItem {
    kind: OutputKind,
    done: bool,
    /// The call's key, once it is open.
    key: Option<u32>,
    /// The arguments or the text that were passed on.
    sent: SentText,
    /// The last part of the text that was passed on.
    last: SentText,
    /// The part that spoke last, and whether it belongs to a summary.
    part: Option<(u64, bool)>,
    /// Parts that spoke, as bits; `cited` are parts whose citations were taken.
    spoken: u64,
    cited: u64,
}

/// A text of which only the length and a hash are kept.
#[derive(Debug)]
struct SentText {
    length: usize,
    hash: u64,
}

/// A position in [`OutputItems::items`].
#[derive(Clone, Copy, Debug)]
pub(super) struct ItemSlot(usize);

impl OutputKind {
    /// Returns the kind of an item with this JSON.
    pub(super) fn of(item: &str) -> Self {
        let mut members = json::members(item.as_bytes()).lenient();
        let kind = members.find(|member| member.key == b"type");
        match kind.and_then(|kind| item.get(kind.span)) {
            Some("\"message\"") => Self::Message,
            Some("\"reasoning\"") => Self::Reasoning,
            Some("\"function_call\"" | "\"custom_tool_call\"") => Self::Call,
            _ => Self::Other,
        }
    }
}

impl OutputItems {
    /// Whether the answer calls a tool.
    pub(super) fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// Adds a new item, unless it is announced a second time.
    pub(super) fn announce(&mut self, index: Option<u64>, kind: OutputKind) -> ItemSlot {
        match self.find(index, kind).filter(|slot| !self.is_done(*slot)) {
            Some(known) if self.items.get(known.0).is_some_and(|item| item.kind == kind) => known,
            _ => self.push(index, kind),
        }
    }

    /// Returns the item that an event completes: a new one, unless it is known.
    pub(super) fn completing(&mut self, index: Option<u64>, kind: OutputKind) -> ItemSlot {
        let known = self.find(index, kind).filter(|slot| index.is_some() || !self.is_done(*slot));
        match known.filter(|slot| self.items.get(slot.0).is_some_and(|item| item.kind == kind)) {
            Some(known) => known,
            None => self.push(index, kind),
        }
    }

    /// Returns the item that an event is about, announced or not. `None` if nobody is interested in it.
    pub(super) fn slot(&mut self, index: Option<u64>, kind: OutputKind) -> Option<ItemSlot> {
        let slot = self.find(index, kind).unwrap_or_else(|| self.push(index, kind));
        self.items.get(slot.0).is_some_and(|item| item.kind == kind).then_some(slot)
    }

    /// Returns the item at `index` of a complete output, in which it is the `nth` of its kind: by its index, or
    /// else by its rank. `None` if it was never announced.
    pub(super) fn known(&self, index: u64, kind: OutputKind, nth: usize) -> Option<ItemSlot> {
        let ranked = || self.places.of_kind.get(&kind)?.get(nth);
        self.places.first.get(&(index, kind)).or_else(ranked).copied().map(ItemSlot)
    }

    /// Whether the item was completed.
    fn is_done(&self, slot: ItemSlot) -> bool {
        self.items.get(slot.0).is_some_and(|item| item.done)
    }

    fn find(&self, index: Option<u64>, kind: OutputKind) -> Option<ItemSlot> {
        let found = match index {
            Some(index) => self.places.last.get(&index),
            None => self.places.of_kind.get(&kind)?.last(),
        };
        found.copied().map(ItemSlot)
    }

    fn push(&mut self, index: Option<u64>, kind: OutputKind) -> ItemSlot {
        let place = self.items.len();
        let index = index.unwrap_or(u64::MAX);
        let (key, part) = (None, None);
        let (sent, last) = (SentText::default(), SentText::default());
        self.items.push(OutputItem { kind, done: false, key, sent, last, part, spoken: 0, cited: 0 });
        self.places.last.insert(index, place);
        self.places.first.entry((index, kind)).or_insert(place);
        self.places.of_kind.entry(kind).or_default().push(place);
        ItemSlot(place)
    }

    /// Makes this the current item: the one that was current before is complete.
    fn enter(&mut self, slot: ItemSlot, sink: &mut Sink<'_>) {
        if self.speaking.replace(slot.0).is_some_and(|before| before != slot.0) {
            sink(Event::Close(None));
        }
    }

    fn leave(&mut self, slot: ItemSlot, sink: &mut Sink<'_>) {
        if self.speaking == Some(slot.0) {
            self.speaking = None;
            sink(Event::Close(None));
        }
    }

    /// Takes a piece of a message's text or refusal.
    pub(super) fn say(&mut self, slot: ItemSlot, part: u64, event: Event<'_>, sink: &mut Sink<'_>) {
        self.enter(slot, sink);
        let (was_heard, first) = (self.spoke, self.items.get(slot.0).is_none_or(|item| item.part.is_none()));
        let Some(item) = self.items.get_mut(slot.0) else { return };
        if first && was_heard {
            sink(Event::Break);
        } else if !first && item.part != Some((part, false)) {
            sink(Event::Close(None));
        }
        item.speak(part, false);
        if let Event::Text(text) | Event::Refusal(text) = &event {
            item.sent.add(text.raw());
            item.last.add(text.raw());
        }
        self.spoke = true;
        sink(event);
    }

    /// Takes a piece of reasoning. If an item sends both a summary and its full text, the first kind counts.
    pub(super) fn think(
        &mut self,
        slot: ItemSlot,
        part: u64,
        summary: bool,
        text: JsonStr<'_>,
        sink: &mut Sink<'_>,
    ) {
        let other = |item: &OutputItem| item.part.is_some_and(|(_, kind)| kind != summary);
        if text.is_empty() || self.items.get(slot.0).is_none_or(other) {
            return;
        }
        self.enter(slot, sink);
        let Some(item) = self.items.get_mut(slot.0) else { return };
        if item.part.is_some_and(|(last, _)| last != part) {
            sink(Event::Thought(JsonStr::PARAGRAPH));
        }
        item.speak(part, summary);
        item.last.add(text.raw());
        sink(Event::Thought(text));
    }

    /// Whether this part of the item spoke already: by its index, or, since some servers number the parts of one item
    /// in different ways, by its text.
    pub(super) fn has_spoken(&self, slot: ItemSlot, part: u64, text: Option<&str>) -> bool {
        let Some(item) = self.items.get(slot.0) else { return false };
        let said = || text.and_then(JsonStr::read).is_some_and(|text| item.last.is(text.raw()));
        item.spoken & bit(part) != 0 || said()
    }

    /// Takes an annotation, the source of a part's text.
    pub(super) fn cite(&mut self, slot: ItemSlot, part: u64, annotation: &str, sink: &mut Sink<'_>) {
        if let Some(item) = self.items.get_mut(slot.0).filter(|item| item.spoken & bit(part) != 0) {
            item.cited |= bit(part);
            sink(citation(annotation).map_or(Event::Anomaly(Anomaly::Citation), Event::Cite));
        }
    }

    /// Opens a call, if its name is known.
    pub(super) fn open(&mut self, slot: ItemSlot, json: &str, sink: &mut Sink<'_>) {
        let [kind, call_id, name, namespace] = fields_named(json, ["type", "call_id", "name", "namespace"]);
        let Some(item) = self.items.get_mut(slot.0).filter(|item| item.key.is_none()) else { return };
        let Some(name) = name.and_then(JsonStr::read).filter(|name| !name.is_empty()) else { return };
        item.key = Some(self.calls);
        sink(Event::Open {
            key: self.calls,
            id: call_id.and_then(JsonStr::read).unwrap_or_default().into_text(),
            namespace: namespace.and_then(JsonStr::read).map(JsonStr::into_text),
            name: name.into_text(),
            custom: kind == Some("\"custom_tool_call\""),
        });
        self.calls += 1;
    }

    /// Takes a piece of a call's arguments. For a call that is not open yet, they come again when it is complete.
    pub(super) fn argue(&mut self, slot: ItemSlot, text: JsonStr<'_>, sink: &mut Sink<'_>) {
        let Some(item) = self.items.get_mut(slot.0) else { return };
        let Some(key) = item.key.filter(|_| !text.is_empty()) else { return };
        item.sent.add(text.raw());
        sink(Event::Args { key, part: Args::Str(text) });
    }

    /// Takes the complete arguments, and emits the rest that was not emitted yet.
    pub(super) fn argued(&mut self, slot: ItemSlot, json: &str, sink: &mut Sink<'_>) {
        let Some(item) = self.items.get_mut(slot.0) else { return };
        let Some(key) = item.key else { return };
        match JsonStr::read(json) {
            Some(text) => match item.sent.rest(&text) {
                Some(rest) if rest.is_empty() => {}
                Some(rest) => {
                    item.sent.add(rest.raw());
                    sink(Event::Args { key, part: Args::Str(rest) });
                }
                None => sink(Event::Anomaly(Anomaly::Arguments)),
            },
            // Some servers send the object itself.
            None if item.sent.length == 0 && json.starts_with(['{', '[']) => {
                let mut out = Vec::with_capacity(json.len());
                compact(json, &mut out);
                if let Some(raw) = String::from_utf8(out).ok().and_then(Raw::read_owned) {
                    item.sent.length = raw.get().len();
                    sink(Event::Args { key, part: Args::Raw(raw) });
                }
            }
            None => {}
        }
    }

    /// Completes an item, and emits the content that was not emitted yet.
    pub(super) fn complete(&mut self, slot: ItemSlot, json: &str, sink: &mut Sink<'_>) {
        let Some(item) = self.items.get_mut(slot.0).filter(|item| !item.done) else { return };
        item.done = true;
        match item.kind {
            OutputKind::Message => self.complete_message(slot, json, sink),
            OutputKind::Reasoning => self.complete_reasoning(slot, json, sink),
            OutputKind::Call => {
                self.open(slot, json, sink);
                let [arguments, input] = fields_named(json, ["arguments", "input"]);
                if let Some(arguments) = arguments.or(input) {
                    self.argued(slot, arguments, sink);
                }
                if let Some(key) = self.items.get(slot.0).and_then(|item| item.key) {
                    sink(Event::Close(Some(key)));
                }
            }
            OutputKind::Other => {
                let [kind, result, format] = fields_named(json, ["type", "result", "output_format"]);
                if kind == Some("\"image_generation_call\"") {
                    return image(result, format, sink);
                }
                if !kind.is_some_and(|kind| is_hosted(kind.trim_matches('"'))) {
                    sink(Event::Anomaly(Anomaly::Content));
                }
            }
        }
    }

    fn complete_message(&mut self, slot: ItemSlot, json: &str, sink: &mut Sink<'_>) {
        let [content] = fields_named(json, ["content"]);
        let repeated = self.items.get(slot.0).map_or(0, |item| item.sent.parts_of(content));
        if let Some(item) = self.items.get_mut(slot.0) {
            item.repeat(repeated);
        }
        for (index, part) in indexed_elements(content) {
            self.complete_part(slot, index, part, sink);
        }
        self.leave(slot, sink);
    }

    /// Completes a part of a message.
    pub(super) fn complete_part(&mut self, slot: ItemSlot, index: u64, part: &str, sink: &mut Sink<'_>) {
        let [text, refusal, logprobs, annotations] =
            fields_named(part, ["text", "refusal", "logprobs", "annotations"]);
        let spoken = self.has_spoken(slot, index, text.or(refusal));
        let whole = |text: Option<_>| text.and_then(JsonStr::read).filter(|text| !spoken && !text.is_empty());
        if let Some(text) = whole(text) {
            self.say(slot, index, Event::Text(text), sink);
            probabilities(logprobs, sink);
        } else if let Some(refusal) = whole(refusal) {
            self.say(slot, index, Event::Refusal(refusal), sink);
        }
        if self.items.get(slot.0).is_some_and(|item| item.cited & bit(index) == 0) {
            for (_, annotation) in indexed_elements(annotations) {
                self.cite(slot, index, annotation, sink);
            }
        }
    }

    fn complete_reasoning(&mut self, slot: ItemSlot, json: &str, sink: &mut Sink<'_>) {
        let [id, summary, content, encrypted] =
            fields_named(json, ["id", "summary", "content", "encrypted_content"]);
        if self.items.get(slot.0).is_some_and(|item| item.part.is_none()) {
            for (list, is_summary) in [(summary, true), (content, false)] {
                for (index, part) in indexed_elements(list) {
                    let [text] = fields_named(part, ["text"]);
                    let text = text.and_then(JsonStr::read).unwrap_or_default();
                    self.think(slot, index, is_summary, text, sink);
                }
            }
        }
        let sealed = encrypted.and_then(JsonStr::read).filter(|content| !content.is_empty());
        let Some(content) = sealed else { return self.leave(slot, sink) };
        self.enter(slot, sink);
        self.speaking = None;
        let (id, summary) = (id.and_then(JsonStr::read), summary.and_then(Raw::read));
        sink(Event::Seal(Seal::Encrypted { id, content, summary }));
    }
}

impl OutputItem {
    /// Notes that this part speaks.
    fn speak(&mut self, part: u64, summary: bool) {
        if self.part.replace((part, summary)) != Some((part, summary)) {
            self.last = SentText::default();
        }
        self.spoken |= bit(part);
    }

    /// Notes that so many first parts repeat the text that was passed on. If that had other indices, its citations are
    /// those of these parts.
    fn repeat(&mut self, parts: u64) {
        let repeated = (0..parts).fold(0, |bits, part| bits | bit(part));
        if repeated & !self.spoken != 0 && self.cited != 0 {
            self.cited |= repeated;
        }
        self.spoken |= repeated;
    }
}

impl Default for SentText {
    fn default() -> Self {
        Self { length: 0, hash: FNV_OFFSET }
    }
}

impl SentText {
    /// Whether this very text was sent, and not an empty one.
    fn is(&self, text: &str) -> bool {
        self.length > 0 && self.length == text.len() && self.hash == fnv(FNV_OFFSET, text)
    }

    /// Returns the number of first parts of a content that are the sent text, all together.
    fn parts_of(&self, content: Option<&str>) -> u64 {
        let mut whole = Self::default();
        for (index, part) in indexed_elements(content) {
            if whole.length >= self.length {
                break;
            }
            let [text, refusal] = fields_named(part, ["text", "refusal"]);
            let text = text.or(refusal).and_then(JsonStr::read).unwrap_or_default();
            whole.add(text.raw());
            if whole.length == self.length && whole.hash == self.hash {
                return index + 1;
            }
        }
        0
    }

    fn add(&mut self, text: &str) {
        self.length += text.len();
        self.hash = fnv(self.hash, text);
    }

    /// Returns the rest of a complete text that was not sent; `None` if the text does not begin with the sent
    /// part.
    fn rest<'t>(&self, whole: &'t JsonStr<'_>) -> Option<JsonStr<'t>> {
        let sent = whole.raw().get(..self.length)?;
        let rest = whole.slice(self.length..whole.raw().len())?;
        (fnv(FNV_OFFSET, sent) == self.hash).then_some(rest)
    }
}

/// Emits the token probabilities of the text before, unless there are none.
pub(super) fn probabilities(logprobs: Option<&str>, sink: &mut Sink<'_>) {
    let some = logprobs.filter(|list| indexed_elements(Some(*list)).next().is_some());
    if let Some(logprobs) = some.and_then(Raw::read) {
        sink(Event::Logprobs(logprobs));
    }
}

/// Emits an image that the provider's own tool has made, if it is there.
fn image(result: Option<&str>, format: Option<&str>, sink: &mut Sink<'_>) {
    let Some(data) = result.and_then(JsonStr::read).filter(|data| !data.is_empty()) else { return };
    let format = format.and_then(JsonStr::read).unwrap_or(JsonStr::plain("png"));
    let [head, middle] = [JsonStr::plain("data:image/"), JsonStr::plain(";base64,")];
    sink(Event::Image(JsonStr::concat(&[&head, &format, &middle, &data])));
}

fn citation(json: &str) -> Option<Citation<'_>> {
    let [kind, url, title, start, end] =
        fields_named(json, ["type", "url", "title", "start_index", "end_index"]);
    if kind != Some("\"url_citation\"") {
        return None;
    }
    let number = |text: Option<&str>| text?.parse().ok();
    Some(Citation {
        url: url.and_then(JsonStr::read)?,
        title: title.and_then(JsonStr::read).unwrap_or_default(),
        span: number(start).zip(number(end)),
    })
}

/// Returns the bit of a part; parts beyond the last bit share it.
fn bit(part: u64) -> u64 {
    1 << part.min(u64::from(u64::BITS) - 1)
}

/// Continues an FNV-1a hash (Fowler, Noll and Vo), which can be computed in pieces.
fn fnv(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

/// The FNV offset basis; see <http://www.isthe.com/chongo/tech/comp/fnv/>, also for the prime.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

const FNV_PRIME: u64 = 0x0100_0000_01b3;
