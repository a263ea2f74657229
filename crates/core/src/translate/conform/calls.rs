//! Calls and their results: unique ids, and a result behind each call.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};

use crate::canon::{CallIdSet, Losses, Part, Role, Text, ToolResult, Turn};
use crate::failure::Result;
use crate::json::JsonStr;

/// Gives each call an id of its own, and each result the id of the call before it. Returns the ids that the client
/// knows.
pub(super) fn make_unique(turns: &mut [Turn<'_>]) -> CallIdSet {
    let (known, is_unique) =
        CallIdSet::collect(turns.iter().flat_map(|turn| &turn.parts).filter_map(call_id));
    if !is_unique {
        let mut ids = UniqueIds::default();
        for part in turns.iter_mut().flat_map(|turn| &mut turn.parts) {
            match part {
                Part::Call(call) => ids.call(&mut call.id),
                Part::Result(result) => ids.result(&mut result.id),
                _ => {}
            }
        }
    }
    known
}

fn call_id<'p>(part: &'p Part<'_>) -> Option<&'p str> {
    match part {
        Part::Call(call) => Some(&call.id),
        _ => None,
    }
}

/// The assignment of ids, in the order of the conversation, so that later calls never change earlier ones.
#[derive(Default)]
struct UniqueIds {
    taken: HashSet<String>,
    /// The calls of each id of the client's.
    uses: HashMap<String, IdUses>,
}

/// The calls that share one id of the client's.
#[derive(Default)]
struct IdUses {
    count: u64,
    /// The new ids of calls that wait for their results.
    waiting: VecDeque<String>,
    /// The new id of the call that the last result belongs to.
    last: String,
}

impl UniqueIds {
    fn call(&mut self, id: &mut Cow<'_, str>) {
        let uses = self.uses.entry(id.to_string()).or_default();
        uses.count += 1;
        let mut new = if uses.count == 1 { id.to_string() } else { format!("{id}_{}", uses.count) };
        while self.taken.contains(&new) {
            uses.count += 1;
            new = format!("{id}_{}", uses.count);
        }
        self.taken.insert(new.clone());
        uses.waiting.push_back(new.clone());
        if new != **id {
            *id = Cow::Owned(new);
        }
    }

    fn result(&mut self, id: &mut Cow<'_, str>) {
        let Some(uses) = self.uses.get_mut(&**id) else { return };
        if let Some(next) = uses.waiting.pop_front() {
            uses.last = next;
        }
        if uses.last != **id {
            *id = Cow::Owned(uses.last.clone());
        }
    }
}

/// Puts a result behind each call that has none, and makes a text of each result that no call belongs to: providers
/// refuse a conversation with either of them.
///
/// # Errors
/// Returns 400 in strict mode if there is such a call or result.
pub(super) fn pair(turns: &mut Vec<Turn<'_>>, losses: &mut Losses) -> Result<()> {
    if is_paired(turns) {
        return Ok(());
    }
    let (mut open, mut place) = (OpenCalls::default(), 0);
    for at in 0..turns.len() {
        let Some(turn) = turns.get_mut(at) else { break };
        if turn.role == Role::Assistant {
            open.ask(turn);
            place = at + 1;
            continue;
        }
        open.answer(turn, losses)?;
        if turns.get(at + 1).is_none_or(|next| next.role == Role::Assistant) {
            let missing = open.close(losses)?;
            if let Some(first) = turns.get_mut(place).filter(|_| !missing.is_empty()) {
                first.parts.splice(0..0, missing);
            }
            place = at + 1;
        }
    }
    let missing = open.close(losses)?;
    if !missing.is_empty() {
        turns.push(Turn::new(Role::User, missing));
    }
    Ok(())
}

/// Whether each call has its result in the turns between it and the next turn of the model, and each result its call
/// before them.
fn is_paired(turns: &[Turn<'_>]) -> bool {
    let (mut calls, mut results) = (Vec::new(), Vec::new());
    for run in turns.chunk_by(|one, next| (one.role == Role::Assistant) == (next.role == Role::Assistant)) {
        let is_assistant = run.first().is_some_and(|turn| turn.role == Role::Assistant);
        for part in run.iter().flat_map(|turn| &turn.parts) {
            match part {
                Part::Call(call) => calls.push(&*call.id),
                Part::Result(result) => results.push(&*result.id),
                _ => {}
            }
        }
        if !is_assistant {
            for ids in [&mut calls, &mut results] {
                ids.sort_unstable();
                ids.dedup();
            }
            if calls != results {
                return false;
            }
            calls.clear();
            results.clear();
        }
    }
    calls.is_empty() && results.is_empty()
}

/// The calls of the model's last turns, and those of them that have no result yet.
#[derive(Default)]
struct OpenCalls {
    /// Id, whether it is a freeform tool's, and whether it has a result.
    calls: Vec<(String, bool, bool)>,
    places: HashMap<String, usize>,
}

impl OpenCalls {
    /// Takes a turn of the model.
    fn ask(&mut self, turn: &Turn<'_>) {
        for part in &turn.parts {
            if let Part::Call(call) = part {
                self.places.insert(call.id.to_string(), self.calls.len());
                self.calls.push((call.id.to_string(), call.custom, false));
            }
        }
    }

    /// Takes a turn that may hold results.
    fn answer(&mut self, turn: &mut Turn<'_>, losses: &mut Losses) -> Result<()> {
        let mut strays = Vec::new();
        for (index, part) in turn.parts.iter().enumerate() {
            let Part::Result(result) = part else { continue };
            match self.places.get(&*result.id).and_then(|place| self.calls.get_mut(*place)) {
                Some((.., is_answered)) => *is_answered = true,
                None => strays.push(index),
            }
        }
        if strays.is_empty() {
            return Ok(());
        }
        let parts = std::mem::take(&mut turn.parts);
        for part in parts {
            match part {
                Part::Result(result) if !self.places.contains_key(&*result.id) => {
                    losses.change(&format!("results[{}]", result.id), "text")?;
                    turn.parts.extend(as_text(result));
                }
                part => turn.parts.push(part),
            }
        }
        Ok(())
    }

    /// Ends the run, and returns the results that are missing in it.
    fn close<'a>(&mut self, losses: &mut Losses) -> Result<Vec<Part<'a>>> {
        self.places.clear();
        let mut missing = Vec::new();
        for (id, custom, is_answered) in self.calls.drain(..) {
            if !is_answered {
                losses.change(&format!("calls[{id}].result"), "interrupted")?;
                missing.push(Part::Result(interrupted(id, custom)));
            }
        }
        Ok(missing)
    }
}

fn interrupted(id: String, custom: bool) -> ToolResult<'static> {
    let content = vec![Part::Text(Text::new(JsonStr::plain(INTERRUPTED)))];
    ToolResult { id: Cow::Owned(id), custom, content, is_error: true, cache: None }
}

/// Returns the content of a result as that of a message.
fn as_text<'a>(result: ToolResult<'a>) -> impl Iterator<Item = Part<'a>> {
    let note = JsonStr::of(&format!("[Result of the tool call {}, which is not shown here]", result.id));
    std::iter::once(Part::Text(Text::new(note))).chain(result.content)
}

/// The result of a call that the conversation has none for.
const INTERRUPTED: &str = "The call was interrupted, and its outcome is not known.";

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
