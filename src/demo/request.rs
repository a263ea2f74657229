//! A reading of a request that is independent of its protocol.
//!
//! Comes in: the body. Goes out: the facts that the answer depends on: the last user text, the last tool result,
//! the tool to call, the wanted format. The protocols name these facts differently and never contradict each
//! other, so one set of shapes reads all three. A member of an unexpected shape is ignored; only a body that is no
//! JSON object is refused.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::conversation::Conversation;
use super::json::{loose, read_or_default};

/// The facts of a request that the demo answers to.
pub(super) struct DemoRequest<'a> {
    /// The members as they came, for those who echo them.
    pub(super) wire: RequestWire<'a>,
    pub(super) conversation: Conversation,
    /// The functions that may be called, the one to call first; none if none is to be called.
    pub(super) tools: Vec<CallableFunction<'a>>,
    pub(super) format: AnswerFormat<'a>,
    pub(super) reasoning: bool,
    /// The body itself, which determines the assumed size of the prompt.
    pub(super) body: &'a [u8],
    /// A hash of the body, from which every id is made.
    pub(super) hash: String,
}

impl<'a> DemoRequest<'a> {
    /// Reads a body. Returns `None` if it is no JSON object, or a basic member has the wrong type.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let wire: RequestWire<'_> = serde_json::from_slice(body).ok()?;
        let conversation = Conversation::read(wire.messages.or(wire.input));
        let tools = if conversation.result.is_some() { Vec::new() } else { wire.functions() };
        let (format, reasoning) = (wire.format(), wire.reasons());
        Some(Self { wire, conversation, tools, format, reasoning, body, hash: hash(body) })
    }

    /// Whether a chat stream is to carry usage.
    pub(super) fn include_usage(&self) -> bool {
        self.wire.stream_options.include_usage == Some(true)
    }

    /// Whether the reasoning is sent in an encrypted form that the next request can send back.
    pub(super) fn sealed(&self) -> bool {
        self.wire.include.iter().any(|name| name == "reasoning.encrypted_content")
    }
}

/// The members of a request that matter here, of all three protocols.
#[derive(Deserialize)]
pub(super) struct RequestWire<'a> {
    #[serde(borrow)]
    pub(super) model: Option<Cow<'a, str>>,
    pub(super) stream: Option<bool>,
    #[serde(default, deserialize_with = "loose")]
    stream_options: StreamOptionsWire,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    response_format: Option<&'a RawValue>,
    #[serde(borrow)]
    output_config: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_effort: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "loose")]
    include: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) instructions: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) max_tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) parallel_tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) previous_response_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) prompt_cache_key: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) safety_identifier: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) store: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tools: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) top_logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) top_p: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) truncation: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) user: Option<&'a RawValue>,
}

impl<'a> RequestWire<'a> {
    /// Returns the functions of the request: first the one that it names, or else the first one that starts no other
    /// agent, then the others in their order.
    fn functions(&self) -> Vec<CallableFunction<'a>> {
        let tools: Vec<ToolWire<'_>> = read_or_default(self.tools);
        let mut functions: Vec<_> = tools.into_iter().filter_map(ToolWire::function).collect();
        let choice = ToolChoiceWire::read(self.tool_choice);
        if choice.kind == "none" {
            functions.clear();
        }
        let named = functions.iter().position(|f| choice.is(&f.name));
        let plain = || functions.iter().position(|f| !AGENT_TOOLS.contains(&&*f.name));
        let named = named.or_else(plain).unwrap_or(0);
        if let Some(first) = functions.get_mut(..=named) {
            first.rotate_right(1);
        }
        functions
    }

    fn format(&self) -> AnswerFormat<'a> {
        let held = |raw| read_or_default::<FormatHolderWire<'a>>(raw).format;
        let raw = self.response_format.or_else(|| held(self.text)).or_else(|| held(self.output_config));
        let shape: FormatWire<'_> = read_or_default(raw);
        match &*shape.kind {
            "json_object" => AnswerFormat::Object,
            "json_schema" => AnswerFormat::Schema(shape.schema.or(shape.json_schema.schema)),
            _ => AnswerFormat::Text,
        }
    }

    fn reasons(&self) -> bool {
        let effort =
            |raw| read_or_default::<Option<Cow<'_, str>>>(raw).is_some_and(|e| e != "none" && e != "minimal");
        let reasoning: ReasoningWire<'_> = read_or_default(self.reasoning);
        let thinking: ToolChoiceWire<'_> = read_or_default(self.thinking);
        effort(self.reasoning_effort)
            || effort(reasoning.effort)
            || reasoning.summary.is_some()
            || matches!(&*thinking.kind, "enabled" | "adaptive")
    }
}

#[derive(Deserialize, Default)]
struct StreamOptionsWire {
    include_usage: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReasoningWire<'a> {
    #[serde(borrow)]
    effort: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
}

/// A function the demo may call.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct CallableFunction<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) parameters: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ToolWire<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    function: Option<CallableFunction<'a>>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    input_schema: Option<&'a RawValue>,
}

impl<'a> ToolWire<'a> {
    /// Returns the function of a tool. A tool that the provider runs itself has no schema and is no function.
    fn function(self) -> Option<CallableFunction<'a>> {
        if self.function.is_some() {
            return self.function;
        }
        let own = self.kind == "function" || self.input_schema.is_some();
        own.then_some(CallableFunction { name: self.name, parameters: self.input_schema.or(self.parameters) })
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ToolChoiceWire<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    function: CallableFunction<'a>,
}

impl<'a> ToolChoiceWire<'a> {
    fn read(raw: Option<&'a RawValue>) -> Self {
        if raw.is_some_and(|raw| raw.get().starts_with('"')) {
            return Self { kind: read_or_default(raw), ..Self::default() };
        }
        read_or_default(raw)
    }

    fn is(&self, name: &str) -> bool {
        self.name == name || self.function.name == name
    }
}

/// The wanted format of the answer's text.
pub(super) enum AnswerFormat<'a> {
    Text,
    Object,
    Schema(Option<&'a RawValue>),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FormatHolderWire<'a> {
    #[serde(borrow)]
    format: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FormatWire<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    #[serde(borrow)]
    json_schema: JsonSchemaWire<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JsonSchemaWire<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

/// Computes FNV-1a over eight bytes at a time. Long prompts are hashed for every answer, and byte by byte this
/// would cost more than everything else.
pub(super) fn hash(bytes: &[u8]) -> String {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let rest = rest.iter().map(|byte| u64::from(*byte));
    let hash = words.chain(rest).fold(FNV_START, |hash, word| (hash ^ word).wrapping_mul(FNV_PRIME));
    format!("{hash:016x}")
}

/// Tools by which coding clients start other agents. Each of these would be told to start the next one, without end.
const AGENT_TOOLS: [&str; 3] = ["Agent", "Task", "spawn_agent"];

/// Offset basis and prime of 64-bit FNV.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_function() {
        let tools = r#""tools":[{"type":"web_search"},{"type":"function","name":"f"},
            {"type":"function","name":"g"}]"#;
        let name = |choice: &str| {
            let body = format!(r#"{{{tools},"tool_choice":{choice}}}"#);
            DemoRequest::read(body.as_bytes()).unwrap().tools.first().map(|f| f.name.clone().into_owned())
        };
        assert_eq!(name(r#""auto""#).as_deref(), Some("f"));
        assert_eq!(name(r#"{"type":"function","name":"g"}"#).as_deref(), Some("g"));
        assert_eq!(name(r#"{"type":"function","function":{"name":"g"}}"#).as_deref(), Some("g"));
        assert_eq!(name(r#""none""#), None);
        assert_eq!(name(r#"{"type":"none"}"#), None);
    }

    #[test]
    fn a_tool_that_starts_agents_is_called_only_if_it_is_named_or_alone() {
        let name = |tools: &str, choice: &str| {
            let list: Vec<_> =
                tools.split(' ').map(|tool| format!(r#"{{"name":"{tool}","input_schema":{{}}}}"#)).collect();
            let body = format!(r#"{{"tools":[{}],"tool_choice":{choice}}}"#, list.join(","));
            let request = DemoRequest::read(body.as_bytes()).unwrap();
            request.tools.into_iter().map(|tool| tool.name.into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(name("Agent Bash", r#"{"type":"auto"}"#), "Bash Agent");
        assert_eq!(name("spawn_agent Task f g", r#"{"type":"any"}"#), "f spawn_agent Task g");
        assert_eq!(name("Bash Agent", r#"{"type":"tool","name":"Agent"}"#), "Agent Bash");
        assert_eq!(name("Task", r#"{"type":"auto"}"#), "Task");
    }

    #[test]
    fn knows_when_reasoning_is_wanted() {
        let wants = |body: &str| DemoRequest::read(body.as_bytes()).unwrap().reasoning;
        assert!(wants(r#"{"reasoning_effort":"low"}"#) && !wants(r#"{"reasoning_effort":"minimal"}"#));
        assert!(wants(r#"{"reasoning":{"summary":"auto"}}"#) && !wants(r#"{"reasoning":{"effort":"none"}}"#));
        assert!(
            wants(r#"{"thinking":{"type":"adaptive"}}"#) && !wants(r#"{"thinking":{"type":"disabled"}}"#)
        );
    }

    #[test]
    fn refuses_what_is_no_object() {
        assert!(
            ["", "{", "[]", "7", "{\"model\":7}"]
                .iter()
                .all(|body| DemoRequest::read(body.as_bytes()).is_none())
        );
    }

    #[test]
    fn one_byte_makes_another_hash() {
        assert_ne!(hash(b"0123456789"), hash(b"0123456788"));
        assert_ne!(hash(b"\xff1234567"), hash(b"\x7f1234567"));
    }
}
