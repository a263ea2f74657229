//! Encoding of a request for a provider.

use crate::canon::{Losses, Offer, Request, Role, Target, ToolNames, ToolSupport, not_carried, sha256_hex};
use crate::failure::Result;
use crate::json::write::{self, Object};
use crate::protocol::Written;

use super::content::Blocks;
use super::format::AnswerFormat;
use super::ids::CallIds;
use super::mark::{self, CacheMarks};
use super::message::MessagePlan;
use super::reasoning::{Circumstances, ThinkingPlan};
use super::samplers::SamplerMembers;
use super::tools::{self, ForcedTool};

/// Writes the request.
pub(in crate::protocol::messages) fn write(
    request: &Request<'_>,
    target: &Target<'_>,
    names: &ToolNames,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<Written> {
    let caps = target.caps;
    let support = ToolSupport { web_search: caps.web_search, subsets: false };
    let offer = Offer::new(&request.tools, request.choice.as_ref(), support, losses)?;
    let pick = ForcedTool::of(&offer, caps, losses)?;
    let mut plan = MessagePlan::new(request, target, losses)?;
    plan.check_prefill(caps.prefill)?;
    let circumstances = Circumstances {
        is_forced: pick.as_ref().is_some_and(ForcedTool::is_forced),
        is_prefilled: plan.is_prefilled(),
        called_without_thinking: plan.called_without_thinking(),
        has_tools: !offer.tools.is_empty(),
    };
    let mut thought = ThinkingPlan::decide(request, target, circumstances, losses)?;
    let beta = bind(&mut thought, &mut plan, target);
    let can_force = caps.forced_tool && offer.tools.is_empty() && !thought.is_on();
    let form = AnswerFormat::of(request, target, can_force);
    let samplers = SamplerMembers::new(request, target, thought.is_on(), losses)?;
    let stop = stop(request, losses)?;
    let tier = tier(request, losses)?;
    absent(request, losses)?;
    let mut blocks = Blocks { names, ids: CallIds::new(request), marks: marks(request, &offer, &plan) };
    write::object(out, |o| {
        o.text("model", target.model);
        if !request.counting {
            o.number("max_tokens", thought.limit);
            if request.stream {
                o.bool("stream", true);
            }
        }
        let single = request.parallel == Some(false);
        tools::write(&offer, pick.as_ref(), single, &form, (names, &mut blocks.marks), o);
        system(&plan, &form, &mut blocks, o);
        messages(&plan, &mut blocks, o);
        thought.write(o);
        if thought.effort.is_some() || form.is_enforced() {
            o.object("output_config", |o| {
                if let Some(effort) = thought.effort {
                    o.text("effort", effort.as_str());
                }
                form.write(o);
            });
        }
        if let Some(cache) = request.cache {
            mark::write(cache, o);
        }
        if !request.counting {
            samplers.write(o);
            rest(request, stop, tier, o);
        }
    });
    Ok(Written { answer_tool: form.answer_tool(), prefix: None, beta })
}

/// Makes the provider leave thinking out that it would refuse because the conversation before it has changed, and
/// removes the thinking itself where the provider cannot be told to. Returns the beta feature that this takes.
fn bind(
    thought: &mut ThinkingPlan,
    plan: &mut MessagePlan<'_, '_>,
    target: &Target<'_>,
) -> Option<&'static str> {
    let profile = target.profile;
    let may_ask = profile.betas.as_ref().is_none_or(|known| known.contains(BINDING_BETA));
    if !(target.caps.preserved_thinking && profile.block_binding && may_ask && plan.has_thinking()) {
        return None;
    }
    if thought.bind_blocks() {
        return Some(BINDING_BETA);
    }
    plan.remove_thinking();
    None
}

fn system(plan: &MessagePlan<'_, '_>, form: &AnswerFormat<'_>, blocks: &mut Blocks<'_>, o: &mut Object<'_>) {
    let texts = || plan.system.iter().filter(|text| !text.text.is_blank());
    if texts().next().is_none() && !form.asks() {
        return;
    }
    o.array("system", |list| {
        texts().for_each(|text| blocks.text(text, list));
        form.write_instructions(list);
    });
}

fn messages(plan: &MessagePlan<'_, '_>, blocks: &mut Blocks<'_>, o: &mut Object<'_>) {
    let prefilled = plan.is_prefilled();
    o.array("messages", |list| {
        let mut messages = plan.messages().peekable();
        while let Some(message) = messages.next() {
            let goes_on = prefilled && messages.peek().is_none();
            list.object(|o| {
                o.text("role", message.first().map_or("user", |(role, _)| name(*role)));
                o.array("content", |list| {
                    for (index, (_, item)) in message.iter().enumerate() {
                        blocks.write(*item, goes_on && index + 1 == message.len(), list);
                    }
                });
            });
        }
    });
}

fn name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => "system",
    }
}

/// Writes the members that do not depend on others.
fn rest(request: &Request<'_>, stop: bool, tier: Option<&str>, o: &mut Object<'_>) {
    if stop {
        o.array("stop_sequences", |list| {
            for text in request.stop.iter().filter(|text| !text.is_blank()) {
                list.json_str(text);
            }
        });
    }
    if let Some(user) = &request.user {
        o.object("metadata", |o| match is_anonymous(user) {
            true => {
                o.text("user_id", user);
            }
            false => {
                o.text("user_id", &sha256_hex(user));
            }
        });
    }
    if let Some(tier) = tier {
        o.text("service_tier", tier);
    }
    for extra in &request.extra {
        // The decoder's table decides which members come here; their names are written unescaped.
        if extra.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            o.raw(&extra.name, &extra.value);
        }
    }
}

/// Whether there are texts that end the answer. Blank ones are refused by the provider.
fn stop(request: &Request<'_>, losses: &mut Losses) -> Result<bool> {
    for (index, _) in request.stop.iter().enumerate().filter(|(_, text)| text.is_blank()) {
        losses.drop_named(&format!("stop[{index}]"))?;
    }
    Ok(request.stop.iter().any(|text| !text.is_blank()))
}

fn tier(request: &Request<'_>, losses: &mut Losses) -> Result<Option<&'static str>> {
    match request.tier.as_deref() {
        None => Ok(None),
        Some("auto") => Ok(Some("auto")),
        Some("default") => Ok(Some("standard_only")),
        // Other tiers have other prices.
        Some(_) => losses.drop_named("service_tier").map(|()| None),
    }
}

/// Refuses or drops members that the protocol has no place for.
fn absent(request: &Request<'_>, losses: &mut Losses) -> Result<()> {
    if request.logprobs.is_some() {
        return Err(not_carried("logprobs".to_owned()));
    }
    if request.verbosity.is_some() {
        losses.drop_named("verbosity")?;
    }
    Ok(())
}

/// Whether a user's id is neither a mail address nor a phone number. The provider refuses these, so a hash takes
/// their place, always the same one.
fn is_anonymous(user: &str) -> bool {
    let digits = user.bytes().filter(u8::is_ascii_digit).count();
    let phone = (MIN_PHONE_DIGITS..=MAX_PHONE_DIGITS).contains(&digits)
        && user.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | ' ' | '(' | ')' | '.' | '/'));
    let printable = user.chars().all(|c| !c.is_control());
    printable && user.chars().count() <= MAX_USER_LEN && !user.contains('@') && !phone
}

fn marks(request: &Request<'_>, offer: &Offer<'_, '_>, plan: &MessagePlan<'_, '_>) -> CacheMarks {
    let tools = offer.tools.iter().filter(|tool| tool.cache.is_some()).count();
    let system = plan.system.iter().filter(|text| text.cache.is_some() && !text.text.is_blank()).count();
    CacheMarks::new(tools + system + plan.marks(), request.cache.is_some())
}

/// The beta feature of requests that say what becomes of thinking in another conversation.
const BINDING_BETA: &str = "thinking-binding-controls-2026-08-01";

/// Maximum number of characters of a user's id.
const MAX_USER_LEN: usize = 256;

/// Minimum number of digits for an id to be taken for a phone number.
const MIN_PHONE_DIGITS: usize = 7;
const MAX_PHONE_DIGITS: usize = 15;

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
