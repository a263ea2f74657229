//! The demands of a request whose price its bytes do not show.

use serde::Deserialize;

use crate::canon::Rate;
use crate::json::{self, Lenient as _, Member, Name};

/// The demands of a request beyond the tokens of its text. The head scan fills them, the cost estimate reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Rates that the request asks for, each with the path of the member that asks for it, such as `service_tier`.
    pub rates: Vec<(Rate, &'static str)>,
    /// Whether the request may write to the prompt cache for longer than the default.
    pub long_cache: bool,
    /// Number of images, recordings and inline documents: each may cost more tokens than it has bytes.
    pub media: u64,
    /// The path of the first part whose tokens cannot be bounded by the bytes of the request: a document by URL, a
    /// server tool, MCP, state at the provider.
    pub unbounded: Option<String>,
    /// Services that cost a fee besides tokens, each with the path of the member that asks for it.
    pub services: Vec<(Service, String)>,
}

impl Demand {
    /// Notes the demand of a top-level member.
    pub(super) fn take(&mut self, name: &Name, member: &Member<'_>) {
        let (name, value) = (name.as_bytes(), member.value);
        if matches!(value, b"null" | b"false" | b"[]" | b"\"\"") {
            return;
        }
        let text = || json::text(value).map(|text| text.trim().to_ascii_lowercase()).unwrap_or_default();
        match name {
            b"service_tier" => self.rate(Rate::of_tier(&text()), "service_tier"),
            b"servicetier" => self.rate(Rate::of_tier(&text()), "serviceTier"),
            b"speed" => self.rate((text() == "fast").then_some(Rate::Fast), "speed"),
            b"inference_geo" => self.rate((text() == "us").then_some(Rate::Us), "inference_geo"),
            _ if SEARCHES.iter().any(|known| known.as_bytes() == name) => {
                self.serve(Service::WebSearch, name);
                self.bound_not(name);
            }
            b"plugins" => self.serve(Service::Plugins, name),
            b"mcp_servers" => self.bound_not(name),
            b"audio" => self.serve(Service::AudioOutput, name),
            b"modalities" | b"response_modalities" | b"output_modalities" => self.modalities(name, value),
            _ => {}
        }
    }

    /// Adds the demands below the top level.
    pub(super) fn absorb(&mut self, below: Self) {
        self.media += below.media;
        self.unbounded = self.unbounded.take().or(below.unbounded);
        for (service, path) in below.services {
            self.serve(service, path.as_bytes());
        }
    }

    fn rate(&mut self, rate: Option<Rate>, path: &'static str) {
        let rate = rate.map(|rate| (rate, path));
        self.rates.extend(rate.filter(|rate| !self.rates.contains(rate)));
    }

    fn modalities(&mut self, name: &[u8], value: &[u8]) {
        let single = std::iter::once(value);
        let several = json::elements(value).lenient().map(|(item, _)| item);
        for kind in single.chain(several).filter_map(json::text) {
            match kind.to_ascii_lowercase().as_str() {
                "audio" => self.serve(Service::AudioOutput, name),
                "image" => self.serve(Service::ImageGeneration, name),
                _ => {}
            }
        }
    }

    fn serve(&mut self, service: Service, path: &[u8]) {
        if self.services.iter().all(|(known, _)| *known != service) {
            self.services.push((service, String::from_utf8_lossy(path).into_owned()));
        }
    }

    fn bound_not(&mut self, path: &[u8]) {
        self.unbounded.get_or_insert_with(|| String::from_utf8_lossy(path).into_owned());
    }
}

/// Members that make providers and routers search the web.
const SEARCHES: &[&str] = &[
    "connectors",
    "enable_search",
    "enable_web_search",
    "search_parameters",
    "search_settings",
    "venice_parameters",
    "web_search",
    "web_search_enabled",
    "web_search_options",
];

/// A service of a provider that costs something besides the four token prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Web searches, at a fee for each.
    WebSearch,
    /// Images that the model makes.
    ImageGeneration,
    /// A container for code.
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
    /// Returns the service's name in configurations, metrics and messages.
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
