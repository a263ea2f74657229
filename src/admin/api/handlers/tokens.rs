//! Operators' credentials.

use crate::admin::api::call::{Call, Reply};
use crate::admin::error::{Code, OperationError, OperationResult};
use crate::admin::model::{NewToken, Origin, Token};
use crate::auth::OperatorToken;

pub(in crate::admin::api) fn list(call: &mut Call<'_>) -> OperationResult<Reply> {
    let page = call.query.page()?;
    let mut tokens = call.operations.tokens(&page)?;
    // Those of the file are the oldest.
    if !tokens.has_more {
        let of_file = call.view.map(|view| view.tokens());
        tokens.data.extend(of_file.iter().flat_map(|tokens| tokens.iter().map(declared)));
    }
    Reply::new(200, &tokens)
}

pub(in crate::admin::api) fn create(call: &mut Call<'_>) -> OperationResult<Reply> {
    let new: NewToken = call.body()?;
    let token = call.operations.create_token(&call.intent, &new)?;
    Ok(Reply::new(201, &token)?.with_secret(token.secret))
}

pub(in crate::admin::api) fn show(call: &Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &call.operations.token(call.id)?)
}

pub(in crate::admin::api) fn delete(call: &mut Call<'_>) -> OperationResult<Reply> {
    let of_file = call.view.map(|view| view.tokens());
    if of_file.iter().flat_map(|tokens| tokens.iter()).any(|token| declared(token).id == call.id) {
        let message = "the token stands in the configuration file (`admin.tokens`); remove it there";
        return Err(OperationError::new(Code::ManagedByConfiguration, message));
    }
    call.operations.delete_token(&call.intent, call.id)?;
    Ok(Reply::empty())
}

fn declared(token: &OperatorToken) -> Token {
    Token {
        object: "token".to_owned(),
        id: format!("config:{}", token.name),
        name: token.name.clone(),
        role: token.role,
        accounts: token.accounts.accounts().map(<[String]>::to_vec),
        secret: None,
        hint: None,
        origin: Origin::Config,
        created_at: None,
        created_by: None,
        expires_at: None,
    }
}
