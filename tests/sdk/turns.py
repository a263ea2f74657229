"""A tool turn, and a long silence before the head of an answer or in the middle of it, for OpenAI's and Anthropic's SDKs.

The provider is `strict_provider.py`, in each protocol. The clients give up after `PATIENCE` seconds without a byte, which
is less than the provider's silence: they only stay because the gateway gives signs of life. At the gateway of `MUTE_URL`,
which gives none, they have to give up; otherwise nothing would be shown. All cells run at the same time.
"""

import asyncio
import json
import os
import sys
import time
import traceback

import anthropic
import openai
from common import BASE, KEY

PATIENCE = 25
MUTE, MUTE_KEY = os.environ["MUTE_URL"], os.environ["MUTE_KEY"]
UPSTREAMS = ["chat", "responses", "messages"]
DONE = "tool-42"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION = {"name": "weather", "description": "The weather", "parameters": PARAMETERS}


def made(sdk, base):
    """An SDK's client that does not wait for ever, and does not ask twice."""
    key = MUTE_KEY if base.startswith(MUTE) else KEY
    return sdk(base_url=base, api_key=key, max_retries=0, timeout=openai.Timeout(90, read=PATIENCE))


class Chat:
    def __init__(self, base, cell):
        self.client, self.cell = made(openai.AsyncOpenAI, f"{base}/v1"), cell

    async def ask(self, model, messages, **more):
        async with self.client.chat.completions.stream(model=model, messages=messages, **more) as stream:
            return (await stream.get_final_completion()).choices[0].message

    async def say(self, model):
        return (await self.ask(model, [{"role": "user", "content": self.cell}])).content

    async def turn(self, model):
        tools = [{"type": "function", "function": {**FUNCTION, "strict": True}}]
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": self.cell}]
        said = await self.ask(model, messages, tools=tools)
        (call,) = said.tool_calls
        assert json.loads(call.function.arguments) == {"city": "demo"}, said
        function = {"name": call.function.name, "arguments": call.function.arguments}
        history = {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": function}]}
        result = {"role": "tool", "tool_call_id": call.id, "content": DONE}
        return (await self.ask(model, [*messages, history, result], tools=tools)).content


class Responses:
    def __init__(self, base, cell):
        self.client, self.cell = made(openai.AsyncOpenAI, f"{base}/v1"), cell

    async def ask(self, model, items, **more):
        async with self.client.responses.stream(model=model, input=items, store=False, **more) as stream:
            return await stream.get_final_response()

    async def say(self, model):
        return (await self.ask(model, self.cell)).output_text

    async def turn(self, model):
        more = {"tools": [{"type": "function", **FUNCTION, "strict": True}], "include": ["reasoning.encrypted_content"],
                "reasoning": {"effort": "low"}, "instructions": "Be brief."}  # fmt: skip
        items = [{"role": "user", "content": self.cell}]
        said = await self.ask(model, items, **more)
        (call,) = [item for item in said.output if item.type == "function_call"]
        assert json.loads(call.arguments) == {"city": "demo"}, said
        own = {"parsed_arguments", "parsed"}
        history = [item.model_dump(exclude_none=True, exclude=own) for item in said.output]
        result = {"type": "function_call_output", "call_id": call.call_id, "output": DONE}
        return (await self.ask(model, [*items, *history, result], **more)).output_text


class Messages:
    def __init__(self, base, cell):
        self.client, self.cell = made(anthropic.AsyncAnthropic, base), cell

    async def ask(self, model, messages, **more):
        more = {"max_tokens": 2000, **more}
        async with self.client.messages.stream(model=model, messages=messages, **more) as stream:
            return await stream.get_final_message()

    async def say(self, model):
        return (await self.ask(model, [{"role": "user", "content": self.cell}])).content[-1].text

    async def turn(self, model):
        tools = [{"name": "weather", "description": "The weather", "input_schema": PARAMETERS}]
        more = {"tools": tools, "thinking": {"type": "adaptive"}, "system": "Be brief."}
        messages = [{"role": "user", "content": self.cell}]
        said = await self.ask(model, messages, **more)
        (call,) = [block for block in said.content if block.type == "tool_use"]
        assert call.input == {"city": "demo"}, said
        own = {"parsed_output"}
        history = [block.model_dump(exclude_none=True, exclude=own) for block in said.content]
        result = {"type": "tool_result", "tool_use_id": call.id, "content": DONE}
        messages += [{"role": "assistant", "content": history}, {"role": "user", "content": [result]}]
        return (await self.ask(model, messages, **more)).content[-1].text


CLIENTS = {"chat": Chat, "responses": Responses, "messages": Messages}


async def is_served(kind, scenario, upstream):
    client = CLIENTS[kind](BASE, f"cell-python-{kind}-{scenario}-{upstream}")
    if scenario == "turn":
        said = await client.turn(f"turn/{upstream}")
        assert said == f"The tool answered: {DONE}", said
    else:
        said = await client.say(f"{scenario}/{upstream}")
        assert said == "Patience pays.", said


async def gives_up(kind, scenario):
    start = time.monotonic()
    try:
        said = await CLIENTS[kind](MUTE, f"cell-python-mute-{kind}-{scenario}").say(f"{scenario}/{kind}")
    except Exception as error:  # in the middle of a stream, it is not one of the SDK's own
        assert "Timeout" in type(error).__name__ and time.monotonic() - start > PATIENCE, repr(error)
        return
    raise AssertionError(f"it has waited for {said!r}")


def cells():
    for kind in CLIENTS:
        for upstream in [*UPSTREAMS, "open"]:
            yield f"turn, {kind} > {upstream}", is_served(kind, "turn", upstream)
        for scenario in ("head", "stream"):
            for upstream in UPSTREAMS:
                yield f"{scenario}, {kind} > {upstream}", is_served(kind, scenario, upstream)
            yield f"{scenario}, {kind}, without signs of life", gives_up(kind, scenario)


async def main():
    named = list(cells())
    ends = await asyncio.gather(*(cell for _, cell in named), return_exceptions=True)
    failed = [(name, end) for (name, _), end in zip(named, ends) if end is not None]
    for name, error in failed:
        print(f"FAILED turns in Python: {name}\n{''.join(traceback.format_exception(error))}")
    print(f"turns in Python: {len(named) - len(failed)} passed, {len(failed)} failed")
    return bool(failed)


sys.exit(asyncio.run(main()))
