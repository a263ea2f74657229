//! The form of the answer: enforced, produced by a tool, or only asked for.

use crate::canon::{ANSWER_TOOL, Format, JsonSchemaSupport, Request, Target};
use crate::json::write::{Array, Object, string};
use crate::json::{self, JsonStr, Raw};
use crate::protocol::phrases;

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
    Asked(Option<&'r Raw<'r>>),
}

impl<'r> AnswerFormat<'r> {
    /// Selects the form. `can_force` is whether the model can be forced to call a tool, and has no other tools.
    pub(super) fn of(request: &'r Request<'_>, target: &Target<'_>, can_force: bool) -> Self {
        let (schema, description) = match &request.format {
            Format::Text => return Self::Free,
            Format::JsonObject => return Self::Asked(None),
            Format::Schema { schema, description, .. } => (schema, description.as_ref()),
        };
        if target.profile.json_schema != JsonSchemaSupport::Native {
            return Self::Asked(Some(schema));
        }
        match schema::enforceable(schema) {
            Some(schema) => Self::Enforced(schema),
            None if can_force && schema::may_be_input(schema) => Self::Tool { schema, description },
            None => Self::Asked(Some(schema)),
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
