//! The demands of a provider on any request, whatever its protocol.
//!
//! One pass over the canonical request, between the decoder and the encoder, driven by the provider's profile. Calls get
//! ids that are unique in the conversation, each with its result, and the schemas of tools get the form that the
//! provider accepts. Each step looks only at what comes before, so a growing conversation keeps its beginning byte for
//! byte, and the provider finds it in its cache.

mod calls;
mod flatten;
mod properties;
mod schema;

use crate::canon::{CallIdSet, Losses, PropertyNames, ProtocolId, Request, SchemaDialect, Target};
use crate::failure::Result;

/// The facts of a request that the way back needs.
#[derive(Debug)]
pub(super) struct Conformed {
    /// Properties of tools that client and provider know by different names.
    pub(super) properties: PropertyNames,
    /// The ids of the conversation's calls, as the client knows them.
    pub(super) call_ids: CallIdSet,
}

/// Brings a request into the form that its provider accepts.
///
/// # Errors
/// Returns 400 in strict mode if anything is lost or added by that.
pub(super) fn conform(
    request: &mut Request<'_>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Conformed> {
    let call_ids = calls::make_unique(&mut request.turns);
    calls::pair(&mut request.turns, losses)?;
    let dialect = target.profile.tool_schemas.unwrap_or(match target.protocol {
        ProtocolId::Messages => SchemaDialect::Named,
        ProtocolId::Gemini => SchemaDialect::Any,
        _ => SchemaDialect::Explicit,
    });
    let properties = schema::adapt(&mut request.tools, dialect, losses)?;
    properties::rename_history(&mut request.turns, &properties);
    Ok(Conformed { properties, call_ids })
}
