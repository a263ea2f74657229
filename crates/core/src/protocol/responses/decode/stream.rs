//! A provider's answer, event by event, or whole, as the events of its stream.

use crate::canon::{Decode, Event, Profile, Sink, UpstreamError};
use crate::json::{self, Lit, Malformed};

use super::answer;
use super::speech::{Kind, Slot, Speech, probabilities};
use crate::protocol::responses::members::fields;

/// Reads the answer of a provider.
#[derive(Debug, Default)]
pub(in crate::protocol::responses) struct Decoder {
    speech: Speech,
    started: bool,
    over: bool,
}

/// The members of an event that matter.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<&'a str>,
    output_index: Option<u64>,
    /// `content_index` or `summary_index`.
    part_index: u64,
    delta: Option<&'a str>,
    text: Option<&'a str>,
    refusal: Option<&'a str>,
    arguments: Option<&'a str>,
    item: Option<&'a str>,
    part: Option<&'a str>,
    annotation: Option<&'a str>,
    logprobs: Option<&'a str>,
    response: Option<&'a str>,
}

impl Decoder {
    pub(in crate::protocol::responses) fn new(_profile: &Profile) -> Self {
        Self::default()
    }

    fn dispatch(&mut self, kind: &str, data: &str, event: &Fields<'_>, sink: &mut Sink<'_>) {
        match kind {
            "response.created" | "response.queued" | "response.in_progress" => {
                self.lifecycle(event.response.unwrap_or_default(), sink);
            }
            "response.completed" | "response.incomplete" => {
                self.finish(event.response.unwrap_or("{}"), sink);
            }
            "response.failed" => self.fail(event.response.unwrap_or(data), sink),
            "error" => self.fail(data, sink),
            _ if kind.starts_with("response.") => {
                self.started(sink);
                self.progress(kind.get("response.".len()..).unwrap_or_default(), event, sink);
            }
            _ => {}
        }
    }

    fn progress(&mut self, kind: &str, event: &Fields<'_>, sink: &mut Sink<'_>) {
        match kind {
            "output_item.added" => self.added(event, sink),
            "output_item.done" => self.done(event, sink),
            "content_part.done" => self.part_done(event, sink),
            "output_text.delta" => self.say(event, event.delta, &mut |text| Event::Text(text), sink),
            "output_text.done" => self.whole(event, event.text, &mut |text| Event::Text(text), sink),
            "output_text.annotation.added" => {
                if let (Some(slot), Some(annotation)) = (self.slot(event, Kind::Message), event.annotation) {
                    self.speech.cite(slot, event.part_index, annotation, sink);
                }
            }
            "refusal.delta" => self.say(event, event.delta, &mut |text| Event::Refusal(text), sink),
            "refusal.done" => self.whole(event, event.refusal, &mut |text| Event::Refusal(text), sink),
            "reasoning_summary_text.delta" => self.think(event, event.delta, true, sink),
            "reasoning_text.delta" => self.think(event, event.delta, false, sink),
            "reasoning_summary_text.done" => self.thought(event, true, sink),
            "reasoning_text.done" => self.thought(event, false, sink),
            "function_call_arguments.delta" | "custom_tool_call_input.delta" => {
                if let Some((slot, text)) = self.slot(event, Kind::Call).zip(event.delta.and_then(Lit::read))
                {
                    self.speech.argue(slot, text, sink);
                }
            }
            "function_call_arguments.done" | "custom_tool_call_input.done" => {
                if let Some((slot, whole)) = self.slot(event, Kind::Call).zip(event.arguments) {
                    self.speech.argued(slot, whole, sink);
                }
            }
            _ => {}
        }
    }

    fn slot(&mut self, event: &Fields<'_>, kind: Kind) -> Option<Slot> {
        self.speech.slot(event.output_index, kind)
    }

    fn started(&mut self, sink: &mut Sink<'_>) {
        if !std::mem::replace(&mut self.started, true) {
            sink(Event::Start { id: None, created: None });
        }
    }

    fn lifecycle(&mut self, response: &str, sink: &mut Sink<'_>) {
        if answer::failure(response).is_some() {
            return self.fail(response, sink);
        }
        if !std::mem::replace(&mut self.started, true) {
            answer::start(response, sink);
        }
    }

    /// Takes the response object of an answer that is whole.
    fn finish(&mut self, response: &str, sink: &mut Sink<'_>) {
        if answer::failure(response).is_some() {
            return self.fail(response, sink);
        }
        if !std::mem::replace(&mut self.started, true) {
            answer::start(response, sink);
        }
        answer::finish(response, &mut self.speech, sink);
        self.over = true;
    }

    /// Takes the object that holds, or is, an error.
    fn fail(&mut self, json: &str, sink: &mut Sink<'_>) {
        self.over = true;
        sink(Event::Fail(UpstreamError::read(json.as_bytes())));
    }

    fn added(&mut self, event: &Fields<'_>, sink: &mut Sink<'_>) {
        let Some(item) = event.item else { return };
        let kind = Kind::of(item);
        let slot = self.speech.announce(event.output_index, kind);
        if kind != Kind::Call {
            return;
        }
        self.speech.open(slot, item, sink);
        let [arguments, input] = fields(item, ["arguments", "input"]);
        if let Some(first) = arguments.or(input).and_then(Lit::read) {
            self.speech.argue(slot, first, sink);
        }
    }

    fn done(&mut self, event: &Fields<'_>, sink: &mut Sink<'_>) {
        let Some(item) = event.item else { return };
        let slot = self.speech.completing(event.output_index, Kind::of(item));
        self.speech.complete(slot, item, sink);
    }

    fn part_done(&mut self, event: &Fields<'_>, sink: &mut Sink<'_>) {
        let Some(part) = event.part else { return };
        if !matches!(fields(part, ["type"]), [Some("\"output_text\"" | "\"refusal\"")]) {
            return;
        }
        if let Some(slot) = self.slot(event, Kind::Message) {
            self.speech.complete_part(slot, event.part_index, part, sink);
        }
    }

    fn say<'e>(
        &mut self,
        event: &Fields<'e>,
        text: Option<&'e str>,
        make: &mut dyn FnMut(Lit<'e>) -> Event<'e>,
        sink: &mut Sink<'_>,
    ) {
        let Some(text) = text.and_then(Lit::read).filter(|text| !text.is_empty()) else { return };
        if let Some(slot) = self.slot(event, Kind::Message) {
            self.speech.say(slot, event.part_index, make(text), sink);
            probabilities(event.logprobs, sink);
        }
    }

    /// The whole text of a part: news only if the part was silent so far.
    fn whole<'e>(
        &mut self,
        event: &Fields<'e>,
        text: Option<&'e str>,
        make: &mut dyn FnMut(Lit<'e>) -> Event<'e>,
        sink: &mut Sink<'_>,
    ) {
        let slot = self.slot(event, Kind::Message);
        if slot.is_some_and(|slot| !self.speech.has_spoken(slot, event.part_index)) {
            self.say(event, text, make, sink);
        }
    }

    fn think(&mut self, event: &Fields<'_>, text: Option<&str>, summary: bool, sink: &mut Sink<'_>) {
        let Some(text) = text.and_then(Lit::read) else { return };
        if let Some(slot) = self.slot(event, Kind::Reasoning) {
            self.speech.think(slot, event.part_index, summary, text, sink);
        }
    }

    fn thought(&mut self, event: &Fields<'_>, summary: bool, sink: &mut Sink<'_>) {
        let slot = self.slot(event, Kind::Reasoning);
        if slot.is_some_and(|slot| !self.speech.has_spoken(slot, event.part_index)) {
            self.think(event, event.text, summary, sink);
        }
    }
}

impl Decode for Decoder {
    fn event(&mut self, name: Option<&str>, data: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if self.over || data == "[DONE]" {
            return Ok(());
        }
        let event = Fields::read(data)?;
        let kind = event.kind.map(|kind| kind.trim_matches('"')).or(name);
        if let Some(kind) = kind {
            self.dispatch(kind, data, &event, sink);
        }
        Ok(())
    }

    fn reply(&mut self, body: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        json::members(body.as_bytes()).finish()?;
        let [status, output, error] = fields(body, ["status", "output", "error"]);
        match status {
            // Work that goes on elsewhere: this is no answer.
            Some("\"in_progress\"" | "\"queued\"") => {}
            None if output.is_none() && error.is_none() => {}
            _ => self.finish(body, sink),
        }
        Ok(())
    }

    fn end(&mut self, _sink: &mut Sink<'_>) {}
}

impl<'a> Fields<'a> {
    fn read(data: &'a str) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        let mut members = json::members(data.as_bytes());
        for member in members.by_ref() {
            let member = member?;
            let Some(value) = data.get(member.span.clone()).filter(|value| *value != "null") else {
                continue;
            };
            match member.key {
                b"type" => fields.kind = Some(value),
                b"output_index" => fields.output_index = value.parse().ok(),
                b"content_index" | b"summary_index" => fields.part_index = value.parse().unwrap_or_default(),
                b"delta" => fields.delta = Some(value),
                b"text" => fields.text = Some(value),
                b"refusal" => fields.refusal = Some(value),
                b"arguments" | b"input" => fields.arguments = Some(value),
                b"item" => fields.item = Some(value),
                b"part" => fields.part = Some(value),
                b"annotation" => fields.annotation = Some(value),
                b"logprobs" => fields.logprobs = Some(value),
                b"response" => fields.response = Some(value),
                _ => {}
            }
        }
        members.finish()?;
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::super::notes::note;
    use super::*;

    fn stream(events: &[&str]) -> Vec<String> {
        let (mut decoder, mut notes) = (Decoder::default(), Vec::new());
        for event in events {
            let (kind, rest) = event.split_once(' ').unwrap_or((event, ""));
            let data =
                format!(r#"{{"type":"response.{kind}"{}{rest}}}"#, if rest.is_empty() { "" } else { "," });
            decoder.event(None, &data, &mut |event| notes.push(note(&event))).unwrap();
        }
        decoder.end(&mut |event| notes.push(note(&event)));
        notes
    }

    const CREATED: &str =
        r#"created "response":{"id":"resp_1","created_at":1741476542,"status":"in_progress","output":[]}"#;
    const DONE: &str = r#"completed "response":{"id":"resp_1","status":"completed","output":[]}"#;

    #[test]
    fn text_reasoning_and_calls_in_order() {
        let notes = stream(&[
            CREATED,
            r#"in_progress "response":{"id":"resp_1"}"#,
            r#"output_item.added "output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[]}"#,
            r#"reasoning_summary_part.added "output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}"#,
            r#"reasoning_summary_text.delta "output_index":0,"summary_index":0,"delta":"a"}"#
                .trim_end_matches('}'),
            r#"reasoning_summary_text.done "output_index":0,"summary_index":0,"text":"a""#,
            r#"reasoning_summary_part.added "output_index":0,"summary_index":1,"part":{"type":"summary_text","text":""}"#,
            r#"reasoning_summary_text.delta "output_index":0,"summary_index":1,"delta":"b""#,
            r#"reasoning_text.delta "output_index":0,"content_index":0,"delta":"full""#,
            r#"output_item.done "output_index":0,"item":{"type":"reasoning","id":"rs_1","encrypted_content":"E","summary":[{"type":"summary_text","text":"a"}]}"#,
            r#"output_item.added "output_index":1,"item":{"type":"message","id":"m","content":[]}"#,
            r#"content_part.added "output_index":1,"content_index":0,"part":{"type":"output_text","text":""}"#,
            r#"output_text.delta "output_index":1,"content_index":0,"delta":"Hel","logprobs":[]"#,
            r#"output_text.delta "output_index":1,"content_index":0,"delta":"lo","logprobs":[{"token":"lo"}]"#,
            r#"output_text.annotation.added "output_index":1,"content_index":0,"annotation_index":0,"annotation":{"type":"url_citation","url":"https://x","title":"T","start_index":1,"end_index":3}"#,
            r#"output_text.done "output_index":1,"content_index":0,"text":"Hello""#,
            r#"output_item.done "output_index":1,"item":{"type":"message","content":[{"type":"output_text","text":"Hello","annotations":[{"type":"url_citation","url":"https://x","title":"T"}]}]}"#,
            r#"output_item.added "output_index":2,"item":{"type":"function_call","id":"fc","call_id":"c1","name":"f","arguments":""}"#,
            r#"function_call_arguments.delta "output_index":2,"delta":"{\"a\":""#,
            r#"function_call_arguments.delta "output_index":2,"delta":"1}""#,
            r#"function_call_arguments.done "output_index":2,"arguments":"{\"a\":1}""#,
            r#"output_item.done "output_index":2,"item":{"type":"function_call","call_id":"c1","name":"f","arguments":"{\"a\":1}"}"#,
            r#"completed "response":{"id":"resp_1","status":"completed","service_tier":"default","output":[{"type":"reasoning"},{"type":"message"},{"type":"function_call"}],"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5}}"#,
            r#"output_text.delta "output_index":3,"delta":"late""#,
        ]);
        let expected = [
            "start resp_1 1741476542",
            "thought a",
            "thought \n\n",
            "thought b",
            r#"seal rs_1 E [{"type":"summary_text","text":"a"}]"#,
            "Hel",
            "lo",
            r#"logprobs [{"token":"lo"}]"#,
            "cite https://x T Some((1, 3))",
            "close",
            "open 0 c1 f",
            r#"args 0 {"a":"#,
            "args 0 1}",
            "close 0",
            "tier default",
            "usage Some(6) Some(5)",
            "ToolUse",
            "End",
        ];
        assert_eq!(notes, expected);
    }

    #[test]
    fn parallel_calls_end_only_with_the_answer() {
        // Golden case 114.
        let notes = stream(&[
            CREATED,
            r#"output_item.added "output_index":0,"item":{"type":"function_call","call_id":"a","name":"f","arguments":""}"#,
            r#"function_call_arguments.delta "output_index":0,"delta":"{}""#,
            r#"output_item.done "output_index":0,"item":{"type":"function_call","call_id":"a","name":"f","arguments":"{}"}"#,
            r#"output_item.added "output_index":1,"item":{"type":"function_call","call_id":"b","name":"f","arguments":""}"#,
            r#"function_call_arguments.delta "output_index":1,"delta":"{}""#,
            r#"output_item.done "output_index":1,"item":{"type":"function_call","call_id":"b","name":"f","arguments":"{}"}"#,
            DONE,
        ]);
        let calls =
            ["open 0 a f", "args 0 {}", "close 0", "open 1 b f", "args 1 {}", "close 1", "ToolUse", "End"];
        assert_eq!(notes[1..], calls);
    }

    #[test]
    fn ids_that_change_do_not_matter() {
        // Golden case 115.
        let notes = stream(&[
            CREATED,
            r#"output_item.added "output_index":0,"item":{"type":"function_call","id":"x1","call_id":"a","name":"f","arguments":"{"}"#,
            r#"function_call_arguments.delta "item_id":"x2","output_index":0,"delta":"}""#,
            r#"output_item.done "output_index":0,"item":{"type":"function_call","id":"x3","call_id":"a","name":"f","arguments":"{}"}"#,
            DONE,
        ]);
        assert_eq!(notes[1..], ["open 0 a f", "args 0 {", "args 0 }", "close 0", "ToolUse", "End"]);
    }

    #[test]
    fn texts_need_no_announcement() {
        // Golden case 116.
        let notes = stream(&[
            r#"output_text.delta "item_id":"m","output_index":0,"content_index":0,"delta":"a""#,
            r#"output_text.delta "item_id":"n","delta":"b""#,
            DONE,
        ]);
        assert_eq!(notes, ["start - 0", "a", "b", "Stop", "End"]);
    }

    #[test]
    fn whole_arguments_without_any_delta() {
        // Golden case 116a.
        let added = r#"output_item.added "output_index":0,"item":{"type":"function_call","call_id":"a","name":"f","arguments":""}"#;
        let notes = stream(&[
            CREATED,
            added,
            r#"function_call_arguments.done "output_index":0,"arguments":"{\"a\":1}""#,
            DONE,
        ]);
        assert_eq!(notes[1..], ["open 0 a f", r#"args 0 {"a":1}"#, "ToolUse", "End"]);
        let custom = r#"output_item.added "output_index":0,"item":{"type":"custom_tool_call","call_id":"a","name":"p","input":""}"#;
        let notes = stream(&[
            CREATED,
            custom,
            r#"custom_tool_call_input.done "output_index":0,"input":"x\ny""#,
            DONE,
        ]);
        assert_eq!(notes[1..], ["open 0 a p!", "args 0 x\ny", "ToolUse", "End"]);
    }

    #[test]
    fn the_rest_of_arguments_is_said_and_a_contradiction_is_not() {
        let added = r#"output_item.added "output_index":0,"item":{"type":"function_call","call_id":"a","name":"f","arguments":""}"#;
        let run = |delta: &str, whole: &str| {
            let delta = format!(r#"function_call_arguments.delta "output_index":0,"delta":"{delta}""#);
            let whole = format!(r#"function_call_arguments.done "output_index":0,"arguments":"{whole}""#);
            stream(&[CREATED, added, &delta, &whole])[2..].to_vec()
        };
        assert_eq!(run(r#"{\"a\""#, r#"{\"a\":1}"#), [r#"args 0 {"a""#, "args 0 :1}"]);
        assert_eq!(run(r#"{\"b\""#, r#"{\"a\":1}"#), [r#"args 0 {"b""#, "Odd(Arguments)"]);
        assert_eq!(run("{}", "{}"), ["args 0 {}"]);
    }

    #[test]
    fn items_that_only_come_whole() {
        // Golden case 116b.
        let notes = stream(&[
            CREATED,
            r#"output_item.done "output_index":0,"item":{"type":"reasoning","id":"r","summary":[],"content":[{"type":"reasoning_text","text":"t"}]}"#,
            r#"output_item.done "output_index":1,"item":{"type":"message","content":[{"type":"output_text","text":"hi","annotations":[{"type":"url_citation","url":"u","title":"t","start_index":0,"end_index":2}]},{"type":"refusal","refusal":"no"}]}"#,
            r#"output_item.done "output_index":2,"item":{"type":"function_call","call_id":"a","name":"f","arguments":{"x": 1}}"#,
            r#"output_item.done "output_index":2,"item":{"type":"function_call","call_id":"a","name":"f","arguments":"{}"}"#,
            DONE,
        ]);
        let expected = [
            "thought t",
            "close",
            "hi",
            "cite u t Some((0, 2))",
            "close",
            "refusal no",
            "close",
            "open 0 a f",
            r#"object 0 {"x":1}"#,
            "close 0",
            "ToolUse",
            "End",
        ];
        assert_eq!(notes[1..], expected);
        let only_at_last = stream(&[
            CREATED,
            r#"output_text.delta "output_index":0,"delta":"a""#,
            r#"completed "response":{"status":"completed","output":[{"type":"reasoning","encrypted_content":"E","summary":[]},{"type":"message","content":[{"type":"output_text","text":"a"}]},{"type":"message","content":[{"type":"output_text","text":"b"}]}]}"#,
        ]);
        assert_eq!(only_at_last[1..], ["a", "close", "seal - E []", "break", "b", "close", "Stop", "End"]);
    }

    #[test]
    fn messages_are_paragraphs_and_parts_are_not() {
        let notes = stream(&[
            CREATED,
            r#"output_text.delta "output_index":0,"content_index":0,"delta":"a""#,
            r#"output_text.delta "output_index":0,"content_index":1,"delta":"b""#,
            r#"output_text.delta "output_index":1,"content_index":0,"delta":"c""#,
            r#"refusal.delta "output_index":1,"content_index":1,"delta":"d""#,
            r#"refusal.done "output_index":1,"content_index":1,"refusal":"d""#,
        ]);
        assert_eq!(notes[1..], ["a", "close", "b", "close", "break", "c", "close", "refusal d"]);
    }

    #[test]
    fn silent_parts_speak_when_they_are_done() {
        let notes = stream(&[
            CREATED,
            r#"output_item.added "output_index":0,"item":{"type":"message","content":[]}"#,
            r#"output_text.done "output_index":0,"content_index":0,"text":"a","logprobs":[]"#,
            r#"content_part.done "output_index":0,"content_index":0,"part":{"type":"output_text","text":"a"}"#,
            r#"content_part.done "output_index":0,"content_index":1,"part":{"type":"output_text","text":"b"}"#,
            r#"refusal.done "output_index":0,"content_index":2,"refusal":"r""#,
            r#"reasoning_summary_text.done "output_index":1,"summary_index":0,"text":"s""#,
            r#"reasoning_text.done "output_index":2,"content_index":0,"text":"t""#,
        ]);
        let expected = ["a", "close", "b", "close", "refusal r", "close", "thought s", "close", "thought t"];
        assert_eq!(notes[1..], expected);
    }

    #[test]
    fn what_concerns_only_the_provider_is_skipped() {
        let notes = stream(&[
            CREATED,
            r#"output_item.added "output_index":0,"item":{"type":"web_search_call","id":"ws"}"#,
            r#"web_search_call.completed "output_index":0,"item_id":"ws""#,
            r#"mcp_call_arguments.delta "output_index":0,"delta":"{}""#,
            r#"output_text.delta "output_index":0,"delta":"not of a search""#,
            r#"output_item.done "output_index":0,"item":{"type":"web_search_call","id":"ws"}"#,
            r#"output_item.added "output_index":1,"item":{"type":"novelty"}"#,
            r#"shell_call.done "output_index":1"#,
            r#"output_text.delta "output_index":2,"delta":7"#,
            DONE,
        ]);
        assert_eq!(notes[1..], ["Stop", "End"]);
        let mut decoder = Decoder::default();
        let mut none = |event: Event<'_>| panic!("{event:?}");
        decoder.event(None, r#"{"type":"keepalive"}"#, &mut none).unwrap();
        decoder.event(None, "[DONE]", &mut none).unwrap();
        assert!(decoder.event(None, "{\"type\":", &mut none).is_err());
    }

    #[test]
    fn endings() {
        let end = |event: &str| stream(&[CREATED, event])[1..].join(", ");
        for (reason, finish) in [
            ("max_output_tokens", "Length"),
            ("content_filter", "Refusal(None)"),
            ("max_messages", "Stop"),
            ("steered", "Stop"),
            ("model_context_window_exceeded", "ContextWindow"),
            ("novelty", "Odd(Finish), Stop"),
        ] {
            let event = format!(
                r#"incomplete "response":{{"status":"incomplete","incomplete_details":{{"reason":"{reason}"}},"output":[]}}"#
            );
            assert_eq!(end(&event), format!("{finish}, End"));
        }
        assert_eq!(end(r#"incomplete "response":{"status":"incomplete"}"#), "Length, End");
        assert_eq!(
            end(
                r#"failed "response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"slow"}}"#
            ),
            "fail rate_limit_exceeded slow"
        );
        assert_eq!(
            end(r#"in_progress "response":{"error":{"code":"server_error","message":"boom"}}"#),
            "fail server_error boom"
        );
        assert_eq!(end(r#"output_text.delta "output_index":0,"delta":"cut""#), "cut");
    }

    #[test]
    fn errors_have_two_shapes() {
        // Golden case 104, as far as the decoder is concerned.
        for data in [
            r#"{"type":"error","code":"insufficient_quota","message":"m","param":null}"#,
            r#"{"type":"error","error":{"type":"t","code":"insufficient_quota","message":"m"}}"#,
        ] {
            let mut notes = Vec::new();
            Decoder::default().event(Some("x"), data, &mut |event| notes.push(note(&event))).unwrap();
            assert_eq!(notes, ["fail insufficient_quota m"]);
        }
        let mut notes = Vec::new();
        let named = r#"{"code":"c","message":"m"}"#;
        Decoder::default().event(Some("error"), named, &mut |event| notes.push(note(&event))).unwrap();
        assert_eq!(notes, ["fail c m"]);
    }
}
