//! The isolation of the gateway's accounts from each other at providers, which see only one account: the
//! gateway's.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

use crate::auth::{Grant, NameKey, SharedSecret};
use crate::canon::{SealKey, Sealer};
use crate::edge::call::conversations::Conversations;
use crate::edge::call::stored_answers::StoredAnswers;
use crate::failure::{Failure, Kind};
use crate::protocol::{Demand, Head, ProtocolId, Service};
use crate::translate::owners::{Claims, Owners};

/// The keys for seals and names, which stay the same when the configuration changes.
#[derive(Debug)]
pub(in crate::edge) struct Tenants {
    seal: SealKey,
    names: NameKey,
    /// The key that turns end users into names.
    pub(in crate::edge) users: NameKey,
    owners: Arc<Owners>,
    /// The providers that have answered conversations.
    pub(in crate::edge) conversations: Arc<Conversations>,
    /// The providers that keep answers.
    pub(in crate::edge) stored_answers: Arc<StoredAnswers>,
}

impl Tenants {
    /// Derives the keys from the secret that all gateways of the store share.
    pub(in crate::edge) fn new(secret: &SharedSecret) -> Self {
        Self {
            seal: SealKey::new(secret.key(CARRIERS)),
            names: secret.names(IDEMPOTENCY),
            users: secret.names(END_USERS),
            owners: Arc::default(),
            conversations: Arc::default(),
            stored_answers: Arc::default(),
        }
    }

    /// Returns the sealer of the account's carriers of reasoning.
    pub(in crate::edge) fn sealer(&self, grant: Option<&Grant>) -> Sealer {
        grant.map_or_else(Sealer::default, |grant| Sealer::new(&self.seal, &grant.account))
    }

    /// Returns the idempotency key that replaces the client's own one. It is always the same for the same account
    /// and value, and differs between accounts.
    pub(in crate::edge) fn idempotency_key(
        &self,
        grant: Option<&Grant>,
        value: &[u8],
    ) -> Option<HeaderValue> {
        let name = self.names.name(&[grant?.account.as_bytes(), value]);
        HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(name)).ok()
    }

    /// Returns the recorder of the containers in the answer, if the answer to this request can name any.
    pub(in crate::edge) fn claims(
        &self,
        grant: Option<&Grant>,
        protocol: ProtocolId,
        demand: &Demand,
    ) -> Option<Claims> {
        let runs_code = || demand.services.iter().any(|(service, _)| *service == Service::CodeExecution);
        let grant = grant.filter(|_| protocol == ProtocolId::Responses && runs_code())?;
        Some(Claims::new(&self.owners, &grant.account))
    }

    /// Returns the refusal of a history in which code has run in a container that the gateway has not shown to
    /// this account.
    pub(in crate::edge) fn strange_container(
        &self,
        grant: Option<&Grant>,
        head: &Head<'_>,
        kind: Kind,
    ) -> Option<Failure> {
        let knows = |id: &str| grant.is_some_and(|grant| self.owners.knows(&grant.account, id));
        let (path, id) = head.containers.iter().find(|(_, id)| !knows(id))?;
        let shown: String = id.chars().take(SHOWN).collect();
        let message = format!("container {shown} is not known to this gateway; start a new conversation");
        Some(Failure::new(kind, message).with_param(path.clone()))
    }
}

/// The purposes of keys. After a change of a purpose, everything made with the old key is worthless.
const CARRIERS: &str = "carriers";
const IDEMPOTENCY: &str = "idempotency";
const END_USERS: &str = "end users";

/// The most characters of an id in a message.
const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{NewKey, Store};

    fn grant(store: &Store, account: &str) -> Grant {
        store.create_account(account).unwrap();
        let new = NewKey { account: account.to_owned(), ..NewKey::default() };
        Arc::new(store.create_key(&new).unwrap().0)
    }

    #[test]
    fn a_container_is_known_to_the_account_whose_answer_named_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let tenants = Tenants::new(&store.shared_secret().unwrap());
        let (one, two) = (grant(&store, "one"), grant(&store, "two"));
        let body =
            br#"{"tools":[{"type":"code_interpreter","container":{"type":"auto"}}],"model":"m","input":"x"}"#;
        let members = ProtocolId::Responses.protocol().members();
        let mut head = Head::read(body, members).unwrap();
        assert!(tenants.claims(Some(&one), ProtocolId::Chat, &head.demand).is_none());
        assert!(tenants.claims(Some(&one), ProtocolId::Responses, &Demand::default()).is_none());
        tenants.claims(Some(&one), ProtocolId::Responses, &head.demand).unwrap().note("cntr_1");

        let refused =
            |head: &Head<'_>, who: Option<&Grant>| tenants.strange_container(who, head, Kind::Unsupported);
        assert!(refused(&head, Some(&two)).is_none(), "it names none");
        head.containers = vec![("input[1].container_id".to_owned(), "cntr_1".to_owned())];
        assert!(refused(&head, Some(&one)).is_none());
        assert!(refused(&head, None).is_some());
        let failure = refused(&head, Some(&two)).unwrap();
        assert_eq!(failure.param(), Some("input[1].container_id"));
        assert_eq!(
            failure.message(),
            "container cntr_1 is not known to this gateway; start a new conversation"
        );
        head.containers.push(("input[2].container_id".to_owned(), "cntr_2".to_owned()));
        assert!(refused(&head, Some(&one)).is_some(), "each has to be known");
    }

    #[test]
    fn an_idempotency_key_belongs_to_its_account() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (one, two) = (grant(&store, "one"), grant(&store, "two"));
        let key = |grant: &Grant, value: &str| {
            let tenants = Tenants::new(&store.shared_secret().unwrap());
            tenants.idempotency_key(Some(grant), value.as_bytes()).unwrap()
        };
        assert_eq!(key(&one, "order-1"), key(&one, "order-1"), "a repeated call is known as one");
        assert_ne!(key(&one, "order-1"), key(&two, "order-1"));
        assert_ne!(key(&one, "order-1"), key(&one, "order-2"));
        assert_eq!(key(&one, "order-1").len(), 43);
    }
}
