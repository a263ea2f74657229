//! What mutations begin with: the golden cases, what the demo provider says, and a few written by hand.

use std::fs;
use std::path::{Path, PathBuf};

use crossmodel::demo;
use crossmodel::demo::ScriptStep;
use crossmodel_core::canon::ProtocolId;
use crossmodel_core::json::{Lenient as _, members};

/// Requests of clients.
pub(crate) fn requests(protocol: ProtocolId) -> Vec<Vec<u8>> {
    let hand = hand(protocol).iter().map(|text| text.as_bytes().to_vec());
    small(golden(protocol, "client", "request.json").into_iter().chain(hand))
}

/// Heads of requests: what clients send, and what is nearly that.
pub(crate) fn heads() -> Vec<Vec<u8>> {
    let lines = [
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway:8080\r\nauthorization: Bearer cm-x\r\ncontent-length: 5\r\n\r\n{...}",
        "POST /v1/messages?beta=true HTTP/1.1\r\nhost: g\r\nx-api-key: cm-x\r\nTransfer-Encoding: chunked\r\naccept: */*\r\n\r\n",
        "GET http://g/v1/models HTTP/1.1\r\nhost: g\r\nx-empty:\r\nx-tab:\ta\tb\u{e9}\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "CONNECT g:443 HTTP/1.1\r\nhost: g:443\r\nconnection: upgrade\r\nupgrade: h2c\r\nexpect: 100-continue\r\n\r\n",
        "POST /v1/responses HTTP/1.1\r\nhost: g\r\ncontent-length : 1\r\n folded\r\ncontent-length: 1, 1\nx: \0\r\n\r\n",
    ];
    lines.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Streams of providers.
pub(crate) fn streams(protocol: ProtocolId) -> Vec<Vec<u8>> {
    let said = hand(protocol).iter().map(|text| said(protocol, text));
    small(golden(protocol, "upstream", "upstream.sse").into_iter().chain(said))
}

/// Whole answers of providers.
pub(crate) fn replies(protocol: ProtocolId) -> Vec<Vec<u8>> {
    // Where a case is one of a request, the file of this name is one, too; it does no harm.
    let golden = golden(protocol, "upstream", "upstream.json");
    let whole = hand(protocol).iter().map(|text| text.replace(r#""stream":true"#, r#""stream":false"#));
    small(golden.into_iter().chain(whole.map(|text| said(protocol, &text))))
}

fn small(seeds: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    seeds.filter(|seed| seed.len() < LARGEST).collect()
}

/// All that the demo provider sends for a request.
fn said(protocol: ProtocolId, body: &str) -> Vec<u8> {
    let path = format!("/v1{}", protocol.protocol().path());
    let script = demo::answer("POST", &path, body.as_bytes());
    let sent = script.steps.iter().filter_map(|step| match step {
        ScriptStep::Send(bytes) => Some(bytes),
        _ => None,
    });
    sent.flatten().copied().collect()
}

/// Files of this name, in the cases whose `case.json` names the protocol as that of `whose`.
fn golden(protocol: ProtocolId, whose: &str, name: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let is_of = |folder: &PathBuf| {
        let case = fs::read(folder.join("case.json")).unwrap_or_default();
        let named = members(&case).lenient().find(|member| member.is(whose));
        named.and_then(|member| member.text()).as_deref() == Some(protocol.as_str())
    };
    folders(&root).iter().filter(|f| is_of(f)).filter_map(|folder| fs::read(folder.join(name)).ok()).collect()
}

/// All folders below, in the order of their names.
fn folders(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut here: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    here.sort();
    here.iter().flat_map(|folder| std::iter::once(folder.clone()).chain(folders(folder))).collect()
}

/// Requests that use much of a protocol.
fn hand(protocol: ProtocolId) -> &'static [&'static str] {
    match protocol {
        ProtocolId::Chat => &[
            r##"{"model":"chat","messages":[{"role":"user","content":"hi there"}],"stream":true,"stream_options":{"include_usage":true},"stop":["x"]}"##,
            r##"{"model":"chat","stream":true,"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a\ud83d\ude00"},{"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"get.weather","arguments":"{\"a\":[1,{\"b\":null}]}"}}]},{"role":"tool","tool_call_id":"c1","content":"ok"}],"tools":[{"type":"function","function":{"name":"get.weather","parameters":{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"array","items":{"$ref":"#/$defs/x"}}}}}},{"type":"custom","custom":{"name":"patch","format":{"type":"text"}}}],"tool_choice":"required","response_format":{"type":"json_schema","json_schema":{"name":"o","schema":{"type":"object","properties":{"q":{"type":"string"}}}}},"seed":7,"temperature":0.5}"##,
            r##"{"model":"chat","stream":true,"messages":[{"role":"user","content":"call"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}}],"tool_choice":{"type":"function","function":{"name":"f"}}}"##,
        ],
        ProtocolId::Responses => &[
            r##"{"model":"responses","input":"hi there","stream":true,"instructions":"be kind"}"##,
            r##"{"model":"responses","stream":true,"input":[{"role":"user","content":[{"type":"input_text","text":"x"},{"type":"input_image","image_url":"https://x/y.png"}]},{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"cm1.eyJvIjoiYSIsIm0iOiJiIiwiYiI6W119"},{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":[{"type":"input_text","text":"ok"}]}],"tools":[{"type":"function","name":"f","parameters":{"type":"object"}},{"type":"namespace","name":"crm","tools":[{"type":"function","name":"g","parameters":{}}]},{"type":"custom","name":"p"},{"type":"web_search"}],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]},"text":{"format":{"type":"json_schema","name":"o","schema":{"type":"object"}}},"reasoning":{"effort":"high","summary":"auto"}}"##,
            r##"{"model":"responses","stream":true,"input":"call","tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}],"tool_choice":"required","reasoning":{"effort":"low"}}"##,
        ],
        ProtocolId::Gemini => &[
            r##"{"contents":[{"role":"user","parts":[{"text":"hi there"}]}],"generationConfig":{"maxOutputTokens":9,"topK":40.0},"model":"chat","stream":true}"##,
            r##"{"systemInstruction":{"parts":{"text":"s"}},"contents":[{"role":"user","parts":[{"inline_data":{"mime_type":"image/png","data":"QUJD"}}]},{"role":"model","parts":[{"text":"t","thought":true},{"functionCall":{"id":"c1","name":"f","args":{"a":[1]}},"thoughtSignature":"Y20yLkFB"},{"functionCall":{"name":"f"}}]},{"role":"user","parts":[{"functionResponse":{"id":"c1","name":"f","response":{"output":"ok"},"parts":[{"inlineData":{"mimeType":"image/png","data":"QUJD"}}]}},{"functionResponse":{"name":"f","response":{"error":"x"}}}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","properties":{"a":{"type":"ARRAY","nullable":true,"items":{"type":"STRING"}}}}},{"name":"g","parametersJsonSchema":{"type":"object"}}]},{"googleSearch":{}}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f","g"]}},"generationConfig":{"thinkingConfig":{"include_thoughts":true,"thinking_budget":2048},"responseMimeType":"application/json","responseSchema":{"type":"OBJECT"}},"safetySettings":[{"threshold":"OFF"}],"model":"chat","stream":true}"##,
        ],
        ProtocolId::Messages => &[
            r##"{"model":"messages","max_tokens":100,"messages":[{"role":"user","content":"hi there"}],"stream":true,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]}"##,
            r##"{"model":"messages","max_tokens":4000,"stream":true,"thinking":{"type":"enabled","budget_tokens":2000},"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"d"}}]},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"S=="},{"type":"tool_use","id":"t1","name":"f","input":{"a":[1]}},{"type":"tool_use","id":"t2","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t2","content":[{"type":"text","text":"ok"},{"type":"image","source":{"type":"url","url":"https://x/y"}}],"is_error":true},{"type":"tool_result","tool_use_id":"t1","content":"ok"},{"type":"text","text":"go"}]}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{"a":{"type":"array"}}}},{"type":"web_search_20250305","name":"web_search"}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"stop_sequences":["\n\nHuman:"]}"##,
            r##"{"model":"messages","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"call"},{"role":"assistant","content":"The begin"}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{"a":{"type":"string"}}}}],"tool_choice":{"type":"any"}}"##,
        ],
    }
}

/// Bytes of a seed; the few that are larger would take all the time.
const LARGEST: usize = 32 << 10;
