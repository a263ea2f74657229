//! The items of `input`, as turns.

use super::*;
use crate::canon::{Caps, Profile, ProtocolId, Sealer};

fn read(json: &str) -> Result<(Request<'_>, Option<String>)> {
    let (mut request, mut losses) = (Request::default(), Losses::default());
    let profile = Profile::default();
    let caps = Caps::of(ProtocolId::Messages, "m", &profile);
    let protocol = ProtocolId::Messages;
    let sealer = Sealer::default();
    let target =
        Target { protocol, origin: "o", model: "m", profile: &profile, caps: &caps, sealer: &sealer };
    InputReader {
        request: &mut request,
        losses: &mut losses,
        target: &target,
        long: false,
        gone: Vec::new(),
        trigger: None,
    }
    .read(&Node::root(json))?;
    Ok((request, losses.header()))
}

/// The turns in short: `assistant: text call:a`.
fn shape(request: &Request<'_>) -> Vec<String> {
    let part = |part: &Part<'_>| match part {
        Part::Text(text) => text.text.decode().into_owned(),
        Part::Call(call) => format!("call:{}{}", call.id, if call.custom { "!" } else { "" }),
        Part::Result(result) => format!("result:{}", result.id),
        Part::Reasoning(_) => "thought".to_owned(),
        other => format!("{other:?}"),
    };
    let turn = |turn: &Turn<'_>| {
        format!("{:?}: {}", turn.role, turn.parts.iter().map(part).collect::<Vec<_>>().join(" "))
    };
    request.turns.iter().map(turn).collect()
}

#[test]
fn adjacent_items_of_the_assistant_are_one_turn() {
    // Golden case 3.
    let (request, _) = read(
        r#"[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"look"}]},
            {"type":"function_call","call_id":"a","name":"f","arguments":"{}"},
            {"type":"function_call","call_id":"b","name":"f","arguments":"{}"},
            {"type":"function_call_output","call_id":"b","output":"B"},
            {"type":"message","role":"user","content":"hurry"},
            {"type":"function_call_output","call_id":"a","output":"A"}]"#,
    )
    .unwrap();
    let expected = ["Assistant: look call:a call:b", "User: result:b", "User: hurry", "User: result:a"];
    assert_eq!(shape(&request), expected);
}

#[test]
fn items_that_are_left_out_part_nothing() {
    let (request, lost) = read(
            r#"[{"role":"user","content":"go"},
            {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"E"},
            {"type":"web_search_call","id":"ws_1","status":"completed"},
            {"type":"message","role":"assistant","phase":"commentary","content":[{"type":"output_text","text":"a"}]},
            {"type":"mcp_call","id":"m"},{"type":"computer_call_output"},{"type":"program_output"},
            {"type":"tool_search_call","call_id":"s","execution":"client"},{"type":"configuration_update"},
            {"type":"custom_tool_call","call_id":"c","name":"p","input":"x"},
            {"type":"custom_tool_call_output","call_id":"c","output":""},
            {"type":"function_call_output","call_id":"s","output":"found"},
            {"type":"function_call_output","call_id":"d","output":[{"type":"input_text","text":"t"}]}]"#,
        )
        .unwrap();
    assert_eq!(shape(&request), ["User: go", "Assistant: thought a call:c!", "User: result:c result:d"]);
    let expected = "[2], [4], [5], [6], [7], [11]";
    assert_eq!(lost.unwrap(), expected);
    let Part::Result(result) = &request.turns[2].parts[0] else { panic!() };
    assert!(result.custom && result.content.is_empty());
}

#[test]
fn instructions_lead_or_stay_in_their_place() {
    let (request, _) = read(
            r#"[{"role":"developer","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]},
            {"role":"system","content":""},{"role":"user","content":"hi"},{"role":"developer","content":"later"}]"#,
        )
        .unwrap();
    let leading: Vec<_> = request.system.iter().map(|text| text.text.raw()).collect();
    assert_eq!((leading, shape(&request)), (vec!["a", "b"], vec!["User: hi".into(), "System: later".into()]));
}

#[test]
fn a_text_is_one_message_of_the_user() {
    assert_eq!(shape(&read("\"hi\"").unwrap().0), ["User: hi"]);
}

#[test]
fn odd_calls_and_outputs_are_read() {
    let (request, _) = read(
        r#"[{"type":"function_call","id":"fc_1","name":"f","namespace":"crm","arguments":{"b": 1.0, "a":1e2}},
            {"type":"function_call_output","call_id":"fc_1","output":{"x": 1}}]"#,
    )
    .unwrap();
    let Part::Call(call) = &request.turns[0].parts[0] else { panic!() };
    assert_eq!((call.id.as_ref(), call.namespace.as_deref()), ("fc_1", Some("crm")));
    assert!(matches!(&call.args, Args::Raw(raw) if raw.get() == r#"{"b":1.0,"a":1e2}"#));
    let Part::Result(result) = &request.turns[1].parts[0] else { panic!() };
    assert!(matches!(&result.content[0], Part::Text(text) if text.text.decode() == r#"{"x":1}"#));
}

#[test]
fn tools_may_stand_among_the_items() {
    let json = r#"[{"type":"additional_tools","tools":[{"type":"function","name":"f"}]},{"role":"user","content":"x"}]"#;
    assert_eq!(read(json).unwrap().0.tools[0].name, "f");
}

#[test]
fn what_refers_to_stored_state_or_runs_elsewhere_is_refused() {
    let refused = |json: &str| read(json).map(|_| ()).unwrap_err();
    let reference = refused(r#"[{"type":"item_reference","id":"msg_1"}]"#);
    assert_eq!((reference.code(), reference.param()), ("unsupported_responses_feature", Some("[0]")));
    for kind in REFUSED {
        let refusal = refused(&format!(r#"[{{"type":"{kind}"}}]"#));
        assert_eq!((refusal.code(), refusal.param()), ("unsupported_parameter", Some("[0]")));
    }
    assert_eq!(refused(r#"[{"type":"novelty"}]"#).code(), "unsupported_content_type");
    assert_eq!(refused(r#"[{"role":"tool","content":"x"}]"#).param(), Some("[0].role"));
    assert_eq!(refused(r#"[{"content":"x"}]"#).param(), Some("[0].role"));
    assert_eq!(refused(r#"[{"type":"function_call","call_id":"c"}]"#).param(), Some("[0].name"));
    let picture = r#"[{"role":"system","content":[{"type":"input_image","image_url":"https://x"}]}]"#;
    assert_eq!(refused(picture).param(), Some("[0].content"));
}
