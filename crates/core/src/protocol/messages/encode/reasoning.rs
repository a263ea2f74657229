//! What the model thought in earlier turns, for the provider that sealed it.
//!
//! Signatures are bound to provider and model. Blocks go back, byte for byte, to those they came from;
//! whatever else was thought is left out, because the provider would refuse it.

use crate::canon::{Reasoning, Sealed};
use crate::json::write::Array;
use crate::json::{self, Lit};
use crate::protocol::node::Node;

/// Is there anything of it that the provider takes?
pub(super) fn has_blocks(reasoning: &Reasoning<'_>) -> bool {
    let mut any = false;
    each(reasoning, &mut |_| any = true);
    any
}

/// Writes the blocks.
pub(super) fn write(reasoning: &Reasoning<'_>, blocks: &mut Array<'_>) {
    each(reasoning, &mut |block| match block {
        Block::Whole(json) => {
            blocks.json(json);
        }
        Block::Thinking { text, signature } => {
            blocks.object(|o| {
                o.text("type", "thinking").lit("thinking", &text).lit("signature", &signature);
            });
        }
        Block::Redacted(data) => {
            blocks.object(|o| {
                o.text("type", "redacted_thinking").lit("data", &data);
            });
        }
    });
}

/// A block of reasoning in the provider's own form.
enum Block<'b> {
    Whole(&'b str),
    Thinking { text: Lit<'b>, signature: Lit<'b> },
    Redacted(Lit<'b>),
}

fn each(reasoning: &Reasoning<'_>, take: &mut dyn FnMut(Block<'_>)) {
    match &reasoning.sealed {
        Some(Sealed::Carried(carrier)) => {
            // Whatever a carrier holds: nothing but reasoning comes out of it.
            carrier.blocks.iter().map(json::Raw::get).filter(|block| is_reasoning(block)).for_each(|block| {
                take(Block::Whole(block));
            });
        }
        Some(Sealed::Thinking(block)) if is_reasoning(block.get()) => take(Block::Whole(block.get())),
        Some(Sealed::Details(entries)) => {
            for (_, span) in json::elements(entries.get().as_bytes()).map_while(Result::ok) {
                let entry = Node::root(entries.get().get(span).unwrap_or_default());
                if let Some(block) = detail(&entry) {
                    take(block);
                }
            }
        }
        _ => {}
    }
}

/// A block of Chat's `reasoning_details`, if its format says that it came from the protocol.
fn detail<'b>(entry: &Node<'b, '_>) -> Option<Block<'b>> {
    let text = |name| entry.find(name).and_then(|node| node.lit().ok());
    if text("format")?.raw() != FORMAT {
        return None;
    }
    match text("type")?.raw() {
        "reasoning.text" => {
            let signature = text("signature").filter(is_native)?;
            Some(Block::Thinking { text: text("text").unwrap_or_default(), signature })
        }
        "reasoning.encrypted" => text("data").filter(is_native).map(Block::Redacted),
        _ => None,
    }
}

fn is_native(opaque: &Lit<'_>) -> bool {
    !opaque.is_empty() && !crate::canon::Carrier::is_carrier(opaque.raw())
}

fn is_reasoning(block: &str) -> bool {
    let kind = Node::root(block).find("type");
    kind.is_some_and(|kind| matches!(kind.text, r#""thinking""# | r#""redacted_thinking""#))
}

/// The `format` of reasoning that came from the protocol.
const FORMAT: &str = "anthropic-claude-v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Carrier;
    use crate::json::{Raw, write as json_write};

    fn written(sealed: Option<Sealed<'_>>) -> String {
        let reasoning = Reasoning { text: Some(Lit::plain("seen")), sealed };
        let mut out = Vec::new();
        json_write::array(&mut out, |blocks| write(&reasoning, blocks));
        assert_eq!(has_blocks(&reasoning), out != b"[]");
        String::from_utf8(out).unwrap()
    }

    fn carried(block: &'static str) -> Option<Sealed<'static>> {
        Some(Sealed::Carried(Carrier { blocks: vec![Raw::constant(block)] }))
    }

    #[test]
    fn blocks_go_back_and_nothing_but_reasoning_does() {
        let block = r#"{"type":"thinking","thinking":"T\u00e9 ","signature":"S=="}"#;
        assert_eq!(written(carried(block)), format!("[{block}]"));
        let no_reasoning = r#"{"type":"document","source":{"type":"file","file_id":"f"}}"#;
        assert_eq!(written(carried(no_reasoning)), "[]");
        assert_eq!(written(None), "[]");
        assert_eq!(written(Some(Sealed::Item(Raw::constant(r#"{"encrypted_content":"E"}"#)))), "[]");
    }

    #[test]
    fn details_of_the_protocol_become_its_blocks() {
        let details = r#"[{"type":"reasoning.text","text":"T","signature":"S","format":"anthropic-claude-v1","index":0},
            {"type":"reasoning.encrypted","data":"D","format":"anthropic-claude-v1"},
            {"type":"reasoning.text","text":"unsigned","format":"anthropic-claude-v1"},
            {"type":"reasoning.encrypted","data":"E","format":"openai-responses-v1"}]"#;
        assert_eq!(
            written(Some(Sealed::Details(Raw::constant(details)))),
            r#"[{"type":"thinking","thinking":"T","signature":"S"},{"type":"redacted_thinking","data":"D"}]"#
        );
    }
}
