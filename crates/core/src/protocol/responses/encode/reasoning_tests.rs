//! Reasoning of earlier turns in requests for providers.

#![expect(clippy::string_slice, reason = "a test may panic")]

use crate::canon::{Args, Carrier, Part, Reasoning, Seal, Sealed};
use crate::json::{JsonStr, Raw};

use super::{assistant, call, input, provider, text, turns, user};

fn thought(sealed: Sealed<'static>) -> Part<'static> {
    Part::Reasoning(Reasoning { text: Some(JsonStr::plain("t")), sealed: Some(sealed) })
}

fn carried() -> Part<'static> {
    let summary = Some(Raw::constant(r#"[{"type":"summary_text","text":"s"}]"#));
    let seal = Seal::Encrypted { id: Some(JsonStr::plain("rs_1")), content: JsonStr::plain("E"), summary };
    let blocks = vec![seal.block(&JsonStr::plain("t"))];
    thought(Sealed::Carried(Carrier { blocks }))
}

#[test]
fn reasoning_goes_back_to_where_it_came_from() {
    // Golden case 76, on its way back.
    let item =
        r#"{"type":"reasoning","encrypted_content":"E","summary":[{"type":"summary_text","text":"s"}]}"#;
    let said = |part: Part<'static>| {
        let all = turns(vec![user(vec![text("x")]), assistant(vec![part, text("y")])]);
        let all = input(&all, &provider());
        let begin = all.find(r#"{"type":"reasoning""#)?;
        let end = all.find(r#",{"type":"message","role":"assistant""#)?;
        Some(all[begin..end].to_owned())
    };
    assert_eq!(said(carried()).as_deref(), Some(item));
    // Golden case 79: others get nothing.
    assert_eq!(said(thought(Sealed::Thinking(Raw::constant("{}")))), None);
    assert_eq!(said(Part::Reasoning(Reasoning { text: Some(JsonStr::plain("t")), sealed: None })), None);
    let no_reasoning = Carrier { blocks: vec![Raw::constant(r#"{"type":"item_reference","id":"x"}"#)] };
    assert_eq!(said(thought(Sealed::Carried(no_reasoning))), None);
    let details = r#"[{"type":"reasoning.summary","summary":"s","index":0},{"type":"reasoning.encrypted","data":"E","id":"rs_1","format":"openai-responses-v1","index":1},
        {"type":"reasoning.text","text":"t","signature":"S","format":"anthropic-claude-v1"},{"type":"reasoning.encrypted","data":"R","format":"anthropic-claude-v1"}]"#;
    assert_eq!(said(thought(Sealed::Details(Raw::constant(details)))).as_deref(), Some(item));
    let native =
        r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"N","status":"completed"}"#;
    let bare = r#"{"type":"reasoning","encrypted_content":"N","summary":[]}"#;
    assert_eq!(said(thought(Sealed::Item(Raw::constant(native)))).as_deref(), Some(bare));
}

#[test]
fn reasoning_that_nothing_follows_is_left_out() {
    let all = |parts| input(&turns(vec![user(vec![text("x")]), assistant(parts)]), &provider());
    assert!(!all(vec![text("y"), carried()]).contains("encrypted"));
    assert!(!all(vec![carried(), text("")]).contains("encrypted"));
    let two = all(vec![carried(), carried(), call("c", Args::Str(JsonStr::plain("{}")))]);
    assert_eq!(two.matches("encrypted_content").count(), 2);
    assert!(two.rfind("encrypted_content").unwrap() < two.find("function_call").unwrap());
}
