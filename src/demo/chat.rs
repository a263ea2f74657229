//! Answers in OpenAI Chat Completions.
//!
//! Comes in: a [`DemoReply`]. Goes out: a `chat.completion`, or a stream of chunks: the role, the deltas, the
//! finish reason, the usage if it was asked for, `[DONE]`.

use super::event_buffer::EventBuffer;
use super::json::{self, ArrayWriter, ObjectWriter};
use super::reply::{CREATED, DemoReply, ReplyBlock, ReplyCall, ReplyUsage};

/// The answer as one body.
pub(super) fn unary(reply: &DemoReply<'_>) -> Vec<u8> {
    json::body(|o| {
        head(o, reply, "chat.completion");
        o.array("choices", |list| {
            list.object(|o| {
                o.number("index", 0).object("message", |o| message(o, reply));
                o.raw("logprobs", "null").text("finish_reason", finish(reply));
            });
        });
        if let Some(usage) = reply.usage {
            o.object("usage", |o| cost(o, usage));
        }
    })
}

/// The answer as events.
pub(super) fn stream(buffer: &mut EventBuffer, reply: &DemoReply<'_>) {
    let mut out = ChunkWriter::new(buffer, reply);
    let content = if reply.text().is_some() { "\"\"" } else { "null" };
    out.delta(|o| o.text("role", "assistant").raw("content", content).raw("refusal", "null").done());
    for block in reply.blocks() {
        out.block(block);
    }
    out.choice(|_| {}, Some(finish(reply)));
    out.usage();
    if reply.done {
        buffer.word("[DONE]");
    }
}

struct ChunkWriter<'t, 'r> {
    buffer: &'t mut EventBuffer,
    reply: &'r DemoReply<'r>,
    /// The members every chunk begins with.
    head: Vec<u8>,
    /// The usage to send, where it was asked for: then all other chunks say that they have none.
    usage: Option<ReplyUsage>,
}

impl<'t, 'r> ChunkWriter<'t, 'r> {
    fn new(buffer: &'t mut EventBuffer, reply: &'r DemoReply<'r>) -> Self {
        let head = json::members(|o| head(o, reply, "chat.completion.chunk"));
        Self { buffer, reply, head, usage: reply.usage.filter(|_| reply.request.include_usage()) }
    }

    fn block(&mut self, block: ReplyBlock<'_>) {
        if let ReplyBlock::Call(call) = block {
            let id = self.reply.call_id("call_", call);
            self.call(call, |o| opening(o, &id, call.name, ""));
        }
        for piece in block.deltas() {
            match block {
                ReplyBlock::Reasoning(_) => self.delta(|o| o.text("reasoning_content", piece).done()),
                ReplyBlock::Text(_) => self.delta(|o| o.text("content", piece).done()),
                ReplyBlock::Call(call) => {
                    self.call(call, |o| o.object("function", |o| o.text("arguments", piece).done()).done());
                }
            }
            self.buffer.delta();
        }
    }

    fn call(&mut self, call: &ReplyCall<'_>, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.delta(|o| {
            o.array("tool_calls", |list| list.object(|o| fill(o.number("index", call.index))));
        });
    }

    fn delta(&mut self, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.choice(fill, None);
    }

    fn choice(&mut self, fill: impl FnOnce(&mut ObjectWriter<'_>), finish: Option<&str>) {
        self.chunk("null", |list| {
            list.object(|o| {
                o.number("index", 0).object("delta", fill);
                o.raw("logprobs", "null").maybe("finish_reason", finish);
            });
        });
    }

    fn chunk(&mut self, usage: &str, choices: impl FnOnce(&mut ArrayWriter<'_>)) {
        let (head, wanted) = (&self.head, self.usage.is_some());
        self.buffer.data(|o| {
            o.members(head).array("choices", choices);
            if wanted {
                o.raw("usage", usage);
            }
        });
    }

    fn usage(&mut self) {
        if let Some(usage) = self.usage {
            let text = String::from_utf8(json::body(|o| cost(o, usage))).unwrap_or_default();
            self.chunk(&text, |_| {});
        }
    }
}

fn head(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>, object: &str) {
    o.text("id", &reply.id("chatcmpl-")).text("object", object).number("created", CREATED);
    o.text("model", &reply.model).text("service_tier", "default").text("system_fingerprint", "fp_demo");
}

fn message(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>) {
    o.text("role", "assistant")
        .maybe("content", reply.text())
        .raw("refusal", "null")
        .raw("annotations", "[]");
    for block in reply.blocks() {
        match block {
            ReplyBlock::Reasoning(text) => o.text("reasoning_content", text).done(),
            ReplyBlock::Text(_) => {}
            ReplyBlock::Call(_) => {}
        }
    }
    if !reply.calls().is_empty() {
        o.array("tool_calls", |list| {
            reply.calls().iter().for_each(|call| list.object(|o| whole(o, reply, call)));
        });
    }
}

fn whole(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>, call: &ReplyCall<'_>) {
    opening(o, &reply.call_id("call_", call), call.name, &call.arguments);
}

fn opening(o: &mut ObjectWriter<'_>, id: &str, name: &str, arguments: &str) {
    o.text("id", id).text("type", "function");
    o.object("function", |o| o.text("name", name).text("arguments", arguments).done());
}

fn finish(reply: &DemoReply<'_>) -> &'static str {
    match (reply.limit, reply.calls()) {
        (true, _) => "length",
        (false, []) => "stop",
        (false, _) => "tool_calls",
    }
}

fn cost(o: &mut ObjectWriter<'_>, usage: ReplyUsage) {
    o.number("prompt_tokens", usage.prompt).number("completion_tokens", usage.completion);
    o.number("total_tokens", usage.prompt + usage.completion);
    o.object("prompt_tokens_details", |o| {
        o.number("cached_tokens", usage.cached).number("audio_tokens", 0).done();
    });
    o.object("completion_tokens_details", |o| {
        o.number("reasoning_tokens", usage.reasoning).number("audio_tokens", 0);
        o.number("accepted_prediction_tokens", 0).number("rejected_prediction_tokens", 0);
    });
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::{Script, answer};

    #[derive(Deserialize)]
    struct Chunk {
        choices: Vec<Choice>,
    }

    #[derive(Deserialize)]
    struct Choice {
        #[serde(alias = "message")]
        delta: Message,
        finish_reason: Option<String>,
    }

    #[derive(Deserialize)]
    struct Message {
        content: Option<String>,
        reasoning_content: Option<String>,
        tool_calls: Option<Vec<ToolCall>>,
    }

    #[derive(Deserialize)]
    struct ToolCall {
        function: Function,
    }

    #[derive(Deserialize)]
    struct Function {
        name: Option<String>,
        arguments: String,
    }

    fn ask(said: &str, more: &str) -> Script {
        let body = format!(r#"{{"model":"chat","messages":[{{"role":"user","content":"{said}"}}]{more}}}"#);
        answer("POST", "/v1/chat/completions", body.as_bytes())
    }

    /// Reasoning, text, name, arguments, finish reason, each put together from the pieces.
    fn content(pieces: impl Iterator<Item = String>) -> [String; 5] {
        let mut all = <[String; 5]>::default();
        let chunks = pieces.filter(|data| data != "[DONE]").map(|data| serde_json::from_str(&data).unwrap());
        for Choice { delta, finish_reason } in chunks.flat_map(|chunk: Chunk| chunk.choices) {
            let call = delta.tool_calls.into_iter().flatten().next().map(|call| call.function);
            let (name, arguments) = call.map(|f| (f.name, f.arguments)).unzip();
            let parts = [delta.reasoning_content, delta.content, name.flatten(), arguments, finish_reason];
            all.iter_mut().zip(parts).for_each(|(all, part)| all.push_str(&part.unwrap_or_default()));
        }
        all
    }

    #[test]
    fn streams_what_it_answers_at_once() {
        let tools =
            r#","tools":[{"type":"function","function":{"name":"f","parameters":{"required":["a"]}}}]"#;
        for more in ["", tools, r#","reasoning_effort":"low""#] {
            let stream = ask("a b", &format!(r#"{more},"stream":true"#));
            let streamed = content(stream.events().into_iter().map(|(_, data)| data));
            assert_eq!(streamed, content(std::iter::once(ask("a b", more).text())));
        }
    }

    #[test]
    fn ends_with_usage_only_where_asked() {
        let plain = ask("a", r#","stream":true"#).text();
        assert!(
            plain.ends_with("\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n") && !plain.contains("usage")
        );
        let events = ask("a", r#","stream":true,"stream_options":{"include_usage":true}"#).events();
        let (ends, others) = (&events[events.len() - 2..], &events[..events.len() - 2]);
        assert!(others.iter().all(|(_, data)| data.ends_with(r#""usage":null}"#)));
        assert!(ends[0].1.contains(r#""choices":[],"usage":{"prompt_tokens":29,"completion_tokens":3,"#));
        assert_eq!(ends[1].1, "[DONE]");
    }

    #[test]
    fn markers_take_parts_away() {
        let asked = r#","stream":true,"stream_options":{"include_usage":true}"#;
        assert!(!ask("[demo:no-usage]", asked).text().contains("usage"));
        assert!(!ask("[demo:no-done]", asked).text().contains("[DONE]"));
        assert!(!ask("[demo:no-usage]", "").text().contains("usage"));
    }
}
