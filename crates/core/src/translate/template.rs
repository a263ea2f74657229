//! Events that repeat an earlier one but for their texts.
//!
//! Nearly all events of a stream are pieces of its answer, and differ in the piece alone. Whoever has read one of them
//! knows what stands in the others: they are compared with it, which costs a small part of reading them. An event counts as
//! the same only if every byte outside of its texts is the same, so a template decides nothing that reading would not.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr2};

use crate::json::{self, Edit, Malformed, Walk};
use crate::sse::Data;

/// The last event that was learnt, and what was found in it.
#[derive(Debug)]
pub(super) struct Template {
    event: Vec<u8>,
    /// The places of the event that others may fill differently, in their order. None: there is no event.
    gaps: Vec<Gap>,
    /// The edits of the event, all of them outside of its gaps.
    edits: Vec<Edit>,
    /// Bytes of the event that are none of its data.
    around: usize,
    /// Events that may still be learnt if none repeats them.
    credit: u8,
}

/// A place in an event at which others have other bytes.
#[derive(Debug)]
struct Gap {
    span: Range<usize>,
    filling: Filling,
}

/// The bytes that may fill a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filling {
    /// The inside of a string.
    Text,
    /// An integer from zero.
    Number,
}

impl Default for Template {
    fn default() -> Self {
        Self { event: Vec::new(), gaps: Vec::new(), edits: Vec::new(), around: 0, credit: MAX_CREDIT }
    }
}

impl Template {
    /// Returns the length of the event's data if it repeats the one that was learnt, and adds the edits of it. It stands at
    /// `start`.
    pub(super) fn repeat(&mut self, event: &[u8], start: usize, edits: &mut Vec<Edit>) -> Option<usize> {
        if self.gaps.is_empty() {
            return None;
        }
        let shifts = self.shifts(event)?;
        self.credit = MAX_CREDIT.min(self.credit + 1);
        for (span, new) in &self.edits {
            let before = self.gaps.iter().take_while(|gap| gap.span.end <= span.start).count();
            let shift = shifts.get(before).copied().unwrap_or_default();
            let moved = |at: usize| (start + at).wrapping_add_signed(shift);
            edits.push((moved(span.start)..moved(span.end), new.clone()));
        }
        event.len().checked_sub(self.around)
    }

    /// Learns an event that is a piece of an answer and nothing else. It stands at `start` where its edits are.
    pub(super) fn learn(&mut self, event: &[u8], data: &Data<'_>, start: usize, edits: &[Edit]) {
        if self.credit == 0 || event.len() > MAX_EVENT || matches!(data.bytes, Cow::Owned(_)) {
            return;
        }
        self.credit -= 1;
        self.event.clear();
        self.event.extend_from_slice(event);
        self.around = event.len() - data.bytes.len();
        self.edits.clear();
        let moved = |(span, new): &Edit| (span.start - start..span.end - start, new.clone());
        self.edits.extend(edits.iter().map(moved));
        self.gaps.clear();
        let found = find(&mut Walk::new(&data.bytes), data.start, None, 0, &mut self.gaps);
        if found.is_err() || !self.is_exact() {
            self.gaps.clear();
        }
    }

    /// Whether nothing of what is looked for in an event can stand in a gap, or outside of them in another spelling.
    fn is_exact(&self) -> bool {
        let apart = |(span, _): &Edit| {
            self.gaps.iter().all(|gap| span.end < gap.span.start || span.start > gap.span.end)
        };
        // A string that stands before a colon would be a key.
        let ends_value = |gap: &Gap| {
            let behind = gap.span.end + usize::from(gap.filling == Filling::Text);
            matches!(self.event.get(behind), Some(b',' | b'}'))
        };
        let ends = self.gaps.iter().map(|gap| gap.span.start).chain([self.event.len()]);
        let mut fixed = std::iter::once(0).chain(self.gaps.iter().map(|gap| gap.span.end)).zip(ends);
        (1..=MAX_GAPS).contains(&self.gaps.len())
            && self.edits.iter().all(apart)
            && self.gaps.iter().all(ends_value)
            && fixed
                .all(|(start, end)| memchr(b'\\', self.event.get(start..end).unwrap_or_default()).is_none())
    }

    /// The distances by which an event's bytes are moved before its first gap and behind each, if they are the same outside
    /// of the gaps.
    fn shifts(&self, event: &[u8]) -> Option<[isize; MAX_GAPS + 1]> {
        let mut shifts = [0; MAX_GAPS + 1];
        let (mut at, mut known) = (0, 0);
        for (gap, shift) in self.gaps.iter().zip(shifts.iter_mut().skip(1)) {
            let fixed = self.event.get(known..gap.span.start)?;
            let filled = event.get(at..)?.strip_prefix(fixed)?;
            at += fixed.len() + gap.filling.end(filled)?;
            known = gap.span.end;
            *shift = at.checked_signed_diff(known)?;
        }
        (self.event.get(known..) == event.get(at..)).then_some(shifts)
    }
}

impl Filling {
    /// The end of what fills a gap that begins where `bytes` do.
    fn end(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Text => {
                let end = json::literal_end(bytes)?;
                // A line that ends within a string belongs to data of several lines.
                memchr2(b'\n', b'\r', bytes.get(..end)?).is_none().then_some(end)
            }
            Self::Number => {
                let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
                (digits > 0).then_some(digits)
            }
        }
    }

    /// The filling of the member `key`, if it is one of those that differ and say nothing of what an answer is.
    fn of(key: &[u8]) -> Option<Self> {
        match key {
            b"content" | b"text" | b"delta" | b"arguments" | b"partial_json" | b"thinking" | b"reasoning"
            | b"reasoning_content" | b"obfuscation" => Some(Self::Text),
            b"created" | b"sequence_number" => Some(Self::Number),
            _ => None,
        }
    }
}

/// Adds the gaps of the value at which a walk is, in data that stands at `start`. An empty string is none: whether a model
/// reasons is seen by what it says.
fn find(
    walk: &mut Walk<'_>,
    start: usize,
    filling: Option<Filling>,
    depth: u32,
    gaps: &mut Vec<Gap>,
) -> Result<(), Malformed> {
    let mut first = true;
    match (walk.peek(), filling) {
        (Some(b'{'), _) if depth < MAX_DEPTH => {
            walk.enter();
            while let Some(key) = walk.key(&mut first)? {
                find(walk, start, Filling::of(key), depth + 1, gaps)?;
            }
        }
        (Some(b'['), _) if depth < MAX_DEPTH => {
            walk.enter();
            while walk.item(&mut first)? {
                find(walk, start, None, depth + 1, gaps)?;
            }
        }
        (Some(b'"'), Some(Filling::Text)) => {
            let from = start + walk.at() + 1;
            let inside = from..from + walk.skip()?.len() - 2;
            if !inside.is_empty() {
                gaps.push(Gap { span: inside, filling: Filling::Text });
            }
        }
        (Some(b'0'..=b'9'), Some(Filling::Number)) => {
            let from = start + walk.at();
            let digits = walk.skip()?;
            if digits.iter().all(u8::is_ascii_digit) {
                gaps.push(Gap { span: from..from + digits.len(), filling: Filling::Number });
            }
        }
        _ => drop(walk.skip()?),
    }
    Ok(())
}

/// Bytes of an event that is learnt: a stream keeps them until its end.
const MAX_EVENT: usize = 1 << 10;

/// Gaps of an event that is learnt: one or two texts, and two numbers.
const MAX_GAPS: usize = 4;

/// Containers that are looked into: the texts of all protocols stand less deep.
const MAX_DEPTH: u32 = 6;

/// Events that are learnt one after the other though none repeats them: learning costs as much as reading.
const MAX_CREDIT: u8 = 8;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::canon::Profile;
    use crate::protocol::{Protocol, REGISTRY};
    use crate::translate::relay::{End, Reply, Stream};

    impl Template {
        /// A template that learns nothing.
        pub(in crate::translate) fn none() -> Self {
            Self { credit: 0, ..Self::default() }
        }
    }

    fn stream(protocol: &'static dyn Protocol, repairs: bool) -> Stream {
        let profile = Profile { repair_finish: repairs, ..Profile::default() };
        let reply = Reply::new(protocol, "v/model").with_habits(&profile);
        Stream::new(reply, &profile, true, 1 << 20)
    }

    /// All that a stream shows: what came of each chunk, and what is known at the end.
    fn shown(mut stream: Stream, chunks: &[String]) -> (Vec<Bytes>, (Bytes, End), String) {
        let out = chunks.iter().map_while(|chunk| stream.push(Bytes::from(chunk.clone())).ok()).collect();
        let end = stream.end();
        let facts = (stream.delivered(), stream.usage(), stream.reasons(), stream.is_counted());
        let known = format!("{facts:?} {:?} {:?}", stream.served().map(str::to_owned), stream.metadata());
        (out, end, known)
    }

    /// Whether an event is known by another one.
    fn is_repeated(first: &str, second: &str) -> bool {
        let mut template = Template::default();
        let data = crate::sse::SseEvent::parse(first.as_bytes()).data.unwrap();
        template.learn(first.as_bytes(), &data, 0, &[]);
        template.repeat(second.as_bytes(), 0, &mut Vec::new()).is_some()
    }

    #[test]
    fn pieces_of_an_answer_repeat_each_other() {
        for (first, second) in [
            (
                r#"{"id":"c","created":1,"choices":[{"delta":{"content":"a"},"finish_reason":null}],"obfuscation":"x"}"#,
                r#"{"id":"c","created":22,"choices":[{"delta":{"content":"\"b\\"},"finish_reason":null}],"obfuscation":""}"#,
            ),
            (
                r#"{"type":"response.output_text.delta","sequence_number":9,"delta":"a"}"#,
                r#"{"type":"response.output_text.delta","sequence_number":10,"delta":"{}\n"}"#,
            ),
            (
                r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#,
                r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"é"}}"#,
            ),
        ] {
            assert!(is_repeated(&format!("data: {first}\n\n"), &format!("data: {second}\n\n")), "{second}");
        }
    }

    #[test]
    fn pieces_that_are_edited_are_not_read_either() {
        let mut stream = stream(REGISTRY[0], false);
        let mut work = Vec::new();
        for (created, word) in [(9, "a"), (10, "longer"), (1_000, "")] {
            let event = |model: &str| {
                format!(
                    "data: {{\"created\":{created},\"model\":\"{model}\",\"choices\":[{{\"delta\":{{\"content\":\"{word}\"}}}}],\
                     \"x\":null}}\n\n"
                )
            };
            let (out, bytes) = json::work::of(|| stream.push(Bytes::from(event("real"))).unwrap());
            assert_eq!(out, event("v/model"));
            work.push(bytes);
        }
        // What is left is to copy it for the edit.
        assert!(work.iter().skip(1).all(|&bytes| bytes + 100 < work[0]), "{work:?}");
    }

    #[test]
    fn what_differs_elsewhere_is_read() {
        for (first, second) in [
            (r#"{"delta":"a","finish_reason":null}"#, r#"{"delta":"a","finish_reason":"stop"}"#),
            (r#"{"delta":"a","index":1}"#, r#"{"delta":"a","index":2}"#),
            (r#"{"delta":"a","created":1}"#, r#"{"delta":"a","created":1.5}"#),
            (r#"{"delta":"a"}"#, r#"{"delta":"a","error":{}}"#),
            (r#"{"delta":"a"}"#, r#"{"delta":"a"#),
            (r#"{"delta":"a"}"#, "{\"delta\":\"a\ndata: b\"}"),
            (r#"{"delta":"a"}"#, r#"{"delta":"a"} "#),
            // No text, or one that might be more than that.
            (r#"{"object":"a"}"#, r#"{"object":"error"}"#),
            (r#"{"delta":"","x":1}"#, r#"{"delta":"a","x":1}"#),
            (r#"{"delta":"a":"stop"}"#, r#"{"delta":"finish_reason":"stop"}"#),
            (r#"{"delta":"a","\u0061":1}"#, r#"{"delta":"b","\u0061":1}"#),
        ] {
            assert!(!is_repeated(&format!("data: {first}\n\n"), &format!("data: {second}\n\n")), "{second}");
        }
    }

    #[test]
    fn streams_of_many_kinds_of_events_do_not_learn_for_ever() {
        let mut template = Template::default();
        for n in 0..100 {
            let event = format!("data: {{\"index\":{n},\"delta\":\"a\"}}\n\n");
            assert_eq!(template.repeat(event.as_bytes(), 0, &mut Vec::new()), None);
            let data = crate::sse::SseEvent::parse(event.as_bytes()).data.unwrap();
            template.learn(event.as_bytes(), &data, 0, &[]);
        }
        let last = format!("data: {{\"index\":{},\"delta\":\"a\"}}\n\n", MAX_CREDIT - 1);
        assert!(template.event == last.as_bytes() && template.credit == 0);
    }

    /// An event of a stream, with a text of the model in it.
    fn event(protocol: usize) -> impl Strategy<Value = String> {
        let forms: &[&str] = match protocol {
            0 => &[
                r#"data: {"id":"c","created":7,"model":"real","choices":[{"index":0,"delta":{"content":@},"finish_reason":null}],"usage":null}"#,
                r#"data: {"choices":[{"index":0,"delta":{"content":@},"finish_reason":null}],"model":"real"}"#,
                r#"data: {"choices":[{"index":0,"delta":{"reasoning_content":@}}],"obfuscation":@}"#,
                r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"arguments":@}}]}}],"model":"v/model"}"#,
                r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}"#,
                r#"data: {"choices":[{"index":0,"delta":{"content":@},"finish\u005freason":"stop"}]}"#,
                r#"data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
                r#"data: {"error":{"message":@}}"#,
                "data: [DONE]",
                ": note",
            ],
            1 => &[
                r#"data: {"type":"response.created","response":{"id":"r","model":"real"}}"#,
                r#"data: {"type":"response.output_text.delta","sequence_number":17,"delta":@,"obfuscation":@}"#,
                r#"data: {"type":"response.reasoning_text.delta","sequence_number":8,"delta":@}"#,
                r#"data: {"type":"response.output_text.done","text":@}"#,
                r#"data: {"type":"response.completed","response":{"model":"real","usage":{"input_tokens":1}}}"#,
            ],
            _ => &[
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"real\"}}",
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"text\":@}}",
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"thinking\":@}}",
                "event: x\ndata: {\"type\":\"content_block_delta\",\ndata: \"delta\":{\"text\":@}}",
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":2}}",
                "event: message_stop\ndata: {\"type\":\"message_stop\"}",
            ],
        };
        let texts = vec![
            r#""""#,
            r#"" word""#,
            r#""\"model\":\"x\"""#,
            r#""finish_reason""#,
            r#""reasoning""#,
            r#""\\""#,
            r#""\n\n""#,
            "\"a\ndata: b\"",
            "null",
            r#""a"#,
            r#""a":"stop""#,
            "\"a text that is longer than a vector of bytes, é\"",
        ];
        let (forms, texts) = (prop::sample::select(forms.to_vec()), prop::sample::select(texts));
        (forms, texts).prop_map(|(form, text)| format!("{}\n\n", form.replace('@', text)))
    }

    proptest! {
        /// Asserts that a piece that is only compared shows the same as one that is read.
        #[test]
        fn a_template_changes_nothing(
            (protocol, events) in (0..REGISTRY.len()).prop_flat_map(|protocol| {
                (Just(protocol), prop::collection::vec(prop::collection::vec(event(protocol), 1..4), 0..20))
            }),
            repairs in any::<bool>(),
        ) {
            let chunks: Vec<String> = events.iter().map(|events| events.concat()).collect();
            let with = shown(stream(REGISTRY[protocol], repairs), &chunks);
            let without = shown(stream(REGISTRY[protocol], repairs).without_template(), &chunks);
            prop_assert_eq!(with, without);
        }

        /// Asserts the same of pieces of which some bytes were changed, wherever they stand.
        #[test]
        fn a_template_takes_no_other_event_for_a_piece(
            (protocol, piece) in (0..REGISTRY.len()).prop_flat_map(|protocol| (Just(protocol), event(protocol))),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..3, mark()), 1..12),
        ) {
            let mut chunks = vec![piece.clone(), piece.clone()];
            for (at, removed, mark) in changes {
                let at = piece.floor_char_boundary(at.index(piece.len()));
                let end = piece.ceil_char_boundary((at + removed).min(piece.len()));
                let mut changed = piece.clone();
                changed.replace_range(at..end, mark);
                chunks.push(changed);
                chunks.push(piece.clone());
            }
            let with = shown(stream(REGISTRY[protocol], true), &chunks);
            let without = shown(stream(REGISTRY[protocol], true).without_template(), &chunks);
            prop_assert_eq!(with, without);
        }
    }

    /// A text that may be put into an event.
    fn mark() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "",
            "\"",
            "\\",
            "\\\"",
            "\n",
            "\r",
            "\n\n",
            "\ndata: ",
            "\u{0}",
            "\u{1}",
            "}",
            "{",
            "]",
            ",",
            ":",
            "0",
            "9",
            "-",
            "null",
            ",\"error\":{}",
            ",\"error\":null",
            ",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":9}",
            ",\"finish_reason\":\"stop\"",
            ",\"model\":\"other\"",
            "\\u0022",
        ])
    }
}
