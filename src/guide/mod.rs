//! The manual: pages without code, built and linked with it.

/// How the crate is laid out, and what must stay true.
#[doc = include_str!("architecture.md")]
pub mod architecture {}

/// How a gateway is run, changed and watched.
#[doc = include_str!("operations.md")]
pub mod operations {}

/// The threat model: the powers of each credential, and the assumptions.
#[doc = include_str!("threats.md")]
pub mod threats {}

/// The front page; here, so that the code in it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub mod readme {}

/// What becomes of a request's members where client and provider speak different protocols.
#[doc = include_str!("fidelity.md")]
pub mod fidelity {}

/// What is to be done to add a provider, a protocol, a member or a limit.
#[doc = include_str!("extending.md")]
pub mod extending {}

/// How clients are pointed at a gateway.
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

/// Servers behind a gateway, and load balancers before it.
#[doc = include_str!("chaining.md")]
pub mod chaining {}

/// From a provider's own API to a gateway.
#[doc = include_str!("migration.md")]
pub mod migration {}
