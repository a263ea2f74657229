"""OpenAI's Agents SDK for Python, over Responses and over Chat, with three protocols of providers."""

import json

from agents import Agent, ModelSettings, Runner, function_tool, set_tracing_disabled
from agents import OpenAIChatCompletionsModel, OpenAIResponsesModel
from common import BASE, KEY, ODD, PIXEL, THOUGHT, each, paths, run
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from pydantic import BaseModel

set_tracing_disabled(True)

KINDS = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}


class Trip(BaseModel):
    city: str
    days: int


@function_tool
def weather(city: str, days: int) -> str:
    """The weather of some days"""
    return f"rain in {city} for {days} day"


@function_tool
def news(city: str) -> str:
    """The news of a city"""
    return f"nothing new in {city}"


def agent_of(path, **more):
    client = AsyncOpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=30)
    model = KINDS[path.client](model=path.model, openai_client=client)
    return Agent(**{"name": "demo", "instructions": "Be brief.", "model": model, **more})


async def both(agent, said):
    """What a run comes to, at once and streamed."""
    whole = await Runner.run(agent, said)
    streamed = Runner.run_streamed(agent, said)
    async for _ in streamed.stream_events():
        pass
    return [whole, streamed]


def kinds(result):
    return [item.type for item in result.new_items]


@each(paths(KINDS))
async def text(path):
    for result in await both(agent_of(path, model_settings=ModelSettings(include_usage=True)), ODD):
        assert result.final_output == f"You said: {ODD}"
        counts = result.context_wrapper.usage
        assert counts.requests == 1 and counts.input_tokens > counts.input_tokens_details.cached_tokens > 0
        assert counts.output_tokens > 0


@each(paths(KINDS))
async def text_in_pieces(path):
    streamed = Runner.run_streamed(agent_of(path), "hi")
    raw = [event.data async for event in streamed.stream_events() if event.type == "raw_response_event"]
    assert [e.delta for e in raw if e.type == "response.output_text.delta"] == ["You ", "said: ", "hi"]


@each(paths(KINDS))
async def instructions_and_history(path):
    first = await Runner.run(agent_of(path), "one")
    said = first.to_input_list() + [{"role": "user", "content": "[demo:body]"}]
    for result in await both(agent_of(path), said):
        assert all(text in result.final_output for text in ("Be brief.", "one", "You said: one"))


@each(paths(KINDS))
async def tool_loop(path):
    for result in await both(agent_of(path, tools=[weather, news]), "hi"):
        assert result.final_output == "The tool answered: rain in demo for 1 day"
        # A model that thinks by itself shows it beside tools, if the client gives it back.
        told = [kind for kind in kinds(result) if kind != "reasoning_item"]
        assert told == ["tool_call_item", "tool_call_output_item", "message_output_item"]
        assert len(result.raw_responses) == 2


@each(paths(KINDS))
async def parallel_tools(path):
    settings = ModelSettings(parallel_tool_calls=True)
    for result in await both(agent_of(path, tools=[weather, news], model_settings=settings), "hi [demo:calls=2]"):
        assert [item.output for item in result.new_items if item.type == "tool_call_output_item"] == [
            "rain in demo for 1 day",
            "nothing new in demo",
        ]
        assert result.final_output == "The tool answered: nothing new in demo"


@each(paths(KINDS))
async def tool_that_is_chosen(path):
    settings = ModelSettings(tool_choice="news")
    for result in await both(agent_of(path, tools=[weather, news], model_settings=settings), "hi"):
        assert result.final_output == "The tool answered: nothing new in demo"


@each(paths(KINDS))
async def tool_that_failed(path):
    @function_tool
    def broken(city: str) -> str:
        raise ValueError(f"no {city}")

    for result in await both(agent_of(path, tools=[broken]), "hi"):
        assert "error" in result.final_output, result.final_output


@each(paths(KINDS))
async def structured(path):
    for result in await both(agent_of(path, output_type=Trip), "hi"):
        assert result.final_output == Trip(city="demo", days=1)


@each(paths(KINDS))
async def image(path):
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
    said = [{"role": "user", "content": [{"type": "input_text", "text": "look"}, picture]}]
    for result in await both(agent_of(path), said):
        assert result.final_output == "You said: look (1 image seen)"


@each(paths(KINDS))
async def reasoning(path):
    """With a tool, so that what was thought goes back to the provider."""
    settings = ModelSettings(
        reasoning=Reasoning(effort="low", summary="auto" if path.client == "responses" else None),
        response_include=["reasoning.encrypted_content"] if path.client == "responses" else None,
        store=False,
    )
    for result in await both(agent_of(path, tools=[weather], model_settings=settings), "hi"):
        assert result.final_output == "The tool answered: rain in demo for 1 day"
        said = result.to_input_list() + [{"role": "user", "content": "[demo:body][demo:no-tools]"}]
        again = await Runner.run(agent_of(path, model_settings=settings), said)
        thoughts = [item.raw_item.summary[0].text for item in result.new_items if item.type == "reasoning_item"]
        assert thoughts == [THOUGHT] * 2, thoughts
        # Over Chat the SDK sends none of it back.
        sent = 2 if path.client == "responses" else 0
        assert seals(path, json.loads(again.final_output)) == sent, again.final_output


def seals(path, body):
    """How many thoughts have come back to the provider, each as its protocol writes it."""
    if path.upstream == "responses":
        return sum("encrypted_content" in item for item in body["input"])
    if path.upstream == "chat":
        return sum("reasoning_content" in message for message in body["messages"])
    blocks = [block for message in body["messages"] for block in message["content"] if isinstance(block, dict)]
    return sum("signature" in block for block in blocks)


@each(paths(KINDS))
async def handoff(path):
    other = agent_of(path, name="other", instructions="You are the other one.")
    for result in await both(agent_of(path, handoffs=[other]), "hi"):
        assert result.last_agent.name == "other"
        assert "other" in result.final_output


run("python openai-agents")
