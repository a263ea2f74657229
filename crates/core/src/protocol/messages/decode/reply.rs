//! The members of an event, or of a whole answer, which comes as the events of its stream.

use crate::canon::{Anomaly, Citation, Event, Sink};
use crate::json::{self, JsonStr, Malformed, Raw};
use crate::protocol::node::Node;
use crate::protocol::pick::readable_fields_named;

/// The members of an event, unread.
#[derive(Default)]
pub(super) struct EventWire<'d> {
    pub(super) kind: Option<&'d str>,
    pub(super) index: Option<&'d str>,
    pub(super) delta: Option<&'d str>,
    pub(super) block: Option<&'d str>,
    pub(super) message: Option<&'d str>,
    pub(super) usage: Option<&'d str>,
}

impl<'d> EventWire<'d> {
    pub(super) fn read(data: &'d str) -> Result<Self, Malformed> {
        let mut wire = Self::default();
        let mut members = json::members(data.as_bytes());
        for member in members.by_ref() {
            let member = member?;
            let value = data.get(member.span.clone()).filter(|value| *value != "null");
            match member.key {
                b"type" => wire.kind = value,
                b"index" => wire.index = value,
                b"delta" => wire.delta = value,
                b"content_block" => wire.block = value,
                b"message" => wire.message = value,
                b"usage" => wire.usage = value,
                _ => {}
            }
        }
        members.finish()?;
        Ok(wire)
    }
}

/// Returns the input that a block begins with, unless it is only the usual `{}` before the real one.
pub(super) fn whole_input(input: &str) -> Option<Raw<'static>> {
    let mut compact = Vec::with_capacity(input.len());
    json::compact(input, &mut compact);
    let input = String::from_utf8(compact).ok().filter(|input| input != EMPTY_INPUT)?;
    Raw::read_owned(input).filter(Raw::is_object)
}

/// Takes the source of a text, if it is a web page: no other protocol has a place for other sources.
pub(super) fn cite(citation: &Node<'_, '_>, sink: &mut Sink<'_>) {
    let [kind, url, title] = readable_fields_named(citation.text, ["type", "url", "title"]);
    let url = url.filter(|_| kind == Some(r#""web_search_result_location""#)).and_then(JsonStr::read);
    sink(url.map_or(Event::Anomaly(Anomaly::Citation), |url| {
        let title = title.and_then(JsonStr::read).unwrap_or_default();
        Event::Cite(Citation { url, title, span: None })
    }));
}

/// The input of a call that has none yet.
pub(super) const EMPTY_INPUT: &str = "{}";
