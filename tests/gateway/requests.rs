//! The members of requests that decide: requests that are refused before anything goes upstream, and
//! those that pass with every byte.

use crate::support::{Gateway, Mock, PROTOCOLS, config, config_with, json, member, post};

const PATHS: [&str; 3] = ["/v1/chat/completions", "/v1/responses", "/v1/messages"];

fn provider() -> Mock {
    Mock::scripted(|seen, _| {
        let at = PATHS.iter().position(|path| seen.request_line().contains(path)).unwrap();
        json(200, "", PROTOCOLS[at].2)
    })
}

/// A request of a protocol with these members.
fn body(protocol: usize, members: &str) -> String {
    let conversation = [r#""messages":[{"role":"user","content":"hi"}]"#, r#""input":"hi""#];
    let conversation = if protocol == 1 { conversation[1] } else { conversation[0] };
    let conversation = if members.contains("\"input\":") || members.contains("\"messages\":") {
        String::new()
    } else {
        format!(",{conversation}")
    };
    format!(r#"{{"model":"v/model",{members}{conversation}}}"#)
}

/// The member that a refusal names.
fn refused(gateway: &Gateway, protocol: usize, members: &str) -> String {
    let response = post(gateway, PATHS[protocol], &body(protocol, members));
    assert_eq!(response.status, 400, "{members}: {}", response.body);
    if protocol == 2 {
        member(&response.body, "error.message")
    } else {
        member(&response.body, "error.param")
    }
}

/// Whether it passes, and as it is.
fn passes(gateway: &Gateway, mock: &Mock, protocol: usize, members: &str) {
    let sent = body(protocol, members);
    let response = post(gateway, PATHS[protocol], &sent);
    assert_eq!(response.status, 200, "{members}: {}", response.body);
    assert_eq!(mock.last().text(), sent.replace("v/model", "real-model"));
}

#[test]
fn what_decides_about_a_request_has_one_reading() {
    let mock = provider();
    let gateway = Gateway::start(&config(mock.port));
    for (protocol, members, param) in [
        (0, r#""stream":1"#, "stream"),
        (0, r#""stream":"true""#, "stream"),
        (0, r#""stream":true,"stream_options":[]"#, "stream_options"),
        (0, r#""n":"8""#, "n"),
        (0, r#""n":1.5"#, "n"),
        (0, r#""Max_Tokens":5"#, "max_tokens"),
        (0, r#""max_tokens":0"#, "max_tokens"),
        (1, r#""max_output_tokens":"5""#, "max_output_tokens"),
        (1, r#""Stream":true"#, "stream"),
        (2, r#""max_tokens":-1"#, "max_tokens"),
    ] {
        assert!(refused(&gateway, protocol, members).contains(param), "{members}");
    }
    let often = r#""stream":null,"#.repeat(16_000) + r#""x":1"#;
    assert_eq!(refused(&gateway, 0, &often), "stream");
    assert!(mock.seen().is_empty());
    passes(&gateway, &mock, 0, r#""n":1.0,"max_tokens":1e2"#);
    passes(&gateway, &mock, 2, r#""max_tokens":0"#);
    post(&gateway, PATHS[0], &body(0, r#""n":3,"max_tokens":9,"n":2,"max_tokens":null"#));
    assert!(mock.last().text().contains(r#""n":2,"max_tokens":null,"n":2,"max_tokens":null"#));
}

#[test]
fn other_models_are_named_only_where_the_provider_allows_it() {
    let mock = provider();
    let plain = Gateway::start(&config(mock.port));
    let listed = Gateway::start(&config_with(mock.port, ", inner_models: [claude-opus-5-5, gpt-image-2]"));
    let open = Gateway::start(&config_with(mock.port, ", inner_models: ['*']"));
    for (protocol, members, param, is_listed) in [
        (2, r#""fallbacks":[{"model":"claude-opus-5-5"}]"#, "fallbacks[0].model", true),
        (2, r#""tools":[{"type":"advisor_20260301","name":"a","model":"big"}]"#, "tools[0].model", false),
        (1, r#""tools":[{"type":"image_generation","model":"gpt-image-2"}]"#, "tools[0].model", true),
        (0, r#""models":["dear/model"]"#, "models[0]", false),
        (0, r#""models":["gpt-image-2"],"route":"fallback""#, "models[0]", false),
        (0, r#""provider":{"only":["x"]}"#, "provider", false),
        (0, r#""Fallbacks":["dear/model"]"#, "fallbacks[0]", false),
    ] {
        let before = mock.seen().len();
        assert!(refused(&plain, protocol, members).contains(param), "{members}");
        if !is_listed {
            refused(&listed, protocol, members);
        }
        assert_eq!(mock.seen().len(), before, "nothing is sent");
        if is_listed {
            passes(&listed, &mock, protocol, members);
        }
        passes(&open, &mock, protocol, members);
    }
    for members in [r#""api_base":"http://127.0.0.1:1""#, r#""extra_headers":{"a":"b"}"#, r#""api_key":"k""#]
    {
        refused(&open, 0, members);
    }
    passes(&plain, &mock, 0, r#""models":[],"fallbacks":null,"moderation":{"model":"m"}"#);
}

/// A request in another protocol than its provider's is held to the same, and a target that does not allow it is
/// passed over.
#[test]
fn what_one_target_allows_another_does_not() {
    let (first, second) = (provider(), provider());
    let of = |port: u16, protocol: &str, more: &str| {
        format!(
            "{{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", protocols: [{protocol}]{more}}}"
        )
    };
    let targets =
        "targets: [{provider: a, model: real, priority: 0}, {provider: b, model: real, priority: 1}]";
    let gateway = Gateway::start(&format!(
        "providers:\n  a: {}\n  b: {}\nmodels:\n  - {{id: v/model, {targets}}}\n  - {{id: v/other, targets: [{{provider: a}}]}}\n",
        of(first.port, "chat", ""),
        of(second.port, "chat", ", inner_models: ['*']"),
    ));
    let response = post(&gateway, PATHS[1], &body(1, r#""models":["dear/model"]"#));
    assert_eq!(response.status, 200, "{}", response.body);
    assert!(first.seen().is_empty() && second.seen().len() == 1);
    let other = body(1, r#""models":["dear/model"]"#).replace("v/model", "v/other");
    let response = post(&gateway, PATHS[1], &other);
    assert_eq!((response.status, member(&response.body, "error.param").as_str()), (400, "models[0]"));
    assert!(first.seen().is_empty());
}

#[test]
fn a_call_is_not_sent_on_to_where_it_may_not_go() {
    let failing = Mock::new(json(500, "", r#"{"error":{"message":"x"}}"#));
    let spare = provider();
    let of = |port: u16, more: &str| {
        format!(
            "{{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", breaker_failures: 0, protocols: [chat]{more}}}"
        )
    };
    let gateway = Gateway::start(&format!(
        "providers:\n  a: {}\n  b: {}\nmodels:\n  - {{id: v/model, targets: [{{provider: a, model: real}}, {{provider: b, model: real, priority: 1}}]}}\n",
        of(failing.port, ", inner_models: [m]"),
        of(spare.port, ""),
    ));
    assert!(post(&gateway, PATHS[0], &body(0, r#""models":["m"]"#)).status >= 500);
    assert!(!failing.seen().is_empty() && spare.seen().is_empty());
    assert_eq!(post(&gateway, PATHS[0], &body(0, r#""x":1"#)).status, 200);
    assert_eq!(spare.seen().len(), 1);
}

#[test]
fn history_passes_and_references_do_not() {
    let mock = provider();
    let gateway = Gateway::start(&config(mock.port));
    let citation = r#"{"type":"container_file_citation","container_id":"cntr_1","file_id":"cfile_1","filename":"a.csv","start_index":0,"end_index":3}"#;
    let message = |role: &str| {
        format!(
            r#""input":[{{"role":"{role}","content":[{{"type":"output_text","text":"abc","annotations":[{citation}]}}]}}]"#
        )
    };
    passes(&gateway, &mock, 1, &message("assistant"));
    let search = r#"{"type":"file_search_call","id":"fs_1","status":"completed","queries":["q"],"results":[{"file_id":"file_1","text":"t"}]}"#;
    passes(&gateway, &mock, 1, &format!(r#""input":[{search}]"#));
    passes(&gateway, &mock, 1, r#""input":[{"role":"user","content":"hi","id":"msg_1"}]"#);
    passes(&gateway, &mock, 1, r#""input":[{"type":"image_generation_call","id":"ig_1","result":"iVBOR"}]"#);
    let ran = r#""messages":[{"role":"assistant","content":[{"type":"bash_code_execution_tool_result","tool_use_id":"t","content":{"type":"bash_code_execution_result","content":[{"type":"bash_code_execution_output","file_id":"file_1"}]}}]}]"#;
    passes(&gateway, &mock, 2, ran);
    passes(
        &gateway,
        &mock,
        2,
        r#""container":{"skills":[{"type":"anthropic","skill_id":"pptx","version":"latest"}]}"#,
    );
    let sent = mock.seen().len();
    let user = message("user");
    for (protocol, members, param) in [
        (1, user.as_str(), "input[0].content[0].annotations[0].container_id"),
        (1, r#""tools":[{"type":"code_interpreter","container":"cntr_1"}]"#, "tools[0].container"),
        (1, r#""input":[{"id":"msg_abc"},{"role":"user","content":"hi"}]"#, "input[0]"),
        (1, r#""input":[{"id":"msg_abc","type":null},{"role":"user","content":"hi"}]"#, "input[0]"),
        (1, r#""input":[{"type":"image_generation_call","id":"ig_1"}]"#, "input[0]"),
        (1, r#""input":[{"type":"reasoning","id":"rs_1","summary":[]}]"#, "input[0]"),
        (1, r#""background":1"#, "background"),
        (
            2,
            r#""messages":[{"role":"user","content":[{"type":"container_upload","file_id":"file_1"}]}]"#,
            "messages[0].content[0].file_id",
        ),
        (
            2,
            r#""container":{"skills":[{"type":"custom","skill_id":"s","version":"latest"}]}"#,
            "container.skills[0].skill_id",
        ),
        (2, r#""user_profile_id":"u""#, "user_profile_id"),
        (2, r#""mcp_servers":[{"type":"url","name":"x","tunnel_id":"t"}]"#, "mcp_servers[0].tunnel_id"),
    ] {
        assert!(refused(&gateway, protocol, members).contains(param), "{members}");
    }
    assert_eq!(mock.seen().len(), sent, "nothing is sent");
}

#[test]
fn containers_of_others_are_refused() {
    let mock = provider();
    let gateway = Gateway::start(&config(mock.port));
    let single = Gateway::start(&config_with(mock.port, ", allow_upstream_state: true"));
    let call = r#"{"type":"code_interpreter_call","id":"ci_1","container_id":"cntr_1","code":"1"}"#;
    let members = format!(r#""input":[{{"role":"user","content":"hi"}},{call}]"#);
    let response = post(&gateway, PATHS[1], &body(1, &members));
    assert_eq!(
        (response.status, member(&response.body, "error.param").as_str()),
        (400, "input[1].container_id")
    );
    let message = member(&response.body, "error.message");
    assert_eq!(message, "container cntr_1 is not known to this gateway; start a new conversation");
    assert!(mock.seen().is_empty());
    passes(&single, &mock, 1, &members);
}

/// An answer that is limited to what there is money for is a loss like any other.
#[test]
fn a_strict_model_is_not_asked_for_less_than_its_client_wants() {
    let mock = provider();
    for (strict, status) in [("", 200), ("strict: true, ", 402)] {
        let prices = format!("{{id: v/model, {strict}prices: [{{input: 1000000, output: 2000000}}], ");
        let gateway = Gateway::start(&config(mock.port).replace("{id: v/model, ", &prices));
        gateway.command(&["account", "top-up", "default", "0.005"]);
        let response = post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
        assert_eq!(response.status, status, "{strict}{}", response.body);
        assert_eq!(response.header("x-crossmodel-dropped").is_some(), strict.is_empty(), "{strict}");
    }
    assert_eq!(mock.seen().len(), 1, "nobody is asked where it is refused");
}

#[test]
fn a_request_at_the_wrong_address_is_told_the_right_one() {
    let mock = provider();
    let gateway = Gateway::start(&config(mock.port));
    for (path, body, right) in [
        (PATHS[0], r#"{"model":"v/model","input":[{"role":"user","content":"hi"}]}"#, PATHS[1]),
        (PATHS[1], r#"{"model":"v/model","messages":[{"role":"user","content":"hi"}]}"#, PATHS[0]),
        (PATHS[2], r#"{"model":"v/model","max_tokens":9,"input":"hi"}"#, PATHS[1]),
    ] {
        let response = post(&gateway, path, body);
        assert_eq!(response.status, 400, "{}", response.body);
        assert!(member(&response.body, "error.message").contains(right), "{}", response.body);
    }
    assert!(mock.seen().is_empty());
}
