//! Encoding of a request for a provider.

use crate::canon::{Format, Losses, Request, Target, ToolNames};
use crate::failure::Result;
use crate::json::write::{self, Object};
use crate::json::{JsonStr, Raw, compact};
use crate::protocol::{Written, field, phrases};

use super::message::{Contents, ContentsWriter};
use super::reasoning::ThinkingConfig;
use super::tools::ToolPlan;

/// Writes the request. Its model and its form stand in the path.
pub(in crate::protocol::gemini) fn write(
    request: &Request<'_>,
    target: &Target<'_>,
    names: &ToolNames,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<Written> {
    let plan = ToolPlan::new(request, target, losses)?;
    let contents = Contents::new(request, losses)?;
    let thinking = ThinkingConfig::decide(request, target, losses)?;
    let form = AnswerForm::of(request, &plan, target, losses)?;
    let tier = tier(request, losses)?;
    let mut config = Vec::new();
    let mut written = Ok(());
    write::members(&mut config, |o| {
        written = generation(request, target, &thinking, &form, losses, o);
    });
    written?;
    write::object(out, |o| {
        if request.counting {
            let model = format!("models/{}", target.model.trim_start_matches("models/"));
            o.object("generateContentRequest", |o| {
                o.text("model", &model);
                members(request, target, names, (&plan, &contents, &form), o);
            });
            return;
        }
        members(request, target, names, (&plan, &contents, &form), o);
        if !config.is_empty() {
            o.object("generationConfig", |o| {
                o.members(&config);
            });
        }
        if let Some(tier) = tier {
            o.text("serviceTier", tier);
        }
    });
    Ok(Written::default())
}

/// Writes the prompt.
fn members(
    request: &Request<'_>,
    target: &Target<'_>,
    names: &ToolNames,
    (plan, contents, form): (&ToolPlan<'_, '_>, &Contents<'_, '_>, &AnswerForm<'_>),
    o: &mut Object<'_>,
) {
    let texts = || request.system.iter().filter(|text| !text.text.is_empty() && !request.turns.is_empty());
    let instruction = form.instruction();
    if texts().next().is_some() || instruction.is_some() {
        o.object("systemInstruction", |o| {
            o.array("parts", |list| {
                texts().for_each(|text| super::content::text(&text.text, list));
                instruction.iter().for_each(|text| super::content::text(text, list));
            });
        });
    }
    o.array("contents", |list| ContentsWriter { target, names }.write(contents, list));
    plan.write(names, o);
}

/// The form in which the model is to answer.
enum AnswerForm<'r> {
    Free,
    Json(Option<&'r Raw<'r>>),
    /// By an instruction, because the model takes no schema beside functions.
    Asked(Option<&'r Raw<'r>>),
}

impl<'r> AnswerForm<'r> {
    fn of(
        request: &'r Request<'_>,
        plan: &ToolPlan<'_, '_>,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Self> {
        let schema = match &request.format {
            Format::Text => return Ok(Self::Free),
            Format::JsonObject => None,
            Format::Schema { schema, .. } => Some(schema),
        };
        if plan.has_functions() && !target.caps.mixed_tools {
            losses.drop_named("response_format")?;
            return Ok(Self::Asked(schema));
        }
        Ok(Self::Json(schema))
    }

    fn instruction(&self) -> Option<JsonStr<'static>> {
        let Self::Asked(schema) = self else { return None };
        let Some(schema) = schema else { return Some(JsonStr::plain(phrases::ANY_OBJECT)) };
        let mut out = Vec::with_capacity(schema.get().len());
        compact(schema.get(), &mut out);
        let schema = String::from_utf8_lossy(&out);
        Some(JsonStr::of(&format!("{}{schema}", phrases::OBJECT_OF_SCHEMA)))
    }
}

/// Writes the members of `generationConfig`.
fn generation(
    request: &Request<'_>,
    target: &Target<'_>,
    thinking: &ThinkingConfig,
    form: &AnswerForm<'_>,
    losses: &mut Losses,
    o: &mut Object<'_>,
) -> Result<()> {
    samplers(request, losses, o)?;
    if let Some(limit) = request.max_output {
        let most = target.caps.max_output.unwrap_or(u64::MAX);
        o.number("maxOutputTokens", limit.max(target.profile.min_max_tokens.into()).min(most));
    }
    stop(request, losses, o)?;
    extras(request, losses, o)?;
    if let Some(count) = request.logprobs {
        o.bool("responseLogprobs", true);
        if count > 0 {
            o.number("logprobs", count.min(MAX_LOGPROBS));
        }
    }
    if let AnswerForm::Json(schema) = form {
        o.text("responseMimeType", "application/json");
        if let Some(schema) = schema {
            o.raw("responseJsonSchema", schema);
        }
    }
    thinking.write(o);
    if request.parallel == Some(false) && !request.tools.is_empty() {
        losses.drop_named("parallel_tool_calls")?;
    }
    if request.verbosity.is_some() {
        losses.drop_named("verbosity")?;
    }
    Ok(())
}

fn samplers(request: &Request<'_>, losses: &mut Losses, o: &mut Object<'_>) -> Result<()> {
    let samplers = &request.samplers;
    let number = |raw: &Raw<'_>| raw.get().parse::<f64>().unwrap_or(1.0);
    match &samplers.temperature {
        Some(temperature) if number(temperature) > MAX_TEMPERATURE => {
            losses.change("temperature", MAX_TEMPERATURE)?;
            o.number("temperature", 2);
        }
        Some(temperature) => {
            o.raw("temperature", temperature);
        }
        None => {}
    }
    if let Some(top_p) = &samplers.top_p {
        o.raw("topP", top_p);
    }
    // In other servers, zero and minus one turn it off.
    if let Some(top_k) = samplers.top_k.as_ref().filter(|top_k| number(top_k) > 0.0) {
        let spelled = top_k.get();
        o.json("topK", spelled.strip_suffix(".0").unwrap_or(spelled));
    }
    Ok(())
}

fn stop(request: &Request<'_>, losses: &mut Losses, o: &mut Object<'_>) -> Result<()> {
    let texts = || request.stop.iter().filter(|text| !text.is_empty());
    let count = texts().count();
    if count < request.stop.len() || count > MAX_STOP_COUNT {
        losses.change("stop", count.min(MAX_STOP_COUNT))?;
    }
    if count > 0 {
        o.array("stopSequences", |list| {
            texts().take(MAX_STOP_COUNT).for_each(|text| {
                list.json_str(text);
            });
        });
    }
    Ok(())
}

/// Writes the sampling parameters that Chat has under other names. The provider refuses all other members.
fn extras(request: &Request<'_>, losses: &mut Losses, o: &mut Object<'_>) -> Result<()> {
    for extra in &request.extra {
        let name = match &*extra.name {
            "seed" => "seed",
            "frequency_penalty" => "frequencyPenalty",
            "presence_penalty" => "presencePenalty",
            name => {
                field::lose(name, &extra.value, losses)?;
                continue;
            }
        };
        o.raw(name, &extra.value);
    }
    Ok(())
}

fn tier(request: &Request<'_>, losses: &mut Losses) -> Result<Option<&'static str>> {
    match request.tier.as_deref() {
        None | Some("auto") => Ok(None),
        Some("default" | "standard_only") => Ok(Some("standard")),
        Some("flex") => Ok(Some("flex")),
        Some("priority") => Ok(Some("priority")),
        // Other tiers have other prices.
        Some(_) => losses.drop_named("service_tier").map(|()| None),
    }
}

/// The highest temperature that the protocol allows.
const MAX_TEMPERATURE: f64 = 2.0;

/// Maximum number of stop sequences, from Google's reference.
const MAX_STOP_COUNT: usize = 5;

/// Maximum number of likely tokens whose probabilities are told, from Google's reference.
const MAX_LOGPROBS: u64 = 20;
