//! The facts of a request that its answer depends on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use jiff::Timestamp;

use crate::auth::{ContentLogging, Grant};
use crate::canon::Sealer;
use crate::edge::call::endpoint::{self, Endpoint};
use crate::edge::call::gemini_path::GeminiAddress;
use crate::edge::call::snapshot::Snapshot;
use crate::edge::call::tags::CallTags;
use crate::observe::{CallContent, ContentFacts, ContentLog, GuardAction, GuardLine, millis};
use crate::protocol::ProtocolId;
use crate::route::{Caller, ModelEntry};

/// The facts of a request, which are set while it is read and admitted, and not changed afterwards.
#[derive(Debug)]
pub(in crate::edge) struct RequestInfo {
    pub(in crate::edge) id: String,
    pub(in crate::edge) time: Timestamp,
    pub(in crate::edge) started: Instant,
    /// The configuration that is in effect for this request from its start to its end.
    pub(in crate::edge) snapshot: Arc<Snapshot>,
    pub(in crate::edge) endpoint: Option<Endpoint>,
    /// The address of the client.
    pub(in crate::edge) client: Option<IpAddr>,
    /// The origin whose scripts may read the answer; absent if there is none.
    pub(in crate::edge) origin: Option<HeaderValue>,
    /// Whether the client expects Anthropic's error shape.
    pub(in crate::edge) anthropic: bool,
    /// Whether the client expects Google's error shape.
    pub(in crate::edge) google: bool,
    /// The model and the form of the answer that the path names, in protocols whose paths do.
    pub(in crate::edge) address: Option<GeminiAddress>,
    /// Whether the client prefers a refusal to a loss.
    pub(in crate::edge) strict: bool,
    pub(in crate::edge) grant: Option<Grant>,
    pub(in crate::edge) tags: CallTags,
    /// The last characters of a credential that was refused, if it has the form of a key.
    pub(in crate::edge) key_hint: Option<String>,
    pub(in crate::edge) requested_model: Option<String>,
    /// Bytes of the body as it came.
    pub(in crate::edge) bytes_in: usize,
    /// The content of the call; absent if it is not written.
    pub(in crate::edge) content: Option<Box<CallContent>>,
    /// The verdicts of guards, in their order.
    pub(in crate::edge) guards: Vec<GuardVerdict>,
}

/// The verdict of a guard about a request.
#[derive(Debug)]
pub(in crate::edge) struct GuardVerdict {
    pub(in crate::edge) guard: Arc<str>,
    pub(in crate::edge) action: GuardAction,
    /// The time that it has taken.
    pub(in crate::edge) time: Duration,
    /// The reason, if there was no valid verdict.
    pub(in crate::edge) detail: Option<String>,
}

impl GuardVerdict {
    /// Returns the verdict for the access line.
    pub(in crate::edge) fn line(&self) -> GuardLine<'_> {
        GuardLine {
            name: &self.guard,
            action: self.action.as_str(),
            ms: millis(self.time),
            detail: self.detail.as_deref(),
        }
    }
}

impl RequestInfo {
    /// A request that comes now.
    pub(in crate::edge) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            id: new_id(),
            time: Timestamp::now(),
            started: Instant::now(),
            snapshot,
            endpoint: None,
            client: None,
            origin: None,
            anthropic: false,
            google: false,
            address: None,
            strict: false,
            grant: None,
            tags: CallTags::default(),
            key_hint: None,
            requested_model: None,
            bytes_in: 0,
            content: None,
            guards: Vec::new(),
        }
    }

    /// Begins to keep the content of the call, if calls like this are written.
    pub(in crate::edge) fn note_content(&mut self, body: &[u8]) {
        if let (Some(rules), Some(grant)) = (&self.snapshot.content_log, &self.grant)
            && grant.content_log == ContentLogging::On
        {
            self.content = rules.begin(&grant.account, &grant.id, body);
        }
    }

    /// Writes the content of the call, which is over, with the status of its answer.
    pub(in crate::edge) fn write_content(&self, log: &ContentLog, status: u16) {
        if let (Some(content), Some(grant)) = (&self.content, &self.grant) {
            let facts = ContentFacts {
                time: self.time,
                request_id: &self.id,
                account: &grant.account,
                key: &grant.id,
                model: self.client_model(),
                status,
            };
            log.add(content, facts);
        }
    }

    /// Returns the protocol of the answer to the client.
    pub(in crate::edge) fn dialect(&self) -> ProtocolId {
        let shared = match (self.google, self.anthropic) {
            (true, _) => ProtocolId::Gemini,
            (false, true) => ProtocolId::Messages,
            (false, false) => ProtocolId::Chat,
        };
        self.endpoint.and_then(Endpoint::protocol).unwrap_or(shared)
    }

    /// Returns the end of the secret by which the request was made, while its key has two that work.
    pub(in crate::edge) fn secret_in_rotation(&self) -> Option<&str> {
        self.grant.as_ref()?.secret.hint_in_rotation(self.time.as_second())
    }

    /// Whether a path of an endpoint was served although it is not spelled as documented.
    pub(in crate::edge) fn has_fixed_path(&self, path: &str) -> bool {
        self.endpoint.is_some() && endpoint::is_fixed(path)
    }

    /// The model, as the client named it.
    pub(in crate::edge) fn client_model(&self) -> &str {
        self.requested_model.as_deref().unwrap_or_default()
    }

    /// Returns the sealer of the account's carriers of reasoning.
    pub(in crate::edge) fn sealer(&self) -> Sealer {
        self.snapshot.tenants.sealer(self.grant.as_ref())
    }

    /// Returns the time of the request, in seconds since the epoch.
    pub(in crate::edge) fn seconds(&self) -> u64 {
        u64::try_from(self.time.as_second()).unwrap_or(0)
    }

    /// Returns the account that makes the call, for the health of targets.
    pub(in crate::edge) fn caller(&self) -> Caller {
        Caller::of(self.grant.as_ref().map_or("", |key| &key.account))
    }

    /// Whether losses lead to a refusal, because the client, the key or the model wants it.
    pub(in crate::edge) fn is_strict(&self, model: &ModelEntry) -> bool {
        self.strict || model.strict || self.grant.as_ref().is_some_and(|key| key.rights.strict)
    }

    /// Returns the endpoint's name in logs and metrics.
    pub(in crate::edge) fn endpoint_name(&self) -> &'static str {
        self.endpoint.map_or("unknown", Endpoint::name)
    }
}

/// Makes an id for a request.
pub(in crate::edge) fn new_id() -> String {
    format!("{ID_PREFIX}{}", crate::auth::random(ID_LENGTH))
}

const ID_PREFIX: &str = "req_cm_";

/// The characters of an id after its prefix.
const ID_LENGTH: usize = 24;
