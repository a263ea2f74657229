//! Encoding of a request for a provider.

use crate::canon::{
    EffortFormat, Format, JsonSchemaSupport, Losses, MaxTokensField, Profile, Request, StreamUsage, Target,
    ToolNames, UserField, sha256_hex,
};
use crate::failure::Result;
use crate::json::write::{self, Object};
use crate::json::{JsonStr, Raw};
use crate::protocol::{Written, field, samplers, schema};

use super::message::ConversationWriter;
use super::reasoning::EffortPlan;
use super::tools::ToolPlan;
use super::{reasoning, tools};

/// Writes the request.
pub(in crate::protocol::chat) fn write(
    request: &Request<'_>,
    target: &Target<'_>,
    names: &ToolNames,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<Written> {
    let plan = ToolPlan::new(request, target, losses)?;
    let off = reasoning::is_off(request, &plan, target.profile);
    let writer = ConversationWriter::new(request, target, names, off, losses)?;
    let mut written = Ok(Written::default());
    write::object(out, |o| written = members(o, request, target, names, &plan, writer, losses));
    written
}

fn members(
    o: &mut Object<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    names: &ToolNames,
    plan: &ToolPlan<'_, '_>,
    mut writer: ConversationWriter<'_, '_, '_>,
    losses: &mut Losses,
) -> Result<Written> {
    let profile = target.profile;
    o.text("model", target.model).array("messages", |list| writer.write(list));
    tools::write(o, plan, request.parallel, target, names, losses)?;
    if request.stream {
        o.bool("stream", true);
        if profile.stream_usage == StreamUsage::Option {
            o.json("stream_options", r#"{"include_usage":true}"#);
        }
    }
    limit(o, request, target);
    let thought = EffortPlan::decide(request, plan, target, losses)?;
    let unsampled = samplers::are_refused(target, thought.effort());
    samplers(o, request, target, unsampled, losses)?;
    stop(o, request, (profile, unsampled), losses)?;
    thought.write(o, &request.thinking, profile.effort);
    format(o, &request.format, profile);
    identity(o, request, profile, losses)?;
    if let Some(count) = request.logprobs {
        o.bool("logprobs", true);
        if count > 0 {
            o.number("top_logprobs", count);
        }
    }
    writer.finish(o);
    extras(o, request, (thought, profile.effort, unsampled), losses)?;
    Ok(Written { prefix: writer.into_prefix(), ..Written::default() })
}

/// Writes the members that are forwarded. Members that only the gateway decides about are listed.
fn extras(
    o: &mut Object<'_>,
    request: &Request<'_>,
    (thought, way, unsampled): (EffortPlan, EffortFormat, bool),
    losses: &mut Losses,
) -> Result<()> {
    for extra in &request.extra {
        let name = &*extra.name;
        let is_written = match name {
            "stop" => !request.stop.is_empty(),
            "top_k" => request.samplers.top_k.is_some(),
            "logprobs" => request.logprobs.is_some(),
            "thinking" | "enable_thinking" | "thinking_budget" => thought.writes(name, way),
            // Some servers ignore the case of names.
            _ => OWN.iter().any(|own| own.eq_ignore_ascii_case(name)),
        };
        if is_written || unsampled && SAMPLING.contains(&name) {
            field::lose(name, &extra.value, losses)?;
        } else {
            // The client has chosen the name, so it can contain anything.
            o.raw(JsonStr::of(name).raw(), &extra.value);
        }
    }
    Ok(())
}

fn limit(o: &mut Object<'_>, request: &Request<'_>, target: &Target<'_>) {
    let Some(wanted) = request.max_output else { return };
    let most = target.caps.max_output.unwrap_or(u64::MAX);
    let name = limit_member(target.profile);
    o.number(name, wanted.max(target.profile.min_max_tokens.into()).min(most));
}

/// Returns the member that limits the answer's tokens.
pub(in crate::protocol::chat) fn limit_member(profile: &Profile) -> &'static str {
    match profile.max_tokens_field {
        MaxTokensField::MaxTokens => "max_tokens",
        MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
    }
}

/// Writes the sampling parameters that the provider and its model accept.
fn samplers(
    o: &mut Object<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    refused: bool,
    losses: &mut Losses,
) -> Result<()> {
    samplers::check_logprobs(request, refused, "top_logprobs")?;
    samplers::write(o, request, target, refused, losses)?;
    let (samplers, profile) = (&request.samplers, target.profile);
    if let Some(top_k) = &samplers.top_k {
        if profile.is_openai || !profile.forward_unknown {
            losses.drop_named("top_k")?;
        } else {
            o.raw("top_k", top_k);
        }
    }
    Ok(())
}

fn stop(
    o: &mut Object<'_>,
    request: &Request<'_>,
    (profile, refused): (&Profile, bool),
    losses: &mut Losses,
) -> Result<()> {
    if refused && !request.stop.is_empty() {
        return losses.drop_named("stop");
    }
    let most = if profile.is_openai { MAX_STOP_COUNT } else { usize::MAX };
    if request.stop.len() > most {
        losses.change("stop", most)?;
    }
    if !request.stop.is_empty() {
        o.array("stop", |list| {
            request.stop.iter().take(most).for_each(|stop| {
                list.json_str(stop);
            });
        });
    }
    Ok(())
}

/// The form of the answer. What a provider cannot be told here stands in the instructions.
fn format(o: &mut Object<'_>, format: &Format<'_>, profile: &Profile) {
    match (format, profile.json_schema) {
        (Format::Text, _) | (_, JsonSchemaSupport::None) => {}
        (Format::JsonObject, _) | (_, JsonSchemaSupport::JsonObject) => {
            o.json("response_format", r#"{"type":"json_object"}"#);
        }
        (Format::Schema { name, description, schema, strict }, JsonSchemaSupport::Native) => {
            o.object("response_format", |o| {
                o.text("type", "json_schema").object("json_schema", |o| {
                    o.json_str("name", name.as_ref().unwrap_or(&NAME));
                    if let Some(description) = description {
                        o.json_str("description", description);
                    }
                    o.raw("schema", schema);
                    if let Some(strict) = strict_of(name.is_some(), *strict, schema) {
                        o.bool("strict", strict);
                    }
                });
            });
        }
    }
}

/// A client that cannot say `strict`, nor a name, gets it wherever the schema allows it.
fn strict_of(named: bool, strict: Option<bool>, schema: &Raw<'_>) -> Option<bool> {
    strict.or_else(|| (!named).then(|| schema::is_closed(schema.get())))
}

/// Writes the user, the service tier, and other members that only some providers know.
fn identity(o: &mut Object<'_>, request: &Request<'_>, profile: &Profile, losses: &mut Losses) -> Result<()> {
    let field = match profile.user_field {
        UserField::User => Some("user"),
        UserField::SafetyIdentifier => Some("safety_identifier"),
        UserField::None => None,
    };
    if let (Some(name), Some(user)) = (field, &request.user) {
        if user.chars().count() <= MAX_USER_LEN {
            o.text(name, user);
        } else {
            o.text(name, &sha256_hex(user));
        }
    }
    match request.tier.as_deref() {
        Some("standard_only") if profile.is_openai => {
            o.text("service_tier", "default");
        }
        Some(tier) if profile.is_openai => {
            o.text("service_tier", tier);
        }
        None | Some("auto") => {}
        Some(_) => losses.drop_named("service_tier")?,
    }
    match &request.verbosity {
        Some(verbosity) if profile.is_openai => {
            o.json_str("verbosity", verbosity);
        }
        Some(_) => losses.drop_named("verbosity")?,
        None => {}
    }
    Ok(())
}

/// The name for a schema without one.
const NAME: JsonStr<'static> = JsonStr::plain("response");

/// Maximum number of stop sequences that OpenAI accepts.
const MAX_STOP_COUNT: usize = 4;

/// Maximum number of characters of a user's id that OpenAI accepts.
const MAX_USER_LEN: usize = 64;

/// Members that a model refuses if it refuses to be told how to sample.
const SAMPLING: [&str; 5] = ["stop", "logprobs", "frequency_penalty", "presence_penalty", "logit_bias"];

/// Members that are written here, so that no forwarded member may take their place.
const OWN: &[&str] = &[
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "web_search_options",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "enable_thinking",
    "thinking_budget",
    "response_format",
    "user",
    "safety_identifier",
    "service_tier",
    "verbosity",
    "logprobs",
    "top_logprobs",
    "n",
    "add_generation_prompt",
    "continue_final_message",
];

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
