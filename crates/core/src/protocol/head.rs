//! The head scan: the few members of a request that decide where it goes, what it costs and how it is relayed.
//!
//! Its input is the whole body, its output are spans. Only the model's name and numbers are decoded. If a member
//! occurs twice, the last value counts, and the relay gives the others the same value. Members that decide are
//! read strictly, because other readers understand invalid values in different ways.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::failure::{Failure, Kind, Result};
use crate::json::{self, Edit, Malformed, Member, Name, scan};

use super::caps::{OutputCap, OutputCaps, read_number};
use super::chat_asks::ChatAsks;
use super::demand::Demand;
use super::inner::{self, InnerModel};
use super::members::{CapsWithin, RequestMembers};
use super::{look, state, watch};

/// The result of the head scan of one request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Head<'a> {
    /// The model, as the client named it.
    pub model: Cow<'a, str>,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// The limit of the answer's tokens; of several, the smallest.
    pub output_cap: Option<u64>,
    /// The number of answers that the client wants at once.
    pub choices: u64,
    /// The position at which a first member may be inserted.
    pub open: usize,
    /// The span of `stream_options`, unless it is absent or null.
    pub stream_options: Option<Range<usize>>,
    /// The span of a null `stream_options`.
    pub null_options: Option<Range<usize>>,
    /// Whether the model is asked to think.
    pub thinks: bool,
    /// The span of `system`.
    pub system: Option<Range<usize>>,
    /// The demands beyond the tokens of the text.
    pub demand: Demand,
    /// The parts on which it depends whether a Chat request goes to Responses.
    pub chat: ChatAsks,
    /// Containers at the provider in which the history has run code, each with the path of its id.
    pub containers: Vec<(String, String)>,
    /// Whether the request contains a text anywhere that is, or looks like, a carrier of this gateway.
    pub has_carriers: bool,
    /// Whether the request contains thinking that its provider has signed.
    pub has_signatures: bool,
    /// Models that the request names besides `model`.
    pub inner_models: Vec<InnerModel>,
    /// The refusal of the first reference to state at a provider whose account all callers of the gateway share.
    pub stateful: Option<Failure>,
    /// The id of the stored answer that the request goes on from.
    pub earlier_answer: Option<String>,
    /// Spans of every `model` value.
    models: Vec<Range<usize>>,
    /// Earlier values of members that occur twice.
    repeats: Vec<Repeat>,
    caps: OutputCaps,
    /// The place of a limit that is inserted, if it does not stand at the top level.
    cap_place: Option<CapPlace>,
}

/// The place of a limit inside of another object: the position, and the text before and after the member.
#[derive(Clone, Copy, Debug)]
struct CapPlace(usize, &'static str, &'static str);

/// An earlier value of a member that occurs twice, and the value that counts.
#[derive(Clone, Debug)]
struct Repeat {
    span: Range<usize>,
    last: Range<usize>,
    is_cap: bool,
}

#[derive(Default)]
struct HeadFindings<'a> {
    model: Option<Member<'a>>,
    models: Vec<Range<usize>>,
    stream: Vec<Range<usize>>,
    is_stream: bool,
    options: Vec<Range<usize>>,
    number: Vec<Range<usize>>,
    choices: u64,
    caps: OutputCaps,
    /// The object in which limits stand that do not stand at the top level.
    holder: Option<Range<usize>>,
    system: Option<Range<usize>>,
    conversation: bool,
    /// The advice for a client that sends another protocol's request.
    advice: Option<&'static str>,
    thinks: bool,
    state: Option<String>,
    earlier_answer: Option<String>,
    inner: Vec<InnerModel>,
    demand: Demand,
    chat: ChatAsks,
    has_carriers: bool,
    has_signatures: bool,
    /// Whether a top-level member makes a look through the whole body necessary.
    is_deep: bool,
    /// Number of deciding members so far, repeated ones included.
    taken: usize,
}

impl<'a> Head<'a> {
    /// Reads the members of a request body.
    ///
    /// # Errors
    /// Returns 400 if the body is not a JSON object, lacks a usable model or a conversation, has an invalid value
    /// in a member that decides about it, or chooses the provider's host or credential.
    pub fn read(body: &'a [u8], members: &RequestMembers) -> Result<Self> {
        let mut all = json::members(body).watched_by(watch::string);
        let mut found = HeadFindings::default();
        for member in all.by_ref() {
            found.take(member.map_err(invalid)?, members)?;
        }
        all.finish().map_err(invalid)?;
        found.demand.long_cache = all.seen() & watch::LONG != 0;
        found.has_carriers = all.seen() & watch::CARRIER != 0;
        found.has_signatures = all.seen() & watch::SIGNED != 0;
        let is_deep = found.is_deep || all.seen() & (watch::LOOK | scan::NAMELESS) != 0;
        let below =
            if is_deep { look::look(body, members).map_err(invalid)? } else { look::LookFindings::default() };
        found.head(body, members, below)
    }

    /// Returns the edits that set the request's model to `model`, sorted.
    #[must_use]
    pub fn model_edits(&self, body: &[u8], model: &str) -> Vec<Edit> {
        let literal = Bytes::from(json::write::literal(model));
        let differs = |span: &&Range<usize>| body.get((*span).clone()) != Some(&literal);
        self.models.iter().filter(differs).map(|span| (span.clone(), literal.clone())).collect()
    }

    /// Returns the edits that limit the answer to `tokens` in `member` and in no other member. There are none if
    /// the request does so itself.
    #[must_use]
    pub fn cap_edits(&self, body: &[u8], member: &str, tokens: u64) -> Vec<Edit> {
        if let Some(CapPlace(at, before, after)) = self.cap_place.filter(|_| self.caps.0.is_empty()) {
            return vec![(at..at, format!("{before}\"{member}\":{tokens}{after}").into())];
        }
        self.caps.bound(body, member, tokens, self.open)
    }

    /// Returns the limit of the answer if members other than `member` take part in it.
    #[must_use]
    pub fn cap_elsewhere(&self, member: &str) -> Option<u64> {
        self.output_cap.filter(|_| self.caps.has_other(member))
    }

    /// Returns the edits that give all values of a repeated member the last value, with `edits` applied. Limits of
    /// the answer are left alone if they are `bound` by edits of their own.
    #[must_use]
    pub fn repeat_edits(&self, body: &[u8], edits: &[Edit], bound: bool) -> Vec<Edit> {
        let repeats = self.repeats.iter().filter(|repeat| !(bound && repeat.is_cap));
        let edit = |repeat: &Repeat| {
            let Range { start, end } = repeat.last;
            let within = edits.iter().filter(|(span, _)| start <= span.start && span.end <= end);
            let within = within.map(|(span, new)| (span.start - start..span.end - start, new.clone()));
            let last = body.get(start..end).unwrap_or_default();
            (repeat.span.clone(), json::splice(last, &within.collect::<Vec<_>>()).into())
        };
        repeats.map(edit).filter(|(span, new): &Edit| body.get(span.clone()) != Some(new)).collect()
    }

    /// Refuses a request that names models other than its own and the allowed ones.
    ///
    /// # Errors
    /// Returns 400 for the first model that is not allowed.
    pub fn check_inner(&self, allowed: &[String]) -> Result<()> {
        let refused = self.inner_models.iter().find(|inner| !inner.is_among(allowed));
        refused.map_or(Ok(()), |inner| Err(inner.refused()))
    }
}

impl<'a> HeadFindings<'a> {
    fn take(&mut self, member: Member<'a>, members: &RequestMembers) -> Result<()> {
        // No protocol and no provider knows a key that is not a name.
        let Some(name) = Name::read(member.key) else { return Ok(()) };
        let thinks = asks_to_think(&name, &member);
        self.thinks |= thinks == Some(true);
        self.chat.take(&name, &member, thinks);
        let is_among = |names: &[&'static str]| names.iter().copied().find(|known| name.is(known));
        if let Some(known) = is_among(DECIDING) {
            if !name.is_exact() {
                // Some servers ignore the case of names: they would understand another request than the gateway.
                let message = format!("The member '{known}' must be spelled in lower case.");
                return Err(Failure::new(Kind::InvalidJson, message).with_param(known));
            }
            self.taken += 1;
            if self.taken > MAX_TAKEN {
                return Err(too_often(known));
            }
            return self.decide(known, member, members);
        }
        if is_among(members.conversation).is_some() {
            self.conversation |= member.is_present();
        } else if let Some((_, advice)) = members.foreign.iter().find(|(foreign, _)| name.is(foreign)) {
            self.advice = Some(advice);
        } else if let Some(within) = &members.caps_within
            && within.objects.iter().any(|object| name.is(object))
        {
            self.caps_within(&member, within)?;
        } else if name.is("system") {
            self.system = Some(member.span.clone());
        }
        self.is_deep |= IS_DEEP.iter().any(|known| name.is(known));
        self.demand.take(&name, &member);
        if let Some(path) = state::top_level(&name, &member, members.state) {
            self.state.get_or_insert_with(|| path.to_owned());
            if path == EARLIER_ANSWER {
                self.earlier_answer = member.text().map(Cow::into_owned);
            }
            self.demand.unbounded.get_or_insert_with(|| path.to_owned());
        }
        inner::top_level(&name, &member, &mut self.inner)
    }

    /// Takes the limits in an object of the request.
    fn caps_within(&mut self, member: &Member<'a>, within: &CapsWithin) -> Result<()> {
        if !member.is_present() {
            return Ok(());
        }
        if self.holder.replace(member.span.clone()).is_some() {
            return Err(too_often(within.object));
        }
        for inner in json::members(member.value) {
            let inner = inner.map_err(invalid)?;
            let Some(name) = Name::read(inner.key).filter(|_| inner.is_present()) else { continue };
            let is_among = |names: &[&str]| names.iter().any(|known| name.is(known));
            // A number may be written as a text.
            let number = || read_number(inner.value.trim_ascii()).or_else(|| inner.text()?.parse().ok());
            if is_among(within.choices) {
                let wrong = || wrong("candidateCount", "a whole number from 1");
                self.choices = number().filter(|number| *number > 0).ok_or_else(wrong)?;
            } else if is_among(within.caps) {
                let name = "maxOutputTokens";
                if !self.caps.0.is_empty() {
                    return Err(too_often(name));
                }
                let tokens = number().filter(|tokens| *tokens > 0);
                let tokens = tokens.ok_or_else(|| wrong(name, "a whole number of tokens, at least 1"))?;
                let at = |span: Range<usize>| member.span.start + span.start..member.span.start + span.end;
                let (key, span) = (at(inner.key_span), at(inner.span));
                self.caps.0.push(OutputCap { name, key, span, tokens: Some(tokens) });
            }
        }
        Ok(())
    }

    /// Returns the place for a limit that the request does not have.
    fn cap_place(&self, body: &[u8], members: &RequestMembers) -> Option<CapPlace> {
        members.caps_within.as_ref()?;
        let Some(holder) = &self.holder else {
            return Some(CapPlace(first_member(body), "\"generationConfig\":{", "},"));
        };
        let is_empty = json::members(body.get(holder.clone()).unwrap_or_default()).next().is_none();
        Some(CapPlace(holder.start + 1, "", if is_empty { "" } else { "," }))
    }

    /// Takes a member that decides where the request goes or how much it may cost.
    fn decide(&mut self, name: &'static str, member: Member<'a>, members: &RequestMembers) -> Result<()> {
        match name {
            "model" => {
                self.models.push(member.span.clone());
                self.model = Some(member);
            }
            "stream" => {
                self.is_stream = match member.value {
                    b"true" => true,
                    b"false" | b"null" => false,
                    _ => return Err(wrong(name, "true or false")),
                };
                self.stream.push(member.span);
            }
            "stream_options" if members.stream_options => {
                options(&member)?;
                self.options.push(member.span);
            }
            "n" => {
                self.choices = match member.is_present() {
                    true => read_number(member.value)
                        .filter(|number| *number > 0)
                        .ok_or_else(|| wrong(name, "a whole number from 1"))?,
                    false => 0,
                };
                self.number.push(member.span);
            }
            _ if members.output_caps.contains(&name) => {
                let tokens = member.is_present().then(|| {
                    let tokens = read_number(member.value).filter(|tokens| *tokens > 0 || members.prewarms);
                    tokens.ok_or_else(|| wrong(name, "a whole number of tokens, at least 1"))
                });
                let tokens = tokens.transpose()?;
                self.caps.0.push(OutputCap { name, key: member.key_span, span: member.span, tokens });
            }
            _ => {}
        }
        Ok(())
    }

    fn head(self, body: &[u8], members: &RequestMembers, below: look::LookFindings) -> Result<Head<'a>> {
        if !self.conversation {
            return Err(missing_conversation(members, self.advice.unwrap_or_default()));
        }
        let model =
            self.model.as_ref().and_then(Member::text).filter(|m| !m.is_empty()).ok_or_else(|| {
                Failure::new(Kind::Unsupported, "The member 'model' is required and must be a string.")
                    .with_param("model")
            })?;
        if self.options.len() > 1 && self.options.last().is_some_and(|last| last.len() > MAX_REPEATED) {
            return Err(too_often("stream_options"));
        }
        let mut repeats = Vec::new();
        for spans in [&self.stream, &self.options, &self.number] {
            repeat(spans.iter(), false, &mut repeats);
        }
        for name in members.output_caps {
            repeat(self.caps.spans(name), true, &mut repeats);
        }
        let cap_place = self.cap_place(body, members);
        let last = self.options.last().cloned();
        let is_null = last.clone().is_some_and(|span| body.get(span) == Some(b"null"));
        let (stream_options, null_options) = if is_null { (None, last) } else { (last, None) };
        let mut demand = self.demand;
        demand.absorb(below.demand);
        let mut inner_models = self.inner;
        inner_models.extend(below.inner);
        let stateful = self.state.or(below.state).map(|path| state::refused(members.refusal, path));
        Ok(Head {
            model,
            stream: self.is_stream,
            output_cap: self.caps.smallest(),
            choices: self.choices.clamp(1, MAX_CHOICES),
            open: first_member(body),
            stream_options,
            null_options,
            thinks: self.thinks,
            system: self.system,
            demand,
            chat: self.chat,
            containers: below.containers,
            has_carriers: self.has_carriers,
            has_signatures: self.has_signatures,
            inner_models,
            stateful,
            earlier_answer: self.earlier_answer,
            models: self.models,
            repeats,
            caps: self.caps,
            cap_place,
        })
    }
}

/// Returns whether a member of any protocol's requests asks the model to think; absent: it is about something else.
/// Ambiguous values count as asking.
fn asks_to_think(name: &Name, member: &Member<'_>) -> Option<bool> {
    THINKING.iter().any(|known| name.is(known)).then(|| !forbids(member.value))
}

/// Whether a value only says that the model is not to think.
fn forbids(value: &[u8]) -> bool {
    if matches!(value, b"null" | b"false" | b"\"none\"" | b"0" | b"{}") {
        return true;
    }
    let mut is_said = false;
    for inner in json::members(value) {
        match inner {
            Ok(inner) if says_no(&inner) => is_said = true,
            Ok(inner) if !decides(&inner) => {}
            _ => return false,
        }
    }
    is_said
}

/// Whether a member inside of such an object decides about thinking.
fn decides(inner: &Member<'_>) -> bool {
    let name = Name::read(inner.key);
    name.is_some_and(|name| THINKING_INSIDE.iter().any(|known| name.is(known)))
}

fn says_no(inner: &Member<'_>) -> bool {
    match inner.value {
        b"\"disabled\"" => inner.is("type"),
        b"\"none\"" => inner.is("effort"),
        b"false" => inner.is("enabled"),
        _ => false,
    }
}

/// Records the spans of one member, except the last.
fn repeat<'s>(spans: impl Iterator<Item = &'s Range<usize>>, is_cap: bool, repeats: &mut Vec<Repeat>) {
    let start = repeats.len();
    let mut last: Option<&Range<usize>> = None;
    for span in spans {
        let earlier = last.replace(span);
        repeats.extend(earlier.map(|span| Repeat { span: span.clone(), last: 0..0, is_cap }));
    }
    for repeat in repeats.iter_mut().skip(start) {
        repeat.last = last.cloned().unwrap_or_default();
    }
}

/// Checks the one stream option that the gateway sets itself.
fn options(member: &Member<'_>) -> Result<()> {
    if !member.is_present() {
        return Ok(());
    }
    if member.value.first() != Some(&b'{') {
        return Err(wrong("stream_options", "an object"));
    }
    let mut all = json::members(member.value);
    let mut is_set = false;
    for option in all.by_ref() {
        let option = option.map_err(invalid)?;
        let Some(name) = Name::read(option.key).filter(|name| name.is("include_usage")) else { continue };
        if !name.is_exact() || !matches!(option.value, b"true" | b"false" | b"null") {
            return Err(wrong("stream_options.include_usage", "true or false, and spelled in lower case"));
        }
        if std::mem::replace(&mut is_set, true) {
            return Err(too_often("stream_options.include_usage"));
        }
    }
    Ok(())
}

/// Returns the offset after the brace that opens the body.
fn first_member(body: &[u8]) -> usize {
    memchr::memchr(b'{', body).map_or(0, |at| at + 1)
}

fn invalid(malformed: Malformed) -> Failure {
    Failure::new(Kind::InvalidJson, format!("The request body is not a valid JSON object: {malformed}."))
}

fn wrong(name: &'static str, expected: &str) -> Failure {
    let message = format!("The member '{name}' must be {expected}.");
    Failure::new(Kind::Unsupported, message).with_param(name)
}

fn too_often(name: &'static str) -> Failure {
    let message = format!("The member '{name}' stands more often than once, and only one reading can count.");
    Failure::new(Kind::InvalidJson, message).with_param(name)
}

fn missing_conversation(members: &RequestMembers, advice: &str) -> Failure {
    let name = members.conversation.first().copied().unwrap_or_default();
    Failure::new(Kind::InvalidMessages, format!("The member '{name}' is required.{advice}")).with_param(name)
}

/// Members of the three protocols, and of similar servers, that ask a model to think.
const THINKING: [&str; 5] =
    ["reasoning_effort", "reasoning", "thinking", "thinking_budget", "enable_thinking"];

/// Members inside of their values that decide about thinking.
const THINKING_INSIDE: [&str; 5] = ["type", "effort", "enabled", "budget_tokens", "max_tokens"];

/// Members that decide where a request goes or how much it may cost, in one protocol or another.
const DECIDING: &[&str] =
    &["model", "stream", "stream_options", "n", "max_tokens", "max_completion_tokens", "max_output_tokens"];

/// Members whose content is read even if the string watcher finds nothing in it.
const IS_DEEP: &[&str] = &["extra_body", "mcp_servers", "plugins"];

/// The member that names a stored answer.
const EARLIER_ANSWER: &str = "previous_response_id";

/// Maximum number of deciding members in one request, repeated ones included, because each of them may be edited.
const MAX_TAKEN: usize = 64;

/// Maximum length of a repeated `stream_options`, in bytes, because it is copied over each earlier one.
const MAX_REPEATED: usize = 256;

/// Maximum number of answers at once, the highest limit of any provider.
const MAX_CHOICES: u64 = 128;

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
