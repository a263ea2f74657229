//! The start-up message: the gateway's addresses and, at the first start, its first key.

use std::io::Write;

use crossmodel::Config;
use crossmodel::auth::{NewKey, RateLimits, Rights, Store};
use crossmodel::meter::Books;
use crossmodel_core::canon::Form;
use crossmodel_core::protocol::{ProtocolId, REGISTRY};

use super::CommandError;
use super::keys::DEFAULT_ACCOUNT;

/// Prints the addresses. If there is no key at all, makes one and prints it with commands to try it. At a first
/// run without a configuration, the key's account gets [`DEMO_CREDIT`].
pub(super) fn print(config: &Config, first_run: bool, out: &mut dyn Write) -> Result<(), CommandError> {
    let base = base_url(config);
    writeln!(out, "CrossModel {} on {base}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  base URL for OpenAI clients      {base}/v1")?;
    writeln!(out, "  base URL for Anthropic clients   {base}")?;
    if let Some(settings) = &config.admin {
        let admin = &settings.address;
        if settings.token.is_some() || settings.is_loopback() {
            writeln!(out, "  console                          http://{admin}/")?;
        }
        writeln!(out, "  metrics                          http://{admin}/metrics")?;
    }
    let providers: Vec<_> = config.providers.iter().map(|provider| &*provider.name).collect();
    writeln!(out, "  providers                        {}", providers.join(", "))?;
    match first_key(config, first_run)? {
        None => writeln!(out, "  key                              one of `crossmodel key list`")?,
        Some(secret) => {
            writeln!(out, "  key                              {secret}   (shown this once)\n")?;
            lines(config, &base, &secret, out)?;
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

fn first_key(config: &Config, credit: bool) -> Result<Option<String>, CommandError> {
    let store = Store::open(&config.data)?;
    if !store.accounts()?.is_empty() {
        return Ok(None);
    }
    store.create_account(DEFAULT_ACCOUNT)?;
    if credit {
        let amount = DEMO_CREDIT.parse().map_err(CommandError::Usage)?;
        Books::open(&config.data)?.top_up(DEFAULT_ACCOUNT, amount, "demo-credit")?;
    }
    // A first key has no rate limit: an agent sends more in a minute than the default allows.
    let rights = Rights { rate: RateLimits { rpm: None, tpm: None }, ..Rights::default() };
    let new = NewKey { account: DEFAULT_ACCOUNT.into(), name: "first key".into(), rights };
    let (_, secret) = store.create_key(&new)?;
    Ok(Some(secret.expose().to_owned()))
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
            writeln!(out, "curl {base}/v1{path} -H '{header}' -d '{body}'\n")?;
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

/// The first account's credit for the built-in provider, in dollars.
const DEMO_CREDIT: &str = "10";
