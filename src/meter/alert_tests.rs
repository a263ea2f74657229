//! Tests of alerts: each is given once, and leaves an event and a row in the audit log where there is to be one.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::FromSql;

use super::*;
use crate::auth::{BudgetOwner, Store};
use crate::meter::Books;
use crate::notify::{Outbox, Webhook, WebhookFormat, WebhookUrl};

struct World {
    connection: Connection,
    books: Books,
    outbox: Outbox,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.create_account("a").unwrap();
        store.change("accounts", "a", "tags", r#"{"team":"x"}"#);
        let (connection, books) =
            (crate::store::open(folder.path()).unwrap(), Books::open(folder.path()).unwrap());
        let outbox = Outbox::default();
        outbox.set(vec![Webhook {
            name: "w".to_owned(),
            url: WebhookUrl::parse("http://127.0.0.1/").unwrap(),
            secrets: Vec::new(),
            events: vec!["*".to_owned()],
            format: WebhookFormat::Standard,
        }]);
        Self { connection, books, outbox, _folder: folder }
    }

    fn get<T: FromSql>(&self, sql: &str) -> T {
        self.connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Sets a column, lets a transaction look at the limits, and returns what is told.
    fn look(&mut self, change: &str, is_short: bool) -> Vec<String> {
        self.connection.execute_batch(change).unwrap();
        let transaction = self.connection.transaction().unwrap();
        let mut touched = TouchedLimits::default();
        let sql = "SELECT budget, start_day FROM budget_windows";
        let windows: Vec<_> = {
            let mut query = transaction.prepare(sql).unwrap();
            let window = |row: &Row<'_>| Ok(BudgetWindow { budget: row.get(0)?, start: row.get(1)? });
            query.query_map([], window).unwrap().map(Result::unwrap).collect()
        };
        let account: Arc<str> = "a".into();
        let limits = LimitSet { number: 1, account, key: "k".into(), has_wallet: true, windows };
        touched.add(&limits);
        if is_short {
            touched.short_windows.extend(&limits.windows);
            touched.short_accounts.insert(Arc::clone(&limits.account));
        }
        let alerts = touched.alerts(&transaction, 7).unwrap();
        alerts.iter().for_each(|alert| self.outbox.add(&transaction, &alert.event(), 7).unwrap());
        transaction.commit().unwrap();
        alerts.iter().map(ToString::to_string).collect()
    }
}

fn dollars(text: &str) -> i64 {
    text.parse::<Amount>().unwrap().nano().cast_signed()
}

#[test]
fn a_budget_gives_each_alert_once_and_its_end_is_in_the_audit_log() {
    let mut world = World::new();
    let budget = "total=10,alert=50/80".parse().unwrap();
    world.books.set_budgets((BudgetOwner::Account, "a"), &[budget]).unwrap();
    let spend = |text: &str| format!("UPDATE budget_windows SET spent = {}", dollars(text));
    let none: [&str; 0] = [];
    assert_eq!(world.look(&spend("4.99"), false), none);
    let half = "account a: 50 % of its total budget is spent: 5.00 of 10.00 USD";
    assert_eq!(world.look(&spend("5"), false), [half]);
    assert_eq!(world.look(&spend("5"), false), none);
    assert_eq!(
        world.look(&spend("8"), true),
        ["account a: 80 % of its total budget is spent: 8.00 of 10.00 USD"]
    );
    assert_eq!(world.look(&spend("9.95"), false), none, "calls still fit");
    let end = "account a: its total budget is used up: 9.95 of 10.00 USD are spent";
    assert_eq!(world.look(&spend("9.95"), true), [end]);
    assert_eq!(world.look(&spend("10"), true), none);
    let row: String = world.get(
        "SELECT actor || ' ' || action || ' ' || subject || ' ' || account || ' ' || after
            FROM audit WHERE via = 'gateway'",
    );
    assert!(row.starts_with("gateway budget.exhausted a a {"), "{row}");
    assert_eq!(world.get::<i64>("SELECT COUNT(*) FROM audit WHERE via = 'gateway'"), 1);
    let bodies: String = world.get("SELECT group_concat(body, ' ') FROM outbox");
    assert_eq!(bodies.matches("budget.threshold").count(), 2, "{bodies}");
    assert_eq!(bodies.matches("budget.exhausted").count(), 1, "{bodies}");
    let facts = r#"{"owner":"a","account":"a","period":"total","limit_usd":"10.00","spent_usd":"5.00","percent":50,"resets_at":null,"tags":{"team":"x"}}"#;
    assert!(bodies.contains(facts), "{bodies}");
}

#[test]
fn a_soft_budget_has_no_end() {
    let mut world = World::new();
    world.books.set_budgets((BudgetOwner::Account, "a"), &["total=10,soft".parse().unwrap()]).unwrap();
    let told = world.look(&format!("UPDATE budget_windows SET spent = {}", dollars("12")), true);
    assert_eq!(told, ["account a: 80 % of its total budget is spent: 12.00 of 10.00 USD"]);
    assert_eq!(world.get::<i64>("SELECT COUNT(*) FROM audit WHERE via = 'gateway'"), 0);
}

#[test]
fn a_balance_is_told_of_when_it_becomes_low_and_again_after_it_was_not() {
    let mut world = World::new();
    world.books.top_up("a", "10".parse().unwrap(), "one").unwrap();
    world.connection.execute("UPDATE accounts SET low_balance = ?1", [dollars("5")]).unwrap();
    let set = |text: &str| format!("UPDATE wallets SET balance = {}", dollars(text));
    let none: [&str; 0] = [];
    assert_eq!(world.look(&set("5"), false), none);
    let low = "account a: its balance is low: 4.99 USD, which is less than 5.00 USD";
    assert_eq!(world.look(&set("4.99"), false), [low]);
    assert_eq!(world.look(&set("4"), true), none);
    let empty = "account a: its balance is used up: 0.009 USD are left";
    assert_eq!(world.look(&set("0.009"), true), [empty]);
    assert_eq!(world.look(&set("0.008"), false), none);
    assert_eq!(world.look(&set("0.008"), true), none);
    world.books.top_up("a", "1".parse().unwrap(), "two").unwrap();
    assert_eq!(world.look("", false), none, "it is still low, as was told");
    assert_eq!(world.look(&set("0"), false), ["account a: its balance is used up: 0.00 USD are left"]);
    world.books.top_up("a", "6".parse().unwrap(), "three").unwrap();
    assert_eq!(world.look(&set("4.99"), false), [low]);
    let kinds: String = world.get("SELECT group_concat(json_extract(body, '$.type'), ' ') FROM outbox");
    assert_eq!(kinds, "balance.low balance.empty balance.empty balance.low");
}

#[test]
fn a_wallet_without_a_mark_is_never_low() {
    let mut world = World::new();
    world.books.top_up("a", "1".parse().unwrap(), "one").unwrap();
    let set = |text: &str| format!("UPDATE wallets SET balance = {}", dollars(text));
    let none: [&str; 0] = [];
    assert_eq!(world.look(&set("0.001"), false), none);
    assert_eq!(world.look(&set("0.001"), true).len(), 1);
    assert_eq!(world.look(&set("0.001"), true), none);
    assert_eq!(world.look(&set("0.5"), false), none);
    assert_eq!(world.look(&set("0.001"), true).len(), 1);
}
