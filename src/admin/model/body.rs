//! Bodies of requests, of which all mistakes are reported at once.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::admin::error::{Code, Mistake, OperationError};

/// A request whose values can be wrong although their types are right.
pub(in crate::admin) trait Checked {
    /// Adds the mistakes.
    fn check(&self, mistakes: &mut Vec<Mistake>);
}

/// Reads a body, all members of which are optional to its type.
///
/// # Errors
/// Fails with all mistakes of the body.
pub(in crate::admin) fn read_body<T: DeserializeOwned + Checked>(body: &[u8]) -> Result<T, OperationError> {
    let value: T = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return Err(explained::<T>(body, &error)),
    };
    let mut mistakes = Vec::new();
    value.check(&mut mistakes);
    if mistakes.is_empty() { Ok(value) } else { Err(OperationError::invalid(mistakes)) }
}

/// Finds the mistakes of a body that is not of its type: each member is read by itself.
fn explained<T: DeserializeOwned>(body: &[u8], whole: &serde_json::Error) -> OperationError {
    let Ok(members) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(body) else {
        return OperationError::new(Code::InvalidRequest, format!("the body is no JSON object: {whole}"));
    };
    let mistakes = members.iter().filter_map(|(name, value)| {
        let alone = serde_json::to_string(&BTreeMap::from([(name, value)])).ok()?;
        let error = serde_json::from_str::<T>(&alone).err()?.to_string();
        let text = error.split(" at line ").next().unwrap_or_default();
        let message = if text.starts_with("unknown field") { "there is no such field" } else { text };
        Some(Mistake::new(name, message))
    });
    OperationError::invalid(mistakes.collect())
}
