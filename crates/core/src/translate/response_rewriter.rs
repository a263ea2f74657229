//! Restoration of a provider's tool names and texts to the client's view.
//!
//! Between decoder and encoder, five things happen: changed names of tools and of their properties are changed back,
//! freeform tools that were sent as functions are unwrapped, the tool that only shapes the answer becomes its text,
//! calls get ids that the conversation has not used, and surrogate pairs that two events share are put together.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::canon::{Args, Context, Event, Finish, ProtocolId, Seal, Sink, UpstreamError, base62};
use crate::json::{JsonStr, repair};

use super::fresh_call_ids::FreshCallIds;
use super::property_restorer::PropertyRestorer;
use super::unwrap::Unwrap;

/// The rewriter of the events of one answer: it puts the client's own names and forms back.
#[derive(Debug)]
pub(super) struct ResponseRewriter {
    context: Arc<Context>,
    client: ProtocolId,
    /// Calls by their keys, which count up.
    calls: BTreeMap<u32, CallKind>,
    /// The ids by which the client knows the calls.
    ids: FreshCallIds,
    /// The first half of a character at the end of an event, and its owner.
    surrogate: Option<(Owner, String)>,
    /// The part of the prefix that the answer has not repeated yet.
    prefix: Option<String>,
    /// Whether there is a call of which the client learns.
    visible: bool,
}

/// The kind of thing that a provider's call of a tool is for the client.
#[derive(Debug)]
enum CallKind {
    /// The same call, perhaps with another name.
    Same,
    /// A freeform tool, whose text the provider has wrapped in JSON.
    Wrapped(Unwrap),
    /// The same call, with other names of properties.
    Renamed(PropertyRestorer),
    /// The text of the answer.
    Answer,
}

/// The segment that a surrogate belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Text,
    Refusal,
    Thought,
    Call(u32),
}

impl ResponseRewriter {
    pub(super) fn new(context: Arc<Context>, client: ProtocolId) -> Self {
        let prefix = context.prefix.clone().filter(|prefix| !prefix.is_empty());
        let (calls, ids) = (BTreeMap::new(), FreshCallIds::default());
        Self { context, client, calls, ids, surrogate: None, prefix, visible: false }
    }

    /// Returns the client's protocol.
    pub(super) fn client(&self) -> ProtocolId {
        self.client
    }

    /// Whether the answer is a summary of its conversation.
    pub(super) fn is_compaction(&self) -> bool {
        self.context.compaction.is_some()
    }

    /// Takes an event and passes on those that the client's encoder gets.
    pub(super) fn take(&mut self, event: Event<'_>, sink: &mut Sink<'_>) {
        match event {
            Event::Text(text) => self.text(text, sink),
            Event::Refusal(text) => {
                self.with_whole_characters(Owner::Refusal, text, sink, &mut |_, text, sink| {
                    sink(Event::Refusal(text));
                });
            }
            Event::Thought(text) => {
                self.with_whole_characters(Owner::Thought, text, sink, &mut |_, text, sink| {
                    sink(Event::Thought(text));
                });
            }
            Event::Open { key, id, namespace, name, custom } => {
                self.open(key, id, namespace, name, custom, sink);
            }
            // The client sends the state back by the id that it knows.
            Event::Seal(Seal::Call { key, id, extra }) => {
                let known = self.client_id(key, &id.decode()).map(|id| JsonStr::of(&id));
                sink(Event::Seal(Seal::Call { key, id: known.unwrap_or(id), extra }));
            }
            Event::Args { key, part } => self.args(key, part, sink),
            Event::Close(Some(key)) => self.close(key, sink),
            Event::Finish(finish) => {
                self.close_all(sink);
                sink(Event::Finish(self.finish(finish)));
            }
            other => sink(other),
        }
    }

    /// Returns a provider's error with the client's name of the model.
    pub(super) fn renamed(&self, error: &UpstreamError) -> UpstreamError {
        let client = self.context.model.decode();
        let message = super::rename(&error.message, &self.context.upstream_model, &client);
        UpstreamError { message, ..error.clone() }
    }

    fn text(&mut self, text: JsonStr<'_>, sink: &mut Sink<'_>) {
        self.with_whole_characters(Owner::Text, text, sink, &mut |this, text, sink| {
            if let Some(rest) = this.without_prefix(&text) {
                sink(Event::Text(rest));
            }
        });
    }

    /// Returns the text without a repetition of the prefix; `None` while that is undecided.
    fn without_prefix<'t>(&mut self, text: &JsonStr<'t>) -> Option<JsonStr<'t>> {
        let Some(prefix) = self.prefix.take() else { return Some(text.clone()) };
        let said = text.decode();
        if let Some(left) = prefix.strip_prefix(&*said) {
            self.prefix = Some(left.to_owned()).filter(|left| !left.is_empty());
            return None;
        }
        match said.strip_prefix(&prefix) {
            Some(rest) => Some(JsonStr::of(rest)),
            // Not a repetition after all: the text that was held back is sent now.
            None => {
                let full = self.context.prefix.as_deref().unwrap_or_default();
                let held = full.get(..full.len() - prefix.len()).unwrap_or_default();
                Some(JsonStr::concat(&[&JsonStr::of(held), text]))
            }
        }
    }

    fn open(
        &mut self,
        key: u32,
        id: Cow<'_, str>,
        namespace: Option<Cow<'_, str>>,
        name: Cow<'_, str>,
        custom: bool,
        sink: &mut Sink<'_>,
    ) {
        let context = Arc::clone(&self.context);
        if context.answer_tool == Some(&*name) {
            self.calls.entry(key).or_insert(CallKind::Answer);
            return;
        }
        self.visible = true;
        let original = context.names.original(&name);
        let wrapped = original.is_some_and(|name| name.wrapped) && !custom;
        let id = self.client_id(key, &id).map_or(id, Cow::Owned);
        let (namespace, name) = match original {
            Some(original) => (original.namespace.as_deref().map(Cow::Borrowed), Cow::from(&original.name)),
            None => (namespace, name),
        };
        let is_renamed = !custom && context.properties.of(namespace.as_deref(), &name).is_some();
        let kind = match (wrapped, is_renamed) {
            (true, _) => CallKind::Wrapped(Unwrap::default()),
            (_, true) => CallKind::Renamed(PropertyRestorer::new(namespace.as_deref(), &name)),
            _ => CallKind::Same,
        };
        self.calls.entry(key).or_insert(kind);
        sink(Event::Open { key, id, namespace, name, custom: custom || wrapped });
    }

    /// Returns the id by which the client knows a call; `None` if it is the provider's own.
    fn client_id(&mut self, key: u32, id: &str) -> Option<String> {
        if let Some(known) = self.ids.known(key) {
            return known.clone();
        }
        if !id.is_empty() {
            return self.ids.choose(key, id, &self.context.call_ids);
        }
        let made_up = self.made_up_id(key);
        self.ids.keep(key, made_up.clone());
        Some(made_up)
    }

    /// Returns an id for a call to which the provider gave none. It is the same whenever the same answer is read.
    fn made_up_id(&self, key: u32) -> String {
        let prefix = if self.client.is_anthropic() { "toolu_" } else { "call_" };
        prefix.to_owned() + &base62(&format!("{}/{key}", self.context.request_id), MADE_UP_ID_LEN)
    }

    fn args(&mut self, key: u32, part: Args<'_>, sink: &mut Sink<'_>) {
        match part {
            Args::Str(text) => {
                self.with_whole_characters(Owner::Call(key), text, sink, &mut |this, text, sink| {
                    this.argument(key, Args::Str(text), sink);
                });
            }
            Args::Raw(_) => self.argument(key, part, sink),
        }
    }

    fn argument(&mut self, key: u32, part: Args<'_>, sink: &mut Sink<'_>) {
        match self.calls.get_mut(&key) {
            Some(CallKind::Answer) => sink(Event::Text(match part {
                Args::Str(text) => text,
                Args::Raw(json) => JsonStr::of(json.get()),
            })),
            Some(CallKind::Wrapped(unwrap)) => {
                unwrap.push(&part, &mut |text| sink(Event::Args { key, part: Args::Str(text) }));
            }
            Some(CallKind::Renamed(restorer)) => {
                restorer.push(&part, &self.context.properties, &mut |text| {
                    sink(Event::Args { key, part: Args::Str(text) });
                });
            }
            Some(CallKind::Same) | None => sink(Event::Args { key, part }),
        }
    }

    fn close(&mut self, key: u32, sink: &mut Sink<'_>) {
        self.drop_surrogate(Owner::Call(key), sink);
        match self.calls.get_mut(&key) {
            Some(CallKind::Answer) => sink(Event::Close(None)),
            Some(CallKind::Wrapped(unwrap)) => {
                unwrap.end(&mut |text| sink(Event::Args { key, part: Args::Str(text) }));
                sink(Event::Close(Some(key)));
            }
            Some(CallKind::Renamed(restorer)) => {
                restorer.end(&mut |text| sink(Event::Args { key, part: Args::Str(text) }));
                sink(Event::Close(Some(key)));
            }
            Some(CallKind::Same) | None => sink(Event::Close(Some(key))),
        }
    }

    /// Ends the calls that a provider leaves open: Chat has no event for the end of a call.
    fn close_all(&mut self, sink: &mut Sink<'_>) {
        if let Some((owner, _)) = self.surrogate {
            self.drop_surrogate(owner, sink);
        }
        for (&key, kind) in &mut self.calls {
            let mut give = |text: JsonStr<'_>| sink(Event::Args { key, part: Args::Str(text) });
            match kind {
                CallKind::Wrapped(unwrap) => unwrap.end(&mut give),
                CallKind::Renamed(restorer) => restorer.end(&mut give),
                CallKind::Same | CallKind::Answer => {}
            }
        }
    }

    fn finish<'e>(&self, finish: Finish<'e>) -> Finish<'e> {
        let shaped = self.calls.values().any(|kind| matches!(kind, CallKind::Answer));
        match finish {
            Finish::ToolUse if shaped && !self.visible => Finish::Stop,
            other => other,
        }
    }

    /// Passes on a text without a high surrogate at its end, and with the one that ended the text before.
    fn with_whole_characters<'e>(
        &mut self,
        owner: Owner,
        text: JsonStr<'e>,
        sink: &mut Sink<'_>,
        give: &mut dyn FnMut(&mut Self, JsonStr<'_>, &mut Sink<'_>),
    ) {
        let waits = self.surrogate.as_ref().is_some_and(|(whose, _)| *whose == owner);
        if !waits && memchr::memchr(b'\\', text.raw().as_bytes()).is_none() {
            return give(self, text, sink);
        }
        if self.surrogate.is_some() && !waits {
            let (whose, _) = self.surrogate.take().unwrap_or((owner, String::new()));
            self.replacement(whose, sink);
        }
        let before = self.surrogate.take().map(|(_, surrogate)| surrogate).unwrap_or_default();
        let joined = format!("{before}{}", text.raw());
        let (whole, surrogate) = repair::split_trailing_high(&joined);
        self.surrogate = surrogate.map(|surrogate| (owner, surrogate.to_owned()));
        let literal = format!("\"{whole}\"");
        let repaired = repair::repair(literal.as_bytes());
        if let Some(text) = JsonStr::read(&repaired).filter(|text| !text.is_empty()) {
            give(self, text, sink);
        }
    }

    /// The other surrogate never came.
    fn drop_surrogate(&mut self, owner: Owner, sink: &mut Sink<'_>) {
        if self.surrogate.as_ref().is_some_and(|(whose, _)| *whose == owner) {
            self.surrogate = None;
            self.replacement(owner, sink);
        }
    }

    fn replacement(&mut self, owner: Owner, sink: &mut Sink<'_>) {
        let text = JsonStr::plain("\u{fffd}");
        match owner {
            Owner::Text => sink(Event::Text(text)),
            Owner::Refusal => sink(Event::Refusal(text)),
            Owner::Thought => sink(Event::Thought(text)),
            Owner::Call(key) => self.argument(key, Args::Str(text), sink),
        }
    }
}

/// Number of characters in an id that the gateway makes up.
const MADE_UP_ID_LEN: usize = 24;
