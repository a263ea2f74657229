//! The containers in which a provider has run code for an answer.
//!
//! Only the provider's own work counts. An answer repeats much of its request, and a member of the same name in
//! that part is ignored.

use memchr::memmem;

use crate::json::{self, Lenient as _, Member};

/// Calls `found` with the containers in a complete answer, or in one event of it.
pub(in crate::protocol::responses) fn read(data: &[u8], found: &mut dyn FnMut(&str)) {
    // Most events have none and are not read any further.
    if memmem::find(data, b"\"container_id\"").is_none() {
        return;
    }
    for member in members(data) {
        match member.key {
            b"item" => item(member.value, found),
            b"output" => output(member.value, found),
            b"response" => {
                members(member.value)
                    .filter(|inner| inner.is("output"))
                    .for_each(|inner| output(inner.value, found));
            }
            _ => {}
        }
    }
}

fn output(items: &[u8], found: &mut dyn FnMut(&str)) {
    json::elements(items).lenient().for_each(|(element, _)| item(element, found));
}

fn item(object: &[u8], found: &mut dyn FnMut(&str)) {
    let Some(kind) = members(object).find(|member| member.is("type")).and_then(|kind| kind.text()) else {
        return;
    };
    match &*kind {
        "code_interpreter_call" => container(object, found),
        "shell_call" => {
            members(object)
                .filter(|member| member.is("environment"))
                .for_each(|member| container(member.value, found));
        }
        _ => {}
    }
}

fn container(object: &[u8], found: &mut dyn FnMut(&str)) {
    let ids = members(object).filter(|member| member.is("container_id"));
    ids.filter_map(|member| member.text()).for_each(|id| found(&id));
}

fn members(object: &[u8]) -> impl Iterator<Item = Member<'_>> {
    json::members(object).lenient()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(data: &str) -> Vec<String> {
        let mut ids = Vec::new();
        read(data.as_bytes(), &mut |id| ids.push(id.to_owned()));
        ids
    }

    #[test]
    fn what_the_provider_has_run_names_its_container() {
        let call = r#"{"type":"code_interpreter_call","id":"ci_1","container_id":"cntr_1"}"#;
        let shell =
            r#"{"type":"shell_call","environment":{"type":"container_reference","container_id" : "cntr_2"}}"#;
        assert_eq!(found(&format!(r#"{{"id":"resp_1","output":[{call}, {shell}]}}"#)), ["cntr_1", "cntr_2"]);
        assert_eq!(found(&format!(r#"{{"type":"response.output_item.done","item":{call}}}"#)), ["cntr_1"]);
        let last = format!(r#"{{"type":"response.completed","response":{{"output":[{shell}]}}}}"#);
        assert_eq!(found(&last), ["cntr_2"]);
    }

    #[test]
    fn what_an_answer_repeats_of_its_request_names_none() {
        for data in [
            r#"{"metadata":{"container_id":"x"},"output":[]}"#,
            r#"{"tools":[{"type":"code_interpreter","container_id":"x"}],"output":[{"type":"message","container_id":"x"}]}"#,
            r#"{"output":[{"type":"function_call","arguments":"{\"container_id\":\"x\"}","container_id":"x"}]}"#,
            r#"{"instructions":[{"type":"code_interpreter_call","container_id":"x"}]}"#,
            r#"{"output":[{"type":"code_interpreter_call","container_id":7}]}"#,
            "\"container_id\"",
        ] {
            assert_eq!(found(data), [""; 0], "{data}");
        }
    }
}
