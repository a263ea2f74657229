//! A complete answer for a client.

use bytes::Bytes;

use crate::canon::{Answer, Args, Context, Segment, SegmentKind};
use crate::json::JsonStr;
use crate::json::write::{self, Array};

use crate::protocol::messages::usage;
use crate::protocol::{input, phrases};

use super::answer::{self, OpaqueBlock, StopMembers};

/// Writes the answer's body.
pub(in crate::protocol::messages) fn write(answer: &Answer, context: &Context) -> Bytes {
    let mut out = Vec::new();
    let refused = refused(answer);
    let stop = StopMembers::new(answer.finish.as_ref(), answer.calls(), refused.as_ref(), context);
    let counts = answer.usage.clone().unwrap_or_default();
    let tier = if answer.tier.as_deref() == Some("priority") { "priority" } else { "standard" };
    write::object(&mut out, |o| {
        answer::head(answer.id.as_deref(), context, o);
        o.array("content", |blocks| {
            let mut spoke = false;
            for part in &answer.segments {
                segment(part, &mut spoke, context, blocks);
            }
        });
        stop.write(o);
        o.object("usage", |o| {
            usage::write(&counts, o);
            usage::write_rest(&counts, tier, o);
        });
    });
    out.into()
}

/// Writes a segment's block. `spoke` is whether there was text before.
fn segment(segment: &Segment, spoke: &mut bool, context: &Context, blocks: &mut Array<'_>) {
    match &segment.kind {
        SegmentKind::Text | SegmentKind::Refusal => {
            // After other text of the model, a refusal is not shown as text: it is only the explanation.
            let shown = segment.kind == SegmentKind::Text || !*spoke;
            if shown && !segment.text.is_empty() {
                *spoke |= segment.kind == SegmentKind::Text;
                blocks.object(|o| {
                    o.text("type", "text").json_str("text", &segment.json_str());
                });
            }
        }
        SegmentKind::Reasoning => reasoning(segment, context, blocks),
        SegmentKind::Image => {
            blocks.object(|o| {
                o.text("type", "text").json_str("text", &phrases::IMAGE_OMITTED);
            });
        }
        SegmentKind::Search(_) => {}
        // Clients of this protocol know no namespaces, so one that a provider adds is left out.
        SegmentKind::Call { id, name, custom, .. } => {
            blocks.object(|o| {
                o.text("type", "tool_use").text("id", id).text("name", name);
                o.value("input", |out| input::write(&Args::Str(segment.json_str()), *custom, out));
            });
        }
    }
}

fn reasoning(segment: &Segment, context: &Context, blocks: &mut Array<'_>) {
    let (text, hidden) = (segment.json_str(), context.show_reasoning == Some(false));
    let (shown, opaque) = match hidden || text.is_empty() {
        true => (JsonStr::default(), OpaqueBlock::of_hidden(&segment.seals, &text, context)),
        false => (text.borrow(), Some(OpaqueBlock::of_shown(&segment.seals, &text, context))),
    };
    let Some(opaque) = opaque else { return };
    blocks.object(|o| match opaque {
        OpaqueBlock::Signature(signature) => {
            o.text("type", "thinking").json_str("thinking", &shown).json_str("signature", &signature);
        }
        OpaqueBlock::Redacted(data) => {
            o.text("type", "redacted_thinking").json_str("data", &data);
        }
    });
}

/// Returns the text of the model's refusals.
fn refused(answer: &Answer) -> Option<JsonStr<'static>> {
    let refusals = answer.segments.iter().filter(|segment| segment.kind == SegmentKind::Refusal);
    let words: Vec<_> = refusals.map(Segment::json_str).collect();
    (!words.is_empty()).then(|| JsonStr::concat(&words.iter().collect::<Vec<_>>()))
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
