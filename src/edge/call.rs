//! One request on its way to one target.

use std::sync::Arc;

use bytes::Bytes;

use crate::canon::{Caps, Context, Rejections, Sealer, Target, ThinkingCaps, is_thinker};
use crate::failure::Result;
use crate::meter::Prices;
use crate::observe::{TargetMetrics, Tried};
use crate::protocol::{Head, ProtocolId};
use crate::provider::Provider;
use crate::route::{Choice, Found, TargetHealth};
use crate::translate::OwnKeys;
use crate::translate::owners::Claims;
use crate::translate::relay;

use super::snapshot::Snapshot;
use super::upstream::{self, Upstream};

/// A request on its way to a provider.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) found: Found,
    pub(super) upstream: Arc<Upstream>,
    /// What no client and no log may see of what providers say.
    pub(super) keys: Arc<OwnKeys>,
    pub(super) protocol: ProtocolId,
    /// The provider's endpoint, below its base URL.
    pub(super) path: &'static str,
    pub(super) upstream_model: String,
    /// What it costs there; absent: nothing.
    pub(super) prices: Option<Arc<Prices>>,
    /// How the target is.
    pub(super) health: Arc<TargetHealth>,
    /// What is measured of the target.
    pub(super) metrics: Option<Arc<TargetMetrics>>,
    pub(super) body: Bytes,
    /// Does the answer come from a model, and not only from a counter?
    pub(super) infers: bool,
    /// Does the client want a stream?
    pub(super) streams: bool,
    /// Whether the model is asked to think, or is known to do so unasked.
    pub(super) thinks: bool,
    /// How many answers the client wants at once.
    pub(super) choices: u64,
    /// Whether the usage of a stream is reported only because the gateway has asked for it.
    pub(super) withhold_usage: bool,
    /// Carriers of the request that were not opened.
    pub(super) rejections: Rejections,
    /// What notes the containers of the answer.
    pub(super) claims: Option<Claims>,
    /// What a call needs whose provider speaks another protocol than the client.
    pub(super) bridged: Option<Bridged>,
}

/// What a translated call needs.
#[derive(Debug)]
pub(super) struct Bridged {
    pub(super) client: ProtocolId,
    pub(super) context: Arc<Context>,
    /// Does the client want a stream?
    pub(super) stream: bool,
    /// Tokens of the request, estimated.
    pub(super) estimate: u64,
    /// How many members could not be carried as they were.
    pub(super) losses: u64,
}

impl Call {
    /// What the model can do.
    pub(super) fn caps(&self) -> Caps {
        let entry = &self.found.entry;
        Caps::of(self.protocol, &self.upstream_model).with(&entry.caps, entry.max_output)
    }

    /// Who its request is written for.
    pub(super) fn target<'t>(&'t self, caps: &'t Caps, sealer: &'t Sealer) -> Target<'t> {
        Target {
            protocol: self.protocol,
            origin: &self.provider().name,
            model: &self.upstream_model,
            profile: &self.provider().profile,
            caps,
            sealer,
        }
    }

    /// A call of a model to one of its targets, for which nothing is written yet.
    pub(super) fn to(snapshot: &Snapshot, found: Found, choice: Choice, counts: bool) -> Result<Self> {
        let target = found.entry.targets.get(choice.target).ok_or_else(upstream::unknown)?;
        let way = snapshot.upstream(&target.provider.name).ok_or_else(upstream::unknown)?;
        Ok(Self {
            upstream: Arc::clone(way),
            keys: Arc::clone(&snapshot.keys),
            protocol: choice.protocol,
            path: path(choice.protocol, counts),
            upstream_model: found.upstream_model(target).to_owned(),
            prices: target.prices.clone(),
            health: Arc::clone(&target.health),
            metrics: snapshot.target_metrics(&found.entry, choice.target),
            body: Bytes::new(),
            infers: !counts,
            streams: false,
            thinks: false,
            choices: 1,
            withhold_usage: false,
            rejections: Rejections::default(),
            claims: None,
            bridged: None,
            found,
        })
    }

    /// Takes from the request's head what matters to the answer.
    pub(super) fn told_by(&mut self, head: &Head<'_>) {
        self.streams = head.stream;
        self.choices = head.choices;
        self.thinks = head.thinks || self.thinks_unasked();
    }

    /// Whether the model thinks unless it is told not to, by the configuration or by its name.
    fn thinks_unasked(&self) -> bool {
        let caps = self.caps();
        let settings = &self.found.entry.caps;
        let silent = settings.thinks_by_default.is_none() && settings.thinking.is_none();
        caps.thinks_by_default
            || caps.thinking == ThinkingCaps::AdaptiveAlways
            || silent && is_thinker(&self.upstream_model)
    }

    /// Bytes that it keeps of a request of so many. One that is relayed is as long as it came, but for a few bytes.
    pub(super) fn held(&self, length: usize) -> usize {
        match &self.bridged {
            Some(bridged) => self.body.len() + bridged.context.size(),
            None if self.body.is_empty() => 0,
            None => length,
        }
    }

    /// What happens to its bytes, for the log.
    pub(super) fn route(&self) -> &'static str {
        if self.bridged.is_some() { "translation" } else { "relay" }
    }

    /// What is done, by the names of OpenTelemetry's conventions where they have one.
    pub(super) fn operation(&self) -> &'static str {
        if self.infers { "chat" } else { "count_tokens" }
    }

    /// What a trace says of the try of its target.
    pub(super) fn tried(&self) -> Tried<'_> {
        let provider = self.provider();
        Tried {
            operation: self.operation(),
            provider: &provider.name,
            model: &self.upstream_model,
            host: &provider.base_url.host,
            port: provider.base_url.port,
        }
    }

    /// The provider that answers.
    pub(super) fn provider(&self) -> &Provider {
        &self.upstream.provider
    }

    /// What reads the provider's answer to a client that called its model `model`.
    pub(super) fn reply(&self, model: &str) -> relay::Reply {
        let reply = relay::Reply::new(self.protocol.protocol(), model);
        let reply = reply.known_as(&self.upstream_model).with_habits(&self.provider().profile);
        reply.hiding(&self.keys).claiming(self.claims.clone())
    }

    /// What passes on the provider's stream.
    pub(super) fn stream(&self, model: &str, event_bytes: usize) -> relay::Stream {
        relay::Stream::new(self.reply(model), &self.provider().profile, self.withhold_usage, event_bytes)
    }
}

fn path(protocol: ProtocolId, counts: bool) -> &'static str {
    let speaker = protocol.protocol();
    if counts { speaker.count_path().unwrap_or_default() } else { speaker.path() }
}
