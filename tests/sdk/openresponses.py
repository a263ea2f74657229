"""What the compliance suite of Open Responses asks of a server, over the wire, for all protocols of providers."""

import json
from urllib.request import Request, urlopen

from common import BASE, KEY, PIXEL, PROTOCOLS, each, run

MODELS = [f"demo/{name}" for name in PROTOCOLS]
SHOW = "[demo:body]"
NUMBER, TEXT = (int, float), (str, type(None))
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}

# The members that every response has, and what they may be; this protocol leaves none of them out.
MEMBERS = {
    "id": str,
    "object": str,
    "created_at": int,
    "completed_at": (int, type(None)),
    "status": str,
    "incomplete_details": (dict, type(None)),
    "model": str,
    "previous_response_id": TEXT,
    "instructions": TEXT,
    "output": list,
    "error": (dict, type(None)),
    "tools": list,
    "tool_choice": (str, dict),
    "truncation": str,
    "parallel_tool_calls": bool,
    "text": dict,
    "top_p": NUMBER,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "top_logprobs": int,
    "temperature": NUMBER,
    "reasoning": (dict, type(None)),
    "usage": (dict, type(None)),
    "max_output_tokens": (int, type(None)),
    "max_tool_calls": (int, type(None)),
    "store": bool,
    "background": bool,
    "service_tier": str,
    "metadata": dict,
    "safety_identifier": TEXT,
    "prompt_cache_key": TEXT,
}
ITEMS = {
    "message": {"id", "status", "role", "content"},
    "function_call": {"id", "call_id", "name", "arguments", "status"},
    "reasoning": {"id", "summary"},
}
EVENTS = {
    "response.created": {"response"},
    "response.in_progress": {"response"},
    "response.completed": {"response"},
    "response.output_item.added": {"output_index", "item"},
    "response.output_item.done": {"output_index", "item"},
    "response.content_part.added": {"item_id", "output_index", "content_index", "part"},
    "response.content_part.done": {"item_id", "output_index", "content_index", "part"},
    "response.output_text.delta": {"item_id", "output_index", "content_index", "delta"},
    "response.output_text.done": {"item_id", "output_index", "content_index", "text"},
    "response.function_call_arguments.delta": {"item_id", "output_index", "delta"},
    "response.function_call_arguments.done": {"item_id", "output_index", "arguments"},
}


def post(body):
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    return urlopen(Request(f"{BASE}/v1/responses", json.dumps(body).encode(), headers), timeout=30)


def message(role, content, **more):
    return {"type": "message", "role": role, "content": content, **more}


def ask(model, *history, **more):
    """A response that is as it has to be."""
    with post({"model": model, "input": list(history), **more}) as answer:
        response = json.load(answer)
    check(response)
    assert response["status"] == "completed"
    return response


def stream(model, *history, **more):
    """The events of a stream in which each is as it has to be, and the response at its end."""
    with post({"model": model, "input": list(history), "stream": True, **more}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [event(block) for block in answer.read().decode().strip().split("\n\n")]
    events = [event for event in events if event]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")
    for said in events:
        missing = EVENTS[said["type"]] - said.keys()
        assert not missing, f"{said['type']} without {missing}"
        if "response" in said:
            check(said["response"])
    return events, events[-1]["response"]


def event(block):
    name, data = (line.split(": ", 1)[1] for line in block.split("\n"))
    said = json.loads(data)
    assert said["type"] == name
    return said


def check(response):
    for name, kinds in MEMBERS.items():
        value = response[name]
        assert isinstance(value, kinds), f"{name} is {value!r}"
        # For Python a bool is an int.
        assert kinds is bool or not isinstance(value, bool), f"{name} is {value!r}"
    assert response["object"] == "response"
    for item in response["output"]:
        missing = ITEMS[item["type"]] - item.keys()
        assert not missing, f"{item['type']} without {missing}"
    for tool in response["tools"]:
        assert {"name", "description", "parameters", "strict"} <= tool.keys(), tool


def text(response):
    [item] = response["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    [part] = item["content"]
    assert part["type"] == "output_text" and part["annotations"] == []
    return part["text"]


@each(MODELS)
def basic_response(model):
    said = "Say hello in exactly 3 words."
    assert text(ask(model, message("user", said))) == f"You said: {said}"


@each(MODELS)
def assistant_phase(model):
    history = [
        message("assistant", "I should answer with the saved number.", phase="commentary"),
        message("assistant", "The number is four.", phase="final_answer"),
    ]
    seen = json.loads(text(ask(model, *history, message("user", SHOW))))
    arrived = json.dumps(seen)
    assert all(turn["content"] in arrived for turn in history), arrived
    # Only Responses has a word for it.
    phases = [turn.get("phase") for turn in seen.get("input", [])]
    assert phases == (["commentary", "final_answer", None] if model == "demo/responses" else [])


@each(MODELS)
def response_output_phase_schema(model):
    for item in ask(model, message("user", "hi"))["output"]:
        assert item.get("phase", "final_answer") in ("commentary", "final_answer")


@each(MODELS)
def streaming_response(model):
    events, response = stream(model, message("user", "Count from 1 to 5."))
    pieces = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(pieces) == text(response) == "You said: Count from 1 to 5."


@each(MODELS)
def system_prompt(model):
    rule = "You are a pirate. Always respond in pirate speak."
    assert rule in text(ask(model, message("system", rule), message("user", SHOW)))


@each(MODELS)
def tool_calling(model):
    response = ask(model, message("user", "What's the weather like in San Francisco?"), tools=[WEATHER])
    [call] = response["output"]
    assert (call["type"], call["name"]) == ("function_call", "get_weather")
    assert json.loads(call["arguments"]) == {"location": "demo"}
    [tool] = response["tools"]
    assert {**tool, "strict": None} == {**WEATHER, "strict": None}


@each(MODELS)
def tool_calling_streamed(model):
    events, response = stream(model, message("user", "The weather?"), tools=[WEATHER])
    of = lambda kind: [event for event in events if event["type"] == f"response.{kind}"]
    [call] = response["output"]
    assert [event["item"]["type"] for event in of("output_item.added")] == ["function_call"]
    assert [event["item"] for event in of("output_item.done")] == [call]
    pieces = [event["delta"] for event in of("function_call_arguments.delta")]
    [done] = of("function_call_arguments.done")
    assert "".join(pieces) == done["arguments"] == call["arguments"]


@each(MODELS)
def image_input(model):
    parts = [
        {"type": "input_text", "text": "What do you see?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
    ]
    assert text(ask(model, message("user", parts))) == "You said: What do you see? (1 image seen)"


@each(MODELS)
def multi_turn(model):
    history = ["My name is Alice.", "Hello Alice! Nice to meet you.", "What is my name?"]
    turns = [message(role, said) for role, said in zip(["user", "assistant", "user"], history, strict=True)]
    assert text(ask(model, *turns)) == "You said: What is my name?"
    seen = text(ask(model, *turns, message("user", SHOW)))
    assert all(said in seen for said in history)


run("openresponses")
