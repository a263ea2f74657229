//! `GET /v1/models`: one object that both OpenAI's and Anthropic's SDKs read.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::auth::Key;
use crate::failure::{self, Failure, Kind, Result};
use crate::json;

use super::catalog::{Catalog, ModelEntry, ModelStatus};

/// One model, in a form that both SDKs read.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ListedModel {
    pub(super) id: String,
    object: &'static str,
    created: i64,
    owned_by: String,
    r#type: &'static str,
    pub(super) display_name: String,
    created_at: String,
    lifecycle: &'static str,
    pub(super) max_input_tokens: Option<u64>,
    pub(super) max_tokens: Option<u64>,
}

/// The models that a key may call.
#[derive(Debug)]
pub struct ModelList(pub(super) Vec<ListedModel>);

/// The part of the list that a client asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ModelListPage {
    limit: Option<usize>,
    after: Option<String>,
    before: Option<String>,
    /// Whether Codex asks: it alone names its version.
    is_for_codex: bool,
}

/// The body of a list of models.
#[derive(Serialize)]
struct ModelListBody<'a> {
    object: &'static str,
    data: &'a [ListedModel],
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
    /// The models in Codex's form, for Codex only. There are none: an entry would have to hold the instructions of
    /// the model, which replace Codex's own. Without entries, Codex takes its own for any model that it is told to
    /// use.
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<[(); 0]>,
}

impl ModelList {
    /// Lists the models of a catalog that a key may call, and the aliases that lead to such a model. Wildcards are
    /// left out.
    #[must_use]
    pub fn new(catalog: &Catalog, key: &Key) -> Self {
        let offered = |entry: &&ModelEntry| entry.status != ModelStatus::Hidden && key.allows(&entry.id);
        let entries = catalog.entries().iter().map(AsRef::as_ref).filter(|entry| !entry.id.ends_with('*'));
        let mut models: Vec<_> =
            entries.filter(offered).map(|entry| ListedModel::new(&entry.id, entry)).collect();
        let mut seen: BTreeSet<String> = models.iter().map(|model| model.id.clone()).collect();
        for (alias, _) in key.rights.aliases.iter().chain(catalog.aliases().iter()) {
            let name = alias.trim_end_matches('*');
            if let Some(found) = catalog.resolve(name, key)
                && found.entry.status == ModelStatus::Active
                && seen.insert(name.to_owned())
            {
                models.push(ListedModel::new(name, &found.entry));
            }
        }
        Self(models)
    }

    /// Returns the response's body: the whole list, or a page of it.
    ///
    /// # Errors
    /// Returns 400 if the page is to begin after, or end before, a model that is not in the list.
    pub fn answer(&self, page: &ModelListPage) -> Result<Bytes> {
        let position = |name: &'static str, id: &str| {
            let found = self.0.iter().position(|model| model.id == id);
            found.ok_or_else(|| {
                invalid(name, format!("There is no model '{}' in the list.", failure::printable(id)))
            })
        };
        let limit = page.limit.unwrap_or(self.0.len());
        let (start, end) = match (&page.after, &page.before) {
            (Some(id), _) => {
                let start = position("after_id", id)? + 1;
                (start, (start + limit).min(self.0.len()))
            }
            (None, Some(id)) => {
                let end = position("before_id", id)?;
                (end.saturating_sub(limit), end)
            }
            (None, None) => (0, limit.min(self.0.len())),
        };
        let data = self.0.get(start..end).unwrap_or_default();
        let more = if page.before.is_some() { start > 0 } else { end < self.0.len() };
        Ok(json::write::bytes(&ModelListBody {
            object: "list",
            data,
            has_more: more,
            first_id: data.first().map(|model| model.id.as_str()),
            last_id: data.last().map(|model| model.id.as_str()),
            models: page.is_for_codex.then_some([]),
        }))
    }

    /// Returns the response's body for one model, which may be served by a wildcard.
    ///
    /// # Errors
    /// Returns 404 if the key may not call the model, or there is none.
    pub fn retrieve(catalog: &Catalog, key: &Key, id: &str) -> Result<Bytes> {
        match catalog.find(id, key) {
            Ok(found) => Ok(json::write::bytes(&ListedModel::new(id, &found.entry))),
            // The model is listed all the same: it is only switched off.
            Err(failure) if failure.kind() == Kind::Unavailable => {
                let all = Self::new(catalog, key);
                let model = all.0.iter().find(|model| model.id == id);
                model.map(json::write::bytes).ok_or_else(|| Failure::model_not_found(id))
            }
            Err(failure) => Err(failure),
        }
    }
}

impl ListedModel {
    pub(super) fn new(id: &str, entry: &ModelEntry) -> Self {
        let wildcard = entry.id.ends_with('*');
        let created = Timestamp::from_second(entry.created).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            id: id.to_owned(),
            object: "model",
            created: entry.created,
            owned_by: entry.id.split('/').next().unwrap_or_default().to_owned(),
            r#type: "model",
            display_name: if wildcard { id.to_owned() } else { entry.name.clone() },
            created_at: created.to_string(),
            lifecycle: "active",
            max_input_tokens: entry.context_window,
            max_tokens: entry.max_output,
        }
    }
}

impl ModelListPage {
    /// Reads `limit`, `after_id`, `before_id` and Codex's `client_version`, and ignores all other parameters.
    ///
    /// # Errors
    /// Returns 400 if the limit is not from 1 to 1000, or both ids are given.
    pub fn parse(query: &str) -> Result<Self> {
        let mut page = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=1000).contains(limit));
                    page.limit = Some(limit.ok_or_else(|| {
                        invalid("limit", "The parameter 'limit' must be from 1 to 1000.".to_owned())
                    })?);
                }
                "after_id" => page.after = Some(percent_decoded(value)),
                "before_id" => page.before = Some(percent_decoded(value)),
                "client_version" => page.is_for_codex = true,
                _ => {}
            }
        }
        if page.after.is_some() && page.before.is_some() {
            return Err(invalid("after_id", "Give 'after_id' or 'before_id', not both.".to_owned()));
        }
        Ok(page)
    }
}

pub(super) fn invalid(param: &'static str, message: String) -> Failure {
    Failure::new(Kind::Unsupported, message).with_param(param)
}

/// Decodes the percent escapes of a text once; other texts with a percent sign stay as they are.
pub(crate) fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(query: &str) -> Result<(Vec<char>, bool)> {
        let entry = |id: &str| ModelEntry {
            id: format!("v/{id}"),
            name: id.to_owned(),
            created: 1_767_225_600,
            status: ModelStatus::Active,
            context_window: None,
            max_output: None,
            caps: crate::canon::CapsSettings::default(),
            strict: false,
            unmetered: Vec::new(),
            targets: Vec::new(),
        };
        let list =
            ModelList(["a", "b", "c", "d"].map(|id| ListedModel::new(&entry(id).id, &entry(id))).into());
        let body = list.answer(&ModelListPage::parse(query)?)?;
        let text = String::from_utf8(body.to_vec()).unwrap();
        let found = text.split("\"id\":\"v/").skip(1).filter_map(|rest| rest.chars().next());
        Ok((found.collect(), text.contains("\"has_more\":true")))
    }

    #[test]
    fn pages_as_anthropic_does() {
        assert_eq!(ids("").unwrap(), (vec!['a', 'b', 'c', 'd'], false));
        assert_eq!(ids("limit=2").unwrap(), (vec!['a', 'b'], true));
        assert_eq!(ids("limit=2&after_id=v%2Fb").unwrap(), (vec!['c', 'd'], false));
        assert_eq!(ids("limit=1&before_id=v/c").unwrap(), (vec!['b'], true));
        assert_eq!(ids("lifecycle[]=active&after_id=v/d").unwrap(), (vec![], false));
        for bad in ["limit=0", "limit=1001", "limit=x", "after_id=v/z", "after_id=v/a&before_id=v/b"] {
            assert_eq!(ids(bad).unwrap_err().status(), 400, "{bad}");
        }
    }

    #[test]
    fn codex_gets_a_list_of_its_own_and_no_other_client_does() {
        let body = |query| {
            let body = ModelList(Vec::new()).answer(&ModelListPage::parse(query).unwrap()).unwrap();
            String::from_utf8(body.to_vec()).unwrap()
        };
        let list = r#"{"object":"list","data":[],"has_more":false,"first_id":null,"last_id":null"#;
        assert_eq!(body("client_version=0.155.0"), format!("{list},\"models\":[]}}"));
        assert_eq!(body("limit=5"), format!("{list}}}"));
    }

    #[test]
    fn decodes_once() {
        assert_eq!(percent_decoded("a%2Fb%252F%zz%4"), "a/b%2F%zz%4");
    }
}
