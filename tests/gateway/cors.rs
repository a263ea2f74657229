//! The headers for browsers that let scripts of other origins call and read the answers.

use crate::streams::streaming;
use crate::support::{
    Client, Gateway, Mock, PROTOCOLS, Response, config, get, h2_post, json, member, request, sse,
};

/// A preflight of the fields that OpenAI's SDK sends.
const PREFLIGHT: &str = "origin: app://notes.example\r\naccess-control-request-method: POST\r\n\
                         access-control-request-headers: authorization,content-type,x-stainless-os\r\n";

/// Asks before a call. An answer without a body has no length.
fn options(gateway: &Gateway, path: &str, headers: &str) -> Response {
    let mut client = Client::connect(gateway.port);
    client.send(format!("OPTIONS {path} HTTP/1.1\r\nhost: g\r\n{headers}\r\n").as_bytes());
    client.receive_for("HEAD")
}

/// Sends a request of a script.
fn call(gateway: &Gateway, path: &str, key: &str, body: &str) -> Response {
    let mut client = Client::connect(gateway.port);
    let origin = "\r\norigin: app://notes.example\r\ncontent-length";
    client.send(request(path, key, body).replacen("\r\ncontent-length", origin, 1).as_bytes());
    client.receive()
}

/// Whether a script may read the answer, and all that the gateway says in its head.
fn is_readable(response: &Response, origin: &str) -> bool {
    let exposed = response.header("access-control-expose-headers").unwrap_or_default();
    let of_gateway = |name: &str| {
        ["x-", "retry-after", "request-id", "anthropic-"].iter().any(|prefix| name.starts_with(prefix))
            && name != "x-accel-buffering"
    };
    let hidden = |name: &str| of_gateway(name) && !exposed.split(", ").any(|other| other == name);
    response.header("access-control-allow-origin") == Some(origin)
        && response.header("vary") == Some("origin")
        && response.header("access-control-allow-credentials").is_none()
        && !response.headers.iter().any(|(name, _)| hidden(name))
}

#[test]
fn preflights_are_answered_without_a_key_and_without_a_provider() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    for (path, methods) in [
        ("/v1/chat/completions", "POST"),
        ("/v1/responses", "POST"),
        ("/v1/v1/messages", "POST"),
        ("/v1/messages/count_tokens", "POST"),
        ("/v1/models", "GET, HEAD"),
        ("/v1/credits", "GET, HEAD"),
    ] {
        let response = options(&gateway, path, PREFLIGHT);
        assert_eq!(response.status, 204, "{path}");
        assert!(is_readable(&response, "*"), "{path}: {response:?}");
        assert_eq!(response.header("content-length"), None);
        assert_eq!(response.header("access-control-allow-methods"), Some(methods), "{path}");
        let names = response.header("access-control-allow-headers");
        assert_eq!(names, Some("authorization, content-type, x-stainless-os"), "{path}");
        assert_eq!(response.header("access-control-max-age"), Some("600"));
    }
    // The connection stays open.
    let mut client = Client::connect(gateway.port);
    for _ in 0..2 {
        client.send(format!("OPTIONS /v1/responses HTTP/1.1\r\nhost: g\r\n{PREFLIGHT}\r\n").as_bytes());
        assert_eq!(client.receive_for("HEAD").status, 204);
    }
    assert!(gateway.access_log(8).iter().all(|line| member(line, "endpoint") == "preflight"));
    let counted = "crossmodel_requests_total{code=\"\",endpoint=\"preflight\",status=\"204\"}";
    assert_eq!(gateway.metric(counted), 8.0);
    // Of what is no header's name nothing comes back, and of many names only some.
    let names = (0..99).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(",");
    let odd = format!(
        "origin: https://a.example\r\naccess-control-request-method: PUT\r\n\
         access-control-request-headers: a b,,\"x\",{names}\r\n"
    );
    let response = options(&gateway, "/v1/messages", &odd);
    let allowed: Vec<_> = response.header("access-control-allow-headers").unwrap().split(", ").collect();
    assert_eq!((allowed.len(), allowed[0], allowed[63]), (64, "x-0", "x-63"));
    // What is no preflight is no method of the endpoint.
    for fields in ["", "origin: https://a.example\r\n", "access-control-request-method: POST\r\n"] {
        assert_eq!(options(&gateway, "/v1/messages", fields).status, 405, "{fields}");
    }
    assert_eq!(options(&gateway, "/v1/nothing", PREFLIGHT).status, 404);
    assert!(mock.seen().is_empty(), "{:?}", mock.seen());
}

#[test]
fn scripts_may_read_every_answer() {
    let mock = Mock::scripted(|seen, _| match seen.text().contains("stream") {
        true => {
            sse([&b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"[..]])
        }
        false => json(200, "x-request-id: up-1\r\n", PROTOCOLS[0].2),
    });
    let gateway = Gateway::start(&config(mock.port));
    let body = PROTOCOLS[0].1;
    for (path, key, body, status) in [
        ("/v1/chat/completions", gateway.key.as_str(), body, 200),
        ("/v1/chat/completions", &gateway.key, &streaming(0), 200),
        ("/v1/messages", &gateway.key, PROTOCOLS[2].1, 200),
        ("/v1/chat/completions", "cm-wrong", body, 401),
        ("/v1/chat/completions", &gateway.key, "{", 400),
        ("/v1/chat/completions", &gateway.key, &body.replace("v/model", "v/other"), 404),
        ("/v1/nothing", &gateway.key, body, 404),
        ("/v1/models", &gateway.key, body, 405),
    ] {
        let response = call(&gateway, path, key, body);
        assert_eq!(response.status, status, "{path}: {response:?}");
        assert!(is_readable(&response, "*"), "{path}: {response:?}");
    }
    let models = get(gateway.port, "/v1/models", &format!("x-api-key: {}\r\norigin: null\r\n", gateway.key));
    assert!(models.status == 200 && is_readable(&models, "*"), "{models:?}");
    // Nobody else is told, and no provider.
    let plain = h2_post(gateway.port, "/v1/chat/completions", &gateway.key, body.into(), true);
    assert_eq!((plain.status, plain.header("access-control-allow-origin")), (200, None));
    assert!(mock.seen().iter().all(|seen| seen.header("origin").is_none()));
}

#[test]
fn the_operator_says_which_origins_may_call() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let listed = "cors: {origins: [\"app://notes.example\"], max_age: 9}\n";
    let gateway = Gateway::start(&format!("{listed}{}", config(mock.port)));
    let preflight =
        |origin: &str| options(&gateway, "/v1/responses", &PREFLIGHT.replace("app://notes.example", origin));
    let ours = preflight("app://notes.example");
    assert!(ours.status == 204 && is_readable(&ours, "app://notes.example"), "{ours:?}");
    assert_eq!(ours.header("access-control-max-age"), Some("9"));
    for origin in ["app://other.example", "null", "app://notes.example.evil"] {
        let theirs = preflight(origin);
        assert_eq!((theirs.status, theirs.header("access-control-allow-origin")), (405, None), "{origin}");
    }
    let (path, body, _) = PROTOCOLS[0];
    assert!(is_readable(&call(&gateway, path, &gateway.key, body), "app://notes.example"));

    let off = Gateway::start(&format!("cors: off\n{}", config(mock.port)));
    assert_eq!(options(&off, path, PREFLIGHT).status, 405);
    let response = call(&off, path, &off.key, body);
    assert_eq!((response.status, response.header("access-control-allow-origin")), (200, None));
}
