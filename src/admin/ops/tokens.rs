//! Operations on operators' credentials.

use crate::admin::error::{OperationError, OperationResult};
use crate::admin::model::{List, Moment, NewToken, Origin, Token};
use crate::admin::records;
use crate::admin::records::tokens::TokenRecord;
use crate::auth::{AccountScope, Digest, Operator, Secret, random_id};
use crate::store;

use super::operations::{Changed, Intent, Operations, checked, expiry};
use super::page::Page;

impl Operations {
    /// Returns a page of the store's tokens, newest first.
    ///
    /// # Errors
    /// Fails for a wrong cursor, and if the store cannot be read.
    pub fn tokens(&self, page: &Page) -> OperationResult<List<Token>> {
        let rows = records::tokens::list(&self.connection, page.before("tokens")?, page.rows())?;
        page.list("tokens", rows, |token| token.number, |token| Ok(object(token)))
    }

    /// Returns a token of the store.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`](crate::admin::Code::NotFound), and if the store cannot be read.
    pub fn token(&self, id: &str) -> OperationResult<Token> {
        let token = records::tokens::read(&self.connection, id)?;
        token.map(object).ok_or_else(|| OperationError::not_found("token", id))
    }

    /// Returns the operator of the store's token with a secret, unless it has expired.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn identify(&self, secret: &str) -> OperationResult<Option<Operator>> {
        let Some(digest) = Digest::of_operator(secret) else { return Ok(None) };
        let token = records::tokens::by_digest(&self.connection, &digest)?;
        let now = store::now();
        let valid = |token: &TokenRecord| {
            token.digest.same(&digest) && token.expires.is_none_or(|expires| expires > now)
        };
        Ok(token.filter(valid).map(|token| Operator {
            name: token.name,
            role: token.role,
            accounts: AccountScope::new(token.accounts),
        }))
    }

    /// Makes a token. The secret is returned once and cannot be read again.
    ///
    /// # Errors
    /// Fails if the token is wrong, and if the store cannot be written.
    pub fn create_token(&mut self, intent: &Intent<'_>, new: &NewToken) -> OperationResult<Token> {
        checked(new)?;
        self.change(intent, ("token.create", ""), |transaction, now| {
            let secret = Secret::for_operator();
            let token = TokenRecord {
                number: 0,
                id: random_id("tok_"),
                name: new.name.clone(),
                digest: secret.digest(),
                role: new.role,
                accounts: new.accounts.clone(),
                created: now,
                created_by: intent.actor.name.clone(),
                expires: expiry(new.expires_at, new.expires_in, now),
            };
            records::tokens::insert(transaction, &token)?;
            let made = object(token);
            let changed = Changed::new(&made.id, None, (None, Some(&made)), ());
            Ok(changed.with(Token { secret: Some(secret.expose().to_owned()), ..made }))
        })
    }

    /// Deletes a token of the store. It no longer works at once.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`](crate::admin::Code::NotFound), and if the store cannot be written.
    pub fn delete_token(&mut self, intent: &Intent<'_>, id: &str) -> OperationResult<()> {
        self.change(intent, ("token.delete", id), |transaction, _| {
            let token = records::tokens::read(transaction, id)?;
            let token = object(token.ok_or_else(|| OperationError::not_found("token", id))?);
            records::tokens::delete(transaction, id)?;
            Ok(Changed::new(id, None, (Some(&token), None), ()))
        })
    }
}

fn object(token: TokenRecord) -> Token {
    Token {
        object: "token".to_owned(),
        id: token.id,
        name: token.name,
        role: token.role,
        accounts: token.accounts,
        secret: None,
        hint: None,
        origin: Origin::Api,
        created_at: Some(Moment(token.created)),
        created_by: Some(token.created_by),
        expires_at: token.expires.map(Moment),
    }
}
