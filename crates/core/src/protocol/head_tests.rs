//! The top level of a request, read strictly.

use super::Head;
use crate::canon::ProtocolId;
use crate::failure::Result;
use crate::json::splice;

use ProtocolId::{Chat, Messages, Responses};

fn body(members: &str) -> String {
    format!(r#"{{"model":"m","messages":[],"input":"x",{members}}}"#)
}

fn read(protocol: ProtocolId, members: &str) -> Result<Head<'static>> {
    Head::read(body(members).leak().as_bytes(), protocol.protocol().members())
}

fn cap(protocol: ProtocolId, members: &str) -> Option<u64> {
    read(protocol, members).unwrap().output_cap
}

#[test]
fn what_decides_is_read_strictly() {
    for (members, param) in [
        (r#""stream":1"#, "stream"),
        (r#""stream":"true""#, "stream"),
        (r#""stream":1,"stream":true"#, "stream"),
        (r#""stream_options":[]"#, "stream_options"),
        (r#""stream_options":"x""#, "stream_options"),
        (r#""stream_options":7"#, "stream_options"),
        (r#""stream_options":{"include_usage":1}"#, "stream_options.include_usage"),
        (r#""stream_options":{"Include_Usage":true}"#, "stream_options.include_usage"),
        (r#""stream_options":{"include_usage":false,"include_usage":true}"#, "stream_options.include_usage"),
        (r#""n":"8""#, "n"),
        (r#""n":1.5"#, "n"),
        (r#""n":0"#, "n"),
        (r#""n":-1"#, "n"),
        (r#""n":[2]"#, "n"),
        (r#""max_tokens":0"#, "max_tokens"),
        (r#""max_tokens":-5"#, "max_tokens"),
        (r#""max_tokens":"5""#, "max_tokens"),
        (r#""max_tokens":true"#, "max_tokens"),
        (r#""max_completion_tokens":{}"#, "max_completion_tokens"),
        (r#""max_completion_tokens":7.6"#, "max_completion_tokens"),
        (r#""N":2"#, "n"),
        (r#""Stream":true"#, "stream"),
        ("\"\u{17f}tream\":true", "stream"),
        (r#""max_to\u212aens":5"#, "max_tokens"),
        (r#""Max_Completion_Tokens":5"#, "max_completion_tokens"),
        (r#""STREAM_OPTIONS":{}"#, "stream_options"),
        (r#""Model":"x""#, "model"),
    ] {
        let failure = read(Chat, members).unwrap_err();
        assert_eq!((failure.status(), failure.param()), (400, Some(param)), "{members}");
    }
    assert_eq!(read(Responses, r#""max_output_tokens":0"#).unwrap_err().param(), Some("max_output_tokens"));
    assert_eq!(read(Messages, r#""max_tokens":1.5"#).unwrap_err().param(), Some("max_tokens"));
}

#[test]
fn numbers_are_read_however_they_are_written() {
    for n in ["8", "8.0", "8e0", r#"1,"n":8"#, r#"null,"n":8"#] {
        assert_eq!(read(Chat, &format!("\"n\":{n}")).unwrap().choices, 8, "{n}");
    }
    assert_eq!(read(Chat, r#""n":8,"n":1"#).unwrap().choices, 1);
    assert_eq!(read(Chat, r#""n":null"#).unwrap().choices, 1);
    let tokens = Some::<u64>;
    assert_eq!(cap(Chat, r#""max_tokens":100.0"#), tokens(100));
    assert_eq!(cap(Chat, r#""max_tokens":1e2,"max_completion_tokens":null"#), tokens(100));
    assert_eq!(cap(Chat, r#""max_tokens":900,"max_tokens":7"#), tokens(7));
    assert_eq!(cap(Chat, r#""max_tokens":7,"max_tokens":null"#), None);
    assert_eq!(cap(Chat, r#""max_completion_tokens":9,"max_tokens":7"#), tokens(7), "whichever is read");
    assert_eq!(cap(Messages, r#""max_tokens":0"#), tokens(0), "it fills the cache");
    for stream in ["true", r#"false,"stream":true"#] {
        assert!(read(Chat, &format!("\"stream\":{stream}")).unwrap().stream, "{stream}");
    }
    assert!(!read(Chat, r#""stream":true,"stream":null"#).unwrap().stream);
}

/// Writes the request for a provider that limits its answers in `member`.
fn bound(members: &str, member: &str) -> String {
    let body = body(members);
    let head = Head::read(body.as_bytes(), Chat.protocol().members()).unwrap();
    let edits = head.cap_edits(body.as_bytes(), member, 50);
    let mut edits = [edits, head.repeat_edits(body.as_bytes(), &[], true)].concat();
    edits.sort_by_key(|(span, _)| (span.start, span.end));
    String::from_utf8(splice(body.as_bytes(), &edits)).unwrap()
}

#[test]
fn a_limit_stands_in_the_providers_own_member_and_nowhere_else() {
    for (members, expected) in [
        (r#""max_tokens":50"#, r#""max_tokens":50"#),
        (r#""max_tokens": 50.0 "#, r#""max_tokens": 50 "#),
        (r#""max_tokens":null"#, r#""max_tokens":50"#),
        (r#""max_completion_tokens":1"#, r#""max_tokens":50"#),
        (r#""max_completion_tokens":1, "max_tokens":50"#, r#""max_tokens":50"#),
        (r#""max_tokens":50 , "x":1,"max_completion_tokens" : 9"#, r#""x":1,"max_tokens" : 50"#),
        (r#""max_tokens":1,"max_tokens":2,"max_tokens":3,"y":0"#, r#""max_tokens":50,"y":0"#),
        (r#""max\u005ftokens":50"#, r#""max\u005ftokens":50"#),
    ] {
        assert_eq!(bound(members, "max_tokens"), body(expected), "{members}");
    }
    let added = body(r#""x":1"#).replacen('{', r#"{"max_completion_tokens":50,"#, 1);
    assert_eq!(bound(r#""x":1"#, "max_completion_tokens"), added);
}

#[test]
fn members_that_stand_twice_have_one_reading() {
    let edited = |members: &str| {
        let body = body(members);
        let head = Head::read(body.as_bytes(), Chat.protocol().members()).unwrap();
        let usage = Chat.protocol().usage_edits(body.as_bytes(), &head);
        let mut edits = [head.repeat_edits(body.as_bytes(), &usage, false), usage].concat();
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        String::from_utf8(splice(body.as_bytes(), &edits)).unwrap()
    };
    let asks = r#""stream_options":{"include_usage":true}"#;
    for (members, expected) in [
        (r#""n":8.0,"n":1"#, r#""n":1,"n":1"#.to_owned()),
        (r#""max_tokens":1,"max_tokens":5"#, r#""max_tokens":5,"max_tokens":5"#.to_owned()),
        (r#""stream":null,"stream":true"#, r#""stream":true,"stream":true"#.to_owned()),
    ] {
        assert!(edited(&format!("{asks},{members}")).ends_with(&format!("{expected}}}")), "{members}");
    }
    for last in ["null", "{}", r#"{"include_usage":false}"#] {
        let both = format!(r#""stream_options":{{"x":1}},"stream_options":{last}"#);
        assert_eq!(edited(&both), body(&format!("{asks},{asks}")), "{last}");
    }
    let long = "x".repeat(300);
    for often in [
        r#""n":1,"#.repeat(100) + r#""x":1"#,
        [r#""stream":null,"#, r#""n":1,"#, r#""str\u0065am":false,"#, r#""max_tokens":null,"#]
            .concat()
            .repeat(20)
            + r#""x":1"#,
        format!(r#""stream_options":{{}},"stream_options":{{"x":"{long}"}}"#),
    ] {
        assert_eq!(read(Chat, &often).unwrap_err().status(), 400, "{often}");
    }
}

#[test]
fn a_body_that_is_looked_through_has_to_be_json() {
    let failure = read(Chat, r#""a":[{"type":"image" "b":1}]"#).unwrap_err();
    assert_eq!(failure.code(), "invalid_json");
}

#[test]
fn models_routes_and_hosts_within_a_request_are_refused() {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let head = read(Messages, r#""fallbacks":[{"model":"claude-opus-5-5"}]"#).unwrap();
    let refused = head.check_inner(&[]).unwrap_err();
    assert_eq!((refused.status(), refused.param()), (400, Some("fallbacks[0].model")));
    assert!(refused.message().contains("fallbacks[0].model"));
    head.check_inner(&list(&["claude-opus-5-5"])).unwrap();
    head.check_inner(&list(&["*"])).unwrap();
    head.check_inner(&list(&["claude-haiku-5"])).unwrap_err();
    let routed = read(Chat, r#""models":["a"],"route":"fallback""#).unwrap();
    assert_eq!(routed.check_inner(&list(&["a"])).unwrap_err().param(), Some("route"));
    assert_eq!(read(Chat, r#""Api_Key":"k""#).unwrap_err().param(), Some("api_key"));
}

#[test]
fn who_forbids_thinking_does_not_ask_for_it() {
    for (members, thinks) in [
        (r#""thinking":{"type":"disabled"}"#, false),
        (r#""reasoning":{"effort":"none","summary":"auto"}"#, false),
        (r#""reasoning":{"enabled":false}"#, false),
        (r#""reasoning":{}"#, false),
        (r#""reasoning_effort":"none""#, false),
        (r#""thinking":{"type":"adaptive"}"#, true),
        (r#""reasoning":{"summary":"auto"}"#, true),
        (r#""thinking":{"type":"disabled","type":"enabled"}"#, true),
        (r#""thinking":{"type":"disabled","budget_tokens":2000}"#, true),
        (r#""thinking":{"type":"disabled"},"thinking":{"type":"enabled"}"#, true),
        (r#""thinking":{"type":"dis\u0061bled"}"#, true),
        (r#""thinking":7"#, true),
        (r#""Reasoning_Effort":"high""#, true),
        (r#""Thinking":{"type":"disabled"}"#, false),
        (r#""thinking":{"type":"disabled","Type":"enabled"}"#, true),
    ] {
        assert_eq!(read(Chat, members).unwrap().thinks, thinks, "{members}");
    }
}
