//! Clients that go before the end, and what they pay: whenever they go and however, what their providers count or, if that
//! does not come in time, what they are likely to have written.

use std::sync::Arc;
use std::time::Duration;

use crate::money::{asked, audited, body, config, credits, streams};
use crate::patience::{BEGUN, ENDED};
use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, chunk, eventually, json, member, open, post, request,
};

/// With more settings in front, a gateway whose account has ten dollars.
fn gateway(mock: &Mock, more: &str) -> Gateway {
    let gateway = Gateway::start(&format!("{more}{}", config(mock.port)));
    gateway.command(&["account", "top-up", "default", "10"]);
    gateway
}

/// The request of a client for a model, whose answer may have so many tokens.
fn asking(client: usize, model: &str, most: u64, more: &str) -> String {
    body(client, model, more).replacen(":100,", &format!(":{most},"), 1)
}

/// The estimate of a prompt, for which a call is charged while its provider is waited for.
fn prompt(body: &str) -> u64 {
    body.len().div_ceil(4) as u64
}

const STREAM: &str = "\"stream\":true,";

/// Asks for a stream, reads its first word, and goes.
fn read_and_go(gateway: &Gateway, key: &str, client: usize, body: &str) {
    let mut connection = Client::connect(gateway.port);
    connection.send(request(PROTOCOLS[client].0, key, body).as_bytes());
    assert_eq!(connection.head().0, 200);
    let mut seen = String::new();
    while !seen.contains("word") {
        seen += &String::from_utf8(connection.chunk().unwrap()).unwrap();
    }
}

/// A provider whose streams wait for a gate after their first word, and say after it what they have cost: 300 tokens
/// in, 200 out.
fn counting(gate: &Arc<Gate>) -> Mock {
    let gate = Arc::clone(gate);
    Mock::scripted(move |seen, _| {
        let protocol = asked(seen);
        let rest = vec![
            Act::Await(Arc::clone(&gate)),
            chunk(ENDED[protocol].as_bytes()),
            Act::Send(b"0\r\n\r\n".to_vec()),
        ];
        [open([BEGUN[protocol].as_bytes()]), rest].concat()
    })
}

const COUNTED: u64 = 300 + 2 * 200;

#[test]
fn a_count_that_is_on_its_way_is_what_is_charged() {
    for client in 0..3 {
        for model in ["v/chat", "v/responses", "v/messages"] {
            let gate = Gate::new();
            let mock = counting(&gate);
            let gateway = gateway(&mock, "");
            read_and_go(&gateway, &gateway.key, client, &asking(client, model, 1000, STREAM));
            // Whether it has noticed by then or not, the call costs the same.
            std::thread::sleep(Duration::from_millis(200));
            gate.open();
            let line = gateway.access_log(1).remove(0);
            assert_eq!(member(&line, "client_gone"), "true", "{line}");
            assert_eq!(audited(&gateway), [("exact".to_owned(), COUNTED)], "{client} {model}");
        }
    }
}

#[test]
fn a_count_is_enough_though_its_stream_never_ends() {
    for (client, model) in [(0, "v/chat"), (0, "v/messages"), (2, "v/messages"), (2, "v/chat")] {
        let mock = Mock::scripted(|seen, _| {
            let protocol = asked(seen);
            let ended = ENDED[protocol];
            let last = ended.trim_end().rfind("\n\n").unwrap() + 2;
            [open([BEGUN[protocol].as_bytes()]), vec![chunk(&ended.as_bytes()[..last]), Act::Hold]].concat()
        });
        let gateway = gateway(&mock, "");
        read_and_go(&gateway, &gateway.key, client, &asking(client, model, 1000, STREAM));
        assert!(eventually(Duration::from_secs(10), || mock.left() == 1), "the provider is let go");
        assert!(eventually(Duration::from_secs(10), || credits(&gateway).1 == 0));
        assert_eq!(audited(&gateway), [("exact".to_owned(), COUNTED)], "{client} {model}");
    }
}

/// A provider whose whole answers have 40,000 tokens, so many of them of reasoning, and whose streams end after one word
/// like this.
fn thinking(reasoning: u64, end: Act) -> Mock {
    let usage = format!(
        "{{\"prompt_tokens\":3,\"completion_tokens\":40000,\"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}}}"
    );
    let answer = PROTOCOLS[0].2.split_once(",\"usage\"").unwrap().0.to_owned() + ",\"usage\":" + &usage + "}";
    Mock::scripted(move |seen, _| match streams(seen) {
        false => json(200, "", &answer),
        true => [open([BEGUN[0].as_bytes()]), vec![end.clone()]].concat(),
    })
}

/// Lets a call end whole, so that the pace of its model is known; gives the charge for calls after that.
fn after_a_whole_one(gateway: &Gateway, then: impl FnOnce()) -> Vec<(String, u64)> {
    let whole = post(gateway, PROTOCOLS[0].0, &asking(0, "v/chat", 50_000, ""));
    assert_eq!(whole.status, 200, "{}", whole.body);
    then();
    assert!(eventually(Duration::from_secs(10), || gateway.access_log(2).len() == 2));
    assert!(eventually(Duration::from_secs(10), || credits(gateway).1 == 0));
    audited(gateway).split_off(1)
}

#[test]
fn without_a_count_a_model_that_reasons_is_charged_by_its_pace() {
    for client in [0, 2] {
        let charged = |reasoning, most, end| {
            let mock = thinking(reasoning, end);
            let gateway = gateway(&mock, "");
            let body = asking(client, "v/chat", most, STREAM);
            let charges = after_a_whole_one(&gateway, || read_and_go(&gateway, &gateway.key, client, &body));
            let [(outcome, charge)] = charges.as_slice() else { panic!("{charges:?}") };
            assert_eq!(outcome, "estimated", "{client}");
            charge - prompt(&body)
        };
        // Two seconds, at least; and a pace that is only bounded by how fast a test can be answered.
        let unseen = charged(39_000, 50_000, Act::Hold);
        assert!((2 * 1000..=2 * 50_000).contains(&unseen), "{client}: {unseen}");
        assert_eq!(charged(39_000, 500, Act::Hold), 2 * 500, "{client}: no more than it may write");
        assert_eq!(charged(0, 50_000, Act::Hold), 2, "{client}: one that does not reason has written a word");
    }
}

#[test]
fn what_a_provider_fails_at_is_charged_as_far_as_it_was_seen() {
    for client in [0, 2] {
        let mock = thinking(39_000, Act::Close);
        let gateway = gateway(&mock, "");
        let body = asking(client, "v/chat", 50_000, STREAM);
        let charges = after_a_whole_one(&gateway, || {
            let told = post(&gateway, PROTOCOLS[client].0, &body);
            assert!(told.body.contains("word") && told.body.contains("error"), "{}", told.body);
        });
        assert_eq!(charges, [("estimated".to_owned(), prompt(&body) + 2)], "{client}");
    }
}

#[test]
fn a_client_that_goes_while_a_model_reasons_pays_for_that() {
    let wishes = [
        (0, "v/chat", "\"reasoning_effort\":\"high\","),
        (0, "v/chat", "\"r\\u0065asoning_effort\":\"high\","),
        (1, "v/responses", "\"reasoning\":{\"effort\":\"low\"},"),
        (2, "v/messages", "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000},"),
        (2, "v/chat", "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000},"),
    ];
    for (client, model, wish) in wishes {
        for stream in ["", STREAM] {
            let mock = Mock::new(vec![Act::Hold]);
            let gateway = gateway(&mock, "");
            let body = asking(client, model, 50_000, &format!("{wish}{stream}"));
            let mut going = Client::connect(gateway.port);
            going.send(request(PROTOCOLS[client].0, &gateway.key, &body).as_bytes());
            assert!(eventually(Duration::from_secs(5), || !mock.seen().is_empty()));
            drop(going);
            assert!(eventually(Duration::from_secs(10), || mock.left() == 1), "the provider is let go");
            assert!(eventually(Duration::from_secs(10), || credits(&gateway).1 == 0));
            let charges = audited(&gateway);
            let [(outcome, charge)] = charges.as_slice() else { panic!("{charges:?}") };
            // The pace is not known: a hundred tokens a second, for two seconds at least.
            let (least, most) = (prompt(&body) + 2 * 200, prompt(&body) + 2 * 50_000);
            assert!(
                outcome == "estimated" && (least..=most).contains(charge),
                "{client} {model}: {charges:?}"
            );
        }
    }
}

#[test]
fn an_answer_that_shows_reasoning_is_charged_like_one() {
    let chat =
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n";
    let item = "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\
                \"item\":{\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[]}}\n\n";
    for (client, model, shown) in [(0, "v/chat", chat), (2, "v/chat", chat), (1, "v/responses", item)] {
        let mock = Mock::scripted(move |seen, _| {
            let begun = BEGUN[asked(seen)];
            let first = begun.find("\n\n").unwrap() + 2;
            let begun = match asked(seen) {
                0 => format!("{shown}{begun}"),
                _ => format!("{}{shown}{}", &begun[..first], &begun[first..]),
            };
            [open([begun.as_bytes()]), vec![Act::Hold]].concat()
        });
        let gateway = gateway(&mock, "");
        let body = asking(client, model, 50_000, STREAM);
        read_and_go(&gateway, &gateway.key, client, &body);
        assert!(eventually(Duration::from_secs(10), || mock.left() == 1), "the provider is let go");
        assert!(eventually(Duration::from_secs(10), || credits(&gateway).1 == 0));
        let charges = audited(&gateway);
        assert!(charges[0].1 >= prompt(&body) + 2 * 200, "{client} {model}: {charges:?}");
    }
}

#[test]
fn a_client_that_takes_nothing_is_one_that_is_gone() {
    for (client, model) in [(0, "v/chat"), (0, "v/messages")] {
        // More than all buffers on the way take, and nothing that has to be read.
        let comment = format!(": {}\n\n", "x".repeat(64 << 10));
        let mock = Mock::scripted(move |seen, _| {
            let protocol = asked(seen);
            let begun = open([BEGUN[protocol].as_bytes()]);
            let many = std::iter::repeat_n(chunk(comment.as_bytes()), 320);
            let long = BEGUN[protocol].replace("\"word\"", &format!("\"{}\"", "long ".repeat(20_000)));
            let text = long.split_inclusive("\n\n").last().unwrap();
            let many: Vec<_> = match protocol {
                0 => many.collect(),
                // Comments are not passed on.
                _ => std::iter::repeat_n(chunk(text.as_bytes()), 200).collect(),
            };
            let rest = vec![chunk(ENDED[protocol].as_bytes()), Act::Send(b"0\r\n\r\n".to_vec())];
            [begun, many, rest].concat()
        });
        let gateway = gateway(&mock, "limits: {write_seconds: 1}\n");
        let mut stalled = Client::connect(gateway.port);
        let body = asking(client, model, 1000, STREAM);
        stalled.send(request(PROTOCOLS[client].0, &gateway.key, &body).as_bytes());
        let line = gateway.access_log(1).remove(0);
        assert_eq!(member(&line, "client_gone"), "true", "{line}");
        assert_eq!(audited(&gateway), [("exact".to_owned(), COUNTED)], "{client} {model}");
    }
}

#[test]
fn nobody_takes_the_places_of_other_accounts() {
    let gate = Gate::new();
    let mock = counting(&gate);
    // One account may have two of the four places.
    let text = config(mock.port).replace("breaker_failures: 0", "breaker_failures: 0, on_client_gone: drain");
    let gateway = Gateway::start(&format!("limits: {{drains: 4, drains_per_account: 2}}\n{text}"));
    gateway.command(&["account", "top-up", "default", "10"]);
    gateway.command(&["account", "create", "other"]);
    gateway.command(&["account", "top-up", "other", "10"]);
    let other = member(&gateway.command(&["key", "create", "--json", "--account", "other"]), "secret");
    let body = asking(0, "v/chat", 1000, STREAM);
    for n in 1..=3 {
        read_and_go(&gateway, &gateway.key, 0, &body);
        assert!(eventually(Duration::from_secs(5), || mock.seen().len() == n));
        std::thread::sleep(Duration::from_millis(200));
    }
    // The third gets no place any more.
    let ended = gateway.access_log(1);
    assert!(ended.len() == 1 && member(&ended[0], "client_gone") == "true", "{ended:?}");
    read_and_go(&gateway, &other, 0, &body);
    std::thread::sleep(Duration::from_millis(200));
    (0..4).for_each(|_| gate.open());
    assert_eq!(gateway.access_log(4).len(), 4);
    assert!(eventually(Duration::from_secs(5), || credits(&gateway).1 == 0));
    let mut charges = audited(&gateway);
    charges.sort_unstable();
    let exact = ("exact".to_owned(), COUNTED);
    let cheap = ("estimated".to_owned(), prompt(&body) + 2);
    assert_eq!(charges, [cheap, exact.clone(), exact.clone(), exact]);
}
