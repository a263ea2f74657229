//! Kinds of traffic: what is asked, and what must come back.

use std::sync::Arc;
use std::time::Duration;

use crossmodel::demo;

use crate::load::{self, Load};
use crate::subject::{self, Group, Subject};
use crate::upstream;

/// One kind of traffic.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) connections: u32,
    /// The number of times that it is sent where it is counted, not timed.
    pub(crate) times: u32,
    /// Between the starts of two connections: streams in step would be woken up together.
    pub(crate) stagger: Duration,
    /// What is compared.
    pub(crate) group: Group,
    /// It is a stream that is left open, for its memory.
    pub(crate) stays_open: bool,
    /// The client speaks Messages, and the provider behind the gateway only Chat Completions; the others relay it.
    pub(crate) translated: bool,
    stream: bool,
    /// Messages before the one that says what the answer shall be, and the letters in each.
    past: (usize, usize),
    marker: String,
}

/// What is sent through one subject.
pub(crate) struct Traffic {
    pub(crate) load: Arc<Load>,
    /// Events in one answer of the provider; 1 for an answer that is no stream.
    pub(crate) events: usize,
}

impl Scenario {
    /// All of them; a stream with pauses lasts for `time`.
    pub(crate) fn all(time: Duration) -> Vec<Self> {
        let words = (time.as_millis() / PIECE_INTERVAL.as_millis()).max(5);
        let paced = Self {
            name: "paced",
            what: "one event every 10 ms",
            connections: 32,
            ..Self::paced(words, PIECE_INTERVAL)
        };
        let open = Self {
            stays_open: true,
            what: "resident, MiB",
            connections: 200,
            ..Self::paced(1000, PIECE_INTERVAL * 5)
        };
        let billing = |name, connections| Self { name, connections, group: Group::Billing, ..Self::plain() };
        vec![
            Self { name: "memory", ..open.clone() },
            Self { name: "translated memory", translated: true, ..open },
            Self::plain(),
            Self { name: "translated", translated: true, ..Self::plain() },
            Self::large(),
            Self::burst(),
            Self { name: "translated burst", translated: true, ..Self::burst() },
            Self { stagger: PIECE_INTERVAL / 32, ..paced.clone() },
            Self { name: "translated paced", translated: true, stagger: PIECE_INTERVAL / 32, ..paced },
            billing("billing 16", 16),
            billing("billing 64", 64),
            Self { name: "watching", group: Group::Watching, ..Self::plain() },
        ]
    }

    /// Those that are counted, not timed. The events of a paced stream come one by one, each after the last was received.
    pub(crate) fn counted() -> Vec<Self> {
        let paced = Self { name: "paced", times: 2, ..Self::paced(196, upstream::UNTIL_RECEIVED) };
        vec![
            Self::plain(),
            Self { name: "translated", translated: true, ..Self::plain() },
            Self::large(),
            Self::burst(),
            Self { name: "translated burst", translated: true, ..Self::burst() },
            paced.clone(),
            Self { name: "translated paced", translated: true, ..paced },
        ]
    }

    pub(crate) fn plain() -> Self {
        Self {
            name: "plain",
            what: "1 KiB request, 2 KiB answer",
            connections: 8,
            times: 200,
            stagger: Duration::ZERO,
            group: Group::Proxies,
            stays_open: false,
            translated: false,
            stream: false,
            past: (1, 850),
            marker: "words=185".to_owned(),
        }
    }

    fn large() -> Self {
        let what = "1 MiB request, 2 KiB answer";
        Self { name: "large", what, connections: 4, times: 10, past: (256, 4 << 10), ..Self::plain() }
    }

    fn burst() -> Self {
        let what = "200 events, one write each";
        Self { name: "burst", what, times: 10, stream: true, marker: "words=196".to_owned(), ..Self::plain() }
    }

    fn paced(words: u128, pace: Duration) -> Self {
        let marker = format!("words={words}][demo:slow={}", pace.as_millis());
        Self { stream: true, marker, ..Self::plain() }
    }

    /// Whether what is measured is an event of a stream.
    pub(crate) fn is_stream(&self) -> bool {
        self.stream
    }

    /// The traffic for one subject. The answers of a translation are compared with the first of them, which has to
    /// have all of the text.
    pub(crate) async fn traffic(&self, subject: &Subject) -> Traffic {
        let (path, asked) = (self.path(), self.request());
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{asked}",
            subject.key,
            asked.len(),
        );
        let (expected, events) = self.answer(&asked, subject.renames);
        let mut load = Load { address: subject.address, request: request.into(), expected };
        if self.translated && subject.renames && !self.stays_open {
            load.expected = load::answer(&load).await.unwrap();
            let text = String::from_utf8_lossy(&load.expected);
            let words = |text: &str| text.matches("word").count();
            assert_eq!(
                words(&text),
                words(&self.answer(&asked, false).0.escape_ascii().to_string()),
                "{text}"
            );
        }
        Traffic { load: Arc::new(load), events }
    }

    /// The answer that the client must get, and the events in it. The provider makes ids of what it was
    /// asked, so a request that arrived there with another byte in it would show.
    fn answer(&self, asked: &str, renamed: bool) -> (Vec<u8>, usize) {
        let alias = format!("\"{}\"", subject::ALIAS);
        let asked = if renamed { asked.replace(&alias, "\"chat\"") } else { asked.to_owned() };
        let script = demo::answer("POST", self.path(), asked.as_bytes());
        let pieces = upstream::pieces(&script);
        let told = match renamed {
            true => pieces.concat().replace("\"chat-2026-01-01\"", &alias),
            false => pieces.concat(),
        };
        (told.into_bytes(), pieces.len())
    }

    /// A request: messages of so many letters, then one that says what the answer shall be.
    fn request(&self) -> String {
        let (messages, letters) = self.past;
        let past = format!(r#"{{"role":"user","content":"{}"}},"#, "x".repeat(letters)).repeat(messages);
        let last = format!(r#"{{"role":"user","content":"[demo:{}]"}}"#, self.marker);
        let stream = match (self.stream, self.translated) {
            (false, _) => "",
            (true, false) => r#""stream":true,"stream_options":{"include_usage":true},"#,
            (true, true) => r#""stream":true,"#,
        };
        let model = if self.translated { subject::TRANSLATED } else { subject::ALIAS };
        format!(r#"{{"model":"{model}",{stream}"max_tokens":4000,"messages":[{past}{last}]}}"#)
    }

    fn path(&self) -> &'static str {
        if self.translated { "/v1/messages" } else { "/v1/chat/completions" }
    }
}

/// The pause between two events of a paced stream.
const PIECE_INTERVAL: Duration = Duration::from_millis(10);
