//! Keys.

use crate::admin::api::call::{Call, Reply};
use crate::admin::error::OperationResult;
use crate::admin::model::{Key, KeyPatch, NewKey, Rotation};
use crate::admin::ops::KeyFilter;

pub(in crate::admin::api) fn list(call: &mut Call<'_>) -> OperationResult<Reply> {
    let query = &call.query;
    let filter = KeyFilter {
        account: query.text("account"),
        status: query.text("status"),
        state: query.text("state"),
        origin: query.text("origin"),
        expires_before: query.parsed("expires_before", "a time")?,
        text: query.text("q"),
        deleted: query.parsed("deleted", "true or false")?.unwrap_or_default(),
    };
    Reply::new(200, &call.operations.keys(&filter, &query.page()?)?)
}

pub(in crate::admin::api) fn create(call: &mut Call<'_>) -> OperationResult<Reply> {
    let new: NewKey = call.body()?;
    let key = call.operations.create_key(&call.intent, &new)?;
    let models = new.models.iter().flatten().map(String::as_str);
    let warnings = warnings(call, models.chain(new.aliases.iter().map(|(_, model)| model)));
    reply(201, Key { warnings, ..key })
}

pub(in crate::admin::api) fn show(call: &mut Call<'_>) -> OperationResult<Reply> {
    reply(200, call.operations.key(call.id)?)
}

pub(in crate::admin::api) fn update(call: &mut Call<'_>) -> OperationResult<Reply> {
    let patch: KeyPatch = call.body()?;
    let key = call.operations.update_key(&call.intent, call.id, &patch)?;
    let models = patch.models.iter().flatten().flatten();
    let aliases = patch.aliases.iter().flatten().flat_map(|aliases| aliases.values().flatten());
    let warnings = warnings(call, models.chain(aliases).map(String::as_str));
    reply(200, Key { warnings, ..key })
}

pub(in crate::admin::api) fn delete(call: &mut Call<'_>) -> OperationResult<Reply> {
    call.operations.delete_key(&call.intent, call.id)?;
    Ok(Reply::empty())
}

pub(in crate::admin::api) fn rotate(call: &mut Call<'_>) -> OperationResult<Reply> {
    let rotation: Rotation = call.body()?;
    reply(200, call.operations.rotate_key(&call.intent, call.id, &rotation)?)
}

pub(in crate::admin::api) fn find(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &call.operations.find_keys(&call.body()?)?)
}

fn reply(status: u16, key: Key) -> OperationResult<Reply> {
    Ok(Reply::new(status, &key)?.with_etag(&key.etag).with_secret(key.secret))
}

/// Lists the models that the gateway does not serve. They may be added later.
fn warnings<'n>(call: &Call<'_>, models: impl Iterator<Item = &'n str>) -> Vec<String> {
    let Some(view) = call.view else { return Vec::new() };
    let unknown = models.filter(|model| !view.serves(model));
    unknown.map(|model| format!("no model matches '{model}'")).collect()
}
