//! Paths that base URLs lead to, with and without `/v1` and with a slash at their end.

use crate::support::{Gateway, Mock, PROTOCOLS, config, get, h2_post, json, post};

#[test]
fn base_urls_with_and_without_a_version_lead_to_the_same_endpoint() {
    let mock = Mock::scripted(|seen, _| {
        let of = PROTOCOLS.into_iter().find(|(path, ..)| seen.request_line().contains(path));
        json(200, "", of.unwrap().2)
    });
    let gateway = Gateway::start(&config(mock.port));
    for (path, body, _) in PROTOCOLS {
        for spelling in ["/v1".to_owned() + path, "/".to_owned() + path] {
            assert_eq!(post(&gateway, &spelling, body).status, 200, "{spelling}");
            let over_h2 = h2_post(gateway.port, &spelling, &gateway.key, body.into(), true);
            assert_eq!(over_h2.status, 200, "{spelling}");
        }
    }
    for seen in mock.take() {
        let known = PROTOCOLS.iter().any(|(path, ..)| seen.request_line() == format!("POST {path} HTTP/1.1"));
        assert!(known, "{}", seen.request_line());
    }
    let key = format!("x-api-key: {}\r\n", gateway.key);
    for path in ["/v1/v1/models", "//v1/models/", "/v1/v1/models/v/model/"] {
        assert_eq!(get(gateway.port, path, &key).status, 200, "{path}");
        assert_eq!(get(gateway.port, path, "").status, 401, "{path}");
    }
}

#[test]
fn an_unknown_path_is_named_together_with_the_right_one() {
    let mock = Mock::new(json(200, "", PROTOCOLS[2].2));
    let gateway = Gateway::start(&config(mock.port));
    for (path, hint) in [
        ("/v1/mesages", "Did you mean /v1/messages? "),
        ("/anthropic/v1/messages", "Did you mean /v1/messages? "),
        ("/v1/messages/", "Did you mean /v1/messages? "),
        ("/v1/embeddings", ""),
    ] {
        let response = post(&gateway, &format!("{path}?key=cm-secret"), PROTOCOLS[2].1);
        assert_eq!((response.status, response.text("error.code").as_str()), (404, "unknown_url"), "{path}");
        let message = response.text("error.message");
        let expected = format!("There is no such endpoint: POST {path}. {hint}The base URL is ");
        assert!(message.starts_with(&expected), "{message}");
        // A key makes no difference, and Anthropic's clients read their own envelope.
        let other = get(gateway.port, path, "anthropic-version: 2023-06-01\r\n");
        assert_eq!((other.status, other.text("error.type").as_str()), (404, "not_found_error"), "{path}");
        assert_eq!(other.text("error.message"), message.replace("POST", "GET"));
    }
    assert!(mock.seen().is_empty(), "{:?}", mock.seen());
}
