//! The models that a gateway serves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meter::{Prices, TokenPrices};
use crate::route::Circuit;

use super::Usd;

/// A model that the gateway serves.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// `model`.
    pub object: String,
    /// The id; one that ends with `*` stands for all models with that prefix.
    pub id: String,
    /// A human-readable name.
    #[serde(default)]
    pub name: String,
    /// Whether it is offered to clients: `active`, `hidden` or `down`.
    #[serde(default)]
    pub status: String,
    /// The size of the context window, in tokens; `null` if it is not configured.
    #[serde(default)]
    pub context_window: Option<u64>,
    /// The longest output, in tokens; `null` if it is not configured.
    #[serde(default)]
    pub max_output: Option<u64>,
    /// Whether requests are refused rather than carried with a loss.
    #[serde(default)]
    pub strict: bool,
    /// The places at which it is served, in the order of preference.
    pub targets: Vec<ModelTarget>,
}

/// A model at a provider.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelTarget {
    /// The id, `MODEL@PROVIDER`.
    pub id: String,
    /// The provider.
    pub provider: String,
    /// The state.
    pub state: Circuit,
    /// The prices; `null`: calls cost nothing.
    #[serde(default)]
    pub prices: Option<ModelPrices>,
}

/// The prices of a target.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelPrices {
    /// The source of the prices: `config`.
    pub source: String,
    /// The prices, by rising sizes of the prompt.
    pub tiers: Vec<PriceTier>,
}

/// Dollars for a million tokens of each kind, from a size of the prompt on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PriceTier {
    /// The smallest prompt, in tokens.
    pub threshold: u64,
    /// The price of input.
    pub input_usd: Usd,
    /// The price of output.
    pub output_usd: Usd,
    /// The price of input that is read from the provider's cache.
    pub cache_read_usd: Usd,
    /// The price of input that is written to the provider's cache.
    pub cache_write_usd: Usd,
}

impl ModelPrices {
    /// Makes the view of prices of the configuration.
    #[must_use]
    pub fn of_config(prices: &Prices) -> Self {
        let tier = |tier: TokenPrices| PriceTier {
            threshold: tier.threshold,
            input_usd: Usd(tier.input),
            output_usd: Usd(tier.output),
            cache_read_usd: Usd(tier.cache_read),
            cache_write_usd: Usd(tier.cache_write),
        };
        Self { source: "config".to_owned(), tiers: prices.of_tokens().into_iter().map(tier).collect() }
    }
}
