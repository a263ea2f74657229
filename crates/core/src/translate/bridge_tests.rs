use super::*;
use crate::canon::{Caps, Carrier, SealKey, Sealer};
use crate::protocol::ProtocolId;

#[test]
fn half_a_character_is_replaced_before_anything_is_written() {
    let profile = Profile::default();
    let caps = Caps::of(ProtocolId::Messages, "m", &profile);
    let target = Target {
        protocol: ProtocolId::Messages,
        origin: "up",
        model: "m",
        profile: &profile,
        caps: &caps,
        sealer: &Sealer::default(),
    };
    let facts = RequestFacts {
        request_id: "r",
        now: 0,
        model: "v/m",
        strict: false,
        counting: false,
        output_cap: None,
    };
    let body = br#"{"messages":[{"role":"user","content":"a\\ud83d \ud83d\ude00 \ud83d \u00e9"}]}"#;
    let rendered = render(ProtocolId::Chat.protocol(), body, &target, &facts).unwrap();
    let sent = std::str::from_utf8(&rendered.body).unwrap();
    assert!(sent.contains(r#""a\\ud83d \ud83d\ude00 \ufffd \u00e9""#), "{sent}");
}

#[test]
fn the_answers_limit_is_the_one_that_is_given_and_stands_once() {
    for (client, upstream, own) in [
        (ProtocolId::Chat, ProtocolId::Responses, "max_output_tokens"),
        (ProtocolId::Chat, ProtocolId::Messages, "max_tokens"),
        (ProtocolId::Responses, ProtocolId::Chat, "max_tokens"),
        (ProtocolId::Responses, ProtocolId::Messages, "max_tokens"),
        (ProtocolId::Messages, ProtocolId::Chat, "max_tokens"),
        (ProtocolId::Messages, ProtocolId::Responses, "max_output_tokens"),
        (ProtocolId::Chat, ProtocolId::Gemini, "maxOutputTokens"),
        (ProtocolId::Responses, ProtocolId::Gemini, "maxOutputTokens"),
        (ProtocolId::Messages, ProtocolId::Gemini, "maxOutputTokens"),
    ] {
        let profile = Profile::default();
        let caps = Caps::of(upstream, "m", &profile);
        let target = Target {
            protocol: upstream,
            origin: "up",
            model: "m",
            profile: &profile,
            caps: &caps,
            sealer: &Sealer::default(),
        };
        let facts = RequestFacts {
            request_id: "r",
            now: 0,
            model: "v/m",
            strict: false,
            counting: false,
            output_cap: Some(4321),
        };
        let conversation = if client == ProtocolId::Responses { "input" } else { "messages" };
        let body = format!(
            r#"{{"{conversation}":[{{"role":"user","content":"a"}}],"max_tokens":9000,"max_output_tokens":8000,"max_completion_tokens":7000}}"#
        );
        let rendered = render(client.protocol(), body.as_bytes(), &target, &facts).unwrap();
        let sent = std::str::from_utf8(&rendered.body).unwrap();
        assert!(sent.contains(&format!("\"{own}\":4321")), "{client} to {upstream}: {sent}");
        let others = ["7000", "8000", "9000"].iter().filter(|tokens| sent.contains(**tokens));
        assert_eq!(others.count(), 0, "{client} to {upstream}: {sent}");
    }
}

#[test]
fn a_providers_own_members_are_added_but_replace_nothing() {
    let extra = [("a", "1"), ("model", "\"x\""), ("z\"", "{\"y\":[1.50]}")];
    let extra: BTreeMap<_, _> = extra.map(|(name, value)| (name.to_owned(), Raw::constant(value))).into();
    let mut object = br#"{"model":"m","text":"a"}"#.to_vec();
    add(&mut object, &extra);
    assert_eq!(object, br#"{"model":"m","text":"a","a":1,"z\"":{"y":[1.50]}}"#);
    let before = object.clone();
    add(&mut object, &BTreeMap::new());
    assert_eq!(object, before);
}

fn sealer() -> Sealer {
    Sealer::new(&SealKey::new([7; 32]), "account")
}

/// Returns a Messages client's view of a Chat answer, and its oddities.
fn answered(stream: &str) -> (String, BTreeMap<Anomaly, u64>) {
    let (client, upstream) = (ProtocolId::Messages.protocol(), ProtocolId::Chat.protocol());
    let context = Arc::new(Context { sealer: sealer(), ..Context::default() });
    let mut bridge = Bridge::new(client, upstream, &Profile::default(), context, Form::Stream, 1 << 20);
    bridge.push(Bytes::from(stream.to_owned())).unwrap();
    (String::from_utf8(bridge.ready().into()).unwrap(), bridge.anomalies())
}

#[test]
fn state_of_a_call_without_an_id_comes_back_by_the_id_that_the_client_knows() {
    let call = r#"{"index":0,"function":{"name":"f","arguments":"{}"},"extra_content":{"google":{}}}"#;
    let (told, _) = answered(&format!(
        "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{call}]}}}}]}}\n\n\
         data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"tool_calls\"}}]}}\n\ndata: [DONE]\n\n"
    ));
    let after = |begin: &str| {
        let (_, rest) = told.split_once(begin).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let carrier = Carrier::open(&after(r#""data":""#), &sealer(), "", "").unwrap();
    let id = after(r#""type":"tool_use","id":""#);
    assert!(id.starts_with("toolu_"), "{told}");
    assert_eq!(carrier.blocks[0].get(), format!(r#"{{"tc":{{"{id}":{{"google":{{}}}}}}}}"#));
}

#[test]
fn an_end_that_is_not_understood_is_counted_and_no_good_one() {
    let (told, odd) = answered(
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"novel\"}]}\n\ndata: [DONE]\n\n",
    );
    assert!(told.contains("max_tokens"), "{told}");
    assert_eq!(odd, BTreeMap::from([(Anomaly::Finish, 1)]));
}
