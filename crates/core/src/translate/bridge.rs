//! The bridge between a client and a provider that speak different protocols.
//!
//! A request is read into the canonical form and written in the provider's protocol. An answer is read event by
//! event, restored to the client's names, and written in the client's protocol, as a stream or collected. There is
//! no code for any particular pair of protocols.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use memchr::memmem;

use crate::canon::ReasoningIn;
use crate::canon::{
    Anomaly, Compaction, Context, Decode, ECHO_MARK, Form, Losses, Profile, Request, ResponseMetadata,
    Target, ThinkingMode, ToolNames, UpstreamError, Usage,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::{self, Document, JsonStr, Lenient as _, Raw, repair};
use crate::protocol::{Protocol, Written};
use crate::sse::{self, Framer};

use super::conform::{Conformed, conform};
use super::ping;
use super::pipeline::{Pipeline, PipelineOutput};
use super::response_rewriter::ResponseRewriter;
use super::source::ServedModel;
use super::{OwnKeys, read_error};

/// A request in the provider's protocol, and the facts that its answer is written from.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rendered {
    /// The body for the provider.
    pub body: Bytes,
    /// The members that could not be carried.
    pub losses: Losses,
    /// The facts that the answer is written from.
    pub context: Arc<Context>,
    /// The form in which the client wants the answer.
    pub form: Form,
    /// Estimated number of tokens in the request; 0 unless they are counted.
    pub estimate: u64,
    /// The beta feature of the provider that the request makes use of.
    pub beta: Option<&'static str>,
}

/// The facts of a request besides its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'f> {
    /// The gateway's id of the request.
    pub request_id: &'f str,
    /// Seconds since the epoch.
    pub now: u64,
    /// The model as the client named it.
    pub model: &'f str,
    /// Whether a loss is a refusal.
    pub strict: bool,
    /// Whether only its tokens are to be counted.
    pub counting: bool,
    /// Upper limit of the tokens in the answer, whatever the client asks for.
    pub output_cap: Option<u64>,
}

/// Writes a client's request for a provider that speaks another protocol.
///
/// # Errors
/// Returns 400 if something is wrong with the request, or cannot be carried in strict mode.
pub fn render(
    client: &dyn Protocol,
    body: &[u8],
    target: &Target<'_>,
    facts: &RequestFacts<'_>,
) -> Result<Rendered> {
    render_for(client, body, target, facts, Purpose::Answer)
}

/// Writes a client's request for a summary of its conversation like [`render`].
///
/// # Errors
/// Returns 400 if something is wrong with the request, or cannot be carried in strict mode.
pub fn render_compaction(
    client: &dyn Protocol,
    body: &[u8],
    target: &Target<'_>,
    facts: &RequestFacts<'_>,
) -> Result<Rendered> {
    render_for(client, body, target, facts, Purpose::Compaction)
}

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// An answer, which may be a summary if the conversation itself asks for one.
    Answer,
    /// A summary and the user's messages, which a conversation goes on with.
    Compaction,
}

fn render_for(
    client: &dyn Protocol,
    body: &[u8],
    target: &Target<'_>,
    facts: &RequestFacts<'_>,
    purpose: Purpose,
) -> Result<Rendered> {
    let text = repair::utf8(body);
    let mut document = Document::read(text.trim_start_matches('\u{feff}'));
    let repaired;
    // The pass over the document shows whether a search for lone surrogates is needed.
    if document.may_hold_lone_surrogates()
        && let Some(whole) = repair::without_lone_surrogates(document.text(), false)
    {
        repaired = whole;
        document = Document::read(&repaired);
    }
    let upstream = target.protocol.protocol();
    let mut losses = Losses::new(facts.strict).told_to(client.id());
    let mut request = client.decode_request(&document, target, &mut losses)?;
    request.counting = facts.counting;
    if purpose == Purpose::Compaction {
        request.stream = false;
    }
    if purpose == Purpose::Compaction || request.compacts {
        request.ask_for_summary();
    }
    request.max_output = match (request.max_output, facts.output_cap) {
        (Some(asked), Some(cap)) => Some(asked.min(cap)),
        (asked, cap) => asked.or(cap),
    };
    if !facts.counting {
        client.check_request(&request)?;
    }
    let Conformed { properties, call_ids } = conform(&mut request, target, &mut losses)?;
    let longest = target.profile.tool_name_max.map_or_else(|| upstream.max_tool_name_len(), usize::from);
    let takes_custom_tools = upstream.takes_custom_tools(target.profile);
    let mut names = match upstream.names_tools_by_identifiers() {
        true => ToolNames::identifiers(&request.tools, longest, takes_custom_tools),
        false => ToolNames::new(&request.tools, longest, takes_custom_tools),
    };
    request.turns.iter().for_each(|turn| names.add(&turn.tools, takes_custom_tools));
    let mut out = Vec::with_capacity(body.len() + body.len() / 8 + ROOM);
    let Written { answer_tool, prefix, beta } =
        upstream.encode_request(&request, target, &names, &mut losses, &mut out)?;
    if !facts.counting {
        add(&mut out, &target.profile.extra_body);
    }
    let echo = client.echo(&document);
    let kept = (purpose == Purpose::Compaction).then(|| client.kept_messages(&document, facts.request_id));
    let compaction = request.compacts.then_some(Compaction { kept });
    let known = known(&request, target, facts);
    let context = Context { names, properties, call_ids, answer_tool, prefix, echo, compaction, ..known };
    let form = Form::of_stream(request.stream && !facts.counting);
    let estimate = if facts.counting { super::count::estimate(&request) } else { 0 };
    Ok(Rendered { body: out.into(), losses, context: Arc::new(context), form, estimate, beta })
}

/// Returns the facts of a client's request that its answer needs, where the request went to the provider as it is and
/// the answer comes back in another form.
///
/// # Errors
/// Returns 400 if the request is invalid, or has members that only its provider understands.
pub fn context(
    client: &dyn Protocol,
    body: &[u8],
    target: &Target<'_>,
    facts: &RequestFacts<'_>,
) -> Result<Context> {
    let text = repair::repair(body);
    let document = Document::read(text.trim_start_matches('\u{feff}'));
    let request = client.decode_request(&document, target, &mut Losses::new(false))?;
    Ok(Context { echo: client.echo(&document), ..known(&request, target, facts) })
}

/// Returns the facts that are known before the request is written.
fn known(request: &Request<'_>, target: &Target<'_>, facts: &RequestFacts<'_>) -> Context {
    let off = request.thinking.mode == Some(ThinkingMode::Off);
    Context {
        request_id: facts.request_id.to_owned(),
        now: facts.now,
        model: JsonStr::of(facts.model),
        origin: target.origin.to_owned(),
        upstream_model: target.model.to_owned(),
        sealer: target.sealer.clone(),
        include_usage: request.include_usage,
        show_reasoning: request.thinking.show.or_else(|| off.then_some(false)),
        returns_reasoning: target.profile.reasoning_in != ReasoningIn::None,
        stop: request.stop.iter().map(|stop| stop.decode().into_owned()).collect(),
        ..Context::default()
    }
}

/// Adds members to a written object, unless it has them.
fn add(object: &mut Vec<u8>, extra: &BTreeMap<String, Raw<'static>>) {
    for (name, value) in extra {
        let known = json::members(object).lenient().any(|member| member.is(name));
        if !known && object.pop().is_some() {
            let member = format!(",{}:{}}}", json::write::literal(name), value.get());
            object.extend_from_slice(member.as_bytes());
        }
    }
}

/// The translation of one answer, from the provider's bytes to the client's.
#[derive(Debug)]
pub struct Bridge {
    decoder: Box<dyn Decode>,
    framer: Framer,
    pipeline: Pipeline,
    context: Arc<Context>,
    /// Number of events that were not JSON.
    odd: u32,
    /// Whether the provider has shown that it is alive since this was last asked.
    pinged: bool,
    source: ServedModel,
}

impl Bridge {
    /// Makes a bridge that brings the answer of a provider of `upstream`'s protocol to a client of `client`'s, in
    /// this form, from events of at most `limit` bytes.
    #[must_use]
    pub fn new(
        client: &dyn Protocol,
        upstream: &dyn Protocol,
        profile: &Profile,
        context: Arc<Context>,
        form: Form,
        limit: usize,
    ) -> Self {
        let output = match form {
            Form::Stream => {
                PipelineOutput::Stream { encoder: client.encoder(Arc::clone(&context)), ready: Vec::new() }
            }
            Form::Whole => PipelineOutput::Whole(Box::default()),
        };
        let pipeline = Pipeline::new(ResponseRewriter::new(Arc::clone(&context), client.id()), output);
        let source = ServedModel::new(upstream.id().protocol());
        Self {
            decoder: upstream.decoder(profile),
            framer: Framer::new(limit),
            pipeline,
            context,
            odd: 0,
            pinged: false,
            source,
        }
    }

    /// Removes these keys from failures.
    #[must_use]
    pub fn hiding(mut self, keys: &Arc<OwnKeys>) -> Self {
        self.pipeline.keys = Arc::clone(keys);
        self
    }

    /// Takes a chunk of a provider's stream, cut anywhere.
    ///
    /// # Errors
    /// Returns the failure that the provider reports, or 502 if its stream is invalid.
    pub fn push(&mut self, chunk: Bytes) -> Result<()> {
        let Self { framer, decoder, pipeline, odd, pinged, source, .. } = self;
        pipeline.output.reserve(chunk.len());
        let block = framer.push(chunk).map_err(|_| super::too_large("upstream_event_too_large"))?;
        let Some(block) = block else { return Ok(()) };
        for span in block.events() {
            let event = block.bytes.get(span).unwrap_or_default();
            source.look(event);
            *pinged |= ping::is_ping(event);
            read(decoder.as_mut(), pipeline, odd, event)?;
        }
        Ok(())
    }

    /// Takes a complete answer that is not a stream.
    ///
    /// # Errors
    /// Returns the failure that the provider reports, or 502 if the body is not a complete answer.
    pub fn reply(&mut self, body: &[u8]) -> Result<()> {
        let Self { decoder, pipeline, source, .. } = self;
        let text = repair::repair(body);
        let text = text.trim_start_matches('\u{feff}').trim();
        source.look_at_all(text);
        let read = decoder.reply(text, &mut |event| pipeline.take_in_pieces(event));
        read.map_err(|malformed| Failure::provider(format!("the answer is not JSON: {malformed}")))?;
        pipeline.check()?;
        if pipeline.ended { Ok(()) } else { Err(Failure::provider("the answer is incomplete")) }
    }

    /// Takes the end of a provider's stream.
    ///
    /// # Errors
    /// Returns 502 if the answer is not complete, or the failure that the provider's last event reports.
    pub fn end(&mut self) -> Result<()> {
        let rest = self.framer.rest();
        let Self { decoder, pipeline, odd, .. } = self;
        if !rest.is_empty() {
            // A complete last event counts even without its blank line.
            let mut ignored = *odd;
            let _ = read(decoder.as_mut(), pipeline, &mut ignored, &rest);
        }
        pipeline.check()?;
        if !pipeline.ended {
            decoder.end(&mut |event| pipeline.take(event));
            pipeline.check()?;
        }
        if pipeline.ended { Ok(()) } else { Err(Failure::truncated()) }
    }

    /// Returns the number of bytes that are kept of an unfinished event.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.framer.kept()
    }

    /// Whether the answer has reported why it ends, so that only its token counts and its end may follow.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.pipeline.ended || self.decoder.has_finished()
    }

    /// Whether the provider has shown that it is alive since this was last asked, without saying anything.
    pub fn take_ping(&mut self) -> bool {
        std::mem::take(&mut self.pinged) && !self.pipeline.ended
    }

    /// Returns the bytes that are ready for a client of a stream.
    pub fn ready(&mut self) -> Bytes {
        match self.pieces() {
            (first, rest) if rest.is_empty() => first,
            (first, rest) => [&[first], rest.as_slice()].concat().concat().into(),
        }
    }

    /// Returns the bytes like [`Bridge::ready`], but in pieces: large parts are shared and not copied.
    pub fn pieces(&mut self) -> (Bytes, Vec<Bytes>) {
        let PipelineOutput::Stream { ready, .. } = &mut self.pipeline.output else {
            return Default::default();
        };
        let mut rest = Bytes::from(std::mem::take(ready));
        let Some(echo) = self.context.large_echo() else { return (rest, Vec::new()) };
        let mut pieces = Vec::new();
        while let Some(at) = memmem::find(&rest, ECHO_MARK) {
            pieces.extend([rest.split_to(at), echo.clone()]);
            rest.advance(ECHO_MARK.len());
        }
        if pieces.is_empty() {
            return (rest, pieces);
        }
        pieces.push(rest);
        (pieces.remove(0), pieces)
    }

    /// Returns the complete answer for a client that asked for no stream.
    #[must_use]
    pub fn whole(&self, client: &dyn Protocol, context: &Context) -> Bytes {
        match &self.pipeline.output {
            PipelineOutput::Whole(answer) => client.encode_reply(answer, context),
            PipelineOutput::Stream { .. } => Bytes::new(),
        }
    }

    /// Ends the client's stream with a failure, in its own grammar, and returns the bytes that are ready.
    pub fn fail(&mut self, failure: &Failure) -> Bytes {
        self.tell(failure);
        self.ready()
    }

    /// Ends the client's stream with a failure, as an event of its protocol.
    pub fn tell(&mut self, failure: &Failure) {
        if let PipelineOutput::Stream { encoder, ready } = &mut self.pipeline.output {
            encoder.fail(failure, ready);
        }
    }

    /// Makes the bytes ready that keep a waiting client's stream alive.
    pub fn keep_alive(&mut self) {
        if let PipelineOutput::Stream { encoder, ready } = &mut self.pipeline.output {
            encoder.keep_alive(ready);
        }
    }

    /// Notes that the client's stream was opened before the provider has answered.
    pub fn note_opened(&mut self) {
        if let PipelineOutput::Stream { encoder, .. } = &mut self.pipeline.output {
            encoder.keep_alive(&mut Vec::new());
        }
    }

    /// Returns an estimate of the answer's tokens so far, from its text.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.pipeline.delivered.div_ceil(super::BYTES_PER_TOKEN)
    }

    /// Whether the client gets a stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self.pipeline.output, PipelineOutput::Stream { .. })
    }

    /// Whether anything has come at all.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.pipeline.began
    }

    /// Whether the response is committed: from here on a failure is an event in the stream, not a status.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.pipeline.committed
    }

    /// Whether the answer is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.pipeline.ended && self.pipeline.failure.is_none()
    }

    /// Returns the token counts so far.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let rates = self.pipeline.rates;
        self.pipeline.usage.clone().map(|usage| Usage { rates: usage.rates.and(rates), ..usage })
    }

    /// Returns the model that answers, in the provider's words.
    #[must_use]
    pub fn served(&self) -> Option<&str> {
        self.source.served()
    }

    /// Whether the model has been seen to reason.
    #[must_use]
    pub fn reasons(&self) -> bool {
        self.pipeline.reasons
    }

    /// Takes the model and the finish reasons that the answer has named so far.
    pub fn metadata(&mut self) -> ResponseMetadata {
        let mut metadata = std::mem::take(&mut self.pipeline.metadata);
        metadata.model(self.source.served());
        metadata
    }

    /// Takes the counts of parts that were not understood.
    pub fn anomalies(&mut self) -> BTreeMap<Anomaly, u64> {
        std::mem::take(&mut self.pipeline.anomalies)
    }
}

/// Reads one event, as the framer cut it.
fn read(decoder: &mut dyn Decode, pipeline: &mut Pipeline, odd: &mut u32, bytes: &[u8]) -> Result<()> {
    let event = sse::SseEvent::parse(bytes);
    let Some(data) = &event.data else { return Ok(()) };
    if pipeline.ended || data.bytes.trim_ascii().is_empty() {
        return Ok(());
    }
    let text: Cow<'_, str> = repair::repair_event(&data.bytes);
    let name = event.name.and_then(|name| std::str::from_utf8(name).ok());
    if decoder.event(name, text.trim(), &mut |event| pipeline.take(event)).is_err() {
        *odd += 1;
        if *odd >= MAX_UNREADABLE_EVENTS {
            return Err(Failure::provider("the provider's events are not JSON"));
        }
    }
    pipeline.check()
}

/// Returns the failure for a provider's error response, in words that are safe for the client.
#[must_use]
pub fn refused(status: u16, body: &[u8], retry_after: Option<u64>, upstream: &str, client: &str) -> Failure {
    let mut error = UpstreamError::read(body);
    error.message = super::rename(&error.message, upstream, client);
    let failure = read_error(status, &error, retry_after);
    match failure.detail() {
        Some(detail) if failure.kind() == Kind::UnknownToProvider => {
            Failure::unknown_to_provider(client).with_detail(detail)
        }
        _ => failure,
    }
}

/// Number of events that are not JSON at which an answer fails; the ones before it are skipped and counted.
const MAX_UNREADABLE_EVENTS: u32 = 3;

/// Bytes of room in the buffer of a translated request, in addition to nine eighths of its length, so that it
/// rarely grows.
const ROOM: usize = 512;

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
