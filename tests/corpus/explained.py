"""The differences that the rules of translation ask for, or that only the validators see: the table is `ROWS`.

A row holds only where what was made is what the rule makes of the recording, so that nothing else passes under its
name. Sections as B.5 are those of the rules, `protocols.md` beside the validators.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


@dataclass
class Case:
    """A translation, and what it was made of; of a request there is no recorded answer."""

    source: str
    target: str
    recording: bytes
    request: dict
    translation: bytes

    @cached_property
    def payloads(self):
        return objects(self.recording)

    @cached_property
    def messages(self):
        return chat_messages(self.payloads)

    @cached_property
    def translated(self):
        return objects(self.translation)

    @cached_property
    def response(self):
        """The whole response at the end of a Responses recording."""
        return self.payloads[-1].get("response", self.payloads[-1])

    def of(self, kind):
        """The items of this kind."""
        return [item for item in self.response.get("output", []) if item["type"] == kind]


def objects(raw):
    """The body, or the data of the events."""
    text = raw.decode()
    if text.lstrip().startswith("{"):
        return [json.loads(text)]
    return [json.loads(data) for data in re.findall(r"(?m)^data: ?(\{.*\}) *\r?$", text)]


def chat_messages(payloads):
    """Chat's message, or the deltas of one."""
    choices = [choice for one in payloads for choice in (one.get("choices") or [])[:1]]
    return [choice.get("message") or choice.get("delta") or {} for choice in choices]


@dataclass
class Difference:
    part: str  # a part of the digest, or a code of the validators
    wanted: object  # as the recording has it; nothing for a code
    got: object  # as the translation has it, or the message of the validators
    case: Case
    digests: tuple = ({}, {})  # all of both


class Row(NamedTuple):
    parts: set
    why: str
    holds: Callable[[Difference], bool]


def explained(difference):
    """Why there is the difference, if a row knows it."""
    return next((row.why for row in ROWS if difference.part in row.parts and row.holds(difference)), None)


# Usage


def counted(usage):
    """Prompt and answer of a Chat usage, as protocols.md B.5 counts them."""
    prompt, out = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    total = usage.get("total_tokens")
    details = usage.get("prompt_tokens_details") or {}
    cached, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
    if cached > prompt:  # U4: not among the others
        prompt += cached
    else:  # U1
        prompt = max(prompt, cached + written)
    if total is not None and total - (usage.get("prompt_tokens") or 0) > out:  # U5
        out = total - usage["prompt_tokens"]
    return [prompt, out]


def chat_usages(case):
    """All usage that a recording in Chat holds, wherever it stands."""
    for one in case.payloads:
        choice = (one.get("choices") or [{}])[0]
        found = [one.get("usage"), choice.get("usage"), (one.get("x_groq") or {}).get("usage")]
        yield from filter(None, found)


def is_counted_by_the_rules(difference):
    usages = list(chat_usages(difference.case)) if difference.case.source == "chat" else []
    return bool(usages) and list(difference.got) == counted(usages[-1])


def is_merged_by_the_rules(difference):
    """Of Messages: at the end of a stream, nothing is no news about the prompt."""
    if difference.case.source != "messages":
        return False
    starts = [one["message"]["usage"] for one in difference.case.payloads if one["type"] == "message_start"]
    ends = [one["usage"] for one in difference.case.payloads if one["type"] == "message_delta"]
    merged = {}
    for usage in starts + ends:
        merged |= {name: count for name, count in usage.items() if count}
    prompt = [merged.get(f"{name}input_tokens", 0) for name in ("", "cache_read_", "cache_creation_")]
    return list(difference.got) == [sum(prompt), merged.get("output_tokens", 0)]


def has_no_usage(difference):
    case = difference.case
    recorded = list(chat_usages(case)) if case.source == "chat" else case.response.get("usage")
    made = [one.get("usage") or one.get("response", {}).get("usage") for one in case.translated]
    return not recorded and not any(made)


# How an answer ends


def ends_without_a_reason(difference):
    """The provider gives none, or one of its own: then it is what the answer holds."""
    _, got = difference.digests
    return difference.wanted in (None, "", "complete") and difference.got == ("tools" if got["tools"] else "stop")


def pauses(difference):
    return difference.case.source == "messages" and (difference.wanted, difference.got) == ("pause", "length")


# Calls


def calls_custom_tools(difference):
    """The digest knows nothing of them, and reads functions where Messages has to write some."""
    case = difference.case
    if case.source != "responses":
        return False
    recorded = [(item["name"], item["input"]) for item in case.of("custom_tool_call")]
    if not recorded or difference.digests[0].get("tools"):
        return False
    if difference.part == "stop":
        return difference.got == "tools"
    if case.target == "messages":
        return plain(difference.got) == [[name, {"input": text}] for name, text in recorded]
    unread = difference.part != "tools" or plain(difference.got) == [[None, {}]] * len(recorded)
    return unread and custom_calls_of_chat(case.translated) == recorded


def custom_calls_of_chat(payloads):
    calls = {}
    for message in chat_messages(payloads):
        for at, piece in enumerate(message.get("tool_calls") or []):
            call = calls.setdefault(piece.get("index", at), {"name": "", "input": ""})
            for part, text in piece.get("custom", {}).items():
                call[part] += text
    return [(call["name"], call["input"]) for call in calls.values()]


def is_no_function(difference):
    """What the validator says of a stream with such a call."""
    known = re.fullmatch(r"first fragment of tool \d+ lacks id/name|type 'custom'", difference.got)
    return bool(known) and calls_custom_tools(difference)


def calls_as_long_ago(difference):
    """`function_call`, which the digest does not read."""
    if difference.case.source != "chat":
        return False
    pieces = [m["function_call"] for m in difference.case.messages if m.get("function_call")]
    name, text = ("".join(piece.get(part) or "" for piece in pieces) for part in ("name", "arguments"))
    return bool(name) and plain(difference.got) == [[name, json.loads(text)]]


def is_broken_off(difference):
    """Arguments that are no JSON, of which the digest has a note of its own."""
    wanted = [[name, {"_raw_arguments": args.get("__unparsed__")}] for name, args in difference.wanted]
    return plain(difference.got) == wanted


# Texts


def refuses(difference):
    """A refusal is a text of its own in OpenAI's protocols, and a reason to end in Anthropic's."""
    case = difference.case
    if (case.source, case.target) != ("chat", "messages"):
        return False
    refusal = "".join(message.get("refusal") or "" for message in case.messages)
    return bool(refusal) and difference.got == {"text": refusal, "stop": "filter"}[difference.part]


def declines(difference):
    """A filter that leaves no word is told in one."""
    _, got = difference.digests
    return got["stop"] == "filter" and not got["text"] and difference.got == "The model declined to answer."


def thoughts(case):
    """Thoughts that stand where the digest does not look: parts of the content, and details."""
    for message in case.messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            for inner in part.get("thinking") or []:
                yield inner.get("text", "")
        for detail in message.get("reasoning_details") or []:
            yield detail.get("text") or detail.get("summary") or ""


def thinks_elsewhere(difference):
    found = squeezed("".join(thoughts(difference.case))) if difference.case.source == "chat" else ""
    return found != "" and squeezed(difference.got) == found


def speaks_in_parts(difference):
    """Text in parts, next to those that hold thoughts."""
    if difference.case.source != "chat":
        return False
    contents = [message.get("content") or "" for message in difference.case.messages]
    parts = [part for c in contents for part in (c if isinstance(c, list) else [{"type": "text", "text": c}])]
    said = "".join(part["text"] for part in parts if part["type"] == "text")
    return any(isinstance(c, list) for c in contents) and squeezed(difference.got) == squeezed(said)


def was_shortened(difference):
    """Somebody has left out pieces of the recorded stream, so that it does not make up its own end."""
    deltas = [one for one in difference.case.payloads if one.get("type") == "response.output_text.delta"]
    said = squeezed("".join(delta["delta"] for delta in deltas))
    return said not in ("", squeezed(difference.wanted)) and squeezed(difference.got) == said


# Requests


def goes_on_as_it_came(difference):
    """Members that only routers know go on from one of OpenAI's protocols to the other."""
    [name] = re.findall(r"^\w+", difference.got)
    [sent], asked = difference.case.translated, difference.case.request
    router = {"reasoning_format", "preset", "provider", "clear_thinking"}
    return name in router and name in asked and sent[name] == asked[name]


def was_out_of_bounds(difference):
    """The recording is that of a request that failed."""
    [sent] = difference.case.translated
    return sent["temperature"] == difference.case.request["temperature"] < 0


def squeezed(text):
    """Blank lines stand between blocks in one protocol and not in another."""
    return "".join((text or "").split())


def plain(value):
    return json.loads(json.dumps(value))


ROWS = [
    Row({"usage"}, "counts as B.5 has them: U1, U4, U5, and Groq's own place", is_counted_by_the_rules),
    Row({"usage"}, "counts of a Messages stream are merged, B.5", is_merged_by_the_rules),
    Row({"resp.usage", "chat.usage", "chat.usage-missing"}, "no usage in the recording, B.5", has_no_usage),
    Row({"stop"}, "no reason to end, or an unknown one: B.4.1", ends_without_a_reason),
    Row({"stop"}, "a pause is an end before the end, B.4.2", pauses),
    Row({"tools", "stop"}, "calls of custom tools, which the digest does not read, B.3", calls_custom_tools),
    Row({"chat.tool-first"}, "calls of custom tools, which the validator does not know, B.3", is_no_function),
    Row({"tools"}, "`function_call`, which the digest does not read, B.3", calls_as_long_ago),
    Row({"tools"}, "arguments that are no JSON, B.3.4", is_broken_off),
    Row({"text", "stop"}, "a refusal, B.4.1", refuses),
    Row({"refusal"}, "a refusal without a word, B.3.1", declines),
    Row({"reasoning"}, "thoughts that the digest does not read, B.6.2", thinks_elsewhere),
    Row({"text"}, "text in parts, which the digest does not read, B.6.2", speaks_in_parts),
    Row({"text"}, "a recording that was shortened", was_shortened),
    Row({"req.unknown-key"}, "members of routers go on, A.1 forward_unknown", goes_on_as_it_came),
    Row({"req.temperature"}, "out of bounds in the recording, too", was_out_of_bounds),
]
