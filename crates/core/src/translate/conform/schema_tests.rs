use super::*;

fn tool(schema: &'static str) -> Tool<'static> {
    Tool::function("f".into(), Some(JsonStr::plain("d")), Some(Raw::constant(schema)))
}

fn schema<'t>(tool: &'t Tool<'_>) -> &'t str {
    match &tool.kind {
        ToolKind::Function { schema: Some(schema), .. } => schema.get(),
        _ => "",
    }
}

fn adapted(given: &'static str, dialect: SchemaDialect) -> String {
    let mut tools = [tool(given)];
    adapt(&mut tools, dialect, &mut Losses::default()).unwrap();
    schema(&tools[0]).to_owned()
}

#[test]
fn a_schema_says_what_its_objects_and_arrays_hold() {
    for (given, expected) in [
        (r#"{"type":"object"}"#, r#"{"type":"object","properties":{}}"#),
        (r#"{"required":["a"]}"#, r#"{"required":["a"],"type":"object","properties":{}}"#),
        (
            r#"{"type":"object","properties":{"a":{"type":"array"},"b":{"anyOf":[{"type":"object"},{"type":"array","items":{"type":"object"}}]}}}"#,
            r#"{"type":"object","properties":{"a":{"type":"array","items":{}},"b":{"anyOf":[{"type":"object","properties":{}},{"type":"array","items":{"type":"object","properties":{}}}]}}}"#,
        ),
        (
            r#"{"$defs":{"x":{"type":"array","items":null}},"type":"object","properties":null,"additionalProperties":{"type":"object"}}"#,
            r#"{"$defs":{"x":{"type":"array","items":{}}},"type":"object","additionalProperties":{"type":"object","properties":{}},"properties":{}}"#,
        ),
    ] {
        assert_eq!(adapted(given, SchemaDialect::Explicit), expected);
        assert_eq!(adapted(given, SchemaDialect::Named), expected);
        assert_eq!(adapted(given, SchemaDialect::Any), given);
    }
}

#[test]
fn nulls_that_say_nothing_go() {
    let given = r#"{"title":null,"type":"object","properties":{"a":{"type":"string","description":null,"default":null,"enum":["x",null]}},"required":null}"#;
    assert_eq!(
        adapted(given, SchemaDialect::Explicit),
        r#"{"type":"object","properties":{"a":{"type":"string","default":null,"enum":["x",null]}}}"#
    );
    assert_eq!(
        adapted(r#"{"type":null,"properties":{}}"#, SchemaDialect::Explicit),
        r#"{"properties":{},"type":"object"}"#
    );
}

#[test]
fn a_schema_that_is_accepted_keeps_its_bytes() {
    for given in [
        r#"{ "type" : "object", "properties": { "type": {"type":"string","const":null}, "$top": {} }, "required":[ "$top" ] }"#,
        r#"{}"#,
        r#"{"type":"object","properties":{"x":true},"default":{"type":"object"}}"#,
    ] {
        assert_eq!(adapted(given, SchemaDialect::Explicit), given);
    }
}

#[test]
fn names_of_properties_get_the_form_that_is_accepted() {
    let mut tools = [tool(
        r#"{"type":"object","properties":{"$top":{"type":"integer"},"in":{"type":"object","properties":{"a b":{}},"required":["a b"]}},"required":["in","$top"]}"#,
    )];
    let names = adapt(&mut tools, SchemaDialect::Named, &mut Losses::new(true)).unwrap();
    let renamed = names.of(None, "f").unwrap();
    let (top, inner) = (renamed.upstream("$top"), renamed.upstream("a b"));
    assert_eq!(
        schema(&tools[0]),
        format!(
            r#"{{"type":"object","properties":{{"{top}":{{"type":"integer"}},"in":{{"type":"object","properties":{{"{inner}":{{}}}},"required":["{inner}"]}}}},"required":["in","{top}"]}}"#
        )
    );
    assert_eq!(renamed.original(&inner), Some("a b"));
}

#[test]
fn a_union_at_the_root_is_told_and_goes() {
    let given =
        r#"{"type":"object","properties":{"a":{},"b":{}},"anyOf":[{"required":["a"]},{"required":["b"]}]}"#;
    let (mut tools, mut losses) = ([tool(given)], Losses::default());
    adapt(&mut tools, SchemaDialect::Named, &mut losses).unwrap();
    assert_eq!(schema(&tools[0]), r#"{"type":"object","properties":{"a":{},"b":{}}}"#);
    let description = tools[0].description.as_ref().unwrap().decode().into_owned();
    assert!(description.starts_with("d\n\n") && description.contains(r#"{"anyOf":[{"required":["a"]}"#));
    assert_eq!(losses.header().unwrap(), "tools[0].parameters.anyOf");
    assert!(adapt(&mut [tool(given)], SchemaDialect::Named, &mut Losses::new(true)).is_err());
    assert_eq!(adapted(given, SchemaDialect::Explicit), given);
}
