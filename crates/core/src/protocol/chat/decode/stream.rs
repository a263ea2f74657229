//! Decoding of a provider's answer, event by event.

use crate::canon::{
    Anomaly, Citation, DataUrl, Decode, Event, Finish, Profile, Rate, ReasoningIn, Seal, Sink, UpstreamError,
};
use crate::json::{self, JsonStr, Malformed, Raw};
use crate::protocol::chat::usage::{self, Habits};
use crate::protocol::pick::{elements, for_each_member, readable_fields_named};

use super::reasoning_details::ReasoningDetails;
use super::reasoning_tags::ReasoningTags;
use super::reply::{ChoiceWire, ChunkWire, DeltaWire};
use super::tool_calls::ToolCalls;

/// A decoder of a provider's answer.
#[derive(Debug)]
pub(in crate::protocol::chat) struct ChatDecoder {
    habits: Habits,
    /// Whether the provider wants plain reasoning back.
    returns: bool,
    finish_optional: bool,
    think: Option<ReasoningTags>,
    calls: ToolCalls,
    details: ReasoningDetails,
    started: bool,
    /// Whether the class of service was told.
    tier: bool,
    /// Whether there was any content.
    spoke: bool,
    /// Whether there is reasoning that was not sealed.
    thought: bool,
    reason: Option<Finish<'static>>,
    over: bool,
}

impl ChatDecoder {
    pub(in crate::protocol::chat) fn new(profile: &Profile) -> Self {
        Self {
            habits: Habits::of(profile),
            returns: profile.reasoning_in != ReasoningIn::None,
            finish_optional: profile.finish_optional,
            think: profile.think_tags.then(ReasoningTags::default),
            calls: ToolCalls::default(),
            details: ReasoningDetails::default(),
            started: false,
            tier: false,
            spoke: false,
            thought: false,
            reason: None,
            over: false,
        }
    }
}

impl Decode for ChatDecoder {
    fn event(&mut self, name: Option<&str>, data: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if self.over {
            return Ok(());
        }
        if data.trim() == DONE {
            if self.reason.is_some() || self.spoke || self.finish_optional && self.started {
                self.finish(sink);
            }
            return Ok(());
        }
        let chunk = ChunkWire::read(data)?;
        if chunk.error || name == Some("error") && chunk.choices.is_none() {
            self.fail(UpstreamError::read(data.as_bytes()), sink);
            return Ok(());
        }
        self.chunk(&chunk, chunk.choice(), false, sink);
        Ok(())
    }

    fn reply(&mut self, body: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let chunk = ChunkWire::read(body)?;
        let choice = chunk.choice();
        if chunk.error && choice.is_none() {
            self.fail(UpstreamError::read(body.as_bytes()), sink);
            return Ok(());
        }
        let has_choice = choice.is_some();
        self.chunk(&chunk, choice, true, sink);
        if has_choice && !self.over {
            self.finish(sink);
        }
        Ok(())
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        let ended = self.reason.is_some() || self.finish_optional && self.started;
        if ended && !self.over {
            self.finish(sink);
        }
    }

    fn has_finished(&self) -> bool {
        self.reason.is_some()
    }
}

impl ChatDecoder {
    /// Reads one event, or a complete body if `whole`.
    fn chunk(
        &mut self,
        chunk: &ChunkWire<'_>,
        choice: Option<ChoiceWire<'_>>,
        whole: bool,
        sink: &mut Sink<'_>,
    ) {
        if let Some(choice) = &choice
            && choice.error
        {
            return self.fail(UpstreamError::read(choice.text.as_bytes()), sink);
        }
        let counts = chunk.usage.or_else(|| choice.as_ref()?.usage).or(chunk.nested_usage);
        self.start(chunk, choice.is_some() || counts.is_some(), sink);
        if let Some(mut counts) = counts.and_then(|json| usage::read_as(json.as_bytes(), self.habits)) {
            let tier = chunk.tier.as_ref().and_then(|tier| Rate::of_tier(&tier.decode()));
            counts.rates = counts.rates.and(tier.into_iter().collect());
            sink(Event::Usage(counts));
        }
        let Some(choice) = choice else { return };
        if let Some((said, whole)) = choice.delta_or_message(whole) {
            self.delta(&DeltaWire::read(said), whole, sink);
        }
        if let Some(probabilities) = choice.logprobs {
            logprobs(probabilities, sink);
        }
        if let Some(reason) = &choice.finish {
            self.remember(reason, choice.stop.as_ref(), sink);
        }
    }

    /// Starts the answer at the first chunk with content: one provider sends a report of its filter before it.
    fn start(&mut self, chunk: &ChunkWire<'_>, says: bool, sink: &mut Sink<'_>) {
        let id = chunk.id.as_ref().filter(|id| !id.is_empty());
        if !self.started && (says || id.is_some()) {
            self.started = true;
            sink(Event::Start { id: id.map(JsonStr::decode), created: chunk.created });
        }
        if !self.tier
            && self.started
            && let Some(tier) = &chunk.tier
        {
            self.tier = true;
            sink(Event::Tier(tier.decode()));
        }
    }

    fn delta(&mut self, delta: &DeltaWire<'_>, whole: bool, sink: &mut Sink<'_>) {
        self.reasoning(delta, sink);
        if let Some(content) = delta.content {
            self.content(content, sink);
        }
        if let Some(refusal) = delta.refusal.and_then(JsonStr::read).filter(|text| !text.is_empty()) {
            self.speak(sink);
            sink(Event::Refusal(refusal));
        }
        if let Some(annotations) = delta.annotations {
            elements(annotations).for_each(|item| cite(item, sink));
        }
        if let Some(images) = delta.images {
            elements(images).for_each(|item| self.image(item, sink));
        }
        if let Some(calls) = delta.tool_calls {
            elements(calls).for_each(|item| self.call(item, whole, sink));
        }
        if let Some(call) = delta.function_call {
            self.speak(sink);
            self.calls.legacy(call, sink);
        }
    }

    fn reasoning(&mut self, delta: &DeltaWire<'_>, sink: &mut Sink<'_>) {
        let mut any = false;
        if let Some(details) = delta.details {
            elements(details).for_each(|entry| {
                any = true;
                if let Some(text) = self.details.take(entry) {
                    (self.thought, self.spoke) = (true, true);
                    sink(Event::Thought(text));
                }
            });
        }
        if any {
            return;
        }
        let plain = [delta.reasoning_content, delta.reasoning];
        let text = plain.into_iter().flatten().filter_map(JsonStr::read).find(|text| !text.is_empty());
        if let Some(text) = text {
            self.think(text, sink);
        }
    }

    fn think(&mut self, text: JsonStr<'_>, sink: &mut Sink<'_>) {
        (self.thought, self.spoke) = (true, true);
        sink(Event::Thought(text));
    }

    /// Takes a text or a list of parts.
    fn content(&mut self, content: &str, sink: &mut Sink<'_>) {
        if let Some(text) = JsonStr::read(content) {
            return self.text(text, sink);
        }
        elements(content).for_each(|item| {
            let (mut kind, mut text, mut thinking) = (None, None, None);
            for_each_member(item, |key, value| match key {
                b"type" => kind = Some(value),
                b"text" => text = JsonStr::read(value),
                b"thinking" => thinking = Some(value),
                _ => {}
            });
            match (kind, text, thinking) {
                (Some("\"text\""), Some(text), _) => self.text(text, sink),
                (Some("\"thinking\""), _, Some(thinking)) => self.thinking_part(thinking, sink),
                (Some("\"image_url\""), ..) => self.image(item, sink),
                _ => {}
            }
        });
    }

    /// Takes `{"type":"image_url","image_url":{"url":…}}`. An image that lies elsewhere becomes a link in the text.
    fn image(&mut self, item: &str, sink: &mut Sink<'_>) {
        let [image] = readable_fields_named(item, ["image_url"]);
        let [inner] = image.map_or([None], |image| readable_fields_named(image, ["url"]));
        let url = inner.or(image).and_then(JsonStr::read).filter(|url| !url.is_empty());
        let Some(url) = url else { return };
        self.speak(sink);
        if DataUrl::is_one(url.raw()) {
            return sink(Event::Image(url));
        }
        let [open, close] = [JsonStr::plain("![image]("), JsonStr::plain(")")];
        sink(Event::Close(None));
        sink(Event::Break);
        sink(Event::Text(JsonStr::concat(&[&open, &url, &close])));
    }

    /// Takes a text or a list of text parts.
    fn thinking_part(&mut self, thinking: &str, sink: &mut Sink<'_>) {
        if let Some(text) = JsonStr::read(thinking).filter(|text| !text.is_empty()) {
            return self.think(text, sink);
        }
        elements(thinking).for_each(|item| {
            for_each_member(item, |key, value| {
                if key == b"text"
                    && let Some(text) = JsonStr::read(value).filter(|text| !text.is_empty())
                {
                    self.think(text, sink);
                }
            });
        });
    }

    fn text(&mut self, text: JsonStr<'_>, sink: &mut Sink<'_>) {
        match &mut self.think {
            Some(think) if !think.is_over() => {
                let (thought, rest) = think.push(&text);
                self.split(&thought, &rest, sink);
            }
            _ => self.say(text, sink),
        }
    }

    /// Passes on the text inside of the tags, and the text behind them.
    fn split(&mut self, thought: &str, text: &str, sink: &mut Sink<'_>) {
        if !thought.is_empty() {
            self.think(JsonStr::part(thought), sink);
        }
        self.say(JsonStr::part(text), sink);
    }

    fn say(&mut self, text: JsonStr<'_>, sink: &mut Sink<'_>) {
        if !text.is_empty() {
            self.speak(sink);
            sink(Event::Text(text));
        }
    }

    fn call(&mut self, call: &str, whole: bool, sink: &mut Sink<'_>) {
        self.speak(sink);
        self.calls.take(call, whole, sink);
    }

    /// Completes the reasoning so far, because other content follows.
    fn speak(&mut self, sink: &mut Sink<'_>) {
        self.spoke = true;
        self.seal(sink);
    }

    fn seal(&mut self, sink: &mut Sink<'_>) {
        if let Some(details) = self.details.seal() {
            sink(Event::Seal(Seal::Details(details)));
        } else if self.thought && self.returns {
            sink(Event::Seal(Seal::Plain));
        }
        self.thought = false;
    }

    /// Keeps the finish reason. More may follow: text, calls, usage, and another reason.
    fn remember(&mut self, reason: &JsonStr<'_>, stop: Option<&JsonStr<'_>>, sink: &mut Sink<'_>) {
        let reason = reason.decode().to_ascii_lowercase();
        let finish = match reason.as_str() {
            "" => return,
            word if CUT_OFF.contains(&word) => {
                return self.fail(UpstreamError { code: Some(reason), ..UpstreamError::default() }, sink);
            }
            word if CALLED.contains(&word) => Finish::ToolUse,
            word if LIMITED.contains(&word) => Finish::Length,
            "content_filter" | "safety" | "recitation" | "blocklist" | "refusal" | "sensitive" => {
                Finish::Refusal(None)
            }
            "context_length_exceeded" | "model_context_window_exceeded" => Finish::ContextWindow,
            word if STOPPED.contains(&word) => match stop {
                Some(text) => Finish::StopSequence(Some(text.clone().into_owned())),
                None => Finish::Stop,
            },
            _ => {
                sink(Event::Anomaly(Anomaly::Finish));
                Finish::Unknown
            }
        };
        let weaker =
            self.reason == Some(Finish::ToolUse) && matches!(finish, Finish::Stop | Finish::StopSequence(_));
        if !weaker {
            self.reason = Some(finish);
        }
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        if let Some((thought, text)) = self.think.as_mut().map(ReasoningTags::end) {
            self.split(&thought, &text, sink);
        }
        self.seal(sink);
        if self.calls.is_nameless() {
            return self.fail(nameless(), sink);
        }
        self.over = true;
        let called = self.calls.any();
        sink(Event::Finish(match self.reason.take() {
            // Several servers report `stop` although tools were called.
            None | Some(Finish::Stop | Finish::StopSequence(_) | Finish::Unknown) if called => {
                Finish::ToolUse
            }
            None => Finish::Stop,
            Some(reason) => reason,
        }));
        sink(Event::End);
    }

    fn fail(&mut self, error: UpstreamError, sink: &mut Sink<'_>) {
        self.over = true;
        sink(Event::Fail(error));
    }
}

fn nameless() -> UpstreamError {
    UpstreamError {
        message: "The provider called a tool without naming it.".to_owned(),
        code: Some("upstream_invalid_tool_call".to_owned()),
        ..UpstreamError::default()
    }
}

fn logprobs(json: &str, sink: &mut Sink<'_>) {
    for_each_member(json, |key, value| {
        if key == b"content"
            && json::elements(value.as_bytes()).next().is_some_and(|first| first.is_ok())
            && let Some(list) = Raw::read(value)
        {
            sink(Event::Logprobs(list));
        }
    });
}

/// Reads `{"type":"url_citation","url_citation":{url,title,start_index,end_index}}`.
fn cite(item: &str, sink: &mut Sink<'_>) {
    let (mut url, mut title, mut start, mut end) = (None, None, None, None);
    for_each_member(item, |key, value| {
        if key == b"url_citation" {
            for_each_member(value, |key, value| match key {
                b"url" => url = JsonStr::read(value),
                b"title" => title = JsonStr::read(value),
                b"start_index" => start = value.parse().ok(),
                b"end_index" => end = value.parse().ok(),
                _ => {}
            });
        }
    });
    sink(url.map_or(Event::Anomaly(Anomaly::Citation), |url| {
        Event::Cite(Citation { url, title: title.unwrap_or_default(), span: start.zip(end) })
    }));
}

const DONE: &str = "[DONE]";

/// Finish reasons of answers that the model has ended itself, in the words of several servers.
const STOPPED: [&str; 8] =
    ["stop", "stop_sequence", "eos", "eos_token", "end_turn", "end_of_text", "complete", "completed"];

/// Finish reasons of answers that call tools.
const CALLED: [&str; 4] = ["tool_calls", "tool_call", "tool_use", "function_call"];

/// Finish reasons of answers that have reached the limit of their tokens.
const LIMITED: [&str; 5] = ["length", "max_tokens", "max_output_tokens", "max_length", "model_length"];

/// Finish reasons that say that the answer was cut off by a failure.
const CUT_OFF: [&str; 13] = [
    "error",
    "abort",
    "aborted",
    "cancelled",
    "canceled",
    "failed",
    "network_error",
    "connection_error",
    "server_error",
    "internal_error",
    "upstream_error",
    "timeout",
    "insufficient_system_resource",
];

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
