//! Answers in OpenAI Responses.
//!
//! Comes in: a [`DemoReply`]. Goes out: a `response`, or its event ladder: `response.created`,
//! `response.in_progress`, for each item its opening, deltas and closing, `response.completed` with the whole
//! response once more. The events are numbered from 0.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::ProviderError;
use super::event_buffer::EventBuffer;
use super::json::{self, ArrayWriter, ObjectWriter};
use super::reply::{CREATED, DemoReply, ReplyBlock, ReplyUsage};

/// The phase of a response.
#[derive(Clone, Copy)]
pub(super) enum ResponsePhase<'a> {
    /// The response has begun.
    Begun,
    /// The response is complete.
    Complete,
    /// The response has failed for this reason.
    Failed(&'a ProviderError<'a>),
}

/// The response as one body.
pub(super) fn unary(reply: &DemoReply<'_>, state: ResponsePhase<'_>) -> Vec<u8> {
    json::body(|o| response(o, reply, state))
}

/// The answer as events.
pub(super) fn stream(buffer: &mut EventBuffer, reply: &DemoReply<'_>) {
    report(buffer, reply, "response.created", ResponsePhase::Begun);
    report(buffer, reply, "response.in_progress", ResponsePhase::Begun);
    for (index, block) in reply.blocks().enumerate() {
        let mut item = OutputItemWriter { buffer: &mut *buffer, reply, index, block, id: id(reply, block) };
        item.stream();
    }
    let last = if reply.limit { "response.incomplete" } else { "response.completed" };
    report(buffer, reply, last, ResponsePhase::Complete);
}

/// Ends a stream as failed.
pub(super) fn fail(buffer: &mut EventBuffer, reply: &DemoReply<'_>, failure: &ProviderError<'_>) {
    report(buffer, reply, "response.failed", ResponsePhase::Failed(failure));
}

/// Puts the error event into a stream.
pub(super) fn error(buffer: &mut EventBuffer, failure: &ProviderError<'_>) {
    event(buffer, "error", |o| failure.event(o));
}

/// An item of the output that is being sent.
struct OutputItemWriter<'t, 'r> {
    buffer: &'t mut EventBuffer,
    reply: &'r DemoReply<'r>,
    index: usize,
    block: ReplyBlock<'r>,
    id: String,
}

impl OutputItemWriter<'_, '_> {
    fn stream(&mut self) {
        let (reply, block, index) = (self.reply, self.block, self.index);
        event(self.buffer, "response.output_item.added", |o| {
            o.number("output_index", index).object("item", |o| item(o, reply, block, false));
        });
        match block {
            ReplyBlock::Reasoning(text) => self.part(SUMMARY, text),
            ReplyBlock::Text(text) => self.part(CONTENT, text),
            ReplyBlock::Call(call) => self.arguments(call.name, &call.arguments),
        }
        event(self.buffer, "response.output_item.done", |o| {
            o.number("output_index", index).object("item", |o| item(o, reply, block, true));
        });
    }

    fn part(&mut self, names: PartNames, text: &str) {
        let [added, delta, done, closed] = names.events;
        self.event(added, names, |o| o.object("part", |o| part(o, names.kind, "")).done());
        for piece in self.block.deltas() {
            self.event(delta, names, |o| loose(o.text("delta", piece), names));
            self.buffer.delta();
        }
        self.event(done, names, |o| loose(o.text("text", text), names));
        self.event(closed, names, |o| o.object("part", |o| part(o, names.kind, text)).done());
    }

    fn arguments(&mut self, name: &str, arguments: &str) {
        for piece in self.block.deltas() {
            self.plain("response.function_call_arguments.delta", |o| o.text("delta", piece).done());
            self.buffer.delta();
        }
        self.plain("response.function_call_arguments.done", |o| {
            o.text("name", name).text("arguments", arguments);
        });
    }

    fn event(&mut self, name: &str, names: PartNames, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.plain(name, |o| fill(o.number(names.index, 0)));
    }

    fn plain(&mut self, name: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        let (id, index) = (&self.id, self.index);
        event(self.buffer, name, |o| fill(o.text("item_id", id).number("output_index", index)));
    }
}

/// The names that a kind of text part has in members and events.
#[derive(Clone, Copy)]
struct PartNames {
    kind: &'static str,
    index: &'static str,
    /// The events: added, delta, done, part done.
    events: [&'static str; 4],
}

/// Writes an event with its number, which is that of the events before it.
fn event(buffer: &mut EventBuffer, name: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
    let number = buffer.events();
    buffer.event(name, |o| {
        fill(o);
        o.number("sequence_number", number);
    });
}

fn report(buffer: &mut EventBuffer, reply: &DemoReply<'_>, name: &str, state: ResponsePhase<'_>) {
    event(buffer, name, |o| o.object("response", |o| response(o, reply, state)).done());
}

fn id(reply: &DemoReply<'_>, block: ReplyBlock<'_>) -> String {
    match block {
        ReplyBlock::Reasoning(_) => reply.id("rs_"),
        ReplyBlock::Text(_) => reply.id("msg_"),
        ReplyBlock::Call(call) => reply.call_id("fc_", call),
    }
}

fn item(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>, block: ReplyBlock<'_>, whole: bool) {
    let status = if whole { "completed" } else { "in_progress" };
    o.text("id", &id(reply, block));
    match block {
        ReplyBlock::Reasoning(text) => reasoning(o, reply, text, whole),
        ReplyBlock::Text(text) => {
            o.text("type", "message").text("status", status);
            parts(o, "content", CONTENT.kind, text, whole);
            o.text("role", "assistant");
        }
        ReplyBlock::Call(call) => {
            o.text("type", "function_call").text("status", status);
            o.text("arguments", if whole { &call.arguments } else { "" });
            o.text("call_id", &reply.call_id("call_", call)).text("name", call.name);
        }
    }
}

fn reasoning(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>, text: &str, whole: bool) {
    o.text("type", "reasoning");
    parts(o, "summary", SUMMARY.kind, text, whole);
    if reply.request.sealed() {
        o.text("encrypted_content", &reply.seal());
    }
}

fn parts(o: &mut ObjectWriter<'_>, member: &str, kind: &str, text: &str, whole: bool) {
    o.array(member, |list| {
        if whole {
            list.object(|o| part(o, kind, text));
        }
    });
}

fn part(o: &mut ObjectWriter<'_>, kind: &str, text: &str) {
    o.text("type", kind);
    if kind == CONTENT.kind {
        o.raw("annotations", "[]").raw("logprobs", "[]");
    }
    o.text("text", text);
}

/// Adds the empty list of probabilities, which only the events of output text have.
fn loose(o: &mut ObjectWriter<'_>, names: PartNames) {
    if names.kind == CONTENT.kind {
        o.raw("logprobs", "[]");
    }
}

/// Writes the response as OpenAI shows it: with the members of the request, or their defaults.
fn response(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>, state: ResponsePhase<'_>) {
    let wire = &reply.request.wire;
    o.text("id", &reply.id("resp_")).text("object", "response").number("created_at", CREATED);
    progress(o, reply, state);
    o.raw("frequency_penalty", "0.0");
    match (reply.limit, &state) {
        (true, ResponsePhase::Complete) => o.raw("incomplete_details", r#"{"reason":"max_output_tokens"}"#),
        _ => o.raw("incomplete_details", "null"),
    };
    o.echo("instructions", wire.instructions, "null").echo(
        "max_output_tokens",
        wire.max_output_tokens,
        "null",
    );
    o.echo("max_tool_calls", wire.max_tool_calls, "null").text("model", &reply.model);
    output(o, reply, state);
    o.echo("parallel_tool_calls", wire.parallel_tool_calls, "true").raw("presence_penalty", "0.0");
    o.echo("previous_response_id", wire.previous_response_id, "null");
    o.echo("prompt_cache_key", wire.prompt_cache_key, "null");
    o.echo("reasoning", wire.reasoning, r#"{"effort":null,"summary":null}"#);
    o.echo("safety_identifier", wire.safety_identifier, "null").text("service_tier", "default");
    o.echo("store", wire.store, "true").echo("temperature", wire.temperature, "1.0");
    o.echo("text", wire.text, r#"{"format":{"type":"text"},"verbosity":"medium"}"#);
    o.echo("tool_choice", wire.tool_choice, "\"auto\"").array("tools", |list| tools(list, wire.tools));
    o.echo("top_logprobs", wire.top_logprobs, "0").echo("top_p", wire.top_p, "1.0");
    o.echo("truncation", wire.truncation, "\"disabled\"");
    usage(o, reply.usage.filter(|_| matches!(state, ResponsePhase::Complete)));
    o.echo("user", wire.user, "null").echo("metadata", wire.metadata, "{}");
}

/// Writes the tools that the request offers; a function is shown with all of its members.
fn tools(list: &mut ArrayWriter<'_>, tools: Option<&RawValue>) {
    for raw in json::read_or_default::<Vec<&RawValue>>(tools) {
        let tool: EchoedTool<'_> = json::read_or_default(Some(raw));
        if tool.kind != "function" {
            list.echo(raw);
            continue;
        }
        list.object(|o| {
            o.text("type", "function").echo("description", tool.description, "null");
            o.echo("name", tool.name, "null").echo("parameters", tool.parameters, "null");
            o.echo("strict", tool.strict, "true");
        });
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct EchoedTool<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    strict: Option<&'a RawValue>,
}

fn progress(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>, state: ResponsePhase<'_>) {
    let status = match state {
        ResponsePhase::Begun => "in_progress",
        ResponsePhase::Complete if reply.limit => "incomplete",
        ResponsePhase::Complete => "completed",
        ResponsePhase::Failed(_) => "failed",
    };
    o.text("status", status).raw("background", "false");
    match state {
        ResponsePhase::Complete => o.number("completed_at", CREATED),
        ResponsePhase::Begun | ResponsePhase::Failed(_) => o.raw("completed_at", "null"),
    };
    match state {
        ResponsePhase::Failed(failure) => o.object("error", |o| failure.failed(o)),
        ResponsePhase::Begun | ResponsePhase::Complete => o.raw("error", "null"),
    };
}

fn output(o: &mut ObjectWriter<'_>, reply: &DemoReply<'_>, state: ResponsePhase<'_>) {
    o.array("output", |list| {
        for block in reply.blocks().filter(|_| matches!(state, ResponsePhase::Complete)) {
            list.object(|o| item(o, reply, block, true));
        }
    });
}

fn usage(o: &mut ObjectWriter<'_>, usage: Option<ReplyUsage>) {
    let Some(usage) = usage else {
        o.raw("usage", "null");
        return;
    };
    o.object("usage", |o| {
        o.number("input_tokens", usage.prompt);
        o.object("input_tokens_details", |o| o.number("cached_tokens", usage.cached).done());
        o.number("output_tokens", usage.completion);
        o.object("output_tokens_details", |o| o.number("reasoning_tokens", usage.reasoning).done());
        o.number("total_tokens", usage.prompt + usage.completion);
    });
}

const CONTENT: PartNames = PartNames {
    kind: "output_text",
    index: "content_index",
    events: [
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
    ],
};

const SUMMARY: PartNames = PartNames {
    kind: "summary_text",
    index: "summary_index",
    events: [
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
    ],
};

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::super::{Script, answer};

    #[derive(Deserialize)]
    struct Terminal {
        response: Box<RawValue>,
    }

    const TOOLS: &str = r#","tools":[{"type":"function","name":"f"}],"reasoning":{"effort":"low"}"#;

    fn ask(said: &str, more: &str) -> Script {
        let body = format!(r#"{{"model":"responses","input":"{said}"{more}}}"#);
        answer("POST", "/v1/responses", body.as_bytes())
    }

    fn names(script: &Script) -> Vec<String> {
        script.events().into_iter().map(|(name, _)| name.replace("response.", "")).collect()
    }

    #[test]
    fn climbs_the_ladder_of_a_text() {
        let script = ask("a", r#","stream":true"#);
        assert_eq!(
            names(&script).join(" "),
            "created in_progress output_item.added content_part.added \
            output_text.delta output_text.delta output_text.delta output_text.done content_part.done \
            output_item.done completed"
        );
        for (number, (name, data)) in script.events().iter().enumerate() {
            assert!(data.starts_with(&format!(r#"{{"type":"{name}","#)));
            assert!(data.ends_with(&format!(r#","sequence_number":{number}}}"#)));
        }
    }

    #[test]
    fn climbs_the_ladder_of_reasoning_and_a_call() {
        let mut names = names(&ask("a", &format!(r#"{TOOLS},"stream":true"#)));
        names.dedup();
        assert_eq!(
            names.join(" "),
            "created in_progress output_item.added reasoning_summary_part.added \
            reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done output_item.done \
            output_item.added function_call_arguments.delta function_call_arguments.done output_item.done completed"
        );
    }

    #[test]
    fn completes_with_the_unary_answer() {
        for more in ["", TOOLS] {
            let stream = ask("a b", &format!(r#"{more},"stream":true "#)).events();
            let end: Terminal = serde_json::from_str(&stream.last().unwrap().1).unwrap();
            // As many bytes, so that the prompts cost the same.
            let unary = ask("a b", &format!(r#"{more},"stream":false"#)).text();
            let (streamed, unary) = (without_ids(end.response.get()), without_ids(&unary));
            assert_eq!(streamed, unary);
        }
    }

    fn without_ids(text: &str) -> String {
        let id = text.split_once("resp_").unwrap().1.split_once('"').unwrap().0;
        text.replace(id, "")
    }

    #[test]
    fn echoes_the_request_on_one_line() {
        let text = ask("a", ",\"stream\":true,\"metadata\":{\n\"a\":\"b\"}").text();
        assert!(text.contains(r#""metadata":{ "a":"b"}"#));
    }

    #[test]
    fn shows_all_members_of_a_function() {
        let tools = r#","tools":[{"type":"function","name":"f"},{"type":"web_search"},{"strict":false,"type":"function"}]"#;
        let shown = concat!(
            r#""tools":[{"type":"function","description":null,"name":"f","parameters":null,"strict":true},"#,
            r#"{"type":"web_search"},{"type":"function","description":null,"name":null,"parameters":null,"strict":false}]"#,
        );
        let text = ask("a", tools).text();
        assert!(text.contains(shown), "{text}");
    }

    #[test]
    fn seals_the_reasoning_only_where_asked() {
        let sealed = format!(r#"{TOOLS},"include":["reasoning.encrypted_content"]"#);
        assert!(ask("a", &sealed).text().contains("encrypted_content"));
        assert!(!ask("a", TOOLS).text().contains("encrypted_content"));
    }

    #[test]
    fn fails_and_errs() {
        let failed = ask("a b c [demo:failed=2]", r#","stream":true"#);
        assert_eq!(names(&failed)[4..], ["output_text.delta", "output_text.delta", "failed"]);
        let end = &failed.events()[6].1;
        assert!(end.contains(r#""status":"failed""#) && end.contains(r#""error":{"code":"server_error""#));
        assert!(ask("[demo:failed=0]", "").text().contains(r#""status":"failed""#));
        assert_eq!(names(&ask("[demo:error-first]", r#","stream":true"#)), ["error"]);
    }
}
