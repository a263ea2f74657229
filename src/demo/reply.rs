//! The content of an answer, before it is written in a protocol.
//!
//! Comes in: a request and its directives. Goes out: the blocks of the answer (reasoning, text, a tool call),
//! each in the deltas a stream sends it in, and what they cost. Unary answers and streams of all protocols
//! are written from this, so they carry the same content.

use std::fmt::Write;

use super::directive::{Directives, MAX_DELTA_BYTES};
use super::request::{AnswerFormat, CallableFunction, DemoRequest};
use super::{json, schema};

/// An answer, independent of a protocol.
pub(super) struct DemoReply<'a> {
    pub(super) request: &'a DemoRequest<'a>,
    /// The model that answers, with a date like that of real providers' models.
    pub(super) model: String,
    pub(super) usage: Option<ReplyUsage>,
    /// Whether a chat stream ends with its end mark.
    pub(super) done: bool,
    /// Whether the answer ends as if a limit of tokens had been reached.
    pub(super) limit: bool,
    text: Option<String>,
    calls: Vec<ReplyCall<'a>>,
}

impl<'a> DemoReply<'a> {
    /// Makes up the answer. `said` is the user's text without the directives, `fallback` the model where the
    /// request names none.
    pub(super) fn new(
        request: &'a DemoRequest<'a>,
        directives: &Directives,
        said: &str,
        fallback: &str,
    ) -> Self {
        let most = if directives.no_tools { 0 } else { directives.calls.unwrap_or(1) };
        let functions = request.tools.iter().take(most).enumerate();
        let calls: Vec<_> = functions.map(|(index, function)| ReplyCall::new(index, function)).collect();
        let text = (calls.is_empty() || directives.text()).then(|| text(request, directives, said));
        let model = format!("{}-2026-01-01", request.wire.model.as_deref().unwrap_or(fallback));
        let (done, limit) = (!directives.no_done, directives.limit);
        let mut reply = Self { request, model, usage: None, done, limit, text, calls };
        reply.usage = (!directives.no_usage).then(|| ReplyUsage::of(&reply));
        reply
    }

    /// Returns the blocks in the order in which they are sent.
    pub(super) fn blocks(&self) -> impl Iterator<Item = ReplyBlock<'_>> {
        let reasoning = self.request.reasoning.then_some(ReplyBlock::Reasoning(REASONING));
        let text = self.text.as_deref().map(ReplyBlock::Text);
        reasoning.into_iter().chain(text).chain(self.calls.iter().map(ReplyBlock::Call))
    }

    /// Returns the tool calls. Whether there are any decides how the answer ends.
    pub(super) fn calls(&self) -> &[ReplyCall<'a>] {
        &self.calls
    }

    /// Returns the text, if there is one.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Returns an id with the prefix of its kind.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.request.hash)
    }

    /// Returns the id of a call: that of the answer and, from the second call on, its number.
    pub(super) fn call_id(&self, prefix: &str, call: &ReplyCall<'_>) -> String {
        match call.index {
            0 => self.id(prefix),
            index => format!("{}_{index}", self.id(prefix)),
        }
    }

    /// Returns the stand-in for the provider's secret form of the reasoning.
    pub(super) fn seal(&self) -> String {
        self.id("EqDemo00")
    }
}

/// A part of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReplyBlock<'r> {
    /// Thoughts.
    Reasoning(&'r str),
    /// Words for the user.
    Text(&'r str),
    /// A tool call.
    Call(&'r ReplyCall<'r>),
}

impl<'r> ReplyBlock<'r> {
    /// Returns the pieces in which a stream sends the block: words, or parts of the arguments. After
    /// [`MOST_DELTAS`] words, the rest is one piece.
    pub(super) fn deltas(self) -> impl Iterator<Item = &'r str> {
        let (words, parts) = match self {
            Self::Reasoning(text) | Self::Text(text) => (text, [""; 3]),
            Self::Call(call) => ("", call.parts()),
        };
        let end = words.match_indices(' ').nth(MAX_DELTA_COUNT).map_or(words.len(), |(at, _)| at);
        let (words, rest) = split(words, end);
        let parts = parts.into_iter().chain([rest]).filter(|part| !part.is_empty());
        words.split_inclusive(' ').chain(parts)
    }
}

/// A call of the client's tool.
#[derive(Debug)]
pub(super) struct ReplyCall<'a> {
    pub(super) index: usize,
    pub(super) name: &'a str,
    /// A JSON object as text.
    pub(super) arguments: String,
}

impl<'a> ReplyCall<'a> {
    fn new(index: usize, function: &'a CallableFunction<'a>) -> Self {
        Self { index, name: &function.name, arguments: schema::sample(function.parameters) }
    }

    /// Returns the arguments in three parts of about the same size.
    fn parts(&self) -> [&str; 3] {
        let third = self.arguments.len().div_ceil(3);
        let (first, rest) = split(&self.arguments, third);
        let (second, last) = split(rest, third);
        [first, second, last]
    }
}

/// The tokens of an answer; those of the prompt include the cached ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplyUsage {
    pub(super) prompt: usize,
    pub(super) cached: usize,
    pub(super) completion: usize,
    pub(super) reasoning: usize,
}

impl ReplyUsage {
    fn of(reply: &DemoReply<'_>) -> Self {
        let prompt = prompt_tokens(reply.request);
        let reasons = |block: &ReplyBlock<'_>| matches!(block, ReplyBlock::Reasoning(_));
        Self {
            prompt,
            cached: if prompt >= 8 { prompt / 2 } else { 0 },
            completion: reply.blocks().flat_map(ReplyBlock::deltas).count(),
            reasoning: reply.blocks().filter(reasons).flat_map(ReplyBlock::deltas).count(),
        }
    }
}

/// Returns the tokens that the prompt is taken to have.
pub(super) fn prompt_tokens(request: &DemoRequest<'_>) -> usize {
    request.body.len().div_ceil(4)
}

fn text(request: &DemoRequest<'_>, directives: &Directives, said: &str) -> String {
    if directives.body {
        let end = request.body.len().min(MAX_DELTA_BYTES);
        return String::from_utf8_lossy(request.body.get(..end).unwrap_or_default()).into_owned();
    }
    let text = match (directives.huge, directives.words) {
        (Some(bytes), _) => "x".repeat(bytes),
        (None, Some(words)) => count(words),
        (None, None) if directives.quote => echo(request, said),
        (None, None) => formatted(request, echo(request, said)),
    };
    if directives.quote { format!("{QUOTE}{text}") } else { text }
}

fn echo(request: &DemoRequest<'_>, said: &str) -> String {
    if let Some(result) = &request.conversation.result {
        return format!("The tool answered: {}", cut(result));
    }
    match request.conversation.images {
        0 => format!("You said: {}", cut(said)),
        1 => format!("You said: {} (1 image seen)", cut(said)),
        many => format!("You said: {} ({many} images seen)", cut(said)),
    }
}

fn formatted(request: &DemoRequest<'_>, echo: String) -> String {
    match request.format {
        AnswerFormat::Text => echo,
        AnswerFormat::Object => {
            String::from_utf8(json::body(|o| o.text("answer", &echo).done())).unwrap_or_default()
        }
        AnswerFormat::Schema(schema) => schema::sample(schema),
    }
}

fn count(words: usize) -> String {
    let mut text = String::new();
    for word in 0..words {
        let blank = if word > 0 { " " } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{blank}word{word}");
    }
    text
}

fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(MAX_ECHO_CHARS).map_or(text.len(), |(end, _)| end);
    split(text, end).0
}

/// Splits a text at a byte, or before the character that the byte is in.
fn split(text: &str, place: usize) -> (&str, &str) {
    text.split_at(text.floor_char_boundary(place))
}

/// The reasoning of every answer.
const REASONING: &str = "The user wants an echo.";
/// A text that looks like the member that a gateway rewrites.
const QUOTE: &str = r#"{"model":"quoted-model"} \"model\":\"x\" "#;
/// The most words in which a block is sent. Each of them becomes an event, which is far larger.
const MAX_DELTA_COUNT: usize = 10_000;
/// The most characters of the last user message that are repeated.
const MAX_ECHO_CHARS: usize = 2_000;

/// The time of every answer: 2026-01-01T00:00:00Z.
pub(super) const CREATED: usize = 1_767_225_600;

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(body: &str, see: impl FnOnce(&DemoReply<'_>) -> T) -> T {
        let request = DemoRequest::read(body.as_bytes()).unwrap();
        let (directives, said) = Directives::read(&request.conversation.user);
        see(&DemoReply::new(&request, &directives, &said, "chat"))
    }

    fn text(body: &str) -> String {
        with(body, |reply| reply.text().unwrap_or("(none)").to_owned())
    }

    fn say(said: &str) -> String {
        format!(r#"{{"input":"{said}"}}"#)
    }

    #[test]
    fn echoes_by_word() {
        let words = with(&say("a b"), |reply| {
            reply.blocks().flat_map(ReplyBlock::deltas).map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(words, ["You ", "said: ", "a ", "b"]);
        assert_eq!(text(&say(&"é".repeat(3_000))), format!("You said: {}", "é".repeat(2_000)));
    }

    #[test]
    fn makes_up_texts() {
        assert_eq!(text(&say("[demo:words=3]")), "word0 word1 word2");
        assert_eq!(text(&say("[demo:huge=4]")), "xxxx");
        assert_eq!(text(&say("a [demo:quote]")), r#"{"model":"quoted-model"} \"model\":\"x\" You said: a"#);
    }

    #[test]
    fn counts_deltas_and_a_quarter_of_the_bytes() {
        let body = r#"{"input":"a b","reasoning":{"effort":"low"}}"#;
        let usage = with(body, |reply| reply.usage.unwrap());
        assert_eq!((usage.prompt, usage.cached), (11, 5));
        assert_eq!((usage.completion, usage.reasoning), (9, 5));
        assert!(with(&say("[demo:no-usage]"), |reply| reply.usage.is_none()));
    }

    #[test]
    fn shows_the_request_and_calls_several_tools() {
        let body = say("[demo:body]");
        assert_eq!(text(&body), body);
        let tools = r#"[{"type":"function","name":"f"},{"type":"function","name":"g"}]"#;
        let body = format!(r#"{{"input":"[demo:calls=2]","tools":{tools},"tool_choice":{{"name":"g"}}}}"#);
        let names = with(&body, |reply| {
            let ids: Vec<_> = reply.calls().iter().map(|call| reply.call_id("c_", call)).collect();
            assert_ne!(ids[0], ids[1]);
            reply.calls().iter().map(|call| call.name.to_owned()).collect::<Vec<_>>()
        });
        assert_eq!(names, ["g", "f"]);
    }

    #[test]
    fn formats() {
        let with_format = |format: &str| format!(r#"{{"input":"a","text":{{"format":{format}}}}}"#);
        assert_eq!(text(&with_format(r#"{"type":"json_object"}"#)), r#"{"answer":"You said: a"}"#);
        let schema =
            r#"{"type":"json_schema","schema":{"required":["n"],"properties":{"n":{"type":"integer"}}}}"#;
        assert_eq!(text(&with_format(schema)), r#"{"n":1}"#);
    }

    #[test]
    fn calls_the_tool_in_three_parts() {
        let call = |said: &str| {
            let body = format!(
                r#"{{"input":"{said}","tools":[{{"type":"function","name":"f","parameters":{{
                "properties":{{"städte":{{"type":"string"}}}}}}}}]}}"#
            );
            with(&body, |reply| {
                let Some(call) = reply.calls().first() else {
                    return (String::new(), reply.text().map(str::to_owned));
                };
                assert_eq!(call.parts().concat(), call.arguments);
                assert!(call.parts().iter().all(|part| !part.is_empty()));
                (call.arguments.clone(), reply.text().map(str::to_owned))
            })
        };
        assert_eq!(call("x"), (r#"{"städte":"demo"}"#.to_owned(), None));
        assert_eq!(call("[demo:words=1]").1.as_deref(), Some("word0"));
        assert_eq!(call("x [demo:no-tools]"), (String::new(), Some("You said: x".to_owned())));
    }
}
