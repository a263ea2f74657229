//! The messages of requests.

use crate::canon::{
    Args, Cache, CacheParts, Call, Carrier, Choice, Chosen, DocumentPart, Grammar, Image, MidSystem, Part,
    Prefill, Profile, Reasoning, ReasoningIn, Seal, Sealed, Source, Text, Thinking, ThinkingMode, Tool,
    ToolId, ToolKind,
};
use crate::json::{JsonStr, Raw};

use super::{
    QUESTION, any, assistant, call, call_json, deepseek, image, openai, pdf, request, result, system, talk,
    text, user, write,
};

#[test]
fn cases_52_and_72_results_then_what_the_user_says() {
    let turns = vec![
        user(vec![text("q")]),
        assistant(vec![text("I look"), call("a"), call("b")]),
        user(vec![result("b", vec![text("B")]), text("hurry"), result("a", vec![text("A")])]),
    ];
    let calls = format!("{},{}", call_json("a"), call_json("b"));
    let expected = format!(
        r#"{QUESTION},{{"role":"assistant","content":"I look","tool_calls":[{calls}]}},{{"role":"tool","tool_call_id":"a","content":"A"}},{{"role":"tool","tool_call_id":"b","content":"B"}},{{"role":"user","content":"hurry"}}"#
    );
    assert_eq!(talk(&request(turns), &any()), expected);
}

#[test]
fn results_may_come_twice_or_too_late_or_never() {
    let turns = vec![
        assistant(vec![call("a"), call("b")]),
        user(vec![result("a", vec![text("1")]), result("x", vec![]), result("a", vec![text("2")])]),
        assistant(vec![text("ok")]),
        user(vec![result("b", vec![text("late")])]),
    ];
    let seen = talk(&request(turns), &any());
    let tools: Vec<_> = seen.split(r#"{"role":"tool","#).skip(1).collect();
    assert!(tools[0].starts_with(r#""tool_call_id":"a","content":"2"}"#), "{seen}");
    assert!(tools[1].starts_with(r#""tool_call_id":"x","content":""}"#));
    assert!(tools[2].starts_with(r#""tool_call_id":"b","content":"late"}"#) && tools.len() == 3);
}

#[test]
fn assistant_turns_one_after_the_other_are_one_message() {
    let turns = vec![
        assistant(vec![text("I look")]),
        assistant(vec![call("a")]),
        assistant(vec![call("b")]),
        user(vec![result("a", vec![])]),
        user(vec![result("b", vec![])]),
    ];
    let seen = talk(&request(turns), &any());
    let calls = format!("{},{}", call_json("a"), call_json("b"));
    assert!(
        seen.starts_with(&format!(r#"{{"role":"assistant","content":"I look","tool_calls":[{calls}]}},"#))
    );
    // Adjacent texts are joined, others are paragraphs, and empty ones are left out.
    let turns =
        vec![assistant(vec![text("a"), text(""), text("b"), call("x"), text("c")]), assistant(vec![])];
    assert!(talk(&request(turns), &any()).contains(r#""content":"ab\n\nc","#));
    let turns = vec![user(vec![text("q")]), assistant(vec![text("")]), user(vec![text("q")])];
    assert_eq!(talk(&request(turns), &any()), format!("{QUESTION},{QUESTION}"));
}

#[test]
fn content_is_null_beside_calls_and_never_an_empty_list_of_them() {
    let turns = vec![assistant(vec![call("a")]), user(vec![result("a", vec![])])];
    assert!(
        talk(&request(turns), &any()).starts_with(r#"{"role":"assistant","content":null,"tool_calls":[{"#)
    );
    let refused = vec![assistant(vec![Part::Refusal(JsonStr::plain("no"))]), user(vec![text("q")])];
    assert!(talk(&request(refused), &any()).starts_with(r#"{"role":"assistant","content":"no"},"#));
}

#[test]
fn case_50_pictures_of_results_move_behind_the_run() {
    let turns = vec![
        assistant(vec![call("a"), call("b")]),
        user(vec![result("a", vec![text("see"), image()]), result("b", vec![text("B")]), text("and?")]),
    ];
    let seen = talk(&request(turns.clone()), &any());
    let expected = r#"{"role":"tool","tool_call_id":"a","content":"see\n[image: see next user message]"},{"role":"tool","tool_call_id":"b","content":"B"},{"role":"user","content":[{"type":"text","text":"Image from tool result a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},{"role":"user","content":"and?"}"#;
    assert!(seen.ends_with(expected), "{seen}");
    let native = Profile { tool_result_images: true, ..any() };
    let seen = talk(&request(turns), &native);
    let expected = r#"{"role":"tool","tool_call_id":"a","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}"#;
    assert!(seen.contains(expected) && !seen.contains("Image from"), "{seen}");
}

#[test]
fn case_51_errors_say_that_they_are() {
    let failed = |words: Vec<Part<'static>>, profile: &Profile| {
        let mut turn = user(vec![result("a", words)]);
        if let Part::Result(result) = &mut turn.parts[0] {
            result.is_error = true;
        }
        talk(&request(vec![assistant(vec![call("a")]), turn]), profile)
    };
    assert!(failed(vec![text("no such file")], &any()).ends_with(r#""content":"Error: no such file"}"#));
    assert!(failed(vec![text("ERROR 7")], &any()).ends_with(r#""content":"ERROR 7"}"#));
    assert!(failed(vec![], &any()).ends_with(r#""content":"Error: "}"#));
    let parts = failed(vec![text("a"), text("b")], &openai());
    assert!(parts.ends_with(r#""content":[{"type":"text","text":"Error: a"},{"type":"text","text":"b"}]}"#));
}

#[test]
fn cases_71d_and_71e_instructions_and_texts() {
    let mut asked = request(vec![user(vec![text("a"), text("b")]), system("mid"), user(vec![text("q")])]);
    asked.system = ["one", "two"].map(|words| Text::new(JsonStr::of(words))).into();
    let expected = r#"{"role":"system","content":"one"},{"role":"system","content":"two"},{"role":"user","content":"a\n\nb"},{"role":"system","content":"mid"},{"role":"user","content":"q"}"#;
    let native = |profile| Profile { mid_system: Some(MidSystem::Native), ..profile };
    assert_eq!(talk(&asked, &native(any())), expected);
    // Servers that fill in templates take one system message, the first.
    let single = r#"{"role":"system","content":"one\n\ntwo"},{"role":"user","content":"a\n\nb"},{"role":"user","content":"[System instruction, not written by the user]\nmid"},{"role":"user","content":"q"}"#;
    assert_eq!(talk(&asked, &any()), single);
    let note = Profile { mid_system: Some(MidSystem::UserNote), ..any() };
    assert_eq!(talk(&asked, &note), single);
    let arrays = talk(&asked, &native(openai()));
    assert!(arrays.starts_with(r#"{"role":"developer","content":"one"}"#));
    assert!(arrays.contains(r#""content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#));
    // Instructions between calls and their results move behind these.
    let turns = vec![assistant(vec![call("a")]), system("mid"), user(vec![result("a", vec![])])];
    let seen = talk(&request(turns), &native(any()));
    assert!(
        seen.ends_with(
            r#"{"role":"tool","tool_call_id":"a","content":""},{"role":"system","content":"mid"}"#
        )
    );
}

#[test]
fn prefix_stability() {
    let mut turns =
        vec![user(vec![text("q")]), assistant(vec![call("a")]), user(vec![result("a", vec![image()])])];
    let before = talk(&request(turns.clone()), &any());
    turns.extend([assistant(vec![text("x")]), user(vec![text("y")])]);
    assert!(talk(&request(turns), &any()).starts_with(&before));
}

#[test]
fn media_in_their_forms() {
    let url = Part::Image(Image {
        source: Source::Url(JsonStr::plain("https://x")),
        path: String::new(),
        detail: Some(JsonStr::plain("low")),
        cache: None,
    });
    let note = Part::Document(DocumentPart {
        source: Source::Text(JsonStr::plain("data")),
        path: String::new(),
        name: Some(JsonStr::plain("n")),
        context: None,
        cache: None,
    });
    let asked = request(vec![user(vec![url, pdf(None), pdf(Some(JsonStr::plain("a.pdf"))), note])]);
    let seen = talk(&asked, &any());
    let expected = r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x","detail":"low"}},{"type":"file","file":{"filename":"document.pdf","file_data":"data:application/pdf;base64,JVBE"}},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBE"}},{"type":"text","text":"n\ndata"}]}"#;
    assert_eq!(seen, expected);
    let seen = talk(&asked, &openai());
    assert!(seen.ends_with(
        r#"{"type":"file","file":{"filename":"n","file_data":"data:text/plain;base64,ZGF0YQ=="}}]}"#
    ));
    let (source, path) =
        (Source::Url(JsonStr::plain("https://x")), "input[0].content[0].file_url".to_owned());
    let far = DocumentPart { source, path, name: None, context: None, cache: None };
    let refusal = write(&request(vec![user(vec![Part::Document(far)])]), &any()).unwrap_err();
    assert_eq!((refusal.status(), refusal.param()), (400, Some("input[0].content[0].file_url")));
    let (_, lost, _) =
        write(&request(vec![assistant(vec![text("a"), image()]), user(vec![])]), &any()).unwrap();
    assert_eq!(lost, "messages.assistant.media");
}

#[test]
fn case_69_marks_are_written_where_they_are_known() {
    let marked = |long| Part::Text(Text { text: JsonStr::plain("a"), cache: Some(Cache { long }) });
    let mut asked =
        request(vec![user(vec![marked(true)]), assistant(vec![marked(false)]), user(vec![text("q")])]);
    asked.system = vec![Text { text: JsonStr::plain("s"), cache: Some(Cache { long: false }) }];
    assert!(!talk(&asked, &any()).contains("cache"));
    let anthropic = Profile { cache_parts: CacheParts::AnthropicCacheControl, ..any() };
    let seen = talk(&asked, &anthropic);
    let expected = r#"{"role":"system","content":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]},{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}}]},{"role":"assistant","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]},{"role":"user","content":"q"}"#;
    assert_eq!(seen, expected);
    let seen = talk(&asked, &openai());
    assert!(
        seen.contains(
            r#"{"type":"text","text":"a","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}}"#
        )
    );
    let mut turn = user(vec![result("a", vec![text("r")])]);
    if let Part::Result(result) = &mut turn.parts[0] {
        result.cache = Some(Cache { long: false });
    }
    let seen = talk(&request(vec![assistant(vec![call("a")]), turn]), &anthropic);
    assert!(
        seen.ends_with(r#""content":[{"type":"text","text":"r","cache_control":{"type":"ephemeral"}}]}"#)
    );
}

#[test]
fn continued_messages() {
    let asked = request(vec![user(vec![text("q")]), assistant(vec![text("Sure"), text(",")])]);
    assert!(talk(&asked, &any()).ends_with(r#"{"role":"assistant","content":"Sure,"}"#));
    let flag = Profile { prefill: Prefill::PrefixFlag, ..any() };
    let (body, _, written) = write(&asked, &flag).unwrap();
    assert!(body.contains(r#""content":"Sure,","prefix":true}"#));
    assert_eq!(written.prefix.as_deref(), Some("Sure,"));
    let (body, ..) = write(&asked, &Profile { prefill: Prefill::ContinueFinal, ..any() }).unwrap();
    assert!(body.ends_with(r#""add_generation_prompt":false,"continue_final_message":true}"#));
    let none = Profile { prefill: Prefill::None, ..any() };
    assert_eq!(write(&asked, &none).unwrap_err().param(), Some("messages"));
    assert!(write(&request(vec![assistant(vec![text("a"), call("a")])]), &none).is_ok());
}

#[test]
fn names_of_speakers_go_on() {
    let mut turn = user(vec![text("q")]);
    turn.name = Some(JsonStr::plain("bob"));
    assert_eq!(talk(&request(vec![turn]), &any()), r#"{"role":"user","name":"bob","content":"q"}"#);
}

fn carried<'a>(seal: &Seal<'_>, words: &'static str) -> Part<'a> {
    let carrier = Carrier { blocks: vec![seal.block(&JsonStr::plain(words))] };
    Part::Reasoning(Reasoning { text: Some(JsonStr::plain("shown")), sealed: Some(Sealed::Carried(carrier)) })
}

/// Writes reasoning whose carrier is from another provider; gives the rest of it.
fn uncarried<'a>() -> Part<'a> {
    Part::Reasoning(Reasoning { text: Some(JsonStr::plain("shown")), sealed: None })
}

#[test]
fn case_77_every_assistant_message_carries_reasoning() {
    let turns = vec![
        assistant(vec![carried(&Seal::Plain, r"a\u00e9"), call("a")]),
        user(vec![result("a", vec![])]),
        assistant(vec![text("x")]),
        user(vec![text("q")]),
    ];
    let seen = talk(&request(turns.clone()), &deepseek());
    assert!(
        seen.starts_with(r#"{"role":"assistant","content":null,"reasoning_content":"a\u00e9","tool_calls""#),
        "{seen}"
    );
    assert!(seen.contains(r#"{"role":"assistant","content":"x","reasoning_content":" "}"#));
    let mut off = request(turns);
    off.thinking = Thinking { mode: Some(ThinkingMode::Off), ..Thinking::default() };
    assert!(!talk(&off, &deepseek()).contains(r#""reasoning_content":" ""#));
}

#[test]
fn case_79_reasoning_of_others_is_text_at_most() {
    let turns = || vec![assistant(vec![uncarried(), text("x")]), user(vec![text("q")])];
    assert_eq!(
        talk(&request(turns()), &any()),
        format!(r#"{{"role":"assistant","content":"x"}},{QUESTION}"#)
    );
    let wants = |place| Profile { reasoning_in: place, ..any() };
    let seen = |place| talk(&request(turns()), &wants(place));
    assert!(
        seen(ReasoningIn::Reasoning).starts_with(r#"{"role":"assistant","content":"x","reasoning":"shown"}"#)
    );
    assert!(seen(ReasoningIn::ReasoningContent).contains(r#""reasoning_content":"shown""#));
    assert!(
        seen(ReasoningIn::ReasoningDetails)
            .contains(r#""reasoning_details":[{"type":"reasoning.text","text":"shown"}]"#)
    );
    assert!(seen(ReasoningIn::MistralParts).starts_with(
        r#"{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"shown"}]},{"type":"text","text":"x"}]}"#
    ));
    let native = Raw::constant(r#"{"type":"thinking","thinking":"T","signature":"S"}"#);
    let native = Reasoning { text: Some(JsonStr::plain("T")), sealed: Some(Sealed::Thinking(native)) };
    let seen =
        talk(&request(vec![assistant(vec![Part::Reasoning(native), text("x")]), user(vec![])]), &deepseek());
    assert_eq!(seen, r#"{"role":"assistant","content":"x","reasoning_content":"T"}"#);
    // Two of them are paragraphs; a message of nothing else stays.
    let part = || uncarried();
    let seen = talk(&request(vec![assistant(vec![part(), part()]), user(vec![])]), &deepseek());
    assert_eq!(seen, r#"{"role":"assistant","content":"","reasoning_content":"shown\n\nshown"}"#);
    assert_eq!(talk(&request(vec![assistant(vec![part()]), user(vec![])]), &any()), "");
}

#[test]
fn case_82_details_and_state_of_calls_go_back_as_they_came() {
    let details = Seal::Details(Raw::constant(r#"[{"type":"reasoning.encrypted","data":"E","id":"x"}]"#));
    let state = Seal::Call {
        key: 0,
        id: JsonStr::plain("a"),
        extra: Raw::constant(r#"{"google":{"thought_signature":"X"}}"#),
    };
    let own = || [carried(&details, ""), carried(&state, "")];
    let turns = |thoughts: [Part<'static>; 2]| {
        let parts = thoughts.into_iter().chain([call("a"), call("b")]).collect();
        vec![assistant(parts), user(vec![result("a", vec![])])]
    };
    let seen = talk(&request(turns(own())), &any());
    assert!(seen.starts_with(r#"{"role":"assistant","content":null,"reasoning_details":[{"type":"reasoning.encrypted","data":"E","id":"x"}],"tool_calls""#), "{seen}");
    assert!(seen.contains(r#"1e2}"},"extra_content":{"google":{"thought_signature":"X"}}},{"id":"b""#));
    // If the state is required, a first call without it gets the placeholder, and no other call does.
    let gemini = Profile { call_state_required: true, ..any() };
    let asked = talk(&request(turns([uncarried(), uncarried()])), &gemini);
    let stand_in =
        r#""extra_content":{"google":{"thought_signature":"skip_thought_signature_validator"}}},{"id":"b""#;
    assert!(asked.contains(stand_in) && asked.matches("extra_content").count() == 1, "{asked}");
    let foreign = talk(&request(turns([uncarried(), uncarried()])), &any());
    assert!(!foreign.contains("reasoning") && !foreign.contains("extra_content"));
}

#[test]
fn cases_68_and_71c_ids_have_the_form_of_the_provider() {
    const LONG: &str = "toolu_01AbCtoolu_01AbCtoolu_01AbCtoolu_01AbCtoolu_01AbC";
    let turns = || vec![assistant(vec![call(LONG)]), user(vec![result(LONG, vec![image()])])];
    let id = |seen: &str| {
        let id = seen.split(r#""id":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert!(seen.contains(&format!(r#""tool_call_id":"{id}""#)), "{seen}");
        assert!(seen.contains(&format!("Image from tool result {id}")));
        id
    };
    let mistral = Profile { tool_id: ToolId::Mistral9, ..any() };
    assert_eq!(id(&talk(&request(turns()), &mistral)).len(), 9);
    let made = id(&talk(&request(turns()), &openai()));
    assert!(made.starts_with("call_") && made.len() == 37);
    assert_eq!(id(&talk(&request(turns()), &any())), LONG);
}

#[test]
fn cases_36_and_37_freeform_tools() {
    let grammar = Grammar { syntax: JsonStr::plain("lark"), definition: JsonStr::plain("start: x") };
    let tool = Tool {
        kind: ToolKind::Custom { grammar: Some(grammar) },
        ..Tool::function("patch".into(), Some(JsonStr::plain("d")), None)
    };
    let call = Call {
        id: "c".into(),
        namespace: None,
        name: "patch".into(),
        custom: true,
        args: Args::Str(JsonStr::of("*** \"x\"\n")),
        extra: None,
    };
    let mut asked = request(vec![assistant(vec![Part::Call(call)]), user(vec![result("c", vec![])])]);
    asked.tools = vec![tool];
    asked.choice = Some(Choice::Named(Chosen { namespace: None, name: "patch".into() }));
    let (body, ..) = write(&asked, &any()).unwrap();
    let wrapped = r#""tools":[{"type":"function","function":{"name":"patch","description":"d\nThe input must match this lark grammar:\nstart: x","parameters":{"type":"object","properties":{"input":{"type":"string","description":"Raw text input of the tool"}},"required":["input"],"additionalProperties":false}}}],"tool_choice":{"type":"function","function":{"name":"patch"}}"#;
    assert!(body.contains(wrapped), "{body}");
    assert!(body.contains(r#""arguments":"{\"input\":\"*** \\\"x\\\"\\n\"}""#), "{body}");
    let (body, ..) = write(&asked, &openai()).unwrap();
    let native = r#""tools":[{"type":"custom","custom":{"name":"patch","description":"d","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"start: x"}}}}],"tool_choice":{"type":"custom","custom":{"name":"patch"}}"#;
    assert!(body.contains(native), "{body}");
    assert!(body.contains(r#""type":"custom","custom":{"name":"patch","input":"*** \"x\"\n"}"#));
}
