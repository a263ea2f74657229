//! Ids of calls, in the form that a provider accepts. The same id always gives the same result.

use std::borrow::Cow;

use crate::canon::{Profile, ToolId, base62, hashed_call_id};

/// Returns the id of a call for a provider.
pub(super) fn upstream<'i>(id: &'i str, profile: &Profile) -> Cow<'i, str> {
    match profile.tool_id {
        ToolId::Mistral9 if !is_mistral(id) => Cow::Owned(base62(id, MISTRAL_ID_LEN)),
        ToolId::Any if profile.is_openai && id.len() > MAX_ID_LEN => Cow::Owned(hashed_call_id(id)),
        ToolId::Any | ToolId::Mistral9 => Cow::Borrowed(id),
    }
}

fn is_mistral(id: &str) -> bool {
    id.len() == MISTRAL_ID_LEN && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Length of an id that Mistral accepts: exactly nine letters and digits.
const MISTRAL_ID_LEN: usize = 9;

/// Maximum length of an id that OpenAI accepts in this protocol.
const MAX_ID_LEN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_that_the_provider_takes() {
        let long = "x".repeat(90);
        let any = Profile::default();
        assert_eq!(upstream(&long, &any), long);
        let openai = Profile { is_openai: true, ..Profile::default() };
        assert_eq!(upstream(&long, &openai), hashed_call_id(&long));
        assert_eq!(upstream("functions.Bash:0", &openai), "functions.Bash:0");
        let mistral = Profile { tool_id: ToolId::Mistral9, ..Profile::default() };
        assert_eq!(upstream("aB3dE6gH9", &mistral), "aB3dE6gH9");
        let made = upstream("toolu_01AbC", &mistral);
        assert!(is_mistral(&made) && made == upstream("toolu_01AbC", &mistral));
    }
}
