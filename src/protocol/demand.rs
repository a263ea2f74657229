//! What a request asks for that its bytes do not show the price of.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::canon::Rate;

/// What a request asks for beyond the tokens of its text. The head scan fills it, the cost estimate reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Rates that the request asks for, each with the path of the member that does: `service_tier`.
    pub rates: Vec<(Rate, &'static str)>,
    /// Whether the request may write to the prompt cache for longer than the default.
    pub long_cache: bool,
    /// Number of pictures, recordings and inline documents: each may cost more tokens than it has bytes.
    pub media: u64,
    /// The path of the first part whose tokens cannot be bounded by the bytes of the request: a document by URL, a
    /// server tool, MCP, state at the provider.
    pub unbounded: Option<String>,
    /// Services that cost a fee besides tokens, each with the path of the member that asks for it.
    pub services: Vec<(Service, String)>,
}

/// A service of a provider that costs something besides the four token prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Web searches, at a fee for each.
    WebSearch,
    /// Pictures that the model makes.
    ImageGeneration,
    /// A container in which code runs.
    CodeExecution,
    /// Searches in stored files, at a fee for each.
    FileSearch,
    /// Audio tokens of the prompt.
    AudioInput,
    /// Audio tokens of the answer.
    AudioOutput,
    /// Plugins of a router, which cost what the router says.
    Plugins,
}

impl Service {
    /// The name of the service in configurations, metrics and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WebSearch => "web_search",
            Self::ImageGeneration => "image_generation",
            Self::CodeExecution => "code_execution",
            Self::FileSearch => "file_search",
            Self::AudioInput => "audio_input",
            Self::AudioOutput => "audio_output",
            Self::Plugins => "plugins",
        }
    }
}
