//! Members that choose more than the model: other models, routes, providers, accounts or hosts.
//!
//! A key may call certain models, at their prices. Routers and some providers accept further models in a request,
//! or a provider by name, or even the address and the credential to call. A request that names any of these is
//! refused, unless the provider's `inner_models` allows it. Hosts and credentials are never allowed.

use std::fmt::Display;

use crate::failure::{Failure, Kind, Result};
use crate::json::{self, Member, Name};

/// A model that a request names besides `model`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerModel {
    /// The path of the member, such as `fallbacks[0].model`.
    pub path: String,
    /// The model's name; absent for a route or a provider, which only `*` allows.
    pub name: Option<String>,
}

/// The kinds of things that a top-level member can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InnerChoice {
    /// Models.
    Models,
    /// A route, a provider, a preset of an account.
    Route,
    /// A host, a credential, headers.
    Host,
}

impl InnerModel {
    /// Whether `allowed`, the `inner_models` of a provider, contains it.
    #[must_use]
    pub fn is_among(&self, allowed: &[String]) -> bool {
        allowed.iter().any(|one| one == "*" || self.name.as_ref() == Some(one))
    }

    /// Returns the refusal for a provider that does not allow it.
    #[must_use]
    pub fn refused(&self) -> Failure {
        let Self { path, name } = self;
        let what = name.as_ref().map_or("chooses a route or a provider", |_| "names another model");
        let message = format!("'{path}' {what}, which is not supported: name one model, in `model`.");
        Failure::new(Kind::Unsupported, message).with_param(path.clone())
    }
}

/// Notes the choice of a top-level member.
///
/// # Errors
/// Returns 400 if the member chooses a host or a credential, which no request may do.
pub(super) fn top_level(name: &Name, member: &Member<'_>, found: &mut Vec<InnerModel>) -> Result<()> {
    let Some(choice) = choice(name.as_bytes()) else { return Ok(()) };
    if matches!(member.value, b"null" | b"false" | b"\"\"") || is_empty(member.value) {
        return Ok(());
    }
    let path = String::from_utf8_lossy(name.as_bytes());
    match choice {
        InnerChoice::Host if name.is("extra_body") => extra_body(member),
        InnerChoice::Host => Err(host(&path)),
        InnerChoice::Route => {
            record_named(found, &*path, None);
            Ok(())
        }
        InnerChoice::Models => models(&path, member.value, found),
    }
}

fn choice(name: &[u8]) -> Option<InnerChoice> {
    let is_in = |list: &[&str]| list.iter().any(|known| known.as_bytes() == name);
    let begins = |list: &[&str]| list.iter().any(|known| name.starts_with(known.as_bytes()));
    if is_in(MODELS) {
        Some(InnerChoice::Models)
    } else if is_in(ROUTES) || begins(ROUTE_FAMILIES) {
        Some(InnerChoice::Route)
    } else if is_in(HOSTS) || begins(HOST_FAMILIES) {
        Some(InnerChoice::Host)
    } else {
        None
    }
}

/// Notes names of models in any of the usual shapes: a name, a list of names, or a list of objects with a `model`.
fn models(path: &str, value: &[u8], found: &mut Vec<InnerModel>) -> Result<()> {
    if value.first() != Some(&b'[') {
        return one(path, value, found);
    }
    for (index, element) in json::elements(value).enumerate() {
        let Ok((element, _)) = element else {
            record_named(found, path, None);
            break;
        };
        if is_full(found) {
            break;
        }
        one(&format!("{path}[{index}]"), element, found)?;
    }
    Ok(())
}

fn one(path: &str, value: &[u8], found: &mut Vec<InnerModel>) -> Result<()> {
    if value.first() != Some(&b'{') {
        record_named(found, path, Some(value));
        return Ok(());
    }
    let before = found.len();
    for member in json::members(value) {
        let Ok(member) = member else {
            record_named(found, path, None);
            break;
        };
        match Name::read(member.key) {
            Some(name) if name.is("model") => {
                record_named(found, &format_args!("{path}.model"), Some(member.value));
            }
            Some(name) if matches!(choice(name.as_bytes()), Some(InnerChoice::Host)) => {
                return Err(host(&format!("{path}.{}", String::from_utf8_lossy(name.as_bytes()))));
            }
            Some(name) if choice(name.as_bytes()).is_some() => record_named(found, path, None),
            _ => {}
        }
    }
    if found.len() == before {
        record_named(found, path, None);
    }
    Ok(())
}

/// Notes the model that a literal names, if it is a string.
pub(super) fn record_named(
    found: &mut Vec<InnerModel>,
    path: &(impl Display + ?Sized),
    literal: Option<&[u8]>,
) {
    if !is_full(found) {
        let name = literal.and_then(json::text).map(Into::into);
        keep(found, InnerModel { path: path.to_string(), name });
    }
}

/// Keeps one more model. Beyond the maximum, one is kept without its name, so that only `*` allows it.
pub(super) fn keep(found: &mut Vec<InnerModel>, inner: InnerModel) {
    match found.len() {
        0..MAX_NAMED => found.push(inner),
        MAX_NAMED => found.push(InnerModel { name: None, ..inner }),
        _ => {}
    }
}

/// Whether further models change nothing.
pub(super) fn is_full(found: &[InnerModel]) -> bool {
    found.len() > MAX_NAMED
}

/// Refuses members for the body other than `google`: only Google's own settings are commonly sent in this way.
fn extra_body(member: &Member<'_>) -> Result<()> {
    let wrong = |key: &[u8]| Name::read(key).is_none_or(|name| !name.is("google"));
    match json::members(member.value).find(|inner| inner.as_ref().map_or(true, |inner| wrong(inner.key))) {
        Some(_) => Err(host("extra_body")),
        None => Ok(()),
    }
}

fn host(path: &str) -> Failure {
    let message = format!(
        "'{path}' is not supported: the gateway alone decides where and with what credential it calls."
    );
    Failure::new(Kind::Unsupported, message).with_param(path.to_owned())
}

fn is_empty(value: &[u8]) -> bool {
    let inside = value.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let inside = inside.or_else(|| value.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// Members of routers and providers that name models.
const MODELS: &[&str] = &[
    "adapter_id",
    "adapter_source",
    "base_model",
    "content_policy_fallbacks",
    "context_window_fallback_dict",
    "context_window_fallbacks",
    "default_fallbacks",
    "deployment",
    "deployment_id",
    "draft_model",
    "engine",
    "fallback",
    "fallback_model",
    "fallback_models",
    "fallbacks",
    "lora_path",
    "model_fallbacks",
    "model_group",
    "model_id",
    "models",
];

/// Members that name routes, providers, or presets that an account of a router has stored.
const ROUTES: &[&str] = &[
    "custom_llm_provider",
    "preset",
    "provider",
    "provider_options",
    "provideroptions",
    "providers",
    "route",
    "router",
    "routing",
    "specific_deployment",
];

/// Prefixes of families of such members.
const ROUTE_FAMILIES: &[&str] = &["mock_testing_"];

/// Members that name hosts, accounts, credentials or headers.
const HOSTS: &[&str] = &[
    "api_base",
    "api_key",
    "api_type",
    "api_version",
    "apibase",
    "apikey",
    "base_url",
    "baseurl",
    "bootstrap_host",
    "bootstrap_port",
    "bootstrap_room",
    "credentials",
    "default_headers",
    "default_query",
    "extra_body",
    "extra_headers",
    "extra_query",
    "extrabody",
    "extraheaders",
    "headers",
    "kv_transfer_params",
    "litellm_credential_name",
    "litellm_params",
    "model_info",
    "model_list",
    "organization",
    "user_config",
];

/// Prefixes of families of such members.
const HOST_FAMILIES: &[&str] = &["aws_", "azure_", "tensorzero::", "vertex_", "watsonx_"];

/// Maximum number of models that are noted for one request: beyond it, nothing but `*` allows them.
const MAX_NAMED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str) -> Result<Vec<(String, Option<String>)>> {
        let mut found = Vec::new();
        for member in json::members(body.as_bytes()).map(|member| member.unwrap()) {
            top_level(&Name::read(member.key).unwrap(), &member, &mut found)?;
        }
        Ok(found.into_iter().map(|inner| (inner.path, inner.name)).collect())
    }

    #[test]
    fn models_are_found_in_every_shape() {
        let named = |path: &str, name: &str| (path.to_owned(), Some(name.to_owned()));
        let body = r#"{"models":["a","b"],"Fallbacks":[{"model":"c","max_tokens":1},"d"],"engine":"e"}"#;
        let expected = [
            named("models[0]", "a"),
            named("models[1]", "b"),
            named("fallbacks[0].model", "c"),
            named("fallbacks[1]", "d"),
            named("engine", "e"),
        ];
        assert_eq!(found(body).unwrap(), expected);
        for (body, path) in [
            (r#"{"fallbacks":[{"a":["b"]}]}"#, "fallbacks[0]"),
            (r#"{"fallbacks":[{"model":["b"]}]}"#, "fallbacks[0].model"),
            (r#"{"fallbacks":[{"model":null}]}"#, "fallbacks[0].model"),
            (r#"{"models":{"a":1}}"#, "models"),
            (r#"{"models":[1]}"#, "models[0]"),
            (r#"{"models":7}"#, "models"),
            (r#"{"fallback":{"to":"b"}}"#, "fallback"),
            (r#"{"route":"fallback"}"#, "route"),
            (r#"{"providerOptions":{"gateway":{"order":["x"]}}}"#, "provideroptions"),
            (r#"{"mock_testing_fallbacks":true}"#, "mock_testing_fallbacks"),
        ] {
            assert_eq!(found(body).unwrap(), [(path.to_owned(), None)], "{body}");
        }
        let none = r#"{"models":null,"fallbacks":[ ],"provider":{},"route":"","mock_testing_fallbacks":false,
            "api_key":null,"headers":{},"extra_body":{"google":{"thinking_config":{}}},"modelsx":["a"]}"#;
        assert_eq!(found(none).unwrap(), []);
    }

    #[test]
    fn hosts_and_credentials_are_refused_wherever_they_stand() {
        for (body, param) in [
            (r#"{"api_base":"http://x"}"#, "api_base"),
            (r#"{"API_Key":"k"}"#, "api_key"),
            (r#"{"aws_access_key_id":"k"}"#, "aws_access_key_id"),
            (r#"{"kv_transfer_params":{"remote_host":"h"}}"#, "kv_transfer_params"),
            (r#"{"fallbacks":[{"model":"m","api_key":"k"}]}"#, "fallbacks[0].api_key"),
            (r#"{"extra_body":{"models":["m"]}}"#, "extra_body"),
            (r#"{"extra_body":"x"}"#, "extra_body"),
            (r#"{"extraBody":{"models":["m"]}}"#, "extrabody"),
            (r#"{"apiKey":"k"}"#, "apikey"),
        ] {
            assert_eq!(found(body).unwrap_err().param(), Some(param), "{body}");
        }
    }

    #[test]
    fn of_many_names_not_all_are_kept_and_none_is_let_through() {
        let body = format!(r#"{{"models":[{}]}}"#, vec![r#""a""#; 10_000].join(","));
        let found = found(&body).unwrap();
        assert_eq!(found.len(), MAX_NAMED + 1);
        assert_eq!(found[MAX_NAMED].1, None);
    }

    #[test]
    fn a_list_allows_what_it_names() {
        let of = |name: Option<&str>| InnerModel { path: "p".to_owned(), name: name.map(str::to_owned) };
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(of(Some("a")).is_among(&list(&["b", "a"])) && of(None).is_among(&list(&["*"])));
        assert!(!of(Some("a")).is_among(&list(&["b"])) && !of(None).is_among(&list(&["b"])));
        assert!(!of(Some("a")).is_among(&[]));
    }
}
