//! Clients' wishes for an answer: its length, randomness, thinking and form.

use super::*;

#[test]
fn limits() {
    // Case 13.
    assert_eq!(encode(&simple(), SONNET).unwrap().get("max_tokens"), Some("64000"));
    assert_eq!(encode(&simple(), FOREIGN).unwrap().get("max_tokens"), Some("8192"));
    let high = Request { max_output: Some(900_000), ..simple() };
    let wire = encode(&high, SONNET).unwrap();
    assert_eq!((wire.get("max_tokens"), wire.lost.as_deref()), (Some("64000"), None));
}

#[test]
fn sampling_follows_what_the_model_takes() {
    let wire = |request: Request<'_>, model: &str| {
        let wire = encode(&request, model).unwrap();
        let get = |name| wire.get(name).unwrap_or("-").to_owned();
        (get("temperature"), get("top_p"), get("top_k"), wire.lost.clone().unwrap_or_default())
    };
    let is = |a: &str, b: &str, c: &str, d: &str| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned());
    // Case 15.
    assert_eq!(wire(sampled(Some("1.4"), None, None), SONNET), is("1.0", "-", "-", "temperature=1.0"));
    // Case 16.
    assert_eq!(wire(sampled(Some("0.2"), None, None), OPUS_5), is("-", "-", "-", "temperature"));
    // Case 17.
    assert_eq!(wire(sampled(Some("1"), Some("1"), None), OPUS_5), is("-", "-", "-", ""));
    // Case 18.
    assert_eq!(wire(sampled(Some("0.70"), Some("0.9"), None), SONNET), is("0.70", "-", "-", "top_p"));
    assert_eq!(wire(sampled(Some("0.7"), Some("1"), None), SONNET), is("0.7", "-", "-", ""));
    assert_eq!(wire(sampled(None, Some("0.9"), Some("40")), SONNET), is("-", "0.9", "40", ""));
    assert_eq!(wire(sampled(Some("0.7"), Some("0.9"), Some("-1")), FOREIGN), is("0.7", "0.9", "-", ""));
    assert_eq!(wire(sampled(None, None, Some("40")), OPUS_5), is("-", "-", "-", "top_k"));
    let mut thinking = sampled(Some("0.7"), Some("0.97"), Some("40"));
    thinking.thinking.effort = Some(Effort::Low);
    assert_eq!(wire(thinking, SONNET), is("-", "0.97", "-", "temperature, top_k"));
}

#[test]
fn the_newer_version_of_the_protocol_has_no_sampling_parameters() {
    let profile = Profile { anthropic_version: AnthropicVersion::V2026, ..Profile::default() };
    let wire = with(&sampled(Some("0.5"), Some("0.9"), Some("40")), FOREIGN, &profile, false).unwrap();
    assert_eq!(["temperature", "top_p", "top_k"].map(|name| wire.get(name)), [None; 3]);
    assert_eq!(wire.lost.as_deref(), Some("temperature, top_p, top_k"));
}

#[test]
fn effort_becomes_a_budget_or_a_level() {
    let thinking = |request: &Request<'_>, model: &str| {
        let wire = encode(request, model).unwrap();
        let get = |name| wire.get(name).unwrap_or("-").to_owned();
        (get("thinking"), get("output_config"), get("max_tokens"), wire.lost.clone().unwrap_or_default())
    };
    let is = |a: &str, b: &str, c: &str, d: &str| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned());
    let budget = |n: u64| format!(r#"{{"type":"enabled","budget_tokens":{n}}}"#);
    let limited = |limit| Request { max_output: Some(limit), ..effort(Effort::High) };
    // Cases 21 to 23.
    assert_eq!(thinking(&effort(Effort::High), SONNET), is(&budget(16384), "-", "64000", ""));
    assert_eq!(thinking(&limited(1000), SONNET), is("-", "-", "1000", "reasoning_effort"));
    assert_eq!(thinking(&limited(8000), SONNET), is(&budget(6400), "-", "8000", ""));
    // Cases 24 and 25.
    assert_eq!(thinking(&effort(Effort::Minimal), OPUS_5), is(ADAPTIVE, r#"{"effort":"low"}"#, "128000", ""));
    let xhigh = thinking(&effort(Effort::Xhigh), "claude-opus-4-6");
    assert_eq!(xhigh, is(ADAPTIVE, r#"{"effort":"high"}"#, "128000", ""));
    // Case 26.
    let none = thinking(&effort(Effort::None), "claude-fable-5");
    assert_eq!(none, is("-", r#"{"effort":"low"}"#, "128000", "reasoning_effort"));
    assert_eq!(thinking(&effort(Effort::None), SONNET), is("-", "-", "64000", ""));
    assert_eq!(thinking(&effort(Effort::None), OPUS_5), is(r#"{"type":"disabled"}"#, "-", "128000", ""));
    assert_eq!(thinking(&effort(Effort::High), FOREIGN), is("-", "-", "8192", "reasoning_effort"));
    let off = Thinking { mode: Some(ThinkingMode::Off), effort: Some(Effort::Max), ..Thinking::default() };
    let off = Request { thinking: off, ..simple() };
    assert_eq!(thinking(&off, OPUS_5), is(r#"{"type":"disabled"}"#, r#"{"effort":"high"}"#, "128000", ""));
}

const ADAPTIVE: &str = r#"{"type":"adaptive","display":"summarized"}"#;

#[test]
fn budgets() {
    let wish =
        |budget| Thinking { mode: Some(ThinkingMode::On), budget: Some(budget), ..Thinking::default() };
    let request = |budget| Request { thinking: wish(budget), ..simple() };
    let thinking = |budget, model: &str| {
        let wire = encode(&request(budget), model).unwrap();
        let config = wire.get("output_config").unwrap_or_default();
        format!("{}{config}", wire.get("thinking").unwrap_or_default())
    };
    assert_eq!(thinking(5, SONNET), r#"{"type":"enabled","budget_tokens":1024}"#);
    assert_eq!(thinking(5000, "claude-opus-4-6"), r#"{"type":"enabled","budget_tokens":5000}"#);
    assert_eq!(thinking(5000, OPUS_5), format!(r#"{ADAPTIVE}{{"effort":"medium"}}"#));
    assert_eq!(thinking(40_000, OPUS_5), format!(r#"{ADAPTIVE}{{"effort":"xhigh"}}"#));
    assert_eq!(thinking(60_000, SONNET), r#"{"type":"enabled","budget_tokens":51200}"#);
}

#[test]
fn a_forced_call_excludes_thinking() {
    let request = |model: &str, level, choice| {
        let request = Request { tools: vec![function("f")], choice: Some(choice), ..effort(level) };
        let wire = encode(&request, model).unwrap();
        let get = |name| wire.get(name).unwrap_or("-").to_owned();
        format!("{} {} {} {:?}", get("thinking"), get("output_config"), get("tool_choice"), wire.lost)
    };
    let named = Choice::Named(Chosen { namespace: None, name: "f".into() });
    // Case 27.
    assert_eq!(
        request("claude-sonnet-4-6", Effort::High, Choice::Required),
        r#"- {"effort":"high"} {"type":"any"} None"#
    );
    // Case 28.
    assert_eq!(
        request("claude-opus-5-5", Effort::High, Choice::Required),
        format!(r#"{ADAPTIVE} {{"effort":"high"}} {{"type":"auto"}} Some("tool_choice=auto")"#)
    );
    // Case 71f.
    assert_eq!(
        request("claude-opus-4-8", Effort::High, named),
        r#"- {"effort":"high"} {"type":"tool","name":"f"} None"#
    );
    assert_eq!(
        request(SONNET, Effort::High, Choice::Required),
        r#"- - {"type":"any"} Some("reasoning_effort")"#
    );
}

#[test]
fn calls_without_thoughts_exclude_a_budget() {
    // Case 29.
    let calls = |parts| vec![user("Hi"), Turn::new(Role::Assistant, parts), result("a")];
    let request = |turns| Request { turns, ..effort(Effort::Low) };
    let wire = encode(&request(calls(vec![call("a")])), SONNET).unwrap();
    assert_eq!((wire.get("thinking"), wire.lost.as_deref()), (None, Some("reasoning_effort")));
    let signed = Part::Reasoning(Reasoning {
        text: None,
        sealed: Some(Sealed::Thinking(Raw::constant(
            r#"{"type":"thinking","thinking":"T","signature":"S"}"#,
        ))),
    });
    let wire = encode(&request(calls(vec![signed, call("a")])), SONNET).unwrap();
    assert!(wire.get("thinking").is_some() && wire.lost.is_none());
    // The loop ends when the user speaks.
    let mut over = calls(vec![call("a")]);
    over.extend([said(Role::Assistant, "done"), user("next")]);
    assert!(encode(&request(over), SONNET).unwrap().get("thinking").is_some());
}

#[test]
fn answers_by_schema() {
    // Case 56.
    let wire = encode(
        &schema(r#"{"type":"object","properties":{"n":{"type":"integer","minimum":0},"u":{"oneOf":[{"type":"null"}]}}}"#),
        SONNET,
    )
    .unwrap();
    let expected = concat!(
        r#"{"format":{"type":"json_schema","schema":{"type":"object","properties":{"#,
        r#""n":{"type":"integer","description":"Note: minimum: 0"},"u":{"anyOf":[{"type":"null"}]}},"#,
        r#""additionalProperties":false}}}"#
    );
    assert_eq!(wire.get("output_config"), Some(expected));
    // Case 57.
    let open = r#"{"type":"object","properties":{},"additionalProperties":{"type":"string"}}"#;
    let wire = encode(&schema(open), SONNET).unwrap();
    assert_eq!(wire.written.answer_tool, Some("structured_output"));
    assert_eq!(
        wire.get("tools").unwrap(),
        format!(r#"[{{"name":"structured_output","input_schema":{open}}}]"#)
    );
    assert_eq!(
        wire.get("tool_choice"),
        Some(r#"{"type":"tool","name":"structured_output","disable_parallel_tool_use":true}"#)
    );
    assert_eq!((wire.get("output_config"), wire.lost.as_deref()), (None, None));
}

#[test]
fn answers_by_instruction() {
    // Case 58.
    let system = vec![Text::new(JsonStr::of("S"))];
    let request = Request { format: Format::JsonObject, system, ..simple() };
    let asked = r#"[{"type":"text","text":"S"},{"type":"text","text":"Respond with one valid JSON object and nothing else."}]"#;
    assert_eq!(encode(&request, SONNET).unwrap().get("system"), Some(asked));
    let by_schema = r#"[{"type":"text","text":"Respond with one JSON object that matches this JSON schema:\n{\"type\":\"object\"}"}]"#;
    let open = || schema(r#"{"type": "object"}"#);
    let others = Request { tools: vec![function("f")], ..open() };
    let thinks = Request { thinking: effort(Effort::Low).thinking, ..open() };
    for (request, model) in [(&others, SONNET), (&thinks, SONNET), (&open(), "claude-opus-5-5")] {
        let wire = encode(request, model).unwrap();
        assert_eq!((wire.get("system"), wire.written.answer_tool), (Some(by_schema), None));
    }
}

#[test]
fn stop_texts_that_are_blank_are_left_out() {
    // Case 60.
    let request =
        Request { stop: vec![JsonStr::of("\n\n"), JsonStr::of("END"), JsonStr::of("")], ..simple() };
    let wire = encode(&request, SONNET).unwrap();
    assert_eq!(
        (wire.get("stop_sequences"), wire.lost.as_deref()),
        (Some(r#"["END"]"#), Some("stop[0], stop[2]"))
    );
}
