//! Budgets, as clients and operators see them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::money::{audited, body, call, call_until_death, config, good};
use crate::support::{Gateway, Mock, PROTOCOLS, eventually, member};

/// A gateway whose account has no wallet, and these budgets.
fn gateway(mock: &Mock, budgets: &[&str]) -> Gateway {
    let mut gateway = Gateway::start(&config(mock.port));
    gateway.command(&[&["budget", "set", "--account", "default"], budgets].concat());
    // A gateway that runs sees a change in a moment, until which it does not know of the budgets.
    gateway.restart();
    gateway
}

/// A member of the account's first budget.
fn budget(gateway: &Gateway, name: &str) -> String {
    let listed = gateway.command(&["budget", "list", "--account", "default", "--json"]);
    member(&listed, &format!("0.{name}"))
}

#[test]
fn a_budget_that_is_used_up_refuses_calls_in_every_envelope() {
    let mock = good();
    // Enough for one call of about 1,300 micro-USD at most, which costs 7 in fact.
    let gateway = gateway(&mock, &["month=0.0014"]);
    assert_eq!(call(&gateway, 0, "v/chat", "").status, 200);
    assert!(eventually(Duration::from_secs(5), || budget(&gateway, "spent_usd") == "0.000007"));
    let resets = budget(&gateway, "resets_at");
    gateway.command(&["budget", "set", "--account", "default", "month=0.000007"]);
    let told = format!(
        "The monthly budget of this account is used up: 0.000007 of 0.000007 USD. It resets at {resets}."
    );
    assert!(eventually(Duration::from_secs(1), || call(&gateway, 0, "v/chat", "").status == 402));
    for client in 0..3 {
        let response = call(&gateway, client, "v/chat", "");
        assert_eq!((response.status, member(&response.body, "error.message")), (402, told.clone()));
        assert_eq!(member(&response.body, "error.type"), "billing_error");
        assert!(client == 2 || member(&response.body, "error.code") == "budget_exceeded");
        assert_eq!(response.header("x-should-retry"), Some("false"));
        assert_eq!(response.header("x-crossmodel-budget-reset"), Some(&*resets));
    }
    assert_eq!(call(&gateway, 0, "v/free", "").status, 200, "what costs nothing needs no budget");
    gateway.command(&["budget", "set", "--account", "default", "month=0.001"]);
    let needs = format!("0.00{}", body(0, "v/chat", "").len() + 1024 + 200);
    let needs = needs.trim_end_matches('0');
    let told = format!(
        "This request may cost up to {needs} USD, but the monthly budget of this account has 0.000993 USD left. Ask for fewer output tokens, or wait until {resets}."
    );
    let refused = || member(&call(&gateway, 0, "v/chat", "").body, "error.message");
    assert!(eventually(Duration::from_secs(1), || refused() == told), "{} is not {told}", refused());
    let log = gateway.access_log(6);
    assert!(log.iter().any(|line| line.contains("\"error\":\"budget_exceeded\"")), "{log:?}");
    gateway.command(&["budget", "set", "--account", "default"]);
    assert!(eventually(Duration::from_secs(1), || call(&gateway, 0, "v/chat", "").status == 200));
    audited(&gateway);
}

#[test]
fn a_soft_budget_refuses_nobody_and_warns_once() {
    let mock = good();
    let gateway = gateway(&mock, &["day=0.00001,soft,alert=50/100"]);
    for n in 1..=4 {
        assert_eq!(call(&gateway, 0, "v/chat", "").status, 200);
        let spent = format!("0.0000{:0>2}", n * 7);
        assert!(eventually(Duration::from_secs(5), || budget(&gateway, "spent_usd") == spent));
    }
    let warned = || gateway.stderr().matches("of its daily budget is spent").count();
    assert!(eventually(Duration::from_secs(5), || warned() == 2), "{}", gateway.stderr());
    assert!(
        gateway
            .stderr()
            .contains("account default: 100 % of its daily budget is spent: 0.000014 of 0.00001 USD")
    );
    assert_eq!(audited(&gateway), [], "nobody was charged");
    let store = rusqlite::Connection::open(gateway.data().join("crossmodel.db")).unwrap();
    let sql = "SELECT model, provider, SUM(requests), SUM(input), SUM(cost) FROM usage_hours GROUP BY 1, 2";
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    };
    let counted = store.query_row(sql, [], row).unwrap();
    assert_eq!(counted, ("v/chat".to_owned(), "chat".to_owned(), 4, 12, 28_000));
}

#[test]
fn a_killed_gateway_has_counted_every_answer_that_was_seen() {
    let mock = good();
    let mut gateway = gateway(&mock, &["month=1000"]);
    let seen = AtomicU64::new(0);
    for round in 0..3 {
        let (port, key) = (gateway.port, gateway.key.clone());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| call_until_death(port, &key, &seen));
            }
            let enough = (round + 1) * 12;
            let seen = eventually(Duration::from_secs(30), || seen.load(Ordering::Relaxed) >= enough);
            std::thread::sleep(Duration::from_millis(round * 37 % 200));
            gateway.signal("KILL");
            assert!(seen, "no {enough} answers");
        });
        gateway.restart();
        assert_eq!(budget(&gateway, "held_usd"), "0.00", "nothing is held for calls that are gone");
    }
    let (seen, charges) = (seen.into_inner(), audited(&gateway));
    let exact = charges.iter().filter(|(outcome, _)| outcome == "exact").count() as u64;
    assert!((seen..=seen + 24).contains(&exact), "{seen} answers seen, {exact} counted");
    // The books know no sum that is not in the budget, which the audit has found, too.
    let nano: u64 = charges.iter().map(|(_, micro)| micro * 1000).sum();
    let spent = budget(&gateway, "spent_usd");
    let spent: u64 = format!("{:0<9}", spent.strip_prefix("0.").unwrap()).parse().unwrap();
    assert_eq!(spent, nano);
}

#[test]
fn commands_set_and_list_budgets() {
    let mock = good();
    let gateway = gateway(&mock, &["day=5", "month=50,soft,alert=50/80"]);
    let listed = gateway.command(&["budget", "list", "--account", "default"]);
    assert!(listed.starts_with("PERIOD"), "{listed}");
    assert!(listed.contains("50.00") && listed.contains("soft") && listed.contains("50/80"), "{listed}");
    let id = member(&gateway.command(&["key", "list", "--json"]), "0.id");
    gateway.command(&["key", "set", &id, "--spending-limit", "7"]);
    let listed = gateway.command(&["budget", "list", "--key", &id, "--json"]);
    assert_eq!(
        (member(&listed, "0.period"), member(&listed, "0.limit_usd")),
        ("total".into(), "7.00".into())
    );
    gateway.command(&["budget", "set", "--key", &id]);
    assert_eq!(member(&gateway.command(&["key", "list", "--json"]), "0.spending_limit_micro"), "");
    gateway.command(&["account", "top-up", "default", "5", "--reference", "i1", "--reason", "a trial"]);
    gateway.command(&["account", "refund", "default", "2", "--reference", "c1"]);
    let listed = gateway.command(&["account", "transactions", "default", "--json"]);
    let kinds = [member(&listed, "0.kind"), member(&listed, "1.kind"), member(&listed, "1.reason")];
    assert_eq!(kinds, ["refund", "top_up", "a trial"]);
    assert!(PROTOCOLS.iter().enumerate().all(|(n, _)| call(&gateway, n, "v/chat", "").status == 200));
    audited(&gateway);
}
