"""The OpenAI SDK for Python: Chat Completions, Responses, models."""

import asyncio
import time

import openai
from common import BASE, KEY, ODD, PIXEL, Together, case, cli, key, log, raised, read, run
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel


def make(kind=OpenAI, **options):
    return kind(**{"base_url": f"{BASE}/v1", "api_key": KEY, "max_retries": 0, "timeout": 30, **options})


client = make()
CHAT, RESPONSES = "demo/chat", "demo/responses"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ARGUMENTS = '{"city":"demo","days":1}'
FUNCTION = {"name": "weather", "description": "The weather", "parameters": PARAMETERS}
CHAT_TOOLS = [{"type": "function", "function": FUNCTION}]
TOOLS = [{"type": "function", **FUNCTION, "strict": False}]


class Person(BaseModel):
    name: str
    age: int


def user(text):
    return [{"role": "user", "content": text}]


def chat(text, with_client=client, **more):
    return with_client.chat.completions.create(model=CHAT, messages=user(text), **more)


def chat_stream(text, **more):
    return list(chat(text, stream=True, **more))


def chat_text(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def respond(text, with_client=client, **more):
    return with_client.responses.create(model=RESPONSES, input=text, **more)


def deltas(events):
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")


# Chat Completions


@case
def chat_echo():
    answer = chat(ODD)
    assert answer.choices[0].message.content == f"You said: {ODD}"
    assert (answer.model, answer.object, answer.choices[0].finish_reason) == (CHAT, "chat.completion", "stop")
    assert answer.usage.completion_tokens > 0 and answer.usage.prompt_tokens_details.cached_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@case
def chat_echo_streamed():
    chunks = chat_stream(ODD)
    assert chat_text(chunks) == f"You said: {ODD}" and len(chunks) > 4
    assert {c.model for c in chunks} == {CHAT} and len({c.id for c in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].choices[0].finish_reason == "stop"


@case
def chat_stream_however_it_is_cut():
    for marker in ["chunk=7", "crlf", "quote", "no-done"]:
        text = chat_text(chat_stream(f"{ODD} [demo:{marker}]"))
        assert text.endswith(f"You said: {ODD}"), text
        assert ('{"model":"quoted-model"}' in text) == (marker == "quote"), text


@case
def chat_usage_only_where_asked():
    asked = chat_stream("hi", stream_options={"include_usage": True})
    assert asked[-1].choices == [] and asked[-1].usage.completion_tokens == 3 and asked[-1].model == CHAT
    assert all(c.usage is None and c.choices for c in asked[:-1])
    for more in [{}, {"stream_options": {"include_usage": False}}]:
        assert all(c.usage is None and c.choices for c in chat_stream("hi", **more))


@case
def chat_tool_round():
    call = chat("hi", tools=CHAT_TOOLS)
    assert call.choices[0].finish_reason == "tool_calls"
    made = call.choices[0].message.tool_calls[0]
    assert (made.function.name, made.function.arguments) == ("weather", ARGUMENTS)
    result = {"role": "tool", "tool_call_id": made.id, "content": "21 degrees"}
    messages = [*user("hi"), call.choices[0].message, result]
    answer = client.chat.completions.create(model=CHAT, messages=messages, tools=CHAT_TOOLS)
    assert answer.choices[0].message.content == "The tool answered: 21 degrees"


@case
def chat_tool_call_streamed():
    chunks = chat_stream("hi", tools=CHAT_TOOLS, tool_choice="required")
    calls = [t for c in chunks for t in c.choices[0].delta.tool_calls or []]
    assert calls[0].id and calls[0].function.name == "weather" and {c.index for c in calls} == {0}
    assert len(calls) > 2 and "".join(c.function.arguments for c in calls) == ARGUMENTS
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@case
def chat_stream_helper():
    with client.chat.completions.stream(model=CHAT, messages=user("hi"), tools=CHAT_TOOLS) as stream:
        final = stream.get_final_completion()
    assert final.model == CHAT and final.choices[0].message.tool_calls[0].function.arguments == ARGUMENTS


@case
def chat_image():
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    content = [{"type": "text", "text": "look"}, image]
    assert chat(content).choices[0].message.content == "You said: look (1 image seen)"
    assert chat_text(chat_stream(content)) == "You said: look (1 image seen)"


@case
def chat_schema():
    ask = {"model": CHAT, "messages": user("hi"), "response_format": Person}
    person = Person(name="demo", age=1)
    assert client.chat.completions.parse(**ask).choices[0].message.parsed == person
    with client.chat.completions.stream(**ask) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == person


@case
def chat_reasoning():
    answer = chat("hi", reasoning_effort="low")
    assert answer.choices[0].message.reasoning_content == "The user wants an echo."
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5
    chunks = chat_stream("hi", reasoning_effort="low")
    thoughts = [getattr(c.choices[0].delta, "reasoning_content", None) or "" for c in chunks]
    assert "".join(thoughts) == "The user wants an echo." and chat_text(chunks) == "You said: hi"


@case
def chat_headers():
    raw = client.chat.completions.with_raw_response.create(model=CHAT, messages=user("hi"))
    assert raw.headers["x-request-id"].startswith("req_cm_") and raw.headers["x-crossmodel-model"] == CHAT
    assert raw.parse()._request_id == raw.headers["x-request-id"]
    with client.chat.completions.with_streaming_response.create(
        model=CHAT, messages=user("hi"), stream=True
    ) as raw:
        assert raw.headers["x-request-id"].startswith("req_cm_") and raw.headers["x-crossmodel-model"] == CHAT
        assert raw.headers["content-type"].startswith("text/event-stream")


# Responses


@case
def responses_echo():
    answer = respond(ODD)
    assert (answer.output_text, answer.model) == (f"You said: {ODD}", RESPONSES)
    assert (answer.status, answer.error) == ("completed", None)
    assert answer.usage.input_tokens_details.cached_tokens > 0
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


@case
def responses_echo_streamed():
    events = list(respond(ODD, stream=True))
    assert deltas(events) == f"You said: {ODD}"
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert {e.response.model for e in events if hasattr(e, "response")} == {RESPONSES}
    last = events[-1].response
    assert last.output_text == f"You said: {ODD}" and last.usage.output_tokens > 0


@case
def responses_stream_however_it_is_cut():
    for marker in ["chunk=7", "crlf", "quote"]:
        events = list(respond(f"{ODD} [demo:{marker}]", stream=True))
        assert deltas(events).endswith(f"You said: {ODD}")
        assert events[-1].response.output_text == deltas(events)


@case
def responses_stream_helper():
    with client.responses.stream(model=RESPONSES, input="hi") as stream:
        final = stream.get_final_response()
    assert (final.output_text, final.model, final.status) == ("You said: hi", RESPONSES, "completed")
    assert final.usage.output_tokens == 3


@case
def responses_tool_round():
    call = respond("hi", tools=TOOLS).output[0]
    assert (call.type, call.name, call.arguments) == ("function_call", "weather", ARGUMENTS)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}
    answer = respond([*user("hi"), call, result], tools=TOOLS)
    assert answer.output_text == "The tool answered: 21 degrees"


@case
def responses_tool_call_streamed():
    with client.responses.stream(model=RESPONSES, input="hi", tools=TOOLS) as stream:
        events = list(stream)
        final = stream.get_final_response()
    pieces = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert len(pieces) > 1 and "".join(pieces) == ARGUMENTS == final.output[0].arguments


@case
def responses_image():
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
    message = [{"role": "user", "content": [{"type": "input_text", "text": "look"}, image]}]
    assert respond(message).output_text == "You said: look (1 image seen)"
    assert deltas(respond(message, stream=True)) == "You said: look (1 image seen)"


@case
def responses_schema():
    ask = {"model": RESPONSES, "input": "hi", "text_format": Person}
    person = Person(name="demo", age=1)
    assert client.responses.parse(**ask).output_parsed == person
    with client.responses.stream(**ask) as stream:
        assert stream.get_final_response().output_parsed == person


@case
def responses_reasoning():
    ask = {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    answer = respond("hi", **ask)
    thoughts = answer.output[0]
    assert (thoughts.type, thoughts.summary[0].text) == ("reasoning", "The user wants an echo.")
    assert thoughts.encrypted_content and answer.usage.output_tokens_details.reasoning_tokens == 5
    assert respond([*user("hi"), *answer.output, *user("again")]).output_text == "You said: again"
    events = list(respond("hi", stream=True, **ask))
    pieces = [e.delta for e in events if e.type == "response.reasoning_summary_text.delta"]
    assert "".join(pieces) == "The user wants an echo." and deltas(events) == "You said: hi"


@case
def responses_headers():
    raw = client.responses.with_raw_response.create(model=RESPONSES, input="hi")
    assert raw.headers["x-request-id"].startswith("req_cm_")
    assert raw.headers["x-crossmodel-model"] == RESPONSES


if hasattr(client.responses, "input_tokens"):  # not in 1.x

    @case
    def responses_count_tokens():
        few, many = (
            client.responses.input_tokens.count(model=RESPONSES, input=text).input_tokens
            for text in ["hi", "hi" * 100]
        )
        assert 0 < few < many


# Many at once, and in the background


@case
async def async_client():
    async with make(AsyncOpenAI) as many:
        assert (await chat("hi", many)).choices[0].message.content == "You said: hi"
        assert chat_text([c async for c in await chat("hi", many, stream=True)]) == "You said: hi"
        assert (await respond("hi", many)).output_text == "You said: hi"
        async with many.responses.stream(model=RESPONSES, input="hi") as stream:
            assert (await stream.get_final_response()).output_text == "You said: hi"


@case
async def fifty_streams():
    together = Together(50)

    async def one(number, many):
        said, text = f"[demo:slow=50]I am number {number} of many", ""
        if number % 2:
            stream = await chat(said, many, stream=True)
        else:
            stream = await respond(said, many, stream=True)
        first = True
        async for event in stream:
            if first:
                await together.wait()
            first = False
            text += chat_text([event]) if number % 2 else deltas([event])
        assert text == f"You said: I am number {number} of many", text

    async with make(AsyncOpenAI) as many:
        await asyncio.gather(*(one(number, many) for number in range(50)))


@case
def abort():
    for ask, model in [(chat, CHAT), (respond, RESPONSES)]:
        key_id, secret = key()
        own = make(api_key=secret)
        with ask("[demo:slow=50][demo:words=200]", own, stream=True) as stream:
            for _ in zip(range(6), stream):
                pass
        began = time.time()
        assert ask("hi", own).model == model
        both = log(key_id, 2)
        assert len(both) == 2 and time.time() - began < 3
        assert sorted(line["client_gone"] for line in both) == [False, True]


# Models


@case
def models():
    listed = list(client.models.list())
    assert {CHAT, RESPONSES, "demo/messages"} == {m.id for m in listed}
    assert all((m.object, m.owned_by, m.created) == ("model", "demo", 1767225600) for m in listed)
    assert client.models.retrieve(CHAT).id == CHAT
    assert raised(openai.NotFoundError, lambda: client.models.retrieve("demo/none")).code == "model_not_found"


@case
def model_permission_and_alias():
    _, secret = key("--model", CHAT, "--alias", f"gpt-mine={CHAT}", "--alias", f"claude-*={CHAT}")
    own = make(api_key=secret)
    ids = {m.id for m in own.models.list()}
    assert {CHAT, "gpt-mine"} <= ids and not {RESPONSES, "demo/messages"} & ids, ids
    assert own.models.retrieve("gpt-mine").id == "gpt-mine"
    for name in ["gpt-mine", "claude-anything-5"]:
        raw = own.chat.completions.with_raw_response.create(model=name, messages=user("hi"))
        assert (raw.parse().model, raw.headers["x-crossmodel-model"]) == (name, CHAT)
        chunks = list(own.chat.completions.create(model=name, messages=user("hi"), stream=True))
        assert {c.model for c in chunks} == {name} and chat_text(chunks) == "You said: hi"
    assert raised(openai.NotFoundError, lambda: respond("hi", own)).code == "model_not_found"


# What goes wrong


def both(text, with_client=client):
    """The calls of both protocols, at once and streamed: an error before the stream is always a status."""
    for ask in (chat, respond):
        yield lambda: ask(text, with_client)
        yield lambda: ask(text, with_client, stream=True)


@case
def wrong_key():
    wrong = make(api_key="cm-" + "x" * 40)
    for call in both("hi", wrong):
        error = raised(openai.AuthenticationError, call)
        assert (error.code, error.type) == ("invalid_api_key", "authentication_error")
        assert error.request_id.startswith("req_cm_") and error.param is None
    raised(openai.AuthenticationError, lambda: wrong.models.list())


@case
def unknown_model():
    calls = [
        lambda: client.chat.completions.create(model="foo/bar", messages=user("hi")),
        lambda: client.responses.create(model="foo/bar", input="hi", stream=True),
    ]
    for call in calls:
        error = raised(openai.NotFoundError, call)
        assert (error.code, error.param) == ("model_not_found", "model")
        assert error.body["message"] == "Model 'foo/bar' was not found or is unavailable. GET /v1/models lists the models of this key."


@case
def refused_by_the_provider():
    for call in both("[demo:status=400]"):
        error = raised(openai.BadRequestError, call)
        assert error.type == "invalid_request_error" and error.body["message"]
        assert error.request_id.startswith("req_cm_")


@case
def rate_limit():
    for call in both("[demo:status=429]"):
        error = raised(openai.RateLimitError, call)
        assert error.code == "rate_limit_exceeded" and error.response.headers["retry-after"] == "7"


@case
def the_providers_trouble_is_not_the_clients():
    kinds = [("status=401", 502, "provider_error"), ("status=403", 502, "provider_error")]
    kinds += [("status=500", 502, "provider_error"), ("status=502][demo:html", 502, "provider_error")]
    kinds += [("status=529", 503, "model_unavailable"), ("status=503", 503, "model_unavailable")]
    for marker, status, code in kinds:
        for call in both(f"[demo:{marker}]"):
            error = raised(openai.InternalServerError, call)
            assert (error.status_code, error.code) == (status, code), (marker, error)
            assert (status == 503) == ("retry-after" in error.response.headers)
    for ask in (chat, respond):
        assert raised(openai.InternalServerError, lambda: ask("[demo:cut=20]")).status_code == 502
        for more in ({}, {"stream": True}):  # nothing has been said yet
            error = raised(openai.InternalServerError, lambda: ask("[demo:error-first]", **more))
            assert error.status_code == 502
    assert respond("[demo:failed=1]").status == "failed"


@case
def retries():
    # 429 says `retry-after: 7`; 502 does not, so the SDK comes back soon.
    for ask in (chat, respond):
        for marker, kind, requests in [(500, openai.InternalServerError, 2), (400, openai.BadRequestError, 1)]:
            key_id, secret = key()
            again = make(api_key=secret, max_retries=1)
            raised(kind, lambda: ask(f"[demo:status={marker}]", again))
            assert len(log(key_id, requests)) == requests


@case
def chat_breaks_in_the_stream():
    for marker in ["error=3", "cut=3", "end=3"]:
        chunks, error = read(chat(f"a b c d [demo:{marker}]", stream=True))
        assert isinstance(error, openai.APIError) and error.message, (marker, error)
        assert chat_text(chunks) == "You said: a ", marker
        assert all(c.choices[0].finish_reason is None for c in chunks)
        ask = {"model": CHAT, "messages": user(f"a b c d [demo:{marker}]")}
        with client.chat.completions.stream(**ask) as stream:
            raised(openai.APIError, stream.get_final_completion)


@case
def responses_break_in_the_stream():
    for marker in ["error=3", "cut=3", "end=3", "failed=3"]:
        events, error = read(respond(f"a b c d [demo:{marker}]", stream=True))
        last = events[-1]
        assert error is None and last.type == "response.failed", (marker, error, last)
        assert last.response.status == "failed" and last.response.error.message and last.response.error.code
        assert deltas(events) == "You said: a ", marker
        assert [e.sequence_number for e in events] == list(range(len(events)))
        with client.responses.stream(model=RESPONSES, input=f"a b c d [demo:{marker}]") as stream:
            raised(Exception, stream.get_final_response)


@case
def key_disabled():
    key_id, secret = key()
    own = make(api_key=secret)
    assert chat("hi", own).model == CHAT
    cli("disable", key_id)
    time.sleep(1)  # a change takes effect within a second
    for call in both("hi", own):
        assert raised(openai.AuthenticationError, call).code == "api_key_inactive"
    cli("enable", key_id)
    time.sleep(1)
    assert chat("hi", own).model == CHAT


run(f"python openai {openai.__version__}")
