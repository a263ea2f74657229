//! The way of a request: credential, route, role, body, repetition, handler.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::admin::error::{Code, OperationError, OperationResult};
use crate::admin::model::{ErrorBody, ErrorDetail, ErrorObject, Members};
use crate::admin::ops::{Actor, Intent, Operations, Repeatable, Replay, Via};
use crate::auth::{AccountScope, Operator, OperatorToken, RateLimits, Role, bearer_token, random_id};
use crate::route::percent_decoded;

use super::call::{Answer, Call, Peer, Query, Reply, Request};
use super::guard::Guard;
use super::openapi;
use super::repeat::{self, Repeats};
use super::routes::{PREFIX, Route};
use super::scope::check_scope;
use super::table::all_routes;
use super::view::GatewayView;

/// The API on one store.
pub struct Api {
    folder: PathBuf,
    open: fn(&Path) -> OperationResult<Operations>,
    view: Option<Arc<dyn GatewayView>>,
    /// The rate limits of new keys if no gateway tells them.
    key_defaults: RateLimits,
    /// Connections to the store that nobody uses.
    idle: Mutex<Vec<Operations>>,
    guard: Guard,
    repeats: Repeats,
}

/// The operator behind a request, and the rights.
struct Caller {
    actor: Actor,
    role: Role,
    scope: AccountScope,
}

impl Api {
    /// Makes the API on the store in a data folder, with the gateway that runs on it.
    #[must_use]
    pub fn new(folder: &Path, view: Option<Arc<dyn GatewayView>>) -> Self {
        Self::opened_by(Operations::open, folder, view)
    }

    /// Makes the API on the store in a data folder that changes nothing.
    #[must_use]
    pub fn to_read(folder: &Path) -> Self {
        Self::opened_by(Operations::open_to_read, folder, None)
    }

    /// Sets the rate limits of new keys for which none are named.
    #[must_use]
    pub fn with_key_defaults(self, key_defaults: RateLimits) -> Self {
        Self { key_defaults, ..self }
    }

    fn opened_by(
        open: fn(&Path) -> OperationResult<Operations>,
        folder: &Path,
        view: Option<Arc<dyn GatewayView>>,
    ) -> Self {
        let folder = folder.to_owned();
        Self {
            folder,
            open,
            view,
            key_defaults: RateLimits::default(),
            idle: Mutex::default(),
            guard: Guard::default(),
            repeats: Repeats::default(),
        }
    }

    /// Checks whether an address may try a credential.
    ///
    /// # Errors
    /// Returns 429 if too many wrong ones came from it.
    pub fn check_address(&self, address: IpAddr) -> OperationResult<()> {
        self.guard.check_address(address, Instant::now())
    }

    /// Returns the role of a credential that is for all accounts, and counts a wrong one of an address. May take as long as
    /// a disk does.
    #[must_use]
    pub fn role(&self, authorization: Option<&str>, address: IpAddr) -> Option<Role> {
        let secret = authorization.and_then(bearer_token)?;
        let found = self.with_operations(|operations| self.find(operations, secret)).ok()?;
        if found.is_none() {
            self.guard.note_failure(address, Instant::now());
        }
        found.filter(|operator| operator.accounts.is_all()).map(|operator| operator.role)
    }

    /// Answers a request. May take as long as a disk does.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Answer {
        let id = random_id("req_adm_");
        let answer = self.with_operations(|operations| self.served(operations, request, &id));
        let mut answer = answer.unwrap_or_else(|error| refused(&error, &id));
        answer.headers.push(("x-request-id", id));
        let operation = find(&request.method, &request.path).map_or("unknown", |(route, _)| route.id);
        self.view.iter().for_each(|view| view.note_request(operation, answer.status));
        answer
    }

    /// Lends a connection to the store.
    fn with_operations<T>(
        &self,
        operation: impl FnOnce(&mut Operations) -> OperationResult<T>,
    ) -> OperationResult<T> {
        let idle = self.idle.lock().pop();
        let mut operations = match idle {
            Some(operations) => operations,
            None => (self.open)(&self.folder)?,
        };
        operations.set_key_defaults(self.view.as_ref().map_or(self.key_defaults, |view| view.key_defaults()));
        operations.begin();
        let result = operation(&mut operations);
        self.idle.lock().push(operations);
        result
    }

    fn served(&self, operations: &mut Operations, request: &Request, id: &str) -> OperationResult<Answer> {
        let (route, segment) = match find(&request.method, &request.path) {
            Ok(found) => found,
            Err(unknown) => {
                self.caller(operations, request, id)?;
                return unknown.answer(&request.path, id);
            }
        };
        let caller = match route.role {
            None => self.anybody(request, id)?,
            Some(_) => self.caller(operations, request, id)?,
        };
        let subject = percent_decoded(segment);
        let result = self.carried_out(operations, (route, &subject), &caller, request);
        if let Err(error) = &result {
            self.note_refusal(operations, (route, &subject), &caller.actor, error.code);
        }
        result
    }

    /// Carries out the request of an operator for an object.
    fn carried_out(
        &self,
        operations: &mut Operations,
        (route, subject): (&Route, &str),
        caller: &Caller,
        request: &Request,
    ) -> OperationResult<Answer> {
        if let Some(role) = route.role.filter(|role| *role > caller.role) {
            let message = format!("this takes a token with the role '{}'", role.name());
            return Err(OperationError::new(Code::Forbidden, message));
        }
        check_scope(operations, route, &caller.scope, subject)?;
        operations.set_scope(caller.scope.clone());
        if route.is_change() && self.view.as_ref().is_some_and(|view| view.is_draining()) {
            let message = "the gateway ends after its calls; send changes to its successor";
            return Err(OperationError::new(Code::Draining, message));
        }
        if route.request.is_some() {
            check_body(request)?;
        }
        // Whoever owns the store may change it as fast as the disk allows.
        if route.is_change() && matches!(request.peer, Peer::Network { .. }) {
            self.guard.admit_change(&caller.actor.name, Instant::now())?;
        }
        let mut call = Call {
            operations,
            view: self.view.as_deref(),
            id: subject,
            query: Query::parse(route.parameters, &request.query)?,
            body: &request.body,
            intent: Intent { if_match: request.if_match.as_deref(), ..Intent::of(&caller.actor) },
            scope: &caller.scope,
            document: openapi::document,
        };
        let key = request.idempotency_key.as_deref().filter(|_| route.again.is_some());
        let Some(key) = key else { return Ok(success((route.handler)(&mut call)?, false)) };
        let path = format!("{} {}", request.method, request.path);
        let repeatable = repeat::repeatable(&caller.actor.name, &path, key, &request.body)?;
        self.repeated(route, &mut call, &repeatable)
    }

    /// Carries out a request that may be a repetition.
    fn repeated<'a>(
        &self,
        route: &Route,
        call: &mut Call<'a>,
        repeatable: &'a Repeatable,
    ) -> OperationResult<Answer> {
        let _running = self.repeats.begin(repeatable)?;
        let now = Instant::now();
        if let (Some(Replay { status, subject }), Some(again)) =
            (call.operations.replay(repeatable)?, route.again)
        {
            let reply = again(call, &subject)?;
            let secret = self.repeats.secret(repeatable, now);
            return Ok(success(Reply { status, ..with_secret(reply, secret) }, true));
        }
        call.intent.repeatable = Some(repeatable);
        let reply = (route.handler)(call)?;
        if let Some(secret) = &reply.secret {
            self.repeats.keep(repeatable, secret.clone(), now);
        }
        Ok(success(reply, false))
    }

    /// Writes the refusal of a change to the audit log if it concerns an object that there is.
    fn note_refusal(
        &self,
        operations: &Operations,
        (route, subject): (&Route, &str),
        actor: &Actor,
        code: Code,
    ) {
        let view = self.view.as_ref();
        let is_known = || match route.action.split('.').next() {
            Some("key") => operations.key(subject).is_ok(),
            Some("account" | "wallet") => operations.account(subject).is_ok(),
            Some("token") => operations.token(subject).is_ok(),
            Some("target") => view.is_some_and(|view| view.has_target(subject)),
            Some("config") => true,
            _ => false,
        };
        // What the command line does wrong at the store itself is between it and its user.
        if route.is_change()
            && actor.via != Via::Cli
            && is_known()
            && let Err(error) = operations.note_refusal(actor, route.action, subject, code)
        {
            log::error!("audit: {error}");
        }
    }

    /// Identifies the operator behind a request.
    fn caller(&self, operations: &Operations, request: &Request, id: &str) -> OperationResult<Caller> {
        let address = match request.peer {
            Peer::Command => return Ok(Caller::unlimited(Actor::command_line(), Role::Admin)),
            Peer::Local(uid) => {
                let actor = actor(format!("local:{uid}"), Via::Socket, None, id);
                return Ok(Caller::unlimited(actor, Role::Admin));
            }
            Peer::Network { address, .. } => address,
        };
        let now = Instant::now();
        let note = |is_blocked| {
            let shown = request.authorization.as_deref();
            self.view.iter().for_each(|view| view.note_auth_failure(shown, is_blocked));
        };
        self.guard.check_address(address, now).inspect_err(|_| note(true))?;
        let secret = request.authorization.as_deref().and_then(bearer_token);
        let found = match secret {
            Some(secret) => self.find(operations, secret)?,
            None => None,
        };
        let Some(Operator { name, role, accounts: scope }) = found else {
            if secret.is_some() {
                self.guard.note_failure(address, now);
            }
            note(false);
            let message = "send a token of `admin.tokens` or of `crossmodel token create` as \
                'authorization: Bearer TOKEN'";
            return Err(OperationError::new(Code::Unauthorized, message));
        };
        let actor = actor(format!("token:{name}"), Via::Api, Some(address.to_string()), id);
        Ok(Caller { actor, role, scope })
    }

    /// Identifies a caller that needs no credential. Only programs on this machine are told about the process.
    fn anybody(&self, request: &Request, id: &str) -> OperationResult<Caller> {
        let is_local = !matches!(request.peer, Peer::Network { is_local: false, .. });
        if request.path == "/instance" && !is_local {
            let message =
                "this is for programs on this machine, which call the gateway by an address or a local name";
            return Err(OperationError::new(Code::Forbidden, message));
        }
        Ok(Caller::unlimited(actor(String::new(), Via::Api, None, id), Role::Read))
    }

    /// Returns the operator of a credential.
    fn find(&self, operations: &Operations, secret: &str) -> OperationResult<Option<Operator>> {
        let of_file = self.view.as_ref().map(|view| view.tokens());
        let mut of_file = of_file.iter().flat_map(|tokens| tokens.iter());
        if let Some(known) = of_file.find(|known| known.token.matches(secret)) {
            let OperatorToken { name, role, accounts, .. } = known.clone();
            return Ok(Some(Operator { name, role, accounts }));
        }
        operations.identify(secret)
    }
}

impl Caller {
    /// Makes a caller who may see all accounts.
    fn unlimited(actor: Actor, role: Role) -> Self {
        Self { actor, role, scope: AccountScope::default() }
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A path or a method that there is not.
enum Unknown {
    Path,
    /// The methods that the path has.
    Method(Vec<&'static str>),
}

impl Unknown {
    fn answer(self, path: &str, id: &str) -> OperationResult<Answer> {
        match self {
            Self::Path => {
                let message = format!("there is no {PREFIX}{path}; the nearest is {PREFIX}{}", nearest(path));
                Err(OperationError::new(Code::NotFound, message))
            }
            Self::Method(methods) => {
                let allowed = methods.join(", ");
                let message = format!("{PREFIX}{path} has {allowed}");
                let mut answer = refused(&OperationError::new(Code::MethodNotAllowed, message), id);
                answer.headers.push(("allow", allowed));
                Ok(answer)
            }
        }
    }
}

fn find<'p>(method: &str, path: &'p str) -> Result<(&'static Route, &'p str), Unknown> {
    let fitting: Vec<_> = all_routes().filter_map(|route| Some((route, route.matches(path)?))).collect();
    // A path without a variable part goes before one with it.
    let found = fitting.iter().filter(|(route, _)| route.method == method).min_by_key(|(_, id)| id.len());
    match found {
        Some(found) => Ok(*found),
        None if fitting.is_empty() => Err(Unknown::Path),
        None => Err(Unknown::Method(fitting.iter().map(|(route, _)| route.method).collect())),
    }
}

/// Returns the route whose path begins most like this one.
fn nearest(path: &str) -> &'static str {
    let common = |route: &&Route| route.path.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
    let best = all_routes().max_by_key(|route| (common(route), std::cmp::Reverse(route.path.len())));
    best.map_or("", |route| route.path)
}

fn check_body(request: &Request) -> OperationResult<()> {
    if request.peer == Peer::Command {
        return Ok(());
    }
    let kind = request.content_type.as_deref().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = "a body needs 'content-type: application/json'";
    Err(OperationError::new(Code::UnsupportedMediaType, message))
}

fn actor(name: String, via: Via, address: Option<String>, id: &str) -> Actor {
    Actor { name, via, address, request_id: Some(id.to_owned()) }
}

/// Adds the secret to a repeated reply, or advice if it is no longer known.
fn with_secret(reply: Reply, secret: Option<String>) -> Reply {
    let Ok(mut members) = serde_json::from_slice::<Members>(&reply.body) else { return reply };
    let kind = members.get("object").and_then(|object| object.as_str()).unwrap_or_default();
    if !matches!(kind, "key" | "token") {
        return reply;
    }
    match secret {
        Some(secret) => members.insert("secret".to_owned(), secret.into()),
        None => {
            let advice = if kind == "key" { "rotate the key" } else { "make another token" };
            let advice = format!("the secret cannot be shown again; {advice} for a new one");
            members.insert("hint".to_owned(), advice.into())
        }
    };
    let body = serde_json::to_vec(&members).unwrap_or_default();
    Reply { body, ..reply }
}

fn success(reply: Reply, is_replayed: bool) -> Answer {
    let mut headers = Vec::new();
    headers.extend(reply.etag.map(|etag| ("etag", etag)));
    headers.extend(reply.content_type.map(|kind| ("content-type", kind.to_owned())));
    headers.extend(is_replayed.then(|| ("idempotency-replayed", "true".to_owned())));
    Answer { status: reply.status, headers, body: reply.body }
}

fn refused(error: &OperationError, id: &str) -> Answer {
    let (code, status) = error.code.parts();
    let detail = |mistake: &crate::admin::Mistake| ErrorDetail {
        param: mistake.param.clone(),
        message: mistake.message.clone(),
    };
    let body = ErrorBody {
        error: ErrorObject {
            code: code.to_owned(),
            message: error.message.clone(),
            param: error.param().map(str::to_owned),
            request_id: id.to_owned(),
            details: error.details.iter().map(detail).collect(),
        },
    };
    let mut headers = Vec::new();
    match status {
        401 => headers.push(("www-authenticate", "Bearer".to_owned())),
        429 => headers
            .push(("retry-after", if error.message.ends_with("minute") { "60" } else { "1" }.to_owned())),
        _ => {}
    }
    Answer { status, headers, body: serde_json::to_vec(&body).unwrap_or_default() }
}

impl Answer {
    /// Makes the answer of an error that happened before a request was read.
    #[must_use]
    pub fn refusal(error: &OperationError) -> Self {
        let id = random_id("req_adm_");
        let mut answer = refused(error, &id);
        answer.headers.push(("x-request-id", id));
        answer
    }
}
