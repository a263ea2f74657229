//! The tools that the model may call.

use super::*;

#[test]
fn one_call_at_most() {
    let request = |tools, choice| Request { tools, choice, parallel: Some(false), ..simple() };
    let choice = |request: Request<'_>| {
        encode(&request, SONNET).unwrap().get("tool_choice").unwrap_or_default().to_owned()
    };
    // Case 33.
    assert_eq!(
        choice(request(vec![function("f")], None)),
        r#"{"type":"auto","disable_parallel_tool_use":true}"#
    );
    // Case 34.
    assert_eq!(choice(request(vec![], None)), "");
    assert_eq!(choice(request(vec![function("f")], Some(Choice::None))), r#"{"type":"none"}"#);
    assert_eq!(
        choice(request(vec![function("f")], Some(Choice::Required))),
        r#"{"type":"any","disable_parallel_tool_use":true}"#
    );
    assert_eq!(choice(Request { choice: Some(Choice::Auto), ..simple() }), "");
}

#[test]
fn a_subset_of_tools() {
    // Case 35.
    let chosen = vec![Chosen { namespace: None, name: "b".into() }];
    let choice = Some(Choice::Allowed { required: true, tools: chosen });
    let request = Request { tools: vec![function("a"), function("b"), function("c")], choice, ..simple() };
    let wire = encode(&request, SONNET).unwrap();
    assert_eq!(wire.get("tools"), Some(r#"[{"name":"b","input_schema":{"type":"object","properties":{}}}]"#));
    assert_eq!(wire.get("tool_choice"), Some(r#"{"type":"any"}"#));
}

#[test]
fn freeform_tools_become_functions() {
    // Case 36.
    let grammar = Grammar { syntax: JsonStr::of("lark"), definition: JsonStr::of("start: \"x\"") };
    let tool = Tool {
        kind: ToolKind::Custom { grammar: Some(grammar) },
        description: Some(JsonStr::of("Edits.")),
        ..function("apply_patch")
    };
    let custom = Call {
        id: "a".into(),
        namespace: None,
        name: "apply_patch".into(),
        custom: true,
        args: Args::Str(JsonStr::of("*** Begin\n")),
        extra: None,
    };
    let turns = vec![user("Hi"), Turn::new(Role::Assistant, vec![Part::Call(custom)]), result("a")];
    let request = Request { tools: vec![tool], turns, ..Request::default() };
    let wire = encode(&request, SONNET).unwrap();
    let expected = concat!(
        r#"[{"name":"apply_patch","description":"Edits.\nThe input must match this lark grammar:\nstart: \"x\"","#,
        r#""input_schema":{"type":"object","properties":{"input":{"type":"string","description":"Raw text input of the tool"}},"#,
        r#""required":["input"],"additionalProperties":false}}]"#
    );
    assert_eq!(wire.get("tools"), Some(expected));
    assert!(wire.body.contains(r#""name":"apply_patch","input":{"input":"*** Begin\n"}"#));
}

#[test]
fn names_and_namespaces_agree_with_the_history() {
    let spaced = Tool { namespace: Some("crm".into()), ..function("find") };
    let chosen = Chosen { namespace: Some("crm".into()), name: "find".into() };
    let calls = Call {
        id: "functions.Bash:0".into(),
        namespace: Some("crm".into()),
        name: "find".into(),
        custom: false,
        args: Args::Raw(Raw::constant(r#"{"b":1.0, "a":1e2}"#)),
        extra: None,
    };
    let turns =
        vec![user("Hi"), Turn::new(Role::Assistant, vec![Part::Call(calls)]), result("functions.Bash:0")];
    let request = Request {
        tools: vec![spaced, function("mcp.server/do it")],
        choice: Some(Choice::Named(chosen)),
        turns,
        ..Request::default()
    };
    let wire = encode(&request, SONNET).unwrap();
    assert!(wire.get("tools").unwrap().contains(r#""name":"crm__find""#));
    assert!(wire.get("tools").unwrap().contains(r#""name":"mcp_server_do_it_"#));
    assert_eq!(wire.get("tool_choice"), Some(r#"{"type":"tool","name":"crm__find"}"#));
    // Cases 67 and 72.
    let call = r#"{"type":"tool_use","id":"functions_Bash_0","name":"crm__find","input":{"b":1.0,"a":1e2}}"#;
    assert!(wire.body.contains(call) && wire.body.contains(r#""tool_use_id":"functions_Bash_0""#));
}

#[test]
fn schemas_of_tools_are_objects() {
    let tool = |schema: Option<&'static str>, strict| Tool {
        kind: ToolKind::Function { schema: schema.map(Raw::constant), strict },
        ..function("f")
    };
    let written = |schema, strict| {
        let request = Request { tools: vec![tool(schema, strict)], ..simple() };
        encode(&request, SONNET).unwrap().get("tools").unwrap().to_owned()
    };
    // Case 46.
    let none = r#"[{"name":"f","input_schema":{"type":"object","properties":{}}}]"#;
    assert_eq!(written(None, None), none);
    assert_eq!(written(Some("{ }"), Some(true)), none);
    assert_eq!(
        written(Some(r#"{"anyOf":[1.0]}"#), None),
        r#"[{"name":"f","input_schema":{"type":"object","anyOf":[1.0]}}]"#
    );
    let exact = r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#;
    assert_eq!(
        written(Some(exact), Some(true)),
        format!(r#"[{{"name":"f","input_schema":{exact},"strict":true}}]"#)
    );
    assert_eq!(written(Some(exact), Some(false)), format!(r#"[{{"name":"f","input_schema":{exact}}}]"#));
    let open = r#"{"type":"object","properties":{"a":{"type":"string","minLength":1}}}"#;
    assert_eq!(written(Some(open), Some(true)), format!(r#"[{{"name":"f","input_schema":{open}}}]"#));
    let twice = Request { tools: vec![function("f"), function("f")], ..simple() };
    assert!(encode(&twice, SONNET).is_err());
}

#[test]
fn the_search_of_the_web() {
    let search = WebSearch {
        context: Some(JsonStr::of("high")),
        location: Some(Raw::constant(r#"{"type":"approximate","city":"Bern","country":null}"#)),
        allowed: Some(Raw::constant(r#"["a.b"]"#)),
        ..WebSearch::default()
    };
    let tool = Tool { kind: ToolKind::WebSearch(search), ..function("web_search") };
    let hosted = Tool { kind: ToolKind::Hosted, ..function("image_generation") };
    let request = Request { tools: vec![tool, function("f"), hosted], ..simple() };
    let wire = encode(&request, SONNET).unwrap();
    let expected = concat!(
        r#"[{"type":"web_search_20250305","name":"web_search","max_uses":10,"allowed_domains":["a.b"],"#,
        r#""user_location":{"type":"approximate","city":"Bern"}},"#
    );
    assert!(wire.get("tools").unwrap().starts_with(expected));
    assert_eq!(wire.lost.as_deref(), Some("tools[2]"));
    assert_eq!(encode(&request, FOREIGN).unwrap().lost.as_deref(), Some("tools[0], tools[2]"));
    let only = Request { tools: request.tools[..1].to_vec(), ..simple() };
    assert!(
        encode(&only, FOREIGN).map(|_| ()).unwrap_err().message().contains("not available for this model")
    );
}
