//! Reasoning: the effort that is asked of a model, and the reasoning of earlier turns for the provider that it came from.
//!
//! Only what the provider itself has sealed goes back, without the item's id: some servers give ids that they
//! refuse afterwards. Reasoning without a seal is left out, because nothing is stored that it could refer to.

use std::collections::BTreeSet;

use crate::canon::{Effort, Losses, Reasoning, Sealed, Target, Thinking};
use crate::failure::Result;
use crate::json::write::{Array, Object};
use crate::json::{JsonStr, Raw};

use crate::protocol::effort;
use crate::protocol::pick::{fields_named, indexed_elements};

/// Writes how the model shall think. Returns the effort that it is asked for, if it is.
pub(super) fn wanted(
    o: &mut Object<'_>,
    thinking: &Thinking,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Option<Effort>> {
    let levels = effort::levels(target);
    if thinking.is_wanted() && !effort::can_think(&levels) {
        losses.drop_named(EFFORT)?;
        return Ok(None);
    }
    let effort = if thinking.is_off() {
        effort::off(&levels, target, EFFORT, losses)?
    } else {
        level(thinking, &levels)
    };
    let summary = thinking.is_wanted() && thinking.show != Some(false);
    if effort.is_none() && !summary {
        return Ok(None);
    }
    o.object("reasoning", |o| {
        if let Some(level) = effort {
            o.text("effort", level.as_str());
        }
        if summary {
            o.text("summary", "auto");
        }
    });
    Ok(effort)
}

/// Returns the level that is nearest to the client's wish.
fn level(thinking: &Thinking, levels: &BTreeSet<Effort>) -> Option<Effort> {
    let requested = thinking.effort.or_else(|| thinking.budget.map(Effort::of_budget))?;
    requested.nearest(levels)
}

/// The member that selects the effort.
const EFFORT: &str = "reasoning.effort";

/// Writes the items, if there is anything that the provider can read.
pub(super) fn write(list: &mut Array<'_>, reasoning: &Reasoning<'_>) {
    match &reasoning.sealed {
        Some(Sealed::Carried(carrier)) => {
            carrier.blocks.iter().for_each(|block| item(list, block.get()));
        }
        Some(Sealed::Item(native)) => item(list, native.get()),
        Some(Sealed::Details(entries)) => details(list, entries),
        Some(Sealed::Thinking(_)) | None => {}
    }
}

/// Writes a native item, with only the members that belong to reasoning.
fn item(list: &mut Array<'_>, json: &str) {
    let [content, summary, thoughts] = fields_named(json, ["encrypted_content", "summary", "content"]);
    let Some(content) = content.and_then(JsonStr::read).filter(|content| !content.is_empty()) else { return };
    list.object(|o| {
        begin(o, &content);
        match summary.and_then(Raw::read) {
            Some(summary) => o.raw("summary", &summary),
            None => o.array("summary", |_| {}),
        };
        if let Some(thoughts) = thoughts.and_then(Raw::read) {
            o.raw("content", &thoughts);
        }
    });
}

fn begin(o: &mut Object<'_>, content: &JsonStr<'_>) {
    o.text("type", "reasoning").json_str("encrypted_content", content);
}

/// Writes items from Chat's form: one for each encrypted entry, with the summaries before it.
fn details(list: &mut Array<'_>, entries: &Raw<'_>) {
    let mut summaries: Vec<JsonStr<'_>> = Vec::new();
    for (_, entry) in indexed_elements(Some(entries.get())) {
        let [kind, summary, data, format] = fields_named(entry, ["type", "summary", "data", "format"]);
        match (kind, data.and_then(JsonStr::read)) {
            (Some("\"reasoning.summary\""), _) => summaries.extend(summary.and_then(JsonStr::read)),
            (Some("\"reasoning.encrypted\""), Some(data)) if format == Some(FORMAT) => {
                list.object(|o| {
                    begin(o, &data);
                    o.array("summary", |list| {
                        for text in summaries.drain(..) {
                            list.object(|o| {
                                o.text("type", "summary_text").json_str("text", &text);
                            });
                        }
                    });
                });
            }
            _ => summaries.clear(),
        }
    }
}

/// The format of entries that came from this protocol.
const FORMAT: &str = "\"openai-responses-v1\"";
