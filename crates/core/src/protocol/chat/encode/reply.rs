//! A complete answer for a client.

use bytes::Bytes;

use crate::canon::{Answer, Context, Seal, Segment, SegmentKind};
use crate::json::write::{self, Array, Object};
use crate::json::{self, JsonStr, Lenient as _, characters};
use crate::protocol::chat::usage;

use super::answer::{self, DetailEntries};

/// Writes the answer's body.
pub(in crate::protocol::chat) fn write(answer: &Answer, context: &Context) -> Bytes {
    let mut out = Vec::new();
    write::object(&mut out, |o| {
        o.string("id", |text| {
            text.plain("chatcmpl-");
            text.plain(&context.answer_id(answer.id.as_deref()));
        });
        o.text("object", "chat.completion").number("created", answer.created.unwrap_or(context.now));
        o.json_str("model", &context.model);
        if let Some(tier) = &answer.tier {
            o.text("service_tier", answer::tier(tier));
        }
        o.array("choices", |list| {
            list.object(|o| choice(o, answer, context));
        });
        if let Some(verdict) = &answer.moderation {
            o.raw("moderation", verdict);
        }
        if let Some(counts) = &answer.usage {
            o.object("usage", |o| usage::write(o, counts));
        }
    });
    out.into()
}

fn choice(o: &mut Object<'_>, answer: &Answer, context: &Context) {
    o.number("index", 0).object("message", |o| message(o, answer, context));
    let segments = &answer.segments;
    if segments.iter().any(|segment| !segment.logprobs.is_empty()) {
        o.object("logprobs", |o| {
            o.array("content", |list| segments.iter().for_each(|segment| logprobs(list, segment)))
                .null("refusal");
        });
    } else {
        o.null("logprobs");
    }
    o.text("finish_reason", answer::finish_reason(answer.finish.as_ref(), answer.calls()));
}

fn logprobs(list: &mut Array<'_>, segment: &Segment) {
    for part in &segment.logprobs {
        for (_, span) in json::elements(part.get().as_bytes()).lenient() {
            list.json(part.get().get(span).unwrap_or("null"));
        }
    }
}

fn message(o: &mut Object<'_>, answer: &Answer, context: &Context) {
    let texts = || texts(answer);
    let has_text = texts().next().is_some();
    o.text("role", "assistant");
    let words = answer::refusal(answer.finish.as_ref(), has_text);
    let refused = answer.segments.iter().any(|segment| segment.kind == SegmentKind::Refusal);
    if has_text {
        o.string("content", |content| {
            for text in texts() {
                if text.apart {
                    content.json_str(&JsonStr::PARAGRAPH);
                }
                content.json_str(&text.segment.json_str());
            }
        });
    } else if answer.calls() || refused || words.is_some() {
        o.null("content");
    } else {
        o.text("content", "");
    }
    if refused {
        o.string("refusal", |text| {
            for segment in answer.segments.iter().filter(|segment| segment.kind == SegmentKind::Refusal) {
                text.json_str(&segment.json_str());
            }
        });
    } else {
        match words {
            Some(words) => o.json_str("refusal", &words),
            None => o.null("refusal"),
        };
    }
    if context.show_reasoning != Some(false) {
        reasoning(o, answer);
    }
    annotations(o, answer);
    images(o, answer);
    calls(o, answer);
}

fn images(o: &mut Object<'_>, answer: &Answer) {
    let images = || answer.segments.iter().filter(|segment| segment.kind == SegmentKind::Image);
    if images().next().is_some() {
        o.array("images", |list| images().for_each(|image| answer::image(list, &image.json_str())));
    }
}

/// A segment of text, and whether a blank line separates it from the text before.
struct ReplyText<'s> {
    segment: &'s Segment,
    apart: bool,
}

fn texts(answer: &Answer) -> impl Iterator<Item = ReplyText<'_>> {
    let mut before: Option<&SegmentKind> = None;
    let mut any = false;
    answer.segments.iter().filter_map(move |segment| {
        let neighbour = before.replace(&segment.kind) == Some(&SegmentKind::Text);
        if segment.kind != SegmentKind::Text {
            return None;
        }
        let apart = std::mem::replace(&mut any, true) && (!neighbour || segment.paragraph);
        Some(ReplyText { segment, apart })
    })
}

fn reasoning(o: &mut Object<'_>, answer: &Answer) {
    let segments = || answer.segments.iter().filter(|segment| segment.kind == SegmentKind::Reasoning);
    let texts = || segments().filter(|segment| !segment.text.is_empty());
    if texts().next().is_some() {
        o.string("reasoning_content", |content| {
            for (index, segment) in texts().enumerate() {
                if index > 0 {
                    content.json_str(&JsonStr::PARAGRAPH);
                }
                content.json_str(&segment.json_str());
            }
        });
    }
    let mut details = DetailEntries::default();
    for segment in segments() {
        let mut text = segment.json_str();
        for seal in &segment.seals {
            details.seal(seal, &std::mem::take(&mut text));
        }
    }
    details.write("reasoning_details", o);
}

fn annotations(o: &mut Object<'_>, answer: &Answer) {
    let mut entries = DetailEntries::default();
    let mut at = 0;
    for text in texts(answer) {
        let begin = at + if text.apart { 2 } else { 0 };
        at = begin + characters::count(text.segment.json_str().raw().as_bytes());
        for cite in &text.segment.cites {
            let span = cite
                .span
                .map_or((begin, at), |(start, end)| (begin.saturating_add(start), begin.saturating_add(end)));
            entries.cite(cite, span, false);
        }
    }
    entries.write("annotations", o);
}

fn calls(o: &mut Object<'_>, answer: &Answer) {
    if !answer.calls() {
        return;
    }
    o.array("tool_calls", |list| {
        let mut extra = None;
        for segment in &answer.segments {
            for seal in &segment.seals {
                if let Seal::Call { extra: state, .. } = seal {
                    extra = Some(state);
                }
            }
            let SegmentKind::Call { id, name, custom, .. } = &segment.kind else { continue };
            let (kind, input) = if *custom { ("custom", "input") } else { ("function", "arguments") };
            list.object(|o| {
                o.text("id", id).text("type", kind).object(kind, |o| {
                    let lit = segment.json_str();
                    let lit = if !custom && lit.is_blank() { EMPTY } else { lit };
                    o.text("name", name).json_str(input, &lit);
                });
                if let Some(state) = extra.take() {
                    o.raw("extra_content", state);
                }
            });
        }
    });
}

const EMPTY: JsonStr<'static> = JsonStr::plain("{}");
