//! Targets that fail, and what their operator reads of it: one line for each change of a state, with its reason.

use std::time::Duration;

use crate::support::{
    Act, Gateway, Mock, PROTOCOLS, UPSTREAM_KEY, eventually, free_port, get, json, member, post,
};

/// Two targets of a model. The first one is at a URL, and the second one answers well.
fn config(url: &str, good: u16, first: &str) -> String {
    format!(
        "providers:\n  \
           bad: {{base_url: \"{url}\", key: \"env:UPSTREAM_KEY\", protocols: [chat], breaker_failures: 3{first}}}\n  \
           good: {{base_url: \"http://127.0.0.1:{good}/v1\", key: \"env:UPSTREAM_KEY\", protocols: [chat]}}\n\
         models:\n  - {{id: v/model, targets: [{{provider: bad}}, {{provider: good, priority: 1}}]}}\n"
    )
}

fn good() -> Mock {
    Mock::new(json(200, "", PROTOCOLS[0].2))
}

/// The lines about a target, without their times.
fn lines(gateway: &Gateway, target: &str) -> Vec<String> {
    let about = format!("target {target}: ");
    let all = gateway.stderr();
    let level =
        |line: &str| ["ERROR", "WARN", "INFO"].into_iter().find(|level| line.contains(level)).unwrap_or("?");
    let found = all.lines().filter_map(|line| {
        let (before, text) = line.split_once(&about)?;
        Some(format!("{} {text}", level(before)))
    });
    found.collect()
}

/// Providers that fail in different ways, with the lines that twenty calls lead to.
fn broken() -> Vec<(&'static str, String, Option<Mock>, Vec<String>)> {
    let at = |mock: &Mock| format!("http://127.0.0.1:{}/v1", mock.port);
    let error = r#"{"error":{"message":"x","type":"invalid_request_error","code":"invalid_api_key"}}"#;
    let dead = free_port();
    let open = |why: &str| {
        format!(
            "WARN circuit open for 1 s after 3 failures in a row of one account, which alone is refused; last: {why}"
        )
    };
    let mut all = vec![
        (
            "a closed port",
            format!("http://127.0.0.1:{dead}/v1"),
            None,
            vec![open(&format!("connect: connection refused (127.0.0.1:{dead})"))],
        ),
        (
            "a name that does not resolve",
            "http://name.invalid/v1".to_owned(),
            None,
            vec![open("dns: the host name does not resolve: ")],
        ),
    ];
    let plain = Mock::new(vec![Act::Close]);
    for (name, mock, expected) in [
        ("one that closes", plain, vec![open("broken: ")]),
        ("a failure of its own", Mock::new(json(500, "", error)), vec![open("server: 500")]),
        (
            "a refused credential",
            Mock::new(json(401, "", error)),
            vec![
                "ERROR credential refused: 401; check providers.bad.key".to_owned(),
                open("credential: 401"),
            ],
        ),
        (
            "one that asks for time",
            Mock::new(json(429, "retry-after: 30\r\n", error)),
            vec!["WARN backing off for 30 s (429, retry-after)".to_owned()],
        ),
    ] {
        all.push((name, at(&mock), Some(mock), expected));
    }
    all
}

#[test]
fn each_way_to_fail_has_one_line_with_its_reason() {
    for (name, url, _mock, expected) in broken() {
        let better = good();
        let gateway = Gateway::start(&config(&url, better.port, ""));
        for _ in 0..20 {
            assert_eq!(post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status, 200, "{name}");
        }
        let all = || lines(&gateway, "v/model@bad");
        assert!(eventually(SOON, || all().len() >= expected.len()), "{name}: {:?}", all());
        let all = all();
        let fits = all.len() == expected.len()
            && all.iter().zip(&expected).all(|(line, expected)| line.starts_with(expected.as_str()));
        assert!(fits, "{name}: {all:?}, not {expected:?}");
        assert!(!gateway.stderr().contains("pingora"), "{name}: {}", gateway.stderr());
        assert!(!gateway.stderr().contains(UPSTREAM_KEY));
        assert!(lines(&gateway, "v/model@good").is_empty());
    }
}

#[test]
fn a_target_that_is_back_is_told_once_and_a_model_without_targets_is_an_error() {
    let mock = Mock::scripted(|_, n| match n {
        0..3 => json(500, "", "{}"),
        _ => json(200, "", PROTOCOLS[0].2),
    });
    let text = format!(
        "providers: {{p: {{base_url: \"http://127.0.0.1:{}/v1\", key: \"env:UPSTREAM_KEY\", protocols: [chat], breaker_failures: 3}}}}\n\
         models: [{{id: v/model, targets: [{{provider: p}}]}}]\n",
        mock.port
    );
    let gateway = Gateway::start(&text);
    let call = || post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status;
    assert_eq!([call(), call(), call()], [502; 3]);
    assert_eq!([call(), call()], [503; 2], "the circuit is open");
    let console = get(gateway.admin, "/console.json", "").body;
    assert_eq!(member(&console, "targets.shown.0.circuit"), "open");
    assert_eq!(member(&console, "targets.shown.0.last_failure.kind"), "server");
    assert_eq!(member(&console, "targets.shown.0.last_failure.text"), "500");
    assert!(eventually(SOON, || call() == 200));
    let all = || lines(&gateway, "v/model@p");
    assert!(eventually(SOON, || all().len() == 2), "{:?}", all());
    assert!(all()[1].starts_with("INFO circuit closed after ") && all()[1].ends_with(" and 1 trials"));
    let unavailable = "ERROR crossmodel::repeated] model v/model: no target is available; calls get 503";
    assert_eq!(gateway.stderr().matches(unavailable).count(), 1, "{}", gateway.stderr());
}

#[test]
fn a_model_that_the_provider_does_not_know_is_the_clients_matter() {
    let error = r#"{"error":{"message":"The model `nope` does not exist","type":"invalid_request_error","code":"model_not_found"}}"#;
    let (first, second) = (Mock::new(json(404, "", error)), Mock::new(json(404, "", error)));
    let provider = |name: &str, port: u16| {
        format!(
            "  {name}: {{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", protocols: [chat], breaker_failures: 1}}\n"
        )
    };
    let text = format!(
        "providers:\n{}{}models:\n  - {{id: v/*, targets: [{{provider: p}}, {{provider: q, priority: 1}}]}}\n  \
         - {{id: w/one, targets: [{{provider: p}}, {{provider: q, priority: 1}}]}}\n",
        provider("p", first.port),
        provider("q", second.port)
    );
    let gateway = Gateway::start(&text);
    for (path, kind) in
        [("/v1/chat/completions", "invalid_request_error"), ("/v1/messages", "not_found_error")]
    {
        let body = r#"{"model":"v/nope","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
        let answer = post(&gateway, path, body);
        assert_eq!(answer.status, 404, "{}", answer.body);
        assert_eq!(member(&answer.body, "error.type"), kind);
        let message = member(&answer.body, "error.message");
        assert!(message.starts_with("Model 'v/nope' was not found or is unavailable."), "{message}");
    }
    assert_eq!((first.take().len(), second.take().len()), (2, 0), "no other target is asked");
    // A model of its own may be known to the other provider.
    let body = PROTOCOLS[0].1.replace("v/model", "w/one");
    for _ in 0..3 {
        let answer = post(&gateway, PROTOCOLS[0].0, &body);
        assert_eq!((answer.status, member(&answer.body, "error.code").as_str()), (404, "model_not_found"));
    }
    assert_eq!((first.seen().len(), second.seen().len()), (3, 3), "and no circuit is open");
    assert!(lines(&gateway, "v/nope@p").is_empty() && lines(&gateway, "w/one@p").is_empty());
    // One that fails may have known it.
    let (broken, without) = (Mock::new(json(500, "", "{}")), Mock::new(json(404, "", error)));
    let gateway = Gateway::start(&config(&format!("http://127.0.0.1:{}/v1", broken.port), without.port, ""));
    assert_eq!(post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status, 502);
}

/// For what happens at once; the rest is for slow machines.
const SOON: Duration = Duration::from_secs(20);
