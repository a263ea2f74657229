"""The new SDKs for Python on all nine paths: three protocols of clients, three of providers.

The provider `demo` shows the request as it arrived, so that a case can say what had to arrive. Each feature is
tried on each path, at once and streamed, and gives one cell of the table that is printed at the end: `ok`, what
is listed as lost, or the 400 and the member that it names. What is lost or refused stands in `LOST` and
`REFUSED`; nothing else may be.
"""

import base64
import json
import sys
import traceback
from dataclasses import dataclass, field

import anthropic
import openai
from common import BASE, KEY, ODD, PIXEL, PROTOCOLS, THINKERS, THOUGHT, raised, read
from pydantic import BaseModel

PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n").decode()
LINK = "https://example.com/report.pdf"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ARGUMENTS = {"city": "demo", "days": 1}
# Without a limit, what Messages has to be told all the same.
DEFAULT_LIMIT = 32000  # what the catalog says of the demo

MODELS = {name: f"demo/{name}" for name in PROTOCOLS}

FEATURES = []
# What a feature loses on a path, as the header lists it.
LOST = {
    ("thinking, model without", "chat", "messages"): "reasoning_effort",
    ("thinking, model without", "responses", "messages"): "reasoning.effort",
    ("stop texts", "chat", "responses"): "stop",
    ("stop texts", "messages", "responses"): "stop_sequences",
    ("seed", "chat", "responses"): "seed",
    ("seed", "chat", "messages"): "seed",
}
# What a path refuses, and the member that the refusal names.
REFUSED = {
    ("PDF by link", "responses", "chat"): "input[0].content[1].file_url",
    ("PDF by link", "messages", "chat"): "messages[0].content[1].source",
    ("two choices", "chat", "responses"): "n",
    ("two choices", "chat", "messages"): "n",
    ("state", "responses", "chat"): "previous_response_id",
    ("state", "responses", "responses"): "previous_response_id",
    ("state", "responses", "messages"): "previous_response_id",
}
# Features that a protocol's clients have no words for.
UNSPEAKABLE = {
    "PDF by link": {"chat"},
    "stop texts": {"responses"},
    "seed": {"responses", "messages"},
    "two choices": {"responses", "messages"},
    "state": {"chat", "messages"},
}


class Trip(BaseModel):
    city: str
    days: int


def feature(name):
    def add(test):
        FEATURES.append((name, test))
        return test

    return add


@dataclass
class Answer:
    """What any SDK says of an answer."""

    text: str
    calls: list  # (id, name, arguments)
    stop: str  # end, tools, limit
    usage: tuple | None  # prompt with what was cached, cached, answer, reasoning in it
    thoughts: list
    turn: list  # what the client keeps of it in its history
    model: str
    raw: object = None


@dataclass
class Seen:
    """A request as it arrived at the provider, in the words of none of the protocols."""

    body: dict
    bytes: bytes
    system: list = field(default_factory=list)
    talk: list = field(default_factory=list)  # (role, text)
    images: list = field(default_factory=list)  # base64 or link
    files: list = field(default_factory=list)  # (name, base64 or link)
    calls: list = field(default_factory=list)  # (id, name, arguments)
    results: list = field(default_factory=list)  # (id, text, images)
    thoughts: list = field(default_factory=list)  # as the protocol writes them
    tools: list = field(default_factory=list)  # (name, schema)
    limit: int | None = None
    schema: dict | None = None


# Clients


class Client:
    """What the three have in common."""

    def __init__(self):
        self.dropped = []

    def ask(self, model, history, stream=False, **options):
        answer = self.send(self.request(model, history, **options), stream)
        assert answer.model == model, answer.model
        return answer

    def note(self, headers):
        self.dropped += [p for p in headers.get("x-crossmodel-dropped", "").split(", ") if p]


class Chat(Client):
    name = "chat"
    error = openai.APIError
    sdk = openai

    def __init__(self):
        super().__init__()
        self.client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=30)

    def request(self, model, history, system=None, tools=(), schema=None, think=False, limit=None, **more):
        request = {"model": model, "messages": history, **more}
        if system:
            request["messages"] = [{"role": "system", "content": text} for text in system] + history
        if tools:
            request["tools"] = [
                {"type": "function", "function": {"name": name, "description": name, "parameters": SCHEMA}}
                for name in tools
            ]
        if schema:
            shape = {"name": "trip", "schema": schema, "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": shape}
        if think:
            request["reasoning_effort"] = "low"
        if limit:
            request["max_completion_tokens"] = limit
        return request

    def create(self, request, stream=False):
        if stream:
            return self.client.chat.completions.create(**request, stream=True)
        return self.client.chat.completions.create(**request)

    def send(self, request, stream):
        if not stream:
            raw = self.client.chat.completions.with_raw_response.create(**request)
            self.note(raw.headers)
            whole = raw.parse()
            message = whole.choices[0].message.model_dump(exclude_none=True)
            return self.answer(message, whole.choices[0].finish_reason, whole.usage, whole.model, whole)
        usage = {"include_usage": True}
        raw = self.client.chat.completions.with_raw_response.create(**request, stream=True, stream_options=usage)
        self.note(raw.headers)
        chunks = list(raw.parse())
        assert len({c.id for c in chunks}) == 1 and len({c.model for c in chunks}) == 1
        message, calls, finish = {"role": "assistant"}, {}, None
        for chunk in chunks:
            for choice in chunk.choices:
                delta = choice.delta.model_dump(exclude_none=True)
                for key in ("content", "reasoning_content"):
                    if key in delta:
                        message[key] = message.get(key, "") + delta[key]
                if "reasoning_details" in delta:
                    message.setdefault("reasoning_details", []).extend(delta["reasoning_details"])
                for piece in delta.get("tool_calls", []):
                    made = calls.setdefault(piece["index"], {"function": {"arguments": ""}})
                    made.update({key: piece[key] for key in ("id", "type") if key in piece})
                    function = piece.get("function", {})
                    made["function"]["arguments"] += function.get("arguments", "")
                    if "name" in function:
                        made["function"]["name"] = function["name"]
                assert not (finish and choice.finish_reason), "two ends"
                finish = choice.finish_reason or finish
        if calls:
            message["tool_calls"] = [calls[index] for index in range(len(calls))]
        assert chunks[-1].usage and not chunks[-1].choices, "no usage at the end"
        return self.answer(message, finish, chunks[-1].usage, chunks[-1].model, chunks)

    def answer(self, message, finish, usage, model, raw):
        made = message.get("tool_calls") or []
        calls = [(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in made]
        counts = usage and (
            usage.prompt_tokens,
            usage.prompt_tokens_details.cached_tokens,
            usage.completion_tokens,
            usage.completion_tokens_details.reasoning_tokens,
        )
        assert usage is None or usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        stop = {"stop": "end", "tool_calls": "tools", "length": "limit"}[finish]
        thoughts = [message["reasoning_content"]] if message.get("reasoning_content") else []
        text = message.get("content") or ""
        return Answer(text, calls, stop, counts, thoughts, [message], model, raw)

    def user(self, text, image=None, pdf=None):
        if image is None and pdf is None:
            return [{"role": "user", "content": text}]
        parts = [{"type": "text", "text": text}]
        if image:
            parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}})
        if pdf:
            name, data = pdf
            file = {"filename": name, "file_data": f"data:application/pdf;base64,{data}"}
            parts.append({"type": "file", "file": file})
        return [{"role": "user", "content": parts}]

    def assistant(self, text):
        return [{"role": "assistant", "content": text}]

    def results(self, *results):
        messages = []
        for call, text, image in results:
            content = text
            if image:
                link = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
                content = [{"type": "text", "text": text}, link]
            messages.append({"role": "tool", "tool_call_id": call, "content": content})
        return messages

    def broken(self, request):
        """The error that ends a stream, and the text before it."""
        chunks, error = read(self.create(request, True))
        assert all(choice.finish_reason is None for c in chunks for choice in c.choices), "an end"
        return error, "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

    def code(self, error):
        return error.code

    def param(self, error):
        return error.param


class Responses(Client):
    name = "responses"
    error = openai.APIError
    sdk = openai

    def __init__(self):
        super().__init__()
        self.client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=30)

    def request(self, model, history, system=None, tools=(), schema=None, think=False, limit=None, **more):
        request = {"model": model, "input": history, "store": False, **more}
        if system:
            first, *rest = system
            request["instructions"] = first
            request["input"] = [{"role": "developer", "content": text} for text in rest] + history
        if tools:
            request["tools"] = [
                {"type": "function", "name": name, "description": name, "parameters": SCHEMA, "strict": False}
                for name in tools
            ]
        if schema:
            shape = {"type": "json_schema", "name": "trip", "schema": schema, "strict": True}
            request["text"] = {"format": shape}
        if think:
            request["reasoning"] = {"effort": "low", "summary": "auto"}
            request["include"] = ["reasoning.encrypted_content"]
        if limit:
            request["max_output_tokens"] = limit
        return request

    def create(self, request, stream=False):
        if stream:
            return self.client.responses.create(**request, stream=True)
        return self.client.responses.create(**request)

    def send(self, request, stream):
        if not stream:
            raw = self.client.responses.with_raw_response.create(**request)
            self.note(raw.headers)
            return self.answer(raw.parse())
        raw = self.client.responses.with_raw_response.create(**request, stream=True)
        self.note(raw.headers)
        events = list(raw.parse())
        assert [e.sequence_number for e in events] == list(range(len(events)))
        assert events[-1].type in ("response.completed", "response.incomplete"), events[-1]
        answer = self.answer(events[-1].response)
        pieces = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert pieces == answer.text, "deltas and the end differ"
        done = [e.item for e in events if e.type == "response.output_item.done"]
        assert [item.id for item in done] == [item.id for item in answer.raw.output]
        return answer

    def answer(self, whole):
        made = [item for item in whole.output if item.type == "function_call"]
        calls = [(item.call_id, item.name, json.loads(item.arguments)) for item in made]
        counts = whole.usage and (
            whole.usage.input_tokens,
            whole.usage.input_tokens_details.cached_tokens,
            whole.usage.output_tokens,
            whole.usage.output_tokens_details.reasoning_tokens,
        )
        stop = "tools" if calls else "end"
        if whole.status == "incomplete":
            assert whole.incomplete_details.reason == "max_output_tokens"
            stop = "limit"
        reasoning = [item for item in whole.output if item.type == "reasoning"]
        thoughts = ["".join(part.text for part in item.summary) for item in reasoning]
        turn = [item.model_dump(exclude_none=True) for item in whole.output]
        return Answer(whole.output_text, calls, stop, counts, thoughts, turn, whole.model, whole)

    def user(self, text, image=None, pdf=None, link=None):
        parts = [{"type": "input_text", "text": text}]
        if image:
            url = f"data:image/png;base64,{image}"
            parts.append({"type": "input_image", "image_url": url, "detail": "auto"})
        if pdf:
            name, data = pdf
            url = f"data:application/pdf;base64,{data}"
            parts.append({"type": "input_file", "filename": name, "file_data": url})
        if link:
            parts.append({"type": "input_file", "file_url": link})
        return [{"role": "user", "content": parts}]

    def assistant(self, text):
        return [{"role": "assistant", "content": text}]

    def results(self, *results):
        items = []
        for call, text, image in results:
            output = text
            if image:
                url = f"data:image/png;base64,{image}"
                output = [{"type": "input_text", "text": text}, {"type": "input_image", "image_url": url}]
            items.append({"type": "function_call_output", "call_id": call, "output": output})
        return items

    def broken(self, request):
        # The SDK hands this end over; only its helper raises.
        events, error = read(self.create(request, True))
        assert error is None and events[-1].type == "response.failed", (error, events[-1:])
        assert events[-1].response.error.message and events[-1].response.error.code
        with self.client.responses.stream(**request) as stream:
            raised(Exception, stream.get_final_response)
        told = events[-1].response.error
        return told, "".join(e.delta for e in events if e.type == "response.output_text.delta")

    code = Chat.code
    param = Chat.param


class Messages(Client):
    name = "messages"
    error = anthropic.APIError
    sdk = anthropic

    def __init__(self):
        super().__init__()
        self.client = anthropic.Anthropic(base_url=BASE, api_key=KEY, max_retries=0, timeout=30)

    def request(self, model, history, system=None, tools=(), schema=None, think=False, limit=None, **more):
        request = {"model": model, "messages": history, "max_tokens": limit or 4096, **more}
        if system:
            request["system"] = [{"type": "text", "text": text} for text in system]
        if tools:
            request["tools"] = [
                {"name": name, "description": name, "input_schema": SCHEMA} for name in tools
            ]
        if schema:
            request["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        if think:
            request["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        return request

    def create(self, request, stream=False):
        return self.client.messages.create(**request, stream=stream)

    def send(self, request, stream):
        if not stream:
            raw = self.client.messages.with_raw_response.create(**request)
            self.note(raw.headers)
            return self.answer(raw.parse())
        with self.client.messages.stream(**request) as events:
            kinds = [event.type for event in events]
            self.note(events.response.headers)
            whole = events.get_final_message()
        assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
        return self.answer(whole)

    def answer(self, whole):
        made = [block for block in whole.content if block.type == "tool_use"]
        calls = [(block.id, block.name, block.input) for block in made]
        usage = whole.usage
        details = getattr(usage, "output_tokens_details", None)
        cached = usage.cache_read_input_tokens or 0
        counts = (
            usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0),
            cached,
            usage.output_tokens,
            details.thinking_tokens if details else None,
        )
        stop = {"end_turn": "end", "tool_use": "tools", "max_tokens": "limit"}[whole.stop_reason]
        text = "".join(block.text for block in whole.content if block.type == "text")
        thoughts = [block.thinking for block in whole.content if block.type == "thinking"]
        turn = [{"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in whole.content]}]
        for block in turn[0]["content"]:
            block.pop("parsed_output", None)
        return Answer(text, calls, stop, counts, thoughts, turn, whole.model, whole)

    def user(self, text, image=None, pdf=None, link=None):
        parts = [{"type": "text", "text": text}]
        if image:
            source = {"type": "base64", "media_type": "image/png", "data": image}
            parts.append({"type": "image", "source": source})
        if pdf:
            name, data = pdf
            source = {"type": "base64", "media_type": "application/pdf", "data": data}
            parts.append({"type": "document", "title": name, "source": source})
        if link:
            parts.append({"type": "document", "source": {"type": "url", "url": link}})
        return [{"role": "user", "content": parts}]

    def assistant(self, text):
        return [{"role": "assistant", "content": text}]

    def results(self, *results):
        blocks = []
        for call, text, image in results:
            content = text
            if image:
                source = {"type": "base64", "media_type": "image/png", "data": image}
                content = [{"type": "text", "text": text}, {"type": "image", "source": source}]
            blocks.append({"type": "tool_result", "tool_use_id": call, "content": content})
        return [{"role": "user", "content": blocks}]

    def broken(self, request):
        events, error = read(self.create(request, True))
        assert not any(e.type in ("message_delta", "message_stop") for e in events), "an end"
        deltas = [e.delta for e in events if e.type == "content_block_delta"]
        return error, "".join(delta.text for delta in deltas if delta.type == "text_delta")

    def code(self, error):
        assert error.body["request_id"].startswith("req_cm_")
        return error.body["error"]["type"]

    def param(self, error):
        """The member that the message names."""
        return error.body["error"]["message"].split("'")[1]


# What arrived


def inline(url):
    """The data of a link that holds it."""
    return url.split(";base64,", 1)[1] if url.startswith("data:") else url


def parts(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def seen_chat(seen, body):
    for message in body["messages"]:
        role, content = message["role"], parts(message.get("content"))
        text = " ".join(part["text"] for part in content if part["type"] == "text")
        images = [inline(part["image_url"]["url"]) for part in content if part["type"] == "image_url"]
        files = [part["file"] for part in content if part["type"] == "file"]
        if role in ("system", "developer"):
            seen.system.append(text)
        elif role == "tool":
            seen.results.append((message["tool_call_id"], text, images))
        elif content:
            seen.talk.append((role, text))
            seen.images += images
            seen.files += [(file["filename"], inline(file["file_data"])) for file in files]
        if message.get("reasoning_content"):
            seen.thoughts.append(message["reasoning_content"])
        for call in message.get("tool_calls", []):
            function = call["function"]
            seen.calls.append((call["id"], function["name"], json.loads(function["arguments"])))
    functions = [tool["function"] for tool in body.get("tools", [])]
    seen.tools = [(function["name"], function["parameters"]) for function in functions]
    seen.limit = body.get("max_tokens", body.get("max_completion_tokens"))
    seen.schema = body.get("response_format", {}).get("json_schema", {}).get("schema")


def seen_responses(seen, body):
    seen.system += [body["instructions"]] if body.get("instructions") else []
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind == "message":
            content = parts(item["content"])
            text = " ".join(part["text"] for part in content if "text" in part)
            seen.images += [inline(part["image_url"]) for part in content if part["type"] == "input_image"]
            files = [part for part in content if part["type"] == "input_file"]
            for file in files:
                seen.files.append((file.get("filename"), inline(file.get("file_data") or file["file_url"])))
            if item["role"] in ("system", "developer"):
                seen.system.append(text)
            else:
                seen.talk.append((item["role"], text))
        elif kind == "function_call":
            seen.calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))
        elif kind == "function_call_output":
            content = parts(item["output"])
            text = " ".join(part["text"] for part in content if "text" in part)
            images = [inline(part["image_url"]) for part in content if part["type"] == "input_image"]
            seen.results.append((item["call_id"], text, images))
        elif kind == "reasoning":
            seen.thoughts.append((item["encrypted_content"], [part["text"] for part in item["summary"]]))
    seen.tools = [(tool["name"], tool["parameters"]) for tool in body.get("tools", [])]
    seen.limit = body.get("max_output_tokens")
    seen.schema = body.get("text", {}).get("format", {}).get("schema")


def seen_messages(seen, body):
    seen.system += [block["text"] for block in parts(body.get("system"))]

    def source(block):
        return block["source"].get("data") or block["source"]["url"]

    for message in body["messages"]:
        content = parts(message["content"])
        text = " ".join(block["text"] for block in content if block["type"] == "text")
        if text:
            seen.talk.append((message["role"], text))
        for block in content:
            match block["type"]:
                case "image":
                    seen.images.append(source(block))
                case "document":
                    seen.files.append((block.get("title"), source(block)))
                case "tool_use":
                    seen.calls.append((block["id"], block["name"], block["input"]))
                case "tool_result":
                    inner = parts(block.get("content"))
                    said = " ".join(part["text"] for part in inner if part["type"] == "text")
                    images = [source(part) for part in inner if part["type"] == "image"]
                    seen.results.append((block["tool_use_id"], said, images))
                case "thinking":
                    seen.thoughts.append(block)
    seen.tools = [(tool["name"], tool["input_schema"]) for tool in body.get("tools", [])]
    seen.limit = body.get("max_tokens")
    seen.schema = body.get("output_config", {}).get("format", {}).get("schema")


READERS = {"chat": seen_chat, "responses": seen_responses, "messages": seen_messages}


class Path:
    """From one client to one provider."""

    def __init__(self, client, upstream):
        self.client, self.upstream = client, upstream
        self.model, self.thinker = MODELS[upstream], THINKERS[upstream]
        self.relays = client.name == upstream

    def ask(self, history, stream=False, **options):
        model = self.thinker if options.get("think") else self.model
        return self.client.ask(options.pop("model", model), history, stream, **options)

    def said(self, text, **options):
        """The answer to one text, at once and streamed."""
        both = [self.ask(self.client.user(text), stream, **options) for stream in (False, True)]
        whole, streamed = both
        assert (whole.text, whole.stop, whole.thoughts) == (streamed.text, streamed.stop, streamed.thoughts)
        assert [call[1:] for call in whole.calls] == [call[1:] for call in streamed.calls]
        return whole

    def seen(self, history, stream=False, **options):
        """What arrives; the last text of the user has to ask for it."""
        return self.read(self.ask(history, stream, **options))

    def read(self, answer):
        body = json.loads(answer.text)
        seen = Seen(body, answer.text.encode())
        READERS[self.upstream](seen, body)
        return seen

    def same(self, got, wanted):
        assert got == wanted, f"{self.client.name} > {self.upstream}: got {got!r}, wanted {wanted!r}"


# Features

SHOW = "[demo:body]"


@feature("text")
def text(path):
    answer = path.said(ODD)
    path.same((answer.text, answer.stop, answer.calls), (f"You said: {ODD}", "end", []))
    seen = path.seen(path.client.user(f"{ODD} {SHOW}"))
    path.same(seen.talk, [("user", f"{ODD} {SHOW}")])


@feature("system")
def system(path):
    told = ["Be short.", ODD]
    for stream in (False, True):
        seen = path.seen(path.client.user(SHOW), stream, system=told)
        path.same((seen.system, seen.talk), (told, [("user", SHOW)]))


@feature("several turns")
def turns(path):
    client = path.client
    history = client.user("one") + client.assistant("two") + client.user("three")
    history += client.assistant(ODD) + client.user(SHOW)
    talk = [("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", ODD), ("user", SHOW)]
    for stream in (False, True):
        path.same(path.seen(history, stream).talk, talk)


@feature("own answers as history")
def own_answers(path):
    client = path.client
    for stream in (False, True):
        first = path.ask(client.user("one"), stream)
        seen = path.seen(client.user("one") + first.turn + client.user(SHOW), stream)
        path.same(seen.talk, [("user", "one"), ("assistant", "You said: one"), ("user", SHOW)])


@feature("system in between")
def system_between(path):
    """Where a protocol or model has no place for it, the user's text holds it; the order stays."""
    client, role = path.client, {"chat": "system", "responses": "developer", "messages": "system"}
    history = client.user("one") + client.assistant("two")
    told = [{"role": role[client.name], "content": "Be short."}]
    last = client.user(f"three {SHOW}")
    history += last + told if client.name == "messages" else told + last
    seen = path.seen(history)
    if path.relays:
        return
    if path.upstream != "messages":
        path.same(seen.system, ["Be short."])
        return
    path.same(seen.system, [])
    note = "[System instruction, not written by the user]\nBe short."
    assert note in json.dumps(seen.body).replace("\\n", "\n"), seen.body


@feature("image")
def image(path):
    look = path.client.user("look", image=PIXEL)
    for stream in (False, True):
        path.same(path.ask(look, stream).text, "You said: look (1 image seen)")
    seen = path.seen(path.client.user(SHOW, image=PIXEL))
    path.same((seen.images, seen.talk), ([PIXEL], [("user", SHOW)]))


@feature("PDF")
def pdf(path):
    seen = path.seen(path.client.user(SHOW, pdf=("report.pdf", PDF)))
    path.same((seen.files, seen.talk), ([("report.pdf", PDF)], [("user", SHOW)]))


@feature("PDF by link")
def pdf_link(path):
    seen = path.seen(path.client.user(SHOW, link=LINK))
    path.same([data for _, data in seen.files], [LINK])


@feature("tool")
def tool(path):
    client = path.client
    for stream in (False, True):
        call = path.ask(client.user("hi"), stream, tools=["weather"])
        path.same((call.stop, call.text), ("tools", ""))
        [(made, name, arguments)] = call.calls
        path.same((name, arguments), ("weather", ARGUMENTS))
        history = client.user("hi") + call.turn + client.results((made, "21 degrees", None))
        answer = path.ask(history, stream, tools=["weather"])
        path.same((answer.text, answer.stop), ("The tool answered: 21 degrees", "end"))
        seen = path.seen(history + client.user(SHOW), stream, tools=["weather"])
        path.same((seen.calls, seen.results), (call.calls, [(made, "21 degrees", [])]))
        path.same(seen.tools, [("weather", SCHEMA)])


@feature("tools at once")
def tools(path):
    client, names = path.client, ["weather", "news"]
    for stream in (False, True):
        call = path.ask(client.user("hi [demo:calls=2]"), stream, tools=names)
        path.same([call[1:] for call in call.calls], [(name, ARGUMENTS) for name in names])
        first, second = (made for made, _, _ in call.calls)
        assert first != second
        results = client.results((first, "rain", None), (second, "nothing", None))
        seen = path.seen(client.user("hi") + call.turn + results + client.user(SHOW), stream, tools=names)
        path.same(seen.calls, call.calls)
        path.same(seen.results, [(first, "rain", []), (second, "nothing", [])])


@feature("image of a tool")
def tool_image(path):
    client = path.client
    call = path.ask(client.user("hi"), tools=["weather"])
    [(made, _, _)] = call.calls
    results = client.results((made, "look", PIXEL))
    seen = path.seen(client.user("hi") + call.turn + results + client.user(SHOW), tools=["weather"])
    if path.upstream == "chat" and not path.relays:
        # Results in Chat hold no images: it follows in a message of its own.
        [(same, said, images)] = seen.results
        path.same((same, images, seen.images), (made, [], [PIXEL]))
        assert said.startswith("look") and "[image: see next user message]" in said, said
        assert any(f"Image from tool result {made}" in text for _, text in seen.talk), seen.talk
    else:
        path.same((seen.results, seen.images), ([(made, "look", [PIXEL])], []))


@feature("JSON schema")
def schema(path):
    answer = path.said("hi", schema=SCHEMA)
    path.same((json.loads(answer.text), answer.stop, answer.calls), (ARGUMENTS, "end", []))
    path.same(path.seen(path.client.user(SHOW), schema=SCHEMA).schema, SCHEMA)


@feature("helpers of the SDK")
def helpers(path):
    """They are stricter than the plain calls, and put streams together in their own ways."""
    client, sdk = path.client, path.client.client
    trip = Trip(**ARGUMENTS)
    plain = client.request(path.model, client.user("hi"))
    thought = client.request(path.thinker, client.user("hi"), think=True)
    both = "hi [demo:words=2] [demo:calls=2]"
    called = client.request(path.thinker, client.user(both), think=True, tools=["weather", "news"])
    if client.name == "chat":
        for tool in called["tools"]:
            tool["function"]["strict"] = True  # the helper takes no others
        path.same(sdk.chat.completions.parse(**plain, response_format=Trip).choices[0].message.parsed, trip)
        with sdk.chat.completions.stream(**plain, response_format=Trip) as stream:
            path.same(stream.get_final_completion().choices[0].message.parsed, trip)
        with sdk.chat.completions.stream(**thought) as stream:
            message = stream.get_final_completion().choices[0].message
        path.same((message.content, message.reasoning_content), ("You said: hi", THOUGHT))
        with sdk.chat.completions.stream(**called) as stream:
            message = stream.get_final_completion().choices[0].message
        made = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls]
        path.same((message.role, message.content), ("assistant", "word0 word1"))
        path.same(message.reasoning_content, THOUGHT)
    elif client.name == "responses":
        path.same(sdk.responses.parse(**plain, text_format=Trip).output_parsed, trip)
        with sdk.responses.stream(**plain, text_format=Trip) as stream:
            path.same(stream.get_final_response().output_parsed, trip)
        with sdk.responses.stream(**called) as stream:
            final = stream.get_final_response()
        path.same([item.type for item in final.output], ["reasoning", "message", *["function_call"] * 2])
        made = [(item.name, json.loads(item.arguments)) for item in final.output[2:]]
        path.same((final.output_text, final.output[0].summary[0].text), ("word0 word1", THOUGHT))
    else:
        path.same(sdk.messages.parse(**plain, output_format=Trip).parsed_output, trip)
        with sdk.messages.stream(**plain, output_format=Trip) as stream:
            path.same(stream.get_final_message().parsed_output, trip)
        with sdk.messages.stream(**called) as stream:
            final = stream.get_final_message()
        path.same([block.type for block in final.content], ["thinking", "text", "tool_use", "tool_use"])
        made = [(block.name, block.input) for block in final.content[2:]]
        path.same((final.content[1].text, final.content[0].thinking), ("word0 word1", THOUGHT))
        assert final.content[0].signature
    path.same(made, [("weather", ARGUMENTS), ("news", ARGUMENTS)])


@feature("tool that failed")
def tool_failed(path):
    """Only Messages has a word for it; elsewhere the text says so."""
    client = path.client
    call = path.ask(client.user("hi"), tools=["weather"])
    [(made, _, _)] = call.calls
    results = client.results((made, "no such city", None))
    if client.name == "messages":
        results[0]["content"][0]["is_error"] = True
    seen = path.seen(client.user("hi") + call.turn + results + client.user(SHOW), tools=["weather"])
    prefix = "Error: " if client.name == "messages" and not path.relays else ""
    path.same(seen.results, [(made, f"{prefix}no such city", [])])


@feature("tool that is forced")
def tool_forced(path):
    named = {
        "chat": {"type": "function", "function": {"name": "news"}},
        "responses": {"type": "function", "name": "news"},
        "messages": {"type": "tool", "name": "news"},
    }
    choices = [named, {"chat": "required", "responses": "required", "messages": {"type": "any"}}]
    choices.append({"chat": "none", "responses": "none", "messages": {"type": "none"}})
    for choice in choices:
        history = path.client.user(f"hi {SHOW}")
        seen = path.seen(history, tools=["weather", "news"], tool_choice=choice[path.client.name])
        path.same(seen.body["tool_choice"], choice[path.upstream])


@feature("thinking")
def thinking(path):
    answer = path.said("hi", think=True)
    path.same((answer.thoughts, answer.text), ([THOUGHT], "You said: hi"))
    path.same(path.said("hi").thoughts, [])


@feature("thinking, model without")
def no_thinking(path):
    answer = path.said("hi", think=True, model=path.model)
    path.same(answer.text, "You said: hi")


@feature("thinking sent back")
def replay(path):
    """Three calls of a tool: what was sealed comes back as it was, at its place, and once."""
    client, upstream = path.client, path.upstream
    for stream in (False, True):
        history, blocks, talk = [], [], []

        def step(more):
            history.extend(more)
            answer = path.ask(history, stream, tools=["weather"], think=True)
            seen = path.read(answer)
            path.same(answer.thoughts, [THOUGHT])
            path.same(seen.thoughts, blocks)
            path.same([text for role, text in seen.talk if role == "assistant"], talk)
            path.same(json.loads(answer.text), seen.body)
            blocks.append(sealed(upstream, seen.bytes))
            talk.append(answer.text)
            history.extend(answer.turn)
            return answer

        for number in range(3):
            call = step(client.user(f"{number} {SHOW}"))
            [(made, _, _)] = call.calls
            step(client.results((made, "21 degrees", None)))
        step(client.user(SHOW))


@feature("thinking of another model")
def other_thinking(path):
    """What another model has sealed is not shown to this one, and the talk goes on."""
    client = path.client
    for other in (name for name in PROTOCOLS if name != path.upstream):
        first = client.ask(THINKERS[other], client.user("one"), think=True)
        path.same(first.thoughts, [THOUGHT])
        seen = path.seen(client.user("one") + first.turn + client.user(SHOW), think=True)
        path.same(seen.talk, [("user", "one"), ("assistant", "You said: one"), ("user", SHOW)])
        # Chat takes any text of thoughts, and the others only their own.
        text = [THOUGHT] if path.upstream == "chat" else []
        path.same(seen.thoughts, text)
        assert "cm2." not in json.dumps(seen.body), seen.body


def sealed(upstream, body):
    """The block that the provider has made of this request."""
    # FNV-1a, in words of eight bytes.
    value, whole = 0xCBF29CE484222325, len(body) - len(body) % 8
    words = [int.from_bytes(body[at : at + 8], "little") for at in range(0, whole, 8)]
    for word in [*words, *body[whole:]]:
        value = ((value ^ word) * 0x100000001B3) % 2**64
    seal = f"EqDemo00{value:016x}"
    if upstream == "messages":
        return {"type": "thinking", "thinking": THOUGHT, "signature": seal}
    return (seal, [THOUGHT]) if upstream == "responses" else THOUGHT


@feature("usage")
def usage(path):
    for stream in (False, True):
        answer = path.ask(path.client.user(f"a b c {SHOW}"), stream)
        prompt = -(-len(answer.text.encode()) // 4)
        words = len(answer.text.split(" "))
        path.same(answer.usage[:3], (prompt, prompt // 2, words))
        assert not answer.usage[3]
        thought = path.ask(path.client.user(f"a b c {SHOW}"), stream, think=True)
        path.same(thought.usage[2], len(thought.text.split(" ")) + 5)
        # The provider says nothing about it in Messages, and its clients do without.
        path.same(thought.usage[3] or 0, 0 if path.upstream == "messages" else 5)


@feature("end at the limit")
def limit(path):
    answer = path.said("hi [demo:limit]", limit=50)
    path.same((answer.stop, answer.text), ("limit", "You said: hi"))


@feature("limit sent on")
def limit_sent(path):
    for stream in (False, True):
        path.same(path.seen(path.client.user(SHOW), stream, limit=50).limit, 50)
    if path.client.name != "messages":
        wanted = DEFAULT_LIMIT if path.upstream == "messages" else None
        path.same(path.seen(path.client.user(SHOW)).limit, wanted)
    elif path.upstream == "responses":
        path.same(path.seen(path.client.user(SHOW), limit=1).limit, 16)


def failing(path, marker, kind):
    """The errors that the SDK raises for a status, at once and streamed."""
    request = path.client.request(path.model, path.client.user(f"hi [demo:{marker}]"))
    return [raised(kind, lambda: path.client.create(request, stream)) for stream in (False, True)]


@feature("429")
def rate_limit(path):
    sdk = path.client.sdk
    wanted = "rate_limit_error" if sdk is anthropic else "rate_limit_exceeded"
    for error in failing(path, "status=429", sdk.RateLimitError):
        path.same((error.response.headers["retry-after"], path.client.code(error)), ("7", wanted))


@feature("503")
def unavailable(path):
    sdk = path.client.sdk
    wanted = "overloaded_error" if sdk is anthropic else "model_unavailable"
    for marker in ("status=503", "status=529"):
        for error in failing(path, marker, sdk.APIStatusError):
            path.same((error.status_code, path.client.code(error)), (503, wanted))
            path.same(error.response.headers["retry-after"], "7")


@feature("provider refuses the key")
def credential(path):
    sdk = path.client.sdk
    wanted = "api_error" if sdk is anthropic else "provider_error"
    for error in failing(path, "status=401", sdk.APIStatusError):
        path.same((error.status_code, path.client.code(error)), (502, wanted))


@feature("provider refuses the request")
def bad_request(path):
    for error in failing(path, "status=400", path.client.sdk.BadRequestError):
        assert error.message
        # Relayed, it is as the provider wrote it.
        if path.client.sdk is anthropic and not path.relays:
            path.same(path.client.code(error), "invalid_request_error")


@feature("stream breaks")
def broken(path):
    for marker in ("error=4", "cut=4", "end=4"):
        # What comes first gives the client its status; then it is too late for another.
        said = f"[demo:slow=30] a b c d e f [demo:{marker}]"
        request = path.client.request(path.model, path.client.user(said))
        error, text = path.client.broken(request)
        assert error is not None and error.message, (marker, error)
        if path.client.name != "responses":
            assert isinstance(error, path.client.error), (marker, error)
        path.same((marker, text), (marker, "You said: a b "))


@feature("stop texts")
def stop(path):
    key = "stop" if path.client.name == "chat" else "stop_sequences"
    seen = path.seen(path.client.user(SHOW), **{key: ["END"]})
    held = seen.body.get("stop_sequences" if path.upstream == "messages" else "stop")
    if path.upstream != "responses":
        path.same(held, ["END"])


@feature("seed")
def seed(path):
    path.same(path.seen(path.client.user(SHOW), seed=7).body.get("seed"), 7 if path.relays else None)


@feature("two choices")
def choices(path):
    path.ask(path.client.user("hi"), n=2)


@feature("state")
def state(path):
    path.ask(path.client.user("hi"), previous_response_id="resp_1")


# The table


def cell(name, test, path):
    """Runs a feature on a path; gives what stands in the table, and what is wrong."""
    place = (name, path.client.name, path.upstream)
    if path.client.name in UNSPEAKABLE.get(name, ()):
        return "-", None
    path.client.dropped = []
    try:
        test(path)
    except (openai.BadRequestError, anthropic.BadRequestError) as error:
        param = path.client.param(error)
        wrong = None if param and REFUSED.get(place) == param else traceback.format_exc()
        return f"400 {param}", wrong
    except Exception:
        return "FAILED", traceback.format_exc()
    lost = " ".join(dict.fromkeys(path.client.dropped))
    if place in REFUSED:
        return "FAILED", "not refused"
    wrong = None if LOST.get(place, "") == lost else f"lost {lost!r}, wanted {LOST.get(place, '')!r}"
    return f"lost {lost}" if lost else "ok", wrong


def table(head, rows):
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |")


def main():
    paths = [Path(client, name) for client in (Chat(), Responses(), Messages()) for name in PROTOCOLS]
    rows, passed, failed = [], 0, 0
    for name, test in FEATURES:
        row = [name]
        for path in paths:
            shown, wrong = cell(name, test, path)
            row.append("FAILED" if wrong else shown)
            if wrong:
                failed += 1
                print(f"FAILED matrix: {name}, {path.client.name} > {path.upstream}\n{wrong}", flush=True)
            elif shown != "-":
                passed += 1
        rows.append(row)
    table(["", *(f"{path.client.name} > {path.upstream}" for path in paths)], rows)
    print(f"matrix: {passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
