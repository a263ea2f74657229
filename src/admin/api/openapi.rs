//! The OpenAPI document, made from the routes.

#![expect(clippy::disallowed_types, reason = "the document is made when somebody asks for it")]

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::admin::error::Code;
use crate::admin::model::ErrorBody;

use super::call::Parameter;
use super::examples::{self, example};
use super::routes::{PREFIX, Route};
use super::table::all_routes;

/// Returns the document, as JSON with a line feed at its end.
#[must_use]
pub fn document() -> String {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in all_routes() {
        let operation = operation(route, &mut generator);
        let path = paths.entry(format!("{PREFIX}{}", route.path)).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.to_ascii_lowercase(), operation);
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "CrossModel admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Keys, accounts, operators' credentials and the state of a gateway. Within `/admin/v1`, fields and routes are only added.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:9090" }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": generator.take_definitions(true),
        },
    });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": responses(route, generator),
        "security": [],
    });
    if let Some(role) = route.role {
        operation["security"] = json!([{ "token": [] }]);
        operation["x-crossmodel-role"] = json!(role.name());
    }
    if let Some(schema) = route.request {
        let example = example(route.id).request;
        let content = json!({ "application/json": { "schema": schema(generator), "example": example } });
        operation["requestBody"] = json!({ "content": content });
    }
    operation
}

fn parameters(route: &Route) -> Value {
    let text = json!({ "type": "string" });
    let mut all = Vec::new();
    if route.path.contains("{id}") {
        all.push(json!({ "name": "id", "in": "path", "required": true, "schema": text }));
    }
    for Parameter(name, meaning) in route.parameters {
        let schema = match *name {
            "limit" => json!({ "type": "integer", "minimum": 1, "maximum": 1_000 }),
            "deleted" => json!({ "type": "boolean" }),
            _ => text.clone(),
        };
        all.push(json!({ "name": name, "in": "query", "description": meaning, "schema": schema }));
    }
    if matches!(route.method, "PATCH" | "PUT" | "DELETE") {
        let meaning = "The version that the object must have.";
        all.push(json!({ "name": "If-Match", "in": "header", "description": meaning, "schema": text }));
    }
    if route.method == "POST" && route.is_change() {
        let meaning = "The request's own name: a request that is repeated with it has its effect once.";
        all.push(
            json!({ "name": "Idempotency-Key", "in": "header", "description": meaning, "schema": text }),
        );
    }
    Value::Array(all)
}

/// Returns the errors that all operations like this one can have.
fn common_errors(route: &Route) -> impl Iterator<Item = &'static Code> {
    let guarded: &'static [Code] = &[Code::Unauthorized, Code::Forbidden, Code::RateLimited];
    let with_body: &'static [Code] = &[Code::TooLarge, Code::UnsupportedMediaType];
    let changes: &'static [Code] = &[Code::Draining];
    let when = |holds: bool, codes: &'static [Code]| if holds { codes } else { &[] };
    let all = [
        when(route.role.is_some(), guarded),
        when(route.request.is_some(), with_body),
        when(route.is_change(), changes),
        &[Code::InvalidRequest, Code::StoreUnavailable][..],
    ];
    all.into_iter().flatten()
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let mut success = json!({ "description": "Success" });
    if let Some(schema) = route.answer {
        let example = example(route.id).answer;
        success["content"] =
            json!({ "application/json": { "schema": schema(generator), "example": example } });
    }
    if route.has_csv {
        success["content"]["text/csv"] = json!({ "schema": { "type": "string" }, "example": CSV });
    }
    responses.insert(route.status.to_string(), success);
    let error = generator.subschema_for::<ErrorBody>();
    let mut statuses: std::collections::BTreeMap<u16, Vec<&str>> = std::collections::BTreeMap::new();
    for code in route.errors.iter().chain(common_errors(route)) {
        let (name, status) = code.parts();
        let names = statuses.entry(status).or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for (status, names) in statuses {
        let example = examples::error(names.first().unwrap_or(&""));
        let content = json!({ "application/json": { "schema": error, "example": example } });
        responses.insert(status.to_string(), json!({ "description": names.join(", "), "content": content }));
    }
    let example = examples::error(Code::Internal.parts().0);
    let content = json!({ "application/json": { "schema": error, "example": example } });
    responses.insert("default".to_owned(), json!({ "description": "Another error", "content": content }));
    Value::Object(responses)
}

const CSV: &str = "start,account,key,key_name,model,provider,requests,successes,input_tokens,cache_read_tokens,\
    cache_write_tokens,output_tokens,cost_usd\r\n";
