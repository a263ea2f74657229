//! The file's JSON Schema, for editors.

use super::Settings;

/// The schema, as `conf/schema.json` holds it.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(Settings);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
