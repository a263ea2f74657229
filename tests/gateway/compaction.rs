//! Compactions of conversations, as coding clients ask for them.

use crate::money::{PRICES, audited};
use crate::support::{Gateway, Mock, PROTOCOLS, config, json, member, post};

const PATH: &str = "/v1/responses/compact";

const COMPACTED: &str = r#"{"id":"resp_c1","object":"response.compaction","created_at":1790000000,"output":[{"type":"compaction","id":"cmp_1","encrypted_content":"b3BhcXVl"}],"usage":{"input_tokens":12,"input_tokens_details":{"cached_tokens":0},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":19}}"#;

const CONVERSATION: &str = r#""instructions":"Be brief.","input":[{"role":"user","content":"Hello"},{"role":"assistant","content":"Hi."}]"#;

/// A provider that compacts in Responses, and answers in the other protocols.
fn provider() -> Mock {
    Mock::scripted(|seen, _| {
        if seen.request_line().contains("/responses") {
            return json(200, "", COMPACTED);
        }
        let answer = PROTOCOLS.iter().find(|(path, _, _)| seen.request_line().contains(path)).unwrap();
        json(200, "", answer.2)
    })
}

/// A model for each protocol, with prices.
fn gateway(mock: &Mock) -> Gateway {
    let mut text = "providers:\n".to_owned();
    let mut models = "models:\n".to_owned();
    for protocol in ["chat", "responses", "messages"] {
        text += &format!(
            "  {protocol}: {{base_url: \"http://127.0.0.1:{}/v1\", key: \"env:UPSTREAM_KEY\", breaker_failures: 0, protocols: [{protocol}]}}\n",
            mock.port
        );
        models += &format!("  - {{id: v/{protocol}, {PRICES}, targets: [{{provider: {protocol}}}]}}\n");
    }
    let gateway = Gateway::start(&(text + &models));
    gateway.command(&["account", "top-up", "default", "10"]);
    gateway
}

#[test]
fn a_provider_that_compacts_gets_the_request_as_it_is_and_is_paid() {
    let mock = provider();
    let gateway = gateway(&mock);
    let body = format!(r#"{{"model":"v/responses",{CONVERSATION}}}"#);
    let response = post(&gateway, PATH, &body);
    assert_eq!((response.status, response.body.as_str()), (200, COMPACTED));
    assert_eq!(response.header("x-crossmodel-dropped"), None);
    let seen = mock.one();
    assert!(seen.request_line().starts_with("POST /v1/responses/compact "), "{}", seen.request_line());
    assert_eq!(seen.text(), body.replace("v/responses", "responses"));
    assert_eq!(audited(&gateway), [("exact".to_owned(), 12 + 2 * 7)]);
    assert!(gateway.access_log(1)[0].contains(r#""endpoint":"compact""#), "{:?}", gateway.access_log(1));
}

#[test]
fn a_provider_that_does_not_compact_writes_a_summary_with_which_any_model_goes_on() {
    let mock = provider();
    let gateway = gateway(&mock);
    for model in ["v/chat", "v/messages"] {
        let response =
            post(&gateway, PATH, &format!(r#"{{"model":"{model}","stream":true,{CONVERSATION}}}"#));
        assert_eq!(response.status, 200, "{}", response.body);
        let said = |path: &str| member(&response.body, path);
        assert_eq!(said("object"), "response.compaction");
        assert_eq!((said("output.0.role"), said("output.0.content.0.text")), ("user".into(), "Hello".into()));
        assert_eq!((said("output.1.type"), said("output.2")), ("compaction".into(), String::new()));
        assert_eq!(said("usage.output_tokens"), "2");
        let asked = mock.last().text();
        assert!(
            asked.contains("Write a summary of this conversation") && !asked.contains("stream"),
            "{asked}"
        );

        let output = said("output");
        for model in ["v/chat", "v/messages", "v/responses"] {
            let body = format!(r#"{{"model":"{model}","input":{output}}}"#);
            let response = post(&gateway, "/v1/responses", &body);
            assert_eq!(response.status, 200, "{}", response.body);
            let sent = mock.last().text();
            assert!(sent.contains(r"[Summary of the conversation up to here]\nx"), "{sent}");
            assert!(!sent.contains("cm2."), "{sent}");
        }
    }
}

#[test]
fn a_provider_may_have_no_such_endpoint() {
    let mock = Mock::scripted(|_, _| json(404, "", r#"{"error":{"message":"Not Found"}}"#));
    let gateway = Gateway::start(&config(mock.port));
    let response = post(&gateway, PATH, &format!(r#"{{"model":"v/model",{CONVERSATION}}}"#));
    assert_eq!(response.status, 404, "{}", response.body);
    let stored = format!(r#"{{"model":"v/model","previous_response_id":"resp_1",{CONVERSATION}}}"#);
    let refused = post(&gateway, PATH, &stored);
    assert_eq!(
        (refused.status, member(&refused.body, "error.param").as_str()),
        (400, "previous_response_id")
    );
}
