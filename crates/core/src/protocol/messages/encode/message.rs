//! The conversation in the order that the protocol requires.
//!
//! Turns are split into a flat list, and neighbours of one role become one message again. A run of the model's
//! turns is followed by a run of others, in which the results of the calls come first, in the order of the calls.
//! Each step looks only at earlier turns and its own run. So a growing conversation keeps its beginning byte for
//! byte, and the provider finds it in its cache.

use crate::canon::{Losses, MidSystem, Part, Request, Role, Target, Text, Turn};
use crate::failure::{Failure, Kind, Result};

use super::content::{self, BlockItem};
use super::reasoning;

/// The conversation as a flat list.
#[derive(Debug)]
pub(super) struct MessagePlan<'r, 'a> {
    items: Vec<(Role, BlockItem<'r, 'a>)>,
    /// Blocks of the instructions before the conversation.
    pub(super) system: &'r [Text<'a>],
}

/// A call, and its result when it is found.
struct CallResult<'r, 'a> {
    id: &'r str,
    result: Option<&'r Part<'a>>,
    written: bool,
}

/// The calls of the model's last turns, and their results.
#[derive(Default)]
struct PendingCalls<'r, 'a> {
    order: Vec<&'r str>,
    /// One entry for each id, sorted by id. It is a list because there are nearly always one or two, for which a
    /// map costs too much.
    results: Vec<CallResult<'r, 'a>>,
}

impl<'r, 'a> PendingCalls<'r, 'a> {
    fn clear(&mut self) {
        self.order.clear();
        self.results.clear();
    }

    /// Prepares the search for results of the current calls.
    fn await_results(&mut self) {
        self.results.extend(self.order.iter().map(|id| CallResult { id, result: None, written: false }));
        self.results.sort_unstable_by_key(|found| found.id);
        self.results.dedup_by_key(|found| found.id);
    }
}

/// Returns the entry of the call with this id, in entries that are sorted by id.
fn find<'f, 'r, 'a>(results: &'f mut [CallResult<'r, 'a>], id: &str) -> Option<&'f mut CallResult<'r, 'a>> {
    let place = results.binary_search_by_key(&id, |found| found.id).ok()?;
    results.get_mut(place)
}

impl<'r, 'a> MessagePlan<'r, 'a> {
    /// # Errors
    /// Returns 400 if something cannot be written.
    pub(super) fn new(request: &'r Request<'a>, target: &Target<'_>, losses: &mut Losses) -> Result<Self> {
        let mut builder = PlanBuilder {
            items: Vec::with_capacity(request.turns.iter().map(|turn| turn.parts.len()).sum()),
            late: Vec::new(),
            calls: PendingCalls::default(),
            native: target.caps.mid_system && target.profile.mid_system != Some(MidSystem::UserNote),
        };
        let mut rest = request.turns.as_slice();
        while !rest.is_empty() {
            let (said, others) = rest.split_at(run(rest, true));
            builder.assistant(said, losses)?;
            let (heard, after) = others.split_at(run(others, false));
            builder.others(heard)?;
            rest = after;
        }
        builder.place_late();
        let (mut items, mut system) = (builder.items, request.system.as_slice());
        match items.first() {
            Some((Role::Assistant, _)) => items.insert(0, (Role::User, BlockItem::Dot)),
            Some(_) => {}
            None => {
                if let Some((last, before)) = system.split_last() {
                    items.push((Role::User, BlockItem::Text(last)));
                    system = before;
                }
            }
        }
        Ok(Self { items, system })
    }

    /// Returns the conversation, message by message.
    pub(super) fn messages(&self) -> impl Iterator<Item = &[(Role, BlockItem<'r, 'a>)]> {
        self.items.chunk_by(|(one, _), (next, _)| one == next)
    }

    /// Returns the number of cache marks in the conversation.
    pub(super) fn marks(&self) -> usize {
        self.items.iter().filter(|(_, item)| item.mark().is_some()).count()
    }

    /// Whether it ends with the beginning of the answer. Calls without results are the provider's to refuse.
    pub(super) fn is_prefilled(&self) -> bool {
        let last = self.items.last();
        last.is_some_and(|(role, item)| {
            *role == Role::Assistant && !matches!(item, BlockItem::Part(Part::Call(_)))
        })
    }

    /// Removes blank text from the end of a conversation that the model has to continue.
    ///
    /// # Errors
    /// Returns 400 if the model cannot continue an assistant message.
    pub(super) fn check_prefill(&mut self, possible: bool) -> Result<()> {
        if !self.is_prefilled() {
            return Ok(());
        }
        if !possible {
            let message =
                "This model cannot continue an assistant message: the last message must be the user's.";
            return Err(Failure::new(Kind::Unsupported, message).with_param("messages"));
        }
        while self.items.last().is_some_and(|(role, item)| *role == Role::Assistant && item.is_blank()) {
            self.items.pop();
        }
        Ok(())
    }

    /// Whether thinking goes back to the provider.
    pub(super) fn has_thinking(&self) -> bool {
        self.items.iter().any(|(_, item)| item.is_thinking())
    }

    /// Removes the thinking.
    pub(super) fn remove_thinking(&mut self) {
        self.items.retain(|(_, item)| !item.is_thinking());
    }

    /// Whether a tool loop is going on in which the model called without showing what it thought. A provider that
    /// makes it think with a budget refuses that.
    pub(super) fn called_without_thinking(&self) -> bool {
        for message in self.items.chunk_by(|(one, _), (next, _)| one == next).rev() {
            let has = |wanted: fn(&Part<'_>) -> bool| {
                message.iter().any(|(_, item)| matches!(item, BlockItem::Part(part) if wanted(part)))
            };
            match message.first() {
                Some((Role::Assistant, first)) => {
                    let thought = matches!(first, BlockItem::Part(Part::Reasoning(_)));
                    if !thought && has(|part| matches!(part, Part::Call(_))) {
                        return true;
                    }
                }
                Some((Role::User, _)) if !has(|part| matches!(part, Part::Result(_))) => return false,
                _ => {}
            }
        }
        false
    }
}

/// Returns the number of turns at the beginning that are the model's, or that are not.
fn run(turns: &[Turn<'_>], assistant: bool) -> usize {
    turns.iter().take_while(|turn| (turn.role == Role::Assistant) == assistant).count()
}

/// The construction of the list.
struct PlanBuilder<'r, 'a> {
    items: Vec<(Role, BlockItem<'r, 'a>)>,
    /// Instructions that wait for the end of the user's turn.
    late: Vec<&'r Text<'a>>,
    calls: PendingCalls<'r, 'a>,
    /// Whether instructions may stand in mid-conversation.
    native: bool,
}

impl<'r, 'a> PlanBuilder<'r, 'a> {
    /// Takes a run of the model's turns.
    fn assistant(&mut self, turns: &'r [Turn<'a>], losses: &mut Losses) -> Result<()> {
        self.calls.clear();
        let parts = || turns.iter().flat_map(|turn| &turn.parts);
        let visible = parts().any(is_visible);
        for part in parts() {
            match part {
                Part::Reasoning(thought) if !reasoning::has_blocks(thought) => continue,
                Part::Image(_) | Part::Document(_) => {
                    losses.drop_named("messages.content.image")?;
                    continue;
                }
                Part::Call(call) => self.calls.order.push(&call.id),
                part if is_dropped(part, visible) => continue,
                _ => content::check(part)?,
            }
            self.place_late();
            self.items.push((Role::Assistant, BlockItem::Part(part)));
        }
        self.calls.await_results();
        Ok(())
    }

    /// Takes a run of turns of the user and of tools, and instructions.
    fn others(&mut self, turns: &'r [Turn<'a>]) -> Result<()> {
        let parts = || turns.iter().flat_map(|turn| turn.parts.iter().map(|part| (turn.role, part)));
        self.results(parts().map(|(_, part)| part))?;
        let notes = !self.native;
        let visible = parts().any(|(role, part)| (notes || role == Role::User) && is_visible(part));
        for (role, part) in parts() {
            match part {
                Part::Text(text) if role == Role::System => {
                    if notes && !text.text.is_blank() {
                        self.items.push((Role::User, BlockItem::Note(text)));
                    }
                    continue;
                }
                Part::Result(result) if find(&mut self.calls.results, &result.id).is_some() => continue,
                part if is_dropped(part, visible) => continue,
                _ => content::check(part)?,
            }
            self.place_part(part);
        }
        if self.native {
            self.instructions(turns);
        }
        Ok(())
    }

    /// Takes the results of the calls before, in the order of the calls. If one call has several results, the last
    /// one counts.
    fn results(&mut self, parts: impl Iterator<Item = &'r Part<'a>>) -> Result<()> {
        if self.calls.order.is_empty() {
            return Ok(());
        }
        for part in parts {
            if let Part::Result(result) = part
                && let Some(found) = find(&mut self.calls.results, &result.id)
            {
                found.result = Some(part);
            }
        }
        for id in &self.calls.order {
            let Some(found) = find(&mut self.calls.results, id) else { continue };
            if let Some(part) = found.result
                && !std::mem::replace(&mut found.written, true)
            {
                content::check(part)?;
                self.items.push((Role::User, BlockItem::Part(part)));
            }
        }
        Ok(())
    }

    fn place_part(&mut self, part: &'r Part<'a>) {
        self.items.push((Role::User, BlockItem::Part(part)));
    }

    /// Takes instructions. They may only stand after a complete turn of the user; elsewhere they become notes.
    fn instructions(&mut self, turns: &'r [Turn<'a>]) {
        let system = turns.iter().filter(|turn| turn.role == Role::System).flat_map(|turn| &turn.parts);
        let behind_user = matches!(self.items.last(), Some((Role::User, _)));
        for part in system {
            match part {
                Part::Text(text) if text.text.is_blank() => {}
                Part::Text(text) if behind_user => self.late.push(text),
                Part::Text(text) => self.items.push((Role::User, BlockItem::Note(text))),
                _ => {}
            }
        }
    }

    fn place_late(&mut self) {
        self.items.extend(self.late.drain(..).map(|text| (Role::System, BlockItem::Text(text))));
    }
}

/// Whether it is a part without anything in it. Blank text may stand beside text that can be seen.
fn is_dropped(part: &Part<'_>, visible: bool) -> bool {
    match part {
        Part::Text(text) => text.text.is_empty() || !visible && text.text.is_blank(),
        Part::Refusal(text) => text.is_empty() || !visible && text.is_blank(),
        _ => false,
    }
}

fn is_visible(part: &Part<'_>) -> bool {
    part.is_visible_text() || matches!(part, Part::Refusal(text) if !text.is_blank())
}
