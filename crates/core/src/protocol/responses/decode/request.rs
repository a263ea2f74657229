//! Decoding of a client's request.

use crate::canon::{CacheParts, Extra, Losses, ProtocolId, Request, Target, Text, not_carried};
use crate::failure::{Failure, Kind, Result};
use crate::json::Document;
use crate::protocol::field;
use crate::protocol::node::Node;

use super::message::InputReader;
use super::{configuration, content, tools};
use crate::protocol::pick::members_or_losses;
use crate::protocol::responses::fields::FIELDS;

/// Reads a request that goes to `target`.
pub(in crate::protocol::responses) fn read<'a>(
    document: &Document<'a>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Request<'a>> {
    let mut reader =
        ResponsesRequestReader { request: Request::default(), target, losses, later: LateMembers::default() };
    let root = Node::of(document);
    root.members(|name, node| reader.member(name, &node))?;
    reader.finish(&root)
}

struct ResponsesRequestReader<'r, 'a> {
    request: Request<'a>,
    target: &'r Target<'r>,
    losses: &'r mut Losses,
    later: LateMembers<'a>,
}

/// Members that are read after all others, because their order does not matter.
#[derive(Default)]
struct LateMembers<'a> {
    instructions: Option<&'a str>,
    input: Option<&'a str>,
    tools: Option<&'a str>,
    include: Option<&'a str>,
    top_logprobs: Option<&'a str>,
    user: Option<&'a str>,
    safety_identifier: Option<&'a str>,
    /// Whether marks for the prompt cache mean a long life unless they say otherwise.
    long: bool,
    /// Whether only reasoning since the last message of the user counts.
    current_turn: bool,
}

impl<'a> ResponsesRequestReader<'_, 'a> {
    fn member(&mut self, name: &str, node: &Node<'a, '_>) -> Result<()> {
        let request = &mut self.request;
        match name {
            "input" => self.later.input = Some(node.text),
            "instructions" => self.later.instructions = Some(node.text),
            "tools" => self.later.tools = Some(node.text),
            "include" => self.later.include = Some(node.text),
            "top_logprobs" => self.later.top_logprobs = Some(node.text),
            "user" => self.later.user = Some(node.text),
            "safety_identifier" => self.later.safety_identifier = Some(node.text),
            "stream" => request.stream = node.bool()?,
            "stream_options" => self.stream_options(node)?,
            "max_output_tokens" => match node.count()? {
                0 => return Err(node.wrong("a number above zero")),
                count => request.max_output = Some(count),
            },
            "temperature" => request.samplers.temperature = Some(node.number()?),
            "top_p" => request.samplers.top_p = Some(node.number()?),
            "tool_choice" => request.choice = Some(tools::choice(node, self.losses)?),
            "parallel_tool_calls" => request.parallel = Some(node.bool()?),
            "service_tier" => request.tier = Some(node.string()?),
            "text" => self.text(node)?,
            "reasoning" => self.reasoning(node)?,
            "image" => node.members(|_, member| self.losses.drop(&member.path))?,
            "previous_response_id" | "conversation" if node.text != "\"\"" => {
                return Err(stateful(node, HISTORY));
            }
            "prompt" => return Err(stateful(node, STORED)),
            "background" if node.bool()? => return Err(stateful(node, IN_BACKGROUND)),
            "prompt_cache_key" | "prompt_cache_retention" | "prompt_cache_options" => {
                self.prompt_cache(name, node)?;
            }
            name => field::take(FIELDS, name, node, self.target, request, self.losses)?,
        }
        Ok(())
    }

    fn stream_options(&mut self, node: &Node<'a, '_>) -> Result<()> {
        node.members(|key, value| match (key, value.text) {
            ("include_obfuscation", "false") => Ok(()),
            _ => self.losses.drop(&value.path),
        })
    }

    fn text(&mut self, node: &Node<'a, '_>) -> Result<()> {
        let [form, verbosity] = members_or_losses(node, ["format", "verbosity"], &[], self.losses)?;
        if let Some(form) = form {
            self.request.format = configuration::format(&node.at("format", form), self.losses)?;
        }
        let Some(verbosity) = verbosity else { return Ok(()) };
        let verbosity = node.at("verbosity", verbosity);
        if self.target.protocol == ProtocolId::Chat && self.target.profile.is_openai {
            self.request.verbosity = Some(verbosity.json_str()?);
            return Ok(());
        }
        self.losses.drop(&verbosity.path)
    }

    fn reasoning(&mut self, node: &Node<'a, '_>) -> Result<()> {
        let names = ["effort", "summary", "generate_summary", "context", "mode"];
        let [effort, summary, older, context, mode] = members_or_losses(node, names, &[], self.losses)?;
        let thinking = &mut self.request.thinking;
        if let Some(text) = effort {
            configuration::effort(&node.at("effort", text), thinking)?;
        }
        if summary.or(older).is_some_and(|summary| !matches!(summary, "\"none\"" | "\"\"")) {
            thinking.show = Some(true);
        }
        match context {
            None | Some("\"auto\"" | "\"all_turns\"") => {}
            Some("\"current_turn\"") => self.later.current_turn = true,
            Some(context) => self.losses.drop(&node.at("context", context).path)?,
        }
        if let Some(mode) = mode {
            let mode = node.at("mode", mode);
            if mode.text == "\"pro\"" {
                return Err(not_carried(mode.path.to_string()));
            }
            self.losses.drop(&mode.path)?;
        }
        Ok(())
    }

    /// Takes options of OpenAI's own prompt cache: they are forwarded to providers that have it, and mean little
    /// elsewhere.
    fn prompt_cache(&mut self, name: &str, node: &Node<'a, '_>) -> Result<()> {
        let is_options = name == "prompt_cache_options";
        if is_options {
            self.later.long = content::is_long(node.text).unwrap_or_default();
            refuse_state(node)?;
        }
        let profile = self.target.profile;
        if self.target.protocol == ProtocolId::Chat && profile.cache_parts == CacheParts::OpenaiBreakpoint {
            self.request.extra.push(Extra { name: name.to_owned().into(), value: node.raw()? });
            return Ok(());
        }
        if is_options {
            return node.members(|key, value| match key {
                "ttl" | "prewarm" => Ok(()),
                _ => self.losses.drop(&value.path),
            });
        }
        field::take(FIELDS, name, node, self.target, &mut self.request, self.losses)
    }

    fn finish(mut self, root: &Node<'a, '_>) -> Result<Request<'a>> {
        let node = |name: &'static str, text: &'a str| root.at(name, text);
        if let Some(text) = self.later.tools {
            tools::read(&node("tools", text), &mut self.request.tools, self.losses)?;
        }
        if let Some(text) = self.later.instructions {
            let text = node("instructions", text).json_str()?;
            self.request.system.extend(Some(Text::new(text)).filter(|text| !text.text.is_empty()));
        }
        if let Some(text) = self.later.input {
            let long = self.later.long;
            InputReader {
                request: &mut self.request,
                losses: self.losses,
                target: self.target,
                long,
                gone: Vec::new(),
                trigger: None,
            }
            .read(&node("input", text))?;
        }
        if self.later.current_turn {
            configuration::forget_reasoning(&mut self.request);
        }
        if self.request.turns.is_empty() && self.request.system.is_empty() {
            let message = "'input' must be a text or a list of items.";
            return Err(Failure::new(Kind::InvalidMessages, message).with_param("input"));
        }
        self.logprobs(&node)?;
        let user = self.later.safety_identifier.map(|text| node("safety_identifier", text));
        let user = user.or_else(|| self.later.user.map(|text| node("user", text)));
        self.request.user = user.map(|user| user.string()).transpose()?.filter(|user| !user.is_empty());
        if self.target.protocol == ProtocolId::Chat {
            // Reasoning that a Chat provider returns is meant to be read.
            self.request.thinking.show = Some(true);
        }
        Ok(self.request)
    }

    fn logprobs<'n>(&mut self, node: &dyn Fn(&'static str, &'a str) -> Node<'a, 'n>) -> Result<()> {
        let mut wanted = None;
        if let Some(text) = self.later.include {
            node("include", text).items(|item| {
                match item.string()?.as_ref() {
                    "reasoning.encrypted_content" => self.request.thinking.is_carried = true,
                    "message.output_text.logprobs" => wanted = Some(item.path.to_string()),
                    _ => self.losses.drop(&item.path)?,
                }
                Ok(())
            })?;
        }
        let count = match self.later.top_logprobs {
            Some(text) => node("top_logprobs", text).count()?,
            None => 0,
        };
        if count > 0 {
            wanted = Some("top_logprobs".to_owned());
        }
        match wanted {
            Some(path) if self.target.protocol == ProtocolId::Messages => Err(not_carried(path)),
            wanted => {
                self.request.logprobs = wanted.map(|_| count);
                Ok(())
            }
        }
    }
}

/// Refuses options of the cache that are calls of their own, or refer to another one.
fn refuse_state(options: &Node<'_, '_>) -> Result<()> {
    options.members(|key, value| match (key, value.text) {
        ("prewarm", "true") | ("comparison_response_id", _) => Err(not_carried(value.path.to_string())),
        _ => Ok(()),
    })
}

fn stateful(node: &Node<'_, '_>, why: &str) -> Failure {
    let path = node.path.to_string();
    Failure::new(Kind::UnsupportedState, format!("'{path}' is not supported: {why}")).with_param(path)
}

const HISTORY: &str = "nothing is stored; send the full conversation in `input`.";
const STORED: &str = "there are no stored prompts; send the prompt itself in `input` and `instructions`.";
const IN_BACKGROUND: &str = "answers are given at once; send the request without it.";

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
