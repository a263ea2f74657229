//! Kinds of traffic: what is asked, and what must come back.

use std::sync::Arc;
use std::time::Duration;

use crossmodel::demo;

use crate::load::Load;
use crate::subject::{self, Group, Subject};
use crate::upstream;

/// One kind of traffic.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) connections: u32,
    /// Between the starts of two connections: streams in step would be woken up together.
    pub(crate) stagger: Duration,
    /// What is compared.
    pub(crate) group: Group,
    /// It is a stream that is left open, for its memory.
    pub(crate) stays_open: bool,
    body: String,
}

/// What is sent through one subject.
pub(crate) struct Traffic {
    pub(crate) load: Arc<Load>,
    /// Events in one answer; 1 for an answer that is no stream.
    pub(crate) events: usize,
}

impl Scenario {
    /// All of them; a stream with pauses lasts for `time`.
    pub(crate) fn all(time: Duration) -> [Self; 9] {
        let words = (time.as_millis() / PIECE_INTERVAL.as_millis()).max(5);
        let paced = format!("words={words}][demo:slow={}", PIECE_INTERVAL.as_millis());
        let open = "words=1000][demo:slow=50";
        let plain = |name, connections, group| Self {
            group,
            ..Self::new(name, "1 KiB request, 2 KiB answer", connections, request(1, 850, "words=185", false))
        };
        [
            Self {
                stays_open: true,
                ..Self::new("memory", "resident, MiB", 200, request(1, 850, open, true))
            },
            Self {
                stays_open: true,
                ..Self::new(
                    "translated memory",
                    "resident, MiB; the provider speaks Messages, behind the gateway",
                    200,
                    request(1, 850, open, true).replace(subject::ALIAS, subject::TRANSLATED),
                )
            },
            plain("plain", 8, Group::Proxies),
            plain("billing 16", 16, Group::Billing),
            plain("billing 64", 64, Group::Billing),
            plain("watching", 8, Group::Watching),
            Self::new("large", "1 MiB request, 2 KiB answer", 4, request(256, 4 << 10, "words=185", false)),
            Self::new("burst", "200 events, one write each", 8, request(1, 850, "words=196", true)),
            Self {
                stagger: PIECE_INTERVAL / 32,
                ..Self::new("paced", "one event every 10 ms", 32, request(1, 850, &paced, true))
            },
        ]
    }

    fn new(name: &'static str, what: &'static str, connections: u32, body: String) -> Self {
        let group = Group::Proxies;
        Self { name, what, connections, stagger: Duration::ZERO, group, stays_open: false, body }
    }

    pub(crate) fn traffic(&self, subject: &Subject) -> Traffic {
        let request = format!(
            "POST {PATH} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
            subject.key,
            self.body.len(),
            self.body
        );
        let (expected, events) = self.answer(subject.renames);
        Traffic {
            load: Arc::new(Load { address: subject.address, request: request.into(), expected }),
            events,
        }
    }

    /// The answer that the client must get, and the events in it. The provider makes ids of what it was
    /// asked, so a request that arrived there with another byte in it would show.
    fn answer(&self, renamed: bool) -> (Vec<u8>, usize) {
        let alias = format!("\"{}\"", subject::ALIAS);
        let asked = if renamed { self.body.replace(&alias, "\"chat\"") } else { self.body.clone() };
        let script = demo::answer("POST", PATH, asked.as_bytes());
        let pieces = upstream::pieces(&script);
        let told = match renamed {
            true => pieces.concat().replace("\"chat-2026-01-01\"", &alias),
            false => pieces.concat(),
        };
        (told.into_bytes(), pieces.len())
    }
}

/// A request for a chat: so many messages of so many letters, then one that says what the answer shall be.
fn request(messages: usize, letters: usize, marker: &str, stream: bool) -> String {
    let past = format!(r#"{{"role":"user","content":"{}"}},"#, "x".repeat(letters)).repeat(messages);
    let last = format!(r#"{{"role":"user","content":"[demo:{marker}]"}}"#);
    let stream = if stream { r#""stream":true,"stream_options":{"include_usage":true},"# } else { "" };
    format!(r#"{{"model":"{}",{stream}"max_tokens":4000,"messages":[{past}{last}]}}"#, subject::ALIAS)
}

const PATH: &str = "/v1/chat/completions";

/// The pause between two events of a paced stream.
const PIECE_INTERVAL: Duration = Duration::from_millis(10);
