//! A complete answer for a client, with the content of its stream's last event.

use bytes::Bytes;

use crate::json::JsonStr;

use crate::canon::{Answer, Carrier, Context, SegmentKind, SegmentStep};

use super::answer::{ResponseFrame, ResponseState, body};
use super::compacted::{CompactedItems, compacted};
use super::event_writer::EventWriter;
use super::output_items::OutputWriter;

/// Writes the answer's body.
pub(in crate::protocol::responses) fn write(answer: &Answer, context: &Context) -> Bytes {
    let mut items = OutputWriter::new(context.answer_id(answer.id.as_deref()));
    let mut none = 0;
    let mut events = EventWriter::silent(&mut none);
    for segment in &answer.segments {
        let (seals, text) = (segment.seals.as_slice(), segment.json_str());
        if segment.kind == SegmentKind::Reasoning && text.is_empty() {
            items.step(SegmentStep::Opaque(seals), context, &mut events);
            continue;
        }
        let mut step = |step| items.step(step, context, &mut events);
        step(SegmentStep::Open { kind: &segment.kind, paragraph: segment.paragraph });
        step(SegmentStep::Delta(text));
        segment.cites.iter().for_each(|cite| step(SegmentStep::Cite(cite)));
        segment.logprobs.iter().for_each(|raw| step(SegmentStep::Logprobs(raw)));
        step(SegmentStep::Close { seals, complete: segment.complete });
    }
    if let Some(text) = &answer.summary {
        items.begin_summary(&mut events);
        items.end_summary(&context.seal(&Carrier::of_summary(&JsonStr::part(text))), &mut events);
    }
    items.finish(answer.finish.as_ref(), answer.is_cut(), &mut events);
    let created = answer.created.unwrap_or(context.now);
    if let Some(kept) = context.compaction.as_ref().and_then(|compaction| compaction.kept.as_ref()) {
        let items = CompactedItems { id: items.id(), created, kept, summary: items.output() };
        return compacted(&items, answer.usage.as_ref()).into();
    }
    let frame =
        ResponseFrame { context, echo: &context.echo, id: items.id(), created, tier: answer.tier.as_deref() };
    let state =
        ResponseState::ended(answer.finish.as_ref(), items.output(), answer.usage.clone(), context.now);
    body(&frame, &state).into()
}
