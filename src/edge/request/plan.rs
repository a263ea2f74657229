//! From a request's head and body to a call that can go upstream. The order of the checks is a promise.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pingora_proxy::Session;

use crate::canon::{Context, Losses, Rejections, Sealer};
use crate::edge::call::estimate::CostEstimate;
use crate::edge::call::exchange::Exchange;
use crate::edge::call::fallback::Fallbacks;
use crate::edge::call::pay::Quotas;
use crate::edge::call::priced;
use crate::edge::call::target::{Bridged, Call};
use crate::edge::request::headers;
use crate::edge::request::intake;
use crate::edge::upstream;
use crate::failure::{Failure, Kind, Result};
use crate::json::Body;
use crate::protocol::{Head, ProtocolId, Spare};
use crate::provider::Provider;
use crate::route::{self, Choice, Found};
use crate::translate::bridge;
use crate::translate::owners::Claims;
use crate::translate::relay::Edits;

/// A request, written for its provider.
struct Written {
    body: Writing,
    bridged: Option<Bridged>,
    losses: Losses,
    rejections: Rejections,
    claims: Option<Claims>,
}

/// The change of the body.
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
pub(in crate::edge) async fn admit(
    quotas: &Quotas,
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
    let counts_money = !counts && exchange.snapshot.billing.is_on();
    if counts_money && let Err(refusal) = priced::retain(&mut choices, &found, &head.demand) {
        let can_spare = !exchange.is_strict(&found.entry);
        let spare = can_spare.then(|| priced::spare(&choices, &found, body.bytes(), members)).flatten();
        let Spare { edits, paths } = spare.ok_or(refusal)?;
        body.splice(&edits);
        head = Head::read(body.bytes(), members)?;
        priced::retain(&mut choices, &found, &head.demand)?;
        let mut losses = Losses::default();
        paths.iter().try_for_each(|path| losses.drop_named(path))?;
        exchange.spared = losses.header();
    }
    let first = choices.pop_front().ok_or_else(upstream::unknown)?;
    let mut call = Call::to(&exchange.snapshot, found, first, counts)?;
    let elsewhere: Vec<_> =
        choices.iter().map(|choice| priced::prices(choice, &call.found).cloned()).collect();
    let is_priced = call.prices.is_some() || elsewhere.iter().any(Option::is_some);
    let paid = counts_money && is_priced;
    let strict = exchange.is_strict(&call.found.entry);
    let mut estimate = CostEstimate::of(&call, &head, body.bytes().len(), paid, strict);
    let wanted = estimate.output_cap;
    let mut written = write(exchange, &call, client, &head, body.bytes(), wanted)?;
    call.told_by(&head);
    if call.infers {
        estimate.reserve(quotas, exchange, &call, elsewhere, written.length()).await?;
        if estimate.output_cap != wanted {
            written = write(exchange, &call, client, &head, body.bytes(), estimate.output_cap)?;
        }
        if !choices.is_empty() {
            let body = match written.body {
                Writing::Edits(_) => Bytes::copy_from_slice(body.bytes()),
                // Its provider gets another one, so it need not be copied.
                Writing::Fresh(_) => std::mem::take(&mut body).freeze(),
            };
            exchange.fallbacks = Some(Box::new(Fallbacks { choices, client, body, estimate }));
        }
    }
    put(exchange, &mut call, written, estimate.notice(), body);
    exchange.call = Some(Box::new(call));
    let held = exchange.held();
    let fits = exchange.slot.as_mut().map_or(Ok(()), |slot| slot.fit(held));
    fits.map_err(|shed| exchange.shed(shed))
}

/// The call for another target, from the body as it was before it was written for the first one.
///
/// # Errors
/// 400 for what that target cannot be asked, or 500 when the configuration does not know it.
pub(in crate::edge) fn redirect(
    exchange: &mut Exchange,
    fallbacks: &Fallbacks,
    choice: Choice,
) -> Result<Call> {
    let found = exchange.call()?.found.clone();
    let mut call = Call::to(&exchange.snapshot, found, choice, false)?;
    let head = Head::read(&fallbacks.body, fallbacks.client.protocol().members())?;
    may_ask(exchange, call.provider(), &head)?;
    call.told_by(&head);
    let estimate = fallbacks.estimate.elsewhere(exchange, &call)?;
    let written = write(exchange, &call, fallbacks.client, &head, &fallbacks.body, estimate.output_cap)?;
    put(exchange, &mut call, written, estimate.notice(), Body::from(&*fallbacks.body));
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
    let head = Head::read(body, speaker.members())?;
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
        let strict = exchange.is_strict(&call.found.entry);
        let facts = bridge::RequestFacts { strict, output_cap, ..facts(exchange, call, &head.model) };
        return translated(call, client, body, &facts, &exchange.sealer());
    }
    let (speaker, profile) = (client.protocol(), &call.provider().profile);
    let edits = Edits::of(speaker, body, head, profile, &call.upstream_model, output_cap);
    let claims = exchange.snapshot.tenants.claims(exchange.grant.as_ref(), client, &head.demand);
    let rejections = edits.rejections();
    Ok(Written { body: Writing::Edits(edits), bridged: None, losses: Losses::default(), rejections, claims })
}

/// The request in the words of the provider's protocol.
fn translated(
    call: &Call,
    client: ProtocolId,
    body: &[u8],
    facts: &bridge::RequestFacts<'_>,
    sealer: &Sealer,
) -> Result<Written> {
    let written = bridge::render(client.protocol(), body, &call.target(sealer), facts)?;
    let bridged = Bridged {
        client,
        context: written.context,
        estimate: written.estimate,
        losses: written.losses.list().len() as u64,
    };
    let rejections = written.losses.rejections();
    let body = Writing::Fresh(written.body);
    Ok(Written { body, bridged: Some(bridged), losses: written.losses, rejections, claims: None })
}

/// Makes the context of an answer to a relayed request, where the answer cannot be relayed.
///
/// # Errors
/// 502 when the request says what only a relay can carry an answer to: the provider has answered in another form
/// than it was asked to.
pub(in crate::edge) fn context(exchange: &Exchange, call: &Call) -> Result<Arc<Context>> {
    let speaker = call.protocol.protocol();
    // Others ask for what can be turned, so this is not how the target is.
    let misfit = || Failure::provider("the answer is not in the form that was asked for").at_cost();
    if Head::read(&call.body, speaker.members()).is_ok_and(|head| head.choices > 1) {
        return Err(misfit());
    }
    let facts = facts(exchange, call, exchange.client_model());
    let sealer = exchange.sealer();
    let context =
        bridge::context(speaker, &call.body, &call.target(&sealer), &facts).map_err(|_| misfit())?;
    // Not if only the gateway has asked for it.
    let include_usage = context.include_usage && !call.withhold_usage;
    Ok(Arc::new(Context { include_usage, ..context }))
}

fn facts<'f>(exchange: &'f Exchange, call: &Call, model: &'f str) -> bridge::RequestFacts<'f> {
    bridge::RequestFacts {
        request_id: &exchange.id,
        now: exchange.seconds(),
        model,
        strict: false,
        counting: !call.infers,
        output_cap: None,
    }
}
