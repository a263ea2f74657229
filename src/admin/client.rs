//! The client of the API, for commands: the same requests at a store and at a running gateway.

use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::RateLimits;

use super::api::{Answer, Api, Peer, Request};
use super::error::{Code, Mistake, OperationError, OperationResult};
use super::model::{ErrorBody, List};

/// A client of the API.
#[derive(Debug)]
pub struct Client {
    transport: Box<dyn Transport>,
}

/// The way to the API: the store itself, or a running gateway.
pub trait Transport: std::fmt::Debug {
    /// Answers a request.
    ///
    /// # Errors
    /// Fails if there is no answer.
    fn answer(&self, request: &Request) -> OperationResult<Answer>;
}

impl Transport for Api {
    fn answer(&self, request: &Request) -> OperationResult<Answer> {
        Ok(Self::answer(self, request))
    }
}

impl Client {
    /// Makes a client of the store in a data folder, for which no gateway tells the rate limits of new keys.
    #[must_use]
    pub fn of_store(folder: &Path, key_defaults: RateLimits) -> Self {
        Self::of_gateway(Api::new(folder, None).with_key_defaults(key_defaults))
    }

    /// Makes a client of the store in a data folder that changes nothing.
    #[must_use]
    pub fn of_store_to_read(folder: &Path) -> Self {
        Self::of_gateway(Api::to_read(folder))
    }

    /// Makes a client of a running gateway.
    #[must_use]
    pub fn of_gateway(transport: impl Transport + 'static) -> Self {
        Self { transport: Box::new(transport) }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// Fails with the API's error.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> OperationResult<T> {
        object(&self.request("GET", path, Vec::new())?)
    }

    /// Reads an answer that is not JSON.
    ///
    /// # Errors
    /// Fails with the API's error.
    pub fn bytes(&self, path: &str) -> OperationResult<Vec<u8>> {
        self.request("GET", path, Vec::new()).map(|answer| answer.body)
    }

    /// Reads all pages of a list, oldest first. `query` is empty or ends with `&`.
    ///
    /// # Errors
    /// Fails with the API's error.
    pub fn list<T: DeserializeOwned>(&self, path: &str, query: &str) -> OperationResult<Vec<T>> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page: List<T> = self.get(&format!("{path}?{query}limit={PAGE}{cursor}"))?;
            all.extend(page.data);
            let Some(next) = page.next_cursor else { break };
            cursor = format!("&cursor={next}");
        }
        all.reverse();
        Ok(all)
    }

    /// Sends an object with a method, and reads another one.
    ///
    /// # Errors
    /// Fails with the API's error.
    pub fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &impl Serialize,
    ) -> OperationResult<T> {
        let body = serde_json::to_vec(body).map_err(|error| unreadable(&error))?;
        object(&self.request(method, path, body)?)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// Fails with the API's error.
    pub fn delete(&self, path: &str) -> OperationResult<()> {
        self.request("DELETE", path, Vec::new()).map(drop)
    }

    fn request(&self, method: &str, path: &str, body: Vec<u8>) -> OperationResult<Answer> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            authorization: None,
            content_type: None,
            if_match: None,
            idempotency_key: None,
            body,
            peer: Peer::Command,
        };
        let answer = self.transport.answer(&request)?;
        if answer.status < 300 { Ok(answer) } else { Err(error(&answer)) }
    }
}

/// Makes the path of an object.
#[must_use]
pub fn object_path(list: &str, id: &str) -> String {
    format!("{list}/{}", encoded(id))
}

/// Encodes a text for a path or a query.
#[must_use]
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn object<T: DeserializeOwned>(answer: &Answer) -> OperationResult<T> {
    serde_json::from_slice(&answer.body).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> OperationError {
    OperationError::new(Code::Internal, format!("the answer of the gateway cannot be read: {error}"))
}

fn error(answer: &Answer) -> OperationError {
    let Ok(ErrorBody { error }) = serde_json::from_slice(&answer.body) else {
        return OperationError::new(
            Code::Internal,
            format!("the gateway answered with status {}", answer.status),
        );
    };
    let details =
        error.details.into_iter().map(|detail| Mistake { param: detail.param, message: detail.message });
    OperationError { code: Code::named(&error.code), message: error.message, details: details.collect() }
}

/// The objects of a page.
const PAGE: u32 = 1_000;
