//! Conversations with thinking that only the account accepts which has answered before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Client, Gateway, Mock, PROTOCOLS, Response, json, member, post, request};

/// A gateway in front of two accounts at providers of the Messages protocol. The numbers are their priorities.
fn in_front_of(mocks: [&Mock; 2], priorities: [u32; 2], model: &str) -> Gateway {
    let provider = |n: usize| {
        format!(
            "  p{n}: {{base_url: \"http://127.0.0.1:{}\", key: \"env:UPSTREAM_KEY\", protocols: [messages], \
             breaker_failures: 0, profile: {{block_binding: true}}}}\n",
            mocks[n].port
        )
    };
    let target = |n: usize| format!("{{provider: p{n}, model: {model}, priority: {}}}", priorities[n]);
    let (providers, targets) = (provider(0) + &provider(1), [target(0), target(1)].join(", "));
    Gateway::start(&format!("providers:\n{providers}models:\n  - {{id: v/model, targets: [{targets}]}}\n"))
}

/// A provider that answers well as long as it is up.
fn moody() -> (Mock, Arc<AtomicBool>) {
    let is_up = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&is_up);
    let mock = Mock::scripted(move |_, _| match state.load(Ordering::SeqCst) {
        true => json(200, "", PROTOCOLS[2].2),
        false => json(503, "", ""),
    });
    (mock, is_up)
}

/// Begins a conversation.
fn begin(gateway: &Gateway, said: &str) -> Response {
    post(gateway, "/v1/messages", &beginning(said))
}

/// Sends a request of a session.
fn in_session(gateway: &Gateway, body: &str) -> Response {
    let mut client = Client::connect(gateway.port);
    let request = request("/v1/messages", &gateway.key, body);
    client.send(request.replacen("\r\n", "\r\nx-session-id: s\r\n", 1).as_bytes());
    client.receive()
}

fn beginning(said: &str) -> String {
    format!(r#"{{"model":"v/model","max_tokens":9,"messages":[{{"role":"user","content":"{said}"}}]}}"#)
}

/// Goes on with a conversation in which the model has thought.
fn go_on(gateway: &Gateway, said: &str) -> Response {
    post(gateway, "/v1/messages", &continuation(said))
}

fn continuation(said: &str) -> String {
    format!(
        r#"{{"model":"v/model","max_tokens":9,"messages":[
           {{"role":"user","content":[{{"type":"text","text":"{said}","cache_control":{{"type":"ephemeral"}}}}]}},
           {{"role":"assistant","content":[{{"type":"thinking","thinking":"t","signature":"S"}},{{"type":"text","text":"x"}}]}},
           {{"role":"user","content":"go on"}}]}}"#
    )
}

/// The same in Chat.
fn go_on_in_chat(gateway: &Gateway, said: &str) -> Response {
    let body = format!(
        r#"{{"model":"v/model","messages":[{{"role":"user","content":"{said}"}},
           {{"role":"assistant","content":"x","reasoning_details":[{{"type":"reasoning.text","text":"t","signature":"S",
             "format":"anthropic-claude-v1","index":0}}]}},
           {{"role":"user","content":"go on"}}]}}"#
    );
    post(gateway, "/v1/chat/completions", &body)
}

#[test]
fn conversations_go_on_where_they_were_answered() {
    let (first, second) = (moody().0, moody().0);
    let gateway = in_front_of([&first, &second], [0, 0], "claude-sonnet-5-5");
    let mut used = [false, false];
    for n in 0..12 {
        let said = format!("conversation {n}");
        let before = (first.seen().len(), second.seen().len());
        for response in [begin(&gateway, &said), go_on(&gateway, &said), go_on_in_chat(&gateway, &said)] {
            assert_eq!(response.status, 200, "{}", response.body);
        }
        let here = first.seen().len() - before.0;
        let there = second.seen().len() - before.1;
        assert!(matches!((here, there), (3, 0) | (0, 3)), "{here} and {there}");
        used[usize::from(here == 0)] = true;
    }
    assert_eq!(used, [true, true], "other conversations go elsewhere");
}

#[test]
fn a_conversation_stays_with_the_account_that_stood_in() {
    let ((first, is_up), (second, _)) = (moody(), moody());
    let gateway = in_front_of([&first, &second], [0, 1], "claude-opus-5-5");
    is_up.store(false, Ordering::SeqCst);
    assert_eq!(begin(&gateway, "one").status, 200);
    is_up.store(true, Ordering::SeqCst);
    first.take();
    second.take();
    assert_eq!(go_on(&gateway, "one").status, 200);
    assert_eq!((first.take().len(), second.take().len()), (0, 1));
    assert_eq!(begin(&gateway, "two").status, 200);
    assert_eq!(go_on(&gateway, "two").status, 200);
    assert_eq!((first.take().len(), second.take().len()), (2, 0));
}

#[test]
fn signed_thinking_goes_to_no_other_account() {
    let ((first, is_up), (second, _)) = (moody(), moody());
    let gateway = in_front_of([&first, &second], [0, 1], "claude-haiku-5-5");
    assert_eq!(begin(&gateway, "one").status, 200);
    is_up.store(false, Ordering::SeqCst);
    for response in [go_on(&gateway, "one"), go_on_in_chat(&gateway, "one")] {
        assert!(response.status >= 500, "{}", response.status);
    }
    assert!(second.take().is_empty());
    assert_eq!(begin(&gateway, "one").status, 200, "nothing is signed yet");
    assert_eq!(second.take().len(), 1);
}

#[test]
fn thinking_that_every_account_accepts_binds_nothing() {
    let ((first, is_up), (second, _)) = (moody(), moody());
    let gateway = in_front_of([&first, &second], [0, 1], "claude-opus-5");
    assert_eq!(begin(&gateway, "one").status, 200);
    is_up.store(false, Ordering::SeqCst);
    assert_eq!(go_on(&gateway, "one").status, 200);
    assert_eq!(second.take().len(), 1);
}

#[test]
fn an_account_that_rests_is_waited_for() {
    let (good, _) = moody();
    let busy = Mock::scripted(|_, n| match n {
        0 => json(200, "", PROTOCOLS[2].2),
        _ => json(503, "", ""),
    });
    let provider = |n: usize, port: u16| {
        format!(
            "  p{n}: {{base_url: \"http://127.0.0.1:{port}\", key: \"env:UPSTREAM_KEY\", protocols: [messages]}}\n"
        )
    };
    let gateway = Gateway::start(&format!(
        "providers:\n{}{}models:\n  - {{id: v/model, targets: [{{provider: p0, model: claude-opus-5-5}}, \
         {{provider: p1, model: claude-opus-5-5, priority: 1}}]}}\n",
        provider(0, busy.port),
        provider(1, good.port)
    ));
    assert_eq!(begin(&gateway, "one").status, 200);
    let rests =
        (0..20).map(|_| go_on(&gateway, "one")).find(|response| response.body.contains("no other one"));
    let response = rests.unwrap();
    assert_eq!(response.status, 503);
    assert_eq!(member(&response.body, "type"), "error");
    assert!(response.header("retry-after").is_some());
    assert!(good.take().is_empty());
}

#[test]
fn bound_thinking_is_asked_for_by_its_feature() {
    let (first, second) = (moody().0, moody().0);
    let gateway = in_front_of([&first, &second], [0, 1], "claude-opus-5-5");
    assert_eq!(go_on_in_chat(&gateway, "one").status, 200);
    let seen = first.last();
    assert_eq!(seen.header("anthropic-beta"), Some("thinking-binding-controls-2026-08-01"));
    assert!(seen.text().contains("\"block_binding\":{\"prefix_mismatch_behavior\":\"drop_block\"}"));
    assert_eq!(go_on(&gateway, "one").status, 200);
    let seen = first.last();
    assert_eq!(seen.header("anthropic-beta"), None, "a relay adds nothing");
    assert!(!seen.text().contains("block_binding") && seen.text().contains("\"signature\":\"S\""));
}

#[test]
fn the_conversations_of_a_session_have_accounts_of_their_own() {
    let ((first, is_up), (second, _)) = (moody(), moody());
    let gateway = in_front_of([&first, &second], [0, 1], "claude-opus-5-5");
    assert_eq!(in_session(&gateway, &beginning("task")).status, 200);
    is_up.store(false, Ordering::SeqCst);
    assert_eq!(in_session(&gateway, &beginning("a part of the task")).status, 200);
    is_up.store(true, Ordering::SeqCst);
    first.take();
    second.take();
    assert_eq!(in_session(&gateway, &continuation("task")).status, 200);
    assert_eq!((first.take().len(), second.take().len()), (1, 0));
    assert_eq!(in_session(&gateway, &continuation("a part of the task")).status, 200);
    assert_eq!((first.take().len(), second.take().len()), (0, 1));
    // The summary of a conversation may take the place of its opening.
    assert_eq!(in_session(&gateway, &continuation("summary")).status, 200);
    assert_eq!((first.take().len(), second.take().len()), (0, 1));
}
