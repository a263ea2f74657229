//! The manual: pages without code, which are built with the crate and linked from it.

/// The structure of the crate, and its invariants.
#[doc = include_str!("architecture.md")]
pub mod architecture {}

/// Operations: installation, configuration, changes and monitoring of a gateway.
#[doc = include_str!("operations.md")]
pub mod operations {}

/// The threat model: the powers of each credential, and the assumptions.
#[doc = include_str!("threats.md")]
pub mod threats {}

/// The README; it is included so that its code is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub mod readme {}

/// Translation: the fate of each member of a request if client and provider speak different protocols.
#[doc = include_str!("fidelity.md")]
pub mod fidelity {}

/// Steps for adding a provider, a protocol, a member, a setting, a header, a member of the access line or a limit.
#[doc = include_str!("extending.md")]
pub mod extending {}

/// Clients and SDKs, and how each is pointed at a gateway.
#[doc = include_str!("clients.md")]
pub mod clients {
    #[doc = include_str!("clients/openai.md")]
    pub mod openai {}

    #[doc = include_str!("clients/anthropic.md")]
    pub mod anthropic {}

    #[doc = include_str!("clients/ai_sdk.md")]
    pub mod ai_sdk {}

    #[doc = include_str!("clients/langchain.md")]
    pub mod langchain {}

    #[doc = include_str!("clients/agents.md")]
    pub mod agents {}

    #[doc = include_str!("clients/claude_code.md")]
    pub mod claude_code {}

    #[doc = include_str!("clients/codex.md")]
    pub mod codex {}

    #[doc = include_str!("clients/llm.md")]
    pub mod llm {}

    #[doc = include_str!("clients/aider.md")]
    pub mod aider {}
}

/// Servers behind a gateway, and load balancers in front of it.
#[doc = include_str!("chaining.md")]
pub mod chaining {}

/// Migration from a provider's own API to a gateway.
#[doc = include_str!("migration.md")]
pub mod migration {}
