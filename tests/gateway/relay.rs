//! What a relay changes, and that it changes nothing else.

use crate::support::{Client, Gateway, Mock, PROTOCOLS, config, config_with, json, post, request};

#[test]
fn requests_and_answers_differ_in_the_model_only() {
    for (path, body, answer) in PROTOCOLS {
        let odd = body.replacen('{', "{ \"unknown\" : [1.0, 1e3 ,\"\\u00e9\\/\"] ,\r\n\t", 1);
        let answer = answer.replacen('{', "{\n  \"unknown\": 1.50,  ", 1);
        let mock = Mock::new(json(200, "", &answer));
        let gateway = Gateway::start(&config(mock.port));
        let response = post(&gateway, path, &odd);
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.body, answer.replace("real-model-0613", "v/model"), "{path}");
        let seen = mock.one();
        assert_eq!(seen.text(), odd.replace("v/model", "real-model"), "{path}");
        assert_eq!(seen.request_line(), format!("POST {path} HTTP/1.1"));
        assert_eq!(seen.header("host"), Some(format!("127.0.0.1:{}", mock.port).as_str()));
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
    }
}

#[test]
fn equal_names_leave_every_byte() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let config = config(mock.port).replace("model: real-model", "model: v/model");
    let gateway = Gateway::start(&config);
    // Not even an escape in the name is changed when it says the same.
    let body = r#"{"messages":[],"text":"\"model\":\"x\"","model":"v/model"}"#;
    assert_eq!(post(&gateway, "/v1/chat/completions", body).status, 200);
    assert_eq!(mock.one().text(), body);
}

/// OpenAI's newer models refuse `max_tokens`, which most other clients and servers use.
#[test]
fn the_limit_of_the_answer_has_the_name_that_the_provider_takes() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let body = |limits: &str| {
        format!(r#"{{"model":"real-model",{limits}"messages":[{{"role":"user","content":"hi"}}]}}"#)
    };
    let newer = ", profile: {max_tokens_field: max_completion_tokens}";
    for (profile, sent, arrives) in [
        (newer, r#""max_tokens" : 50, "#, r#""max_completion_tokens" : 50, "#),
        (newer, r#""max_tokens":50,"max_completion_tokens":70,"#, r#""max_completion_tokens":50,"#),
        (newer, r#""max_completion_tokens":5e1,"#, r#""max_completion_tokens":5e1,"#),
        (newer, r#""max_tokens":null,"#, r#""max_tokens":null,"#),
        ("", r#""max_tokens":50,"#, r#""max_tokens":50,"#),
        // Servers with the older name as a rule know both.
        ("", r#""max_completion_tokens":50,"#, r#""max_completion_tokens":50,"#),
    ] {
        let gateway = Gateway::start(&config_with(mock.port, profile));
        let asked = body(sent).replace("real-model", "v/model");
        assert_eq!(post(&gateway, PROTOCOLS[0].0, &asked).status, 200);
        assert_eq!(mock.last().text(), body(arrives), "{profile} {sent}");
    }
}

#[test]
fn headers_go_on_by_a_list() {
    let mock = Mock::new(json(
        200,
        "openai-organization: org\r\nset-cookie: a=b\r\nserver: s\r\nx-ratelimit-remaining-requests: 1\r\ncf-ray: 1\r\n",
        PROTOCOLS[2].2,
    ));
    let gateway = Gateway::start(&config_with(mock.port, ", profile: {betas: [known, other]}"));
    let body = PROTOCOLS[2].1;
    let mut client = Client::connect(gateway.port);
    client.send(
        format!(
            "POST /v1/messages?beta=true&key=secret HTTP/1.1\r\nhost: g\r\nx-api-key: {}\r\nanthropic-version: 2026-10-21\r\n\
             anthropic-beta: known,unknown\r\nanthropic-beta: other\r\nX-Stainless-Lang: js\r\nuser-agent: agent\r\n\
             x-claude-code-session-id: s\r\nx-forwarded-for: 1.2.3.4\r\nopenai-organization: mine\r\nx-request-id: client-id\r\n\
             content-length: {}\r\n\r\n{body}",
            gateway.key,
            body.len()
        )
        .as_bytes(),
    );
    let response = client.receive();
    let seen = mock.one();
    assert_eq!(seen.request_line(), "POST /v1/messages?beta=true HTTP/1.1");
    for (name, value) in [
        ("anthropic-version", Some("2026-10-21")),
        ("anthropic-beta", Some("known,other")),
        ("x-stainless-lang", Some("js")),
        ("x-claude-code-session-id", Some("s")),
        ("user-agent", None),
        ("x-forwarded-for", None),
        ("openai-organization", None),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    for name in ["openai-organization", "set-cookie", "server", "x-ratelimit-remaining-requests", "cf-ray"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    post(&gateway, "/v1/messages", body);
    assert_eq!(mock.seen()[1].header("anthropic-version"), Some("2023-06-01"), "added where it is missing");
}

/// A relayed call, a translated one and a relayed one at another provider.
#[test]
fn a_providers_own_headers_go_to_it_alone() {
    const TOKEN: &str = "token-of-the-proxy-5b1d";
    let error = format!(r#"{{"error":{{"message":"no such token: {TOKEN}","type":"x"}}}}"#);
    let mock = Mock::scripted(move |_, number| match number {
        2 => json(400, "", &error),
        _ => json(200, "", PROTOCOLS[0].2),
    });
    let other = Mock::new(json(200, "", PROTOCOLS[0].2));
    let provider = |name: &str, port: u16, more: &str| {
        format!(
            "  {name}: {{base_url: \"http://127.0.0.1:{port}/v1\", auth: none, protocols: [chat]{more}}}\n"
        )
    };
    let headers = ", headers: {X-Team: research, originator: the gateway, user-agent: ours, api-key: \"env:PROXY_TOKEN\"}";
    let providers = [provider("up", mock.port, headers), provider("other", other.port, "")].concat();
    let models =
        "  - {id: v/model, targets: [{provider: up}]}\n  - {id: w/model, targets: [{provider: other}]}\n";
    let config = format!("providers:\n{providers}models:\n{models}");
    let gateway = Gateway::start_with(&config, &[], &[("PROXY_TOKEN", TOKEN)]);
    let call = |path: &str, body: &str| {
        let mut client = Client::connect(gateway.port);
        let own = "originator: cli\r\nx-team: mine\r\nuser-agent: theirs\r\n";
        client.send(
            request(path, &gateway.key, body)
                .replacen("host: gateway\r\n", &format!("host: gateway\r\n{own}"), 1)
                .as_bytes(),
        );
        client.receive()
    };
    for (path, body, _) in [PROTOCOLS[0], PROTOCOLS[2]] {
        assert_eq!(call(path, body).status, 200, "{path}");
        let seen = mock.last();
        for (name, value) in [
            ("x-team", "research"),
            ("originator", "the gateway"),
            ("user-agent", "ours"),
            ("api-key", TOKEN),
        ] {
            assert_eq!(seen.header(name), Some(value), "{path}");
            assert_eq!(seen.head.matches(&format!("\r\n{name}:")).count(), 1, "{path}: {}", seen.head);
        }
    }
    assert_eq!(call(PROTOCOLS[0].0, &PROTOCOLS[0].1.replace("v/", "w/")).status, 200);
    let seen = other.one();
    assert_eq!(seen.header("originator"), Some("cli"), "forwarded, as ever");
    for name in ["x-team", "user-agent", "api-key"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    let refused = call(PROTOCOLS[0].0, PROTOCOLS[0].1);
    assert!(refused.status == 400 && refused.body.contains("no such token"), "{refused:?}");
    assert!(!format!("{refused:?}").contains(TOKEN), "{refused:?}");
    assert!(!gateway.access_log(4).concat().contains(TOKEN));
}

#[test]
fn headers_that_clients_read_come_back_in_a_relay_only() {
    let headers = "x-codex-turn-state: t\r\nx-reasoning-included: true\r\nx-models-etag: \"e\"\r\n\
                   openai-model: real-model\r\nanthropic-fast-input-tokens-limit: 9\r\n\
                   x-ratelimit-remaining-tokens: 1\r\n";
    let mock = Mock::scripted(move |seen, _| {
        let is_chat = seen.request_line().contains("/chat/");
        json(200, headers, PROTOCOLS[if is_chat { 0 } else { 1 }].2)
    });
    let both = Gateway::start(&config(mock.port));
    let response = post(&both, "/v1/responses", PROTOCOLS[1].1);
    assert_eq!(response.status, 200);
    for (name, value) in [
        ("x-codex-turn-state", Some("t")),
        ("x-reasoning-included", Some("true")),
        ("x-models-etag", Some("\"e\"")),
        ("openai-model", Some("v/model")),
        ("anthropic-fast-input-tokens-limit", None),
        ("x-ratelimit-remaining-tokens", None),
    ] {
        assert_eq!(response.header(name), value, "{name}");
    }
    let translated = config(mock.port).replace("[chat, responses, messages]", "[chat]");
    let translated = post(&Gateway::start(&translated), "/v1/responses", PROTOCOLS[1].1);
    assert_eq!((translated.status, translated.header("x-codex-turn-state")), (200, None));
}

#[test]
fn the_attribution_block_stays_here() {
    let mock = Mock::new(json(200, "", PROTOCOLS[2].2));
    let system =
        r#"[{"type":"text","text":"x-anthropic-billing-header: cch=1;"},{"type":"text","text":"You are."}]"#;
    let body = format!(r#"{{"model":"v/model","system":{system},"max_tokens":9,"messages":[]}}"#);
    let gateway = Gateway::start(&config(mock.port));
    post(&gateway, "/v1/messages", &body);
    assert_eq!(
        mock.seen()[0].text(),
        r#"{"model":"real-model","system":[{"type":"text","text":"You are."}],"max_tokens":9,"messages":[]}"#
    );
    let gateway = Gateway::start(&config_with(mock.port, ", profile: {strip_attribution: false}"));
    post(&gateway, "/v1/messages", &body);
    assert_eq!(mock.seen()[1].text(), body.replace("v/model", "real-model"));
}

#[test]
fn references_to_the_providers_state_are_refused() {
    let mock = Mock::new(json(200, "", PROTOCOLS[1].2));
    let gateway = Gateway::start(&config(mock.port));
    let single = Gateway::start(&config_with(mock.port, ", allow_upstream_state: true"));
    for (path, body, param) in [
        (
            "/v1/responses",
            r#"{"model":"v/model","input":"x","previous_response_id":"resp_1"}"#,
            "previous_response_id",
        ),
        ("/v1/responses", r#"{"model":"v/model","input":"x","background":true}"#, "background"),
        (
            "/v1/responses",
            r#"{"model":"v/model","input":[{"type":"item_reference","id":"x"}]}"#,
            "input[0].type",
        ),
        (
            "/v1/responses",
            r#"{"model":"v/model","input":[{"role":"user","content":[{"type":"input_file","file\u005fid":"f"}]}]}"#,
            "input[0].content[0].file",
        ),
        (
            "/v1/responses",
            r#"{"model":"v/model","input":"x","tools":[{"type":"file_search","vector_store_ids":["v"]}]}"#,
            "tools[0].vector_store_ids",
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"v/model","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]}"#,
            "messages[0].content[0].file.file_id",
        ),
        (
            "/v1/messages",
            r#"{"model":"v/model","messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]}"#,
            "file_id",
        ),
        ("/v1/messages", r#"{"model":"v/model","messages":[],"container":"c"}"#, "container"),
    ] {
        let response = post(&gateway, path, body);
        assert_eq!(response.status, 400, "{body}");
        assert!(response.body.contains(param), "{param} in {}", response.body);
        assert_eq!(post(&single, path, body).status, 200, "a single tenant may: {body}");
    }
    let before = mock.seen().len();
    for (path, body) in [
        (
            "/v1/responses",
            r#"{"model":"v/model","input":"x","previous_response_id":null,"store":true,"background":false}"#,
        ),
        (
            "/v1/responses",
            r#"{"model":"v/model","input":"\"file_id\":\"x\"","tools":[{"type":"function","name":"f","parameters":{"properties":{"file_id":{"type":"string"}}}}]}"#,
        ),
        (
            "/v1/responses",
            r#"{"model":"v/model","input":"x","tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}"#,
        ),
        (
            "/v1/messages",
            r#"{"model":"v/model","messages":[{"role":"assistant","content":[{"type":"tool_use","input":{"file_id":"mine"}}]}]}"#,
        ),
    ] {
        assert_eq!(post(&gateway, path, body).status, 200, "{body}");
    }
    assert_eq!(mock.seen().len(), before + 4);
}

#[test]
fn tokens_are_counted_by_the_provider() {
    let mock = Mock::new(json(200, "", r#"{"input_tokens":7}"#));
    let gateway = Gateway::start(&config(mock.port));
    for path in ["/v1/messages/count_tokens", "/v1/responses/input_tokens"] {
        let body = r#"{"model":"v/model","messages":[],"input":"x"}"#;
        let response = post(&gateway, path, body);
        assert_eq!((response.status, response.body.as_str()), (200, r#"{"input_tokens":7}"#), "{path}");
        let seen = mock.seen().pop().unwrap();
        assert_eq!(seen.request_line(), format!("POST {path} HTTP/1.1"));
        assert_eq!(seen.text(), body.replace("v/model", "real-model"));
    }
}

#[test]
fn a_finish_that_hides_calls_is_repaired_on_demand() {
    let answer = r#"{"choices":[{"message":{"tool_calls":[{"id":"c"}]},"finish_reason":"stop"}]}"#;
    let mock = Mock::new(json(200, "", answer));
    for (profile, expected) in [("", "stop"), (", profile: {repair_finish: true}", "tool_calls")] {
        let gateway = Gateway::start(&config_with(mock.port, profile));
        let response = post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
        assert_eq!(response.body, answer.replace("stop", expected));
    }
}
