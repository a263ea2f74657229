//! The content log: requests and answers of the accounts that its operator names, in a file of its own.
//!
//! It is off unless it is configured. Credentials and data URLs are always removed. A call never waits for it.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rand::Rng as _;
use regex::{Captures, Regex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::private;

use super::sink::LineSink;

/// The settings of the content log.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentLogSettings {
    /// The path of the file.
    pub to: PathBuf,
    /// The parts of a call that are written. Default: both.
    pub what: Option<Vec<ContentPart>>,
    /// The accounts whose calls are written. Default: all.
    pub accounts: Option<Vec<String>>,
    /// The ids of keys whose calls are never written. Default: none.
    #[serde(default)]
    pub except_keys: Vec<String>,
    /// The share of calls that are written, from 0 to 1. Default: 1.
    pub sample: Option<f64>,
    /// The most bytes of a request, and of an answer, that are written. Default: 65536.
    pub max_bytes: Option<usize>,
    /// Regular expressions for what is removed besides credentials and data URLs. Default: none.
    #[serde(default)]
    pub redact: Vec<String>,
}

/// A part of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContentPart {
    /// The client's body.
    Request,
    /// The body of the answer, as the client gets it.
    Answer,
}

/// The rules of the content log after all checks.
#[derive(Debug)]
pub struct ContentRules {
    /// The path of the file.
    pub to: PathBuf,
    has_request: bool,
    has_answer: bool,
    accounts: Option<Vec<String>>,
    except_keys: Vec<String>,
    sample: f64,
    max_bytes: usize,
    credentials: Regex,
    data_urls: Regex,
    redact: Vec<Regex>,
}

/// The content of a call that is written when it is over.
pub struct CallContent {
    rules: Arc<ContentRules>,
    request: Excerpt,
    answer: Mutex<Excerpt>,
}

/// The beginning of a body.
#[derive(Default)]
struct Excerpt {
    bytes: Vec<u8>,
    /// Bytes of the whole body.
    length: usize,
}

/// The facts of a call beside its content.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContentFacts<'f> {
    /// The time at which the call began.
    pub time: jiff::Timestamp,
    /// The gateway's id of the request.
    pub request_id: &'f str,
    /// The account.
    pub account: &'f str,
    /// The key's public id.
    pub key: &'f str,
    /// The model as the client named it.
    pub model: &'f str,
    /// The status of the answer.
    pub status: u16,
}

/// A line of the content log.
#[derive(Serialize)]
struct ContentLine<'l> {
    time: String,
    request_id: &'l str,
    account: &'l str,
    key: &'l str,
    model: &'l str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    request_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    answer_bytes: usize,
}

/// The file of the content log.
#[derive(Debug, Default)]
pub struct ContentLog {
    open: ArcSwapOption<OpenContentLog>,
    dropped_before: AtomicU64,
}

#[derive(Debug)]
struct OpenContentLog {
    path: PathBuf,
    /// The device and the inode of the file.
    file: (u64, u64),
    sink: LineSink,
}

impl ContentRules {
    /// Makes the rules of these settings.
    ///
    /// # Errors
    /// Fails with the setting that is wrong, and the reason.
    pub fn new(settings: ContentLogSettings) -> Result<Self, String> {
        let ContentLogSettings { to, what, accounts, except_keys, sample, max_bytes, redact } = settings;
        let has = |part| what.as_ref().is_none_or(|what| what.contains(&part));
        let sample = sample.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&sample) {
            return Err("sample: write a number from 0 to 1".to_owned());
        }
        let max_bytes = max_bytes.unwrap_or(DEFAULT_MAX_BYTES);
        if max_bytes > LARGEST_MAX_BYTES {
            return Err(format!("max_bytes: write at most {LARGEST_MAX_BYTES}"));
        }
        let compiled = |text: &str| {
            Regex::new(text).map_err(|_| format!("redact: '{text}' is not a regular expression"))
        };
        Ok(Self {
            to,
            has_request: has(ContentPart::Request),
            has_answer: has(ContentPart::Answer),
            accounts,
            except_keys,
            sample,
            max_bytes,
            credentials: compiled(CREDENTIALS)?,
            data_urls: compiled(DATA_URLS)?,
            redact: redact.iter().map(|text| compiled(text)).collect::<Result<_, _>>()?,
        })
    }

    /// Begins the record of a call with its body, if calls like this are written.
    #[must_use]
    pub fn begin(self: &Arc<Self>, account: &str, key: &str, body: &[u8]) -> Option<Box<CallContent>> {
        let is_named = self.accounts.as_ref().is_none_or(|all| all.iter().any(|one| one == account));
        let is_excepted = self.except_keys.iter().any(|one| one == key);
        if !is_named || is_excepted || rand::rng().random::<f64>() >= self.sample {
            return None;
        }
        let mut request = Excerpt::default();
        request.add(body, if self.has_request { self.collected() } else { 0 });
        Some(Box::new(CallContent { rules: Arc::clone(self), request, answer: Mutex::default() }))
    }

    /// Bytes of a body that are looked at. What follows the ones that are written may be the rest of a secret.
    fn collected(&self) -> usize {
        self.max_bytes + MARGIN
    }

    /// Returns what is written of a body.
    fn text(&self, excerpt: &Excerpt) -> String {
        let is_cut = excerpt.length > excerpt.bytes.len();
        let text = String::from_utf8_lossy(&excerpt.bytes);
        let text = self.data_urls.replace_all(&text, |found: &Captures<'_>| {
            let part = |n: usize| found.get(n).map(|part| part.as_str());
            let kind = part(1).or_else(|| part(3)).unwrap_or_default();
            let data = part(2).or_else(|| part(4)).unwrap_or_default();
            let digest = Sha256::digest(data);
            let digest = digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            format!("{kind}[{} characters, sha256 {digest}]", data.len())
        });
        let mut text = self.credentials.replace_all(&text, REDACTED).into_owned();
        for pattern in &self.redact {
            text = pattern.replace_all(&text, REDACTED).into_owned();
        }
        let seen = if is_cut { text.len().saturating_sub(MARGIN) } else { text.len() };
        let end = seen.min(self.max_bytes);
        text.truncate(text.floor_char_boundary(end));
        text
    }
}

impl CallContent {
    /// Adds a part of the answer.
    pub fn add(&self, part: &[u8]) {
        let most = if self.rules.has_answer { self.rules.collected() } else { 0 };
        self.answer.lock().add(part, most);
    }

    /// Writes the line of the call.
    fn write(&self, facts: ContentFacts<'_>, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let answer = self.answer.lock();
        let ContentFacts { time, request_id, account, key, model, status } = facts;
        let line = ContentLine {
            time: time.to_string(),
            request_id,
            account,
            key,
            model,
            status,
            request: self.rules.has_request.then(|| self.rules.text(&self.request)),
            request_bytes: self.request.length,
            answer: self.rules.has_answer.then(|| self.rules.text(&answer)),
            answer_bytes: answer.length,
        };
        serde_json::to_writer(out, &line)
    }
}

impl Excerpt {
    fn add(&mut self, part: &[u8], most: usize) {
        let room = most.saturating_sub(self.bytes.len()).min(part.len());
        self.bytes.extend_from_slice(part.get(..room).unwrap_or_default());
        self.length += part.len();
    }
}

impl fmt::Debug for CallContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallContent").field("request_bytes", &self.request.length).finish_non_exhaustive()
    }
}

impl ContentLog {
    /// Opens the file of these rules, or closes the log if there are none. A renamed file is opened again.
    ///
    /// # Errors
    /// Fails if the file cannot be opened or the thread cannot be started. The previous file stays in use.
    pub fn reopen(&self, rules: Option<&ContentRules>) -> io::Result<()> {
        let open = self.open.load();
        let is_same = match (open.as_deref(), rules) {
            (None, None) => true,
            (Some(open), Some(rules)) => open.path == rules.to && !open.is_renamed(),
            _ => false,
        };
        if is_same {
            return Ok(());
        }
        self.replace(rules.map(|rules| OpenContentLog::new(rules.to.clone())).transpose()?);
        Ok(())
    }

    fn replace(&self, next: Option<OpenContentLog>) {
        if let Some(last) = self.open.swap(next.map(Arc::new)) {
            last.sink.flush();
            self.dropped_before.fetch_add(last.sink.dropped(), Ordering::Relaxed);
        }
    }

    /// Opens the file again if it was renamed.
    ///
    /// # Errors
    /// Fails if the file cannot be opened or the thread cannot be started. The renamed file stays in use.
    pub fn reopen_renamed(&self) -> io::Result<()> {
        let renamed =
            self.open.load().as_ref().filter(|open| open.is_renamed()).map(|open| open.path.clone());
        if let Some(path) = renamed {
            self.replace(Some(OpenContentLog::new(path)?));
        }
        Ok(())
    }

    /// Adds the line of a call.
    pub fn add(&self, content: &CallContent, facts: ContentFacts<'_>) {
        let Some(open) = &*self.open.load() else { return };
        // It is made before the sink is locked, because its patterns take a while.
        let mut line = Vec::new();
        if content.write(facts, &mut line).is_ok() {
            open.sink.add(|lines| {
                lines.extend_from_slice(&line);
                Ok::<_, io::Error>(())
            });
        }
    }

    /// Returns the number of lines that were lost because the file did not take them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let open = self.open.load();
        self.dropped_before.load(Ordering::Relaxed) + open.as_ref().map_or(0, |open| open.sink.dropped())
    }

    /// Waits for a limited time until all lines are written. It is called at the end of the process.
    pub fn close(&self) {
        if let Some(open) = &*self.open.load() {
            open.sink.flush();
        }
    }
}

impl OpenContentLog {
    fn new(path: PathBuf) -> io::Result<Self> {
        let file = private::log(&path)?;
        let metadata = file.metadata()?;
        Ok(Self { path, file: (metadata.dev(), metadata.ino()), sink: LineSink::new("content-log", file)? })
    }

    /// Whether the file that is written has another name now, or none.
    fn is_renamed(&self) -> bool {
        std::fs::metadata(&self.path).map_or(true, |now| (now.dev(), now.ino()) != self.file)
    }
}

/// The text in the place of something that is removed.
const REDACTED: &str = "[redacted]";

/// Credentials by their forms: keys of this gateway and of providers, bearer tokens, private keys, and JSON Web Tokens. Some
/// clients write `+`, `/` and `=` as escapes of JSON.
const CREDENTIALS: &str = r#"(?:cma?|sk)-[A-Za-z0-9_-]{16,}|(?i:bearer)\s+(?:[A-Za-z0-9._~+/=-]|\\/|\\u00(?:2[bBfF]|3[dD])){8,}|-----BEGIN [A-Z0-9 ]+-----(?s:.)*?(?:-----END [A-Z0-9 ]+-----|$)|eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"#;

/// Data URLs: what comes before the data, and the data, in base64 or percent-encoded. The same escapes occur in them.
const DATA_URLS: &str = r#"(?i)(data:(?:[a-z0-9.+/-]|\\/|\\u002[bf])*(?:;[a-z0-9=.+-]*)*;base64,)((?:[a-z0-9+/=_-]|\\/|\\u00(?:2[bf]|3d))+)|(data:[a-z0-9.+-]+(?:/|\\/|\\u002f)[a-z0-9.+-]+(?:;[a-z0-9=."+-]*)*,)((?:[a-z0-9%!$&'()*+,;=:@/?._~-]|\\/)+)"#;

/// The most bytes of a body that are written: by default, and at most.
const DEFAULT_MAX_BYTES: usize = 64 << 10;
const LARGEST_MAX_BYTES: usize = 1 << 20;

/// Bytes that are looked at behind those that are written: longer than any credential.
const MARGIN: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(more: &str) -> Arc<ContentRules> {
        let settings = serde_json::from_str(&format!(r#"{{"to":"x"{more}}}"#)).unwrap();
        Arc::new(ContentRules::new(settings).unwrap())
    }

    fn text(rules: &ContentRules, body: &str) -> String {
        let mut excerpt = Excerpt::default();
        excerpt.add(body.as_bytes(), rules.collected());
        rules.text(&excerpt)
    }

    #[test]
    fn credentials_and_data_are_removed_by_their_forms() {
        let rules = rules(r#","redact":["[0-9]{4}-[0-9]{4}"]"#);
        for (body, expected) in [
            ("nothing here", "nothing here"),
            ("a cm-0123456789abcdef b", "a [redacted] b"),
            ("a cma-0123456789abcdef b", "a [redacted] b"),
            (r#"{"k":"sk-proj-0123_456789"}"#, r#"{"k":"[redacted]"}"#),
            ("authorization: bearer abc.def/ghi= x", "authorization: [redacted] x"),
            ("x eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl y", "x [redacted] y"),
            (r"-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- z", "[redacted] z"),
            ("-----BEGIN PRIVATE KEY-----\nMII", "[redacted]"),
            ("card 1234-5678.", "card [redacted]."),
        ] {
            assert_eq!(text(&rules, body), expected, "{body}");
        }
        let data = text(&rules, r#"{"url":"data:image/png;base64,AAAA"}"#);
        assert!(
            data.starts_with(r#"{"url":"data:image/png;base64,[4 characters, sha256 63c1dd95"#),
            "{data}"
        );
    }

    #[test]
    fn what_is_escaped_or_spelled_oddly_is_removed_all_the_same() {
        let rules = rules("");
        for before in [
            r"data:image\/png;base64,AAAA\/",
            r"data:image/png;base64,AAAA\u002B",
            r"data:image/svg\u002Bxml;base64,AAAA\u002f",
            "DATA:image/png;BASE64,",
            "data:text/plain,a%20",
            "data:text/html;charset=utf-8,",
            r"Bearer abcdefgh\u002b",
            r"Bearer abcdefgh\/",
        ] {
            let body = format!(r#"{{"content":"{before}CANARY","more":"kept"}}"#);
            let text = text(&rules, &body);
            assert!(!text.contains("CANARY") && text.ends_with(r#"","more":"kept"}"#), "{text}");
        }
        for prose in ["data: 1, 2", "the data:a, b", "data/x,y", r#"{"data":"a/b,c"}"#] {
            assert_eq!(text(&rules, prose), prose);
        }
    }

    #[test]
    fn a_secret_that_is_cut_is_not_written_in_part() {
        let rules = rules(r#","max_bytes":100"#);
        for before in 60..120 {
            let body = format!("{}sk-{}", "x ".repeat(before / 2), "S".repeat(200));
            assert!(!text(&rules, &body).contains("SS"), "{before}");
        }
        // What is removed makes room, and nothing of the unseen rest may get there.
        let body = format!("data:a/b;base64,{} sk-{}", "A".repeat(MARGIN + 80), "S".repeat(500));
        assert!(!text(&rules, &body).contains("SS"));
        assert!(text(&rules, &"y".repeat(1 << 20)).len() <= 100);
    }

    #[test]
    fn only_calls_that_are_named_are_written() {
        let begins = |more: &str, account: &str, key: &str| rules(more).begin(account, key, b"x").is_some();
        assert!(begins("", "a", "key_1"));
        assert!(
            begins(r#","accounts":["a"]"#, "a", "key_1") && !begins(r#","accounts":["a"]"#, "b", "key_1")
        );
        assert!(!begins(r#","except_keys":["key_1"]"#, "a", "key_1"));
        assert!(!begins(r#","sample":0.0"#, "a", "key_1"));
        for wrong in [r#","sample":2.0"#, r#","max_bytes":99999999"#, r#","redact":["("]"#] {
            let settings = serde_json::from_str(&format!(r#"{{"to":"x"{wrong}}}"#)).unwrap();
            assert!(ContentRules::new(settings).is_err(), "{wrong}");
        }
    }
}
