//! The start-up message: the gateway's addresses, and its keys.

use std::io::Write;

use crossmodel::Config;
use crossmodel_core::canon::Form;
use crossmodel_core::protocol::{ProtocolId, REGISTRY};

use super::failure::CommandError;
use super::first_key::{self, FirstKey};

/// Prints the addresses, and the first key with commands to try it if it was made just now.
pub(super) fn print(config: &Config, key: &FirstKey, out: &mut dyn Write) -> Result<(), CommandError> {
    let base = base_url(config);
    writeln!(out, "CrossModel {} on {base}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  base URL for OpenAI clients      {base}/v1")?;
    writeln!(out, "  base URL for Anthropic clients   {base}")?;
    if let Some(settings) = &config.admin {
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let admin = format!("{scheme}://{}", settings.address);
        if settings.token.is_some() || settings.is_loopback() {
            writeln!(out, "  console                          {admin}/")?;
        }
        writeln!(out, "  metrics                          {admin}/metrics")?;
    }
    let providers: Vec<_> = config.providers.iter().map(|provider| &*provider.name).collect();
    writeln!(out, "  providers                        {}", providers.join(", "))?;
    match key {
        FirstKey::Present(count) => writeln!(
            out,
            "keys: {count}. Secrets are shown once; create another with: crossmodel key create"
        )?,
        FirstKey::Given => writeln!(out, "keys: 1, of {}", first_key::VARIABLE)?,
        FirstKey::Absent => writeln!(
            out,
            "no key yet. Run crossmodel key create --name NAME, or start with {}",
            first_key::VARIABLE
        )?,
        FirstKey::Made(secret) => {
            writeln!(out, "  key                              {secret}   (shown this once)\n")?;
            lines(config, &base, secret, out)?;
        }
    }
    out.flush()?;
    Ok(())
}

fn base_url(config: &Config) -> String {
    let listener = config.listeners.first();
    let scheme = if listener.is_some_and(|listener| listener.tls.is_some()) { "https" } else { "http" };
    let address =
        listener.map(|listener| listener.address.replace("0.0.0.0", "127.0.0.1")).unwrap_or_default();
    format!("{scheme}://{address}")
}

/// Prints one example command for each protocol that some model speaks.
fn lines(config: &Config, base: &str, secret: &str, out: &mut dyn Write) -> Result<(), CommandError> {
    for protocol in REGISTRY {
        let id = protocol.id();
        let speaks = |entry: &&std::sync::Arc<crossmodel::route::ModelEntry>| {
            !entry.id.ends_with('*') && entry.targets.iter().any(|target| target.speaks(id))
        };
        if let Some(entry) = config.catalog.entries().iter().find(speaks) {
            let (header, body) = request(id, secret, &entry.id);
            let path = protocol.call_path(&entry.id, Form::Whole);
            writeln!(out, "curl {base}/v1{path} -H '{header}' -d '{body}'; echo\n")?;
        }
    }
    Ok(())
}

fn request(protocol: ProtocolId, secret: &str, model: &str) -> (String, String) {
    let bearer = format!("authorization: Bearer {secret}");
    let messages = "\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]";
    match protocol {
        ProtocolId::Chat => (bearer, format!("{{\"model\":\"{model}\",{messages}}}")),
        ProtocolId::Responses => {
            (bearer, format!("{{\"model\":\"{model}\",\"input\":\"Hello!\",\"stream\":true}}"))
        }
        ProtocolId::Gemini => (
            format!("x-goog-api-key: {secret}"),
            "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hello!\"}]}]}".to_owned(),
        ),
        ProtocolId::Messages => (
            format!("x-api-key: {secret}"),
            format!("{{\"model\":\"{model}\",\"max_tokens\":1024,{messages},\"stream\":true}}"),
        ),
    }
}
