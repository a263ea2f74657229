//! The request of a coding agent: 60 turns with calls and their results, 20 tools, some 140 kB.

use std::fmt::Write as _;

use crossmodel_core::protocol::ProtocolId;

/// The request in a protocol.
pub(crate) fn request(protocol: ProtocolId) -> String {
    let (turns, tools) = (turns(protocol), tools(protocol));
    let system = "You are a careful engineer.\\n".repeat(104);
    match protocol {
        ProtocolId::Chat => format!(
            r#"{{"model":"v/m","messages":[{{"role":"system","content":"{system}"}}{turns}],"tools":[{tools}],"stream":true,"reasoning_effort":"low"}}"#
        ),
        ProtocolId::Responses => format!(
            r#"{{"model":"v/m","instructions":"{system}","input":[{{"role":"user","content":"begin"}}{turns}],"tools":[{tools}],"stream":true}}"#
        ),
        ProtocolId::Messages => format!(
            r#"{{"model":"v/m","max_tokens":32000,"system":[{{"type":"text","text":"{system}"}}],"messages":[{{"role":"user","content":"begin"}}{turns}],"tools":[{tools}],"stream":true}}"#
        ),
        ProtocolId::Gemini => format!(
            r#"{{"systemInstruction":{{"parts":[{{"text":"{system}"}}]}},"contents":[{{"role":"user","parts":[{{"text":"begin"}}]}}{turns}],"tools":[{{"functionDeclarations":[{tools}]}}],"model":"v/m","stream":true}}"#
        ),
    }
}

/// Thirty calls and thirty results, each with text that has to be escaped.
fn turns(protocol: ProtocolId) -> String {
    let (call, result) = match protocol {
        ProtocolId::Chat => (
            r#",{"role":"assistant","content":"I look.","tool_calls":[{"id":"call_N","type":"function","function":{"name":"tool_3","arguments":"{\"path\":\"src/N.rs\",\"range\":[1,200]}"}}]}"#,
            r#",{"role":"tool","tool_call_id":"call_N","content":"TEXT"}"#,
        ),
        ProtocolId::Responses => (
            r#",{"type":"message","role":"assistant","content":[{"type":"output_text","text":"I look."}]},{"type":"function_call","call_id":"call_N","name":"tool_3","arguments":"{\"path\":\"src/N.rs\",\"range\":[1,200]}"}"#,
            r#",{"type":"function_call_output","call_id":"call_N","output":"TEXT"}"#,
        ),
        ProtocolId::Messages => (
            r#",{"role":"assistant","content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"call_N","name":"tool_3","input":{"path":"src/N.rs","range":[1,200]}}]}"#,
            r#",{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_N","content":"TEXT"}]}"#,
        ),
        ProtocolId::Gemini => (
            r#",{"role":"model","parts":[{"text":"I look."},{"functionCall":{"id":"call_N","name":"tool_3","args":{"path":"src/N.rs","range":[1,200]}}}]}"#,
            r#",{"role":"user","parts":[{"functionResponse":{"id":"call_N","name":"tool_3","response":{"output":"TEXT"}}}]}"#,
        ),
    };
    let text = "    let value = map.get(\\\"key\\\")?;\\n".repeat(104);
    let mut turns = String::new();
    for n in 0..30 {
        let n = n.to_string();
        turns.push_str(&call.replace('N', &n));
        turns.push_str(&result.replace('N', &n).replace("TEXT", &text));
    }
    turns
}

fn tools(protocol: ProtocolId) -> String {
    let schema = r#"{"type":"object","properties":{"path":{"type":"string","description":"Where the file stands, from the root of the project."},"range":{"type":"array","items":{"type":"integer"},"minItems":2}},"required":["path"],"additionalProperties":false}"#;
    let description = "Reads a file and shows its lines with their numbers. ".repeat(10);
    let mut tools = String::new();
    for n in 0..20 {
        let comma = if n > 0 { "," } else { "" };
        // Writing to a string can not fail.
        let _ = match protocol {
            ProtocolId::Chat => write!(
                tools,
                r#"{comma}{{"type":"function","function":{{"name":"tool_{n}","description":"{description}","parameters":{schema}}}}}"#
            ),
            ProtocolId::Responses => write!(
                tools,
                r#"{comma}{{"type":"function","name":"tool_{n}","description":"{description}","parameters":{schema},"strict":false}}"#
            ),
            ProtocolId::Messages => {
                write!(
                    tools,
                    r#"{comma}{{"name":"tool_{n}","description":"{description}","input_schema":{schema}}}"#
                )
            }
            ProtocolId::Gemini => {
                write!(
                    tools,
                    r#"{comma}{{"name":"tool_{n}","description":"{description}","parametersJsonSchema":{schema}}}"#
                )
            }
        };
    }
    tools
}
