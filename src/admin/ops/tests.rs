//! Operations on a store: what they change, what they refuse, and what the audit log says of it.

use std::path::Path;

use serde_json::json;

use crate::admin::error::Code;
use crate::admin::model::{
    AccountPatch, AuditRow, KeyLookup, KeyPatch, KeyState, NewAccount, NewBudgets, NewKey, NewToken, Payment,
    Period, Rotation, Usd,
};
use crate::auth::{BudgetOwner, KeyTable, RateLimits, Role, Status};

use super::{Actor, AuditFilter, Intent, KeyFilter, Operations, Page, Repeatable, Via};

struct Store {
    folder: tempfile::TempDir,
    operations: Operations,
    actor: Actor,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let operations = Operations::open(folder.path()).unwrap();
        Self { folder, operations, actor: portal() }
    }

    fn audit(&self) -> Vec<AuditRow> {
        let mut rows = self.operations.audit(&AuditFilter::default(), &Page::all()).unwrap().data;
        rows.retain(|row| row.action != "store.create");
        rows
    }

    /// Whether each of these secrets is admitted by a gateway on the store.
    fn admits<const N: usize>(&self, secrets: [&str; N]) -> [bool; N] {
        let table = KeyTable::open(self.folder.path()).unwrap();
        secrets.map(|secret| table.grant(Some(secret), "", None).is_ok())
    }
}

/// The last four characters of a secret.
fn end(secret: &str) -> String {
    secret.get(secret.len() - 4..).unwrap().to_owned()
}

fn portal() -> Actor {
    Actor {
        name: "token:portal".to_owned(),
        via: Via::Api,
        address: Some("10.1.2.3".to_owned()),
        request_id: Some("req_1".to_owned()),
    }
}

#[test]
fn a_change_and_its_audit_row_are_one() {
    let mut store = Store::new();
    let actor = store.actor.clone();
    let intent = Intent::of(&actor);
    let new = NewKey { name: "ci".to_owned(), rpm: Some(Some(60)), ..NewKey::default() };
    let key = store.operations.create_key(&intent, &new).unwrap();
    let patch = KeyPatch { rpm: Some(None), name: Some("ci".to_owned()), ..KeyPatch::default() };
    let changed = store.operations.update_key(&intent, &key.id, &patch).unwrap();
    assert_eq!((changed.rpm, changed.created_by.as_str()), (None, "token:portal"));
    // The same again changes nothing, and says nothing.
    let again = store.operations.update_key(&intent, &key.id, &patch).unwrap();
    assert_eq!(again.etag, changed.etag);
    let stale = Intent { if_match: Some(&key.etag), ..intent };
    let refused = store.operations.update_key(&stale, &key.id, &KeyPatch::default()).unwrap_err();
    assert_eq!(refused.code, Code::PreconditionFailed);
    assert_eq!(refused.message, format!("the key changed; its etag is {}", changed.etag));
    let unknown = store.operations.update_key(&intent, "key_none", &patch).unwrap_err();
    assert_eq!((unknown.code, unknown.message.as_str()), (Code::NotFound, "there is no key 'key_none'"));
    store.operations.delete_key(&intent, &key.id).unwrap();

    let rows = store.audit();
    let told: Vec<_> = rows.iter().rev().map(|row| (row.action.as_str(), row.outcome.as_str())).collect();
    let expected = [
        ("account.create", "applied"),
        ("key.create", "applied"),
        ("key.update", "applied"),
        ("key.update", "precondition_failed"),
        ("key.delete", "applied"),
    ];
    assert_eq!(told, expected);
    let update = &rows[2];
    assert_eq!((&update.before, &update.after), (&json!({"rpm": 60}).as_object().cloned(), &None));
    assert_eq!((update.via.as_str(), update.address.as_deref()), ("api", Some("10.1.2.3")));
    assert_eq!((update.subject.as_str(), update.account.as_deref()), (key.id.as_str(), Some("default")));
    let secret = key.secret.unwrap();
    assert!(!serde_json::to_string(&rows).unwrap().contains(&secret), "no secret is in the audit log");
}

#[test]
fn mistakes_are_named_all_at_once() {
    let mut store = Store::new();
    let actor = store.actor.clone();
    let new = NewKey {
        name: "x".repeat(65),
        models: Some(vec!["v/a".to_owned(), "a b".to_owned()]),
        rpm: Some(Some(0)),
        spending_limit_usd: Some(Usd::default()),
        ..NewKey::default()
    };
    let refused = store.operations.create_key(&Intent::of(&actor), &new).unwrap_err();
    let params: Vec<_> = refused.details.iter().map(|mistake| mistake.param.as_str()).collect();
    assert_eq!(params, ["name", "models[1]", "rpm", "spending_limit_usd"]);
    assert!(store.audit().is_empty());
    let elsewhere = NewKey { account: Some("nobody".to_owned()), ..NewKey::default() };
    let refused = store.operations.create_key(&Intent::of(&actor), &elsewhere).unwrap_err();
    assert_eq!(refused.message, "there is no account 'nobody'");
}

#[test]
fn a_rotated_key_has_two_secrets_until_the_overlap_ends_and_never_three() {
    let mut store = Store::new();
    let actor = store.actor.clone();
    let intent = Intent::of(&actor);
    let key = store.operations.create_key(&intent, &NewKey::default()).unwrap();
    let rotate = |store: &mut Store, seconds| {
        let rotation = Rotation { overlap: Some(Period(seconds)) };
        store.operations.rotate_key(&intent, &key.id, &rotation).unwrap()
    };
    let first = key.secret.clone().unwrap();
    let second = rotate(&mut store, 3_600).secret.unwrap();
    assert_eq!(store.admits([&first, &second]), [true, true]);
    let rotated = rotate(&mut store, 3_600);
    let third = rotated.secret.clone().unwrap();
    assert_eq!(store.admits([&first, &second, &third]), [false, true, true], "the oldest ends at once");
    let hints: Vec<_> = rotated.secrets.iter().map(|secret| secret.hint.clone().unwrap()).collect();
    assert_eq!(hints, [&second, &third].map(|secret| end(secret)));
    assert!(rotated.secrets[0].not_after.is_some() && rotated.secrets[1].not_after.is_none());
    let fourth = rotate(&mut store, 0).secret.unwrap();
    assert_eq!(store.admits([&second, &third, &fourth]), [false, false, true]);
    let long = Rotation { overlap: Some(Period(31 * 86_400)) };
    assert_eq!(store.operations.rotate_key(&intent, &key.id, &long).unwrap_err().code, Code::InvalidRequest);

    // The key of a leaked secret is found by its digest or by its end.
    let digest = crate::auth::Digest::of(&fourth).unwrap().to_hex();
    for lookup in
        [KeyLookup { sha256: Some(digest), hint: None }, KeyLookup { sha256: None, hint: Some(end(&fourth)) }]
    {
        assert_eq!(store.operations.find_keys(&lookup).unwrap().data[0].id, key.id);
    }
    store.operations.delete_key(&intent, &key.id).unwrap();
    assert_eq!(store.admits([&fourth]), [false]);
    let deleted = KeyFilter { deleted: true, ..KeyFilter::default() };
    let gone = store.operations.keys(&deleted, &Page::all()).unwrap().data.remove(0);
    assert_eq!((gone.state, gone.secrets.len()), (KeyState::Deleted, 0));
    assert!(store.operations.keys(&KeyFilter::default(), &Page::all()).unwrap().data.is_empty());
}

#[test]
fn a_key_moves_between_states_and_accounts() {
    let mut store = Store::new();
    let actor = store.actor.clone();
    let intent = Intent::of(&actor);
    store
        .operations
        .create_account(&intent, &NewAccount { id: "team".to_owned(), ..NewAccount::default() })
        .unwrap();
    let new = NewKey { expires_in: Some(Period(0)), ..NewKey::default() };
    let expired = store.operations.create_key(&intent, &new).unwrap();
    assert_eq!(expired.state, KeyState::Expired);
    let patch = KeyPatch { expires_at: Some(None), account: Some("team".to_owned()), ..KeyPatch::default() };
    let moved = store.operations.update_key(&intent, &expired.id, &patch).unwrap();
    assert_eq!((moved.state, moved.account.as_str()), (KeyState::Active, "team"));
    store.operations.set_account_status(&intent, "team", Status::Disabled).unwrap();
    let states = |store: &Store, state: &str| {
        let filter = KeyFilter { state: Some(state.to_owned()), ..KeyFilter::default() };
        store.operations.keys(&filter, &Page::all()).unwrap().data.len()
    };
    assert_eq!(["active", "account_disabled", "expired"].map(|state| states(&store, state)), [0, 1, 0]);
    let refused = store.operations.delete_account(&intent, "team").unwrap_err();
    assert_eq!(refused.message, "account 'team' has 1 keys; delete or move them first");
    store.operations.delete_key(&intent, &expired.id).unwrap();
    let top_up = Payment {
        amount_usd: Usd("2".parse().unwrap()),
        reference: Some("i-1".to_owned()),
        ..Payment::default()
    };
    for repeated in [false, true] {
        let made = store.operations.top_up(&intent, "team", &top_up).unwrap();
        assert_eq!((made.repeated, made.balance_usd), (repeated, Some(Usd("2".parse().unwrap()))));
    }
    assert_eq!(store.operations.delete_account(&intent, "team").unwrap_err().code, Code::BalanceInUse);
    let top_ups = AuditFilter { action: Some("wallet.top_up".to_owned()), ..AuditFilter::default() };
    assert_eq!(store.operations.audit(&top_ups, &Page::all()).unwrap().data.len(), 1);
    // The account without money and keys can go.
    store.operations.delete_account(&intent, "default").unwrap();
    assert_eq!(store.operations.account("default").unwrap_err().code, Code::NotFound);
}

#[test]
fn payments_and_budgets_have_their_rows_in_the_audit_log() {
    let mut store = Store::new();
    let actor = store.actor.clone();
    let intent = Intent::of(&actor);
    let key = store.operations.create_key(&intent, &NewKey::default()).unwrap();
    let payment = |dollars: &str, reference: &str| Payment {
        amount_usd: Usd(dollars.parse().unwrap()),
        reference: Some(reference.to_owned()),
        ..Payment::default()
    };
    store.operations.top_up(&intent, "default", &payment("5", "i-1")).unwrap();
    let refunded = store.operations.refund(&intent, "default", &payment("2", "c-1")).unwrap();
    assert_eq!((refunded.kind.as_str(), refunded.balance_usd), ("refund", Some(Usd("3".parse().unwrap()))));
    let refused = store.operations.refund(&intent, "default", &payment("4", "c-2")).unwrap_err();
    assert_eq!(refused.code, Code::BalanceInUse);
    assert_eq!(
        store.operations.top_up(&intent, "default", &payment("2", "c-1")).unwrap_err().code,
        Code::Exists
    );
    let page = Page { limit: 1, cursor: None };
    let latest = store.operations.transactions("default", &page).unwrap();
    assert_eq!((latest.data[0].reference.as_str(), latest.has_more), ("c-1", true));
    let rest = Page { limit: 1, cursor: latest.next_cursor };
    let rest = store.operations.transactions("default", &rest).unwrap();
    assert_eq!((rest.data[0].created_by.as_deref(), rest.has_more), (Some("token:portal"), false));
    let budgets: NewBudgets = serde_json::from_str(
        r#"{"budgets":[{"period":"month","limit_usd":20},{"period":"total","limit_usd":"7"}]}"#,
    )
    .unwrap();
    let owner = (BudgetOwner::Key, key.id.as_str());
    let made = store.operations.set_budgets(&intent, owner, &budgets).unwrap();
    assert!(made.data.iter().all(|budget| budget.hard && budget.alert_at == [80]), "{made:?}");
    assert_eq!(store.operations.budgets(owner.0, owner.1).unwrap(), made);
    let changed = store.operations.key(&key.id).unwrap();
    assert_eq!(changed.spending_limit_usd, Some(Usd("7".parse().unwrap())), "it is a budget, too");
    let stale = Intent { if_match: Some(&key.etag), ..intent };
    let refused = store.operations.set_budgets(&stale, owner, &NewBudgets::default()).unwrap_err();
    assert_eq!(refused.code, Code::PreconditionFailed);
    store.operations.set_budgets(&intent, owner, &NewBudgets::default()).unwrap();
    let rows = store.operations.audit(&AuditFilter::default(), &Page::all()).unwrap().data;
    let rows: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.outcome.as_str())).take(7).collect();
    assert_eq!(
        rows,
        [
            ("key.budgets", "applied"),
            ("key.budgets", "precondition_failed"),
            ("key.budgets", "applied"),
            ("wallet.top_up", "exists"),
            ("wallet.refund", "balance_in_use"),
            ("wallet.refund", "applied"),
            ("wallet.top_up", "applied"),
        ]
    );
}

#[test]
fn new_keys_have_the_limits_that_are_set() {
    let mut store = Store::new();
    let actor = store.actor.clone();
    let intent = Intent::of(&actor);
    let mut limits = |new: &NewKey| {
        let key = store.operations.create_key(&intent, new).unwrap();
        store.operations.set_key_defaults(RateLimits { rpm: Some(60), tpm: None });
        (key.rpm, key.tpm)
    };
    assert_eq!(limits(&NewKey::default()), (None, None));
    assert_eq!(limits(&NewKey { tpm: Some(Some(9)), ..NewKey::default() }), (Some(60), Some(9)));
    assert_eq!(limits(&NewKey { rpm: Some(None), ..NewKey::default() }), (None, None));
}

#[test]
fn pages_are_stable_while_keys_are_added() {
    let mut store = Store::new();
    let actor = store.actor.clone();
    let intent = Intent::of(&actor);
    let add = |store: &mut Store| store.operations.create_key(&intent, &NewKey::default()).unwrap().id;
    let mut ids: Vec<_> = (0..5).map(|_| add(&mut store)).collect();
    ids.reverse();
    let mut page = Page { limit: 2, cursor: None };
    let mut seen = Vec::new();
    loop {
        let list = store.operations.keys(&KeyFilter::default(), &page).unwrap();
        seen.extend(list.data.into_iter().map(|key| key.id));
        add(&mut store);
        assert_eq!(list.has_more, list.next_cursor.is_some());
        if list.next_cursor.is_none() {
            break;
        }
        page.cursor = list.next_cursor;
    }
    assert_eq!(seen, ids);
    let elsewhere = Page { limit: 2, cursor: page.cursor };
    assert_eq!(store.operations.accounts(&elsewhere).unwrap_err().code, Code::InvalidCursor);
}

#[test]
fn a_repeated_request_has_its_effect_once() {
    let mut store = Store::new();
    let actor = store.actor.clone();
    let repeatable = Repeatable { digest: [1; 32], request: [2; 32] };
    let intent = Intent { repeatable: Some(&repeatable), ..Intent::of(&actor) };
    let key = store.operations.create_key(&intent, &NewKey::default()).unwrap();
    let replay = store.operations.replay(&repeatable).unwrap().unwrap();
    assert_eq!((replay.status, replay.subject), (201, key.id));
    // Another process that did not know of it changes nothing.
    let late = store.operations.create_key(&intent, &NewKey::default()).unwrap_err();
    assert_eq!(late.code, Code::IdempotencyInUse);
    assert_eq!(store.operations.keys(&KeyFilter::default(), &Page::all()).unwrap().data.len(), 1);
    let other = Repeatable { request: [3; 32], ..repeatable };
    assert_eq!(store.operations.replay(&other).unwrap_err().code, Code::IdempotencyMismatch);
}

#[test]
fn writers_with_a_condition_never_overwrite_each_other() {
    let store = Store::new();
    let path: &Path = store.folder.path();
    let mut operations = Operations::open(path).unwrap();
    let actor = Actor::command_line();
    let key = operations
        .create_key(&Intent::of(&actor), &NewKey { rpm: Some(Some(1)), ..NewKey::default() })
        .unwrap();
    let applied: u32 = std::thread::scope(|scope| {
        let write = || {
            let (mut operations, mut applied) = (Operations::open(path).unwrap(), 0);
            while applied < 4 {
                let seen = operations.key(&key.id).unwrap();
                let patch = KeyPatch { rpm: Some(seen.rpm.map(|rpm| rpm + 1)), ..KeyPatch::default() };
                let intent = Intent { if_match: Some(&seen.etag), ..Intent::of(&actor) };
                match operations.update_key(&intent, &key.id, &patch) {
                    Ok(_) => applied += 1,
                    Err(error) => assert_eq!(error.code, Code::PreconditionFailed),
                }
            }
            applied
        };
        let writers: [_; 8] = std::array::from_fn(|_| scope.spawn(write));
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(operations.key(&key.id).unwrap().rpm, Some(1 + applied), "each change saw its predecessor");
}

#[test]
fn a_token_is_known_until_it_expires_or_is_deleted() {
    let mut store = Store::new();
    let actor = store.actor.clone();
    let intent = Intent::of(&actor);
    let new = NewToken { name: "portal".to_owned(), role: Role::Keys, ..NewToken::default() };
    let token = store.operations.create_token(&intent, &new).unwrap();
    let secret = token.secret.unwrap();
    let operator = store.operations.identify(&secret).unwrap().unwrap();
    assert_eq!((operator.name.as_str(), operator.role), ("portal", Role::Keys));
    let over = NewToken { expires_in: Some(Period(0)), ..new };
    let over = store.operations.create_token(&intent, &over).unwrap().secret.unwrap();
    for unknown in [over.as_str(), "cma-", "", &format!("{secret}x")] {
        assert_eq!(store.operations.identify(unknown).unwrap(), None);
    }
    store.operations.delete_token(&intent, &token.id).unwrap();
    assert_eq!(store.operations.identify(&secret).unwrap(), None);
    // Accounts have tags as keys do.
    let tags = Some(Some([("a".to_owned(), Some("b".to_owned()))].into()));
    store.operations.create_key(&intent, &NewKey::default()).unwrap();
    let patch = AccountPatch { tags, ..AccountPatch::default() };
    let account = store.operations.update_account(&intent, "default", &patch).unwrap();
    assert_eq!(account.tags["a"], "b");
    for file in std::fs::read_dir(store.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "no secret is in the files");
    }
}

#[test]
fn keys_from_before_go_on_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(folder.path().join(crate::store::FILE)).unwrap();
    for script in [
        include_str!("../../store/1_keys.sql"),
        include_str!("../../store/2_ledger.sql"),
        include_str!("../../store/3_leases.sql"),
        include_str!("../../store/4_secrets.sql"),
        include_str!("../../store/5_rates.sql"),
    ] {
        old.execute_batch(script).unwrap();
    }
    let secret = crate::auth::Secret::generate();
    old.execute_batch(&format!(
        "PRAGMA user_version = 5;
         INSERT INTO accounts VALUES ('a', 'active', 7);
         INSERT INTO wallets VALUES ('a', 5, 0);
         INSERT INTO keys VALUES ('key_1', 'a', 'one', x'{}', 'active', '[\"v/*\"]', '{{\"f\":\"v/m\"}}', 8, NULL, 9,
            2000000000, 1);
         INSERT INTO keys VALUES ('key_2', 'a', 'two', zeroblob(32), 'disabled', NULL, '{{}}', 9, 60, 100000, NULL, 0);",
        secret.digest().to_hex()
    ))
    .unwrap();
    drop(old);
    let mut operations = Operations::open(folder.path()).unwrap();
    let keys = operations.keys(&KeyFilter::default(), &Page::all()).unwrap().data;
    assert_eq!([&keys[0].id, &keys[1].id], ["key_2", "key_1"]);
    let one = &keys[1];
    assert_eq!(
        (one.rpm, one.tpm, one.strict, one.created_at),
        (None, Some(9), true, crate::admin::model::Moment(8))
    );
    assert_eq!(
        (one.spending_limit_usd, one.models.as_deref()),
        (Some(Usd("2".parse().unwrap())), Some(&["v/*".to_owned()][..]))
    );
    assert_eq!((one.secrets[0].hint.as_deref(), keys[0].state), (None, KeyState::Disabled));
    let table = KeyTable::open(folder.path()).unwrap();
    assert_eq!(table.grant(Some(secret.expose()), "", None).unwrap().id, "key_1");
    let actor = portal();
    operations.set_account_status(&Intent::of(&actor), "a", Status::Disabled).unwrap();
    assert_eq!(operations.key("key_1").unwrap().state, KeyState::AccountDisabled);
}
