//! The JSON Schema of the configuration file, for editors.

use super::Settings;

/// Returns the schema, which is also in `conf/schema.json`.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(Settings);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
