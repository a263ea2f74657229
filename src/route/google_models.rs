//! The list of models in the form that Google's SDKs read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use crossmodel_core::json::write::{self, Object};

use crate::auth::Key;
use crate::failure::{Failure, Kind, Result};

use super::catalog::Catalog;
use super::models::{ListedModel, ModelList, invalid, percent_decoded};

impl ModelList {
    /// Returns the body of the list, or of the page of it that a query asks for.
    ///
    /// # Errors
    /// Returns 400 if the size of the page is not from 1 to 1000, or its token is none of the list's.
    pub fn for_google(&self, query: &str) -> Result<Bytes> {
        let (mut size, mut start) = (self.0.len(), 0);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "pageSize" | "page_size" => {
                    let read = value.parse().ok().filter(|size| (1..=1000).contains(size));
                    let wrong =
                        || invalid("pageSize", "The parameter 'pageSize' must be from 1 to 1000.".to_owned());
                    size = read.ok_or_else(wrong)?;
                }
                "pageToken" | "page_token" if !value.is_empty() => {
                    let last = URL_SAFE_NO_PAD.decode(percent_decoded(value)).unwrap_or_default();
                    let at = self.0.iter().position(|model| model.id.as_bytes() == last);
                    let wrong =
                        || invalid("pageToken", "The parameter 'pageToken' is none of this list.".to_owned());
                    start = at.ok_or_else(wrong)? + 1;
                }
                _ => {}
            }
        }
        let page = self.0.get(start..self.0.len().min(start.saturating_add(size))).unwrap_or_default();
        let next = page.last().filter(|_| start + page.len() < self.0.len());
        let mut out = Vec::new();
        write::object(&mut out, |o| {
            o.array("models", |list| {
                for model in page {
                    list.object(|o| members(model, o));
                }
            });
            if let Some(last) = next {
                o.text("nextPageToken", &URL_SAFE_NO_PAD.encode(&last.id));
            }
        });
        Ok(out.into())
    }

    /// Returns the body for one model, which may be served by a wildcard.
    ///
    /// # Errors
    /// Returns 404 if the key may not call the model, or there is none.
    pub fn retrieve_for_google(catalog: &Catalog, key: &Key, id: &str) -> Result<Bytes> {
        let listed = match catalog.find(id, key) {
            Ok(found) => Some(ListedModel::new(id, &found.entry)),
            // The model is listed all the same: it is only switched off.
            Err(failure) if failure.kind() == Kind::Unavailable => {
                Self::new(catalog, key).0.into_iter().find(|model| model.id == id)
            }
            Err(failure) => return Err(failure),
        };
        let model = listed.ok_or_else(|| Failure::model_not_found(id))?;
        let mut out = Vec::new();
        write::object(&mut out, |o| members(&model, o));
        Ok(out.into())
    }
}

fn members(model: &ListedModel, o: &mut Object<'_>) {
    o.text("name", &format!("models/{}", model.id)).text("baseModelId", &model.id);
    o.text("version", "1").text("displayName", &model.display_name).text("description", "");
    if let Some(tokens) = model.max_input_tokens {
        o.number("inputTokenLimit", tokens);
    }
    if let Some(tokens) = model.max_tokens {
        o.number("outputTokenLimit", tokens);
    }
    o.json("supportedGenerationMethods", r#"["generateContent","streamGenerateContent","countTokens"]"#);
}
