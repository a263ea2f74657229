//! The `usage` object of the Messages protocol.

use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, SeqAccess};

use crate::canon::{InnerUsage, Rate, Rates, Usage, UsagePart};
use crate::json::write::Object;
use crate::protocol::usage::{AnyValue, Count, Nested, Word, any_value};

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct MessagesUsageWire {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_creation: Nested<Creation>,
    output_tokens_details: Nested<MessagesOutputWire>,
    server_tool_use: Nested<ServerToolUseWire>,
    speed: Word,
    inference_geo: Word,
    service_tier: Word,
    iterations: Iterations,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct MessagesOutputWire {
    thinking_tokens: Count,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Creation {
    ephemeral_5m_input_tokens: Count,
    ephemeral_1h_input_tokens: Count,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct ServerToolUseWire {
    web_search_requests: Count,
}

/// One step of the provider's work for the answer.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Iteration {
    r#type: Word,
    model: Word,
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_creation: Nested<Creation>,
}

/// The steps that the other counts leave out, summed up for each model.
#[derive(Default)]
struct Iterations(Vec<InnerUsage>);

impl Iterations {
    /// Adds a step. Beyond [`MAX_INNER_MODELS`], further models count as the call's own.
    fn add(&mut self, inner: InnerUsage) {
        let model = inner.model.filter(|_| self.0.len() < MAX_INNER_MODELS);
        match self.0.iter_mut().find(|known| known.model == model) {
            Some(known) => known.usage.add(&inner.usage),
            None => self.0.push(InnerUsage { model, usage: inner.usage }),
        }
    }
}

impl<'de> Deserialize<'de> for Iterations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_value(deserializer)
    }
}

impl<'de> AnyValue<'de> for Iterations {
    fn list<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        let mut iterations = Self::default();
        while let Some(Nested(iteration)) = seq.next_element::<Nested<Iteration>>()? {
            iteration.inner().into_iter().for_each(|inner| iterations.add(inner));
        }
        Ok(iterations)
    }
}

impl MessagesUsageWire {
    fn rates(&self) -> Rates {
        let speed = self.speed.is("fast").then_some(Rate::Fast);
        let geo = self.inference_geo.is("us").then_some(Rate::Us);
        [speed, geo, self.service_tier.tier()].into_iter().flatten().collect()
    }
}

impl Creation {
    /// Returns all tokens written to the cache: the provider's sum, unless its parts are more.
    fn all(&self, sum: Count) -> Count {
        let parts = self.ephemeral_5m_input_tokens.get().saturating_add(self.ephemeral_1h_input_tokens.get());
        if parts > sum.get() { Count(Some(parts)) } else { sum }
    }
}

impl Iteration {
    fn inner(self) -> Option<InnerUsage> {
        let model = match self.r#type.0.as_deref() {
            Some("compaction") => None,
            Some("advisor_message" | "fallback_message") => self.model.0,
            _ => return None,
        };
        let Nested(creation) = &self.cache_creation;
        let usage = Usage {
            input: self.input_tokens.get(),
            cache_read: self.cache_read_input_tokens.get(),
            cache_write: creation.all(self.cache_creation_input_tokens).get(),
            cache_write_long: creation.ephemeral_1h_input_tokens.get(),
            output: self.output_tokens.get(),
            ..Usage::default()
        };
        Some(InnerUsage { model, usage })
    }
}

/// Reads a `usage` object; `None` for null and for anything that is not an object. Absent members stay absent: the
/// object in `message_delta` completes the one in `message_start`.
pub(super) fn read(json: &[u8]) -> Option<UsagePart> {
    let wire: MessagesUsageWire = serde_json::from_slice::<Option<MessagesUsageWire>>(json).ok()??;
    let rates = wire.rates();
    let Nested(creation) = wire.cache_creation;
    let inner = wire.iterations.0;
    Some(UsagePart {
        input: wire.input_tokens.0,
        cache_read: wire.cache_read_input_tokens.0,
        cache_write: creation.all(wire.cache_creation_input_tokens).0,
        output: wire.output_tokens.0,
        reasoning: wire.output_tokens_details.0.thinking_tokens.0,
        cache_write_long: creation.ephemeral_1h_input_tokens.0,
        searches: wire.server_tool_use.0.web_search_requests.0,
        rates,
        inner: (!inner.is_empty()).then(|| Arc::from(inner)),
        ..UsagePart::default()
    })
}

/// Writes the members of `usage` that every event has.
pub(super) fn write(usage: &Usage, o: &mut Object<'_>) {
    o.number("input_tokens", usage.input)
        .number("cache_creation_input_tokens", usage.cache_write)
        .number("cache_read_input_tokens", usage.cache_read)
        .number("output_tokens", usage.output);
    if let Some(reasoning) = usage.reasoning {
        o.object("output_tokens_details", |o| {
            o.number("thinking_tokens", reasoning);
        });
    }
}

/// Writes the members of `usage` that only a complete answer has: the lifetimes of cache writes, and the service
/// tier.
pub(super) fn write_rest(usage: &Usage, tier: &str, o: &mut Object<'_>) {
    if usage.cache_write > 0 {
        o.object("cache_creation", |o| {
            o.number("ephemeral_5m_input_tokens", usage.cache_write).number("ephemeral_1h_input_tokens", 0);
        });
    }
    o.text("service_tier", tier);
}

/// Maximum number of models that are counted separately inside of one call.
const MAX_INNER_MODELS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dearer_is_told_apart() {
        let json = br#"{"input_tokens":0,"cache_creation_input_tokens":1000,"output_tokens":0,"speed":"fast",
            "inference_geo":"us","service_tier":"priority","server_tool_use":{"web_search_requests":2},
            "cache_creation":{"ephemeral_5m_input_tokens":400,"ephemeral_1h_input_tokens":600}}"#;
        let usage = Usage::from(read(json).unwrap());
        assert_eq!((usage.cache_write, usage.cache_write_long, usage.searches), (1000, 600, 2));
        assert_eq!(usage.rates.iter().collect::<Vec<_>>(), [Rate::Fast, Rate::Priority, Rate::Us]);
        let plain = br#"{"speed":"standard","inference_geo":"global","service_tier":"standard","cache_creation":null}"#;
        assert_eq!(Usage::from(read(plain).unwrap()).rates, Rates::default());
        // The parts come without their sum.
        let parts = br#"{"cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":2}}"#;
        assert_eq!(read(parts).unwrap().cache_write, Some(3));
    }

    #[test]
    fn what_the_provider_did_besides_is_kept_apart_by_model() {
        let json = br#"{"input_tokens":10,"output_tokens":1,"iterations":[
            {"type":"message","input_tokens":10,"output_tokens":1},
            {"type":"compaction","input_tokens":100000,"output_tokens":3000},
            {"type":"advisor_message","model":"m","input_tokens":5,"cache_creation":{"ephemeral_1h_input_tokens":4}},
            {"type":"advisor_message","model":"m","output_tokens":6},7,
            {"type":"fallback_message","input_tokens":1}]}"#;
        let usage = Usage::from(read(json).unwrap());
        let own = Usage { input: 100_001, output: 3000, ..Usage::default() };
        let other = Usage { input: 5, cache_write: 4, cache_write_long: 4, output: 6, ..Usage::default() };
        let inner =
            [InnerUsage { model: None, usage: own }, InnerUsage { model: Some("m".into()), usage: other }];
        assert_eq!((usage.input, usage.output, usage.inner.as_deref()), (10, 1, Some(&inner[..])));
        let only = |text: &str| read(format!("{{\"iterations\":{text}}}").as_bytes()).unwrap().inner;
        for odd in ["null", "[]", "[null]", "7", "-7", "0.5", "true", "\"a\"", "{\"a\":1}"] {
            assert_eq!(only(odd), None, "{odd}");
        }
        let many: Vec<_> =
            (0..99).map(|n| format!("{{\"type\":\"advisor_message\",\"model\":\"{n}\"}}")).collect();
        assert_eq!(only(&format!("[{}]", many.join(","))).unwrap().len(), MAX_INNER_MODELS + 1);
    }
}
