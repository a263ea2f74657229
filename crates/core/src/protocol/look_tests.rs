//! The references, names and demands of a request below its top level.

use super::{Demand, Service};
use crate::canon::{ProtocolId, Rate};
use crate::protocol::Head;

use ProtocolId::{Chat, Messages, Responses};

fn head(protocol: ProtocolId, members: &str) -> Head<'static> {
    let body = format!("{{\"model\":\"m\",{members}}}").leak();
    let read = Head::read(body.as_bytes(), protocol.protocol().members());
    read.unwrap_or_else(|why| panic!("{body}: {}", why.message()))
}

/// The path of the first reference to state.
fn state(protocol: ProtocolId, members: &str) -> Option<String> {
    head(protocol, members).stateful.and_then(|refusal| refusal.param().map(str::to_owned))
}

fn demand(protocol: ProtocolId, members: &str) -> Demand {
    head(protocol, members).demand
}

fn services(protocol: ProtocolId, members: &str) -> Vec<(Service, String)> {
    demand(protocol, members).services
}

/// A user's message to each protocol with these parts.
fn said(protocol: ProtocolId, parts: &str) -> String {
    let conversation = if protocol == Responses { "input" } else { "messages" };
    format!(r#""{conversation}":[{{"role":"user","content":[{parts}]}}]"#)
}

#[test]
fn what_the_provider_has_written_itself_is_no_reference() {
    let citation = r#"{"type":"container_file_citation","container_id":"cntr_1","file_id":"cfile_1","filename":"a.csv","start_index":0,"end_index":3}"#;
    let message = |role: &str, annotation: &str| {
        format!(
            r#""input":[{{"type":"message","content":[{{"type":"output_text","text":"t","annotations":[{annotation}]}}]{role}}}]"#
        )
    };
    let assistant = r#","role":"assistant""#;
    assert_eq!(state(Responses, &message(assistant, citation)), None);
    let path = || Some("input[0].content[0].annotations[0].container_id".to_owned());
    for role in [r#","role":"user""#, "", r#","role":"assistant","role":"user""#, r#","role":null"#] {
        assert_eq!(state(Responses, &message(role, citation)), path(), "{role}");
    }
    for other in [r#""input_file""#, r#"null"#, r#""file_path","type":"input_file""#] {
        let annotation = citation.replace(r#""container_file_citation""#, other);
        assert_eq!(state(Responses, &message(assistant, &annotation)), path(), "{other}");
    }
    let search = r#""input":[{"type":"file_search_call","id":"fs_1","status":"completed","queries":["q"],"results":[{"file_id":"file_1","text":"t"}]}]"#;
    assert_eq!(state(Responses, search), None);
    let other = search.replace("file_search_call", "computer_call_output");
    assert_eq!(state(Responses, &other).as_deref(), Some("input[0].results[0].file_id"));
}

#[test]
fn files_that_code_has_given_to_the_assistant_are_no_references() {
    let ran = |role: &str, block: &str, result: &str| {
        format!(
            r#""messages":[{{"role":"{role}","content":[{{"type":"{block}","tool_use_id":"t","content":{{"type":"{result}","content":[{{"type":"bash_code_execution_output","file_id":"file_1"}}]}}}}]}}]"#
        )
    };
    let (block, result) = ("bash_code_execution_tool_result", "bash_code_execution_result");
    assert_eq!(state(Messages, &ran("assistant", block, result)), None);
    for other in
        [ran("user", block, result), ran("assistant", "tool_result", result), ran("assistant", block, "x")]
    {
        let path = state(Messages, &other);
        assert_eq!(path.as_deref(), Some("messages[0].content[0].content.content[0].file_id"), "{other}");
    }
    let upload = said(Messages, r#"{"type":"container_upload","file_id":"file_1"}"#);
    assert_eq!(state(Messages, &upload).as_deref(), Some("messages[0].content[0].file_id"));
}

#[test]
fn an_item_that_is_nothing_but_its_id_is_a_reference() {
    for item in [
        r#"{"id":"msg_abc"}"#,
        r#"{"id":"msg_abc","type":null}"#,
        r#"{"id":"msg_abc","role":null}"#,
        r#"{"id":"msg_abc","type":""}"#,
        r#"{"type":"message","id":"msg_abc","type":null}"#,
        r#"{"i\u0064":"msg_abc"}"#,
        r#"{"id":"ig_1","type":"image_generation_call"}"#,
        r#"{"id":"ig_1","type":"image_generation_call","result":"","content":"x"}"#,
        r#"{"id":"rs_1","type":"reasoning"}"#,
        r#"{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":null}"#,
        r#"{"id":"rs_1","type":"reasoning","encrypted_content":"x","encrypted_content":""}"#,
    ] {
        let input = format!(r#""input":[{item},{{"role":"user","content":"hi"}}]"#);
        assert_eq!(state(Responses, &input).as_deref(), Some("input[0]"), "{item}");
    }
    for item in [
        r#"{"role":"user","content":"hi","id":"msg_1"}"#,
        r#"{"id":"msg_1","type":"message","content":"hi"}"#,
        r#"{"id":null,"content":"hi"}"#,
        r#"{"type":"image_generation_call","id":"ig_1","result":"iVBOR"}"#,
        r#"{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"x"}"#,
        r#"{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"t"}]}"#,
    ] {
        assert_eq!(state(Responses, &format!(r#""input":[{item}]"#)), None, "{item}");
    }
}

#[test]
fn references_are_found_in_every_shape() {
    for (protocol, members, path) in [
        (Responses, r#""input":[{"type":"item\u005freference","id":"x"}]"#, "input[0].type"),
        (
            Responses,
            r#""input":"x","tools":[{"type":"code_interpreter","container":"cntr_1"}]"#,
            "tools[0].container",
        ),
        (
            Responses,
            r#""input":"x","tools":[{"type":"shell","environment":{"type":"container_reference","container_id":"c"}}]"#,
            "tools[0].environment.container_id",
        ),
        (
            Responses,
            r#""input":"x","tools":[{"type":"shell","environment":{"type":"container_auto","skills":[{"type":"skill_reference","skill_id":"s"}]}}]"#,
            "tools[0].environment.skills[0].type",
        ),
        (Responses, r#""input":"x","tools":[{"type":"mcp","tunnel_id":"t"}]"#, "tools[0].tunnel_id"),
        (
            Responses,
            r#""input":"x","prompt_cache_options":{"comparison_response_id":"r"}"#,
            "prompt_cache_options.comparison_response_id",
        ),
        (Responses, r#""input":"x","background":1"#, "background"),
        (Responses, r#""input":"x","audio":{"voice":{"id":"v"}}"#, "audio.voice"),
        (Chat, r#""messages":[],"audio":{"voice":{"id":"v"},"format":"wav"}"#, "audio.voice"),
        (Chat, r#""messages":[{"role":"assistant","audio":{"id":"a"}}]"#, "messages[0].audio"),
        (Chat, r#""messages":[],"data_sources":[{"type":"azure_search"}]"#, "data_sources"),
        (
            Chat,
            r#""messages":[],"extra_body":{"google":{"cached_content":"c"}}"#,
            "extra_body.google.cached_content",
        ),
        (
            Messages,
            r#""messages":[],"container":{"skills":[{"type":"custom","skill_id":"s"}]}"#,
            "container.skills[0].skill_id",
        ),
        (
            Messages,
            r#""messages":[],"container":{"skills":[{"type":null,"skill_id":"s"}]}"#,
            "container.skills[0].skill_id",
        ),
        (
            Messages,
            r#""messages":[],"mcp_servers":[{"type":"url","tunnel_id":"t"}]"#,
            "mcp_servers[0].tunnel_id",
        ),
        (Messages, r#""messages":[],"user_profile_id":"u""#, "user_profile_id"),
        (Messages, r#""messages":[],"workspace_id":"w""#, "workspace_id"),
        (Messages, r#""messages":[],"billing_policy":"b""#, "billing_policy"),
    ] {
        assert_eq!(state(protocol, members).as_deref(), Some(path), "{members}");
        assert!(demand(protocol, members).unbounded.is_some(), "{members}");
    }
    for (protocol, members) in [
        (Messages, r#""messages":[],"container":{"skills":[{"type":"anthropic","skill_id":"pptx"}]}"#),
        (Messages, r#""messages":[],"workspace_id":null,"container":null"#),
        (Responses, r#""input":"x","store":true,"background":null,"audio":{"voice":"alloy"}"#),
        (
            Responses,
            r#""input":[{"type":"mcp_list_tools","id":"m","tools":[{"input_schema":{"file_id":{"type":"string"}}}]}]"#,
        ),
        (
            Chat,
            r#""messages":[],"tools":[{"type":"function","function":{"parameters":{"file_id":{"type":"image"}}}}]"#,
        ),
    ] {
        assert_eq!(state(protocol, members), None, "{members}");
    }
}

#[test]
fn containers_of_the_history_are_listed_and_others_are_references() {
    let call = r#"{"type":"code_interpreter_call","id":"ci_1","container_id":"cntr_1","code":"1"}"#;
    let shell = r#"{"type":"shell_call","id":"s","environment":{"type":"container_reference","container_id":"cntr_2"}}"#;
    let found =
        head(Responses, &format!(r#""input":[{{"role":"user","content":"x"}},{call},{shell},{call}]"#));
    let pair = |path: &str, id: &str| (path.to_owned(), id.to_owned());
    let expected =
        [pair("input[1].container_id", "cntr_1"), pair("input[2].environment.container_id", "cntr_2")];
    assert_eq!(found.containers, expected);
    assert!(found.stateful.is_none());
    for item in [
        call.replace("code_interpreter_call", "message"),
        call.replace("\"code\":", "\"container_id\":\"cntr_9\",\"code\":"),
        call.replace("\"cntr_1\"", "[\"cntr_1\"]"),
        shell.replace("container_reference", "local"),
        shell.replace("shell_call", "message"),
    ] {
        assert!(state(Responses, &format!(r#""input":[{item}]"#)).is_some(), "{item}");
    }
    let many: Vec<_> = (0..100).map(|n| call.replace("cntr_1", &format!("cntr_{n}"))).collect();
    let many = format!(r#""input":[{}]"#, many.join(","));
    assert_eq!(state(Responses, &many).as_deref(), Some("input[64].container_id"));
}

#[test]
fn models_of_tools_are_found() {
    for (protocol, tools, path, name) in [
        (
            Messages,
            r#"{"type":"advisor_20260301","name":"advisor","model":"big"}"#,
            "tools[0].model",
            Some("big"),
        ),
        (
            Responses,
            r#"{"type":"image_generation","model":"gpt-image-2"}"#,
            "tools[0].model",
            Some("gpt-image-2"),
        ),
        (Responses, r#"{"type":"image_generation","model":["a"]}"#, "tools[0].model", None),
        (
            Chat,
            r#"{"type":"openrouter:advisor","parameters":{"model":"m"}}"#,
            "tools[0].parameters.model",
            Some("m"),
        ),
        (
            Chat,
            r#"{"parameters":{"model":"m"},"type":"function","type":"openrouter:x"}"#,
            "tools[0].parameters.model",
            Some("m"),
        ),
    ] {
        let conversation = if protocol == Responses { "input" } else { "messages" };
        let found = head(protocol, &format!(r#""{conversation}":[],"tools":[{tools}]"#)).inner_models;
        assert_eq!(found.len(), 1, "{tools}");
        assert_eq!((found[0].path.as_str(), found[0].name.as_deref()), (path, name), "{tools}");
    }
    let added = r#""input":[{"type":"additional_tools","tools":[{"type":"image_generation","model":"g"}]}]"#;
    assert_eq!(head(Responses, added).inner_models[0].path, "input[0].tools[0].model");
    let plugins = r#""messages":[],"plugins":[{"id":"auto-router","allowed_models":["a"]}]"#;
    assert_eq!(head(Chat, plugins).inner_models[0].path, "plugins[0].allowed_models");
    let plain = r#""messages":[],"tools":[{"type":"function","model":"x","function":{"name":"f","parameters":
        {"properties":{"model":{"type":"string"},"type":{"type":"image"}}}}}]"#;
    assert_eq!(head(Chat, plain).inner_models, []);
}

#[test]
fn media_are_counted_by_part_however_they_are_spelled() {
    let image = r#"{"type":"image_url","image_url":{"url":"https://x/a.png"}}"#;
    for part in [
        image.to_owned(),
        image.replace("https", r"\u0068ttps"),
        image.replace("https", "HTTPS"),
        image.replace("\"url\":", "\"url\"  :  "),
        image.replace("\"image_url\":{", "\"image\\u005furl\":{"),
        image.replace("\"image_url\":{", "\"Image_URL\":{"),
        image.replace("\"type\":\"image_url\",", ""),
        image.replace("\"type\"", "\"type\":null,\"type\""),
        r#"{"type":"image_url","image_url":"data:image/png;base64,AA"}"#.to_owned(),
    ] {
        let both = format!("{part},{part}");
        assert_eq!(demand(Chat, &said(Chat, &both)).media, 2, "{part}");
    }
    for (protocol, part, media) in [
        (Chat, r#"{"type":"image_url","image_url":{"url":"a"},"image_url":{"url":"b"}}"#, 2),
        (Chat, r#"{"image_url":["a","b","c"]}"#, 3),
        (Chat, r#"{"type":"file","file":{"file_data":"data:application/pdf;base64,AA","filename":"a"}}"#, 1),
        (Chat, r#"{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}"#, 1),
        (Responses, r#"{"type":"input_image","image_url":"https://x"}"#, 1),
        (Responses, r#"{"type":"input_file","file_data":"data:application/pdf;base64,AA"}"#, 1),
        (Messages, r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA"}}"#, 1),
        (
            Messages,
            r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AA"}}"#,
            1,
        ),
        (
            Messages,
            r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"AA"}}"#,
            0,
        ),
        (
            Messages,
            r#"{"type":"tool_result","content":[{"type":"image","source":{"type":"url","url":"u"}},{"type":"image","source":{"type":"base64"}}]}"#,
            2,
        ),
        (Messages, r#"{"type":"text","text":"{\"type\":\"image\"} base64 \"url\":\"http"}"#, 0),
    ] {
        assert_eq!(demand(protocol, &said(protocol, part)).media, media, "{part}");
    }
    let output = r#""input":[{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"u"}]}]"#;
    assert_eq!(demand(Responses, output).media, 1);
}

#[test]
fn what_the_bytes_do_not_bound_is_named() {
    for (protocol, members, path) in [
        (
            Messages,
            said(Messages, r#"{"type":"document","source":{"type":"url","url":"https://x"}}"#),
            "messages[0].content[0]",
        ),
        (
            Responses,
            said(Responses, r#"{"type":"input_file","file_url":"https://x"}"#),
            "input[0].content[0].file_url",
        ),
        (
            Chat,
            said(Chat, r#"{"type":"file","file":{"file_data":"\u0048ttps://x"}}"#),
            "messages[0].content[0].file.file_data",
        ),
        (
            Chat,
            said(Chat, r#"{"type":"video_url","video_url":{"url":"u"}}"#),
            "messages[0].content[0].video_url",
        ),
        (Messages, r#""messages":[],"tools":[{"type":"web_fetch_20250910"}]"#.to_owned(), "tools[0]"),
        (Messages, r#""messages":[],"tools":[{"type":"something_new"}]"#.to_owned(), "tools[0]"),
        (Messages, r#""messages":[],"mcp_servers":[{"type":"url","url":"u"}]"#.to_owned(), "mcp_servers"),
        (Responses, r#""input":"x","tools":[{"type":"mcp","server_url":"u"}]"#.to_owned(), "tools[0]"),
        (Responses, r#""input":"x","previous_response_id":"r""#.to_owned(), "previous_response_id"),
        (Chat, r#""messages":[],"tools":[{"google_search":{}}]"#.to_owned(), "tools[0]"),
    ] {
        assert_eq!(demand(protocol, &members).unbounded.as_deref(), Some(path), "{members}");
    }
    for (protocol, members) in [
        (Chat, said(Chat, r#"{"type":"image_url","image_url":{"url":"https://x"}}"#)),
        (Messages, said(Messages, r#"{"type":"image","source":{"type":"url","url":"https://x"}}"#)),
        (Messages, r#""messages":[],"tools":[{"name":"f","input_schema":{}},{"type":"bash_20250124"},{"type":"computer_20251124"},
            {"type":"text_editor_20250728"},{"type":"memory_20250818"},{"type":"tool_search_tool_bm25_20251119"}]"#.to_owned()),
        (Responses, r#""input":"x","tools":[{"type":"shell","environment":{"type":"local"}},{"type":"apply_patch"},{"type":"custom"}]"#.to_owned()),
    ] {
        assert_eq!(demand(protocol, &members).unbounded, None, "{members}");
    }
}

#[test]
fn services_are_named_once_with_the_member_that_asks_for_them() {
    let tools = |tools: &str| format!(r#""messages":[],"input":"x","tools":[{tools}]"#);
    for (protocol, members, service, path) in [
        (
            Responses,
            tools(r#"{"type":"web_search"},{"type":"web_search_preview"}"#),
            Service::WebSearch,
            "tools[0]",
        ),
        (Responses, tools(r#"{"type":"function","type":"web\u005fsearch"}"#), Service::WebSearch, "tools[0]"),
        (Messages, tools(r#"{"name":"f"},{"type":"web_search_20250305"}"#), Service::WebSearch, "tools[1]"),
        (
            Chat,
            r#""messages":[],"web_search_options":{}"#.to_owned(),
            Service::WebSearch,
            "web_search_options",
        ),
        (Chat, r#""messages":[],"web_search":true"#.to_owned(), Service::WebSearch, "web_search"),
        (Responses, tools(r#"{"type":"image_generation"}"#), Service::ImageGeneration, "tools[0]"),
        (
            Responses,
            tools(r#"{"type":"code_interpreter","container":{"type":"auto"}}"#),
            Service::CodeExecution,
            "tools[0]",
        ),
        (Messages, tools(r#"{"type":"code_execution_20260120"}"#), Service::CodeExecution, "tools[0]"),
        (Responses, tools(r#"{"type":"shell"}"#), Service::CodeExecution, "tools[0]"),
        (Responses, tools(r#"{"type":"file_search"}"#), Service::FileSearch, "tools[0]"),
        (
            Chat,
            said(Chat, r#"{"type":"input_audio","input_audio":{}}"#),
            Service::AudioInput,
            "messages[0].content[0]",
        ),
        (
            Chat,
            r#""messages":[],"modalities":["text","audio"]"#.to_owned(),
            Service::AudioOutput,
            "modalities",
        ),
        (Chat, r#""messages":[],"Audio":{"voice":"a"}"#.to_owned(), Service::AudioOutput, "audio"),
        (Chat, r#""messages":[],"plugins":[{"id":"web"}]"#.to_owned(), Service::Plugins, "plugins"),
        (Chat, tools(r#"{"type":"openrouter:fusion"}"#), Service::Plugins, "tools[0]"),
    ] {
        assert_eq!(services(protocol, &members), [(service, path.to_owned())], "{members}");
    }
    let none = r#""messages":[],"web_search_options":null,"web_search":false,"plugins":[],"modalities":["text"],"audio":null,"tools":[]"#;
    assert_eq!(services(Chat, none), []);
}

#[test]
fn rates_and_long_lives_in_the_cache_are_noted() {
    for (members, rates) in [
        (r#""service_tier":"priority""#, vec![(Rate::Priority, "service_tier")]),
        (r#""service_tier":"fl\u0065x""#, vec![(Rate::Flex, "service_tier")]),
        (r#""service_tier":"fast","service_tier":"auto""#, vec![(Rate::Fast, "service_tier")]),
        (r#""speed":"fast","inference_geo":"us""#, vec![(Rate::Fast, "speed"), (Rate::Us, "inference_geo")]),
        (r#""service_tier":"default","speed":"standard","inference_geo":"eu""#, vec![]),
    ] {
        assert_eq!(demand(Messages, &format!(r#""messages":[],{members}"#)).rates, rates, "{members}");
    }
    for (ttl, is_long) in [("1h", true), ("1\\u0068", true), ("12h", true), ("5m", false)] {
        let part =
            format!(r#"{{"type":"text","text":"x","cache_control":{{"type":"ephemeral","ttl":"{ttl}"}}}}"#);
        assert_eq!(demand(Messages, &said(Messages, &part)).long_cache, is_long, "{ttl}");
    }
    assert_eq!(demand(Chat, r#""messages":[{"role":"user","content":"hi"}]"#), Demand::default());
}
