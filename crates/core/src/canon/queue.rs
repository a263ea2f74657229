//! Ordering of segments one after the other, even if a provider sends parts of several at once.
//!
//! Messages and Responses clients want each block complete before the next one begins. Segments are queued in the
//! order of their first appearance. Only the first is live and passed on at once; the others wait until those
//! before them are closed.

use std::collections::{BTreeMap, VecDeque};

use crate::json::{JsonStr, Raw, write};

use super::event::SegmentKind;
use super::{Args, Citation, Event, Seal};

/// A queue that orders the events of an answer so that segments never overlap.
#[derive(Debug, Default)]
pub struct Queue {
    segments: VecDeque<Waiting>,
    /// The number of segments that are over.
    gone: usize,
    /// The position of each call by its key, counted over all segments, those that are over included. It is a map
    /// because a provider may have very many calls open at once.
    calls: BTreeMap<u32, usize>,
    /// The position of the last segment that is not a call.
    other: Option<usize>,
    /// White space after a call: dropped if another call follows, else the beginning of the next text.
    blank: String,
    paragraph: bool,
    /// The number of bytes that wait.
    waiting: usize,
}

/// One step in the life of the segment that is live.
#[derive(Debug)]
#[non_exhaustive]
pub enum SegmentStep<'s> {
    /// The segment begins.
    Open {
        /// The kind of the segment.
        kind: &'s SegmentKind,
        /// Whether it is text of another message than the text before.
        paragraph: bool,
    },
    /// More of the text or, for a call, the arguments.
    Delta(JsonStr<'s>),
    /// The source of the text.
    Cite(&'s Citation<'static>),
    /// Token probabilities of the text.
    Logprobs(&'s Raw<'static>),
    /// The segment ends.
    Close {
        /// State of the reasoning that only the provider can read.
        seals: &'s [Seal<'static>],
        /// Whether it is whole. Otherwise the answer was cut by a limit.
        complete: bool,
    },
    /// Reasoning without any visible text: begin and end in one step.
    Opaque(&'s [Seal<'static>]),
}

/// The segments that leave the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Those that are due.
    Due,
    /// All of them, because the answer ends.
    All {
        /// Whether the last one is whole. Otherwise the answer was cut by a limit.
        complete: bool,
    },
}

/// The error for more than 16 MiB of waiting segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Overflow {
    /// The detail of the failure that this is for the provider.
    pub const DETAIL: &str = "the provider's pieces are too far apart";
}

#[derive(Debug)]
struct Waiting {
    kind: SegmentKind,
    key: Option<u32>,
    paragraph: bool,
    /// Text that has not been passed on yet.
    text: String,
    cites: Vec<Citation<'static>>,
    logprobs: Vec<Raw<'static>>,
    seals: Vec<Seal<'static>>,
    arguments: Arguments,
    opened: bool,
    spoke: bool,
    closed: bool,
}

impl Queue {
    /// Takes one event and reports the steps that follow from it. Events that concern no segment do nothing.
    ///
    /// # Errors
    /// Returns [`Overflow`] if more than 16 MiB would have to wait.
    pub fn take(&mut self, event: Event<'_>, out: &mut dyn FnMut(SegmentStep<'_>)) -> Result<(), Overflow> {
        match event {
            Event::Text(text) => self.text(&text, out),
            Event::Refusal(text) => self.append(SegmentKind::Refusal, &text, out),
            Event::Thought(text) => self.append(SegmentKind::Reasoning, &text, out),
            Event::Seal(seal) => self.seal(seal),
            Event::Cite(cite) => self.last(&SegmentKind::Text).cites.push(cite.into_owned()),
            Event::Logprobs(raw) => self.last(&SegmentKind::Text).logprobs.push(raw.into_owned()),
            Event::Search { id, query } => {
                let search = self.push(SegmentKind::Search(id.into_owned()), None);
                search.text.push_str(query.raw());
                search.closed = true;
                self.waiting += query.raw().len();
            }
            Event::Image(url) => {
                let image = self.push(SegmentKind::Image, None);
                image.text.push_str(url.raw());
                image.closed = true;
                self.waiting += url.raw().len();
            }
            Event::Open { key, id, namespace, name, custom } => {
                self.blank.clear();
                let (id, namespace) = (id.into_owned(), namespace.map(std::borrow::Cow::into_owned));
                let kind = SegmentKind::Call { id, namespace, name: name.into_owned(), custom };
                self.push(kind, Some(key));
            }
            Event::Args { key, part } => self.arguments(key, &part),
            Event::Close(key) => self.close(key),
            Event::Break => self.paragraph = true,
            _ => return Ok(()),
        }
        self.settle(Drain::Due, out);
        if self.waiting > MAX_WAITING_BYTES { Err(Overflow) } else { Ok(()) }
    }

    /// Closes all segments, in order. With `cut`, the last one is incomplete unless it was closed before.
    pub fn finish(&mut self, cut: bool, out: &mut dyn FnMut(SegmentStep<'_>)) {
        self.blank.clear();
        self.settle(Drain::All { complete: !cut }, out);
    }

    fn text(&mut self, text: &JsonStr<'_>, out: &mut dyn FnMut(SegmentStep<'_>)) {
        let after_call =
            self.segments.back().is_some_and(|last| matches!(last.kind, SegmentKind::Call { .. }));
        if after_call && text.is_blank() {
            self.blank.push_str(text.raw());
        } else if self.blank.is_empty() {
            self.append(SegmentKind::Text, text, out);
        } else {
            let blank = std::mem::take(&mut self.blank);
            let last = self.last(&SegmentKind::Text);
            last.text.push_str(&blank);
            last.text.push_str(text.raw());
            self.waiting += blank.len() + text.raw().len();
        }
    }

    /// Appends to the last segment if it is of this kind and open, else to a new one.
    fn append(&mut self, kind: SegmentKind, text: &JsonStr<'_>, out: &mut dyn FnMut(SegmentStep<'_>)) {
        if text.is_empty() {
            return;
        }
        // The usual case: one live segment, nothing waits.
        if let [only] = self.segments.make_contiguous()
            && only.kind == kind
            && only.opened
            && !only.closed
        {
            return out(SegmentStep::Delta(text.borrow()));
        }
        self.last(&kind).text.push_str(text.raw());
        self.waiting += text.raw().len();
    }

    fn seal(&mut self, seal: Seal<'_>) {
        let last = self.last(&SegmentKind::Reasoning);
        last.seals.push(seal.into_owned());
        last.closed = true;
    }

    fn arguments(&mut self, key: u32, part: &Args<'_>) {
        let Some(call) = self.find(Some(key)) else { return };
        let before = call.text.len();
        match part {
            Args::Str(text) => call.text.push_str(text.raw()),
            Args::Raw(json) => {
                let mut inner = Vec::with_capacity(json.get().len());
                write::escape(json.get(), &mut inner);
                call.text.push_str(&String::from_utf8(inner).unwrap_or_default());
            }
        }
        let added = call.text.get(before..).unwrap_or_default();
        call.arguments.read(added);
        let added = added.len();
        self.waiting += added;
    }

    fn close(&mut self, key: Option<u32>) {
        if let Some(segment) = self.find(key) {
            segment.closed = true;
        }
    }

    /// Returns the call with this key or, without a key, the last segment that is not a call; `None` if it is
    /// over.
    fn find(&mut self, key: Option<u32>) -> Option<&mut Waiting> {
        let place = key.map_or(self.other, |key| self.calls.get(&key).copied())?;
        self.segments.get_mut(place.checked_sub(self.gone)?)
    }

    fn last(&mut self, kind: &SegmentKind) -> &mut Waiting {
        let fits = self.segments.back().is_some_and(|last| last.kind == *kind && !last.closed);
        if !fits {
            self.push(kind.clone(), None);
        }
        // There is one: it fitted, or was pushed.
        let index = self.segments.len() - 1;
        &mut self.segments[index]
    }

    fn push(&mut self, kind: SegmentKind, key: Option<u32>) -> &mut Waiting {
        let paragraph = kind == SegmentKind::Text && std::mem::take(&mut self.paragraph);
        self.segments.push_back(Waiting::new(kind, key, paragraph));
        let index = self.segments.len() - 1;
        let place = self.gone + index;
        match key {
            Some(key) => drop(self.calls.insert(key, place)),
            None => self.other = Some(place),
        }
        &mut self.segments[index]
    }

    /// Passes on the content of the live segment, closes it if that is due, and goes on with the next one.
    fn settle(&mut self, drain: Drain, out: &mut dyn FnMut(SegmentStep<'_>)) {
        let (all, complete) = match drain {
            Drain::Due => (false, true),
            Drain::All { complete } => (true, complete),
        };
        loop {
            let behind = self.segments.len() > 1;
            let Some(head) = self.segments.front_mut() else { return };
            let closes = all || head.is_due(behind);
            self.waiting -= head.speak(closes, out).min(self.waiting);
            if !closes {
                return;
            }
            head.end(complete || behind || head.closed, out);
            if let Some(key) = self.segments.pop_front().and_then(|head| head.key) {
                self.calls.remove(&key);
            }
            self.gone += 1;
        }
    }
}

impl Waiting {
    fn new(kind: SegmentKind, key: Option<u32>, paragraph: bool) -> Self {
        Self {
            kind,
            key,
            paragraph,
            text: String::new(),
            cites: Vec::new(),
            logprobs: Vec::new(),
            seals: Vec::new(),
            arguments: Arguments::default(),
            opened: false,
            spoke: false,
            closed: false,
        }
    }

    /// Whether it must close now.
    fn is_due(&self, behind: bool) -> bool {
        match self.kind {
            SegmentKind::Call { custom, .. } => self.closed || behind && !custom && self.arguments.complete(),
            _ => self.closed || behind,
        }
    }

    /// Passes on the waiting content; returns the number of bytes that no longer wait.
    fn speak(&mut self, closes: bool, out: &mut dyn FnMut(SegmentStep<'_>)) -> usize {
        let is_call = matches!(self.kind, SegmentKind::Call { .. });
        if !self.opened && (is_call || !self.text.is_empty() || matches!(self.kind, SegmentKind::Search(_))) {
            self.opened = true;
            out(SegmentStep::Open { kind: &self.kind, paragraph: self.paragraph });
        }
        let waited = self.text.len();
        if is_call && !self.spoke {
            self.drop_placeholder();
            let blank = self.text.trim();
            if blank.is_empty() || blank == EMPTY && !closes {
                return waited - self.text.len();
            }
        }
        if !self.text.is_empty() {
            self.spoke = true;
            out(SegmentStep::Delta(JsonStr::part(&self.text)));
            self.text.clear();
        }
        // Sources may be named before the text that they support.
        if self.opened {
            self.cites.drain(..).for_each(|cite| out(SegmentStep::Cite(&cite)));
            self.logprobs.drain(..).for_each(|raw| out(SegmentStep::Logprobs(&raw)));
        }
        waited
    }

    /// Drops a leading `{}`, which some servers send before the real arguments.
    fn drop_placeholder(&mut self) {
        if let Some(rest) = self.text.trim_start().strip_prefix(EMPTY)
            && !rest.trim().is_empty()
        {
            self.text = rest.to_owned();
        }
    }

    fn end(&self, complete: bool, out: &mut dyn FnMut(SegmentStep<'_>)) {
        if self.opened {
            out(SegmentStep::Close { seals: &self.seals, complete });
        } else if !self.seals.is_empty() {
            out(SegmentStep::Opaque(&self.seals));
        }
    }
}

/// An incremental check whether arguments are one complete JSON object.
#[derive(Debug, Default)]
struct Arguments {
    depth: u32,
    in_string: bool,
    after_backslash: bool,
    started: bool,
    complete: bool,
    odd: bool,
}

impl Arguments {
    fn complete(&self) -> bool {
        self.complete && !self.odd
    }

    /// Reads a part of the inside of a string literal: the JSON in it is escaped once.
    fn read(&mut self, inner: &str) {
        let mut bytes = inner.bytes();
        while let Some(byte) = bytes.next() {
            let meant = match byte {
                b'\\' => match bytes.next() {
                    Some(b'u') => {
                        let digits: String = bytes.by_ref().take(4).map(char::from).collect();
                        u8::from_str_radix(&digits, 16).unwrap_or(b'u')
                    }
                    Some(b'n' | b't' | b'r') => b' ',
                    Some(other) => other,
                    None => return,
                },
                other => other,
            };
            self.step(meant);
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if std::mem::take(&mut self.after_backslash) => {}
                b'\\' => self.after_backslash = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            // A placeholder was followed by more.
            b'{' if self.complete => (self.complete, self.depth) = (false, 1),
            _ if self.complete => self.odd = true,
            b'{' | b'[' => {
                self.odd |= !self.started && byte == b'[';
                self.depth += 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.complete = self.depth == 0;
            }
            b'"' => self.in_string = true,
            _ => {}
        }
        self.started |= !byte.is_ascii_whitespace();
        self.odd |= self.started && self.depth == 0 && !self.complete;
    }
}

const EMPTY: &str = "{}";

/// Maximum number of bytes that wait, over all segments: 16 MiB. It bounds the memory that one answer can take.
const MAX_WAITING_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn open<'a>(key: u32, name: &'static str) -> Event<'a> {
        Event::Open { key, id: format!("c{key}").into(), namespace: None, name: name.into(), custom: false }
    }

    fn args<'a>(key: u32, json: &str) -> Event<'a> {
        Event::Args { key, part: Args::Str(JsonStr::of(json)) }
    }

    fn text<'a>(text: &'static str) -> Event<'a> {
        Event::Text(JsonStr::of(text))
    }

    fn run(events: Vec<Event<'_>>) -> Vec<String> {
        let (mut queue, mut out) = (Queue::default(), Vec::new());
        let mut note = |step: SegmentStep<'_>| {
            out.push(match step {
                SegmentStep::Open { kind: SegmentKind::Call { name, .. }, .. } => format!("open {name}"),
                SegmentStep::Open { kind, paragraph } => {
                    format!("open {kind:?}{}", if paragraph { " new" } else { "" })
                }
                SegmentStep::Delta(text) => format!("+{}", text.decode()),
                SegmentStep::Close { seals, complete } => format!("close {} {complete}", seals.len()),
                SegmentStep::Opaque(seals) => format!("opaque {}", seals.len()),
                SegmentStep::Cite(_) | SegmentStep::Logprobs(_) => "note".to_owned(),
            });
        };
        let cut = events.iter().any(|e| matches!(e, Event::Finish(super::super::Finish::Length)));
        for event in events {
            queue.take(event, &mut note).unwrap();
        }
        queue.finish(cut, &mut note);
        out
    }

    #[test]
    fn interleaved_calls_become_sequential() {
        let steps = run(vec![
            open(0, "a"),
            args(0, "{\"x\":"),
            open(1, "b"),
            args(1, "{\"y\":\"}\\\"\""),
            args(0, "1}"),
            args(1, "}"),
        ]);
        let expected = [
            "open a",
            "+{\"x\":",
            "+1}",
            "close 0 true",
            "open b",
            "+{\"y\":\"}\\\"\"",
            "+}",
            "close 0 true",
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn blank_text_between_calls_is_dropped_and_before_text_kept() {
        let calls = run(vec![open(0, "a"), args(0, "{}"), text("\n"), open(1, "b")]);
        assert_eq!(calls, ["open a", "+{}", "close 0 true", "open b", "close 0 true"]);
        let words = run(vec![open(0, "a"), args(0, "{\"x\":1}"), text("\n"), text("Done.")]);
        assert_eq!(words, ["open a", "+{\"x\":1}", "close 0 true", "open Text", "+\nDone.", "close 0 true"]);
    }

    #[test]
    fn a_placeholder_is_replaced_by_what_follows() {
        assert_eq!(
            run(vec![open(0, "a"), args(0, "{}"), args(0, "{\"a\":1}")]),
            ["open a", "+{\"a\":1}", "close 0 true"]
        );
        assert_eq!(run(vec![open(0, "a"), args(0, "")]), ["open a", "close 0 true"]);
    }

    #[test]
    fn reasoning_ends_with_its_seal() {
        let seal = || Event::Seal(Seal::Signature(JsonStr::plain("S")));
        let steps = run(vec![Event::Thought(JsonStr::plain("a")), seal(), seal(), text("x"), text("y")]);
        let expected =
            ["open Reasoning", "+a", "close 1 true", "opaque 1", "open Text", "+x", "+y", "close 0 true"];
        assert_eq!(steps, expected);
    }

    #[test]
    fn closed_text_is_not_continued_and_a_limit_cuts_the_last() {
        let steps = run(vec![
            text("a"),
            Event::Close(None),
            Event::Break,
            text("b"),
            Event::Finish(super::super::Finish::Length),
        ]);
        assert_eq!(steps, ["open Text", "+a", "close 0 true", "open Text new", "+b", "close 0 false"]);
    }

    #[test]
    fn sources_wait_for_their_text_and_searches_say_what_they_sought() {
        let cite = Event::Cite(Citation { url: JsonStr::plain("u"), title: JsonStr::plain("t"), span: None });
        let steps = run(vec![text("a"), Event::Close(None), cite, text("b")]);
        assert_eq!(steps, ["open Text", "+a", "close 0 true", "open Text", "+b", "note", "close 0 true"]);
        let search = Event::Search { id: "s".into(), query: JsonStr::plain("q") };
        assert_eq!(run(vec![search]), ["open Search(\"s\")", "+q", "close 0 true"]);
    }

    #[test]
    fn too_much_does_not_wait() {
        let mut queue = Queue::default();
        queue.take(open(0, "a"), &mut |_| {}).unwrap();
        queue.take(open(1, "b"), &mut |_| {}).unwrap();
        let part = || Event::Args { key: 1, part: Args::Str(JsonStr::of(&"x".repeat(9 << 20))) };
        assert!(queue.take(part(), &mut |_| {}).is_ok());
        assert_eq!(queue.take(part(), &mut |_| {}), Err(Overflow));
    }
}
