//! Reasoning of earlier turns.

use crate::canon::{Carrier, Reasoning, Sealed};
use crate::failure::Result;
use crate::json::Lit;
use crate::protocol::node::{Node, Type};

use crate::protocol::responses::members::pick;

/// Reads a `reasoning` item: what a person may read of it, and the carrier or the native state in it. `None`
/// where nothing is left, because a carrier was damaged or because the item was only a reference.
pub(super) fn read<'a>(node: &Node<'a, '_>) -> Result<Option<Reasoning<'a>>> {
    let [summary, content, encrypted] = pick(node, ["summary", "content", "encrypted_content"])?;
    let mut text = None;
    for (key, list) in [("summary", summary), ("content", content)] {
        let Some(list) = list.filter(|_| text.is_none()) else { continue };
        text = texts(&node.at(key, list))?;
    }
    let sealed = match encrypted.map(|text| node.at("encrypted_content", text).lit()).transpose()? {
        Some(state) if state.is_empty() => None,
        Some(state) if Carrier::is_carrier(state.raw()) => {
            Carrier::decode(&state.decode()).map(Sealed::Carried)
        }
        Some(_) => Some(Sealed::Item(node.raw()?)),
        None => None,
    };
    Ok((text.is_some() || sealed.is_some()).then_some(Reasoning { text, sealed }))
}

/// The texts of summary or content parts, a blank line between them; `None` where there is none.
pub(super) fn texts<'a>(list: &Node<'a, '_>) -> Result<Option<Lit<'a>>> {
    let mut joined: Option<Lit<'a>> = None;
    if list.kind() != Type::Array {
        return Ok(None);
    }
    list.items(|part| {
        let [Some(text)] = pick(&part, ["text"])? else { return Ok(()) };
        let text = part.at("text", text).lit()?;
        if text.is_empty() {
            return Ok(());
        }
        joined = Some(match joined.take() {
            Some(before) => Lit::concat(&[&before, &PARAGRAPH, &text]),
            None => text,
        });
        Ok(())
    })?;
    Ok(joined)
}

/// What stands between two parts of a summary.
pub(super) const PARAGRAPH: Lit<'static> = Lit::plain("\\n\\n");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Seal;

    fn thought(json: &str) -> Option<Reasoning<'_>> {
        read(&Node::root(json)).unwrap()
    }

    #[test]
    fn summaries_come_before_contents() {
        let json = r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}],
            "content":[{"type":"reasoning_text","text":"c"}]}"#;
        let reasoning = thought(json).unwrap();
        assert_eq!(reasoning.text.unwrap().decode(), "a\n\nb");
        assert!(reasoning.sealed.is_none());
        let json = r#"{"summary":[],"content":[{"type":"reasoning_text","text":"c"}]}"#;
        assert_eq!(thought(json).unwrap().text.unwrap().raw(), "c");
    }

    #[test]
    fn carriers_are_opened_and_native_state_is_kept_whole() {
        let seal = Seal::Signature(Lit::plain("S"));
        let carrier =
            Carrier { origin: "o".into(), model: "m".into(), blocks: vec![seal.block(&Lit::plain("t"))] };
        let json = format!(r#"{{"summary":[],"encrypted_content":"{}"}}"#, carrier.encode());
        assert!(matches!(thought(&json).unwrap().sealed, Some(Sealed::Carried(found)) if found == carrier));
        let json = r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}"#;
        assert!(matches!(thought(json).unwrap().sealed, Some(Sealed::Item(item)) if item.get() == json));
    }

    #[test]
    fn damaged_carriers_and_bare_references_are_nothing() {
        // Golden case 81.
        assert!(thought(r#"{"summary":[],"encrypted_content":"cm1.####"}"#).is_none());
        assert!(thought(r#"{"id":"rs_1","summary":[]}"#).is_none());
        let kept = thought(r#"{"summary":[{"text":"t"}],"encrypted_content":"cm1."}"#).unwrap();
        assert_eq!((kept.text.unwrap().raw(), kept.sealed.is_none()), ("t", true));
    }
}
