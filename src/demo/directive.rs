//! The directives a user's text may hold, `[demo:verb]` or `[demo:verb=arg]`.
//!
//! Comes in: the text of the last user message. Goes out: what the directives ask for, and the text without
//! them. A verb that is not known, or an argument that cannot be read, asks for nothing; of contradicting
//! directives the last one counts. The table of verbs is in the module's own documentation.

use std::time::Duration;

/// The wishes of the directives in a text.
#[derive(Debug, Default)]
pub(super) struct Directives {
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) html: bool,
    pub(super) fault: Option<InjectedFault>,
    pub(super) wait: Option<Duration>,
    pub(super) slow: Option<Duration>,
    pub(super) words: Option<usize>,
    pub(super) huge: Option<usize>,
    pub(super) chunk: Option<usize>,
    pub(super) crlf: bool,
    pub(super) no_usage: bool,
    pub(super) no_done: bool,
    pub(super) no_tools: bool,
    pub(super) quote: bool,
    pub(super) body: bool,
    pub(super) calls: Option<usize>,
    pub(super) limit: bool,
}

/// The way in which an answer fails after its head, and the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InjectedFault {
    /// The first event is the protocol's error.
    ErrorFirst,
    /// An error event follows so many deltas.
    Error(usize),
    /// The response fails after so many deltas.
    Failed(usize),
    /// The connection is closed after so many deltas, or bytes of a unary body.
    Cut(usize),
    /// The body ends after so many deltas as if it were whole.
    End(usize),
    /// Nothing comes after so many deltas, or bytes of a unary body.
    Stall(usize),
}

impl Directives {
    /// Reads the directives of a text; gives them and the text without them.
    pub(super) fn read(text: &str) -> (Self, String) {
        let mut directives = Self::default();
        let mut text_left = String::new();
        let mut rest = text;
        while let Some((before, directive, after)) = next(rest) {
            text_left.push_str(before);
            directives.add(directive);
            // One of the two blanks around a directive goes with it.
            rest = after.strip_prefix(' ').unwrap_or(after);
        }
        text_left.push_str(rest);
        (directives, text_left.trim().to_owned())
    }

    /// Whether a text is asked for, even if a tool is called.
    pub(super) fn text(&self) -> bool {
        self.words.is_some() || self.huge.is_some() || self.quote || self.body
    }

    fn add(&mut self, directive: &str) {
        let (verb, argument) = directive.split_once('=').unwrap_or((directive, ""));
        let number = argument.trim().parse().ok();
        match verb.trim() {
            "status" => self.status = number.and_then(status).or(self.status),
            "code" => self.code = Some(argument.trim().chars().take(MAX_CODE_CHARS).collect()),
            "html" => self.html = true,
            "wait" => self.wait = number.map(millis).or(self.wait),
            "slow" => self.slow = number.map(millis).or(self.slow),
            "words" => self.words = number.map(|n| n.min(MAX_WORD_COUNT)).or(self.words),
            "huge" => self.huge = number.map(|n| n.min(MAX_DELTA_BYTES)).or(self.huge),
            "chunk" => self.chunk = number.filter(|n| *n > 0).or(self.chunk),
            "crlf" => self.crlf = true,
            "no-usage" => self.no_usage = true,
            "no-done" => self.no_done = true,
            "no-tools" => self.no_tools = true,
            "quote" => self.quote = true,
            "body" => self.body = true,
            "calls" => self.calls = number.filter(|n| *n > 0).map(|n| n.min(MAX_CALL_COUNT)).or(self.calls),
            "limit" => self.limit = true,
            verb => self.fault = fault(verb, number).or(self.fault),
        }
    }
}

/// The text before the next directive, the directive without its brackets, the text after it.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once("[demo:")?;
    let (directive, after) = after.split_once(']')?;
    Some((before, directive, after))
}

fn fault(verb: &str, place: Option<usize>) -> Option<InjectedFault> {
    match verb {
        "error-first" => Some(InjectedFault::ErrorFirst),
        "error" => place.map(InjectedFault::Error),
        "failed" => place.map(InjectedFault::Failed),
        "cut" => place.map(InjectedFault::Cut),
        "end" => place.map(InjectedFault::End),
        "stall" => place.map(InjectedFault::Stall),
        _ => None,
    }
}

/// Returns the number if it is a status of a final answer.
fn status(number: usize) -> Option<u16> {
    u16::try_from(number).ok().filter(|status| (200..600).contains(status))
}

fn millis(number: usize) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(u64::MAX)).min(MAX_WAIT)
}

/// The most words of one answer.
const MAX_WORD_COUNT: usize = 10_000;
/// The most bytes of one delta.
pub(super) const MAX_DELTA_BYTES: usize = 1 << 20;
/// The most tool calls of one answer.
const MAX_CALL_COUNT: usize = 32;
/// The most characters of an error's code.
const MAX_CODE_CHARS: usize = 200;
/// The longest wait before the first byte, or between two events.
const MAX_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_several_markers_and_leaves_the_text() {
        let (directives, text_left) =
            Directives::read("[demo:status=429] say [demo:code=slow_down] hi [demo:sing=1] [x]");
        assert_eq!(directives.status, Some(429));
        assert_eq!(directives.code.as_deref(), Some("slow_down"));
        assert_eq!(text_left, "say hi [x]");
    }

    #[test]
    fn the_last_fault_counts_and_bad_arguments_do_not() {
        assert_eq!(Directives::read("[demo:cut=1][demo:end=2]").0.fault, Some(InjectedFault::End(2)));
        assert_eq!(Directives::read("[demo:cut=1][demo:end=x]").0.fault, Some(InjectedFault::Cut(1)));
        assert_eq!(Directives::read("[demo:error-first]").0.fault, Some(InjectedFault::ErrorFirst));
        assert_eq!(Directives::read("[demo:status=99][demo:chunk=0]").0.status, None);
    }

    #[test]
    fn amounts_have_bounds() {
        let (directives, _) =
            Directives::read("[demo:words=99999999][demo:huge=99999999999][demo:calls=999]");
        assert_eq!((directives.words, directives.huge), (Some(MAX_WORD_COUNT), Some(MAX_DELTA_BYTES)));
        assert_eq!(directives.calls, Some(MAX_CALL_COUNT));
        let (directives, _) =
            Directives::read(&format!("[demo:slow=99999999][demo:code={}]", "x".repeat(9_999)));
        assert_eq!(directives.slow, Some(MAX_WAIT));
        assert_eq!(directives.code.map(|code| code.len()), Some(MAX_CODE_CHARS));
    }

    #[test]
    fn an_open_marker_is_text() {
        assert_eq!(Directives::read("see [demo:cut=1").1, "see [demo:cut=1");
    }
}
