//! From a request's head and body to a call that can go upstream. The order of the checks is a promise.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pingora_proxy::Session;

use crate::canon::{Caps, Context, Losses, Rejections, Sealer, Target, ThinkingCaps, is_thinker};
use crate::failure::{Failure, Kind, Result};
use crate::json::Body;
use crate::meter::Prices;
use crate::observe::{TargetMetrics, Tried};
use crate::protocol::{Head, ProtocolId, Spare};
use crate::provider::Provider;
use crate::route::{self, Choice, Found, TargetHealth};
use crate::translate::owners::Claims;
use crate::translate::relay::{self, Edits};
use crate::translate::{OwnKeys, bridge};

use super::exchange::Exchange;
use super::failover::Rest;
use super::pay::{Need, Till};
use super::snapshot::Snapshot;
use super::upstream::{self, Upstream};
use super::{headers, intake, priced};

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
    withhold_usage: bool,
    /// Carriers of the request that were not opened.
    pub(super) rejections: Rejections,
    /// What notes the containers of the answer.
    claims: Option<Claims>,
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
    rejections: Rejections,
    claims: Option<Claims>,
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

/// A request that was looked at, and where it may go.
struct Plan<'b> {
    head: Head<'b>,
    found: Found,
    choices: VecDeque<Choice>,
}

/// Reads the body, finds the model and its targets, writes the body for the first of them, and sees that it is
/// paid for.
///
/// # Errors
/// What the client did wrong, or 503 when the model is not there at the moment.
pub(super) async fn admit(
    till: &Till,
    session: &mut Session,
    exchange: &mut Exchange,
    client: ProtocolId,
    counts: bool,
) -> Result<()> {
    let mut body = intake::read(session, exchange).await?;
    exchange.bytes_in = body.bytes().len();
    let hint = headers::session(&session.req_header().headers);
    let members = client.protocol().members();
    let Plan { mut head, found, mut choices } = plan(exchange, client, hint, body.bytes())?;
    if !counts
        && exchange.snapshot.billing.is_on()
        && let Err(refusal) = priced::retain(&mut choices, &found, &head.demand)
    {
        let can_spare = !exchange.is_strict() && !found.entry.strict;
        let spare = can_spare.then(|| priced::spare(&choices, &found, body.bytes(), members)).flatten();
        let Spare { edits, paths } = spare.ok_or(refusal)?;
        body.splice(&edits);
        head = Head::read(body.bytes(), members, true)?;
        priced::retain(&mut choices, &found, &head.demand)?;
        let mut losses = Losses::default();
        paths.iter().try_for_each(|path| losses.drop_named(path))?;
        exchange.spared = losses.header();
    }
    let first = choices.pop_front().ok_or_else(upstream::unknown)?;
    let mut call = Call::to(&exchange.snapshot, found, first, counts)?;
    let mut need = Need::of(exchange, &call, &head, body.bytes())?;
    let wanted = need.output_cap;
    let mut written = write(exchange, &call, client, &head, body.bytes(), wanted)?;
    call.told_by(&head);
    if call.infers {
        let prices = choices.iter().map(|choice| call.found.entry.targets.get(choice.target));
        let prices = prices.flatten().map(|target| target.prices.clone()).collect();
        need.meet(till, exchange, &call, prices, written.length()).await?;
        if need.output_cap != wanted {
            written = write(exchange, &call, client, &head, body.bytes(), need.output_cap)?;
        }
        if !choices.is_empty() {
            let body = Bytes::copy_from_slice(body.bytes());
            exchange.rest = Some(Box::new(Rest { choices, client, body, need }));
        }
    }
    put(exchange, &mut call, written, need.notice(), body);
    exchange.call = Some(Box::new(call));
    let held = exchange.held();
    let fits = exchange.slot.as_mut().map_or(Ok(()), |slot| slot.fit(held));
    fits.map_err(|shed| exchange.shed(shed))
}

/// The call for another target, from the body as the client has sent it.
///
/// # Errors
/// 400 for what that target can not be asked, or 500 when the configuration does not know it.
pub(super) fn redirect(exchange: &mut Exchange, rest: &Rest, choice: Choice) -> Result<Call> {
    let found = exchange.call()?.found.clone();
    let mut call = Call::to(&exchange.snapshot, found, choice, false)?;
    let head = Head::read(&rest.body, rest.client.protocol().members(), true)?;
    may_ask(exchange, call.provider(), &head)?;
    call.told_by(&head);
    let need = rest.need.elsewhere(exchange, &call)?;
    let written = write(exchange, &call, rest.client, &head, &rest.body, need.output_cap)?;
    put(exchange, &mut call, written, need.notice(), Body::from(&*rest.body));
    Ok(call)
}

/// Finds the model and its targets.
fn plan<'b>(
    exchange: &mut Exchange,
    client: ProtocolId,
    hint: Option<&str>,
    body: &'b [u8],
) -> Result<Plan<'b>> {
    let speaker = client.protocol();
    let head = Head::read(body, speaker.members(), true)?;
    // What can be no model's name is kept nowhere.
    exchange.requested_model =
        Some(&*head.model).filter(|name| route::is_model_name(name)).map(str::to_owned);
    let grant = exchange.grant.as_ref().ok_or_else(upstream::unknown)?;
    let found = exchange.snapshot.catalog.find(&head.model, grant)?;
    let mut choices = VecDeque::from(route::order(&found, client, hint, exchange.caller(), Instant::now())?);
    let mut refusal = Ok(());
    choices.retain(|choice| match found.entry.targets.get(choice.target) {
        Some(target) => match may_ask(exchange, &target.provider, &head) {
            Ok(()) => true,
            refused => {
                refusal = refused;
                false
            }
        },
        None => false,
    });
    if choices.is_empty() {
        refusal?;
    }
    Ok(Plan { head, found, choices })
}

/// Whether a provider may be asked this, as far as it is a matter of whose state and which other models it names.
///
/// # Errors
/// 400 for the first member that it may not be asked.
fn may_ask(exchange: &Exchange, provider: &Provider, head: &Head<'_>) -> Result<()> {
    head.check_inner(&provider.inner_models)?;
    if provider.allow_upstream_state {
        return Ok(());
    }
    if let Some(stateful) = &head.stateful {
        return Err(stateful.clone());
    }
    let tenants = &exchange.snapshot.tenants;
    tenants.strange_container(exchange.grant.as_ref(), head, Kind::UnsupportedState).map_or(Ok(()), Err)
}

/// Puts what was written into the call.
fn put(exchange: &mut Exchange, call: &mut Call, written: Written, notice: Option<String>, mut body: Body) {
    let told = [exchange.spared.clone(), written.losses.header(), notice];
    exchange.dropped = told.into_iter().flatten().reduce(|a, b| a + ", " + &b);
    (call.rejections, call.claims) = (written.rejections, written.claims);
    call.bridged = written.bridged;
    match written.body {
        Writing::Edits(edits) => call.withhold_usage = edits.apply(&mut body),
        Writing::Fresh(fresh) => {
            call.body = fresh;
            return;
        }
    }
    call.body = body.freeze();
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
        let strict = exchange.is_strict() || call.found.entry.strict;
        let facts = bridge::Facts { strict, output_cap, ..facts(exchange, call, &head.model) };
        return translated(call, client, body, &facts, &exchange.sealer());
    }
    let (speaker, profile) = (client.protocol(), &call.provider().profile);
    let edits = Edits::of(speaker, body, head, profile, &call.upstream_model, output_cap);
    let claims = exchange.snapshot.tenants.claims(exchange.grant.as_ref(), client, body);
    let rejections = edits.rejections();
    Ok(Written { body: Writing::Edits(edits), bridged: None, losses: Losses::default(), rejections, claims })
}

/// The request in the words of the provider's protocol.
fn translated(
    call: &Call,
    client: ProtocolId,
    body: &[u8],
    facts: &bridge::Facts<'_>,
    sealer: &Sealer,
) -> Result<Written> {
    let caps = call.caps();
    let written = bridge::render(client.protocol(), body, &call.target(&caps, sealer), facts)?;
    let bridged = Bridged {
        client,
        context: written.context,
        stream: written.stream,
        estimate: written.estimate,
        losses: written.losses.list().len() as u64,
    };
    let rejections = written.losses.rejections();
    let body = Writing::Fresh(written.body);
    Ok(Written { body, bridged: Some(bridged), losses: written.losses, rejections, claims: None })
}

/// What the answer to a relayed request has to know of it, where it can not be relayed.
///
/// # Errors
/// 502 when the request says what only a relay can carry an answer to: the provider has answered in another form
/// than it was asked to.
pub(super) fn context(exchange: &Exchange, call: &Call) -> Result<Arc<Context>> {
    let model = exchange.requested_model.as_deref().unwrap_or_default();
    let speaker = call.protocol.protocol();
    // Others ask for what can be turned, so this is not how the target is.
    let misfit = || Failure::provider("the answer is not in the form that was asked for").at_cost();
    if Head::read(&call.body, speaker.members(), true).is_ok_and(|head| head.choices > 1) {
        return Err(misfit());
    }
    let (caps, facts) = (call.caps(), facts(exchange, call, model));
    let sealer = exchange.sealer();
    let context =
        bridge::context(speaker, &call.body, &call.target(&caps, &sealer), &facts).map_err(|_| misfit())?;
    // Not if only the gateway has asked for it.
    let include_usage = context.include_usage && !call.withhold_usage;
    Ok(Arc::new(Context { include_usage, ..context }))
}

fn facts<'f>(exchange: &'f Exchange, call: &Call, model: &'f str) -> bridge::Facts<'f> {
    bridge::Facts {
        request_id: &exchange.id,
        now: exchange.seconds(),
        model,
        strict: false,
        counting: !call.infers,
        output_cap: None,
    }
}

impl Call {
    /// What the model can do.
    pub(super) fn caps(&self) -> Caps {
        let entry = &self.found.entry;
        Caps::of(self.protocol, &self.upstream_model).with(&entry.caps, entry.max_output)
    }

    /// Who its request is written for.
    fn target<'t>(&'t self, caps: &'t Caps, sealer: &'t Sealer) -> Target<'t> {
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
    fn to(snapshot: &Snapshot, found: Found, choice: Choice, counts: bool) -> Result<Self> {
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
    fn told_by(&mut self, head: &Head<'_>) {
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
