//! Spare tools: tools that the provider runs for a fee, and that a request can do without.
//!
//! Coding clients offer them with every request, whether or not anybody asked for a search or an image. A model
//! that has no price for them goes without them, just as it does if its protocol has no place for them.

use bytes::Bytes;

use crate::json::{self, Cuts, Edit, Member};

use super::demand::Service;
use super::look;
use super::members::RequestMembers;

/// The removal of spare tools from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spare {
    /// The edits that remove the tools.
    pub edits: Vec<Edit>,
    /// The paths of the tools, such as `tools[8]`.
    pub paths: Vec<String>,
}

impl Spare {
    /// Finds the tools of a request that ask for a service without a price.
    ///
    /// Returns `None` if there are none, if no other tool is left, or if the request requires the use of a tool:
    /// then the client has asked for them and has to be told.
    #[must_use]
    pub fn of(body: &[u8], members: &RequestMembers, is_covered: impl Fn(Service) -> bool) -> Option<Self> {
        let mut tools = None;
        for member in json::members(body) {
            let member = member.ok()?;
            if member.is(TOOLS) {
                // If the member occurs twice, readers may take either.
                if tools.replace(member).is_some() {
                    return None;
                }
            } else if member.is("tool_choice") && !is_free(&member) {
                return None;
            }
        }
        let tools = tools?;
        let (mut cuts, mut paths) = (Cuts::default(), Vec::new());
        for (index, tool) in json::elements(tools.value).enumerate() {
            let (tool, span) = tool.ok()?;
            let path = format!("{TOOLS}[{index}]");
            let services = look::tool(tool, index, members).ok()?;
            let mut dear = services.iter().filter(|(service, _)| !is_covered(*service)).peekable();
            let goes = dear.peek().is_some();
            // A tool that holds others is removed only as a whole.
            if dear.any(|(_, at)| *at != path) {
                return None;
            }
            let start = tools.span.start;
            cuts.take(&(start + span.start..start + span.end), goes);
            paths.extend(goes.then_some(path));
        }
        if cuts.is_all() || paths.is_empty() {
            return None;
        }
        let edits = cuts.finish().into_iter().map(|span| (span, Bytes::new())).collect();
        Some(Self { edits, paths })
    }
}

/// Whether a tool choice leaves it to the model whether it uses one of the provider's tools.
fn is_free(choice: &Member<'_>) -> bool {
    let is_one_of = |value: &[u8], words: &[&str]| {
        json::text(value).is_some_and(|text| words.iter().any(|word| *word == text))
    };
    match choice.value.first() {
        Some(b'{') => {
            let mut types = json::members(choice.value)
                .filter(|member| member.as_ref().map_or(true, |member| member.is("type")));
            types.all(|member| member.is_ok_and(|member| is_one_of(member.value, FREE)))
        }
        _ => !choice.is_present() || is_one_of(choice.value, FREE),
    }
}

/// The member that lists tools, in all protocols.
const TOOLS: &str = "tools";

/// Choices that do not require one of the provider's tools.
const FREE: &[&str] = &["auto", "none", "function", "custom"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ProtocolId;

    fn without(body: &str, covered: &[Service]) -> Option<(String, String)> {
        let members = ProtocolId::Responses.protocol().members();
        let spare = Spare::of(body.as_bytes(), members, |service| covered.contains(&service))?;
        let body = String::from_utf8(json::splice(body.as_bytes(), &spare.edits)).unwrap();
        Some((body, spare.paths.join(",")))
    }

    #[test]
    fn tools_that_cost_a_fee_are_taken_out_and_all_others_stay() {
        let body = r#"{"tools" : [ {"type":"web_search"}, {"type":"function","name":"f"} ,{"type":"image_generation"}],"input":"x"}"#;
        let all = r#"{"tools" : [ {"type":"function","name":"f"}],"input":"x"}"#;
        assert_eq!(without(body, &[]).unwrap(), (all.to_owned(), "tools[0],tools[2]".to_owned()));
        let (left, paths) = without(body, &[Service::WebSearch]).unwrap();
        assert!(left.contains("web_search") && !left.contains("image_generation"), "{left}");
        assert_eq!(paths, "tools[2]");
        assert_eq!(without(body, &[Service::WebSearch, Service::ImageGeneration]), None);
    }

    #[test]
    fn what_the_client_wants_to_be_used_stays() {
        let tools = r#"[{"type":"function","name":"f"},{"type":"web_search_20260318","name":"web_search"}]"#;
        for (choice, goes) in [
            ("null", true),
            (r#""auto""#, true),
            (r#""none""#, true),
            (r#"{"type":"auto","disable_parallel_tool_use":true}"#, true),
            (r#"{"type":"function","name":"f"}"#, true),
            (r#""required""#, false),
            (r#"{"type":"any"}"#, false),
            (r#"{"type":"web_search"}"#, false),
            (r#"{"type":"tool","name":"web_search"}"#, false),
            (r#"{"type":"auto","type":"any"}"#, false),
            (r#"{"type":"allowed_tools","mode":"auto","tools":[{"type":"web_search"}]}"#, false),
            ("7", false),
        ] {
            let body = format!(r#"{{"tool_choice":{choice},"tools":{tools}}}"#);
            assert_eq!(without(&body, &[]).is_some(), goes, "{choice}");
        }
        for body in [
            r#"{"tools":[{"type":"web_search"}]}"#,
            r#"{"tools":[{"type":"function"}]}"#,
            r#"{"tools":[{"type":"function"},{"type":"web_search"}],"to\u006fls":[]}"#,
            r#"{"tools":[{"type":"function"},{"type":"namespace","tools":[{"type":"function"},{"type":"web_search"}]}]}"#,
            r#"{"tools":{"type":"web_search"}}"#,
            r#"{"input":"x"}"#,
        ] {
            assert_eq!(without(body, &[]), None, "{body}");
        }
    }
}
