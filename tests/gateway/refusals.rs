//! The words of a provider's refusal on their way to the client, in whatever form the provider has written them.

use std::time::{Duration, SystemTime};

use crate::support::{Gateway, Mock, PROTOCOLS, config, json, post};

#[test]
fn the_time_to_wait_is_passed_on_in_seconds() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(1200));
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (header, expected) in [
        (format!("retry-after: {date}"), 1000..=1201),
        (format!("retry-after: {past}"), 1..=1),
        ("retry-after: 7.5".to_owned(), 8..=8),
        ("retry-after: 120".to_owned(), 120..=120),
        ("retry-after-ms: 2500".to_owned(), 3..=3),
        ("retry-after: later".to_owned(), 1..=1),
    ] {
        let body = r#"{"error":{"message":"slow down","type":"rate_limit_error","code":null}}"#;
        let mock = Mock::new(json(429, &format!("{header}\r\n"), body));
        let gateway = Gateway::start(&config(mock.port));
        for (path, request, _) in PROTOCOLS {
            let response = post(&gateway, path, request);
            let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
            assert!(response.status == 429 && expected.contains(&seconds), "{header}: {response:?}");
        }
    }
}

#[test]
fn an_error_counts_although_a_line_of_help_follows_it() {
    let error = r#"{"object":"error","message":"Tool 'g' not found in tools list.","type":"BadRequestError","param":null,"code":400}"#;
    let mock = Mock::new(json(400, "", &format!("{error}\nSee the manual for help.")));
    let relayed = Gateway::start(&config(mock.port));
    let translated = Gateway::start(&config(mock.port).replace("chat, responses, messages", "chat"));
    for gateway in [&relayed, &translated] {
        for (path, request, _) in PROTOCOLS {
            let response = post(gateway, path, request);
            assert_eq!(response.status, 400, "{response:?}");
            assert_eq!(response.text("error.message"), "Tool 'g' not found in tools list.");
        }
    }
}
