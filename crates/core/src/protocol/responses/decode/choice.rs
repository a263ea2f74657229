//! Which tools the model may call.

use std::borrow::Cow;

use crate::canon::{Choice, Chosen, not_carried};
use crate::failure::Result;
use crate::protocol::node::{Node, Type};

use super::tools::{WEB_SEARCH, is_web_search};
use crate::protocol::responses::members::pick;

/// Reads `tool_choice`.
pub(super) fn read<'a>(node: &Node<'a, '_>) -> Result<Choice<'a>> {
    if node.kind() == Type::String {
        return match node.string()?.as_ref() {
            "auto" => Ok(Choice::Auto),
            "required" => Ok(Choice::Required),
            "none" => Ok(Choice::None),
            _ => Err(not_carried(node.path.to_string())),
        };
    }
    let [kind, mode, tools, allowed] = pick(node, ["type", "mode", "tools", "allowed_tools"])?;
    match kind.map(|text| node.at("type", text).string()).transpose()?.as_deref() {
        Some("function" | "custom") => named(node).map(Choice::Named),
        Some("allowed_tools") => match allowed {
            // As Chat has it.
            Some(inner) => {
                let inner = node.at("allowed_tools", inner);
                let [mode, tools] = pick(&inner, ["mode", "tools"])?;
                subset(&inner, mode, tools)
            }
            None => subset(node, mode, tools),
        },
        _ => Err(not_carried(node.path.to_string())),
    }
}

fn subset<'a>(node: &Node<'a, '_>, mode: Option<&'a str>, tools: Option<&'a str>) -> Result<Choice<'a>> {
    let required = match mode {
        Some(text) => node.at("mode", text).string()? == "required",
        None => false,
    };
    let mut chosen = Vec::new();
    if let Some(text) = tools {
        node.at("tools", text).items(|tool| {
            chosen.push(named(&tool)?);
            Ok(())
        })?;
    }
    Ok(Choice::Allowed { required, tools: chosen })
}

fn named<'a>(node: &Node<'a, '_>) -> Result<Chosen<'a>> {
    let [kind, name, namespace, function, custom] =
        pick(node, ["type", "name", "namespace", "function", "custom"])?;
    if let Some(text) = name {
        let namespace = namespace.map(|text| node.at("namespace", text).string()).transpose()?;
        return Ok(Chosen { namespace, name: node.at("name", text).string()? });
    }
    // As Chat has it.
    for (key, inner) in [("function", function), ("custom", custom)] {
        let Some(inner) = inner else { continue };
        let inner = node.at(key, inner);
        if let [Some(text)] = pick(&inner, ["name"])? {
            return Ok(Chosen { namespace: None, name: inner.at("name", text).string()? });
        }
    }
    // Tools of the provider's own have no name but their type.
    match kind.map(|text| node.at("type", text).string()).transpose()? {
        Some(kind) if is_web_search(&kind) => Ok(Chosen { namespace: None, name: Cow::Borrowed(WEB_SEARCH) }),
        Some(kind) if !matches!(&*kind, "function" | "custom") => Ok(Chosen { namespace: None, name: kind }),
        _ => Err(node.missing("name").wrong("a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(json: &str) -> Result<Choice<'_>> {
        read(&Node::root(json))
    }

    fn chosen(name: &'static str) -> Chosen<'static> {
        Chosen { namespace: None, name: name.into() }
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(choice("\"auto\"").unwrap(), Choice::Auto);
        assert_eq!(choice("\"required\"").unwrap(), Choice::Required);
        assert_eq!(choice("\"none\"").unwrap(), Choice::None);
        for one in [r#"{"type":"function","name":"f"}"#, r#"{"type":"function","function":{"name":"f"}}"#] {
            assert_eq!(choice(one).unwrap(), Choice::Named(chosen("f")));
        }
        assert_eq!(choice(r#"{"type":"custom","name":"p"}"#).unwrap(), Choice::Named(chosen("p")));
        let some = r#"{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"b"},
            {"type":"web_search_preview"},{"type":"image_generation"}]}"#;
        let tools = vec![chosen("b"), chosen("web_search"), chosen("image_generation")];
        assert_eq!(choice(some).unwrap(), Choice::Allowed { required: true, tools });
    }

    #[test]
    fn hosted_and_unknown_choices_are_refused() {
        for bad in ["\"any\"", r#"{"type":"web_search_preview"}"#, r#"{"type":"mcp","server_label":"x"}"#] {
            assert_eq!(choice(bad).unwrap_err().status(), 400, "{bad}");
        }
        assert!(choice(r#"{"type":"function"}"#).is_err() && choice("7").is_err());
    }
}
