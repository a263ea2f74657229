//! One JSON line per request, for machines.

use std::io;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::private;

use super::members::Members;
use super::sink::LineSink;

/// The facts of a request when it is over. Unknown facts are left out, and so are prompts, answers, credentials
/// and header values.
#[derive(Debug, Serialize)]
pub struct AccessLine<'a> {
    /// The time at which the request began, as RFC 3339.
    pub time: jiff::Timestamp,
    /// The gateway's id of the request.
    pub request_id: &'a str,
    /// The key's public id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The HTTP method.
    pub method: &'a str,
    /// The endpoint, which is not always the path that was sent.
    pub endpoint: &'static str,
    /// The protocol of the client: Chat, Responses or Messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'static str>,
    /// The version of HTTP in which the client has sent the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_protocol_version: Option<&'static str>,
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
    /// The HTTP status; 0 if the client left before one was sent.
    pub status: u16,
    /// The error's code if the request failed, even after its status was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// Details of the failure that the log may know and the client may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// Whether the answer was a stream.
    pub stream: bool,
    /// Whether the client left before the end.
    pub client_gone: bool,
    /// Bytes of the request's body.
    pub bytes_in: usize,
    /// Bytes of the answer's body.
    pub bytes_out: usize,
    /// Milliseconds until the first byte of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// Milliseconds until the end of the answer.
    pub total_ms: f64,
    /// The number of connections tried.
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
    /// The reason for which the answer ended: in the provider's words or, after a translation, in the gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<&'a str>,
    /// The cost of the call, in nano-USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_nano: Option<u64>,
}

impl AccessLine<'_> {
    /// Writes it as its serializer would, in a third of the time.
    fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut members = Members::new(out);
        members.time("time", self.time)?;
        members.text("request_id", self.request_id)?;
        members.text_if("key", self.key)?;
        members.text("method", self.method)?;
        members.text("endpoint", self.endpoint)?;
        members.text_if("protocol", self.protocol)?;
        members.text_if("client_protocol_version", self.client_protocol_version)?;
        members.text_if("requested_model", self.requested_model)?;
        members.text_if("model", self.model)?;
        members.text_if("provider", self.provider)?;
        members.text_if("upstream_model", self.upstream_model)?;
        members.text_if("route", self.route)?;
        members.text_if("dropped", self.dropped)?;
        members.number("status", u64::from(self.status));
        members.text_if("error", self.error)?;
        members.text_if("detail", self.detail)?;
        members.flag("stream", self.stream);
        members.flag("client_gone", self.client_gone);
        members.number("bytes_in", self.bytes_in as u64);
        members.number("bytes_out", self.bytes_out as u64);
        members.decimal("first_byte_ms", self.first_byte_ms)?;
        members.decimal("total_ms", self.total_ms)?;
        members.number("attempts", u64::from(self.attempts));
        members.number("prompt_tokens", self.prompt_tokens);
        members.number("completion_tokens", self.completion_tokens);
        members.number("cached_tokens", self.cached_tokens);
        members.text_if("finish_reason", self.finish_reason)?;
        members.number("cost_nano", self.cost_nano);
        members.end();
        Ok(())
    }
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
    /// The end of this file.
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
                let file = private::options().create(true).append(true).open(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("{} cannot be opened: {error}", path.display()))
                })?;
                private::close_to_others(&file);
                Some(LineSink::new(WRITER, file)?)
            }
        }))
    }

    /// Adds a line.
    pub fn add(&self, line: &AccessLine<'_>) {
        if let Some(sink) = &self.0 {
            sink.add(|lines| line.write(lines));
        }
    }

    /// Returns the number of lines that were lost because the destination did not take them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, LineSink::dropped)
    }

    /// Waits for a limited time until all lines are written. It is called at the end of the process.
    pub fn close(&self) {
        if let Some(sink) = &self.0 {
            sink.flush();
        }
    }
}

/// The name of the thread.
const WRITER: &str = "access-log";

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with everything that a line can have, or with as little as possible.
    fn line(all: bool) -> AccessLine<'static> {
        let some = |text: &'static str| all.then_some(text);
        AccessLine {
            time: jiff::Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
            request_id: "req_cm_1",
            key: some("k"),
            method: "POST",
            endpoint: "chat",
            protocol: some("chat"),
            client_protocol_version: some("HTTP/2"),
            requested_model: some("a \"model\" \\ of\n\u{7f}\u{1}any \u{e9}"),
            model: some("v/m"),
            provider: some("p"),
            upstream_model: some("m"),
            route: some("relay"),
            dropped: some("a, b"),
            status: 200,
            error: some("code"),
            detail: some(""),
            stream: all,
            client_gone: all,
            bytes_in: usize::from(all) * 12_345,
            bytes_out: usize::MAX,
            first_byte_ms: all.then_some(0.5),
            total_ms: 1234.567,
            attempts: 10,
            prompt_tokens: all.then_some(0),
            completion_tokens: all.then_some(u64::MAX),
            cached_tokens: all.then_some(9),
            finish_reason: some("stop"),
            cost_nano: all.then_some(1),
        }
    }

    #[test]
    fn a_line_is_written_as_its_serializer_would() {
        for all in [true, false] {
            let mut written = Vec::new();
            line(all).write(&mut written).unwrap();
            let expected = serde_json::to_string(&line(all)).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
