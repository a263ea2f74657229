//! Tool calls: the assignment of pieces to calls, whatever a server uses for an index and an id.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::canon::{Args, Event, Seal, Sink};
use crate::json::{JsonStr, Raw, compact, write};
use crate::protocol::pick::{for_each_member, short_text};

/// The calls so far.
#[derive(Debug, Default)]
pub(super) struct ToolCalls {
    slots: Vec<CallSlot>,
    /// The slot that a server's index means at present.
    alias: HashMap<u64, usize>,
    /// The last slot with an id.
    by_id: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct CallSlot {
    id: String,
    name: String,
    custom: bool,
    opened: bool,
    /// Whether it has any arguments.
    spoke: bool,
    /// Whether its arguments end with a closing brace.
    is_closed: bool,
    /// Arguments that came before the name: the inside of a literal.
    held: String,
    extra: Option<Raw<'static>>,
}

/// A piece of a call.
#[derive(Default)]
struct CallPiece<'a> {
    index: Option<u64>,
    id: Cow<'a, str>,
    name: Cow<'a, str>,
    custom: bool,
    args: Option<Args<'a>>,
    extra: Option<Raw<'a>>,
}

impl ToolCalls {
    /// Takes an element of `tool_calls`: a piece of a call or, in a message that is `whole`, a complete call.
    pub(super) fn take(&mut self, json: &str, whole: bool, sink: &mut Sink<'_>) {
        let piece = CallPiece::read(json);
        let slot = if whole { self.add(None) } else { self.find(&piece) };
        self.add_piece(slot, piece, sink);
    }

    /// Takes a `function_call`, of which there is only one. Some servers write an empty one if there is no call.
    pub(super) fn legacy(&mut self, json: &str, sink: &mut Sink<'_>) {
        let mut piece = CallPiece { index: Some(0), ..CallPiece::default() };
        for_each_member(json, |key, value| piece.inner(key, value));
        if piece.name.is_empty() && piece.args.is_none() {
            return;
        }
        let slot = self.find(&piece);
        self.add_piece(slot, piece, sink);
    }

    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Whether there is one of which the name never came.
    pub(super) fn is_nameless(&self) -> bool {
        self.slots.iter().any(|slot| !slot.opened)
    }

    /// Returns the slot that a piece belongs to.
    fn find(&mut self, piece: &CallPiece<'_>) -> usize {
        let same_id = |slot: &CallSlot| !piece.id.is_empty() && slot.id == piece.id;
        let begins = |at: &usize, is_new: bool| {
            self.slots.get(*at).is_some_and(|slot| same_id(slot) && slot.is_followed_by(piece, is_new))
        };
        let known = piece.index.and_then(|index| self.alias.get(&index).copied());
        let known = known.and_then(|at| self.slots.get(at).map(|slot| (at, slot)));
        let of_this_id = |is_new| self.by_id.get(&*piece.id).copied().filter(|at| !begins(at, is_new));
        match (piece.index, known) {
            (Some(index), Some((at, slot))) => {
                // Some servers use one index for all calls; others make up an id for each piece.
                let other = !piece.id.is_empty() && !slot.id.is_empty() && !same_id(slot);
                let other = other && !piece.name.is_empty() || begins(&at, false);
                if other { self.add(Some(index)) } else { at }
            }
            (Some(index), None) => match of_this_id(true) {
                Some(at) => {
                    self.alias.insert(index, at);
                    at
                }
                None => self.add(Some(index)),
            },
            (None, _) if !piece.id.is_empty() => of_this_id(false).unwrap_or_else(|| self.add(None)),
            (None, _) => match self.slots.last() {
                Some(last) if piece.name.is_empty() || last.name.is_empty() || !last.spoke => {
                    self.slots.len() - 1
                }
                _ => self.add(None),
            },
        }
    }

    fn add(&mut self, index: Option<u64>) -> usize {
        let at = self.slots.len();
        self.slots.push(CallSlot::default());
        if let Some(index) = index {
            self.alias.insert(index, at);
        }
        at
    }

    fn add_piece(&mut self, at: usize, piece: CallPiece<'_>, sink: &mut Sink<'_>) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let key = u32::try_from(at).unwrap_or(u32::MAX);
        if slot.id.is_empty() && !piece.id.is_empty() {
            slot.id = piece.id.into_owned();
            let last = self.by_id.entry(slot.id.clone()).or_insert(at);
            *last = at.max(*last);
        }
        if slot.name.is_empty() {
            slot.name = piece.name.into_owned();
            slot.custom = piece.custom;
        }
        if let Some(extra) = piece.extra {
            slot.extra = Some(extra.into_owned());
        }
        slot.open(key, sink);
        let Some(args) = piece.args else { return };
        slot.spoke = true;
        slot.is_closed = raw(&args).ends_with('}');
        if slot.opened {
            sink(Event::Args { key, part: args });
        } else {
            slot.hold(&args);
        }
    }
}

impl CallSlot {
    /// Whether a piece with the same id begins another call: some servers give one id to several calls. `is_new` is whether
    /// its index is new. Without an index, another name is what shows it.
    fn is_followed_by(&self, piece: &CallPiece<'_>, is_new: bool) -> bool {
        if piece.name.is_empty() || !self.opened {
            return false;
        }
        match &piece.args {
            // No JSON has an object directly behind another one.
            Some(args) if self.is_closed && !self.custom && raw(args).starts_with('{') => true,
            None if is_new => true,
            _ => (is_new || piece.index.is_none()) && !piece.name.starts_with(&self.name),
        }
    }

    /// Opens the call once its name is known.
    fn open(&mut self, key: u32, sink: &mut Sink<'_>) {
        if self.name.is_empty() {
            return;
        }
        if let Some(extra) = self.extra.take() {
            sink(Event::Seal(Seal::Call { key, id: JsonStr::of(&self.id), extra }));
        }
        if self.opened {
            return;
        }
        self.opened = true;
        let (id, name) = (Cow::Borrowed(self.id.as_str()), Cow::Borrowed(self.name.as_str()));
        sink(Event::Open { key, id, namespace: None, name, custom: self.custom });
        if !self.held.is_empty() {
            sink(Event::Args { key, part: Args::Str(JsonStr::part(&self.held)) });
            self.held.clear();
        }
    }

    fn hold(&mut self, args: &Args<'_>) {
        match args {
            Args::Str(text) => self.held.push_str(text.raw()),
            Args::Raw(json) => {
                let mut inner = Vec::new();
                write::escape(json.get(), &mut inner);
                self.held.push_str(&String::from_utf8_lossy(&inner));
            }
        }
    }
}

impl<'a> CallPiece<'a> {
    fn read(json: &'a str) -> Self {
        let mut piece = Self::default();
        for_each_member(json, |key, value| match key {
            b"index" => piece.index = value.parse().ok(),
            b"id" => piece.id = short_text(value),
            b"type" => piece.custom |= value == "\"custom\"",
            b"function" => piece.body(value, false),
            b"custom" => piece.body(value, true),
            b"extra_content" => piece.extra = Raw::read(value),
            _ => {}
        });
        piece
    }

    /// Takes the name and arguments of a call. Some servers write an empty body of the other kind beside it.
    fn body(&mut self, json: &'a str, custom: bool) {
        let mut body = Self::default();
        for_each_member(json, |key, value| body.inner(key, value));
        if !body.name.is_empty() || body.args.is_some() {
            (self.name, self.args) = (body.name, body.args);
            self.custom |= custom;
        }
    }

    fn inner(&mut self, key: &[u8], value: &'a str) {
        match key {
            b"name" => self.name = short_text(value),
            b"arguments" | b"input" => self.args = args(value),
            _ => {}
        }
    }
}

/// Returns arguments as they were written.
fn raw<'a>(args: &'a Args<'_>) -> &'a str {
    match args {
        Args::Str(text) => text.raw(),
        Args::Raw(json) => json.get(),
    }
}

/// Returns arguments, which are a text; some servers send the object itself.
fn args(value: &str) -> Option<Args<'_>> {
    if let Some(text) = JsonStr::read(value) {
        return Some(text).filter(|text| !text.is_empty()).map(Args::Str);
    }
    if !value.starts_with(['{', '[']) {
        return None;
    }
    let mut json = Vec::new();
    compact(value, &mut json);
    String::from_utf8(json).ok().and_then(Raw::read_owned).map(Args::Raw)
}
