//! A complete answer for a client.

use bytes::Bytes;

use crate::canon::{Answer, Context, Segment, SegmentKind};
use crate::json::JsonStr;
use crate::json::write::{self, Array};

use super::answer::{self, CallPart, PendingState, Sources, TokenProbabilities};

/// Writes the answer's body.
pub(in crate::protocol::gemini) fn write(answer: &Answer, context: &Context) -> Bytes {
    let (mut pending, mut sources) = (PendingState::default(), Sources::default());
    let refused = refused(answer);
    let (reason, words) = answer::finish(answer.finish.as_ref(), refused.as_ref());
    let mut parts = Vec::new();
    write::array(&mut parts, |list| {
        for one in &answer.segments {
            segment(one, context, (&mut pending, &mut sources), list);
        }
        let signature = pending.take(context);
        if signature.is_some() || list.is_empty() {
            list.object(|o| answer::text(&JsonStr::default(), false, signature.as_deref(), o));
        }
    });
    let inside = parts.get(1..parts.len() - 1).unwrap_or_default();
    let inside = String::from_utf8_lossy(inside);
    let mut probabilities = TokenProbabilities::default();
    answer.segments.iter().flat_map(|segment| &segment.logprobs).for_each(|list| probabilities.take(list));
    let mut candidate = Vec::new();
    answer::candidate(
        |list| {
            list.json(&inside);
        },
        |o| {
            o.text("finishReason", reason);
            if let Some(words) = words {
                o.json_str("finishMessage", words);
            }
            sources.write(o);
            probabilities.write(o);
        },
        &mut candidate,
    );
    let counts = answer.usage.clone().unwrap_or_default();
    let mut out = Vec::new();
    write::object(&mut out, |o| {
        o.members(&candidate);
        answer::tail(&context.answer_id(answer.id.as_deref()), &counts, context, o);
    });
    out.into()
}

fn segment(
    segment: &Segment,
    context: &Context,
    (pending, sources): (&mut PendingState, &mut Sources),
    list: &mut Array<'_>,
) {
    let text = segment.json_str();
    match &segment.kind {
        SegmentKind::Reasoning => {
            if context.show_reasoning == Some(true) && !text.is_empty() {
                list.object(|o| answer::text(&text, true, None, o));
            }
            pending.add(&segment.seals, &text);
        }
        SegmentKind::Text | SegmentKind::Refusal => {
            let base = sources.length();
            sources.say(&text);
            segment.cites.iter().for_each(|cite| sources.cite(cite, base));
            if !text.is_empty() {
                let signature = pending.take(context);
                list.object(|o| answer::text(&text, false, signature.as_deref(), o));
            }
        }
        SegmentKind::Search(_) => sources.search(&segment.text),
        SegmentKind::Image => {
            list.object(|o| answer::image(&text, o));
        }
        // A client would run a call whose arguments were cut off.
        SegmentKind::Call { .. } if !segment.complete => {}
        SegmentKind::Call { id, name, custom, .. } => {
            let signature = pending.take(context);
            let call = CallPart { id, name, custom: *custom, args: text };
            list.object(|o| call.write(signature.as_deref(), o));
        }
    }
}

/// Returns the text of the model's refusals.
fn refused(answer: &Answer) -> Option<JsonStr<'static>> {
    let refusals = answer.segments.iter().filter(|segment| segment.kind == SegmentKind::Refusal);
    let words: Vec<_> = refusals.map(Segment::json_str).collect();
    (!words.is_empty()).then(|| JsonStr::concat(&words.iter().collect::<Vec<_>>()))
}
