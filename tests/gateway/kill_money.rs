//! Killed gateways and money: a wallet, hard budgets and counted calls, in a loop of kills.

#![expect(clippy::print_stdout, reason = "figures are what the long run is for")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::money::{audited, body, config, good};
use crate::support::{Client, Gateway, PROTOCOLS, eventually, member, request};

/// The cost of one call in nano-USD: 3 tokens in and 2 out.
const COST: i64 = 7_000;

/// The limit of the account with a budget: enough for some hundred calls, of which a few are in flight at a time.
const BUDGET: &str = "0.0035";

/// The callers of each account.
const CALLERS: usize = 3;

/// The accounts: with a wallet, with a hard budget, and with neither.
const ACCOUNTS: [&str; 3] = ["wallet", "budget", "tracked"];

/// The answers that the callers of each account have seen whole.
type Seen = [AtomicU64; 3];

/// Makes calls until the gateway is gone. A refusal for want of money is an answer as well.
fn call_until_death(port: u16, key: &str, seen: &AtomicU64) {
    for n in 0_usize.. {
        let Ok(stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return };
        drop(stream);
        let text = request(PROTOCOLS[n % 3].0, key, &body(n % 3, "v/chat", ""));
        let answer = std::panic::catch_unwind(|| {
            let mut client = Client::connect(port);
            client.send(text.as_bytes());
            client.receive()
        });
        match answer {
            Ok(response) if response.status == 200 && response.complete => {
                seen.fetch_add(1, Ordering::Relaxed);
            }
            Ok(response) if response.status == 402 => std::thread::sleep(Duration::from_millis(5)),
            _ => return,
        }
    }
}

/// A number of the store.
fn number(gateway: &Gateway, sql: &str) -> i64 {
    let books = Connection::open(gateway.data().join("crossmodel.db")).unwrap();
    books.busy_timeout(Duration::from_secs(5)).unwrap();
    books.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn charged(gateway: &Gateway, account: &str) -> (i64, i64) {
    let exact = format!("FROM charges WHERE account = '{account}' AND outcome = 'exact'");
    let count = number(gateway, &format!("SELECT COUNT(*) {exact}"));
    let cost = number(gateway, &format!("SELECT COALESCE(SUM(amount), 0) {exact}"));
    (count, cost)
}

/// Whatever is in the books agrees with what was seen, and no budget is exceeded.
fn check(gateway: &Gateway, seen: &Seen, kills: i64) {
    audited(gateway);
    let in_flight = kills * i64::try_from(CALLERS).unwrap();
    let seen: Vec<_> = seen.iter().map(|seen| seen.load(Ordering::Relaxed).cast_signed()).collect();
    for (account, seen) in ACCOUNTS.iter().zip(&seen).take(2) {
        let (count, cost) = charged(gateway, account);
        assert!(
            (*seen..=seen + in_flight).contains(&count),
            "{account}: {seen} answers seen, {count} charged"
        );
        assert_eq!(cost, count * COST, "{account}: a charge is what the provider has counted");
    }
    let spent =
        number(gateway, "SELECT MAX(w.spent) FROM budget_windows w JOIN budgets b ON b.id = w.budget");
    let limit: f64 = BUDGET.parse().unwrap();
    assert!((spent as f64) <= limit * 1e9, "{spent} nano-USD of {BUDGET} USD are spent");
    let tracked = |column: &str| {
        number(
            gateway,
            &format!("SELECT COALESCE(SUM({column}), 0) FROM usage_hours WHERE account = 'tracked'"),
        )
    };
    let (calls, cost) = (tracked("successes"), tracked("cost"));
    assert_eq!(cost, calls * COST, "a counted call costs what the provider has counted");
    assert!(calls <= seen[2] + in_flight, "{} answers seen, {calls} counted", seen[2]);
}

/// Kills the gateway again and again under load, and then stops it as one should. Returns the answers that were seen, and the
/// counted calls that the kills have lost.
fn run(kills: i64) -> (Vec<u64>, i64) {
    let mock = good();
    let mut gateway = Gateway::start(&config(mock.port));
    let keys = ACCOUNTS.map(|account| {
        gateway.command(&["account", "create", account]);
        member(&gateway.command(&["key", "create", "--account", account, "--json"]), "secret")
    });
    gateway.command(&["account", "top-up", "wallet", "1000"]);
    gateway.command(&["budget", "set", "--account", "budget", &format!("total={BUDGET}")]);
    gateway.restart();
    let seen = Seen::default();
    let total = || seen.iter().map(|seen| seen.load(Ordering::Relaxed)).collect::<Vec<_>>();
    for round in 0..kills {
        let port = gateway.port;
        let before = total();
        std::thread::scope(|scope| {
            for (key, seen) in keys.iter().zip(&seen) {
                (0..CALLERS).for_each(|_| drop(scope.spawn(move || call_until_death(port, key, seen))));
            }
            let moved = || total().iter().zip(&before).filter(|(now, before)| *now > *before).count();
            // The budget is used up some day.
            let enough = eventually(Duration::from_secs(30), || moved() >= 2 && total()[2] > before[2] + 4);
            std::thread::sleep(Duration::from_millis((round * 41 % 230).unsigned_abs()));
            gateway.signal("KILL");
            assert!(enough, "nothing moves: {:?}", total());
        });
        gateway.restart();
        check(&gateway, &seen, round + 1);
    }
    let lost = seen[2].load(Ordering::Relaxed).cast_signed()
        - number(&gateway, "SELECT COALESCE(SUM(successes), 0) FROM usage_hours WHERE account = 'tracked'");
    // A gateway that is stopped as one should loses nothing.
    let counted =
        || number(&gateway, "SELECT COALESCE(SUM(successes), 0) FROM usage_hours WHERE account = 'tracked'");
    let before = counted();
    for n in 0..10 {
        let mut client = Client::connect(gateway.port);
        client.send(request(PROTOCOLS[n % 3].0, &keys[2], &body(n % 3, "v/chat", "")).as_bytes());
        assert_eq!(client.receive().status, 200);
    }
    gateway.signal("TERM");
    assert!(eventually(Duration::from_secs(20), || counted() == before + 10), "{} of 10", counted() - before);
    (total(), lost)
}

#[test]
fn killed_gateways_exceed_no_budget_and_count_what_was_answered() {
    let kills = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(3);
    run(kills);
}

/// `cargo test --test gateway kill_money -- --ignored --nocapture`
#[test]
#[ignore = "it takes minutes"]
fn killed_gateways_for_a_long_time() {
    let begun = Instant::now();
    let kills = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(100);
    let (seen, lost) = run(kills);
    println!(
        "{kills} kills in {} s: {} answers with a wallet, {} with a budget, {} only counted, of which {lost} were not counted",
        begun.elapsed().as_secs(),
        seen[0],
        seen[1],
        seen[2]
    );
}
