//! The conversation, as the items of `input`.

use super::*;

#[test]
fn instructions_stand_apart_if_they_are_one_block() {
    let one = Request { system: vec![Text::new(JsonStr::plain("be"))], ..hello() };
    assert!(
        body(&one, &provider())
            .starts_with(r#""instructions":"be","input":[{"type":"message","role":"user""#)
    );
    // Golden case 8.
    let only = Request { turns: Vec::new(), ..one.clone() };
    let developer = |text: &str| {
        format!(
            r#"{{"type":"message","role":"developer","content":[{{"type":"input_text","text":"{text}"}}]}}"#
        )
    };
    assert_eq!(body(&only, &provider()), format!(r#""input":[{}]"#, developer("be")));
    let two =
        Request { system: vec![Text::new(JsonStr::plain("a")), Text::new(JsonStr::plain("b"))], ..hello() };
    let begins = format!(r#""input":[{},{},"#, developer("a"), developer("b"));
    assert!(body(&two, &provider()).starts_with(&begins));
    let cached = Request { system: vec![marked("a", false)], ..hello() };
    assert!(body(&cached, &provider()).starts_with(r#""instructions":"a""#));
    let mark = r#""text":"a","prompt_cache_breakpoint":{"mode":"explicit"}}"#;
    assert!(body(&cached, &openai()).starts_with(r#""input":[{"type":"message","role":"developer""#));
    assert!(body(&cached, &openai()).contains(mark));
}

#[test]
fn instructions_in_mid_conversation_stay_there() {
    let all =
        turns(vec![user(vec![text("a")]), Turn::new(Role::System, vec![text("s")]), user(vec![text("b")])]);
    let developer = r#"{"type":"message","role":"developer","content":[{"type":"input_text","text":"s"}]}"#;
    assert!(input(&all, &provider()).contains(developer));
    let mut noted = provider();
    noted.profile.mid_system = Some(MidSystem::UserNote);
    let note = r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"[System instruction, not written by the user]\ns"}]}"#;
    assert!(input(&all, &noted).contains(note));
}

#[test]
fn the_order_of_items_is_that_of_parts() {
    // Golden case 54, and A.2.4: texts before and after calls.
    let all = turns(vec![
        user(vec![text("go")]),
        assistant(vec![
            text("I look."),
            call("a", Args::Str(JsonStr::of("{\"b\":1.0,\"a\":1e2}"))),
            call("b", Args::Raw(Raw::constant("{\"x\": [1, 2]}"))),
            call("c", Args::Str(JsonStr::plain(" "))),
            Part::Refusal(JsonStr::plain("no")),
        ]),
        user(vec![Part::Result(result("a", vec![text("A")])), text("and?")]),
    ]);
    let expected = [
        r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"go"}]}"#,
        r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"I look."}]}"#,
        // Golden case 72: the spelling of numbers and the order of keys.
        r#"{"type":"function_call","call_id":"a","name":"f","arguments":"{\"b\":1.0,\"a\":1e2}"}"#,
        r#"{"type":"function_call","call_id":"b","name":"f","arguments":"{\"x\":[1,2]}"}"#,
        r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#,
        r#"{"type":"message","role":"assistant","content":[{"type":"refusal","refusal":"no"}]}"#,
        r#"{"type":"function_call_output","call_id":"a","output":"A"}"#,
        r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"and?"}]}"#,
    ];
    assert_eq!(input(&all, &provider()), expected.join(","));
}

#[test]
fn what_is_appended_does_not_change_what_was_there() {
    let mut all =
        vec![user(vec![text("a")]), assistant(vec![text("b"), call("c", Args::Str(JsonStr::plain("{}")))])];
    let short = input(&turns(all.clone()), &openai());
    all.push(user(vec![Part::Result(result("c", vec![]))]));
    all.push(assistant(vec![text("d")]));
    assert!(input(&turns(all), &openai()).starts_with(&short));
}

#[test]
fn empty_texts_are_left_out_unless_nothing_else_is_said() {
    let all = turns(vec![user(vec![text(""), text("a")]), assistant(vec![text("")]), user(vec![text("b")])]);
    let said = |text: &str| {
        format!(r#"{{"type":"message","role":"user","content":[{{"type":"input_text","text":"{text}"}}]}}"#)
    };
    assert_eq!(input(&all, &provider()), format!("{},{}", said("a"), said("b")));
    assert_eq!(input(&turns(vec![user(vec![text("")])]), &provider()), said(""));
}

#[test]
fn pictures_files_and_speech() {
    let base64 = |mime: &'static str| Source::Base64 { mime: mime.into(), data: "AAAA".into() };
    let picture = |source, detail| {
        Part::Image(Image { source, path: String::new(), detail, cache: Some(Cache { long: false }) })
    };
    let file = |source, name| {
        Part::Document(DocumentPart { source, path: String::new(), name, context: None, cache: None })
    };
    let all = turns(vec![user(vec![
        picture(Source::Url(JsonStr::plain("https://x/y")), None),
        picture(base64("image/png"), Some(JsonStr::plain("low"))),
        file(base64("application/pdf"), None),
        file(base64("application/pdf"), Some(JsonStr::plain("a.pdf"))),
        file(Source::Url(JsonStr::plain("https://x/z.pdf")), None),
        Part::Audio(Audio {
            data: JsonStr::plain("AA=="),
            format: JsonStr::plain("wav"),
            path: String::new(),
            cache: None,
        }),
    ])]);
    let expected = [
        // Golden case 49.
        r#"{"type":"input_image","image_url":"https://x/y","detail":"auto","prompt_cache_breakpoint":{"mode":"explicit"}}"#,
        r#"{"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"low","prompt_cache_breakpoint":{"mode":"explicit"}}"#,
        r#"{"type":"input_file","filename":"document.pdf","file_data":"data:application/pdf;base64,AAAA"}"#,
        r#"{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"}"#,
        r#"{"type":"input_file","file_url":"https://x/z.pdf"}"#,
        r#"{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}"#,
    ];
    let whole = format!(r#"{{"type":"message","role":"user","content":[{}]}}"#, expected.join(","));
    assert_eq!(input(&all, &openai()), whole);
    let odd =
        turns(vec![user(vec![text("x")]), assistant(vec![picture(base64("image/png"), None), text("a")])]);
    let (json, lost) = written(&odd, &provider());
    assert_eq!(lost.unwrap(), "messages.assistant.media");
    assert!(json.contains(r#""content":[{"type":"output_text","text":"a"}]"#));
}

#[test]
fn files_of_text_are_files_only_for_openai() {
    let document = DocumentPart {
        source: Source::Text(JsonStr::of("a\n")),
        path: String::new(),
        name: Some(JsonStr::plain("n.txt")),
        context: Some(JsonStr::plain("about")),
        cache: Some(Cache { long: true }),
    };
    let all = turns(vec![user(vec![Part::Document(document)])]);
    let expected = r#"[{"type":"input_text","text":"about"},{"type":"input_text","text":"n.txt\na\n"}]"#;
    assert!(input(&all, &provider()).contains(expected));
    let expected = r#"{"type":"input_file","filename":"n.txt","file_data":"data:text/plain;base64,YQo=","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}}"#;
    assert!(input(&all, &openai()).contains(expected));
}

#[test]
fn results_of_tools() {
    let picture = Part::Image(Image {
        source: Source::Url(JsonStr::plain("https://x")),
        path: String::new(),
        detail: None,
        cache: None,
    });
    let failed = |content| ToolResult { is_error: true, ..result("c", content) };
    let shown = |result: ToolResult<'static>| {
        let all = input(&turns(vec![user(vec![Part::Result(result)])]), &openai());
        let rest = all.strip_prefix(r#"{"type":"function_call_output","call_id":"c","output":"#).unwrap();
        rest.strip_suffix('}').unwrap().to_owned()
    };
    assert_eq!(shown(result("c", vec![])), r#""""#);
    let part = |text: &str| format!(r#"{{"type":"input_text","text":"{text}"}}"#);
    assert_eq!(shown(result("c", vec![text("a"), text("b")])), format!("[{},{}]", part("a"), part("b")));
    let image = r#"{"type":"input_image","image_url":"https://x","detail":"auto"}"#;
    assert_eq!(shown(result("c", vec![picture.clone()])), format!("[{image}]"));
    // Golden case 51.
    assert_eq!(shown(failed(vec![text("no such file")])), r#""Error: no such file""#);
    assert_eq!(shown(failed(vec![text("ERROR x")])), r#""ERROR x""#);
    assert_eq!(shown(failed(vec![picture.clone()])), format!("[{},{image}]", part("Error: ")));
    assert_eq!(shown(failed(vec![picture, text("a")])), format!("[{image},{}]", part("Error: a")));
    let cached = ToolResult { cache: Some(Cache { long: true }), ..result("c", vec![text("a")]) };
    let mark =
        r#"[{"type":"input_text","text":"a","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}}]"#;
    assert_eq!(shown(cached), mark);
}
