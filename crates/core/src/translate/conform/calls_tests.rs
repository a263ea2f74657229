use super::*;
use crate::canon::{Args, Call};
use crate::json::Raw;

fn call(id: &'static str) -> Part<'static> {
    let args = Args::Raw(Raw::constant("{}"));
    Part::Call(Call { id: id.into(), namespace: None, name: "f".into(), custom: false, args, extra: None })
}

fn result(id: &'static str) -> Part<'static> {
    let content = vec![text("done")];
    Part::Result(ToolResult { id: id.into(), custom: false, content, is_error: false, cache: None })
}

fn text(text: &'static str) -> Part<'static> {
    Part::Text(Text::new(JsonStr::plain(text)))
}

fn model(parts: Vec<Part<'static>>) -> Turn<'static> {
    Turn::new(Role::Assistant, parts)
}

fn user(parts: Vec<Part<'static>>) -> Turn<'static> {
    Turn::new(Role::User, parts)
}

/// Writes a conversation in short: `c:` is a call, `r:` a result, turns end with `|`.
fn shown(turns: &[Turn<'_>]) -> String {
    let part = |part: &Part<'_>| match part {
        Part::Call(call) => format!("c:{} ", call.id),
        Part::Result(result) => format!("r:{} ", result.id),
        Part::Text(text) => format!("{} ", text.text.decode()),
        _ => "? ".to_owned(),
    };
    turns.iter().map(|turn| turn.parts.iter().map(part).collect::<String>() + "|").collect()
}

#[test]
fn repeated_ids_become_unique_and_results_follow_their_calls() {
    let mut turns = vec![
        model(vec![call("a"), call("b"), call("a_2")]),
        user(vec![result("a"), result("b"), result("a_2")]),
        model(vec![call("a"), call("a")]),
        user(vec![result("a"), result("a")]),
        model(vec![call("a")]),
        user(vec![result("a"), result("a")]),
    ];
    let known = make_unique(&mut turns);
    assert_eq!(shown(&turns), "c:a c:b c:a_2 |r:a r:b r:a_2 |c:a_3 c:a_4 |r:a_3 r:a_4 |c:a_5 |r:a_5 r:a_5 |");
    assert!(known.contains("a") && !known.contains("a_3"));
    let unique = shown(&turns);
    make_unique(&mut turns);
    assert_eq!(shown(&turns), unique);
}

#[test]
fn each_call_has_a_result_behind_it() {
    let mut turns = vec![
        user(vec![text("do")]),
        model(vec![call("a"), call("b")]),
        model(vec![call("c")]),
        user(vec![result("b"), text("stop")]),
        user(vec![text("now")]),
        model(vec![call("d")]),
    ];
    let mut losses = Losses::default();
    pair(&mut turns, &mut losses).unwrap();
    assert_eq!(shown(&turns), "do |c:a c:b |c:c |r:a r:c r:b stop |now |c:d |r:d |");
    let told = losses.header().unwrap();
    assert_eq!(told, "calls[a].result=interrupted, calls[c].result=interrupted, calls[d].result=interrupted");
    let refusal = pair(&mut vec![model(vec![call("a")])], &mut Losses::new(true)).unwrap_err();
    assert!(refusal.status() == 400 && refusal.message().contains("calls[a].result"));
}

#[test]
fn a_result_without_a_call_is_told_as_text() {
    let mut turns = vec![
        user(vec![result("x")]),
        model(vec![call("a")]),
        user(vec![result("a"), result("y")]),
        model(vec![text("well")]),
        user(vec![result("a")]),
    ];
    let mut losses = Losses::default();
    pair(&mut turns, &mut losses).unwrap();
    let note = |id| format!("[Result of the tool call {id}, which is not shown here] done ");
    assert_eq!(shown(&turns), format!("{}|c:a |r:a {}|well |{}|", note("x"), note("y"), note("a")));
    assert_eq!(losses.header().unwrap(), "results[x]=text, results[y]=text, results[a]=text");
}

#[test]
fn what_is_paired_stays() {
    let mut turns =
        vec![user(vec![text("do")]), model(vec![call("a")]), user(vec![result("a"), result("a")])];
    let mut losses = Losses::new(true);
    pair(&mut turns, &mut losses).unwrap();
    assert_eq!(shown(&turns), "do |c:a |r:a r:a |");
}
