//! One request on its way to one target.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::canon::Form;
use crate::canon::{Caps, Context, Rejections, Sealer, Target, ThinkingCaps, is_thinker};
use crate::edge::call::conversations::{Answerer, Conversation};
use crate::edge::call::snapshot::Snapshot;
use crate::edge::upstream::{self, Upstream};
use crate::failure::Result;
use crate::meter::Prices;
use crate::observe::{TargetMetrics, Tried};
use crate::protocol::{Head, ProtocolId};
use crate::provider::Provider;
use crate::route::{Credentials, ResolvedModel, TargetChoice, TargetHealth};
use crate::translate::OwnKeys;
use crate::translate::id_recorder::IdRecorder;
use crate::translate::owners::Claims;
use crate::translate::relay;

/// A request on its way to a provider.
#[derive(Debug)]
pub(in crate::edge) struct Call {
    pub(in crate::edge) found: ResolvedModel,
    /// The target, and the protocol that is spoken to it.
    pub(in crate::edge) choice: TargetChoice,
    pub(in crate::edge) upstream: Arc<Upstream>,
    /// The provider credentials, which no client and no log may see.
    pub(in crate::edge) keys: Arc<OwnKeys>,
    pub(in crate::edge) protocol: ProtocolId,
    pub(in crate::edge) upstream_model: String,
    /// The capabilities of the model.
    pub(in crate::edge) caps: Caps,
    /// The prices at this target; absent if it is free.
    pub(in crate::edge) prices: Option<Arc<Prices>>,
    /// The health of the target.
    pub(in crate::edge) health: Arc<TargetHealth>,
    /// The states of the provider's credentials; absent if it has only one.
    pub(in crate::edge) credentials: Option<Arc<Credentials>>,
    /// The metrics of the target.
    pub(in crate::edge) metrics: Option<Arc<TargetMetrics>>,
    pub(in crate::edge) body: Bytes,
    pub(in crate::edge) operation: Operation,
    /// The form in which the client wants the answer.
    pub(in crate::edge) form: Form,
    /// Whether the model reasons, because it is asked to or does so by default.
    pub(in crate::edge) thinks: bool,
    /// The number of answers that the client asks for.
    pub(in crate::edge) choices: u64,
    /// Whether the stream reports its usage only because the gateway has asked for it.
    pub(in crate::edge) withhold_usage: bool,
    /// The members of the request that were left out or changed.
    pub(in crate::edge) dropped: Option<String>,
    /// The carriers of reasoning in the request that were not opened.
    pub(in crate::edge) rejections: Rejections,
    /// The recorder of the containers that the answer names.
    pub(in crate::edge) claims: Option<Claims>,
    /// The recorder of the answer's id, if it matters who keeps the answer.
    pub(in crate::edge) id_recorder: Option<IdRecorder>,
    /// The conversation that the call belongs to, if it matters who answers.
    pub(in crate::edge) conversation: Option<Conversation>,
    /// The state of the translation; absent if client and provider speak the same protocol.
    pub(in crate::edge) bridged: Option<Bridged>,
}

/// The operation that a call asks of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Operation {
    /// An answer.
    Infer,
    /// The number of tokens that the request would take.
    Count,
    /// A summary with which the conversation goes on.
    Compact,
}

impl Operation {
    /// Whether a model answers, rather than only a counter.
    pub(in crate::edge) fn infers(self) -> bool {
        self != Self::Count
    }

    /// The name in OpenTelemetry's conventions, where they have one.
    pub(in crate::edge) fn as_str(self) -> &'static str {
        match self {
            Self::Infer | Self::Compact => "chat",
            Self::Count => "count_tokens",
        }
    }

    /// The endpoint in a protocol, below the base URL, for a model and the form of its answer; empty where it has none.
    fn path(self, protocol: ProtocolId, model: &str, form: Form) -> Cow<'static, str> {
        let speaker = protocol.protocol();
        match self {
            Self::Infer => speaker.call_path(model, form),
            Self::Count => speaker.count_call_path(model).unwrap_or_default(),
            // A provider without an endpoint for it is asked for a summary.
            Self::Compact => {
                speaker.compact_path().map_or_else(|| speaker.call_path(model, form), Cow::Borrowed)
            }
        }
    }
}

/// The state of a translated call.
#[derive(Debug)]
pub(in crate::edge) struct Bridged {
    pub(in crate::edge) client: ProtocolId,
    pub(in crate::edge) context: Arc<Context>,
    /// The estimated tokens of the request.
    pub(in crate::edge) estimate: u64,
    /// The beta feature of the provider that the request makes use of.
    pub(in crate::edge) beta: Option<&'static str>,
    /// The number of members that were left out or changed.
    pub(in crate::edge) losses: u64,
}

impl Call {
    /// Returns the target that the request is written for.
    pub(in crate::edge) fn target<'t>(&'t self, sealer: &'t Sealer) -> Target<'t> {
        Target {
            protocol: self.protocol,
            origin: &self.provider().name,
            model: &self.upstream_model,
            profile: &self.provider().profile,
            caps: &self.caps,
            sealer,
        }
    }

    /// Makes a call of a model at one of its targets, for which nothing is written yet. `caps` are the model's
    /// capabilities there, if they are known already.
    pub(in crate::edge) fn to(
        snapshot: &Snapshot,
        found: ResolvedModel,
        choice: TargetChoice,
        caps: Option<Caps>,
        operation: Operation,
    ) -> Result<Self> {
        let target = found.entry.targets.get(choice.target).ok_or_else(upstream::unknown)?;
        let way = snapshot.upstream(&target.provider.name).ok_or_else(upstream::unknown)?;
        let upstream_model = found.upstream_model(target).to_owned();
        let caps = caps.unwrap_or_else(|| found.caps(target, choice.protocol));
        Ok(Self {
            upstream: Arc::clone(way),
            keys: Arc::clone(&snapshot.keys),
            protocol: choice.protocol,
            upstream_model,
            caps,
            prices: target.prices.clone().filter(|_| snapshot.billing.counts_cost()),
            health: Arc::clone(&target.health),
            credentials: target.credentials.clone(),
            metrics: snapshot.target_metrics(&found.entry, choice.target),
            body: Bytes::new(),
            operation,
            form: Form::Whole,
            thinks: false,
            choices: 1,
            withhold_usage: false,
            dropped: None,
            rejections: Rejections::default(),
            claims: None,
            id_recorder: None,
            conversation: None,
            bridged: None,
            choice,
            found,
        })
    }

    /// Returns the provider's endpoint, below its base URL.
    pub(in crate::edge) fn path(&self) -> Cow<'static, str> {
        self.operation.path(self.protocol, &self.upstream_model, self.form)
    }

    /// Takes those facts from the request's head that matter to the answer.
    pub(in crate::edge) fn note_head(&mut self, head: &Head<'_>) {
        self.form = Form::of_stream(head.stream && self.operation != Operation::Compact);
        self.choices = head.choices;
        self.thinks = head.thinks || self.thinks_unasked();
    }

    /// Whether the model reasons unless it is told not to, by the configuration or by its name.
    fn thinks_unasked(&self) -> bool {
        let caps = &self.caps;
        let settings = &self.found.entry.caps;
        let silent = settings.thinks_by_default.is_none() && settings.thinking.is_none();
        caps.thinks_by_default
            || caps.thinking == ThinkingCaps::AdaptiveAlways
            || silent && is_thinker(&self.upstream_model)
    }

    /// Returns the bytes that the call keeps of a request of so many. A relayed request has about the length of
    /// the client's.
    pub(in crate::edge) fn held(&self, length: usize) -> usize {
        match &self.bridged {
            Some(bridged) => self.body.len() + bridged.context.size(),
            None if self.body.is_empty() => 0,
            None => length,
        }
    }

    /// Returns the way of the bytes, relay or translation, for the log.
    pub(in crate::edge) fn route(&self) -> &'static str {
        if self.bridged.is_some() { "translation" } else { "relay" }
    }

    /// Whether this status may mean that the provider has no endpoint for the protocol, which the body has to tell.
    pub(in crate::edge) fn may_lack_endpoint(&self, status: u16) -> bool {
        self.infers() && matches!(status, 404 | 405) && self.upstream.may_lack(self.protocol)
    }

    /// Whether an answer of this status and body shows that the provider has no endpoint for the protocol. An answer
    /// that names the model is about the model.
    pub(in crate::edge) fn shows_no_endpoint(&self, status: u16, body: &[u8]) -> bool {
        let is_about_model = || memchr::memmem::find(body, self.upstream_model.as_bytes()).is_some();
        self.may_lack_endpoint(status) && !is_about_model()
    }

    /// Whether a model answers, rather than only a counter.
    pub(in crate::edge) fn infers(&self) -> bool {
        self.operation.infers()
    }

    /// Notes that the provider answers.
    pub(in crate::edge) fn note_answering(&self) {
        self.upstream.endpoints.note_served(self.protocol);
        if let Some(conversation) = &self.conversation {
            conversation.note(&self.answerer());
        }
    }

    /// Returns the account at the provider that is asked.
    pub(in crate::edge) fn answerer(&self) -> Answerer {
        Answerer { provider: Arc::clone(&self.provider().name), credential: self.credential_name().cloned() }
    }

    /// Returns the facts of the attempt for a trace.
    pub(in crate::edge) fn tried(&self) -> Tried<'_> {
        let provider = self.provider();
        Tried {
            operation: self.operation.as_str(),
            provider: &provider.name,
            model: &self.upstream_model,
            host: &provider.base_url.host,
            port: provider.base_url.port,
        }
    }

    /// Returns the provider that is called.
    pub(in crate::edge) fn provider(&self) -> &Provider {
        &self.upstream.provider
    }

    /// Returns the name of the credential, if the provider has several.
    pub(in crate::edge) fn credential_name(&self) -> Option<&Arc<str>> {
        self.provider().credential_name(self.choice.credential)
    }

    /// Makes the reader of the provider's answer to a client that called its model `model`.
    pub(in crate::edge) fn reply(&self, model: &str) -> relay::Reply {
        let reply = relay::Reply::new(self.protocol.protocol(), model);
        let reply = reply.known_as(&self.upstream_model).with_habits(&self.provider().profile);
        reply.hiding(&self.keys).claiming(self.claims.clone()).recording(self.id_recorder.clone())
    }

    /// Makes the relay of the provider's stream.
    pub(in crate::edge) fn stream(&self, model: &str, event_bytes: usize) -> relay::Stream {
        relay::Stream::new(self.reply(model), &self.provider().profile, self.withhold_usage, event_bytes)
    }
}
