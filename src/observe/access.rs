//! One JSON line per request, for machines.

use std::io;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::private;

use super::sink::LineSink;

/// The facts of a request when it is over; those that are not known are left out. No prompt, answer,
/// credential or header value.
#[derive(Debug, Serialize)]
pub struct AccessLine<'a> {
    /// The time of its beginning, RFC 3339.
    pub time: jiff::Timestamp,
    /// The gateway's id of the request.
    pub request_id: &'a str,
    /// The key's public id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// Method.
    pub method: &'a str,
    /// The endpoint, not the path as it was sent.
    pub endpoint: &'static str,
    /// The protocol of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'static str>,
    /// The model as the client named it, cut to a sane length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_model: Option<&'a str>,
    /// The catalog's id of the model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    /// The provider that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'a str>,
    /// The provider's own name of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<&'a str>,
    /// `relay` where client and provider speak the same protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'static str>,
    /// Members of the request that a translation left out or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<&'a str>,
    /// HTTP status; 0 if the client was gone before one was sent.
    pub status: u16,
    /// The error's code, if it failed, also after its status was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// Details of the failure that the log may know and the client may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// Whether the answer was a stream.
    pub stream: bool,
    /// Whether the client went before the end.
    pub client_gone: bool,
    /// Bytes of the request's body.
    pub bytes_in: usize,
    /// Bytes of the answer's body.
    pub bytes_out: usize,
    /// Milliseconds to the answer's first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// Milliseconds in all.
    pub total_ms: f64,
    /// Connections tried.
    pub attempts: u32,
    /// Input tokens, cached ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Output tokens, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// Input tokens read from the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// The reason for which the answer has ended, in the words of its provider or, after a translation, of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<&'a str>,
    /// The cost of the call, in nano-USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_nano: Option<u64>,
}

/// The destination of access lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// Standard output.
    #[default]
    Stdout,
    /// Nowhere.
    Off,
    /// The end of a file.
    #[serde(untagged)]
    File(PathBuf),
}

/// The log of all requests.
#[derive(Debug)]
pub struct AccessLog(Option<LineSink>);

impl AccessLog {
    /// Opens the destination and starts its writer.
    ///
    /// # Errors
    /// Fails if the file cannot be opened or the thread cannot be started.
    pub fn open(destination: &Destination) -> io::Result<Self> {
        Ok(Self(match destination {
            Destination::Off => None,
            Destination::Stdout => Some(LineSink::of(WRITER, &io::stdout())?),
            Destination::File(path) => {
                let file = private::options().create(true).append(true).open(path)?;
                private::close_to_others(&file);
                Some(LineSink::new(WRITER, file)?)
            }
        }))
    }

    /// Adds a line.
    pub fn add(&self, line: &AccessLine<'_>) {
        if let Some(sink) = &self.0 {
            sink.add(|lines| serde_json::to_writer(lines, line));
        }
    }

    /// Lines lost so far because nobody took them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, LineSink::dropped)
    }

    /// Waits, for a while, until all lines are written. For the end of the process.
    pub fn close(&self) {
        if let Some(sink) = &self.0 {
            sink.flush();
        }
    }
}

/// The name of the thread.
const WRITER: &str = "access-log";
