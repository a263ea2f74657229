//! Answers in Anthropic Messages.
//!
//! Comes in: a [`DemoReply`]. Goes out: a `message`, or its event ladder: `message_start`, `ping`, for each block
//! its start, deltas and stop, `message_delta` with the stop reason, `message_stop`.

use super::event_buffer::EventBuffer;
use super::json::{self, ObjectWriter};
use super::reply::{DemoReply, ReplyBlock, ReplyCall, ReplyUsage};

/// The answer as one body.
pub(super) fn unary(reply: &DemoReply<'_>) -> Vec<u8> {
    json::body(|o| {
        head(o, reply);
        o.array("content", |list| {
            for block in reply.blocks() {
                list.object(|o| whole(o, reply, block));
            }
        });
        o.text("stop_reason", stop(reply)).raw("stop_sequence", "null");
        if let Some(usage) = reply.usage {
            o.object("usage", |o| cost(o, usage, usage.completion));
        }
    })
}

/// The answer as events.
pub(super) fn stream(buffer: &mut EventBuffer, reply: &DemoReply<'_>) {
    buffer.event("message_start", |o| o.object("message", |o| start(o, reply)).done());
    buffer.event("ping", |_| {});
    for (index, block) in reply.blocks().enumerate() {
        self::block(buffer, reply, index, block);
    }
    buffer.event("message_delta", |o| {
        o.object("delta", |o| o.text("stop_reason", stop(reply)).raw("stop_sequence", "null").done());
        if let Some(usage) = reply.usage {
            o.object("usage", |o| counts(o, usage, usage.completion));
        }
    });
    buffer.event("message_stop", |_| {});
}

fn block(buffer: &mut EventBuffer, reply: &DemoReply<'_>, index: usize, block: ReplyBlock<'_>) {
    buffer.event("content_block_start", |o| {
        o.number("index", index).object("content_block", |o| empty(o, reply, block));
    });
    for piece in block.deltas() {
        delta(buffer, index, kind(block), piece).delta();
    }
    if let ReplyBlock::Reasoning(_) = block {
        delta(buffer, index, ("signature_delta", "signature"), &reply.seal());
    }
    buffer.event("content_block_stop", |o| o.number("index", index).done());
}

fn delta<'t>(
    buffer: &'t mut EventBuffer,
    index: usize,
    (kind, member): (&str, &str),
    piece: &str,
) -> &'t mut EventBuffer {
    buffer.event("content_block_delta", |o| {
        o.number("index", index).object("delta", |o| o.text("type", kind).text(member, piece).done());
    })
}

/// Returns the type of a block's deltas, and the member that holds their content.
fn kind(block: ReplyBlock<'_>) -> (&'static str, &'static str) {
    match block {
        ReplyBlock::Reasoning(_) => ("thinking_delta", "thinking"),
        ReplyBlock::Text(_) => ("text_delta", "text"),
        ReplyBlock::Call(_) => ("input_json_delta", "partial_json"),
    }
}

fn head(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>) {
    o.text("id", &reply.id("msg_"))
        .text("type", "message")
        .text("role", "assistant")
        .text("model", &reply.model);
}

fn start(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>) {
    head(o, reply);
    o.raw("content", "[]").raw("stop_reason", "null").raw("stop_sequence", "null");
    if let Some(usage) = reply.usage {
        o.object("usage", |o| cost(o, usage, 1));
    }
}

fn empty(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>, block: ReplyBlock<'_>) {
    match block {
        ReplyBlock::Reasoning(_) => {
            o.text("type", "thinking").text("thinking", "").text("signature", "").done();
        }
        ReplyBlock::Text(_) => o.text("type", "text").text("text", "").done(),
        ReplyBlock::Call(call) => tool(o, reply, call, "{}"),
    }
}

fn whole(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>, block: ReplyBlock<'_>) {
    match block {
        ReplyBlock::Reasoning(text) => {
            o.text("type", "thinking").text("thinking", text).text("signature", &reply.seal());
        }
        ReplyBlock::Text(text) => o.text("type", "text").text("text", text).done(),
        ReplyBlock::Call(call) => tool(o, reply, call, &call.arguments),
    }
}

fn tool(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>, call: &ReplyCall<'_>, input: &str) {
    o.text("type", "tool_use")
        .text("id", &reply.call_id("toolu_", call))
        .text("name", call.name)
        .raw("input", input);
}

fn stop(reply: &DemoReply<'_>) -> &'static str {
    match (reply.limit, reply.calls()) {
        (true, _) => "max_tokens",
        (false, []) => "end_turn",
        (false, _) => "tool_use",
    }
}

fn cost(o: &mut ObjectWriter<'_>, usage: ReplyUsage, output: usize) {
    counts(o, usage, output);
    o.text("service_tier", "standard");
}

/// Writes the counts. In this protocol, the input tokens do not include the cached ones.
fn counts(o: &mut ObjectWriter<'_>, usage: ReplyUsage, output: usize) {
    o.number("input_tokens", usage.prompt - usage.cached).number("cache_creation_input_tokens", 0);
    o.number("cache_read_input_tokens", usage.cached).number("output_tokens", output);
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::super::{Script, answer};

    const TOOLS: &str =
        r#","tools":[{"name":"f","input_schema":{"required":["a"]}}],"thinking":{"type":"enabled"}"#;

    #[derive(Deserialize)]
    struct Event {
        delta: Option<Delta>,
    }

    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Delta {
        thinking: String,
        signature: String,
        text: String,
        partial_json: String,
        stop_reason: String,
    }

    #[derive(Deserialize)]
    struct Message {
        content: Vec<EventBlock>,
        stop_reason: String,
    }

    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct EventBlock {
        thinking: String,
        signature: String,
        text: String,
        input: Option<Box<RawValue>>,
    }

    fn ask(said: &str, more: &str) -> Script {
        let body =
            format!(r#"{{"model":"messages","messages":[{{"role":"user","content":"{said}"}}]{more}}}"#);
        answer("POST", "/v1/messages?beta=true", body.as_bytes())
    }

    /// Thoughts, the beginning of their seal (the rest differs with the body), text, arguments, stop reason.
    fn streamed(script: &Script) -> [String; 5] {
        let mut all = <[String; 5]>::default();
        for (_, data) in script.events() {
            let delta = serde_json::from_str::<Event>(&data).unwrap().delta.unwrap_or_default();
            let seal = delta.signature.get(..8).unwrap_or_default().to_owned();
            let parts = [delta.thinking, seal, delta.text, delta.partial_json, delta.stop_reason];
            all.iter_mut().zip(parts).for_each(|(all, part)| all.push_str(&part));
        }
        all
    }

    fn whole(script: &Script) -> [String; 5] {
        let message: Message = serde_json::from_str(&script.text()).unwrap();
        let mut all = <[String; 5]>::default();
        for block in message.content {
            let seal = block.signature.get(..8).unwrap_or_default().to_owned();
            let input = block.input.map(|raw| raw.get().to_owned()).unwrap_or_default();
            let parts = [block.thinking, seal, block.text, input, String::new()];
            all.iter_mut().zip(parts).for_each(|(all, part)| all.push_str(&part));
        }
        all[4] = message.stop_reason;
        all
    }

    #[test]
    fn streams_what_it_answers_at_once() {
        for (said, more) in [("a b", ""), ("a", TOOLS), ("[demo:words=2]", TOOLS)] {
            assert_eq!(streamed(&ask(said, &format!(r#"{more},"stream":true"#))), whole(&ask(said, more)));
        }
    }

    #[test]
    fn climbs_the_ladder() {
        let names = |more: &str| {
            let mut names: Vec<String> = ask("a", more).events().into_iter().map(|(name, _)| name).collect();
            names.dedup();
            names.join(" ").replace("content_block", "block")
        };
        let block = "block_start block_delta block_stop";
        let ladder = |blocks: &str| format!("message_start ping {blocks} message_delta message_stop");
        assert_eq!(names(r#","stream":true"#), ladder(block));
        assert_eq!(names(&format!(r#"{TOOLS},"stream":true"#)), ladder(&format!("{block} {block}")));
    }

    #[test]
    fn counts_cached_tokens_apart() {
        let body = ask("a", "").text();
        assert!(
            body.contains(r#""input_tokens":8,"cache_creation_input_tokens":0,"cache_read_input_tokens":8"#),
            "{body}"
        );
        let stream = ask("a", r#","stream":true"#).text();
        assert!(stream.contains(r#""output_tokens":1,"#) && stream.contains(r#""output_tokens":3}"#));
        assert_eq!(stream.matches(r#""cache_read_input_tokens":"#).count(), 2);
        assert!(!ask("[demo:no-usage]", r#","stream":true"#).text().contains("usage"));
    }
}
