//! The settings of the audit log.

use schemars::JsonSchema;
use serde::Deserialize;

use super::days::Days;

/// The settings of the audit log, which tells who has changed what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// The time for which changes are remembered, in days: `400d`. Default: `400d`.
    pub keep: Days,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { keep: Days(DEFAULT_DAYS) }
    }
}

/// The days for which changes are remembered if the file names none.
const DEFAULT_DAYS: u32 = 400;

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn days_have_a_unit() {
        let keep = |text: &str| {
            let text = format!("providers: {{demo: {{}}}}\n{text}");
            Config::parse(&text, |_| None)
                .map(|config| config.audit.keep.0)
                .map_err(|error| error.to_string())
        };
        assert_eq!([keep("").unwrap(), keep("audit: {keep: 30d}").unwrap()], [400, 30]);
        for wrong in ["30", "0d", "4w", "-1d"] {
            let error = keep(&format!("audit: {{keep: \"{wrong}\"}}")).unwrap_err();
            assert!(error.contains("is no number of days"), "{error}");
        }
    }
}
