//! Reasoning: the members that make a model think and bound its answer, and the thoughts of earlier turns for the
//! provider that sealed them.
//!
//! Signatures are bound to provider and model. Blocks go back, byte for byte, to those they came from;
//! whatever else was thought is left out, because the provider would refuse it.

use crate::canon::{Caps, Effort, Losses, Reasoning, Request, Sealed, Target, Thinking, ThinkingCaps};
use crate::failure::{Failure, Kind, Result};
use crate::json::write::{Array, Object};
use crate::json::{self, JsonStr, Lenient as _};
use crate::protocol::node::Node;

/// The parts of a request on which thinking depends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// Whether the model has to call a tool.
    pub(super) is_forced: bool,
    /// Whether the conversation is one that the model is to continue.
    pub(super) is_prefilled: bool,
    /// Whether the model has called tools without the reasoning that led to it.
    pub(super) called_without_thinking: bool,
    /// Whether the model has tools to call.
    pub(super) has_tools: bool,
}

/// The members of a request that are about thinking and limits.
#[derive(Debug)]
pub(super) struct ThinkingPlan {
    mode: ThinkingMember,
    /// `output_config.effort`.
    pub(super) effort: Option<Effort>,
    /// `max_tokens`.
    pub(super) limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThinkingMember {
    /// The request has no `thinking` member.
    Silent,
    Budget(u64),
    Adaptive,
    /// Adaptive; thinking that does not belong to the conversation is left out by the provider.
    AdaptiveBound,
    BetweenTools,
    Disabled,
}

/// The thinking that the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestedThinking {
    Nothing,
    Off,
    Effort(Effort),
    Budget(u64),
    On,
}

impl RequestedThinking {
    fn of(thinking: &Thinking) -> Self {
        match (thinking.budget, thinking.effort) {
            _ if thinking.is_off() => Self::Off,
            (Some(budget), None) => Self::Budget(budget),
            (_, Some(effort)) if effort != Effort::None => Self::Effort(effort),
            _ if thinking.is_wanted() => Self::On,
            _ => Self::Nothing,
        }
    }

    /// Returns the member that the client is told of if it has no effect.
    fn name(self) -> &'static str {
        match self {
            Self::Budget(_) => "thinking_budget",
            _ => "reasoning_effort",
        }
    }
}

impl ThinkingPlan {
    /// Decides what is said to a model.
    ///
    /// # Errors
    /// Returns 400 if the model would have to continue a message while it thinks, and in strict mode if the wish
    /// cannot be fulfilled.
    pub(super) fn decide(
        request: &Request<'_>,
        target: &Target<'_>,
        circumstances: Circumstances,
        losses: &mut Losses,
    ) -> Result<Self> {
        let caps = target.caps;
        let limit = request.max_output.or(caps.max_output).unwrap_or(DEFAULT_MAX_TOKENS);
        let limit = limit.min(caps.max_output.unwrap_or(u64::MAX));
        let mut thought = Self {
            mode: ThinkingMember::Silent,
            effort: None,
            limit: limit.max(u64::from(target.profile.min_max_tokens)),
        };
        let requested = RequestedThinking::of(&request.thinking);
        thought.choose(requested, &request.thinking, caps, losses)?;
        if requested == RequestedThinking::Nothing && is_seen(&request.thinking, circumstances, caps) {
            thought.mode = ThinkingMember::Adaptive;
        }
        thought.agree(requested, circumstances, losses)?;
        if let ThinkingMember::Budget(budget) = thought.mode {
            thought.fit(budget, requested, request.max_output.is_some(), caps, losses)?;
        }
        Ok(thought)
    }

    /// Whether the gateway makes the model think.
    pub(super) fn is_on(&self) -> bool {
        matches!(
            self.mode,
            ThinkingMember::Budget(_) | ThinkingMember::Adaptive | ThinkingMember::AdaptiveBound
        )
    }

    /// Makes the provider leave out thinking that does not belong to the conversation. Returns whether this kind of
    /// thinking allows for that.
    pub(super) fn bind_blocks(&mut self) -> bool {
        let can_bind = matches!(self.mode, ThinkingMember::Silent | ThinkingMember::Adaptive);
        if can_bind {
            self.mode = ThinkingMember::AdaptiveBound;
        }
        can_bind
    }

    /// Writes `thinking`, if there is anything to write.
    pub(super) fn write(&self, o: &mut Object<'_>) {
        match self.mode {
            ThinkingMember::Silent => {}
            ThinkingMember::Budget(budget) => {
                o.object("thinking", |o| {
                    o.text("type", "enabled").number("budget_tokens", budget);
                });
            }
            // Without `display`, recent models leave the text out.
            ThinkingMember::Adaptive => {
                o.json("thinking", r#"{"type":"adaptive","display":"summarized"}"#);
            }
            ThinkingMember::AdaptiveBound => {
                o.json("thinking", BOUND);
            }
            ThinkingMember::BetweenTools => {
                o.json("thinking", r#"{"type":"between_tools"}"#);
            }
            ThinkingMember::Disabled => {
                o.json("thinking", r#"{"type":"disabled"}"#);
            }
        }
    }

    /// Translates what is requested into what the model understands.
    fn choose(
        &mut self,
        requested: RequestedThinking,
        thinking: &Thinking,
        caps: &Caps,
        losses: &mut Losses,
    ) -> Result<()> {
        let nearest = |level: Effort| level.nearest(&caps.efforts);
        match (caps.thinking, requested) {
            (_, RequestedThinking::Nothing)
            | (ThinkingCaps::None | ThinkingCaps::Budget, RequestedThinking::Off) => {}
            (ThinkingCaps::None, _) => losses.drop_named(requested.name())?,
            (ThinkingCaps::Budget, RequestedThinking::Effort(level)) => {
                self.mode = ThinkingMember::Budget(level.budget());
            }
            (ThinkingCaps::Budget, RequestedThinking::On) => {
                self.mode = ThinkingMember::Budget(Effort::Medium.budget());
            }
            (ThinkingCaps::Budget | ThinkingCaps::AdaptiveBudget, RequestedThinking::Budget(budget)) => {
                self.mode = ThinkingMember::Budget(budget.max(MIN_BUDGET_TOKENS));
            }
            (ThinkingCaps::AdaptiveAlways, RequestedThinking::Off) => {
                self.effort = nearest(Effort::Low);
                losses.drop_named(requested.name())?;
            }
            (ThinkingCaps::AdaptiveBetweenTools, RequestedThinking::Off) => {
                self.mode = ThinkingMember::BetweenTools;
                let effort = thinking.effort.filter(|effort| *effort != Effort::None);
                if effort.is_some_and(|effort| effort > Effort::High) {
                    losses.drop_named(requested.name())?;
                }
                self.effort = effort.and_then(|effort| nearest(effort.min(Effort::High)));
            }
            (_, RequestedThinking::Off) => {
                if caps.thinks_by_default {
                    self.mode = ThinkingMember::Disabled;
                    let effort = thinking.effort.filter(|effort| *effort != Effort::None);
                    self.effort = effort.and_then(|effort| nearest(effort.min(Effort::High)));
                }
            }
            (_, RequestedThinking::Effort(level)) => {
                (self.mode, self.effort) = (ThinkingMember::Adaptive, nearest(level));
            }
            (_, RequestedThinking::Budget(budget)) => {
                (self.mode, self.effort) = (ThinkingMember::Adaptive, nearest(Effort::of_budget(budget)));
            }
            (_, RequestedThinking::On) => self.mode = ThinkingMember::Adaptive,
        }
        Ok(())
    }

    /// Leaves thinking out if the rest of the request excludes it.
    fn agree(
        &mut self,
        requested: RequestedThinking,
        circumstances: Circumstances,
        losses: &mut Losses,
    ) -> Result<()> {
        let unthought =
            matches!(self.mode, ThinkingMember::Budget(_)) && circumstances.called_without_thinking;
        if self.is_on() && (circumstances.is_forced || unthought) {
            self.mode = ThinkingMember::Silent;
            if self.effort.is_none() {
                losses.drop_named(requested.name())?;
            }
        }
        if self.is_on() && circumstances.is_prefilled {
            let message = "This model cannot continue an assistant message while it thinks.";
            return Err(Failure::new(Kind::Unsupported, message).with_param("messages"));
        }
        Ok(())
    }

    /// Fits budget and limit to each other, so that there is room for the answer itself.
    fn fit(
        &mut self,
        budget: u64,
        requested: RequestedThinking,
        given: bool,
        caps: &Caps,
        losses: &mut Losses,
    ) -> Result<()> {
        if !given {
            let roomy = self.limit.max(budget.saturating_add(MIN_ANSWER_TOKENS));
            self.limit = roomy.min(caps.max_output.unwrap_or(u64::MAX));
        }
        // This is four fifths, computed without overflow.
        let most = self.limit / 5 * 4 + self.limit % 5 * 4 / 5;
        let budget = budget.min(most);
        self.mode =
            if budget < MIN_BUDGET_TOKENS { ThinkingMember::Silent } else { ThinkingMember::Budget(budget) };
        if self.mode == ThinkingMember::Silent {
            losses.drop_named(requested.name())?;
        }
        Ok(())
    }
}

/// Whether a model that thinks by itself is asked for the text of its thinking, by a client that does not say whether
/// to think.
fn is_seen(thinking: &Thinking, circumstances: Circumstances, caps: &Caps) -> bool {
    let is_wanted = thinking.show.unwrap_or(circumstances.has_tools && thinking.is_carried);
    let is_adaptive = !matches!(caps.thinking, ThinkingCaps::None | ThinkingCaps::Budget);
    let is_excluded = circumstances.is_forced || circumstances.is_prefilled;
    caps.thinks_by_default && is_adaptive && is_wanted && !is_excluded
}

/// The member of adaptive thinking whose blocks are bound to their conversation.
const BOUND: &str =
    r#"{"type":"adaptive","display":"summarized","block_binding":{"prefix_mismatch_behavior":"drop_block"}}"#;

/// Limit of an answer's tokens if neither the client nor the catalog has one.
const DEFAULT_MAX_TOKENS: u64 = 8192;

/// The smallest budget for thinking that the protocol allows.
const MIN_BUDGET_TOKENS: u64 = 1024;

/// Tokens for the answer in addition to the thinking budget.
const MIN_ANSWER_TOKENS: u64 = 4096;

/// Whether there is anything of it that the provider takes.
pub(super) fn has_blocks(reasoning: &Reasoning<'_>) -> bool {
    let mut any = false;
    each(reasoning, &mut |_| any = true);
    any
}

/// Writes the blocks.
pub(super) fn write(reasoning: &Reasoning<'_>, blocks: &mut Array<'_>) {
    each(reasoning, &mut |block| match block {
        ReasoningBlock::Whole(json) => {
            blocks.json(json);
        }
        ReasoningBlock::Thinking { text, signature } => {
            blocks.object(|o| {
                o.text("type", "thinking").json_str("thinking", &text).json_str("signature", &signature);
            });
        }
        ReasoningBlock::Redacted(data) => {
            blocks.object(|o| {
                o.text("type", "redacted_thinking").json_str("data", &data);
            });
        }
    });
}

/// A block of reasoning in the provider's own form.
enum ReasoningBlock<'b> {
    Whole(&'b str),
    Thinking { text: JsonStr<'b>, signature: JsonStr<'b> },
    Redacted(JsonStr<'b>),
}

fn each(reasoning: &Reasoning<'_>, take: &mut dyn FnMut(ReasoningBlock<'_>)) {
    match &reasoning.sealed {
        Some(Sealed::Carried(carrier)) => {
            // A carrier may hold anything, but only reasoning blocks are taken out of it.
            carrier.blocks.iter().map(json::Raw::get).filter(|block| is_reasoning(block)).for_each(|block| {
                take(ReasoningBlock::Whole(block));
            });
        }
        Some(Sealed::Thinking(block)) if is_reasoning(block.get()) => {
            take(ReasoningBlock::Whole(block.get()));
        }
        Some(Sealed::Details(entries)) => {
            for (_, span) in json::elements(entries.get().as_bytes()).lenient() {
                let entry = Node::root(entries.get().get(span).unwrap_or_default());
                if let Some(block) = detail(&entry) {
                    take(block);
                }
            }
        }
        _ => {}
    }
}

/// Returns a block of Chat's `reasoning_details`, if its format shows that it came from this protocol.
fn detail<'b>(entry: &Node<'b, '_>) -> Option<ReasoningBlock<'b>> {
    let text = |name| entry.find(name).and_then(|node| node.json_str().ok());
    if text("format")?.raw() != FORMAT {
        return None;
    }
    match text("type")?.raw() {
        "reasoning.text" => {
            let signature = text("signature").filter(is_native)?;
            Some(ReasoningBlock::Thinking { text: text("text").unwrap_or_default(), signature })
        }
        "reasoning.encrypted" => text("data").filter(is_native).map(ReasoningBlock::Redacted),
        _ => None,
    }
}

fn is_native(opaque: &JsonStr<'_>) -> bool {
    !opaque.is_empty() && !crate::canon::Carrier::is_carrier(opaque.raw())
}

fn is_reasoning(block: &str) -> bool {
    let kind = Node::root(block).find("type");
    kind.is_some_and(|kind| matches!(kind.text, r#""thinking""# | r#""redacted_thinking""#))
}

/// The `format` of reasoning that came from this protocol.
const FORMAT: &str = "anthropic-claude-v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Carrier;
    use crate::json::{Raw, write as json_write};

    fn written(sealed: Option<Sealed<'_>>) -> String {
        let reasoning = Reasoning { text: Some(JsonStr::plain("seen")), sealed };
        let mut out = Vec::new();
        json_write::array(&mut out, |blocks| write(&reasoning, blocks));
        assert_eq!(has_blocks(&reasoning), out != b"[]");
        String::from_utf8(out).unwrap()
    }

    fn carried(block: &'static str) -> Option<Sealed<'static>> {
        Some(Sealed::Carried(Carrier { blocks: vec![Raw::constant(block)] }))
    }

    #[test]
    fn blocks_go_back_and_nothing_but_reasoning_does() {
        let block = r#"{"type":"thinking","thinking":"T\u00e9 ","signature":"S=="}"#;
        assert_eq!(written(carried(block)), format!("[{block}]"));
        let no_reasoning = r#"{"type":"document","source":{"type":"file","file_id":"f"}}"#;
        assert_eq!(written(carried(no_reasoning)), "[]");
        assert_eq!(written(None), "[]");
        assert_eq!(written(Some(Sealed::Item(Raw::constant(r#"{"encrypted_content":"E"}"#)))), "[]");
    }

    #[test]
    fn details_of_the_protocol_become_its_blocks() {
        let details = r#"[{"type":"reasoning.text","text":"T","signature":"S","format":"anthropic-claude-v1","index":0},
            {"type":"reasoning.encrypted","data":"D","format":"anthropic-claude-v1"},
            {"type":"reasoning.text","text":"unsigned","format":"anthropic-claude-v1"},
            {"type":"reasoning.encrypted","data":"E","format":"openai-responses-v1"}]"#;
        assert_eq!(
            written(Some(Sealed::Details(Raw::constant(details)))),
            r#"[{"type":"thinking","thinking":"T","signature":"S"},{"type":"redacted_thinking","data":"D"}]"#
        );
    }
}
