//! From a request's head and body to a call that can go upstream. The order of the checks is a promise.

use std::sync::Arc;

use bytes::Bytes;
use pingora_proxy::Session;
use std::time::Duration;

use crate::canon::{Caps, Context, Losses, Target};
use crate::failure::Result;
use crate::json::Body;
use crate::meter::Prices;
use crate::protocol::{Head, ProtocolId};
use crate::provider::Provider;
use crate::route::{self, Found};
use crate::translate::bridge;
use crate::translate::relay::{self, Edits};

use super::exchange::Exchange;
use super::intake::{self, Bounds};
use super::pay::{Need, Till};
use super::upstream::{self, Upstream};

/// A request on its way to a provider.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) found: Found,
    pub(super) upstream: Arc<Upstream>,
    pub(super) protocol: ProtocolId,
    /// The provider's endpoint, below its base URL.
    pub(super) path: &'static str,
    pub(super) upstream_model: String,
    /// What it costs there; absent: nothing.
    pub(super) prices: Option<Arc<Prices>>,
    pub(super) body: Bytes,
    /// Does the answer come from a model, and not only from a counter?
    pub(super) infers: bool,
    withhold_usage: bool,
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

/// A request, written for its provider.
struct Written {
    body: Writing,
    bridged: Option<Bridged>,
    losses: Losses,
}

/// How the body changes.
enum Writing {
    Edits(Edits),
    Fresh(Bytes),
}

impl Written {
    /// Bytes of a body that was written anew.
    fn length(&self) -> usize {
        match &self.body {
            Writing::Edits(_) => 0,
            Writing::Fresh(body) => body.len(),
        }
    }
}

/// Reads the body, finds the model and its target, writes the body for it, and sees that it is paid for.
///
/// # Errors
/// What the client did wrong, or 503 when the model is not there at the moment.
pub(super) async fn admit(
    till: &Till,
    session: &mut Session,
    exchange: &mut Exchange,
    protocol: ProtocolId,
    counts: bool,
) -> Result<()> {
    let limits = exchange.snapshot.limits;
    let bounds = Bounds { size: limits.body_bytes, time: Duration::from_secs(limits.body_seconds) };
    let mut body = intake::read(session, bounds).await?;
    exchange.bytes_in = body.bytes().len();
    let (mut call, head) = plan(exchange, protocol, counts, body.bytes())?;
    let mut need = Need::of(exchange, &call, &head, body.bytes())?;
    let wanted = need.output_cap;
    let mut written = write(exchange, &call, protocol, &head, body.bytes(), wanted)?;
    if call.infers {
        need.meet(till, exchange, &call, written.length()).await?;
        if need.output_cap != wanted {
            written = write(exchange, &call, protocol, &head, body.bytes(), need.output_cap)?;
        }
    }
    exchange.dropped =
        [written.losses.header(), need.notice()].into_iter().flatten().reduce(|a, b| a + ", " + &b);
    call.bridged = written.bridged;
    match written.body {
        Writing::Edits(edits) => call.withhold_usage = edits.apply(&mut body),
        Writing::Fresh(fresh) => body = Body::from(&*fresh),
    }
    call.body = body.freeze();
    exchange.call = Some(Box::new(call));
    Ok(())
}

/// Finds the model and its target.
fn plan<'b>(
    exchange: &mut Exchange,
    client: ProtocolId,
    counts: bool,
    body: &'b [u8],
) -> Result<(Call, Head<'b>)> {
    let speaker = client.protocol();
    let snapshot = Arc::clone(&exchange.snapshot);
    // Whether state may be referred to is the target's to say, and the target follows from the head: a
    // second scan, for the few deployments that allow it, costs less than two ways through the first.
    let strict = Head::read(body, speaker.members(), false);
    let head = match &strict {
        Ok(head) => head.clone(),
        Err(_) => Head::read(body, speaker.members(), true)?,
    };
    exchange.requested_model = Some(head.model.clone().into_owned());
    let grant = exchange.grant.as_ref().ok_or_else(upstream::unknown)?;
    let found = snapshot.catalog.find(&head.model, grant)?;
    let choice = route::choose(&found, client)?;
    let provider: Arc<Provider> = Arc::clone(&choice.target.provider);
    if !provider.allow_upstream_state {
        strict?;
    }
    let protocol = choice.protocol;
    let way = snapshot.upstream(&provider.name).ok_or_else(upstream::unknown)?;
    let call = Call {
        upstream: Arc::clone(way),
        protocol,
        path: path(protocol, counts),
        upstream_model: found.upstream_model(choice.target).to_owned(),
        prices: choice.target.prices.clone(),
        body: Bytes::new(),
        infers: !counts,
        withhold_usage: false,
        bridged: None,
        found,
    };
    Ok((call, head))
}

fn path(protocol: ProtocolId, counts: bool) -> &'static str {
    let speaker = protocol.protocol();
    if counts { speaker.count_path().unwrap_or_default() } else { speaker.path() }
}

/// Writes the request for its provider, with an answer of at most `output_cap` tokens if that is given.
fn write(
    exchange: &Exchange,
    call: &Call,
    client: ProtocolId,
    head: &Head<'_>,
    body: &[u8],
    output_cap: Option<u64>,
) -> Result<Written> {
    if call.protocol != client {
        return translated(exchange, call, client, &head.model, body, output_cap);
    }
    let (speaker, profile) = (client.protocol(), &call.provider().profile);
    let edits = Edits::of(speaker, body, head, profile, &call.upstream_model, output_cap);
    Ok(Written { body: Writing::Edits(edits), bridged: None, losses: Losses::default() })
}

/// The request in the words of the provider's protocol.
fn translated(
    exchange: &Exchange,
    call: &Call,
    client: ProtocolId,
    model: &str,
    body: &[u8],
    output_cap: Option<u64>,
) -> Result<Written> {
    let (provider, entry) = (call.provider(), &call.found.entry);
    let caps = Caps::of(call.protocol, &call.upstream_model).with(&entry.caps, entry.max_output);
    let target = Target {
        protocol: call.protocol,
        origin: &provider.name,
        model: &call.upstream_model,
        profile: &provider.profile,
        caps: &caps,
    };
    let facts = bridge::Facts {
        request_id: &exchange.id,
        now: u64::try_from(exchange.time.as_second()).unwrap_or(0),
        model,
        strict: exchange.is_strict() || entry.strict,
        counting: !call.infers,
        output_cap,
    };
    let written = bridge::render(client.protocol(), body, &target, &facts)?;
    let bridged = Bridged {
        client,
        context: written.context,
        stream: written.stream,
        estimate: written.estimate,
        losses: written.losses.list().len() as u64,
    };
    Ok(Written { body: Writing::Fresh(written.body), bridged: Some(bridged), losses: written.losses })
}

impl Call {
    /// What happens to its bytes, for the log.
    pub(super) fn route(&self) -> &'static str {
        if self.bridged.is_some() { "translation" } else { "relay" }
    }

    /// The provider that answers.
    pub(super) fn provider(&self) -> &Provider {
        &self.upstream.provider
    }

    /// What reads the provider's answer to a client that called its model `model`.
    pub(super) fn reply(&self, model: &str) -> relay::Reply {
        let reply = relay::Reply::new(self.protocol.protocol(), model);
        reply.known_as(&self.upstream_model).with_habits(&self.provider().profile)
    }

    /// What passes on the provider's stream.
    pub(super) fn stream(&self, model: &str, event_bytes: usize) -> relay::Stream {
        relay::Stream::new(self.reply(model), &self.provider().profile, self.withhold_usage, event_bytes)
    }
}
