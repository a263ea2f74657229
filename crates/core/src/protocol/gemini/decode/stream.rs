//! Decoding of a provider's answer, event by event.

use crate::canon::{Anomaly, Args, Decode, Event, Finish, Seal, Sink, UpstreamError};
use crate::json::{JsonStr, Malformed, Raw, compact, write};
use crate::protocol::gemini::usage;
use crate::protocol::pick::{elements, fields_named, short_text};

use super::grounding::SaidText;
use super::partial_args::PartialArgs;
use super::reply::{AnswerWire, CandidateWire, PartWire};

/// A decoder of a provider's answer. Each event of a stream is an answer of its own, with pieces of the whole.
#[derive(Debug, Default)]
pub(in crate::protocol::gemini) struct GeminiDecoder {
    has_started: bool,
    has_tier: bool,
    /// Number of calls so far.
    calls: u32,
    /// Whether there was text.
    has_text: bool,
    said: SaidText,
    /// The call whose arguments come in pieces, and its key.
    partial: Option<(u32, PartialArgs)>,
    reason: Option<Reason>,
    is_over: bool,
}

/// The way in which an answer ends.
#[derive(Debug)]
enum Reason {
    Finish(Finish<'static>),
    Fail(UpstreamError),
    /// A reason that tells nothing: it is a failure if there is no content.
    Other,
}

impl Decode for GeminiDecoder {
    fn event(&mut self, _: Option<&str>, data: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if !self.is_over {
            let wire = AnswerWire::read(data)?;
            self.answer(data, &wire, sink);
        }
        Ok(())
    }

    fn reply(&mut self, body: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        // A stream that was not asked for as events is an array of the same objects.
        if body.starts_with('[') {
            for answer in elements(body) {
                self.event(None, answer, sink)?;
            }
        } else {
            self.event(None, body, sink)?;
        }
        if !self.is_over && self.has_started {
            self.reason.get_or_insert(Reason::Other);
            self.finish(sink);
        }
        Ok(())
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        if !self.is_over && self.reason.is_some() {
            self.finish(sink);
        }
    }

    fn has_finished(&self) -> bool {
        self.reason.is_some()
    }
}

impl GeminiDecoder {
    fn answer(&mut self, data: &str, wire: &AnswerWire<'_>, sink: &mut Sink<'_>) {
        if wire.is_error {
            self.is_over = true;
            return sink(Event::Fail(UpstreamError::read(data.as_bytes())));
        }
        if !self.has_started && (wire.candidates.is_some() || wire.usage.is_some() || wire.blocked.is_some())
        {
            self.has_started = true;
            sink(Event::Start { id: wire.id.as_ref().map(JsonStr::decode), created: None });
        }
        if let Some(counts) = wire.usage {
            if let Some(part) = usage::read(counts.as_bytes()) {
                sink(Event::Usage(part));
            }
            if !self.has_tier
                && let Some(tier) = usage::tier(counts)
            {
                self.has_tier = true;
                sink(Event::Tier(tier.into()));
            }
        }
        if let Some((_, words)) = &wire.blocked {
            let words = words.clone().map(JsonStr::into_owned);
            self.reason = Some(Reason::Finish(Finish::Refusal(words)));
        }
        if let Some(candidate) = wire.candidate() {
            self.candidate(&candidate, sink);
        }
    }

    fn candidate(&mut self, candidate: &CandidateWire<'_>, sink: &mut Sink<'_>) {
        match candidate.parts {
            Some(parts) if parts.starts_with('{') => self.part(parts, sink),
            Some(parts) => elements(parts).for_each(|part| self.part(part, sink)),
            None => {}
        }
        if let Some(grounding) = candidate.grounding {
            self.said.read(grounding, sink);
        }
        if let Some(list) = candidate.logprobs.and_then(logprobs) {
            sink(Event::Logprobs(list));
        }
        if let Some(reason) = candidate.finish {
            self.reason = Some(reason_of(reason, candidate.finish_message.as_ref(), sink));
        }
    }

    fn part(&mut self, json: &str, sink: &mut Sink<'_>) {
        let part = PartWire::read(json);
        if let Some(call) = part.call {
            return self.call(call, part.signature.as_ref(), sink);
        }
        match part.text {
            Some(text) if part.is_thought => {
                if !text.is_empty() {
                    sink(Event::Thought(text));
                }
            }
            Some(text) => {
                if !text.is_empty() {
                    self.has_text = true;
                    self.said.add(&text);
                    sink(Event::Text(text));
                }
            }
            None if part.is_hosted => {}
            None => sink(Event::Anomaly(Anomaly::Content)),
        }
        if let Some(signature) = part.signature {
            sink(Event::Seal(Seal::Text(signature)));
        }
    }

    fn call(&mut self, json: &str, signature: Option<&JsonStr<'_>>, sink: &mut Sink<'_>) {
        let [id, name, args, pieces, goes_on] =
            fields_named(json, ["id", "name", "args", "partialArgs", "willContinue"]);
        let (name, goes_on) = (name.map(short_text).unwrap_or_default(), goes_on == Some("true"));
        if name.is_empty() {
            return self.pieces(pieces, goes_on, sink);
        }
        self.close(sink);
        let (key, id) = (self.calls, id.map(short_text).unwrap_or_default());
        self.calls += 1;
        if let Some(signature) = signature {
            sink(Event::Seal(Seal::Call { key, id: JsonStr::of(&id), extra: extra(signature) }));
        }
        sink(Event::Open { key, id, namespace: None, name, custom: false });
        if goes_on {
            self.partial = Some((key, PartialArgs::new()));
            return self.pieces(pieces, goes_on, sink);
        }
        sink(Event::Args { key, part: Args::Raw(arguments(args.unwrap_or("{}"))) });
        sink(Event::Close(Some(key)));
    }

    /// Takes pieces of the open call's arguments. The call ends unless it goes on.
    fn pieces(&mut self, pieces: Option<&str>, goes_on: bool, sink: &mut Sink<'_>) {
        match &mut self.partial {
            Some((_, args)) => args.take(pieces.unwrap_or("[]")),
            None => sink(Event::Anomaly(Anomaly::Content)),
        }
        if !goes_on {
            self.close(sink);
        }
    }

    /// Ends the call whose arguments came in pieces, if there is one.
    fn close(&mut self, sink: &mut Sink<'_>) {
        if let Some((key, args)) = self.partial.take() {
            sink(Event::Args { key, part: Args::Raw(args.json()) });
            sink(Event::Close(Some(key)));
        }
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        // A call that is cut off by the limit stays open: nobody may run it.
        match self.reason {
            Some(Reason::Finish(Finish::Length)) => self.partial = None,
            _ => self.close(sink),
        }
        self.is_over = true;
        let has_calls = self.calls > 0;
        let finish = match self.reason.take() {
            Some(Reason::Fail(_)) if has_calls => Finish::ToolUse,
            Some(Reason::Fail(error)) => return sink(Event::Fail(error)),
            Some(Reason::Finish(Finish::Stop)) | None if has_calls => Finish::ToolUse,
            Some(Reason::Finish(finish)) => finish,
            Some(Reason::Other) if has_calls => Finish::ToolUse,
            Some(Reason::Other) if !self.has_text => {
                return sink(Event::Fail(failed("The provider's answer is empty.")));
            }
            Some(Reason::Other) | None => Finish::Stop,
        };
        sink(Event::Finish(finish));
        sink(Event::End);
    }
}

/// Returns the meaning of a finish reason.
fn reason_of(reason: &str, words: Option<&JsonStr<'_>>, sink: &mut Sink<'_>) -> Reason {
    let refusal = || Reason::Finish(Finish::Refusal(words.map(|words| words.clone().into_owned())));
    match &*short_text(reason) {
        "STOP" => Reason::Finish(Finish::Stop),
        "MAX_TOKENS" | "CONTINUATION" => Reason::Finish(Finish::Length),
        word if REFUSALS.contains(&word) => refusal(),
        word if LOST.contains(&word) => {
            Reason::Fail(failed("The provider could not read the model's answer."))
        }
        "MISSING_THOUGHT_SIGNATURE" => Reason::Fail(UpstreamError {
            kind: Some("invalid_request_error".to_owned()),
            ..failed("A call in the conversation lacks its thought signature.")
        }),
        "PUP_LIMITED_DISABLED" => {
            Reason::Fail(UpstreamError { kind: Some("billing_error".to_owned()), ..UpstreamError::default() })
        }
        "" => match reason {
            "1" => Reason::Finish(Finish::Stop),
            "2" => Reason::Finish(Finish::Length),
            "3" | "4" => refusal(),
            _ => Reason::Other,
        },
        _ => {
            sink(Event::Anomaly(Anomaly::Finish));
            Reason::Other
        }
    }
}

fn failed(message: &str) -> UpstreamError {
    UpstreamError { message: message.to_owned(), ..UpstreamError::default() }
}

/// Returns the state of a call in the form that it has in Chat, so that both protocols of a provider share it.
fn extra(signature: &JsonStr<'_>) -> Raw<'static> {
    let mut out = Vec::new();
    write::object(&mut out, |o| {
        o.object("google", |o| {
            o.json_str("thought_signature", signature);
        });
    });
    String::from_utf8(out).ok().and_then(Raw::read_owned).unwrap_or(Raw::constant("{}"))
}

/// Returns arguments without white space between their tokens.
fn arguments(json: &str) -> Raw<'static> {
    let mut out = Vec::with_capacity(json.len());
    compact(json, &mut out);
    String::from_utf8(out).ok().and_then(Raw::read_owned).unwrap_or(Raw::constant("{}"))
}

/// Returns token probabilities in OpenAI's form.
fn logprobs(json: &str) -> Option<Raw<'static>> {
    let [chosen, top] = fields_named(json, ["chosenCandidates", "topCandidates"]);
    let mut others = elements(top.unwrap_or("[]"));
    let mut out = Vec::new();
    write::array(&mut out, |list| {
        for token in elements(chosen.unwrap_or("[]")) {
            let [alternatives] = others.next().map_or([None], |top| fields_named(top, ["candidates"]));
            list.object(|o| {
                probability(token, o);
                o.array("top_logprobs", |list| {
                    for other in elements(alternatives.unwrap_or("[]")) {
                        list.object(|o| probability(other, o));
                    }
                });
            });
        }
    });
    String::from_utf8(out).ok().filter(|list| list != "[]").and_then(Raw::read_owned)
}

fn probability(token: &str, o: &mut write::Object<'_>) {
    let [text, value] = fields_named(token, ["token", "logProbability"]);
    let text = text.and_then(JsonStr::read).unwrap_or_default();
    o.json_str("token", &text).json("logprob", value.unwrap_or("0")).null("bytes");
}

/// Finish reasons of filters.
const REFUSALS: &[&str] = &[
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "ESCALATION",
    "MODEL_ARMOR",
];

/// Finish reasons that say that the model's words are lost.
const LOST: &[&str] =
    &["UNEXPECTED_TOOL_CALL", "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "TOO_MANY_TOOL_CALLS"];
