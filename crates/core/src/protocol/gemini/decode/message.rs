//! The conversation of a client's request, as turns.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::canon::{Call, Losses, Part, Role, Target, Turn};
use crate::failure::{Failure, Kind, Result};
use crate::protocol::node::{Node, Type};

use super::{content, lenient};

/// The conversation of a request.
#[derive(Default)]
pub(super) struct Conversation<'a> {
    pub(super) turns: Vec<Turn<'a>>,
    /// The calls of the last turn of the model.
    calls: OpenCalls<'a>,
}

impl<'a> Conversation<'a> {
    /// Reads the content at `place`. Contents of one author in a row are one turn.
    pub(super) fn read(
        &mut self,
        node: &Node<'a, '_>,
        place: usize,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<()> {
        if node.kind() != Type::Object {
            return Err(node.wrong("an object with 'parts'"));
        }
        let (mut role, mut parts) = (Role::User, None);
        lenient::members(node, |name, value| {
            match name {
                "role" => role = self::role(&value)?,
                "parts" => parts = Some(value.text),
                _ => losses.drop(&value.path)?,
            }
            Ok(())
        })?;
        let is_new = self.turns.last().is_none_or(|last| last.role != role);
        if is_new {
            self.turns.push(Turn::new(role, Vec::new()));
        }
        if is_new && role == Role::Assistant {
            self.calls.clear();
        }
        let (Some(turn), Some(parts)) = (self.turns.last_mut(), parts) else { return Ok(()) };
        let mut index = 0;
        lenient::items(&node.at("parts", parts), |part| {
            let known = turn.parts.len();
            let name = content::read(&part, role, target, &mut turn.parts, losses)?;
            for added in turn.parts.get_mut(known..).unwrap_or_default() {
                self.calls.name(added, name.as_deref().unwrap_or_default(), (place, index), &part)?;
            }
            index += 1;
            Ok(())
        })?;
        // Results stand before everything else.
        if turn.parts.iter().any(|part| matches!(part, Part::Result(_))) {
            turn.parts.sort_by_key(|part| !matches!(part, Part::Result(_)));
        }
        Ok(())
    }
}

fn role(node: &Node<'_, '_>) -> Result<Role> {
    match &*node.string()? {
        "model" => Ok(Role::Assistant),
        "" | "user" | "function" | "tool" => Ok(Role::User),
        _ => Err(node.wrong("'user' or 'model'")),
    }
}

/// The calls that wait for their results. The protocol allows calls and results without ids.
#[derive(Default)]
struct OpenCalls<'a> {
    calls: Vec<OpenCall<'a>>,
    by_id: HashMap<Cow<'a, str>, usize>,
    /// The first and the last call of each name.
    by_name: HashMap<Cow<'a, str>, (usize, usize)>,
    /// The first call that may wait.
    first: usize,
}

struct OpenCall<'a> {
    id: Cow<'a, str>,
    is_answered: bool,
    /// The next call of the same name.
    next: Option<usize>,
}

impl<'a> OpenCalls<'a> {
    fn clear(&mut self) {
        self.calls.clear();
        self.by_id.clear();
        self.by_name.clear();
        self.first = 0;
    }

    /// Gives a call its id, or a result that of its call. `tool` is the name that a result tells.
    fn name(
        &mut self,
        part: &mut Part<'a>,
        tool: &str,
        (content, index): (usize, usize),
        node: &Node<'_, '_>,
    ) -> Result<()> {
        match part {
            Part::Call(call) => {
                if call.id.is_empty() {
                    call.id = format!("call_{content}_{index}").into();
                }
                self.add(call);
            }
            Part::Result(result) => {
                let Some(id) = self.answer(&result.id, tool) else {
                    let message =
                        "A 'functionResponse' must answer a 'functionCall' of the content before it.";
                    return Err(
                        Failure::new(Kind::InvalidMessages, message).with_param(node.path.to_string())
                    );
                };
                result.id = id;
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, call: &Call<'a>) {
        let at = self.calls.len();
        self.calls.push(OpenCall { id: call.id.clone(), is_answered: false, next: None });
        self.by_id.insert(call.id.clone(), at);
        let (_, last) = self.by_name.entry(call.name.clone()).or_insert((at, at));
        let before = std::mem::replace(last, at);
        if let Some(before) = self.calls.get_mut(before).filter(|_| before != at) {
            before.next = Some(at);
        }
    }

    /// Returns the id of the call that a result belongs to: the call of its id, else the first one of its name that
    /// waits, else the first one that waits.
    fn answer(&mut self, id: &str, name: &str) -> Option<Cow<'a, str>> {
        let known = self.by_id.get(id).copied();
        let at = known.or_else(|| self.first_named(name)).or_else(|| self.first_waiting())?;
        let call = self.calls.get_mut(at)?;
        call.is_answered = true;
        Some(call.id.clone())
    }

    fn first_named(&mut self, name: &str) -> Option<usize> {
        let (first, _) = self.by_name.get_mut(name)?;
        loop {
            let call = self.calls.get(*first)?;
            if !call.is_answered {
                return Some(*first);
            }
            *first = call.next?;
        }
    }

    fn first_waiting(&mut self) -> Option<usize> {
        while self.calls.get(self.first)?.is_answered {
            self.first += 1;
        }
        Some(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Args;
    use crate::json::Raw;

    #[test]
    fn results_find_their_calls_by_id_by_name_and_by_order() {
        let mut open = OpenCalls::default();
        for (id, name) in [("a", "f"), ("b", "f"), ("c", "g"), ("d", "f")] {
            let args = Args::Raw(Raw::constant("{}"));
            let (id, name) = (id.into(), name.into());
            open.add(&Call { id, namespace: None, name, custom: false, args, extra: None });
        }
        let mut answer = |id, name| open.answer(id, name).map(Cow::into_owned);
        assert_eq!(answer("b", "").as_deref(), Some("b"));
        assert_eq!(answer("", "f").as_deref(), Some("a"));
        assert_eq!(answer("", "f").as_deref(), Some("d"));
        assert_eq!(answer("", "h").as_deref(), Some("c"));
        assert_eq!(answer("", "f"), None);
    }
}
