//! Every directive of the built-in provider, seen through the whole gateway in all three protocols.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Gateway, Response, member, post};

/// The protocol, its path, the member of its requests that holds the conversation, and what more they need.
#[derive(Clone, Copy)]
struct Protocol(&'static str, &'static str, &'static str, &'static str);

const CHAT: Protocol = Protocol("chat", "/v1/chat/completions", "messages", "");
const RESPONSES: Protocol = Protocol("responses", "/v1/responses", "input", "");
const MESSAGES: Protocol = Protocol("messages", "/v1/messages", "messages", r#","max_tokens":99"#);
const ALL: [Protocol; 3] = [CHAT, RESPONSES, MESSAGES];

impl Protocol {
    fn ask(self, gateway: &Gateway, said: &str, stream: bool) -> Response {
        self.ask_with(gateway, said, stream, "")
    }

    fn ask_with(self, gateway: &Gateway, said: &str, stream: bool, more: &str) -> Response {
        let Self(name, path, input, needed) = self;
        let body = format!(
            r#"{{"model":"demo/{name}","stream":{stream}{needed}{more},"{input}":[{{"role":"user","content":"{said}"}}]}}"#
        );
        post(gateway, path, &body)
    }

    /// The text of an answer, streamed or not.
    fn text(self, response: &Response) -> String {
        let whole = ["choices.0.message.content", "output.0.content.0.text", "content.0.text"][self.index()];
        let delta = ["choices.0.delta.content", "delta", "delta.text"][self.index()];
        if response.body.starts_with('{') {
            return response.text(whole);
        }
        let events = events(response);
        let of_text =
            |data: &&String| self.0 != "responses" || member(data, "type") == "response.output_text.delta";
        events.iter().filter(of_text).map(|data| member(data, delta)).collect()
    }

    fn index(self) -> usize {
        ALL.iter().position(|other| other.0 == self.0).unwrap()
    }

    /// Did a stream end as good ones do?
    fn is_whole(self, response: &Response) -> bool {
        let end = ["[DONE]", "response.completed", "message_stop"][self.index()];
        let last = events(response).pop().unwrap_or_default();
        response.complete && (last == end || member(&last, "type") == end)
    }

    /// The code, or the type, with which a stream failed in the protocol's own grammar; nothing may follow.
    fn failure(self, response: &Response) -> String {
        assert_eq!(response.status, 200, "{}", response.body);
        let events = events(response);
        let last = events.last().cloned().unwrap_or_default();
        let good = events.iter().any(|data| {
            data == "[DONE]"
                || ["message_stop", "response.completed"].contains(&member(data, "type").as_str())
        });
        assert!(!good, "a failed stream ends like a good one: {}", response.body);
        match self.0 {
            "chat" => member(&last, "error.code"),
            "responses" if member(&last, "type") == "response.failed" => member(&last, "response.error.code"),
            "messages" if member(&last, "type") == "error" => member(&last, "error.type"),
            _ => String::new(),
        }
    }
}

/// The data of all events.
fn events(response: &Response) -> Vec<String> {
    let lines = response.body.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(str::to_owned).collect()
}

fn gateway() -> Gateway {
    Gateway::start("providers: {demo: {}}\ntimeouts: {silence: 1}\n")
}

/// Both forms of the answer of each protocol.
fn each(gateway: &Gateway, said: &str, more: &str, mut see: impl FnMut(Protocol, bool, &Response)) {
    for protocol in ALL {
        for stream in [false, true] {
            see(protocol, stream, &protocol.ask_with(gateway, said, stream, more));
        }
    }
}

/// A good answer with this text.
fn says(protocol: Protocol, stream: bool, response: &Response, text: &str) {
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(protocol.text(response), text, "{} {stream}", protocol.0);
    assert!(!stream || protocol.is_whole(response), "{} {}", protocol.0, response.body);
}

#[test]
fn the_directives_of_the_documentation_are_the_ones_tested_here() {
    let documented =
        include_str!("../../src/demo/mod.rs").lines().filter_map(|line| line.strip_prefix("//! | `[demo:"));
    let verb = |text: &'static str| text.split([']', '=']).next().unwrap();
    let documented: BTreeSet<_> = documented.map(verb).collect();
    let rest = include_str!("demo.rs").split("[demo:").skip(1).filter(|rest| !rest.starts_with("\")"));
    let tested: BTreeSet<_> = rest.map(verb).collect();
    let missing: Vec<_> = documented.difference(&tested).collect();
    assert!(documented.len() >= 18 && missing.is_empty(), "{missing:?} of {documented:?}");
}

#[test]
fn the_request_itself_can_be_shown() {
    let gateway = gateway();
    each(&gateway, "show [demo:body]", "", |protocol, stream, response| {
        let shown = protocol.text(response);
        assert!(
            shown.contains("show [demo:body]") && shown.starts_with('{'),
            "{} {stream}: {shown}",
            protocol.0
        );
        says(protocol, stream, response, &shown);
    });
}

#[test]
fn several_tools_are_called_at_once() {
    let gateway = gateway();
    let two = |shape: &str| {
        format!(",\"tools\":[{},{}]", shape.replace('N', "first"), shape.replace('N', "second"))
    };
    for (protocol, shape) in ALL.iter().zip([
        r#"{"type":"function","function":{"name":"N"}}"#,
        r#"{"type":"function","name":"N"}"#,
        r#"{"name":"N","input_schema":{"type":"object"}}"#,
    ]) {
        let response = protocol.ask_with(&gateway, "do [demo:calls=2]", false, &two(shape));
        assert!(
            response.body.contains("\"first\"") && response.body.contains("\"second\""),
            "{}",
            response.body
        );
    }
}

#[test]
fn an_answer_can_end_by_its_limit() {
    let gateway = gateway();
    let ends =
        ["\"finish_reason\":\"length\"", "\"status\":\"incomplete\"", "\"stop_reason\":\"max_tokens\""];
    each(&gateway, "on [demo:limit]", "", |protocol, _, response| {
        assert!(ends.iter().any(|end| response.body.contains(end)), "{} {}", protocol.0, response.body);
    });
}

#[test]
fn a_status_becomes_what_the_client_can_act_on() {
    let gateway = gateway();
    for (status, seen, openai, anthropic) in [
        (400, 400, "invalid_request_error", "invalid_request_error"),
        (401, 502, "provider_error", "api_error"),
        (402, 503, "api_error", "overloaded_error"),
        (403, 502, "provider_error", "api_error"),
        (404, 404, "invalid_request_error", "not_found_error"),
        (409, 409, "invalid_request_error", "invalid_request_error"),
        (413, 413, "invalid_request_error", "request_too_large"),
        (429, 429, "rate_limit_error", "rate_limit_error"),
        (500, 502, "provider_error", "api_error"),
        (503, 503, "api_error", "overloaded_error"),
        (529, 503, "api_error", "overloaded_error"),
    ] {
        each(&gateway, &format!("[demo:status={status}]"), "", |protocol, stream, response| {
            let kind = if protocol.0 == "messages" { anthropic } else { openai };
            let found = (response.status, response.text("error.type"));
            assert_eq!(found, (seen, kind.to_owned()), "{} {status} {stream}: {}", protocol.0, response.body);
            let wait = match status {
                429 | 503 | 529 => Some("7"),
                402 => Some("1"),
                _ => None,
            };
            assert_eq!(response.header("retry-after"), wait, "{status}");
            assert!(response.text("error.message").len() > 3, "{}", response.body);
        });
    }
}

#[test]
fn codes_and_pages_of_errors() {
    let gateway = gateway();
    each(&gateway, "[demo:status=400][demo:code=odd_code]", "", |protocol, _, response| {
        let code = if protocol.0 == "messages" { "" } else { "odd_code" };
        assert_eq!((response.status, response.text("error.code").as_str()), (400, code), "{}", response.body);
    });
    each(&gateway, "[demo:status=503][demo:html]", "", |_, _, response| {
        assert_eq!((response.status, response.header("content-type")), (503, Some("application/json")));
        assert!(
            !response.text("error.message").is_empty() && !response.body.contains('<'),
            "{}",
            response.body
        );
    });
    each(
        &gateway,
        "a b c [demo:error=3][demo:slow=40][demo:code=rate_limit_exceeded]",
        "",
        |protocol, stream, response| {
            let code = if protocol.0 == "messages" { "rate_limit_error" } else { "rate_limit_exceeded" };
            if stream {
                assert_eq!(protocol.failure(response), code, "{}", response.body);
            }
        },
    );
}

#[test]
fn an_error_can_come_first() {
    let gateway = gateway();
    each(&gateway, "[demo:error-first]", "", |protocol, _, response| {
        let (status, kind) = match protocol.0 {
            "chat" | "responses" => (502, "provider_error"),
            _ => (503, "overloaded_error"),
        };
        assert_eq!(
            (response.status, response.text("error.type").as_str()),
            (status, kind),
            "{}",
            response.body
        );
    });
}

#[test]
fn streams_break_after_so_many_deltas() {
    let gateway = gateway();
    let cases =
        [("slow=40][demo:error=3", true), ("cut=3", false), ("end=3", false), ("cut=1][demo:end=3", false)];
    for ((directive, reported), protocol) in
        cases.iter().flat_map(|case| ALL.map(|protocol| (case, protocol)))
    {
        let response = protocol.ask(&gateway, &format!("a b c [demo:{directive}]"), true);
        let code = match (protocol.0, reported) {
            ("chat", _) => "provider_error",
            ("responses", _) => "server_error",
            (_, true) => "overloaded_error",
            (_, false) => "api_error",
        };
        assert_eq!(protocol.failure(&response), code, "{directive}: {}", response.body);
        let text = protocol.text(&response);
        // What came at once with a reported error may be lost to it.
        assert!(
            text == "You said: a " || *reported && text == "You said: ",
            "{} {directive}: {text}",
            protocol.0
        );
    }
    for (directive, protocol) in
        ["error=3", "end=3"].into_iter().flat_map(|directive| ALL.map(|p| (directive, p)))
    {
        let response = protocol.ask(&gateway, &format!("a b [demo:{directive}]"), false);
        says(protocol, false, &response, "You said: a b");
    }
    let [early, late] =
        ["[demo:cut=0]", "[demo:cut=20]"].map(|directive| ALL.map(|p| p.ask(&gateway, directive, false)));
    for response in early.iter().chain(&late) {
        assert_eq!((response.status, response.complete), (502, true), "{}", response.body);
    }
}

#[test]
fn a_response_can_fail_by_itself() {
    let gateway = gateway();
    let response = RESPONSES.ask(&gateway, "a b c [demo:failed=3]", true);
    assert_eq!(RESPONSES.failure(&response), "server_error", "{}", response.body);
    assert_eq!(RESPONSES.text(&response), "You said: a ");
    assert!(
        response.body.contains(r#""model":"demo/responses""#),
        "it is the provider's own event, with our name"
    );
    // Unary it is a response like any other, which says of itself that it failed.
    let whole = RESPONSES.ask(&gateway, "[demo:failed=0]", false);
    assert_eq!((whole.status, whole.text("status").as_str()), (200, "failed"), "{}", whole.body);
    assert_eq!(
        (whole.text("error.code").as_str(), whole.text("model").as_str()),
        ("server_error", "demo/responses")
    );
    for protocol in [CHAT, MESSAGES] {
        says(protocol, true, &protocol.ask(&gateway, "a [demo:failed=1]", true), "You said: a");
    }
}

#[test]
fn silence_is_not_waited_for_without_end() {
    let gateway = gateway();
    thread::scope(|scope| {
        for protocol in ALL {
            let gateway = &gateway;
            scope.spawn(move || {
                let response = protocol.ask(gateway, "a b [demo:stall=3]", true);
                let code = ["provider_error", "server_error", "api_error"][protocol.index()];
                assert_eq!(protocol.failure(&response), code, "{}", response.body);
                assert_eq!(protocol.text(&response), "You said: a ");
            });
            scope.spawn(move || {
                let response = protocol.ask(gateway, "[demo:stall=9]", false);
                assert_eq!(response.status, 502, "{}", response.body);
            });
        }
    });
}

#[test]
fn answers_take_their_time() {
    let gateway = gateway();
    each(&gateway, "a [demo:wait=60][demo:slow=5]", "", |protocol, stream, response| {
        says(protocol, stream, response, "You said: a");
    });
    for line in gateway.access_log(6) {
        let time = |name: &str| member(&line, name).parse::<f64>().unwrap();
        assert!(time("first_byte_ms") >= 60.0, "{line}");
        // Three words and what goes around them.
        let pauses = if member(&line, "stream") == "true" { 4.0 * 5.0 } else { 0.0 };
        assert!(time("total_ms") >= time("first_byte_ms") + pauses, "{line}");
    }
    let start = Instant::now();
    says(CHAT, true, &CHAT.ask(&gateway, "a", true), "You said: a");
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn texts_of_any_size_and_kind() {
    let gateway = gateway();
    let words: Vec<_> = (0..500).map(|n| format!("word{n}")).collect();
    each(&gateway, "[demo:words=500]", "", |protocol, stream, response| {
        says(protocol, stream, response, &words.join(" "));
    });
    assert!(gateway.access_log(6).iter().all(|line| member(line, "completion_tokens") == "500"));
    each(&gateway, "[demo:huge=300000]", "", |protocol, stream, response| {
        says(protocol, stream, response, &"x".repeat(300_000));
    });
    let quoted = r#"{"model":"quoted-model"} \"model\":\"x\" You said: a"#;
    each(&gateway, "a [demo:quote]", "", |protocol, stream, response| {
        says(protocol, stream, response, quoted);
    });
    each(&gateway, "a [demo:sing=7] [demo:words=x] b [demo:", "", |protocol, stream, response| {
        says(protocol, stream, response, "You said: a b [demo:");
    });
}

#[test]
fn pieces_and_line_ends_do_not_matter() {
    let gateway = gateway();
    for directive in ["[demo:chunk=1]", "[demo:chunk=7]", "[demo:crlf]", "[demo:crlf][demo:chunk=1]"] {
        each(&gateway, &format!("a b {directive}"), "", |protocol, stream, response| {
            says(protocol, stream, response, "You said: a b");
            assert!(
                response.body.contains(&format!(r#""model":"demo/{}""#, protocol.0)),
                "{}",
                response.body
            );
            assert!(
                !response.body.contains("2026-01-01\""),
                "the provider's name is shown: {}",
                response.body
            );
            let lines = response.body.matches('\n').count();
            let ends = if directive.contains("crlf") && stream { lines } else { 0 };
            assert_eq!(response.body.matches("\r\n").count(), ends, "{}: {}", protocol.0, response.body);
        });
    }
}

#[test]
fn usage_and_end_mark_can_be_missing() {
    let gateway = gateway();
    each(&gateway, "a [demo:no-usage]", "", |protocol, stream, response| {
        says(protocol, stream, response, "You said: a");
        assert!(!response.body.contains("prompt_tokens") && !response.body.contains("input_tokens\":3"));
    });
    for line in gateway.access_log(6) {
        assert!(member(&line, "completion_tokens").is_empty() && member(&line, "status") == "200", "{line}");
    }
    let response = CHAT.ask(&gateway, "a [demo:no-done]", true);
    assert_eq!(
        (response.status, response.complete, CHAT.text(&response).as_str()),
        (200, true, "You said: a")
    );
    assert!(!response.body.contains("[DONE]") && !response.body.contains("error"), "{}", response.body);
    for protocol in [RESPONSES, MESSAGES] {
        says(protocol, true, &protocol.ask(&gateway, "a [demo:no-done]", true), "You said: a");
    }
}

#[test]
fn a_tool_is_called_unless_it_shall_not_be() {
    let gateway = gateway();
    let schema = r#"{"type":"object","required":["city"],"properties":{"city":{"type":"string"}}}"#;
    for protocol in ALL {
        let tool = match protocol.0 {
            "chat" => {
                format!(r#"{{"type":"function","function":{{"name":"weather","parameters":{schema}}}}}"#)
            }
            "responses" => format!(r#"{{"type":"function","name":"weather","parameters":{schema}}}"#),
            _ => format!(r#"{{"name":"weather","input_schema":{schema}}}"#),
        };
        let tools = format!(r#","tools":[{tool}]"#);
        let response = protocol.ask_with(&gateway, "a", false, &tools);
        let name = ["choices.0.message.tool_calls.0.function.name", "output.0.name", "content.0.name"];
        assert_eq!(response.text(name[protocol.index()]), "weather", "{}", response.body);
        let stream = protocol.ask_with(&gateway, "a", true, &tools);
        assert!(
            protocol.is_whole(&stream)
                && stream.body.contains("weather")
                && protocol.text(&stream).is_empty()
        );
        for streams in [false, true] {
            let response = protocol.ask_with(&gateway, "a [demo:no-tools]", streams, &tools);
            says(protocol, streams, &response, "You said: a");
        }
    }
}
