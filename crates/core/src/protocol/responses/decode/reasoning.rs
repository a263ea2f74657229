//! Reasoning of earlier turns.

use crate::canon::{Carrier, Losses, Reasoning, Sealed, Target};
use crate::failure::Result;
use crate::json::JsonStr;
use crate::protocol::node::{Node, Type};

use crate::protocol::pick::members_named;

/// Reads a `reasoning` item: its readable text, and the carrier or native state in it.
///
/// Returns `None` if nothing is left, because the carrier held nothing for `target` or because the item was only a
/// reference.
pub(super) fn read<'a>(
    node: &Node<'a, '_>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Option<Reasoning<'a>>> {
    let [summary, content, encrypted] = members_named(node, ["summary", "content", "encrypted_content"])?;
    let mut text = None;
    for (key, list) in [("summary", summary), ("content", content)] {
        let Some(list) = list.filter(|_| text.is_none()) else { continue };
        text = texts(&node.at(key, list))?;
    }
    let sealed = match encrypted.map(|text| node.at("encrypted_content", text).json_str()).transpose()? {
        Some(state) if state.is_empty() => None,
        Some(state) if Carrier::is_carrier(state.raw()) => {
            target.open(&state.decode(), losses).map(Sealed::Carried)
        }
        Some(_) => Some(Sealed::Item(node.raw()?)),
        None => None,
    };
    Ok((text.is_some() || sealed.is_some()).then_some(Reasoning { text, sealed }))
}

/// Returns the texts of summary or content parts, separated by blank lines; `None` if there are none.
pub(super) fn texts<'a>(list: &Node<'a, '_>) -> Result<Option<JsonStr<'a>>> {
    let mut joined: Option<JsonStr<'a>> = None;
    if list.kind() != Type::Array {
        return Ok(None);
    }
    list.items(|part| {
        let [Some(text)] = members_named(&part, ["text"])? else { return Ok(()) };
        let text = part.at("text", text).json_str()?;
        if text.is_empty() {
            return Ok(());
        }
        joined = Some(match joined.take() {
            Some(before) => JsonStr::concat(&[&before, &JsonStr::PARAGRAPH, &text]),
            None => text,
        });
        Ok(())
    })?;
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Caps, Profile, ProtocolId, Rejection, Seal, SealKey, Sealer};

    fn sealer() -> Sealer {
        Sealer::new(&SealKey::new([7; 32]), "account")
    }

    fn told(json: &str) -> (Option<Reasoning<'_>>, Losses) {
        let (profile, sealer) = (Profile::default(), sealer());
        let caps = Caps::of(ProtocolId::Messages, "m", &profile);
        let protocol = ProtocolId::Messages;
        let target =
            Target { protocol, origin: "o", model: "m", profile: &profile, caps: &caps, sealer: &sealer };
        let mut losses = Losses::default();
        (read(&Node::root(json), &target, &mut losses).unwrap(), losses)
    }

    fn thought(json: &str) -> Option<Reasoning<'_>> {
        told(json).0
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
        let seal = Seal::Signature(JsonStr::plain("S"));
        let carrier = Carrier { blocks: vec![seal.block(&JsonStr::plain("t"))] };
        let json = |model| {
            let text = carrier.seal(&sealer(), "o", model);
            format!(r#"{{"summary":[],"encrypted_content":"{text}"}}"#)
        };
        let (json, other) = (json("m"), json("other"));
        assert!(matches!(thought(&json).unwrap().sealed, Some(Sealed::Carried(found)) if found == carrier));
        let (reasoning, losses) = told(&other);
        assert!(reasoning.is_none() && losses.list().is_empty());
        assert_eq!(losses.rejections().iter().collect::<Vec<_>>(), [(Rejection::Foreign, 1)]);
        let json = r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}"#;
        assert!(matches!(thought(json).unwrap().sealed, Some(Sealed::Item(item)) if item.get() == json));
    }

    #[test]
    fn damaged_carriers_and_bare_references_are_nothing() {
        // Golden case 81.
        assert!(thought(r#"{"summary":[],"encrypted_content":"cm2.####"}"#).is_none());
        assert!(thought(r#"{"id":"rs_1","summary":[]}"#).is_none());
        let kept = thought(r#"{"summary":[{"text":"t"}],"encrypted_content":"cm1.e30"}"#).unwrap();
        assert_eq!((kept.text.unwrap().raw(), kept.sealed.is_none()), ("t", true));
    }
}
