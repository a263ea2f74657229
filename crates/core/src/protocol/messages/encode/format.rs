//! The form of the answer: enforced, produced by a tool, or only asked for.

use std::borrow::Cow;

use crate::canon::{ANSWER_TOOL, Format, JsonSchemaSupport, Request, Target};
use crate::json::write::{self, Array, Object, string};
use crate::json::{self, JsonStr, Raw};
use crate::protocol::phrases;
use crate::protocol::pick::members;

use super::schema;

/// The way in which the model is made to answer in the requested format.
#[derive(Debug)]
pub(super) enum AnswerFormat<'r> {
    /// Any text.
    Free,
    /// With a schema that the provider enforces.
    Enforced(Vec<u8>),
    /// With a tool that the model has to call.
    Tool { schema: &'r Raw<'r>, description: Option<&'r JsonStr<'r>> },
    /// With an instruction, with or without a schema.
    Asked(Option<Cow<'r, Raw<'r>>>),
}

impl<'r> AnswerFormat<'r> {
    /// Selects the form. `can_force` is whether the model can be forced to call a tool, and has no other tools.
    pub(super) fn of(request: &'r Request<'_>, target: &Target<'_>, can_force: bool) -> Self {
        let (schema, description) = match &request.format {
            Format::Text => return Self::Free,
            Format::JsonObject => return Self::Asked(None),
            Format::Schema { schema, description, .. } => (schema, description.as_ref()),
        };
        let described = described(schema, description).map_or(Cow::Borrowed(schema), Cow::Owned);
        if target.profile.json_schema != JsonSchemaSupport::Native {
            return Self::Asked(Some(described));
        }
        match schema::enforceable(&described) {
            Some(schema) => Self::Enforced(schema),
            None if can_force && schema::may_be_input(schema) => Self::Tool { schema, description },
            None => Self::Asked(Some(described)),
        }
    }

    pub(super) fn answer_tool(&self) -> Option<&'static str> {
        matches!(self, Self::Tool { .. }).then_some(ANSWER_TOOL)
    }

    /// Writes the block of instructions that asks for the form, if there is one.
    pub(super) fn write_instructions(&self, blocks: &mut Array<'_>) {
        let Self::Asked(schema) = self else { return };
        blocks.object(|o| {
            o.text("type", "text").value("text", |out| match schema {
                None => string(out, |text| text.plain(phrases::ANY_OBJECT)),
                Some(schema) => string(out, |text| {
                    text.plain(phrases::OBJECT_OF_SCHEMA);
                    let mut compact = Vec::with_capacity(schema.get().len());
                    json::compact(schema.get(), &mut compact);
                    text.plain(&String::from_utf8(compact).unwrap_or_default());
                }),
            });
        });
    }

    pub(super) fn asks(&self) -> bool {
        matches!(self, Self::Asked(_))
    }

    /// Writes `output_config.format`, if the form is enforced.
    pub(super) fn write(&self, o: &mut Object<'_>) {
        let Self::Enforced(schema) = self else { return };
        o.object("format", |o| {
            o.text("type", "json_schema").value("schema", |out| out.extend_from_slice(schema));
        });
    }

    pub(super) fn is_enforced(&self) -> bool {
        matches!(self, Self::Enforced(_))
    }
}

/// Returns the schema with the description of the format at the end of its own; `None` if there is nothing to add.
fn described(schema: &Raw<'_>, description: Option<&JsonStr<'_>>) -> Option<Raw<'static>> {
    let description = description.filter(|text| !text.is_empty())?;
    let mut out = Vec::with_capacity(schema.get().len() + description.raw().len() + 32);
    write::object(&mut out, |o| {
        let mut is_said = false;
        for (key, value) in members(schema.get()) {
            let own = JsonStr::read(value).filter(|own| key == b"description" && !own.is_empty());
            match (own, std::str::from_utf8(key)) {
                (Some(own), _) => {
                    is_said = true;
                    o.json_str("description", &JsonStr::concat(&[&own, &JsonStr::plain("\\n"), description]));
                }
                (None, Ok(key)) if key != "description" => {
                    o.json(key, value);
                }
                _ => {}
            }
        }
        if !is_said {
            o.json_str("description", description);
        }
    });
    String::from_utf8(out).ok().and_then(Raw::read_owned).filter(|_| schema.is_object())
}
