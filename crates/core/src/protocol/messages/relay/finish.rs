//! Why a Messages answer ends.

use crate::canon::Said;
use crate::json::Lenient as _;
use crate::json::{self, Member};

/// Notes why a whole answer, or the one that a `message_delta` belongs to, has ended.
pub(in crate::protocol::messages) fn read(data: &[u8], said: &mut Said) {
    let whole = member(data, "stop_reason");
    let reason = whole.or_else(|| member(member(data, "delta")?.value, "stop_reason"));
    if let Some(reason) = reason.and_then(|reason| reason.text()) {
        said.finish(&reason);
    }
}

fn member<'a>(object: &'a [u8], name: &str) -> Option<Member<'a>> {
    json::members(object).lenient().find(|member| member.is(name))
}
