//! Requests for providers, as the reference describes them. Numbers are those of its golden cases.

use std::collections::BTreeSet;

use crate::canon::{
    Args, CacheParts, Call, Caps, DocumentPart, Effort, EffortFormat, Image, JsonSchemaSupport, Losses,
    MaxTokensField, Part, Profile, ProtocolId, ReasoningIn, Request, Role, Sealer, Source, SystemRole,
    Target, Text, Tool, ToolChoice, ToolNames, ToolResult, Turn, UserField,
};
use crate::failure::Result;
use crate::json::{JsonStr, Raw};
use crate::protocol::Written;

#[path = "members_tests.rs"]
mod members_beside_messages;
#[path = "message_tests.rs"]
mod messages;

/// Writes a request, and shows what was left out.
fn write(request: &Request<'_>, profile: &Profile) -> Result<(String, String, Written)> {
    let caps = Caps::of(ProtocolId::Chat, "m", profile);
    let target = Target {
        protocol: ProtocolId::Chat,
        origin: "p",
        model: "m",
        profile,
        caps: &caps,
        sealer: &Sealer::default(),
    };
    let names = ToolNames::new(&request.tools, 64, profile.custom_tools);
    let (mut losses, mut out) = (Losses::default(), Vec::new());
    let written = super::write(request, &target, &names, &mut losses, &mut out)?;
    let body = String::from_utf8(out).unwrap();
    assert!(Raw::read(&body).is_some(), "{body}");
    Ok((body, losses.header().unwrap_or_default(), written))
}

/// The messages of a request.
fn talk(request: &Request<'_>, profile: &Profile) -> String {
    let (body, ..) = write(request, profile).unwrap();
    let (_, rest) = body.split_once("\"messages\":[").unwrap();
    let mut depth = 1;
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.bytes().position(|byte| {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'[' if !quoted => depth += 1,
            b']' if !quoted => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    rest.get(..end.unwrap()).unwrap().to_owned()
}

/// The members besides the messages of a request with nothing else, and what was left out.
fn members(request: &Request<'_>, profile: &Profile) -> (String, String) {
    let (body, lost, _) = write(request, profile).unwrap();
    let rest = body.strip_prefix(r#"{"model":"m","messages":["#).unwrap();
    let rest = rest.rsplit_once(QUESTION).map_or(rest, |(_, rest)| rest);
    (rest.strip_prefix(']').unwrap().strip_suffix('}').unwrap().to_owned(), lost)
}

const QUESTION: &str = r#"{"role":"user","content":"q"}"#;

fn any() -> Profile {
    Profile::default()
}

/// The habits of OpenAI itself.
fn openai() -> Profile {
    Profile {
        is_openai: true,
        max_tokens_field: MaxTokensField::MaxCompletionTokens,
        system_role: SystemRole::Developer,
        content_arrays: true,
        user_field: UserField::SafetyIdentifier,
        cache_parts: CacheParts::OpenaiBreakpoint,
        strict_tools: true,
        custom_tools: true,
        web_search: true,
        tool_choice_values: BTreeSet::from([
            ToolChoice::None,
            ToolChoice::Auto,
            ToolChoice::Required,
            ToolChoice::Named,
            ToolChoice::Allowed,
        ]),
        ..any()
    }
}

fn deepseek() -> Profile {
    Profile {
        reasoning_in: ReasoningIn::ReasoningContent,
        reasoning_required: true,
        effort: EffortFormat::ThinkingToggleEffort,
        efforts: BTreeSet::from([Effort::None, Effort::Low, Effort::High, Effort::Max]),
        json_schema: JsonSchemaSupport::JsonObject,
        forced_with_thinking: false,
        ..any()
    }
}

fn text<'a>(text: &'static str) -> Part<'a> {
    Part::Text(Text::new(JsonStr::of(text)))
}

fn user(parts: Vec<Part<'_>>) -> Turn<'_> {
    Turn::new(Role::User, parts)
}

fn assistant(parts: Vec<Part<'_>>) -> Turn<'_> {
    Turn::new(Role::Assistant, parts)
}

fn system<'a>(words: &'static str) -> Turn<'a> {
    Turn::new(Role::System, vec![text(words)])
}

fn request(turns: Vec<Turn<'_>>) -> Request<'_> {
    Request { turns, ..Request::default() }
}

fn question<'a>() -> Request<'a> {
    request(vec![user(vec![text("q")])])
}

fn call<'a>(id: &'static str) -> Part<'a> {
    Part::Call(Call {
        id: id.into(),
        namespace: None,
        name: "f".into(),
        custom: false,
        args: Args::Raw(Raw::constant(r#"{ "b": 1.0, "a": 1e2 }"#)),
        extra: None,
    })
}

fn result<'a>(id: &'static str, content: Vec<Part<'a>>) -> Part<'a> {
    Part::Result(ToolResult { id: id.into(), custom: false, content, is_error: false, cache: None })
}

fn image<'a>() -> Part<'a> {
    let source = Source::Base64 { mime: "image/png".into(), data: "AAAA".into() };
    Part::Image(Image { source, path: String::new(), detail: None, cache: None })
}

fn pdf<'a>(name: Option<JsonStr<'a>>) -> Part<'a> {
    let source = Source::Base64 { mime: "application/pdf".into(), data: "JVBE".into() };
    Part::Document(DocumentPart { source, path: String::new(), name, context: None, cache: None })
}

fn call_json(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","type":"function","function":{{"name":"f","arguments":"{{\"b\":1.0,\"a\":1e2}}"}}}}"#
    )
}

fn function<'a>(name: &'static str) -> Tool<'a> {
    Tool::function(name.into(), None, None)
}
