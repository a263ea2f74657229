//! Events in short, for tests.

use crate::canon::{Args, Event, Seal};

/// An event in short.
pub(super) fn note(event: &Event<'_>) -> String {
    match event {
        Event::Start { id, created } => {
            format!("start {} {}", id.as_deref().unwrap_or("-"), created.unwrap_or(0))
        }
        Event::Tier(tier) => format!("tier {tier}"),
        Event::Text(text) => text.decode().into_owned(),
        Event::Logprobs(raw) => format!("logprobs {}", raw.get()),
        Event::Refusal(text) => format!("refusal {}", text.decode()),
        Event::Thought(text) => format!("thought {}", text.decode()),
        Event::Seal(Seal::Encrypted { id, content, summary }) => format!(
            "seal {} {} {}",
            id.as_ref().map_or("-", |id| id.raw()),
            content.raw(),
            summary.as_ref().map_or("-", |summary| summary.get())
        ),
        Event::Cite(cite) => format!("cite {} {} {:?}", cite.url.raw(), cite.title.raw(), cite.span),
        Event::Open { key, id, namespace, name, custom } => {
            let space = namespace.as_deref().map(|space| format!("{space}/")).unwrap_or_default();
            format!("open {key} {id} {space}{name}{}", if *custom { "!" } else { "" })
        }
        Event::Args { key, part: Args::Lit(text) } => format!("args {key} {}", text.decode()),
        Event::Args { key, part: Args::Raw(raw) } => format!("object {key} {}", raw.get()),
        Event::Close(Some(key)) => format!("close {key}"),
        Event::Close(None) => "close".to_owned(),
        Event::Break => "break".to_owned(),
        Event::Usage(part) => format!("usage {:?} {:?}", part.input, part.output),
        Event::Finish(finish) => format!("{finish:?}"),
        Event::Fail(error) => format!("fail {} {}", error.code.as_deref().unwrap_or("-"), error.message),
        other => format!("{other:?}"),
    }
}
