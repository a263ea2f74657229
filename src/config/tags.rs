//! The settings of tags of calls.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::{MAX_TAG_COUNT, is_tag_name};
use crate::located::Located;

use super::error::Problem;

/// The tags by which operators tell calls apart.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TagSettings {
    /// The members of a request's `metadata` that become tags of the call. The others are not read. Default: none.
    pub from_metadata: Vec<Located<String>>,
}

/// The rules for tags of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagRules {
    /// The members of a request's `metadata` that become tags.
    pub from_metadata: Vec<String>,
}

impl TagSettings {
    /// Returns the rules, and reports what is wrong.
    pub(super) fn rules(self, problems: &mut Vec<Problem>) -> TagRules {
        let wrong = self.from_metadata.iter().filter(|name| !is_tag_name(&name.value)).map(|name| {
            let form = "write 1 to 32 characters a-z, 0-9, '_', '.' and '-'";
            let message = format!("tags.from_metadata: '{}' cannot be the name of a tag: {form}", name.value);
            Problem { place: name.place, message }
        });
        let most = format!("tags.from_metadata: a call has at most {MAX_TAG_COUNT} tags");
        let excess = self.from_metadata.get(MAX_TAG_COUNT);
        problems.extend(wrong.chain(excess.map(|name| Problem { place: name.place, message: most })));
        TagRules { from_metadata: self.from_metadata.into_iter().map(|name| name.value).collect() }
    }
}
