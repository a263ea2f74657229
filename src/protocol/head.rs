//! The head scan: the few members of a request that decide where it goes and how it is relayed.
//!
//! In: the whole body. Out: spans. Nothing is decoded but the model's name, and a member that stands
//! twice is read once: the last one counts, and the relay makes the others say the same.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::failure::{Failure, Kind, Result};
use crate::json::{self, Edit, Malformed, Member};

use super::demand::Demand;
use super::state;

/// The members that a protocol's requests are read by.
#[derive(Debug)]
pub struct Members {
    /// Any of these must be present.
    pub conversation: &'static [&'static str],
    /// A member of another protocol's requests, and the advice for who sends it instead.
    pub foreign: Option<(&'static str, &'static str)>,
    /// Members that limit the tokens of the answer.
    pub output_caps: &'static [&'static str],
    /// Is there a `stream_options` member?
    pub stream_options: bool,
    /// Members that refer to state held at the provider.
    pub state: &'static [(&'static str, state::Test)],
    /// Members whose content belongs to the caller: nothing in them refers to provider state.
    pub opaque: &'static [&'static str],
    /// The kind of failure for references to provider state.
    pub refusal: Kind,
}

/// What was read of one request.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// The model, as the client named it.
    pub model: Cow<'a, str>,
    /// Does the client want a stream?
    pub stream: bool,
    /// The largest limit of the answer's tokens.
    pub output_cap: Option<OutputCap>,
    /// How many answers the client wants at once.
    pub choices: u64,
    /// Where the first member may be inserted.
    pub open: usize,
    /// The span of `stream_options`, unless it is absent or null.
    pub stream_options: Option<Range<usize>>,
    /// The span of a null `stream_options`.
    pub null_options: Option<Range<usize>>,
    /// Whether the model is asked to think.
    pub thinks: bool,
    /// The span of `system`.
    pub system: Option<Range<usize>>,
    /// What the request asks for beyond the tokens of its text.
    pub demand: Demand,
    /// Containers at the provider in which the history has run code, each with the path of its id.
    pub containers: Vec<(String, String)>,
    /// Spans of every `model` value.
    models: Vec<Range<usize>>,
    /// Earlier values of members that stand twice, with the value that counts.
    repeats: Vec<Edit>,
    /// Members that could limit the answer's tokens but are null.
    null_caps: Vec<(&'static str, Range<usize>)>,
}

/// A limit of the answer's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputCap {
    /// So many.
    Tokens(u64),
    /// The member of this name is no number of tokens.
    Unreadable(&'static str),
}

#[derive(Default)]
struct Found<'a> {
    model: Option<Member<'a>>,
    models: Vec<Range<usize>>,
    stream: Option<Member<'a>>,
    stream_options: Option<Member<'a>>,
    system: Option<Member<'a>>,
    conversation: bool,
    foreign: bool,
    repeats: Vec<Edit>,
    null_caps: Vec<(&'static str, Range<usize>)>,
    output_cap: Option<OutputCap>,
    choices: u64,
    thinks: bool,
    state: Option<Cow<'static, str>>,
}

impl<'a> Head<'a> {
    /// Reads the members of a request body.
    ///
    /// # Errors
    /// 400 when the body is not a JSON object, has no usable model or no conversation, or, unless
    /// `allow_state`, refers to state at the provider, which all callers of the gateway share.
    pub fn read(body: &'a [u8], members: &Members, allow_state: bool) -> Result<Self> {
        let mut scan = json::members(body).flagging(if allow_state { &[] } else { state::FLAGS });
        let mut found = Found::default();
        let mut open = 0;
        for member in scan.by_ref() {
            let member = member.map_err(invalid)?;
            if open == 0 {
                open = first_member(body);
            }
            found.take(member, members, allow_state)?;
        }
        scan.finish().map_err(invalid)?;
        if let Some(path) = found.state.take() {
            return Err(state::refused(members.refusal, path));
        }
        if scan.flagged() {
            state::check(body, members)?;
        }
        found.head(members, open)
    }

    /// The edits that make the request name `model`, sorted.
    #[must_use]
    pub fn model_edits(&self, body: &[u8], model: &str) -> Vec<Edit> {
        let literal = Bytes::from(json::write::literal(model));
        let differs = |span: &&Range<usize>| body.get((*span).clone()) != Some(&literal);
        self.models.iter().filter(differs).map(|span| (span.clone(), literal.clone())).collect()
    }

    /// The edit that limits the answer of a request that does not do so itself.
    #[must_use]
    pub fn cap_edit(&self, member: &str, tokens: u64) -> Edit {
        match self.null_caps.iter().find(|(name, _)| *name == member) {
            Some((_, span)) => (span.clone(), Bytes::from(tokens.to_string())),
            None => (self.open..self.open, Bytes::from(format!("\"{member}\":{tokens},"))),
        }
    }

    /// The edits that leave one reading of members that stand twice.
    #[must_use]
    pub fn repeat_edits(&self) -> &[Edit] {
        &self.repeats
    }
}

impl<'a> Found<'a> {
    fn take(&mut self, member: Member<'a>, members: &Members, allow_state: bool) -> Result<()> {
        self.thinks |= asks_to_think(&member);
        if member.is("model") {
            self.models.push(member.span.clone());
            self.model = Some(member);
        } else if member.resembles("model") {
            // Some servers match names without regard to case: they would read another model than we do.
            return Err(Failure::new(Kind::InvalidJson, "The member 'model' must be spelled in lower case.")
                .with_param("model"));
        } else if member.is("stream") {
            replace(&mut self.stream, member, &mut self.repeats);
        } else if members.stream_options && member.is("stream_options") {
            replace(&mut self.stream_options, member, &mut self.repeats);
        } else if member.is("system") {
            self.system = Some(member);
        } else if members.conversation.iter().any(|name| member.is(name)) {
            self.conversation |= member.is_present();
        } else if members.foreign.is_some_and(|(name, _)| member.is(name)) {
            self.foreign = true;
        } else if let Some(name) = members.output_caps.iter().find(|name| member.is(name)) {
            self.cap(name, member);
        } else if member.is("n") {
            self.choices = member.unsigned().unwrap_or(1).clamp(1, MOST_CHOICES);
        } else if !allow_state && self.state.is_none() {
            self.state = state::top_level(&member, members);
        }
        Ok(())
    }

    fn cap(&mut self, name: &'static str, member: Member<'a>) {
        if !member.is_present() {
            return self.null_caps.push((name, member.span));
        }
        let tokens = member.unsigned().or_else(|| rounded(member.value));
        self.output_cap = Some(match (self.output_cap, tokens) {
            (Some(unreadable @ OutputCap::Unreadable(_)), _) => unreadable,
            (_, None) => OutputCap::Unreadable(name),
            (Some(OutputCap::Tokens(other)), Some(tokens)) => OutputCap::Tokens(tokens.max(other)),
            (None, Some(tokens)) => OutputCap::Tokens(tokens),
        });
    }

    fn head(self, members: &Members, open: usize) -> Result<Head<'a>> {
        if !self.conversation {
            return Err(missing_conversation(members, self.foreign));
        }
        let model =
            self.model.as_ref().and_then(Member::text).filter(|m| !m.is_empty()).ok_or_else(|| {
                Failure::new(Kind::Unsupported, "The member 'model' is required and must be a string.")
                    .with_param("model")
            })?;
        let (options, null_options) = match self.stream_options {
            Some(member) if member.is_present() => (Some(member.span), None),
            other => (None, other.map(|member| member.span)),
        };
        Ok(Head {
            model,
            stream: self.stream.is_some_and(|member| member.value == b"true"),
            output_cap: self.output_cap,
            choices: self.choices.max(1),
            open,
            stream_options: options,
            null_options,
            thinks: self.thinks,
            system: self.system.map(|member| member.span),
            demand: Demand::default(),
            containers: Vec::new(),
            models: self.models,
            repeats: self.repeats,
            null_caps: self.null_caps,
        })
    }
}

/// Whether a member of any protocol's requests asks the model to think. One that can be read either way does.
fn asks_to_think(member: &Member<'_>) -> bool {
    THINKING.iter().any(|name| member.is(name))
        && !matches!(member.value, b"null" | b"false" | b"\"none\"" | b"0")
}

/// A number of tokens that is written as a fraction, or with an exponent.
fn rounded(value: &[u8]) -> Option<u64> {
    let number: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    let sensible = value.first()?.is_ascii_digit() && number < MOST_TOKENS;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small and positive")]
    sensible.then(|| number.ceil() as u64)
}

/// Keeps the last of two members; the earlier one becomes an edit that repeats the last.
fn replace<'a>(slot: &mut Option<Member<'a>>, member: Member<'a>, repeats: &mut Vec<Edit>) {
    let value = Bytes::copy_from_slice(member.value);
    if let Some(earlier) = slot.replace(member) {
        repeats.iter_mut().for_each(|(_, new)| *new = value.clone());
        repeats.push((earlier.span, value));
    }
}

/// Offset after the brace that opens the body.
fn first_member(body: &[u8]) -> usize {
    memchr::memchr(b'{', body).map_or(0, |at| at + 1)
}

fn invalid(malformed: Malformed) -> Failure {
    Failure::new(Kind::InvalidJson, format!("The request body is not a valid JSON object: {malformed}."))
}

fn missing_conversation(members: &Members, foreign: bool) -> Failure {
    let name = members.conversation.first().copied().unwrap_or_default();
    let advice = members.foreign.filter(|_| foreign).map_or("", |(_, advice)| advice);
    Failure::new(Kind::InvalidMessages, format!("The member '{name}' is required.{advice}")).with_param(name)
}

/// Members by which a model is asked to think, of the three protocols and of servers that resemble them.
const THINKING: [&str; 5] =
    ["reasoning_effort", "reasoning", "thinking", "thinking_budget", "enable_thinking"];

/// Tokens: no answer has as many.
const MOST_TOKENS: f64 = 1e12;

/// Answers at once: the most that any provider gives.
const MOST_CHOICES: u64 = 128;
