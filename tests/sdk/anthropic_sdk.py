"""The Anthropic SDK for Python: Messages, token counting, models."""

import asyncio
import time

import anthropic
from anthropic import Anthropic, AsyncAnthropic
from common import BASE, KEY, ODD, PIXEL, Together, case, cli, key, log, raised, read, run
from pydantic import BaseModel


def make(kind=Anthropic, **options):
    return kind(**{"base_url": BASE, "api_key": KEY, "max_retries": 0, "timeout": 30, **options})


client = make()
MODEL = "demo/messages"
ARGUMENTS = {"city": "demo", "days": 1}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
TOOLS = [{"name": "weather", "description": "The weather", "input_schema": SCHEMA}]
THINKING = {"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}}


class Person(BaseModel):
    name: str
    age: int


def user(content):
    return [{"role": "user", "content": content}]


def asked(content, **more):
    return {"model": MODEL, "max_tokens": 100, "messages": user(content), **more}


def ask(content, with_client=client, **more):
    return with_client.messages.create(**asked(content, **more))


def text(events):
    return "".join(
        e.delta.text for e in events if e.type == "content_block_delta" and e.delta.type == "text_delta"
    )


def final(content, **more):
    with client.messages.stream(**asked(content, **more)) as stream:
        return stream.get_final_message()


@case
def echo():
    answer = ask(ODD)
    assert (answer.content[0].text, answer.model) == (f"You said: {ODD}", MODEL)
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert answer.usage.cache_read_input_tokens > 0 and answer.usage.input_tokens > 0
    assert answer.usage.output_tokens == len(answer.content[0].text.split(" "))


@case
def echo_streamed():
    events = list(ask(ODD, stream=True))
    assert text(events) == f"You said: {ODD}"
    assert events[0].type == "message_start" and events[0].message.model == MODEL
    assert events[0].message.usage.cache_read_input_tokens > 0
    assert events[-1].type == "message_stop" and events[-2].delta.stop_reason == "end_turn"


@case
def stream_however_it_is_cut():
    for marker in ["chunk=7", "crlf", "quote"]:
        answer = final(f"{ODD} [demo:{marker}]").content[0].text
        assert answer.endswith(f"You said: {ODD}"), answer
        assert ('{"model":"quoted-model"}' in answer) == (marker == "quote"), answer


@case
def stream_helper():
    with client.messages.stream(**asked("hi")) as stream:
        said = list(stream.text_stream)
        answer = stream.get_final_message()
    assert said == ["You ", "said: ", "hi"] and answer.content[0].text == "You said: hi"
    assert (answer.model, answer.stop_reason) == (MODEL, "end_turn")
    assert answer.usage.cache_read_input_tokens > 0 and answer.usage.input_tokens > 0
    assert answer.usage.output_tokens == 3


@case
def count_tokens():
    few, many = (
        client.messages.count_tokens(model=MODEL, messages=user(said)).input_tokens
        for said in ["hi", "hi" * 100]
    )
    assert 0 < few < many


@case
def tool_round():
    call = ask("hi", tools=TOOLS)
    made = call.content[0]
    assert (call.stop_reason, made.type, made.name) == ("tool_use", "tool_use", "weather")
    assert made.input == ARGUMENTS
    result = {"type": "tool_result", "tool_use_id": made.id, "content": "21 degrees"}
    messages = [*user("hi"), {"role": "assistant", "content": call.content}, *user([result])]
    answer = client.messages.create(**{**asked("", tools=TOOLS), "messages": messages})
    assert answer.content[0].text == "The tool answered: 21 degrees"


@case
def tool_call_streamed():
    answer = final("hi", tools=TOOLS, tool_choice={"type": "any"})
    assert (answer.stop_reason, answer.content[0].input) == ("tool_use", ARGUMENTS)
    pieces = [e.delta for e in ask("hi", tools=TOOLS, stream=True) if e.type == "content_block_delta"]
    assert len(pieces) > 1 and {p.type for p in pieces} == {"input_json_delta"}


@case
def tool_runner():
    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather.

        Args:
            city: Where.
        """
        return f"rain in {city}"

    runner = client.beta.messages.tool_runner(**asked("hi", tools=[weather]))
    assert runner.until_done().content[0].text == "The tool answered: rain in demo"


@case
def image():
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "look"}]
    assert ask(content).content[0].text == "You said: look (1 image seen)"
    assert final(content).content[0].text == "You said: look (1 image seen)"


@case
def schema():
    person = Person(name="demo", age=1)
    assert client.messages.parse(**asked("hi", output_format=Person)).parsed_output == person
    assert final("hi", output_format=Person).parsed_output == person


@case
def thinking():
    for answer in [ask("hi", **THINKING), final("hi", **THINKING)]:
        thoughts, said = answer.content
        assert (thoughts.type, thoughts.thinking) == ("thinking", "The user wants an echo.")
        assert thoughts.signature and said.text == "You said: hi"
        messages = [*user("hi"), {"role": "assistant", "content": answer.content}, *user("again")]
        again = client.messages.create(**{**asked("", **THINKING), "messages": messages})
        assert again.content[-1].text == "You said: again"


@case
def beta():
    answer = client.beta.messages.create(**asked("hi"), betas=["context-management-2025-06-27"])
    assert (answer.content[0].text, answer.model) == ("You said: hi", MODEL)


@case
def headers():
    raw = client.messages.with_raw_response.create(**asked("hi"))
    assert raw.headers["x-request-id"].startswith("req_cm_") and raw.headers["x-crossmodel-model"] == MODEL
    assert raw.parse()._request_id == raw.headers["request-id"] == raw.headers["x-request-id"]
    with client.messages.stream(**asked("hi")) as stream:
        assert stream.request_id.startswith("req_cm_")
        assert stream.response.headers["x-crossmodel-model"] == MODEL


@case
def either_credential():
    for name in ["authorization", "x-api-key"]:
        value = f"Bearer {KEY}" if name == "authorization" else KEY
        own = make(api_key=None, auth_token=None, default_headers={name: value})
        own._validate_headers = lambda *_: None
        assert ask("hi", own).model == MODEL
        assert len(own.models.list().data) == 3
    assert ask("hi", make(api_key=None, auth_token=KEY)).model == MODEL


# Many at once, and in the background


@case
async def async_client():
    async with make(AsyncAnthropic) as many:
        assert (await ask("hi", many)).content[0].text == "You said: hi"
        assert text([e async for e in await ask("hi", many, stream=True)]) == "You said: hi"
        async with many.messages.stream(**asked("hi")) as stream:
            assert await stream.get_final_text() == "You said: hi"


@case
async def fifty_streams():
    together = Together(50)

    async def one(number, many):
        said = f"[demo:slow=50]I am number {number} of many"
        async with many.messages.stream(**asked(said)) as stream:
            async for event in stream:
                if event.type == "message_start":
                    await together.wait()
            assert await stream.get_final_text() == f"You said: I am number {number} of many"

    async with make(AsyncAnthropic) as many:
        await asyncio.gather(*(one(number, many) for number in range(50)))


@case
def abort():
    key_id, secret = key()
    own = make(api_key=secret)
    with ask("[demo:slow=50][demo:words=200]", own, stream=True) as stream:
        for _ in zip(range(6), stream):
            pass
    began = time.time()
    assert ask("hi", own).model == MODEL
    both = log(key_id, 2)
    assert len(both) == 2 and time.time() - began < 3
    assert sorted(line["client_gone"] for line in both) == [False, True]


# Models


@case
def models():
    every = {MODEL, "demo/chat", "demo/responses"}
    assert {m.id for m in client.models.list()} == every
    first = client.models.list(limit=2)
    assert len(first.data) == 2 and first.has_more
    pages = [m.id for m in first]  # goes on to the next page by itself
    assert len(pages) == 3 and set(pages) == every
    model = client.models.retrieve(MODEL)
    assert (model.id, model.type, model.display_name) == (MODEL, "model", "Demo (messages)")
    assert model.created_at.year == 2026
    error = raised(anthropic.NotFoundError, lambda: client.models.retrieve("demo/none"))
    assert error.status_code == 404


@case
def model_permission_and_alias():
    _, secret = key("--model", MODEL, "--alias", f"claude-*={MODEL}", "--alias", f"mine={MODEL}")
    own = make(api_key=secret)
    ids = {m.id for m in own.models.list()}
    assert {MODEL, "mine"} <= ids and not {"demo/chat", "demo/responses"} & ids, ids
    for name in ["mine", "claude-haiku-4-5-20251001"]:
        ask_it = {**asked("hi"), "model": name}
        raw = own.messages.with_raw_response.create(**ask_it)
        assert (raw.parse().model, raw.headers["x-crossmodel-model"]) == (name, MODEL)
        with own.messages.stream(**ask_it) as stream:
            assert stream.get_final_message().model == name
    raised(anthropic.NotFoundError, lambda: own.messages.create(**{**asked("hi"), "model": "demo/chat"}))


# What goes wrong


def both(said, with_client=client):
    """The call, at once and streamed: an error before the stream is always a status."""
    yield lambda: ask(said, with_client)
    yield lambda: ask(said, with_client, stream=True)


def check(error, kind, status, relayed=False):
    assert error.status_code == status
    assert error.body["type"] == "error" and error.body["error"]["type"] == kind, error.body
    assert error.body["error"]["message"] and error.request_id.startswith("req_cm_")
    # A provider's refusal in the client's own form is passed on as it is, its id included.
    assert relayed or error.request_id == error.body["request_id"]


@case
def wrong_key():
    wrong = make(api_key="cm-" + "x" * 40)
    for call in both("hi", wrong):
        check(raised(anthropic.AuthenticationError, call), "authentication_error", 401)
    raised(anthropic.AuthenticationError, lambda: wrong.messages.count_tokens(model=MODEL, messages=user("a")))
    raised(anthropic.AuthenticationError, lambda: wrong.models.list())


@case
def unknown_model():
    for stream in [False, True]:
        call = {**asked("hi"), "model": "foo/bar", "stream": stream}
        error = raised(anthropic.NotFoundError, lambda: client.messages.create(**call))
        check(error, "not_found_error", 404)
        assert error.body["error"]["message"] == "Model 'foo/bar' was not found or is unavailable. GET /v1/models lists the models of this key."


@case
def refused_by_the_provider():
    for call in both("[demo:status=400]"):
        check(raised(anthropic.BadRequestError, call), "invalid_request_error", 400, relayed=True)


@case
def rate_limit():
    for call in both("[demo:status=429]"):
        error = raised(anthropic.RateLimitError, call)
        check(error, "rate_limit_error", 429)
        assert error.response.headers["retry-after"] == "7"


@case
def the_providers_trouble_is_not_the_clients():
    for marker in ["status=401", "status=403", "status=500", "status=502][demo:html", "cut=20"]:
        calls = list(both(f"[demo:{marker}]"))
        for call in calls[:1] if marker.startswith("cut") else calls:
            check(raised(anthropic.InternalServerError, call), "api_error", 502)
    for marker in ["status=529", "status=503"]:
        for call in both(f"[demo:{marker}]"):
            error = raised(anthropic.APIStatusError, call)
            check(error, "overloaded_error", 503)
            assert "retry-after" in error.response.headers
    for more in ({}, {"stream": True}):  # nothing has been said yet
        error = raised(anthropic.APIStatusError, lambda: ask("[demo:error-first]", **more))
        assert error.status_code == 503


@case
def retries():
    # 429 says `retry-after: 7`; 502 does not, so the SDK comes back soon.
    for status, kind, requests in [(500, anthropic.InternalServerError, 2), (400, anthropic.BadRequestError, 1)]:
        key_id, secret = key()
        again = make(api_key=secret, max_retries=1)
        raised(kind, lambda: ask(f"[demo:status={status}]", again))
        assert len(log(key_id, requests)) == requests


@case
def breaks_in_the_stream():
    for marker in ["error=3", "cut=3", "end=3"]:
        events, error = read(ask(f"a b c d [demo:{marker}]", stream=True))
        assert isinstance(error, anthropic.APIError) and error.message, (marker, error)
        assert error.body["error"]["message"], (marker, error.body)
        assert text(events) == "You said: a ", marker
        assert not [e for e in events if e.type in ("message_delta", "message_stop")]
        raised(anthropic.APIError, lambda: final(f"a b c d [demo:{marker}]"))


@case
def key_disabled():
    key_id, secret = key()
    own = make(api_key=secret)
    assert ask("hi", own).model == MODEL
    cli("disable", key_id)
    time.sleep(1)  # a change takes effect within a second
    for call in both("hi", own):
        check(raised(anthropic.AuthenticationError, call), "authentication_error", 401)
    cli("enable", key_id)
    time.sleep(1)
    assert ask("hi", own).model == MODEL


run(f"python anthropic {anthropic.__version__}")
