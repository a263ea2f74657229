//! The body of a provider's answer, without the content encoding that it may have although none was asked for.

use bytes::Bytes;
use pingora::{Error, ErrorType};

use crate::edge::request::decode::{BodyDecoder, ContentEncoding};
use crate::edge::upstream::connection::Connection;
use crate::failure::{Failure, Result};

/// An answer whose head was read, and the connection on which it arrives.
pub(in crate::edge) struct AnswerBody {
    pub(in crate::edge) provider: Connection,
    /// Absent if the body is not encoded, or has ended.
    decoder: Option<BodyDecoder>,
}

impl AnswerBody {
    /// The body that follows on this connection.
    ///
    /// # Errors
    /// Returns 500 if there is no memory for a decoder.
    pub(in crate::edge) fn new(provider: Connection, encoding: Option<ContentEncoding>) -> Result<Self> {
        let decoder = encoding.map(ContentEncoding::decoder).transpose()?;
        Ok(Self { provider, decoder })
    }

    /// Reads the next part of the body; nothing at its end. It may be dropped and begun anew.
    ///
    /// # Errors
    /// Fails if the connection is over before the body is, or silent for too long, or if the body is damaged.
    pub(in crate::edge) async fn read(&mut self) -> pingora::Result<Option<Bytes>> {
        loop {
            let part = self.provider.read_response_body().await?;
            if self.decoder.is_none() {
                return Ok(part);
            }
            let decoded = self.decode(part).map_err(|failure| damaged(&failure))?;
            if !decoded.is_empty() || self.decoder.is_none() {
                return Ok(Some(decoded).filter(|decoded| !decoded.is_empty()));
            }
        }
    }

    /// Returns what a part stands for. Without a part, the body has ended.
    fn decode(&mut self, part: Option<Bytes>) -> Result<Bytes> {
        let mut decoded = Vec::new();
        let mut take = |bytes: &[u8]| {
            decoded.extend_from_slice(bytes);
            Ok(())
        };
        match (&mut self.decoder, part) {
            (Some(decoder), Some(part)) => decoder.push(&part, &mut take)?,
            (decoder, _) => decoder.take().map_or(Ok(()), |decoder| decoder.finish(&mut take))?,
        }
        Ok(decoded.into())
    }
}

fn damaged(failure: &Failure) -> Box<Error> {
    let why = failure.detail().unwrap_or_else(|| failure.message()).to_owned();
    Error::explain(ErrorType::ReadError, format!("an answer's content encoding: {why}"))
}
