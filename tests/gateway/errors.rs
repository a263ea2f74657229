//! Failures of providers, as each protocol's clients are told of them.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, Response, Seen, UPSTREAM_KEY, chunk, config, free_port,
    h2_post, json, open, post, request, sse,
};

/// What a provider answers, and what the client gets: status, OpenAI's type and code, Anthropic's type,
/// and the message, unless it is ours to choose.
struct Case {
    status: u16,
    body: &'static str,
    expected: (u16, &'static str, Option<&'static str>, &'static str),
    message: Option<&'static str>,
}

const REQUEST: &str = "invalid_request_error";

const fn case(
    status: u16,
    body: &'static str,
    expected: (u16, &'static str, Option<&'static str>, &'static str),
    message: Option<&'static str>,
) -> Case {
    Case { status, body, expected, message }
}

const PROVIDER: (u16, &str, Option<&str>, &str) =
    (502, "provider_error", Some("provider_error"), "api_error");
const UNAVAILABLE: (u16, &str, Option<&str>, &str) =
    (503, "api_error", Some("model_unavailable"), "overloaded_error");
const LIMITED: (u16, &str, Option<&str>, &str) =
    (429, "rate_limit_error", Some("rate_limit_exceeded"), "rate_limit_error");
const POLICY: (u16, &str, Option<&str>, &str) = (400, REQUEST, Some("content_policy_violation"), REQUEST);
const CONTEXT: (u16, &str, Option<&str>, &str) = (400, REQUEST, Some("context_length_exceeded"), REQUEST);

/// Every row of the reference's table. What must never be seen is called a canary.
const CASES: &[Case] = &[
    case(
        400,
        r#"{"error":{"message":"real-model: bad","type":"invalid_request_error","param":"p[0]","code":"odd"}}"#,
        (400, REQUEST, Some("odd"), REQUEST),
        Some("v/model: bad"),
    ),
    case(
        422,
        r#"{"detail":[{"loc":["body","x"],"msg":"missing"}]}"#,
        (400, REQUEST, None, REQUEST),
        Some("body.x: missing"),
    ),
    case(400, "plain words", (400, REQUEST, None, REQUEST), Some("plain words")),
    case(
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too high"}}"#,
        (400, REQUEST, None, REQUEST),
        Some("max_tokens: too high"),
    ),
    case(
        400,
        r#"{"error":{"message":"This model's maximum context length is 5 tokens","code":"context_length_exceeded"}}"#,
        CONTEXT,
        None,
    ),
    case(
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 5"}}"#,
        CONTEXT,
        Some("prompt is too long: 9 > 5"),
    ),
    case(401, r#"{"error":{"message":"canary","type":"x","code":"invalid_api_key"}}"#, PROVIDER, None),
    case(
        401,
        r#"{"type":"error","error":{"type":"authentication_error","message":"canary"}}"#,
        PROVIDER,
        None,
    ),
    case(403, r#"{"type":"error","error":{"type":"permission_error","message":"canary"}}"#, PROVIDER, None),
    case(402, r#"{"type":"error","error":{"type":"billing_error","message":"canary"}}"#, UNAVAILABLE, None),
    case(402, "", UNAVAILABLE, None),
    case(429, r#"{"error":{"message":"canary","code":"insufficient_quota"}}"#, UNAVAILABLE, None),
    case(
        404,
        r#"{"error":{"message":"The model `real-model` canary","code":"model_not_found"}}"#,
        (404, REQUEST, Some("model_not_found"), "not_found_error"),
        Some("Model 'v/model' was not found or is unavailable."),
    ),
    case(
        404,
        r#"{"error":{"message":"No such file","code":null}}"#,
        (404, REQUEST, Some("not_found"), "not_found_error"),
        Some("No such file"),
    ),
    case(408, r#"{"error":{"message":"canary"}}"#, PROVIDER, None),
    case(504, "<html>canary</html>", PROVIDER, None),
    case(
        409,
        r#"{"error":{"type":"conflict_error","message":"busy"}}"#,
        (409, REQUEST, Some("conflict"), REQUEST),
        None,
    ),
    case(
        413,
        r#"{"error":{"message":"big"}}"#,
        (413, REQUEST, Some("request_too_large"), "request_too_large"),
        None,
    ),
    case(
        429,
        r#"{"error":{"message":"Rate limit reached for real-model in organization org-canary12345 on tokens"}}"#,
        LIMITED,
        Some("Rate limit reached for v/model in organization [removed] on tokens"),
    ),
    case(429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#, LIMITED, None),
    case(400, r#"{"error":{"message":"filtered","code":"content_filter"}}"#, POLICY, Some("filtered")),
    case(
        403,
        r#"{"error":{"message":"refused","code":"content_policy_violation"}}"#,
        POLICY,
        Some("refused"),
    ),
    case(400, r#"{"error":{"message":"refused","type":"moderation"}}"#, POLICY, Some("refused")),
    case(500, r#"{"type":"error","error":{"type":"api_error","message":"canary"}}"#, PROVIDER, None),
    case(502, "", PROVIDER, None),
    case(599, r#"{"error":{"message":"canary","type":"server_error"}}"#, PROVIDER, None),
    case(503, r#"{"error":{"message":"canary"}}"#, UNAVAILABLE, None),
    case(
        529,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"canary"}}"#,
        UNAVAILABLE,
        None,
    ),
    case(500, r#"{"error":{"message":"canary","code":"insufficient_system_resource"}}"#, UNAVAILABLE, None),
    case(307, "canary", PROVIDER, None),
    case(200, r#"{"error":{"message":"canary","type":"server_error"}}"#, PROVIDER, None),
    case(
        200,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"canary"}}"#,
        UNAVAILABLE,
        None,
    ),
    case(
        200,
        r#"{"error":{"message":"real-model refuses","type":"invalid_request_error"}}"#,
        (400, REQUEST, None, REQUEST),
        Some("v/model refuses"),
    ),
    case(200, "canary", PROVIDER, None),
    case(200, "", PROVIDER, None),
];

/// Nothing of the provider may be seen but its words about the request.
fn discreet(response: &Response) {
    let head = format!("{:?}", response.headers);
    for secret in ["canary", "real-model", UPSTREAM_KEY, "127.0.0.1"] {
        assert!(!response.body.contains(secret), "{secret} in {}", response.body);
        assert!(!head.contains(secret), "{secret} in {head}");
    }
}

fn check(case: &Case, path: &str, response: &Response) {
    let what = format!("{path}, {} {}: {}", case.status, case.body, response.body);
    let (status, openai, code, anthropic) = case.expected;
    assert_eq!(response.status, status, "{what}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    // What is said beside a 200 is not about the failure.
    let after = if case.status == 200 { "1" } else { "7" };
    assert_eq!(response.header("retry-after"), matches!(status, 429 | 503).then_some(after), "{what}");
    discreet(response);
    let id = response.header("x-request-id").unwrap();
    let (start, end) = match path {
        "/v1/messages" => (
            format!(r#"{{"type":"error","error":{{"type":"{anthropic}","message":""#),
            format!(r#"}},"request_id":"{id}"}}"#),
        ),
        _ => (
            r#"{"error":{"message":""#.to_owned(),
            format!(r#""code":{}}}}}"#, code.map_or_else(|| "null".to_owned(), |code| format!("\"{code}\""))),
        ),
    };
    assert!(response.body.starts_with(&start) && response.body.ends_with(&end), "{what}");
    if path != "/v1/messages" {
        assert!(response.body.contains(&format!(r#","type":"{openai}","param":"#)), "{what}");
    }
    if let Some(message) = case.message {
        assert!(response.body.contains(message), "{what}");
    }
}

/// The request of a protocol, with a number in its prompt that the provider finds its case by.
fn numbered(body: &str, number: usize, stream: bool) -> String {
    let stream = if stream { r#","stream":true}"# } else { "}" };
    let body = body.replace("\"hi\"", &format!("\"case {number}.\""));
    format!("{}{stream}", body.strip_suffix("}").unwrap())
}

fn number(seen: &Seen) -> usize {
    let text = seen.text();
    let (_, rest) = text.split_once("case ").unwrap();
    rest.split('.').next().unwrap().parse().unwrap()
}

#[test]
fn every_class_of_failure_in_every_protocol() {
    let mock = Mock::scripted(|seen, _| {
        let case = &CASES[number(seen)];
        json(case.status, "retry-after: 7\r\nx-secret: canary\r\nlocation: http://canary/\r\n", case.body)
    });
    let gateway = Gateway::start(&config(mock.port));
    for (path, body, _) in PROTOCOLS {
        let mut client = Client::connect(gateway.port);
        for (n, case) in CASES.iter().enumerate() {
            for stream in [false, true] {
                client.send(request(path, &gateway.key, &numbered(body, n, stream)).as_bytes());
                check(case, path, &client.receive());
            }
        }
    }
    assert_eq!(mock.seen().len(), 3 * 2 * CASES.len(), "no request is sent twice");
}

#[test]
fn a_long_conversation_is_called_so_in_anthropics_words() {
    let body = r#"{"error":{"message":"maximum context length is 5","code":"context_length_exceeded"}}"#;
    let mock = Mock::new(json(400, "", body));
    let gateway = Gateway::start(&config(mock.port));
    let response = post(&gateway, "/v1/messages", PROTOCOLS[2].1);
    assert!(response.body.contains(r#""message":"prompt is too long: maximum context"#), "{}", response.body);
}

#[test]
fn an_error_that_is_the_clients_already_keeps_its_bytes() {
    let openai = r#"{ "error": {"message":"bad","type":"invalid_request_error","param":"x","code":null,"more":[1.0]} }"#;
    let anthropic = r#"{"type":"error","error":{"type":"invalid_request_error","message":"bad","details":{"error_code":"e"}},"request_id":"req_up"}"#;
    for (status, body, keeps) in [
        (400, openai.to_owned(), [true, true, false]),
        (422, anthropic.to_owned(), [false, false, true]),
        (400, openai.replace("bad", "prompt is too long"), [false; 3]),
        (400, openai.replace("null", "\"context_length_exceeded\""), [true, true, false]),
        (400, anthropic.replace("bad", "prompt is too long: 9 > 5"), [false, false, true]),
        (400, openai.replace("bad", "real-model is bad"), [false; 3]),
        (400, anthropic.replace("bad", "org-canary12345 is bad"), [false; 3]),
        (404, openai.to_owned(), [false; 3]),
        (401, anthropic.to_owned(), [false; 3]),
    ] {
        let mock = Mock::new(json(status, "", &body));
        let gateway = Gateway::start(&config(mock.port));
        for ((path, request, _), keeps) in PROTOCOLS.into_iter().zip(keeps) {
            let response = post(&gateway, path, request);
            assert_eq!(response.body == body, keeps, "{path} {status} {body}: {}", response.body);
            assert!(!keeps || response.status == 400, "{}", response.status);
            discreet(&response);
        }
    }
}

/// The first events of a stream in each protocol, as the provider sends them.
const BEGINNINGS: [&str; 3] = [
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"real-model\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n",
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_7\",\"model\":\"real-model\"}}\n\n",
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"real-model\"}}\n\n",
];

/// A provider whose streams go on by a script once the client has seen that they have begun.
struct Stage {
    gateway: Gateway,
    gate: Arc<Gate>,
    mock: Mock,
}

impl Stage {
    /// `then`: what follows in each protocol. `settings`: more of them for the gateway.
    fn new(settings: &str, then: impl Fn(usize) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let gate = Gate::new();
        let before = Arc::clone(&gate);
        let mock = Mock::scripted(move |seen, _| {
            let n = number(seen);
            let mut acts = open([BEGINNINGS[n].as_bytes()]);
            acts.push(Act::Await(Arc::clone(&before)));
            acts.extend(then(n));
            acts
        });
        Self { gateway: Gateway::start(&format!("{settings}{}", config(mock.port))), gate, mock }
    }

    /// What a streaming request of the protocol `n` brings, up to its end.
    fn play(&self, n: usize) -> Response {
        let (path, body, _) = PROTOCOLS[n];
        let mut client = Client::connect(self.gateway.port);
        client.send(request(path, &self.gateway.key, &numbered(body, n, true)).as_bytes());
        let (status, headers) = client.head();
        assert_eq!(status, 200, "{path}");
        let mut bytes = client.chunk().expect("the first event");
        self.gate.open();
        let mut complete = false;
        while let Some(chunk) = client.chunk() {
            complete = chunk.is_empty();
            if complete {
                break;
            }
            bytes.extend(chunk);
        }
        Response { status, headers, body: String::from_utf8(bytes).unwrap(), complete }
    }

    /// Checks that the stream of each protocol ends with one failure and nothing else.
    fn fails(&self, class: Class, message: &str) {
        for (n, beginning) in BEGINNINGS.iter().enumerate() {
            let response = self.play(n);
            let what = format!("protocol {n}: {}", response.body);
            assert!(response.complete, "the body ends as its framing says: {what}");
            discreet(&response);
            let rest = response.body.strip_prefix(&beginning.replace("real-model", "v/model")).expect(&what);
            let expected = ending(n, &response, class, message);
            match expected.split_once('@') {
                None => assert_eq!(rest, expected, "{what}"),
                Some((start, end)) => {
                    assert!(rest.starts_with(start) && rest.contains(end), "{what}\nlacks {expected}");
                    assert!(
                        rest.contains(r#""status":"failed""#) && rest.contains(r#""model":"v/model""#),
                        "{what}"
                    );
                    assert_eq!(rest.matches("\n\n").count(), 1, "one event: {what}");
                }
            }
        }
        assert!(self.mock.seen().len() >= BEGINNINGS.len());
    }
}

/// Type and code of Chat, the code of Responses, and the type of Messages.
type Class = (&'static str, &'static str, &'static str, &'static str);

/// The end of a stream in the protocol `n`, as the client is told of a failure.
fn ending(n: usize, response: &Response, class: Class, message: &str) -> String {
    let (openai, code, responses, anthropic) = class;
    match n {
        0 => format!(
            "data: {{\"error\":{{\"message\":\"{message}\",\"type\":\"{openai}\",\"param\":null,\"code\":\"{code}\"}}}}\n\n"
        ),
        1 => format!(
            "event: response.failed\ndata: {{\"type\":\"response.failed\",\"sequence_number\":1,\"response\":{{\"id\":\"resp_7\",\
             \"object\":\"response\",@\"error\":{{\"code\":\"{responses}\",\"message\":\"{message}\"}}"
        ),
        _ => format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{anthropic}\",\"message\":\"{message}\"}},\
             \"request_id\":\"{}\"}}\n\n",
            response.header("request-id").unwrap()
        ),
    }
}

const BROKEN: Class = ("provider_error", "provider_error", "server_error", "api_error");

#[test]
fn streams_that_break_off_end_in_the_clients_grammar() {
    let ended = "upstream stream ended before completion";
    let cut = "The provider failed to answer the request.";
    for (acts, message) in [
        (vec![Act::Send(b"0\r\n\r\n".to_vec())], ended),
        (vec![Act::Close], cut),
        (vec![chunk(b"data: {\"half"), Act::Close], cut),
        (vec![chunk(b"data: {\"half"), Act::Send(b"0\r\n\r\n".to_vec())], ended),
        (vec![Act::Send(b"zz\r\nnot a chunk".to_vec()), Act::Close], cut),
    ] {
        Stage::new("", move |_| acts.clone()).fails(BROKEN, message);
    }
}

/// A provider may be silent for a second.
const SHORT: &str = "timeouts: {silence: 1}\n";

#[test]
fn silence_is_ended() {
    let start = Instant::now();
    Stage::new(SHORT, |_| vec![Act::Hold]).fails(BROKEN, "The provider did not answer in time.");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());

    let mock = Mock::new(vec![Act::Hold]);
    let gateway = Gateway::start(&format!("{SHORT}{}", config(mock.port)));
    for (path, body, _) in PROTOCOLS {
        let response = post(&gateway, path, body);
        assert_eq!(response.status, 502, "{path}");
        assert!(response.body.contains("The provider did not answer in time."), "{}", response.body);
    }
}

#[test]
fn a_failure_that_the_provider_reports_in_a_stream_is_told_by_class() {
    let quota = ("api_error", "model_unavailable", "server_error", "overloaded_error");
    let limit = ("rate_limit_error", "rate_limit_exceeded", "rate_limit_exceeded", "rate_limit_error");
    let bad = (REQUEST, "invalid_prompt", "invalid_prompt", REQUEST);
    let unavailable = "The model is unavailable at the moment.";
    let failed = "The provider failed to answer the request.";
    for (kind, code, said, class, message) in [
        ("authentication_error", "null", "canary", BROKEN, failed),
        ("permission_error", "401", "canary", BROKEN, failed),
        ("server_error", "null", "canary", BROKEN, failed),
        ("x", "\"insufficient_quota\"", "canary", quota, unavailable),
        ("overloaded_error", "null", "canary", quota, unavailable),
        ("x", "429", "real-model: wait", limit, "v/model: wait"),
        ("x", "402", "canary", quota, unavailable),
        ("rate_limit_error", "null", "real-model: wait", limit, "v/model: wait"),
        (REQUEST, "\"invalid_prompt\"", "real-model: no", bad, "v/model: no"),
    ] {
        let object = format!(r#"{{"type":"{kind}","code":{code},"message":"{said}"}}"#);
        let events = [
            format!("data: {{\"error\":{object}}}\n\ndata: [DONE]\n\n"),
            format!(
                "event: error\ndata: {}\n\n",
                object.replacen(kind, "error", 1).replace(":null", &format!(":\"{kind}\""))
            ),
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"error\":{object}}}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
            ),
        ];
        // The connection stays open: the client need not wait for its end.
        let start = Instant::now();
        Stage::new("", move |n| vec![chunk(events[n].as_bytes()), Act::Hold]).fails(class, message);
        assert!(start.elapsed() < Duration::from_secs(10), "told at once");
    }
}

/// A head of success says nothing yet: as long as the client has nothing, it is told by the status.
#[test]
fn a_failure_that_comes_first_in_a_stream_is_a_status() {
    let object = r#"{"type":"overloaded_error","code":"overloaded_error","message":"canary"}"#;
    let events = [
        format!("data: {{\"error\":{object}}}\n\n"),
        format!("event: error\ndata: {}\n\n", object.replacen("overloaded_error", "error", 1)),
        format!("event: error\ndata: {{\"type\":\"error\",\"error\":{object}}}\n\n"),
    ];
    for before in ["", "what comes in one piece with it"] {
        let gate = Gate::new();
        let (failures, wait) = (events.clone(), Arc::clone(&gate));
        let mock = Mock::scripted(move |seen, _| {
            let n = number(seen);
            let begun = if before.is_empty() { "" } else { BEGINNINGS[n] };
            let failure = chunk(format!("{begun}{}", failures[n]).as_bytes());
            [open([]), vec![Act::Await(Arc::clone(&wait)), failure, Act::Hold]].concat()
        });
        let gateway = Gateway::start(&config(mock.port));
        for (n, (path, body, _)) in PROTOCOLS.into_iter().enumerate() {
            let streaming = numbered(body, n, true);
            for version in 1..=2 {
                gate.open();
                let response = match version {
                    1 => post(&gateway, path, &streaming),
                    _ => h2_post(gateway.port, path, &gateway.key, streaming.clone().into(), true),
                };
                assert_eq!(response.status, 503, "{path}: {}", response.body);
                assert_eq!(response.header("content-type"), Some("application/json"));
                assert!(response.header("retry-after").is_some() && response.complete, "{path}");
                discreet(&response);
            }
        }
        let log = gateway.access_log(6);
        assert!(log.iter().all(|line| line.contains("\"status\":503")), "{log:?}");
    }
}

/// What comes before an answer waits for it, but not without a bound.
#[test]
fn a_provider_that_says_much_before_it_answers_is_passed_on() {
    let comments = format!(": {}\n\n", "x".repeat(64 << 10)).repeat(32);
    let failure = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n";
    let said = format!("{comments}{failure}");
    let mock = Mock::new([open([said.as_bytes()]), vec![Act::Hold]].concat());
    let gateway = Gateway::start(&config(mock.port));
    let (path, body, _) = PROTOCOLS[2];
    let mut client = Client::connect(gateway.port);
    client.send(request(path, &gateway.key, &numbered(body, 2, true)).as_bytes());
    assert_eq!(client.head().0, 200);
    let mut received = String::new();
    while !received.contains("overloaded_error") {
        let part = client.chunk().expect("the failure is told in the stream");
        received += std::str::from_utf8(&part).unwrap();
    }
    assert!(received.len() > comments.len());
}

/// Before anything of an answer has come, the last word of Responses is a status like any other failure.
#[test]
fn a_final_failure_of_responses_in_the_place_of_an_answer_is_a_status() {
    let created = format!(
        "{}event: response.in_progress\ndata: {{\"type\":\"response.in_progress\",\"response\":{{\"id\":\"resp_7\",\"model\":\"real-model\"}}}}\n\n",
        BEGINNINGS[1]
    );
    for (code, said, status, told) in [
        ("server_error", "canary", 502, "The provider failed to answer the request."),
        ("insufficient_quota", "canary", 503, "The model is unavailable at the moment."),
        ("rate_limit_exceeded", "real-model: wait", 429, "v/model: wait"),
        ("invalid_prompt", "real-model: no", 400, "v/model: no"),
    ] {
        let failed = format!(
            "event: response.failed\ndata: {{\"type\":\"response.failed\",\"response\":{{\"id\":\"resp_7\",\"status\":\"failed\",\"model\":\"real-model\",\"error\":{{\"code\":\"{code}\",\"message\":\"{said}\"}}}}}}\n\n"
        );
        for (before, after) in [("", ""), (&*created, ""), (&*created, ": bye\n\n")] {
            let pieces = [before.as_bytes(), failed.as_bytes(), after.as_bytes()];
            let mock = Mock::new(sse(pieces.into_iter().filter(|piece| !piece.is_empty())));
            let gateway = Gateway::start(&config(mock.port));
            let response = post(&gateway, PROTOCOLS[1].0, &numbered(PROTOCOLS[1].1, 1, true));
            assert_eq!(response.status, status, "{code}: {}", response.body);
            assert_eq!(response.text("error.message"), told, "{code}");
            discreet(&response);
            assert!(gateway.access_log(1)[0].contains(&format!("\"status\":{status}")));
        }
    }
}

#[test]
fn the_final_failure_of_responses_keeps_all_but_what_is_not_the_clients_to_read() {
    let limit = "Rate limit reached for v/model in organization [removed]";
    for (code, said, told, message) in [
        ("invalid_prompt", "no \\u00e9", "invalid_prompt", "no \\u00e9"),
        ("image_too_large", "too large", "image_too_large", "too large"),
        ("server_error", "canary", "server_error", "The provider failed to answer the request."),
        ("insufficient_quota", "canary", "server_error", "The model is unavailable at the moment."),
        (
            "rate_limit_exceeded",
            "Rate limit reached for real-model in organization org-canary12345",
            "rate_limit_exceeded",
            limit,
        ),
    ] {
        let object = |model: &str, code: &str, message: &str| {
            format!(
                r#"{{ "model":"{model}","status":"failed","error": {{"code":"{code}","message":"{message}"}} ,"output":[{{"x":1.50}}]}}"#
            )
        };
        let event = |object: &str| {
            format!(
                "event: response.failed\ndata: {{\"type\":\"response.failed\",\"response\":{object}}}\n\n"
            )
        };
        let given = object("real-model", code, said);
        let stream = event(&given);
        let stage = Stage::new("", move |_| vec![chunk(stream.as_bytes()), Act::Send(b"0\r\n\r\n".to_vec())]);
        let response = stage.play(1);
        let expected = object("v/model", told, message);
        let beginning = BEGINNINGS[1].replace("real-model", "v/model");
        assert_eq!(response.body, format!("{beginning}{}", event(&expected)), "{code}");

        let mock = Mock::new(json(200, "", &given));
        let response = post(&Gateway::start(&config(mock.port)), PROTOCOLS[1].0, PROTOCOLS[1].1);
        assert_eq!((response.status, response.body.as_str()), (200, expected.as_str()), "{code}");
    }
}

#[test]
fn providers_that_can_not_be_reached_or_hang_up() {
    let refused = Gateway::start(&config(free_port()));
    let hangs_up = Mock::new(vec![Act::Close]);
    let hangs_up = (Gateway::start(&config(hangs_up.port)), hangs_up);
    let nonsense = Mock::new(vec![Act::Send(b"hello\r\n\r\n".to_vec()), Act::Close]);
    let nonsense = (Gateway::start(&config(nonsense.port)), nonsense);
    let short = Mock::new(vec![
        Act::Send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{".to_vec(),
        ),
        Act::Close,
    ]);
    let short = (Gateway::start(&config(short.port)), short);
    for gateway in [&refused, &hangs_up.0, &nonsense.0, &short.0] {
        for (n, (path, body, _)) in PROTOCOLS.iter().enumerate() {
            for stream in [false, true] {
                let response = post(gateway, path, &numbered(body, n, stream));
                check(&case(0, "", PROVIDER, Some("The provider ")), path, &response);
            }
        }
    }
    let logged = refused.access_log(6);
    assert!(logged.iter().all(|line| line.contains("\"error\":\"provider_error\"")), "{logged:?}");
}

#[test]
fn a_provider_that_resets_the_connection() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let gateway = Gateway::start(&config(listener.local_addr().unwrap().port()));
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            // Closed with unread bytes, which makes it a reset.
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
    });
    for (path, body, _) in PROTOCOLS {
        let response = post(&gateway, path, &format!("{}{}", body, " ".repeat(100_000)));
        assert_eq!(response.status, 502, "{}", response.body);
        discreet(&response);
    }
    server.join().unwrap();
}
