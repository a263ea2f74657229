"""LangChain on all nine paths: its three ways to talk to a model, and three protocols of providers."""

from common import BASE, KEY, ODD, PIXEL, PROTOCOLS, THOUGHT, each, paths, raised, run
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

class Trip(BaseModel):
    """Where somebody goes."""

    city: str
    days: int = Field(description="How long")


@tool
def weather(city: str, days: int) -> str:
    """The weather of some days"""
    return f"rain in {city} for {days} day"


@tool
def news(city: str) -> str:
    """The news of a city"""
    return f"nothing new in {city}"


def model_of(path, think=False, **more):
    more |= {"model": path.model, "max_retries": 0, "timeout": 30}
    if path.client == "messages":
        if think:
            more |= {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4096}
        return ChatAnthropic(base_url=BASE, api_key=KEY, **more)
    responses = path.client == "responses"
    if think and responses:
        more |= {"reasoning": {"effort": "low", "summary": "auto"}}
        more |= {"include": ["reasoning.encrypted_content"], "store": False}
    elif think:
        more |= {"reasoning_effort": "low"}
    return ChatOpenAI(base_url=f"{BASE}/v1", api_key=KEY, use_responses_api=responses, **more)


def both(model, history):
    """The answer at once, and put together from its pieces."""
    yield model.invoke(history)
    whole = None
    for piece in model.stream(history):
        whole = piece if whole is None else whole + piece
    yield whole


def calls(answer):
    return [(call["name"], call["args"]) for call in answer.tool_calls]


def results(answer):
    """What a loop of LangChain does with the calls of an answer."""
    tools = {"weather": weather, "news": news}
    return [tools[call["name"]].invoke(call) for call in answer.tool_calls]


@each(paths(PROTOCOLS))
def text(path):
    for answer in both(model_of(path), ODD):
        assert answer.text == f"You said: {ODD}", answer
        assert answer.response_metadata["model_name"] == path.model


@each(paths(PROTOCOLS))
def history(path):
    said = [("system", "Be brief."), ("human", "one"), ("ai", "You said: one"), ("human", "[demo:body]")]
    for answer in both(model_of(path), said):
        assert all(text in answer.text for _, text in said[:3]), answer.text


@each(paths(PROTOCOLS))
def usage(path):
    for answer in both(model_of(path, stream_usage=True), "hi there, and some more words"):
        counts = answer.usage_metadata
        assert counts["input_tokens"] > counts["input_token_details"]["cache_read"] > 0
        assert counts["output_tokens"] == 8
        assert counts["total_tokens"] == counts["input_tokens"] + 8


@each(paths(PROTOCOLS))
def tools(path):
    model = model_of(path).bind_tools([weather, news])
    for call in both(model, "hi [demo:calls=2]"):
        assert calls(call) == [("weather", {"city": "demo", "days": 1}), ("news", {"city": "demo"})]
        said = [HumanMessage("hi"), call, *results(call)]
        for answer in both(model, said):
            assert answer.text == "The tool answered: nothing new in demo", answer
            assert not answer.tool_calls


@each(paths(PROTOCOLS))
def tool_that_is_chosen(path):
    model = model_of(path).bind_tools([weather, news], tool_choice="news")
    for answer in both(model, "hi"):
        assert calls(answer) == [("news", {"city": "demo"})]


@each(paths(PROTOCOLS))
def tool_that_failed(path):
    model = model_of(path).bind_tools([weather])
    call = model.invoke("hi")
    failed = ToolMessage("no such city", tool_call_id=call.tool_calls[0]["id"], status="error")
    assert "no such city" in model.invoke([HumanMessage("hi"), call, failed]).text


@each(paths(PROTOCOLS))
def structured(path):
    for method in ("json_schema", "function_calling"):
        model = model_of(path).with_structured_output(Trip, method=method)
        assert model.invoke("hi") == Trip(city="demo", days=1), method
        assert list(model.stream("hi"))[-1] == Trip(city="demo", days=1), method


@each(paths(PROTOCOLS))
def image(path):
    picture = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
    said = [HumanMessage([{"type": "text", "text": "look"}, picture])]
    for answer in both(model_of(path), said):
        assert answer.text == "You said: look (1 image seen)"


@each(paths(PROTOCOLS))
def reasoning(path):
    """With tools, so that what was thought goes back to the provider."""
    model = model_of(path, think=True).bind_tools([weather])
    for call in both(model, "hi"):
        said = [HumanMessage("hi"), call, *results(call)]
        for answer in both(model, said):
            assert answer.text == "The tool answered: rain in demo for 1 day"
            # LangChain keeps nothing of it in Chat.
            assert thoughts(answer) == ("" if path.client == "chat" else THOUGHT), answer


def thoughts(answer):
    blocks = [block for block in answer.content_blocks if block["type"] == "reasoning"]
    return "".join(block["reasoning"] for block in blocks)


@each(paths(PROTOCOLS))
async def asynchronous(path):
    model = model_of(path)
    assert (await model.ainvoke("hi")).text == "You said: hi"
    assert "".join([piece.text async for piece in model.astream("hi")]) == "You said: hi"
    assert [answer.text for answer in await model.abatch(["a", "b"])] == ["You said: a", "You said: b"]


@each(paths(PROTOCOLS))
def errors(path):
    model = model_of(path)
    for call in (model.invoke, lambda said: list(model.stream(said))):
        assert raised(Exception, lambda: call("[demo:status=429]")).status_code == 429
        assert raised(Exception, lambda: call("[demo:status=400]")).status_code == 400
    error = raised(Exception, lambda: list(model.stream("[demo:slow=30] a b c d e f [demo:error=4]")))
    assert not isinstance(error, AssertionError), error


run("python langchain")
