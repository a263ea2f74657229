//! What a stream and a whole answer have in common.

use crate::canon::{Answer, Carrier, Context, Finish, Seal, Usage};
use crate::json::write::Object;
use crate::json::{Lit, Raw};

/// Why an answer ends, in the protocol's words.
#[derive(Debug)]
pub(super) struct Stop<'s> {
    reason: &'static str,
    sequence: Option<&'s Lit<'static>>,
    refusal: bool,
    explanation: Option<&'s Lit<'s>>,
}

impl<'s> Stop<'s> {
    /// `calls`: tools are called; `refused`: what the model said to decline.
    pub(super) fn new(
        finish: Option<&'s Finish<'static>>,
        calls: bool,
        refused: Option<&'s Lit<'s>>,
        context: &Context,
    ) -> Self {
        let mut stop = Self { reason: "end_turn", sequence: None, refusal: false, explanation: None };
        match finish {
            Some(Finish::Length) => stop.reason = "max_tokens",
            Some(Finish::ContextWindow) => stop.reason = "model_context_window_exceeded",
            Some(Finish::Pause) => stop.reason = "pause_turn",
            Some(Finish::Refusal(explanation)) => {
                stop.refusal = true;
                stop.explanation = explanation.as_ref().or(refused);
            }
            _ if refused.is_some() => (stop.refusal, stop.explanation) = (true, refused),
            _ if calls => stop.reason = "tool_use",
            Some(Finish::StopSequence(Some(text)))
                if context.stop.iter().any(|stop| *stop == text.decode()) =>
            {
                (stop.reason, stop.sequence) = ("stop_sequence", Some(text));
            }
            _ => {}
        }
        if stop.refusal {
            stop.reason = "refusal";
        }
        stop
    }

    pub(super) fn write(&self, o: &mut Object<'_>) {
        o.text("stop_reason", self.reason);
        match self.sequence {
            Some(text) => o.lit("stop_sequence", text),
            None => o.null("stop_sequence"),
        };
        if self.refusal {
            o.object("stop_details", |o| {
                o.text("type", "refusal").null("category");
                match self.explanation {
                    Some(text) => o.lit("explanation", text),
                    None => o.null("explanation"),
                };
            });
        }
    }
}

/// Writes the members of a message that come first.
pub(super) fn head(id: Option<&str>, context: &Context, o: &mut Object<'_>) {
    o.string("id", |text| {
        text.plain("msg_");
        text.plain(&context.answer_id(id));
    });
    o.text("type", "message").text("role", "assistant").lit("model", &context.model);
}

/// The opaque member of a block of reasoning: what the provider sealed, in a carrier. `plain`: an empty
/// carrier is wanted where nothing was sealed, because the text has to be signed by somebody.
pub(super) fn carrier(seals: &[Seal<'_>], text: &Lit<'_>, context: &Context) -> Carrier {
    Carrier {
        origin: context.origin.clone(),
        model: context.upstream_model.clone(),
        blocks: blocks(seals, text),
    }
}

/// The sealed blocks. Plain reasoning is not sealed: its text comes back by itself.
pub(super) fn blocks(seals: &[Seal<'_>], text: &Lit<'_>) -> Vec<Raw<'static>> {
    seals.iter().filter(|seal| !matches!(seal, Seal::Plain)).map(|seal| seal.block(text)).collect()
}

/// What only the provider can read, where it is the protocol's own already.
pub(super) fn native<'s>(seals: &'s [Seal<'_>]) -> Option<Native<'s>> {
    match seals {
        [Seal::Signature(signature)] => Some(Native::Signature(signature)),
        [Seal::Redacted(data)] => Some(Native::Redacted(data)),
        _ => None,
    }
}

/// See [`native`].
pub(super) enum Native<'s> {
    Signature(&'s Lit<'s>),
    Redacted(&'s Lit<'s>),
}

/// The usage of an answer that may have none.
pub(super) fn usage(usage: Option<Usage>) -> Usage {
    usage.unwrap_or_default()
}

/// The class of service in the protocol's words.
pub(super) fn tier(answer: &Answer) -> &'static str {
    match answer.tier.as_deref() {
        Some("priority") => "priority",
        _ => "standard",
    }
}
