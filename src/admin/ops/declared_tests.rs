//! Keys and accounts that a file declares: what the store gets of them, and what operators can still change.

use serde_json::json;

use crate::admin::error::{Code, OperationError};
use crate::admin::model::{
    AccountPatch, AuditRow, KeyPatch, NewAccount, NewBudgets, NewKey, Origin, Rotation, Usd,
};
use crate::auth::{BudgetOwner, ContentLogging, KeyTable, RateLimits, Secret, Status};
use crate::config::{Config, Declarations, Problem};

use super::{Actor, AuditFilter, DeclaredObjects, Intent, Operations, Page};

struct Store {
    folder: tempfile::TempDir,
    operations: Operations,
    operator: Actor,
}

/// The declarations of a text, with its secrets.
fn declarations(text: &str, secrets: &[(&str, &Secret)]) -> Declarations {
    let variable = |name: &str| {
        let found = secrets.iter().find(|(known, _)| *known == name);
        found.map(|(_, secret)| secret.expose().to_owned())
    };
    Config::parse(&format!("providers: {{demo: {{}}}}\n{text}"), variable).unwrap().declarations
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let operations = Operations::open(folder.path()).unwrap();
        Self { folder, operations, operator: Actor::command_line() }
    }

    fn declare(&mut self, text: &str, secrets: &[(&str, &Secret)]) -> Vec<Problem> {
        self.operations.declare(&declarations(text, secrets)).unwrap()
    }

    /// Declares what is right.
    fn follow(&mut self, text: &str, secrets: &[(&str, &Secret)]) {
        assert_eq!(self.declare(text, secrets), []);
    }

    /// The rows of the audit log, oldest first, behind that of the store itself.
    fn audit(&self) -> Vec<AuditRow> {
        let mut rows = self.operations.audit(&AuditFilter::default(), &Page::all()).unwrap().data;
        rows.retain(|row| row.action != "store.create");
        rows.reverse();
        rows
    }

    fn admits(&self, secret: &Secret) -> bool {
        KeyTable::open(self.folder.path()).unwrap().grant(Some(secret.expose()), "", None).is_ok()
    }

    fn patch_key(&mut self, id: &str, patch: &KeyPatch) -> Result<(), OperationError> {
        self.operations.update_key(&Intent::of(&self.operator), id, patch).map(drop)
    }

    fn set_status(&mut self, id: &str, status: Status) {
        self.operations.set_key_status(&Intent::of(&self.operator), id, status).unwrap();
    }

    fn status(&self, id: &str) -> Status {
        self.operations.key(id).unwrap().status
    }
}

fn refused<T>(result: Result<T, OperationError>) -> (Code, String) {
    let error = result.err().unwrap();
    (error.code, error.message)
}

const CI: &str = "keys: [{name: ci, secret: \"env:CI\"}]";

#[test]
fn the_store_follows_the_file_in_one_transaction_with_audit_rows() {
    let (mut store, ci, other) = (Store::new(), Secret::generate(), Secret::generate());
    let digest = other.digest().to_hex();
    let text = format!(
        "instance: production\n\
         accounts:\n  - {{id: search, name: Search, low_balance: 2.50, budgets: [{{period: month, limit: 500, alert_at: [50, 80]}}]}}\n\
         keys:\n  - {{name: ci-search, account: search, secret: \"env:CI\", expires: 2099-01-31, rpm: 60, models: [openai/*],\n\
         \x20    budgets: [{{period: total, limit: 0.1}}], tags: {{team: a}}, notes: n, strict: true, aliases: {{f: openai/x}}}}\n\
         \x20 - {{id: key_grafana, sha256: {digest}, tpm: unlimited}}\n"
    );
    store.operations.set_key_defaults(RateLimits { rpm: Some(7), tpm: Some(9) });
    store.follow(&text, &[("CI", &ci)]);
    assert!(store.admits(&ci) && store.admits(&other));
    let key = store.operations.key("key_ci-search").unwrap();
    assert_eq!(
        (key.name.as_str(), key.account.as_str(), key.origin),
        ("ci-search", "search", Origin::Config)
    );
    assert_eq!((key.rpm, key.tpm, key.strict), (Some(60), Some(9), true));
    assert_eq!(key.spending_limit_usd, Some(Usd("0.1".parse().unwrap())), "no digit is lost");
    assert_eq!(key.expires_at.unwrap().date(), "2099-01-31");
    assert_eq!(key.secrets[0].hint.as_deref(), Some(ci.hint()));
    let grafana = store.operations.key("key_grafana").unwrap();
    assert_eq!((grafana.account.as_str(), grafana.rpm, grafana.tpm), ("default", Some(7), None));
    assert_eq!(grafana.secrets[0].hint, None);
    let account = store.operations.account("search").unwrap();
    assert_eq!((account.name.as_str(), account.created_by.as_str()), ("Search", "config:production"));
    let budgets = store.operations.budgets(BudgetOwner::Account, "search").unwrap().data;
    assert_eq!(
        (budgets[0].limit_usd.0.to_string(), &budgets[0].alert_at),
        ("500.00".to_owned(), &vec![50, 80])
    );

    let rows = store.audit();
    let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.subject.as_str())).collect();
    let expected = [
        ("account.create", "search"),
        ("account.budgets", "search"),
        ("account.create", "default"),
        ("key.create", "key_ci-search"),
        ("key.budgets", "key_ci-search"),
        ("key.create", "key_grafana"),
    ];
    assert_eq!(told, expected);
    assert!(rows.iter().all(|row| (row.actor.as_str(), row.via.as_str()) == ("config:production", "config")));
    let text_of_rows = serde_json::to_string(&rows).unwrap();
    assert!(!text_of_rows.contains(ci.expose()) && !text_of_rows.contains(&digest));

    // The same file again changes nothing, wherever its lines are.
    let etag = key.etag;
    store.follow(&format!("\n\n{text}"), &[("CI", &ci)]);
    assert_eq!((store.audit().len(), store.operations.key("key_ci-search").unwrap().etag), (6, etag));
}

#[test]
fn what_the_file_declares_is_changed_there_and_the_rest_is_not() {
    let (mut store, ci) = (Store::new(), Secret::generate());
    let text = "accounts:\n  - {id: team, name: Team, budgets: [{period: day, limit: 5}]}\n\
                keys:\n  - {name: ci, account: team, rpm: 60, secret: \"env:CI\"}\n";
    store.follow(text, &[("CI", &ci)]);
    let managed = |member: &str, object: &str, line: u32| {
        let message =
            format!("`{member}` of {object} is declared in the configuration:{line}: change it there");
        (Code::ManagedByConfiguration, message)
    };
    let rpm = KeyPatch { rpm: Some(None), tpm: Some(Some(5)), ..KeyPatch::default() };
    assert_eq!(refused(store.patch_key("key_ci", &rpm)), managed("rpm", "key 'key_ci'", 5));
    assert_eq!(store.operations.key("key_ci").unwrap().tpm, None, "nothing was changed");
    let actor = store.operator.clone();
    let intent = Intent::of(&actor);
    let rotated = store.operations.rotate_key(&intent, "key_ci", &Rotation::default());
    assert_eq!(refused(rotated), managed("secrets", "key 'key_ci'", 5));
    assert!(store.admits(&ci));
    let (code, message) = refused(store.operations.delete_key(&intent, "key_ci"));
    assert_eq!(code, Code::ManagedByConfiguration);
    assert!(message.contains("declared in the configuration:5"), "{message}");
    let renamed = AccountPatch { name: Some("x".to_owned()), ..AccountPatch::default() };
    let renamed = store.operations.update_account(&intent, "team", &renamed);
    assert_eq!(refused(renamed), managed("name", "account 'team'", 3));
    let none = NewBudgets::default();
    let budgets = store.operations.set_budgets(&intent, (BudgetOwner::Account, "team"), &none);
    assert_eq!(refused(budgets), managed("budgets", "account 'team'", 3));
    assert_eq!(refused(store.operations.delete_account(&intent, "team")).0, Code::ManagedByConfiguration);
    let outcomes: Vec<_> = store.audit().into_iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "managed_by_configuration").count(), 6);

    // The value that the file has is no change.
    let same = KeyPatch { rpm: Some(Some(60)), ..KeyPatch::default() };
    store.patch_key("key_ci", &same).unwrap();
    // What the file does not name stays as operators set it.
    let free = KeyPatch { tpm: Some(Some(5)), notes: Some(Some("mine".to_owned())), ..KeyPatch::default() };
    store.patch_key("key_ci", &free).unwrap();
    store.follow(&text.replace("60", "70"), &[("CI", &ci)]);
    let key = store.operations.key("key_ci").unwrap();
    assert_eq!((key.rpm, key.tpm, key.notes.as_str()), (Some(70), Some(5), "mine"));
    // A member that the file no longer names gets its default, and is the operators' from then on.
    store.follow(&text.replace("rpm: 60, ", ""), &[("CI", &ci)]);
    assert_eq!(store.operations.key("key_ci").unwrap().rpm, None);
    store.patch_key("key_ci", &same).unwrap();
    store.follow("accounts: [{id: team}]", &[]);
    assert_eq!(store.operations.budgets(BudgetOwner::Account, "team").unwrap().data, []);
}

#[test]
fn the_conditions_of_use_of_a_key_can_be_declared() {
    let (mut store, ci) = (Store::new(), Secret::generate());
    let secrets: &[(&str, &Secret)] = &[("CI", &ci)];
    let conditions = ", max_concurrent: 2, allow_ips: [10.0.0.0/8, \"::1\"], watch: true, content_log: off";
    let text = |conditions: &str| format!("keys: [{{name: ci, secret: \"env:CI\"{conditions}}}]");
    store.follow(&text(conditions), secrets);
    let has = |store: &Store| {
        let key = store.operations.key("key_ci").unwrap();
        (key.max_concurrent, key.allow_ips.map(|list| list.to_string()), key.watch, key.content_log)
    };
    assert_eq!(has(&store), (Some(2), Some("10.0.0.0/8+::1".to_owned()), true, ContentLogging::Off));
    for (patch, member) in [
        (KeyPatch { max_concurrent: Some(None), ..KeyPatch::default() }, "max_concurrent"),
        (KeyPatch { allow_ips: Some(None), ..KeyPatch::default() }, "allow_ips"),
        (KeyPatch { watch: Some(false), ..KeyPatch::default() }, "watch"),
        (KeyPatch { content_log: Some(ContentLogging::On), ..KeyPatch::default() }, "content_log"),
    ] {
        let (code, message) = refused(store.patch_key("key_ci", &patch));
        assert_eq!(code, Code::ManagedByConfiguration);
        assert!(message.starts_with(&format!("`{member}`")), "{message}");
    }
    store.follow(&text(", max_concurrent: unlimited"), secrets);
    assert_eq!(
        has(&store),
        (None, None, false, ContentLogging::On),
        "what is taken out of the file gets its default"
    );

    let wrong = |conditions: &str| {
        let text = format!("providers: {{demo: {{}}}}\n{}", text(conditions));
        Config::parse(&text, |_| Some(ci.expose().to_owned())).unwrap_err().to_string()
    };
    assert!(wrong(", allow_ips: []").contains("`allow_ips` is empty"));
    assert!(wrong(", allow_ips: [10.1.2.3/8]").contains("`10.0.0.0/8`"));
    assert!(wrong(", max_concurrent: 0").contains("at least 1"));
    let many = vec!["10.0.0.1"; 101].join(", ");
    assert!(wrong(&format!(", allow_ips: [{many}]")).contains("more than 100 addresses"));
}

#[test]
fn the_limits_of_an_account_can_be_declared() {
    let mut store = Store::new();
    let text = |limits: &str| format!("accounts: [{{id: team{limits}}}]");
    store.follow(&text(", models: [openai/*], rpm: 600, tpm: 9000, max_concurrent: 8"), &[]);
    let has = |store: &Store| {
        let account = store.operations.account("team").unwrap();
        (account.models, account.rpm, account.tpm, account.max_concurrent)
    };
    let models = vec!["openai/*".to_owned()];
    assert_eq!(has(&store), (Some(models), Some(600), Some(9_000), Some(8)));
    let actor = store.operator.clone();
    let patch = AccountPatch { tpm: Some(Some(1)), ..AccountPatch::default() };
    let (code, _) = refused(store.operations.update_account(&Intent::of(&actor), "team", &patch));
    assert_eq!(code, Code::ManagedByConfiguration);
    store.follow(&text(", rpm: unlimited"), &[]);
    assert_eq!(has(&store), (None, None, None, None), "what is taken out of the file gets its default");
    store.operations.update_account(&Intent::of(&actor), "team", &patch).unwrap();
    store.follow(&text(", rpm: 7"), &[]);
    assert_eq!(has(&store), (None, Some(7), Some(1), None), "what the file does not name stays");
}

#[test]
fn disabling_wins_until_somebody_enables_the_object() {
    let (mut store, ci) = (Store::new(), Secret::generate());
    let secrets: &[(&str, &Secret)] = &[("CI", &ci)];
    store.follow(CI, secrets);
    store.set_status("key_ci", Status::Disabled);
    store.follow(&format!("\n{CI}"), secrets);
    assert!(!store.admits(&ci));
    let instance = declarations(CI, secrets).instance;
    let objects = store.operations.declared_objects(&instance).unwrap();
    assert_eq!(objects, DeclaredObjects { accounts: 0, keys: 1, disabled: vec!["key_ci".to_owned()] });
    // It is taken out of the file and put back: nobody has enabled it.
    store.follow("", &[]);
    assert_eq!(store.operations.declared_objects(&instance).unwrap(), DeclaredObjects::default());
    store.follow(CI, secrets);
    assert_eq!(store.status("key_ci"), Status::Disabled);
    store.set_status("key_ci", Status::Active);
    store.follow(&format!("\n\n{CI}"), secrets);
    assert!(store.admits(&ci));
}

#[test]
fn what_is_no_longer_declared_is_disabled_and_is_the_same_object_when_it_is_back() {
    let (mut store, ci) = (Store::new(), Secret::generate());
    let secrets: &[(&str, &Secret)] = &[("CI", &ci)];
    let text = format!("accounts: [{{id: team, budgets: [{{period: total, limit: 5}}]}}]\n{CI}");
    store.follow(&text, secrets);
    let budget = store.operations.budgets(BudgetOwner::Account, "team").unwrap();
    store.follow("", &[]);
    assert!(!store.admits(&ci));
    assert_eq!(store.operations.account("team").unwrap().status, Status::Disabled);
    let row = store.audit().pop().unwrap();
    assert_eq!((row.action.as_str(), row.subject.as_str()), ("account.update", "team"));
    let (before, after) = (json!({"status": "active"}), json!({"status": "disabled"}));
    assert_eq!((row.before.as_ref(), row.after.as_ref()), (before.as_object(), after.as_object()));
    store.follow(&text, secrets);
    assert!(store.admits(&ci));
    assert_eq!(store.operations.account("team").unwrap().status, Status::Active);
    assert_eq!(store.operations.budgets(BudgetOwner::Account, "team").unwrap(), budget);

    // Whoever sets the status of a key that the file no longer has decides.
    for status in [Status::Disabled, Status::Active] {
        store.follow("", &[]);
        store.set_status("key_ci", status);
        store.follow("accounts: [{id: team}]", &[]);
        assert_eq!(store.status("key_ci"), status, "the file says nothing of it");
        store.follow(&text, secrets);
        assert_eq!(store.status("key_ci"), status);
        store.set_status("key_ci", Status::Active);
    }
    // A deleted key comes back without its secrets of before, and works.
    store.follow("", &[]);
    let actor = store.operator.clone();
    store.operations.delete_key(&Intent::of(&actor), "key_ci").unwrap();
    store.operations.delete_account(&Intent::of(&actor), "team").unwrap();
    store.follow(&text, secrets);
    assert!(store.admits(&ci));
    assert_eq!(store.operations.account("team").unwrap().status, Status::Active);
}

#[test]
fn objects_of_others_refuse_the_whole_file() {
    let (mut store, ci, api) = (Store::new(), Secret::generate(), Secret::generate());
    let actor = store.operator.clone();
    let intent = Intent::of(&actor);
    let made = NewAccount { id: "team".to_owned(), ..NewAccount::default() };
    store.operations.create_account(&intent, &made).unwrap();
    let known =
        store.operations.create_first_key(&actor, Secret::parse(api.expose()).unwrap()).unwrap().unwrap();
    store.follow("instance: b\nkeys: [{name: b, account: team, secret: \"env:B\"}]", &[("B", &ci)]);
    let rows = store.audit().len();
    let text = format!(
        "accounts:\n  - {{id: new}}\n  - {{id: team}}\nkeys:\n  - {{name: mine, sha256: {}}}\n  - {{id: {}, sha256: {}}}\n\
         \x20 - {{name: b, sha256: {}}}\n  - {{name: lost, account: none, sha256: {}}}\n",
        api.digest().to_hex(),
        known.id,
        Secret::generate().digest().to_hex(),
        Secret::generate().digest().to_hex(),
        Secret::generate().digest().to_hex(),
    );
    let problems = store.declare(&text, &[]);
    let told: Vec<_> =
        problems.iter().map(|problem| (problem.place.line, problem.message.as_str())).collect();
    let [team, key, other, lost, secret] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(*team, (4, "account 'team' was made by cli and not by a file: give it another id"));
    assert!(
        key.0 == 7 && key.1.ends_with("was made by cli and not by a file: give it another id"),
        "{key:?}"
    );
    assert!(other.0 == 8 && other.1.contains("belongs to the instance 'b'"), "{other:?}");
    assert!(lost.0 == 9 && lost.1.contains("'none', which does not exist"), "{lost:?}");
    assert!(
        secret.0 == 6 && secret.1.contains(&format!("has the secret of key '{}'", known.id)),
        "{secret:?}"
    );
    assert_eq!(store.audit().len(), rows);
    assert_eq!(store.operations.account("new").unwrap_err().code, Code::NotFound, "nothing was changed");
}

#[test]
fn instances_leave_each_other_alone_and_keys_may_exchange_their_secrets() {
    let (mut store, one, two) = (Store::new(), Secret::generate(), Secret::generate());
    let both = |first: &str, second: &str| {
        format!(
            "instance: a\nkeys: [{{name: one, secret: \"env:{first}\"}}, {{name: two, secret: \"env:{second}\"}}]"
        )
    };
    let secrets: &[(&str, &Secret)] = &[("ONE", &one), ("TWO", &two)];
    store.follow(&both("ONE", "TWO"), secrets);
    store.follow("instance: b\naccounts: [{id: team}]", &[]);
    assert!(store.admits(&one) && store.admits(&two));
    store.follow("instance: b", &[]);
    assert!(store.admits(&one));
    store.follow(&both("TWO", "ONE"), secrets);
    let table = KeyTable::open(store.folder.path()).unwrap();
    let id = |secret: &Secret| table.grant(Some(secret.expose()), "", None).unwrap().id.clone();
    assert_eq!((id(&one), id(&two)), ("key_two".to_owned(), "key_one".to_owned()));
    // A new secret ends the one before at once.
    let three = Secret::generate();
    store.follow(&both("TWO", "THREE"), &[("TWO", &two), ("THREE", &three)]);
    assert!(!store.admits(&one) && store.admits(&two) && store.admits(&three));
    let new = NewKey::default();
    let actor = store.operator.clone();
    let free = store.operations.create_key(&Intent::of(&actor), &new).unwrap();
    assert_eq!(free.account, "default", "the account that the file needed is everybody's");
}
