//! The edits that adapt a relayed request to its provider.

use crate::canon::{MaxTokensField, Profile, Rejections, Sealer, StreamUsage};
use crate::json::{Body, Edit};
use crate::protocol::{Head, Protocol};

/// The edits of one request.
#[derive(Debug)]
pub struct Edits {
    edits: Vec<Edit>,
    withhold_usage: bool,
    rejections: Rejections,
}

impl Edits {
    /// Collects the edits that adapt a request to its provider. `output_cap`, if given, limits the tokens of the
    /// answer: it is written to the provider's own member and to no other.
    #[must_use]
    pub fn of(
        protocol: &dyn Protocol,
        body: &[u8],
        head: &Head<'_>,
        profile: &Profile,
        model: &str,
        output_cap: Option<u64>,
    ) -> Self {
        let address = protocol.address_edits(body, model);
        let mut edits = address.unwrap_or_else(|| head.model_edits(body, model));
        let output_cap = output_cap.or_else(|| outdated_cap(protocol, head, profile));
        if let Some(tokens) = output_cap {
            edits.extend(head.cap_edits(body, protocol.output_cap(profile), tokens));
        }
        let mut rejections = Rejections::default();
        let mut withhold_usage = false;
        if head.stream && profile.stream_usage == StreamUsage::Option {
            let usage = protocol.usage_edits(body, head);
            withhold_usage = !usage.is_empty();
            edits.extend(usage);
        }
        edits.extend(head.repeat_edits(body, &edits, output_cap.is_some()));
        if profile.strip_attribution {
            edits.extend(protocol.attribution_edit(body, head));
        }
        if head.has_carriers {
            edits.extend(protocol.carrier_edits(body, &mut rejections));
        }
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        Self { edits, withhold_usage, rejections }
    }

    /// Puts the texts of summaries, which `sealer` opens, in the places of their carriers.
    #[must_use]
    pub fn with_summaries(
        mut self,
        protocol: &dyn Protocol,
        body: &[u8],
        head: &Head<'_>,
        sealer: &Sealer,
    ) -> Self {
        if head.has_carriers {
            self.edits.extend(protocol.summary_edits(body, sealer));
            self.edits.sort_by_key(|(span, _)| (span.start, span.end));
        }
        self
    }

    /// Returns the counts of carriers that are removed.
    #[must_use]
    pub fn rejections(&self) -> Rejections {
        self.rejections
    }

    /// Applies the edits. Returns whether the provider was made to send a usage chunk that the client does not
    /// expect.
    pub fn apply(self, body: &mut Body) -> bool {
        body.splice(&self.edits);
        self.withhold_usage
    }
}

/// Returns the limit of a request that names it as older models do, if the provider's newer models refuse that name.
fn outdated_cap(protocol: &dyn Protocol, head: &Head<'_>, profile: &Profile) -> Option<u64> {
    let is_refused = profile.max_tokens_field == MaxTokensField::MaxCompletionTokens;
    head.cap_elsewhere(protocol.output_cap(profile)).filter(|_| is_refused)
}
