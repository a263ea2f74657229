//! Documents, read as a tree would be.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::json::repair;

/// Walks a value of a document, and names what it finds.
fn walk(document: &Document<'_>, json: &str, hint: MarkHint, out: &mut String) {
    match json.trim_start().as_bytes().first() {
        Some(b'{') => document.members(json.as_bytes(), hint).for_each(|member| {
            let (member, hint) = member.unwrap();
            write!(out, "{}:", String::from_utf8_lossy(member.key)).unwrap();
            walk(document, json.get(member.span).unwrap(), hint, out);
        }),
        Some(b'[') => document.elements(json.as_bytes(), hint).for_each(|element| {
            let (span, hint) = element.unwrap();
            walk(document, json.get(span).unwrap(), hint, out);
        }),
        _ => write!(out, "{json};").unwrap(),
    }
}

#[test]
fn a_walk_finds_the_same_with_marks_and_without() {
    let long = "x\\\"".repeat(30);
    let inner =
        format!(r#"{{"a":[1,"{long}",{{"b":[[],{{}},"{long}"]}}],"c":"short","d":{{"e":"{long}"}}}}"#);
    for json in [inner.clone(), format!(" [{inner} , {inner},\n[{inner}]]"), format!("[\"{long}\"]")] {
        let (document, mut with, mut without) = (Document::read(&json), String::new(), String::new());
        assert!(!document.marks.as_ref().unwrap().is_empty());
        walk(&document, &json, MarkHint::ROOT, &mut with);
        walk(Document::empty(), &json, MarkHint::ROOT, &mut without);
        assert_eq!(with, without);
    }
}

#[test]
fn a_container_is_found_from_what_is_around_it_and_read_from_anywhere() {
    let json = r#"{"a":{"b":[1,{"c":2}]},"d":[3]}"#;
    let document = Document::read(json);
    let marks = document.marks.as_ref().unwrap();
    let at = json.find(r#"{"c""#).unwrap();
    let object = json.get(at..at + 7).unwrap();
    let mut found = 0;
    for hint in 0..=marks.len() {
        let place = find(marks, u32::try_from(at).unwrap(), MarkHint(hint));
        let around =
            marks.get(hint).is_some_and(|mark| (mark.start as usize..mark.end as usize).contains(&at));
        assert_eq!(place.is_some(), around, "{hint}");
        found += usize::from(around);
        let members: Vec<_> = document.members(object.as_bytes(), MarkHint(hint)).collect();
        assert!(matches!(members.as_slice(), [Ok((only, _))] if only.key == b"c" && only.value == b"2"));
    }
    assert_eq!(found, 4);
}

#[test]
fn lone_surrogates_are_seen_and_little_else() {
    for (json, lone_surrogates) in [
        (r#"{"a":"x\\ud83d","b":"\u00e9\n"}"#, false),
        (r#"{"a":"\ud83d"}"#, true),
        (r#"{"\uDE00":1}"#, true),
        (r#"{"a":1"#, true),
    ] {
        assert_eq!(Document::read(json).may_hold_lone_surrogates(), lone_surrogates, "{json}");
    }
}

#[test]
fn what_is_compact_is_seen_to_be() {
    let compact = |json: &str, value: &str| {
        let (document, mut out) = (Document::read(json), Vec::new());
        let at = json.find(value).unwrap();
        document.compact(json.get(at..at + value.len()).unwrap(), &mut out);
        (document.spaced, String::from_utf8(out).unwrap())
    };
    let value = r#"[1,"a b"]"#;
    assert_eq!(compact(r#"{"a":[1,"a b"],"b":{},"c":[]}"#, value), (false, value.to_owned()));
    for json in [r#"{"a":[1, "a b"]}"#, r#"{"a":[1,"a b" ]}"#, r#"{"a":[ 1,"a b"]}"#, r#"{"a":[1 ,"a b"]}"#] {
        let array = json.get(5..json.len() - 1).unwrap();
        assert_eq!(compact(json, array), (true, value.to_owned()), "{json}");
    }
    for json in [r#" {"a":1}"#, r#"{ "a":1}"#, r#"{"a" :1}"#, r#"{"a": 1}"#, r#"{"a":1 }"#, r#"{"a":1}x"#] {
        assert!(Document::read(json).spaced, "{json}");
    }
    let mut out = Vec::new();
    Document::read("[1]").compact("[1, 2]", &mut out);
    assert_eq!(out, b"[1,2]");
}

#[test]
fn vouches_for_its_own_memory_only() {
    let (json, other) = (r#"{"a":[1]}"#.to_owned(), r#"{"a":[1]}"#.to_owned());
    let document = Document::read(&json);
    assert!(
        document.vouches_for(json.get(5..8).unwrap())
            && !document.vouches_for(other.get(5..8).unwrap())
            && !document.vouches_for("")
    );
    assert!(!Document::empty().vouches_for(&json) && !Document::read("[1").vouches_for("[1"));
}

/// Judges like `serde_json`, which has no depth limit here.
fn is_valid(json: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok()
}

#[test]
fn damage_at_any_place_is_seen_as_the_library_sees_it() {
    let damage = [
        "", "\"", "\\", "\\\\", "{", "}", "[", "]", ",", ":", " ", "\n", "\u{1}", "0", "-", "e", "u", "x",
        "é",
    ];
    for before in [0, 1, 30, 47, 59, 60, 61, 62, 63, 64, 65, 127] {
        let text = format!("{}\\\"\\\\\\u00e9\\n\\\\\\\"é", "#".repeat(before));
        let json =
            format!(r#" {{"k\n":[true,false ,null,-1.5e+7,0],"{text}":{{"x":"{text}"}}, "e":[{{}},[]]}}"#);
        assert!(is_valid(&json) && Document::read(&json).marks.is_some());
        for (at, _) in json.char_indices() {
            for new in damage {
                for behind in [at, json.ceil_char_boundary(at + 1)] {
                    let json = format!("{}{new}{}", json.get(..at).unwrap(), json.get(behind..).unwrap());
                    assert_eq!(Document::read(&json).marks.is_some(), is_valid(&json), "{json:?}");
                }
            }
            assert!(Document::read(json.get(..at).unwrap()).marks.is_none());
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_judged_as_the_library_judges(tokens in prop::collection::vec(token(), 0..40)) {
        let json = tokens.concat();
        prop_assert_eq!(Document::read(&json).marks.is_some(), is_valid(&json));
    }

    #[test]
    fn no_half_of_a_character_is_missed(tokens in prop::collection::vec(token(), 0..40)) {
        let json = tokens.concat();
        let holds = repair::without_lone_surrogates(&json, false).is_some();
        prop_assert!(Document::read(&json).may_hold_lone_surrogates() || !holds);
    }

    #[test]
    fn any_value_is_walked_alike_with_marks_and_without(json in value()) {
        let (document, mut with, mut without) = (Document::read(&json), String::new(), String::new());
        prop_assert!(document.marks.is_some());
        walk(&document, &json, MarkHint::ROOT, &mut with);
        walk(Document::empty(), &json, MarkHint::ROOT, &mut without);
        prop_assert_eq!(with, without);
    }
}

fn token() -> impl Strategy<Value = String> {
    let fixed = [
        "{", "}", "[", "]", ",", ":", " ", "\n", "0", "-1", "1.5", "1e9", "true", "null", "\"", "\\",
        "\"k\":",
    ];
    prop_oneof![prop::sample::select(fixed.to_vec()).prop_map(str::to_owned), literal()]
}

fn literal() -> impl Strategy<Value = String> {
    let parts =
        ["a", "\\\"", "\\\\", "\\n", "\\u00e9", "\\ud83d", "\\uDE00", "é", "{", "]", ",", "################"];
    let parts = prop::collection::vec(prop::sample::select(parts.to_vec()), 0..30);
    parts.prop_map(|parts| format!("\"{}\"", parts.concat()))
}

/// A valid value with odd spacing.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![Just("-1.5e3".to_owned()), Just("true".to_owned()), literal()];
    leaf.prop_recursive(6, 60, 5, |inner| {
        let member = (literal(), inner.clone()).prop_map(|(key, value)| format!("{key} :{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|all| format!("[{}\t]", all.join(" , "))),
            prop::collection::vec(member, 0..5).prop_map(|all| format!("{{ {}}}", all.join(","))),
        ]
    })
}

#[test]
fn only_what_the_library_takes_is_valid() {
    let deep = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(Document::read(&deep(127)).marks.is_some() && Document::read(&deep(128)).marks.is_none());
    for json in [
        "0",
        "-0.5e+7",
        "1E2",
        "\"\"",
        " [ ] ",
        "{ }",
        "true",
        "[null ,false]",
        "\"\\u00e9\\ud83d\"", // valid
        "",
        " ",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "tru",
        "[1,]",
        "[,]",
        "{\"a\"}",
        "{1:2}",
        "[1}",
        "1 2",
        "\u{feff}1",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"a",
        "[\"\t\"\n]",
        "{\"a\":1,}",
        "\u{c}1",
        "nan",
    ] {
        assert_eq!(Document::read(json).marks.is_some(), is_valid(json), "{json:?}");
    }
}
