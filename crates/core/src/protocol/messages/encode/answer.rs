//! The members that streams and whole answers have in common: the head of the message, its end, its sealed blocks.

use crate::canon::{Carrier, Context, Finish, Seal};
use crate::json::JsonStr;
use crate::json::write::Object;

/// Writes the first members of a message.
pub(super) fn head(id: Option<&str>, context: &Context, o: &mut Object<'_>) {
    o.string("id", |text| {
        text.plain("msg_");
        text.plain(&context.answer_id(id));
    });
    o.text("type", "message").text("role", "assistant").json_str("model", &context.model);
}

/// The members that say why an answer ends.
#[derive(Debug)]
pub(super) struct StopMembers<'s> {
    reason: &'static str,
    sequence: Option<&'s JsonStr<'static>>,
    /// The text of the refusal, if there is any.
    explanation: Option<&'s JsonStr<'s>>,
}

impl<'s> StopMembers<'s> {
    /// Creates it. `calls` is whether tools are called, and `refused` the text of the model's refusal.
    pub(super) fn new(
        finish: Option<&'s Finish<'static>>,
        calls: bool,
        refused: Option<&'s JsonStr<'s>>,
        context: &Context,
    ) -> Self {
        let plain = |reason| Self { reason, sequence: None, explanation: None };
        let known = |text: &JsonStr<'_>| context.stop.iter().any(|stop| *stop == text.decode());
        match finish {
            Some(Finish::Length | Finish::Unknown) => plain("max_tokens"),
            Some(Finish::ContextWindow) => plain("model_context_window_exceeded"),
            Some(Finish::Pause) => plain("pause_turn"),
            Some(Finish::Refusal(words)) => {
                Self { explanation: words.as_ref().or(refused), ..plain(REFUSAL) }
            }
            _ if refused.is_some() => Self { explanation: refused, ..plain(REFUSAL) },
            _ if calls => plain("tool_use"),
            Some(Finish::StopSequence(Some(text))) if known(text) => {
                Self { sequence: Some(text), ..plain("stop_sequence") }
            }
            _ => plain("end_turn"),
        }
    }

    pub(super) fn write(&self, o: &mut Object<'_>) {
        o.text("stop_reason", self.reason);
        match self.sequence {
            Some(text) => o.json_str("stop_sequence", text),
            None => o.null("stop_sequence"),
        };
        if self.reason == REFUSAL {
            o.object("stop_details", |o| {
                o.text("type", REFUSAL).null("category");
                match self.explanation {
                    Some(text) => o.json_str("explanation", text),
                    None => o.null("explanation"),
                };
            });
        }
    }
}

/// The opaque member of a block of reasoning.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpaqueBlock {
    /// The `signature` of a `thinking` block.
    Signature(JsonStr<'static>),
    /// The `data` of a `redacted_thinking` block.
    Redacted(JsonStr<'static>),
}

impl OpaqueBlock {
    /// Returns the opaque member of reasoning whose text is shown.
    ///
    /// It needs a signature. If the provider gave none, or one in another protocol's form, it is a carrier of the
    /// gateway. The client sends the text back by itself.
    pub(super) fn of_shown(seals: &[Seal<'_>], text: &JsonStr<'_>, context: &Context) -> Self {
        match seals {
            [Seal::Signature(signature)] => Self::Signature(signature.clone().into_owned()),
            seals => Self::Signature(carrier(seals, text, false, context).0),
        }
    }

    /// Returns the opaque member of hidden reasoning; `None` if there is nothing to bring back.
    pub(super) fn of_hidden(seals: &[Seal<'_>], text: &JsonStr<'_>, context: &Context) -> Option<Self> {
        match seals {
            [Seal::Signature(signature)] => Some(Self::Signature(signature.clone().into_owned())),
            [Seal::Redacted(data)] => Some(Self::Redacted(data.clone().into_owned())),
            seals => {
                let (carrier, blocks) = carrier(seals, text, true, context);
                (blocks > 0).then_some(Self::Redacted(carrier))
            }
        }
    }
}

/// Returns a carrier and its number of blocks. `plain` is whether reasoning without a seal is included.
fn carrier(
    seals: &[Seal<'_>],
    text: &JsonStr<'_>,
    plain: bool,
    context: &Context,
) -> (JsonStr<'static>, usize) {
    let is_plain = |seal: &Seal<'_>| matches!(seal, Seal::Plain);
    let wanted = seals.iter().filter(|seal| match is_plain(seal) {
        true => plain && !text.is_empty(),
        false => true,
    });
    let carrier = Carrier { blocks: wanted.map(|seal| seal.block(text)).collect() };
    (JsonStr::of(&context.seal(&carrier)), carrier.blocks.len())
}

const REFUSAL: &str = "refusal";
