//! From a request's head and body to a call that can go upstream. The order of the checks is documented and stays
//! the same.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::canon::{Caps, Context, Losses, Rejections, Sealer};
use crate::edge::call::billing::{Billing, Quotas};
use crate::edge::call::conversations::{Answerer, Conversation};
use crate::edge::call::estimate::{CostEstimate, Payment};
use crate::edge::call::fallback::Fallbacks;
use crate::edge::call::priced;
use crate::edge::call::request_info::RequestInfo;
use crate::edge::call::target::{Bridged, Call, Operation};
use crate::edge::upstream;
use crate::failure::{Failure, Kind, Result};
use crate::json::Body;
use crate::protocol::{Head, ProtocolId, Spare};
use crate::provider::Provider;
use crate::route::{self, ResolvedModel, TargetChoice};
use crate::translate::bridge;
use crate::translate::id_recorder::IdRecorder;
use crate::translate::owners::Claims;
use crate::translate::relay::Edits;

/// A request as it was written for its provider.
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
    /// Returns the bytes of a rewritten body.
    fn length(&self) -> usize {
        match &self.body {
            Writing::Edits(_) => 0,
            Writing::Fresh(body) => body.len(),
        }
    }
}

/// A request that was read, and the targets that it may go to.
struct Plan<'b> {
    head: Head<'b>,
    found: ResolvedModel,
    choices: VecDeque<TargetChoice>,
    conversation: Option<Conversation>,
}

/// Finds the model of a body and its targets, writes the body for the first of them, and sees that it is paid for.
/// `hint` tells which calls belong together. Gives the call, and the targets that it may still go to.
///
/// # Errors
/// Returns a 4xx failure if the client made a mistake or has reached a limit, and 503 if the model is not
/// available.
pub(in crate::edge) async fn admit(
    quotas: &Quotas,
    request: &mut RequestInfo,
    billing: &mut Billing,
    (client, operation): (ProtocolId, Operation),
    hint: Option<&str>,
    mut body: Body,
) -> Result<(Call, Option<Fallbacks>)> {
    let members = client.protocol().members();
    let Plan { mut head, found, mut choices, conversation } =
        find_targets(request, client, hint, body.bytes())?;
    let mut spared = None;
    let mode = request.snapshot.billing;
    let costs = operation.infers() && mode.counts_cost();
    let pays =
        costs && request.grant.as_ref().is_some_and(|key| mode.requires_wallet() || key.has_limited_money());
    if pays && let Err(refusal) = priced::retain(&mut choices, &found, &head.demand) {
        let can_spare = !request.is_strict(&found.entry);
        let spare = can_spare.then(|| priced::spare(&choices, &found, body.bytes(), members)).flatten();
        let Spare { edits, paths } = spare.ok_or(refusal)?;
        body.splice(&edits);
        head = Head::read(body.bytes(), members)?;
        priced::retain(&mut choices, &found, &head.demand)?;
        let mut losses = Losses::default();
        paths.iter().try_for_each(|path| losses.drop_named(path))?;
        spared = losses.header();
    }
    let first = choices.pop_front().ok_or_else(upstream::unknown)?;
    let (first, caps) = in_protocol(request, &found, client, &head, first);
    let mut call = Call::to(&request.snapshot, found, first, caps, operation)?;
    let elsewhere: Vec<_> =
        choices.iter().map(|choice| priced::prices(choice, &call.found).cloned()).collect();
    let is_priced = call.prices.is_some() || elsewhere.iter().any(Option::is_some);
    let payment = match is_priced && costs {
        false => Payment::Free,
        true if pays => Payment::Held { needs_wallet: mode.requires_wallet() },
        true => Payment::Tracked,
    };
    let strict = request.is_strict(&call.found.entry);
    let mut estimate = CostEstimate::of(&call, &head, body.bytes().len(), payment, strict);
    let wanted = estimate.output_cap;
    let mut written = write_request(request, &call, client, &head, body.bytes(), wanted)?;
    call.note_head(&head);
    call.conversation = conversation;
    call.id_recorder = id_recorder(request, &call);
    let mut fallbacks = None;
    if call.infers() {
        let grant = request.grant.as_ref().ok_or_else(upstream::unknown)?;
        estimate.reserve(quotas, grant, billing, &call, elsewhere, written.length()).await?;
        if estimate.output_cap != wanted {
            written = write_request(request, &call, client, &head, body.bytes(), estimate.output_cap)?;
        }
        if !choices.is_empty() || call.upstream.may_lack(call.protocol) {
            let body = match written.body {
                Writing::Edits(_) => Bytes::copy_from_slice(body.bytes()),
                // The provider gets another body, so this one need not be copied.
                Writing::Fresh(_) => std::mem::take(&mut body).freeze(),
            };
            let spared = spared.clone();
            fallbacks = Some(Fallbacks { choices, client, body, spared, estimate });
        }
    }
    put_written(&mut call, written, [spared, estimate.notice()], body);
    Ok((call, fallbacks))
}

/// Makes the call for another target, from the body as it was before it was written for the first one.
///
/// # Errors
/// Returns 400 if the target cannot serve the request, and 500 if it is not configured.
pub(in crate::edge) fn redirect(
    request: &RequestInfo,
    billing: &mut Billing,
    last: &Call,
    fallbacks: &Fallbacks,
    choice: TargetChoice,
) -> Result<Call> {
    let head = Head::read(&fallbacks.body, fallbacks.client.protocol().members())?;
    let (choice, caps) = in_protocol(request, &last.found, fallbacks.client, &head, choice);
    let mut call = Call::to(&request.snapshot, last.found.clone(), choice, caps, last.operation)?;
    may_ask(request, call.provider(), &head)?;
    call.note_head(&head);
    call.conversation.clone_from(&last.conversation);
    call.id_recorder = id_recorder(request, &call);
    let estimate = fallbacks.estimate.elsewhere(billing, &call)?;
    let written =
        write_request(request, &call, fallbacks.client, &head, &fallbacks.body, estimate.output_cap)?;
    put_written(
        &mut call,
        written,
        [fallbacks.spared.clone(), estimate.notice()],
        Body::from(&*fallbacks.body),
    );
    Ok(call)
}

/// Finds the model and its targets.
fn find_targets<'b>(
    request: &mut RequestInfo,
    client: ProtocolId,
    hint: Option<&str>,
    body: &'b [u8],
) -> Result<Plan<'b>> {
    let speaker = client.protocol();
    let head = Head::read(body, speaker.members())?;
    // A name that is too long or not printable is not kept anywhere.
    request.requested_model = Some(&*head.model).filter(|name| route::is_model_name(name)).map(str::to_owned);
    let grant = request.grant.as_ref().ok_or_else(upstream::unknown)?;
    let found = request.snapshot.catalog.find(&head.model, grant)?;
    let tenants = &request.snapshot.tenants;
    let conversation =
        Conversation::of(&tenants.conversations, &found, grant, hint, (body, speaker.members()));
    let mut choices = ordered(request, &found, client, (hint, conversation.as_ref()), &head)?;
    let mut refusal = Ok(());
    choices.retain(|choice| match found.entry.targets.get(choice.target) {
        Some(target) => match may_ask(request, &target.provider, &head) {
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
    Ok(Plan { head, found, choices, conversation })
}

/// Returns the recorder of the answer's id, if it matters who keeps the answer.
fn id_recorder(request: &RequestInfo, call: &Call) -> Option<IdRecorder> {
    let account = &request.grant.as_ref()?.account;
    request.snapshot.tenants.stored_answers.recorder(account, call)
}

/// Returns the provider that keeps the answer from which a request goes on, if it is known and still serves the model.
fn keeper(request: &RequestInfo, found: &ResolvedModel, head: &Head<'_>) -> Option<Answerer> {
    let (grant, earlier) = (request.grant.as_ref()?, head.earlier_answer.as_ref()?);
    let keeper = request.snapshot.tenants.stored_answers.keeper(&grant.account, earlier);
    keeper.filter(|keeper| keeper.serves(found))
}

/// Returns the targets in the order in which they are to be tried. A conversation with thinking that only one provider
/// accepts, or with an answer that only one keeps, stays with that provider.
fn ordered(
    request: &RequestInfo,
    found: &ResolvedModel,
    client: ProtocolId,
    (hint, conversation): (Option<&str>, Option<&Conversation>),
    head: &Head<'_>,
) -> Result<VecDeque<TargetChoice>> {
    let own = conversation.filter(|_| hint.is_none()).map(Conversation::name);
    let signed = conversation.filter(|_| head.has_signatures);
    let keeper = keeper(request, found, head);
    let is_bound = signed.is_some() || keeper.is_some();
    let earlier = keeper.or_else(|| signed?.answerer(found));
    let sought = route::Sought {
        client,
        session: hint.or(own.as_deref()),
        provider: earlier.as_ref().map(|earlier| &*earlier.provider),
        credential: earlier.as_ref().and_then(|earlier| earlier.credential.as_deref()),
        account: request.grant.as_ref().map_or("", |grant| &grant.account),
        has_state: head.stateful.is_some(),
    };
    let mut choices = VecDeque::from(route::order(found, sought, request.caller(), Instant::now())?);
    if is_bound {
        let provider = |choice: &TargetChoice| {
            Some((&found.entry.targets.get(choice.target)?.provider.name, choice.credential))
        };
        let first = choices.front().and_then(provider);
        choices.retain(|choice| provider(choice) == first);
    }
    Ok(choices)
}

/// Returns the choice with the protocol in which this request goes to its target: not one that the provider lacks, and
/// Responses instead of Chat for models that take such a request only there. It comes with the model's capabilities in
/// this protocol, if they had to be known for that.
fn in_protocol(
    request: &RequestInfo,
    found: &ResolvedModel,
    client: ProtocolId,
    head: &Head<'_>,
    choice: TargetChoice,
) -> (TargetChoice, Option<Caps>) {
    let Some(target) = found.entry.targets.get(choice.target) else { return (choice, None) };
    let Some(upstream) = request.snapshot.upstream(&target.provider.name) else { return (choice, None) };
    let now = Instant::now();
    let lacks =
        |protocol| target.provider.is_assumed_to_speak(protocol) && upstream.endpoints.lacks(protocol, now);
    let speaks = |protocol| target.speaks(protocol) && !lacks(protocol);
    let may_refuse =
        client == ProtocolId::Chat && target.provider.profile.is_openai && speaks(ProtocolId::Responses);
    let caps = may_refuse.then(|| found.caps(target, ProtocolId::Chat));
    let refuses = |caps: &Caps| head.chat.needs_responses(caps.cc_tools, found.upstream_model(target));
    let protocol = match client {
        _ if caps.as_ref().is_some_and(refuses) => ProtocolId::Responses,
        client if speaks(client) => client,
        _ => target.protocols.iter().copied().find(|protocol| speaks(*protocol)).unwrap_or(choice.protocol),
    };
    (TargetChoice { protocol, ..choice }, caps.filter(|_| protocol == ProtocolId::Chat))
}

/// Checks whether a provider may get the request, as far as state at the provider and other models are concerned.
///
/// # Errors
/// Returns 400 for the first member that the provider may not get.
fn may_ask(request: &RequestInfo, provider: &Provider, head: &Head<'_>) -> Result<()> {
    head.check_inner(&provider.inner_models)?;
    if provider.allow_upstream_state {
        return Ok(());
    }
    if let Some(stateful) = &head.stateful {
        return Err(stateful.clone());
    }
    let tenants = &request.snapshot.tenants;
    tenants.strange_container(request.grant.as_ref(), head, Kind::UnsupportedState).map_or(Ok(()), Err)
}

/// Puts what was written into the call.
fn put_written(call: &mut Call, written: Written, [spared, notice]: [Option<String>; 2], mut body: Body) {
    let is_limited = call.operation != Operation::Compact || written.bridged.is_some();
    let told = [spared, written.losses.header(), notice.filter(|_| is_limited)];
    call.dropped = told.into_iter().flatten().reduce(|a, b| a + ", " + &b);
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

/// Writes the request for its provider, and limits the answer to `output_cap` tokens if that is given.
fn write_request(
    request: &RequestInfo,
    call: &Call,
    client: ProtocolId,
    head: &Head<'_>,
    body: &[u8],
    output_cap: Option<u64>,
) -> Result<Written> {
    if call.protocol != client {
        let strict = request.is_strict(&call.found.entry);
        let facts = bridge::RequestFacts { strict, output_cap, ..facts(request, call, &head.model) };
        return translate_request(call, client, body, &facts, &request.sealer());
    }
    let (speaker, profile) = (client.protocol(), &call.provider().profile);
    // The endpoint for compactions takes no limit.
    let output_cap = output_cap.filter(|_| call.operation != Operation::Compact);
    let edits = Edits::of(speaker, body, head, profile, &call.upstream_model, output_cap);
    let edits = edits.with_summaries(speaker, body, head, &request.sealer());
    let claims = request.snapshot.tenants.claims(request.grant.as_ref(), client, &head.demand);
    let rejections = edits.rejections();
    Ok(Written { body: Writing::Edits(edits), bridged: None, losses: Losses::default(), rejections, claims })
}

/// Translates the request to the provider's protocol.
fn translate_request(
    call: &Call,
    client: ProtocolId,
    body: &[u8],
    facts: &bridge::RequestFacts<'_>,
    sealer: &Sealer,
) -> Result<Written> {
    let render = match call.operation {
        Operation::Compact => bridge::render_compaction,
        Operation::Infer | Operation::Count => bridge::render,
    };
    let written = render(client.protocol(), body, &call.target(sealer), facts)?;
    let bridged = Bridged {
        client,
        context: written.context,
        estimate: written.estimate,
        beta: written.beta,
        losses: written.losses.list().len() as u64,
    };
    let rejections = written.losses.rejections();
    let body = Writing::Fresh(written.body);
    Ok(Written { body, bridged: Some(bridged), losses: written.losses, rejections, claims: None })
}

/// Makes the context of an answer to a relayed request, where the answer cannot be relayed.
///
/// # Errors
/// Returns 502 if the request asks for something that only a relay can return: the provider has answered in
/// another form than the requested one.
pub(in crate::edge) fn context(request: &RequestInfo, call: &Call) -> Result<Arc<Context>> {
    let speaker = call.protocol.protocol();
    // Other requests can be converted, so this shows nothing about the target's health.
    let misfit = || Failure::provider("the answer is not in the form that was asked for").at_cost();
    if Head::read(&call.body, speaker.members()).is_ok_and(|head| head.choices > 1) {
        return Err(misfit());
    }
    let facts = facts(request, call, request.client_model());
    let sealer = request.sealer();
    let context =
        bridge::context(speaker, &call.body, &call.target(&sealer), &facts).map_err(|_| misfit())?;
    // This does not apply if only the gateway has asked for it.
    let include_usage = context.include_usage && !call.withhold_usage;
    Ok(Arc::new(Context { include_usage, ..context }))
}

fn facts<'f>(request: &'f RequestInfo, call: &Call, model: &'f str) -> bridge::RequestFacts<'f> {
    bridge::RequestFacts {
        request_id: &request.id,
        now: request.seconds(),
        model,
        strict: false,
        counting: !call.infers(),
        output_cap: None,
    }
}
