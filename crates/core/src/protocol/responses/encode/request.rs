//! Encoding of a request for a provider.

use crate::canon::{Effort, Format, Losses, Request, Target, ToolNames, UserField, sha256_hex};
use crate::failure::Result;
use crate::json::write::{self, Object};
use crate::json::{JsonStr, Raw};
use crate::protocol::{Written, field, samplers, schema};

use super::message::{self, InputWriter};
use super::{reasoning, tools};

/// Writes the request.
pub(in crate::protocol::responses) fn write(
    request: &Request<'_>,
    target: &Target<'_>,
    names: &ToolNames,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<Written> {
    let mut written = Ok(());
    write::object(out, |o| written = members(o, request, target, names, losses));
    written.map(|()| Written::default())
}

fn members(
    o: &mut Object<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    names: &ToolNames,
    losses: &mut Losses,
) -> Result<()> {
    let offer = tools::plan(request, target, losses)?;
    o.text("model", target.model);
    let instructions = message::instructions(request, target);
    if let Some(text) = instructions {
        o.json_str("instructions", &text.text);
    }
    let mut items = Ok(());
    o.array("input", |list| {
        let mut input = InputWriter { target, names, losses };
        items = input.write(request, instructions.is_none(), list);
    });
    items?;
    tools::write(o, &offer, request.parallel, target, names, losses)?;
    text(o, request);
    let effort = reasoning::wanted(o, &request.thinking, target, losses)?;
    if request.cache.is_some() {
        losses.drop_named("cache_control")?;
    }
    if request.counting {
        return Ok(());
    }
    limit(o, request, target);
    samplers(o, request, target, effort, losses)?;
    identity(o, request, target);
    o.bool("store", false).array("include", |list| {
        list.text("reasoning.encrypted_content");
        if request.logprobs.is_some() {
            list.text("message.output_text.logprobs");
        }
    });
    if let Some(count) = request.logprobs {
        o.number("top_logprobs", count);
    }
    if request.stream {
        o.bool("stream", true);
    }
    extras(o, request, losses)
}

/// Writes the form of the answer, and its verbosity.
fn text(o: &mut Object<'_>, request: &Request<'_>) {
    let format = !matches!(request.format, Format::Text);
    if !format && request.verbosity.is_none() {
        return;
    }
    o.object("text", |o| {
        if format {
            o.object("format", |o| form(o, &request.format));
        }
        if let Some(verbosity) = &request.verbosity {
            o.json_str("verbosity", verbosity);
        }
    });
}

fn form(o: &mut Object<'_>, format: &Format<'_>) {
    match format {
        Format::Text => {
            o.text("type", "text");
        }
        Format::JsonObject => {
            o.text("type", "json_object");
        }
        Format::Schema { name, description, schema, strict } => {
            o.text("type", "json_schema").json_str("name", name.as_ref().unwrap_or(&NAME));
            if let Some(description) = description {
                o.json_str("description", description);
            }
            o.raw("schema", schema).bool("strict", is_strict(name.is_some(), *strict, schema));
        }
    }
}

/// A client that cannot say `strict`, nor a name, gets it wherever the schema allows it.
fn is_strict(named: bool, strict: Option<bool>, schema: &Raw<'_>) -> bool {
    strict.unwrap_or_else(|| !named && schema::is_closed(schema.get()))
}

fn limit(o: &mut Object<'_>, request: &Request<'_>, target: &Target<'_>) {
    let Some(wanted) = request.max_output else { return };
    let most = target.caps.max_output.unwrap_or(u64::MAX);
    let least = MIN_OUTPUT_TOKENS.max(target.profile.min_max_tokens.into());
    o.number("max_output_tokens", wanted.min(most).max(least));
}

/// Writes the sampling parameters that the provider and its model accept.
fn samplers(
    o: &mut Object<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    effort: Option<Effort>,
    losses: &mut Losses,
) -> Result<()> {
    let refused = samplers::are_refused(target, effort);
    samplers::check_logprobs(request, refused, "logprobs")?;
    samplers::write(o, request, target, refused, losses)?;
    if request.samplers.top_k.as_ref().is_some_and(|top_k| !matches!(top_k.get(), "0" | "-1")) {
        losses.drop_named("top_k")?;
    }
    if request.stop.is_empty() { Ok(()) } else { losses.drop_named("stop") }
}

/// Writes the user and the service tier.
fn identity(o: &mut Object<'_>, request: &Request<'_>, target: &Target<'_>) {
    let name = match target.profile.user_field {
        UserField::User => Some("user"),
        UserField::SafetyIdentifier => Some("safety_identifier"),
        UserField::None => None,
    };
    match (name, &request.user) {
        (Some(name), Some(user)) if user.chars().count() <= MAX_USER_LEN => {
            o.text(name, user);
        }
        (Some(name), Some(user)) => {
            o.text(name, &sha256_hex(user));
        }
        _ => {}
    }
    if let Some(tier) = &request.tier {
        o.text("service_tier", tier);
    }
}

/// Writes the members that are forwarded. Members that only the gateway decides about are listed.
fn extras(o: &mut Object<'_>, request: &Request<'_>, losses: &mut Losses) -> Result<()> {
    for extra in &request.extra {
        let name = &*extra.name;
        // Some servers ignore the case of names.
        let is_in = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let said = is_in(&OWN) || is_in(&["service_tier"]) && request.tier.is_some();
        if said || is_in(&FORBIDDEN) {
            field::lose(name, &extra.value, losses)?;
        } else {
            // The client has chosen the name, so it can contain anything.
            o.raw(JsonStr::of(name).raw(), &extra.value);
        }
    }
    Ok(())
}

/// The name for a schema without one.
const NAME: JsonStr<'static> = JsonStr::plain("response");

/// Minimum limit of tokens that OpenAI accepts.
const MIN_OUTPUT_TOKENS: u64 = 16;

/// Maximum number of characters of a user's id that OpenAI accepts.
const MAX_USER_LEN: usize = 64;

/// Members that are only written from the canonical request.
const OWN: [&str; 17] = [
    "model",
    "input",
    "instructions",
    "stream",
    "store",
    "include",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "text",
    "reasoning",
    "user",
    "safety_identifier",
];

/// Members that refer to state, which all callers share at the provider.
const FORBIDDEN: [&str; 5] =
    ["previous_response_id", "conversation", "prompt", "background", "background_options"];

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
