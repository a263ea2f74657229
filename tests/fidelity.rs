//! The page on fidelity says what the tables say, and the tables say what the code does.
//!
//! `UPDATE_GUIDE=1 cargo test --test fidelity` writes the page anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::fmt::Write as _;
use std::path::Path;

use crossmodel::provider::preset;
use crossmodel_core::canon::{Caps, Field, FieldPolicy, Profile, ProtocolId, Sealer, Target};
use crossmodel_core::protocol::Protocol;
use crossmodel_core::translate::bridge::{Rendered, RequestFacts, render};
use crossmodel_core::{Failure, protocol};

#[test]
fn the_page_is_made_from_the_tables() {
    let page = page();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/fidelity.md");
    if std::env::var_os("UPDATE_GUIDE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page,
        "src/guide/fidelity.md is not what the tables say: write it anew with UPDATE_GUIDE=1"
    );
}

#[test]
fn the_code_does_what_the_tables_say() {
    let mut wrong = Vec::new();
    for client in protocol::REGISTRY {
        for field in client.fields() {
            for upstream in ProtocolId::ALL.into_iter().filter(|id| *id != client.id()) {
                let said = field.policy(upstream);
                let seen = outcome(*client, field, upstream);
                if !agrees(field, said, &seen) {
                    let pair = format!("{} to {upstream}", client.id());
                    wrong.push(format!(
                        "{pair}: {} = {}: said {said:?}, but {seen}",
                        field.name, field.sample
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn strict_mode_refuses_whatever_is_dropped() {
    for client in protocol::REGISTRY {
        for field in client.fields() {
            for upstream in ProtocolId::ALL.into_iter().filter(|id| field.policy(*id) == FieldPolicy::Dropped)
            {
                let pair = format!("{} to {upstream}: {}", client.id(), field.name);
                match translate(*client, Some(field), upstream, true) {
                    Ok(_) => panic!("{pair} is not refused"),
                    Err(refused) => {
                        let param = refused.param().unwrap_or_default();
                        assert!(refused.status() == 400 && param.starts_with(field.name), "{pair}: {param}");
                    }
                }
            }
        }
    }
}

/// What became of a member.
enum Seen {
    Refused(Failure),
    Listed,
    Silent,
    Heard,
    Changed,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(failure) => write!(f, "it was refused: {failure} ({:?})", failure.param()),
            Self::Listed => f.write_str("it was dropped and listed"),
            Self::Silent => f.write_str("nothing was seen of it"),
            Self::Heard => f.write_str("only the answer knows of it"),
            Self::Changed => f.write_str("it was carried"),
        }
    }
}

fn agrees(field: &Field, said: FieldPolicy, seen: &Seen) -> bool {
    match said {
        FieldPolicy::Own => true,
        // What says no more than the default is left out.
        FieldPolicy::Mapped => !matches!(seen, Seen::Silent) || NOTHING_NEW.contains(&field.name),
        FieldPolicy::Forwarded => matches!(seen, Seen::Changed),
        FieldPolicy::Dropped => matches!(seen, Seen::Listed),
        FieldPolicy::Silent => matches!(seen, Seen::Silent | Seen::Heard),
        FieldPolicy::Refused => matches!(seen, Seen::Refused(_)),
    }
}

fn outcome(client: &dyn Protocol, field: &Field, upstream: ProtocolId) -> Seen {
    let plain = translate(client, None, upstream, false).unwrap();
    match translate(client, Some(field), upstream, false) {
        Err(failure) => Seen::Refused(failure),
        Ok(with) if with.losses.list().iter().any(|loss| loss.path.starts_with(field.name)) => Seen::Listed,
        Ok(with) if with.body != plain.body => Seen::Changed,
        // Some members only tell how the answer has to look.
        Ok(with) if with.form != plain.form || heard(&with) != heard(&plain) => Seen::Heard,
        Ok(_) => Seen::Silent,
    }
}

/// What an answer will know of the request.
fn heard(rendered: &Rendered) -> String {
    format!("{:?}", rendered.context)
}

fn translate(
    client: &dyn Protocol,
    field: Option<&Field>,
    upstream: ProtocolId,
    strict: bool,
) -> Result<Rendered, Failure> {
    let member = field.map(|field| format!(",\"{}\":{}", field.name, field.sample)).unwrap_or_default();
    let base = match client.id() {
        ProtocolId::Chat => {
            r#""messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f"}}]"#
        }
        ProtocolId::Responses => r#""input":"hi","tools":[{"type":"function","name":"f"}]"#,
        ProtocolId::Gemini => {
            r#""contents":[{"role":"user","parts":[{"text":"hi"}]}],"tools":[{"functionDeclarations":[{"name":"f"}]}]"#
        }
        ProtocolId::Messages => {
            r#""max_tokens":9000,"messages":[{"role":"user","content":"hi"}],"tools":[{"name":"f","input_schema":{}}]"#
        }
    };
    let body = format!("{{\"model\":\"v/m\",{base}{member}}}");
    let (name, model) = match upstream {
        ProtocolId::Chat => ("openai", "gpt-5.2"),
        ProtocolId::Responses => ("openai", "gpt-5.1"),
        ProtocolId::Messages => ("anthropic", "claude-opus-4-6"),
        ProtocolId::Gemini => ("gemini", "gemini-3-flash-preview"),
    };
    let profile = Profile::default().with(&preset(name).unwrap().profile);
    let caps = Caps::of(upstream, model, &profile);
    let target = Target {
        protocol: upstream,
        origin: name,
        model,
        profile: &profile,
        caps: &caps,
        sealer: &Sealer::default(),
    };
    let facts = RequestFacts {
        request_id: "req_cm_test",
        now: 0,
        model: "v/m",
        strict,
        counting: false,
        output_cap: None,
    };
    render(client, body.as_bytes(), &target, &facts)
}

/// Members whose sample changes nothing: they say what is so without them, or what nothing in the request is for.
const NOTHING_NEW: &[&str] = &[
    "model",
    "input",
    "tools",
    "tool_choice",
    "function_call",
    "modalities",
    "include",
    "prompt_cache_options",
];

fn page() -> String {
    let mut page = String::from(HEAD);
    for client in protocol::REGISTRY {
        let others: Vec<_> = ProtocolId::ALL.into_iter().filter(|id| *id != client.id()).collect();
        write!(page, "\n## Clients of {}\n\n| Member |", title(client.id())).unwrap();
        others.iter().for_each(|id| write!(page, " to {} |", title(*id)).unwrap());
        page.push_str("\n|---|---|---|---|\n");
        for field in client.fields() {
            write!(page, "| `{}` |", field.name).unwrap();
            others.iter().for_each(|id| write!(page, " {} |", word(field, *id)).unwrap());
            page.push('\n');
        }
    }
    page
}

fn word(field: &Field, upstream: ProtocolId) -> &'static str {
    match field.policy(upstream) {
        FieldPolicy::Mapped => "mapped",
        FieldPolicy::Forwarded => "carried",
        FieldPolicy::Dropped => "lost",
        FieldPolicy::Silent => "means nothing there",
        FieldPolicy::Refused => "refused",
        FieldPolicy::Own => panic!("{}: another protocol has to be said", field.name),
    }
}

fn title(protocol: ProtocolId) -> &'static str {
    match protocol {
        ProtocolId::Chat => "Chat Completions",
        ProtocolId::Responses => "Responses",
        ProtocolId::Messages => "Messages",
        ProtocolId::Gemini => "Gemini",
    }
}

const HEAD: &str = "\
# Fidelity

What becomes of each top-level member of a request when client and provider speak different protocols. Where
they speak the same one, everything is relayed as it came.

* **mapped**: said in the words of the other protocol, as far as the model allows. What does not fit is listed.
* **carried**: copied as it is.
* **lost**: left out. The path is listed in the answer's `x-crossmodel-dropped` header and counted. With
  `x-crossmodel-strict: 1`, or a model that is configured as `strict`, the request is refused instead.
* **means nothing there**: left out, and nothing is lost by it.
* **refused**: answered with status 400, which names the member, before anything is sent to a provider:
  without it the answer would be wrong.

Members that no table knows are carried to servers of OpenAI's protocols, unless the provider's profile says
otherwise (`forward_unknown`), as it does for OpenAI and Azure themselves. On the way to Messages and to Gemini they are lost. Members that a Gemini
request has inside of `generationConfig`, such as `topK`, are treated as the same members of other protocols are. This page is written by a test, from the tables that the
code itself goes by; the test tries each line.
";
