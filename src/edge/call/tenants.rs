//! The separation of the gateway's accounts at providers, who know only one: the gateway's.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

use crate::auth::{Grant, NameKey, SharedSecret};
use crate::canon::{SealKey, Sealer};
use crate::failure::{Failure, Kind};
use crate::protocol::{Demand, Head, ProtocolId, Service};
use crate::translate::owners::{Claims, Owners};

/// The keys and owners that are the same for all configurations of a gateway, one after the other.
#[derive(Debug)]
pub(in crate::edge) struct Tenants {
    seal: SealKey,
    names: NameKey,
    owners: Arc<Owners>,
}

impl Tenants {
    /// With keys that all gateways of a store have in common.
    pub(in crate::edge) fn new(secret: &SharedSecret) -> Self {
        Self {
            seal: SealKey::new(secret.key(CARRIERS)),
            names: secret.names(IDEMPOTENCY),
            owners: Arc::default(),
        }
    }

    /// The seal of the reasoning that the account carries.
    pub(in crate::edge) fn sealer(&self, grant: Option<&Grant>) -> Sealer {
        grant.map_or_else(Sealer::default, |grant| Sealer::new(&self.seal, &grant.account))
    }

    /// The idempotency key that stands for the account's own at a provider: the same every time, and another for
    /// every account.
    pub(in crate::edge) fn idempotency_key(
        &self,
        grant: Option<&Grant>,
        value: &[u8],
    ) -> Option<HeaderValue> {
        let name = self.names.name(&[grant?.account.as_bytes(), value]);
        HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(name)).ok()
    }

    /// The recorder of the containers of the answer, if the request is one whose answer can have any.
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

    /// The refusal of a history in which code has run in containers of which the account knows only the id.
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

/// The purposes of keys. A change of one makes everything worthless that its key was used for.
const CARRIERS: &str = "carriers";
const IDEMPOTENCY: &str = "idempotency";

/// Characters of an id in a message.
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
