//! The source of an answer: the model that answered according to its provider.

use crate::json;
use crate::protocol::Protocol;
use crate::sse;

/// The model that answers, once the provider has named it.
#[derive(Debug)]
pub(super) struct ServedModel {
    protocol: &'static dyn Protocol,
    served: Option<String>,
    /// Number of events in which the name is still looked for.
    looks: u32,
}

impl ServedModel {
    /// Creates the source for a provider of this protocol.
    pub(super) fn new(protocol: &'static dyn Protocol) -> Self {
        Self { protocol, served: None, looks: MAX_LOOKS }
    }

    /// Returns the model, in the provider's words.
    pub(super) fn served(&self) -> Option<&str> {
        self.served.as_deref()
    }

    /// Looks for the model's name in one of the first events, as the framer cut it.
    pub(super) fn look(&mut self, event: &[u8]) {
        if self.looks == 0 {
            return;
        }
        self.looks -= 1;
        let event = sse::SseEvent::parse(event);
        let span = self.protocol.read_event(&event).model;
        let literal = event.data.as_ref().zip(span).and_then(|(data, span)| data.bytes.get(span));
        self.take_name(literal.and_then(json::text).as_deref());
    }

    /// Looks for the model's name in a complete answer.
    pub(super) fn look_at_all(&mut self, body: &str) {
        let span = self.protocol.read_reply(body.as_bytes()).ok().and_then(|summary| summary.model);
        let literal = span.and_then(|span| body.as_bytes().get(span));
        self.take_name(literal.and_then(json::text).as_deref());
    }

    fn take_name(&mut self, name: Option<&str>) {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            self.served = Some(name.chars().take(MAX_NAME_CHARS).collect());
            self.looks = 0;
        }
    }
}

/// Number of events in which the model's name is looked for: it stands in the first one with content.
const MAX_LOOKS: u32 = 4;

/// Maximum number of characters of a model's name, the same as for a client's.
const MAX_NAME_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ProtocolId;

    #[test]
    fn the_model_is_known_by_the_first_events_that_name_it() {
        let served = |protocol: ProtocolId, events: &[&str]| {
            let mut source = ServedModel::new(protocol.protocol());
            events.iter().for_each(|data| source.look(format!("data: {data}\n\n").as_bytes()));
            source.served().map(str::to_owned)
        };
        let chunk = r#"{"choices":[],"model":"m"}"#;
        assert_eq!(served(ProtocolId::Chat, &["{}", chunk, r#"{"model":"other"}"#]).as_deref(), Some("m"));
        assert_eq!(served(ProtocolId::Chat, &["{}", "{}", "{}", "{}", chunk]), None);
        let start = r#"{"type":"message_start","message":{"model":"m"}}"#;
        assert_eq!(served(ProtocolId::Messages, &[start]).as_deref(), Some("m"));
        let created = r#"{"type":"response.created","response":{"model":"m"}}"#;
        assert_eq!(served(ProtocolId::Responses, &[created]).as_deref(), Some("m"));
        let mut source = ServedModel::new(ProtocolId::Chat.protocol());
        source.look_at_all(chunk);
        assert_eq!(source.served(), Some("m"));
    }
}
