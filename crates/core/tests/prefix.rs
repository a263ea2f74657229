//! A conversation that grows keeps its beginning: what a provider was sent for the first messages is the beginning of
//! what it is sent for more of them, so that it finds the prompt in its cache.

use crossmodel_core::canon::{Caps, Profile, ProtocolId, Sealer, Target};
use crossmodel_core::json::{Lenient as _, elements, find_member};
use crossmodel_core::translate::bridge::{RequestFacts, render};
use proptest::prelude::*;

/// One exchange: what is said before the model answers, and what it calls then.
#[derive(Clone, Debug)]
struct Exchange {
    user: bool,
    note: bool,
    calls: Vec<(usize, usize)>,
    /// The calls that have a result; results beyond them belong to no call.
    results: Vec<usize>,
}

/// Ids of calls; several calls may have the same.
const IDS: [&str; 5] = ["call_0", "call_0_2", "f:0", "f_0", ""];

/// Arguments, some of which have names that not every provider takes.
const ARGUMENTS: [&str; 3] = ["{}", r#"{\"$top\":1}"#, "broken"];

const TOOLS: [&str; 2] = [
    r#""tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"$top":{"type":"array"}},"required":null,"anyOf":[{"required":["$top"]}]}}}]"#,
    r#""tools":[{"name":"f","input_schema":{"type":"object","properties":{"$top":{"type":"array"}},"required":null}}]"#,
];

fn exchange() -> impl Strategy<Value = Exchange> {
    let calls = prop::collection::vec((0..IDS.len(), 0..ARGUMENTS.len()), 0..3);
    let results = prop::collection::vec(0..IDS.len(), 0..4);
    (any::<bool>(), any::<bool>(), calls, results).prop_map(|(user, note, calls, results)| Exchange {
        user,
        note,
        calls,
        results,
    })
}

/// The messages of a Chat client. They end with the user's, before the model's.
fn chat(exchanges: &[Exchange]) -> String {
    let mut all = vec![r#"{"role":"system","content":"S"},{"role":"user","content":"hi"}"#.to_owned()];
    for (index, exchange) in exchanges.iter().enumerate() {
        let call = |(id, arguments): &(usize, usize)| {
            let (id, arguments) = (IDS[*id], ARGUMENTS[*arguments]);
            format!(
                r#"{{"id":"{id}","type":"function","function":{{"name":"f","arguments":"{arguments}"}}}}"#
            )
        };
        let calls: Vec<String> = exchange.calls.iter().map(call).collect();
        let calls = match calls.is_empty() {
            true => String::new(),
            false => format!(r#","tool_calls":[{}]"#, calls.join(",")),
        };
        all.push(format!(r#"{{"role":"assistant","content":"a{index}"{calls}}}"#));
        for id in &exchange.results {
            all.push(format!(r#"{{"role":"tool","tool_call_id":"{}","content":"r{index}"}}"#, IDS[*id]));
        }
        if exchange.note {
            all.push(r#"{"role":"system","content":"note"}"#.to_owned());
        }
        if exchange.user || exchange.results.is_empty() {
            all.push(r#"{"role":"user","content":"go on"}"#.to_owned());
        }
    }
    format!(r#"{{"model":"m",{},"messages":[{}]}}"#, TOOLS[0], all.join(","))
}

/// The messages of a Messages client.
fn messages(exchanges: &[Exchange]) -> String {
    let mut all = vec![r#"{"role":"user","content":"hi"}"#.to_owned()];
    for (index, exchange) in exchanges.iter().enumerate() {
        let mut said = vec![format!(r#"{{"type":"text","text":"a{index}"}}"#)];
        said.extend(exchange.calls.iter().map(|(id, _)| {
            format!(r#"{{"type":"tool_use","id":"{}","name":"f","input":{{"$top":1}}}}"#, IDS[*id])
        }));
        all.push(format!(r#"{{"role":"assistant","content":[{}]}}"#, said.join(",")));
        let result = |id: &usize| {
            format!(r#"{{"type":"tool_result","tool_use_id":"{}","content":"r{index}"}}"#, IDS[*id])
        };
        let mut heard: Vec<String> = exchange.results.iter().map(result).collect();
        if exchange.user || heard.is_empty() {
            heard.push(r#"{"type":"text","text":"go on"}"#.to_owned());
        }
        all.push(format!(r#"{{"role":"user","content":[{}]}}"#, heard.join(",")));
        if exchange.note {
            all.push(r#"{"role":"system","content":"note"}"#.to_owned());
        }
    }
    format!(r#"{{"model":"m","max_tokens":9,"system":"S",{},"messages":[{}]}}"#, TOOLS[1], all.join(","))
}

/// Returns what the provider is sent: its tools, and the messages one by one. `None` stands for a refusal.
fn sent(client: ProtocolId, upstream: ProtocolId, body: &str) -> Option<(String, Vec<String>)> {
    let (profile, sealer) = (Profile::default(), Sealer::default());
    let model = "claude-opus-5";
    let caps = Caps::of(upstream, model, &profile);
    let target =
        Target { protocol: upstream, origin: "up", model, profile: &profile, caps: &caps, sealer: &sealer };
    let facts = RequestFacts {
        request_id: "req_1",
        now: 1,
        model: "v/model",
        strict: false,
        counting: false,
        output_cap: None,
    };
    let rendered = render(client.protocol(), body.as_bytes(), &target, &facts).ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = if upstream == ProtocolId::Responses { "input" } else { "messages" };
    let list = find_member(&rendered.body, name)?.value;
    let all = elements(list).lenient().map(|(element, _)| text(element)).collect();
    Some((text(find_member(&rendered.body, "tools")?.value), all))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_conversation_that_grows_keeps_its_beginning(
        exchanges in prop::collection::vec(exchange(), 1..6),
    ) {
        let (chat, messages) = (chat as fn(&[Exchange]) -> String, messages as fn(&[Exchange]) -> String);
        for (client, write, upstreams) in [
            (ProtocolId::Chat, chat, [ProtocolId::Messages, ProtocolId::Responses]),
            (ProtocolId::Messages, messages, [ProtocolId::Chat, ProtocolId::Responses]),
        ] {
            for upstream in upstreams {
                let mut before: Option<(String, Vec<String>)> = None;
                for count in 0..=exchanges.len() {
                    let sent = sent(client, upstream, &write(&exchanges[..count]));
                    let Some((tools, all)) = sent else {
                        return Err(TestCaseError::fail("the request is refused"));
                    };
                    if let Some((known, earlier)) = before {
                        prop_assert_eq!(known, tools.as_str());
                        prop_assert!(
                            all.starts_with(&earlier),
                            "{:?} to {:?}: {:?} became {:?}", client, upstream, earlier, all
                        );
                    }
                    before = Some((tools, all));
                }
            }
        }
    }
}
