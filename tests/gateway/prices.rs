//! The things that cost something beside tokens at the plain price: some are refused, some are on the bill.

use std::time::Duration;

use crate::money::{PRICES, asked, audited, body, config, credits, streams};
use crate::support::{
    Act, Client, Gateway, Mock, PROTOCOLS, Response, eventually, json, member, post, request, sse,
};

const MODELS: [&str; 3] = ["v/chat", "v/responses", "v/messages"];

/// One dollar for a million tokens, in either direction.
const TOKENS: &str = "input: 1000000, output: 1000000";

/// A gateway whose models have these prices.
fn gateway(mock: &Mock, prices: &str, dollars: &str) -> Gateway {
    start(&config(mock.port).replace(PRICES, &format!("prices: [{{{prices}}}]")), dollars)
}

fn start(config: &str, dollars: &str) -> Gateway {
    let gateway = Gateway::start(config);
    gateway.command(&["account", "top-up", "default", dollars]);
    gateway
}

fn call(gateway: &Gateway, client: usize, model: &str, more: &str) -> Response {
    post(gateway, PROTOCOLS[client].0, &body(client, model, more))
}

/// The money that the account is short of after a call that is answered, in micro-USD.
fn cost(gateway: &Gateway, client: usize, model: &str, more: &str) -> u64 {
    let before = credits(gateway).0;
    let response = call(gateway, client, model, more);
    assert_eq!((response.status, response.complete), (200, true), "{}", response.body);
    before - credits(gateway).0
}

/// A whole answer of each protocol with this usage, and these members beside.
fn answer(protocol: usize, usage: &str, more: &str) -> String {
    let (start, _) = PROTOCOLS[protocol].2.split_once("\"usage\"").unwrap();
    format!("{start}{more}\"usage\":{{{usage}}}}}")
}

/// The same as a stream.
fn events(protocol: usize, usage: &str, more: &str) -> String {
    match protocol {
        0 => format!(
            "data: {{\"id\":\"c\",\"model\":\"m\",{more}\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"x\"}},\"finish_reason\":\"stop\"}}]}}\n\n\
             data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[],\"usage\":{{{usage}}}}}\n\ndata: [DONE]\n\n"
        ),
        1 => format!(
            "data: {{\"type\":\"response.created\",\"response\":{{\"id\":\"r\",\"model\":\"m\",\"service_tier\":\"auto\",\"usage\":null}}}}\n\n\
             data: {{\"type\":\"response.completed\",\"response\":{{\"id\":\"r\",\"status\":\"completed\",\"output\":[],\"model\":\"m\",{more}\"usage\":{{{usage}}}}}}}\n\n"
        ),
        _ => format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"usage\":{{\"input_tokens\":1,\"output_tokens\":1}}}}}}\n\n\
             event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"text\",\"text\":\"x\"}}}}\n\n\
             event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n\
             event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}},\"usage\":{{{usage}}}}}\n\n\
             event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        ),
    }
}

/// A provider that reports this of each call, by protocol: the usage, and members beside it.
fn reporting(reports: [(&'static str, &'static str); 3]) -> Mock {
    Mock::scripted(move |seen, _| {
        let protocol = asked(seen);
        let (usage, more) = reports[protocol];
        match streams(seen) {
            true => sse([events(protocol, usage, more).as_bytes()]),
            false => json(200, "", &answer(protocol, usage, more)),
        }
    })
}

/// The same, where all protocols count tokens: a thousand in, a hundred out.
fn counting(beside: &'static str, in_messages: &'static str) -> Mock {
    let in_responses = "\"input_tokens\":1000,\"output_tokens\":100";
    reporting([
        ("\"prompt_tokens\":1000,\"completion_tokens\":100", beside),
        (in_responses, beside),
        (in_messages, ""),
    ])
}

/// All ways from a client to a provider, as a whole and as a stream.
fn ways() -> impl Iterator<Item = (usize, usize, &'static str)> {
    let pairs = (0..9).map(|pair| (pair / 3, pair % 3));
    pairs.flat_map(|(client, provider)| ["", "\"stream\":true,"].map(|more| (client, provider, more)))
}

#[test]
fn the_rate_of_the_answer_decides() {
    let fast = "\"input_tokens\":1000,\"output_tokens\":100,\"speed\":\"fast\"";
    let mock = counting("\"service_tier\":\"priority\",", fast);
    let gateway = gateway(&mock, &format!("{TOKENS}, rates: {{fast: 200, priority: 300}}"), "10");
    for (client, provider, more) in ways() {
        let expected = [3_300, 3_300, 2_200][provider];
        assert_eq!(cost(&gateway, client, MODELS[provider], more), expected, "{client} {provider} {more}");
    }
    audited(&gateway);
    let plain =
        "\"input_tokens\":1000,\"output_tokens\":100,\"speed\":\"standard\",\"service_tier\":\"standard\"";
    let mock = counting("\"service_tier\":\"default\",", plain);
    let gateway = self::gateway(&mock, &format!("{TOKENS}, rates: {{fast: 200, priority: 300}}"), "10");
    for (client, provider, more) in ways() {
        assert_eq!(cost(&gateway, client, MODELS[provider], more), 1_100, "{client} {provider} {more}");
    }
    assert_eq!(cost(&gateway, 2, "v/messages", "\"speed\":\"fast\","), 1_100);
}

#[test]
fn a_rate_without_a_price_is_charged_at_the_plain_one_and_counted() {
    let mock = counting("\"service_tier\":\"priority\",", "\"input_tokens\":1000,\"output_tokens\":100");
    let gateway = gateway(&mock, TOKENS, "10");
    let count = || gateway.metric("crossmodel_unpriced_total{kind=\"priority\"}");
    assert_eq!(cost(&gateway, 0, "v/chat", "\"service_tier\":\"auto\","), 1_100);
    assert_eq!(cost(&gateway, 1, "v/responses", "\"service_tier\":\"auto\",\"stream\":true,"), 1_100);
    assert!(eventually(Duration::from_secs(5), || count() == 2.0), "{}", count());
}

#[test]
fn writes_that_last_longer_are_charged_as_such() {
    let messages = "\"input_tokens\":0,\"output_tokens\":0,\"cache_creation_input_tokens\":1000,\
        \"cache_creation\":{\"ephemeral_5m_input_tokens\":400,\"ephemeral_1h_input_tokens\":600}";
    let responses = "\"input_tokens\":1000,\"output_tokens\":0,\"input_tokens_details\":{\"cache_write_tokens\":1000,\
        \"cache_write_tokens_details\":{\"ttl_12h_tokens\":600}}";
    let chat = "\"prompt_tokens\":1000,\"completion_tokens\":0,\"prompt_tokens_details\":{\"cache_write_tokens\":1000,\
        \"cache_write_tokens_details\":{\"ttl_12h_tokens\":600}}";
    let mock = reporting([(chat, ""), (responses, ""), (messages, "")]);
    let prices = format!("{TOKENS}, cache_write: 1250000, cache_write_long: 2000000");
    let gateway = gateway(&mock, &prices, "10");
    for (client, provider, more) in ways() {
        // The beginning of a Messages stream has counted one token of input already.
        let first = if provider == 2 && !more.is_empty() { 1 } else { 0 };
        assert_eq!(
            cost(&gateway, client, MODELS[provider], more),
            1_700 + first,
            "{client} {provider} {more}"
        );
    }
    audited(&gateway);
}

#[test]
fn searches_and_sound_are_on_the_bill() {
    let chat = "\"prompt_tokens\":1000,\"completion_tokens\":100,\"num_search_queries\":3,\
        \"prompt_tokens_details\":{\"audio_tokens\":500},\"completion_tokens_details\":{\"audio_tokens\":50}";
    let responses = "\"input_tokens\":1000,\"output_tokens\":100";
    let messages =
        "\"input_tokens\":1000,\"output_tokens\":100,\"server_tool_use\":{\"web_search_requests\":3}";
    let tools = "\"tool_usage\":{\"web_search\":{\"num_requests\":3}},";
    let mock = reporting([(chat, ""), (responses, tools), (messages, "")]);
    let prices = format!("{TOKENS}, web_search: 10000, audio_input: 3000000, audio_output: 5000000");
    let gateway = gateway(&mock, &prices, "10");
    for (client, provider, more) in ways() {
        let sound = if provider == 0 { 500 * 2 + 50 * 4 } else { 0 };
        let expected = 1_100 + 30_000 + sound;
        assert_eq!(cost(&gateway, client, MODELS[provider], more), expected, "{client} {provider} {more}");
    }
    audited(&gateway);
}

#[test]
fn what_the_provider_does_besides_is_charged_and_not_shown() {
    let usage = "\"input_tokens\":10,\"output_tokens\":1,\"iterations\":[\
        {\"type\":\"message\",\"input_tokens\":10,\"output_tokens\":1},\
        {\"type\":\"compaction\",\"input_tokens\":100000,\"output_tokens\":3000},\
        {\"type\":\"advisor_message\",\"model\":\"wise\",\"input_tokens\":100,\"output_tokens\":10}]";
    let mock = reporting([("", ""), ("", ""), (usage, "")]);
    let wise =
        "  - {id: v/wise, prices: [{input: 5000000, output: 7000000}], targets: [{provider: messages}]}\n";
    let config = config(mock.port).replace(PRICES, &format!("prices: [{{{TOKENS}}}]")) + wise;
    let gateway = start(&config, "10");
    for (client, provider, more) in ways().filter(|(_, provider, _)| *provider == 2) {
        let charged = cost(&gateway, client, MODELS[provider], more);
        assert_eq!(charged, 100_010 + 3_001 + 500 + 70, "{client} {more}");
    }
    let whole = call(&gateway, 2, "v/messages", "");
    assert!(whole.body.contains(&format!("\"usage\":{{{usage}}}")), "{}", whole.body);
    let translated = call(&gateway, 0, "v/messages", "").body;
    assert_eq!(member(&translated, "usage.prompt_tokens"), "10");
    audited(&gateway);
}

#[test]
fn the_model_that_has_answered_has_its_own_price() {
    let usage =
        ["\"prompt_tokens\":1000,\"completion_tokens\":100", "\"input_tokens\":1000,\"output_tokens\":100"];
    let mock = Mock::scripted(move |seen, _| {
        let protocol = asked(seen);
        let usage = usage[protocol.min(1)];
        let reply = match streams(seen) {
            true => events(protocol, usage, "").replace("\"model\":\"m\"", "\"model\":\"dear\""),
            false => answer(protocol, usage, "").replace("real-model-0613", "dear"),
        };
        if streams(seen) { sse([reply.as_bytes()]) } else { json(200, "", &reply) }
    });
    let mut text = config(mock.port).replace(PRICES, &format!("prices: [{{{TOKENS}}}]"));
    for protocol in ["chat", "responses", "messages"] {
        let prices = "prices: [{input: 10000000, output: 10000000}]";
        let target = format!("targets: [{{provider: {protocol}, model: dear}}]");
        text += &format!("  - {{id: dear/{protocol}, {prices}, {target}}}\n");
    }
    let gateway = start(&text, "10");
    for (client, provider, more) in ways() {
        assert_eq!(cost(&gateway, client, MODELS[provider], more), 11_000, "{client} {provider} {more}");
        // Who asks for it by its name pays the same.
        let named = format!("dear/{}", &MODELS[provider][2..]);
        assert_eq!(cost(&gateway, client, &named, more), 11_000, "{client} {provider} {more}");
    }
    audited(&gateway);
}

#[test]
fn what_was_really_used_is_paid_for_as_far_as_the_balance_goes() {
    let usage = "\"input_tokens\":20000,\"output_tokens\":90000";
    let mock =
        reporting([("\"prompt_tokens\":20000,\"completion_tokens\":90000", ""), (usage, ""), (usage, "")]);
    for more in ["", "\"stream\":true,"] {
        let gateway = gateway(&mock, TOKENS, "0.25");
        assert_eq!(cost(&gateway, 0, "v/chat", more), 110_000);
        assert_eq!(cost(&gateway, 1, "v/messages", more), 110_000);
        assert_eq!(cost(&gateway, 2, "v/responses", more), 30_000, "no more than there is");
        assert_eq!(call(&gateway, 0, "v/chat", more).status, 402);
        let charges: Vec<_> = audited(&gateway).into_iter().map(|(_, charge)| charge).collect();
        assert_eq!(charges, [110_000, 110_000, 30_000]);
    }
}

#[test]
fn the_provider_is_held_to_what_is_held() {
    let mock = counting("", "\"input_tokens\":1000,\"output_tokens\":100");
    let text = config(mock.port).replace(PRICES, &format!("max_output: 50, prices: [{{{TOKENS}}}]"));
    let gateway = start(&text, "10");
    let caps = ["max_completion_tokens", "max_output_tokens", "max_tokens"];
    for (client, provider, more) in ways().filter(|(client, provider, _)| client != provider) {
        let response = call(&gateway, client, MODELS[provider], more);
        assert_eq!(response.status, 200, "{}", response.body);
        let told = response.header("x-crossmodel-dropped").unwrap_or_default();
        assert!(told.contains("max_output_tokens=50"), "{client} {provider}: {told}");
        let sent = mock.last().text();
        let cap = if provider == 0 && !sent.contains(caps[0]) { "max_tokens" } else { caps[provider] };
        assert_eq!(member(&sent, cap), "50", "{client} {provider}: {sent}");
    }
}

#[test]
fn what_the_request_does_not_show_is_held() {
    let mock = Mock::new(vec![Act::Hold]);
    let gateway = gateway(&mock, TOKENS, "10");
    let held = |client: usize, body: &str| {
        let mut going = Client::connect(gateway.port);
        going.send(request(PROTOCOLS[client].0, &gateway.key, body).as_bytes());
        assert!(eventually(Duration::from_secs(10), || credits(&gateway).1 > 0));
        let held = credits(&gateway).1;
        drop(going);
        assert!(eventually(Duration::from_secs(10), || credits(&gateway).1 == 0));
        held
    };
    let image = r#"{"type":"image_url","image_url":{"url" : "HTTPS:\/\/x\/a.png"}}"#;
    let images = vec![image; 20].join(",");
    let images = format!(
        r#"{{"model":"v/chat","max_completion_tokens":16,"messages":[{{"role":"user","content":[{images}]}}]}}"#
    );
    assert!(held(0, &images) >= 20 * 5_000, "pictures by any spelling of their address");
    let tools = r#"{"model":"v/responses","input":"hi","max_output_tokens":16,"tools":[{"type":"mcp","server_label":"x","server_url":"https://x"}]}"#;
    assert!(held(1, tools) >= 400_000, "tools that the provider runs: the context window");
}

#[test]
fn what_has_no_price_is_refused_before_anybody_is_asked() {
    let mock = counting("", "\"input_tokens\":1000,\"output_tokens\":100");
    let dear: [(usize, &str, &str); 5] = [
        (0, "\"service_tier\":\"priority\",", "service_tier"),
        (1, "\"service_tier\":\"priority\",", "service_tier"),
        (1, "\"service_tier\":\"ultrafast\",", "service_tier"),
        (2, "\"speed\":\"fast\",", "speed"),
        (2, "\"inference_geo\":\"us\",", "inference_geo"),
    ];
    let plain = gateway(&mock, TOKENS, "10");
    for (client, more, param) in dear {
        for model in MODELS {
            let response = call(&plain, client, model, more);
            assert_eq!(response.status, 400, "{model} {more}: {}", response.body);
            assert!(response.body.contains("this model has no price for it"), "{}", response.body);
            if client < 2 {
                let told = (member(&response.body, "error.param"), member(&response.body, "error.code"));
                assert_eq!(told, (param.to_owned(), "unsupported_parameter".to_owned()));
            }
        }
    }
    assert_eq!(mock.seen().len(), 0, "nobody was asked");
    assert_eq!(credits(&plain), (10_000_000, 0));
    for tier in ["auto", "default", "flex", "scale"] {
        let more = format!("\"service_tier\":\"{tier}\",");
        assert_eq!(call(&plain, 0, "v/chat", &more).status, 200, "{tier}");
    }
    // Models without prices take everything, and so does a gateway that bills nobody.
    assert_eq!(call(&plain, 0, "v/free", dear[0].1).status, 200);
    let unbilled = Gateway::start(&format!("billing: off\n{}", config(mock.port)));
    assert_eq!(call(&unbilled, 0, "v/chat", dear[0].1).status, 200);
}

#[test]
fn targets_without_the_price_are_passed_over_and_not_failed_over_to() {
    let mock = Mock::new(json(503, "", "{}"));
    let good = counting("\"service_tier\":\"priority\",", "");
    let text = format!(
        "providers:\n  \
           bad: {{base_url: \"http://127.0.0.1:{}/v1\", key: \"env:UPSTREAM_KEY\", breaker_failures: 0, protocols: [chat]}}\n  \
           good: {{base_url: \"http://127.0.0.1:{}/v1\", key: \"env:UPSTREAM_KEY\", breaker_failures: 0, protocols: [chat]}}\n\
         models:\n  - id: v/chat\n    targets:\n      \
           - {{provider: bad, prices: [{{{TOKENS}, rates: {{priority: 200}}}}]}}\n      \
           - {{provider: good, priority: 1, prices: [{{{TOKENS}}}]}}\n",
        mock.port, good.port
    );
    let gateway = start(&text, "10");
    assert_eq!(cost(&gateway, 0, "v/chat", ""), 1_100, "the second answers what costs the usual");
    let asked = mock.seen().len();
    let response = call(&gateway, 0, "v/chat", "\"service_tier\":\"priority\",");
    assert!(response.status >= 500, "{}", response.body);
    assert_eq!((mock.seen().len(), good.seen().len()), (asked + 1, 1));
}

/// The tools that a coding client offers with every request: functions, and those that the provider would run.
const OFFERED: [&str; 3] = [
    r#""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}},{"type":"openrouter:web_search"}],"#,
    r#""tool_choice":"auto","tools":[{"type":"function","name":"f","parameters":{"type":"object"}},{"type":"web_search","external_web_access":true},{"type":"image_generation","output_format":"png"}],"#,
    r#""tools":[{"type":"web_search_20260318","name":"web_search"},{"name":"f","input_schema":{"type":"object"}}],"#,
];

#[test]
fn tools_that_the_model_may_use_and_need_not_are_left_out_where_they_have_no_price() {
    let mock = counting("", "\"input_tokens\":1000,\"output_tokens\":100");
    let plain = gateway(&mock, TOKENS, "0.1");
    for (client, provider, more) in ways() {
        let request = body(client, MODELS[provider], &format!("{more}{}", OFFERED[client]));
        let response = post(&plain, PROTOCOLS[client].0, &request);
        let what = format!("{client} {provider} {more}: {}", response.body);
        assert_eq!(response.status, 200, "{what}");
        let told = response.header("x-crossmodel-dropped").unwrap_or_default();
        let gone = ["tools[1]", "tools[1], tools[2]", "tools[0]"][client];
        assert!(told.contains(gone), "{what}: {told}");
        let sent = mock.last().text();
        assert!(
            sent.contains("\"f\"") && !sent.contains("web_search") && !sent.contains("image_gen"),
            "{sent}"
        );
    }
    audited(&plain);
    // Who wants no loss is told of it.
    let request = request(PROTOCOLS[1].0, &plain.key, &body(1, MODELS[1], OFFERED[1]));
    let mut client = Client::connect(plain.port);
    client.send(request.replace("\r\n\r\n", "\r\nx-crossmodel-strict: 1\r\n\r\n").as_bytes());
    let response = client.receive();
    assert_eq!(
        (response.status, member(&response.body, "error.param").as_str()),
        (400, "tools[1]"),
        "{}",
        response.body
    );
    assert!(response.body.contains("`unmetered`") && response.body.contains("`prices`"), "{}", response.body);
    // Where they are paid for, or given away, they go on.
    let paid = format!("{TOKENS}, web_search: 10000");
    let text = config(mock.port)
        .replace(PRICES, &format!("unmetered: [plugins, image_generation], prices: [{{{paid}}}]"));
    let paid = start(&text, "10");
    for (client, model) in MODELS.iter().enumerate() {
        assert_eq!(call(&paid, client, model, OFFERED[client]).status, 200);
        let kept = ["web_search", "output_format", "web_search_20260318"][client];
        assert!(mock.last().text().contains(kept), "{}", mock.last().text());
    }
}

#[test]
fn tools_that_the_client_wants_to_be_used_are_refused_where_they_have_no_price() {
    let mock = counting("", "\"input_tokens\":1000,\"output_tokens\":100");
    let plain = gateway(&mock, TOKENS, "10");
    for (client, more) in [
        (0, r#""web_search_options":{},"#),
        (1, r#""tools":[{"type":"web_search"}],"#),
        (1, r#""tool_choice":"required","tools":[{"type":"function","name":"f"},{"type":"web_search"}],"#),
        (
            1,
            r#""tool_choice":{"type":"web_search"},"tools":[{"type":"function","name":"f"},{"type":"web_search"}],"#,
        ),
        (2, r#""tools":[{"type":"web_search_20260318","name":"web_search","max_uses":8}],"#),
        (
            2,
            r#""service_tier":"priority","tools":[{"type":"web_search_20260318","name":"web_search"},{"name":"f","input_schema":{}}],"#,
        ),
    ] {
        let response = call(&plain, client, MODELS[client], more);
        assert_eq!(response.status, 400, "{more}: {}", response.body);
        assert!(response.body.contains("this model has no price for it"), "{}", response.body);
    }
    assert_eq!(mock.seen().len(), 0, "nobody was asked");
}

#[test]
fn an_answer_that_is_too_large_to_pass_on_is_paid_for_and_asked_for_once() {
    let mock = Mock::scripted(|seen, _| {
        let (protocol, long) = (asked(seen), "y".repeat(3 << 20));
        let usage = ["\"prompt_tokens\":9,\"completion_tokens\":9", "\"input_tokens\":9,\"output_tokens\":9"]
            [protocol.min(1)];
        match streams(seen) {
            true => sse([events(protocol, usage, "")
                .replace("\"x\"", &format!("\"{long}\""))
                .replace("\"r\"", &format!("\"{long}\""))
                .as_bytes()]),
            false => json(200, "", &answer(protocol, usage, &format!("\"more\":\"{long}\","))),
        }
    });
    let limits = "limits: {reply_bytes: 2097152, event_bytes: 1048576}\n";
    let prices = format!("prices: [{{{TOKENS}}}]");
    let target = |protocol: &str| format!("{{provider: {protocol}}}");
    let mut text = limits.to_owned() + &config(mock.port).replace(PRICES, &prices);
    for protocol in ["chat", "responses", "messages"] {
        text = text.replace(&format!("[{}]}}", target(protocol)), &format!("[{0}, {0}]}}", target(protocol)));
    }
    let gateway = start(&text, "10");
    for (n, (client, provider, more)) in ways().enumerate() {
        let before = credits(&gateway).0;
        let response = call(&gateway, client, MODELS[provider], more);
        let what = format!("{client} {provider} {more}: {} {}", response.status, response.body);
        assert!(response.status == 502 || !more.is_empty(), "{what}");
        assert!(eventually(Duration::from_secs(5), || credits(&gateway).1 == 0));
        assert!(before > credits(&gateway).0, "the prompt at least: {what}");
        assert_eq!(mock.seen().len(), n + 1, "{what}");
    }
    // An error is none, however long it is.
    let mock = Mock::new(json(500, "", &"y".repeat(3 << 20)));
    let gateway = start(&(limits.to_owned() + &config(mock.port).replace(PRICES, &prices)), "10");
    assert_eq!(call(&gateway, 0, "v/chat", "").status, 502);
    assert_eq!(credits(&gateway), (10_000_000, 0));
}

#[test]
fn a_request_that_only_fills_the_prompt_cache_stays_one() {
    let mock = counting("", "\"input_tokens\":1000,\"output_tokens\":0");
    let gateway = gateway(&mock, TOKENS, "10");
    let request = body(2, "v/messages", "").replace("\"max_tokens\":100", "\"max_tokens\":0");
    assert_eq!(post(&gateway, PROTOCOLS[2].0, &request).status, 200);
    assert_eq!(member(&mock.last().text(), "max_tokens"), "0");
    assert_eq!(credits(&gateway), (10_000_000 - 1_000, 0));
}

#[test]
fn a_name_behind_a_wildcard_asks_for_no_more_than_its_model() {
    let mock = counting("", "\"input_tokens\":1000,\"output_tokens\":100");
    let models = |prices: &str| {
        let wildcard =
            format!("  - {{id: \"r/*\", prices: [{{{prices}}}], targets: [{{provider: chat}}]}}\n");
        start(&(config(mock.port) + &wildcard), "10")
    };
    let (plain, searching) = (models(TOKENS), models(&format!("{TOKENS}, web_search: 10000")));
    for (model, status) in [("r/x/m", 200), ("r/x/m:free", 200), ("r/x/m:online", 400), ("r/x/m:ONLINE", 400)]
    {
        let response = call(&plain, 0, model, "");
        assert_eq!(response.status, status, "{model}: {}", response.body);
        assert_eq!(call(&searching, 0, model, "").status, 200, "{model}");
    }
}
