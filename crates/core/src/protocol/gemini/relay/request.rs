//! The members of a Gemini request that are read, and those that a relay takes out.

use bytes::Bytes;

use crate::canon::Form;
use crate::failure::Kind;
use crate::json::{self, Edit, Lenient as _, Name};
use crate::protocol::RequestMembers;
use crate::protocol::members::CapsWithin;
use crate::protocol::state::Test;

/// The member that limits the tokens of an answer.
pub(in crate::protocol::gemini) const OUTPUT_CAP: &str = "maxOutputTokens";

pub(in crate::protocol::gemini) static MEMBERS: RequestMembers = RequestMembers {
    conversation: &["contents", "generatecontentrequest", "generate_content_request"],
    foreign: &[
        ("messages", " A request with 'messages' belongs to /v1/chat/completions or /v1/messages."),
        ("input", " A request with 'input' is one of the Responses API: send it to /v1/responses."),
    ],
    output_caps: &[],
    caps_within: Some(CapsWithin {
        object: "generationConfig",
        objects: &["generationconfig", "generation_config"],
        caps: &["maxoutputtokens", "max_output_tokens"],
        choices: &["candidatecount", "candidate_count"],
    }),
    stream_options: false,
    state: &[("continuationtoken", Test::Present), ("continuation_token", Test::Present)],
    opaque: &[
        "args",
        "response",
        "parameters",
        "labels",
        "parametersjsonschema",
        "parameters_json_schema",
        "responseschema",
        "response_schema",
        "responsejsonschema",
        "response_json_schema",
        "partmetadata",
        "part_metadata",
    ],
    prewarms: false,
    refusal: Kind::Unsupported,
};

/// Returns the edit that puts `model` and `stream` at the end of a body, where they count whatever else it holds.
pub(in crate::protocol::gemini) fn addressed(body: &[u8], model: &str, form: Form) -> Option<Edit> {
    let inside = body.trim_ascii_end().strip_suffix(b"}")?;
    let comma = if inside.trim_ascii_end().ends_with(b"{") { "" } else { "," };
    let model = json::write::literal(model);
    let members = format!("{comma}\"model\":{model},\"stream\":{}", form.is_stream());
    Some((inside.len()..inside.len(), members.into()))
}

/// Returns the edits that remove `model` and `stream`, which the path of the request stands for, from the end of a
/// body, and that give the request inside of a count the provider's name of the model.
pub(in crate::protocol::gemini) fn address_edits(body: &[u8], model: &str) -> Vec<Edit> {
    let (mut edits, mut last) = (Vec::new(), [None, None]);
    for member in json::members(body).lenient() {
        let [_, second] = last;
        // The quote stands before the key.
        last = [second, Some((member.key, member.key_span.start - 1, member.span.end))];
        let is_nested = Name::read(member.key).is_some_and(|name| NESTED.iter().any(|known| name.is(known)));
        for inner in json::members(member.value).lenient().filter(|inner| is_nested && inner.is("model")) {
            let literal = json::write::literal(&format!("models/{model}"));
            let start = member.span.start;
            edits.push((start + inner.span.start..start + inner.span.end, literal.into()));
        }
    }
    if let [Some((b"model", begin, _)), Some((b"stream", _, end))] = last {
        let before = body.get(..begin).unwrap_or_default().trim_ascii_end();
        let begin = if before.ends_with(b",") { before.len() - 1 } else { begin };
        edits.push((begin..end, Bytes::new()));
    }
    edits
}

/// The spellings of the member that holds a request of which the tokens are counted, in lower case.
const NESTED: [&str; 2] = ["generatecontentrequest", "generate_content_request"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::splice;

    #[test]
    fn the_path_is_written_into_the_body_and_taken_out_again() {
        for body in ["{}", "{ }", r#"{"contents":[]}"#, "{\"contents\":[],\"model\":\"x\"} \n"] {
            let edit = addressed(body.as_bytes(), "v/\"m", Form::Stream).unwrap();
            let with = splice(body.as_bytes(), &[edit]);
            assert!(std::str::from_utf8(&with).unwrap().contains(r#""model":"v/\"m","stream":true}"#));
            assert_eq!(splice(&with, &address_edits(&with, "up")), body.as_bytes());
        }
        assert!(addressed(b"[]", "m", Form::Whole).is_none());
    }

    #[test]
    fn the_members_at_the_end_go_and_all_else_stays() {
        for (body, expected) in [
            (r#"{ "contents": [] ,"model":"v/m","stream":true}"#, r#"{ "contents": [] }"#),
            (r#"{"model":"v/m","stream":true}"#, "{}"),
            (r#"{"contents":[], "model":"v/m" , "stream":true }"#, r#"{"contents":[] }"#),
            (
                r#"{"generateContentRequest":{"model":"models/v/m","contents":[]},"model":"v/m","stream":false}"#,
                r#"{"generateContentRequest":{"model":"models/up","contents":[]}}"#,
            ),
            (r#"{"stream":1,"contents":[]}"#, r#"{"stream":1,"contents":[]}"#),
        ] {
            let edits = address_edits(body.as_bytes(), "up");
            assert_eq!(String::from_utf8(splice(body.as_bytes(), &edits)).unwrap(), expected);
        }
    }
}
