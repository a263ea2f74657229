"""Calls models behind a gateway, and a gateway behind proxies, as the page on chaining says: `check.py FOLDER`.

FOLDER has `key`, and `addresses.json`: where the gateway is (`gateway`), which models servers behind it have
(`models`), and where proxies before it are (`proxies`).
"""

import json
import sys
import time
from pathlib import Path

import anthropic
import openai

FOLDER = Path(sys.argv[1])
KEY = (FOLDER / "key").read_text().strip()
ADDRESSES = json.loads((FOLDER / "addresses.json").read_text())
passed = failed = 0


def clients(address):
    more = {"api_key": KEY, "max_retries": 0, "timeout": 60}
    return openai.OpenAI(base_url=f"{address}/v1", **more), anthropic.Anthropic(base_url=address, **more)


def chat(address, model, prompt, stream):
    request = {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": prompt}]}
    answer = clients(address)[0].chat.completions.create(**request, stream=stream)
    if not stream:
        return [answer.choices[0].message.content]
    return [c.choices[0].delta.content for c in answer if c.choices and c.choices[0].delta.content]


def responses(address, model, prompt, stream):
    request = {"model": model, "max_output_tokens": 16, "input": prompt}
    answer = clients(address)[0].responses.create(**request, stream=stream)
    if not stream:
        return [answer.output_text]
    return [event.delta for event in answer if event.type == "response.output_text.delta"]


def messages(address, model, prompt, stream):
    request = {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": prompt}]}
    if not stream:
        return [clients(address)[1].messages.create(**request).content[0].text]
    with clients(address)[1].messages.stream(**request) as events:
        return list(events.text_stream)


def check(name, test):
    global passed, failed
    try:
        print(f"ok    {name}: {test()}", flush=True)
        passed += 1
    except Exception as error:
        print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
        failed += 1


def talk(call, model, stream):
    parts = call(ADDRESSES["gateway"], model, "one two three", stream)
    text = "".join(parts)
    assert text.strip(), "it says nothing"
    assert len(parts) > 1 or not stream, parts
    return text.strip()[:40]


def unbuffered(address):
    """Events come through one by one: their provider takes its time."""
    begun, times = time.monotonic(), []
    prompt = "[demo:slow=200] one two three four five"
    request = {"model": "demo/chat", "messages": [{"role": "user", "content": prompt}], "stream": True}
    for chunk in clients(address)[0].chat.completions.create(**request):
        if chunk.choices and chunk.choices[0].delta.content:
            times.append(time.monotonic() - begun)
    assert times[-1] - times[0] > 0.5, times
    return f"{len(times)} pieces in {times[-1] - times[0]:.1f} s"


def large(address):
    """A request that is no small one: 4 MiB."""
    request = {"model": "demo/chat", "messages": [{"role": "user", "content": "a" * (4 << 20)}], "max_tokens": 16}
    assert clients(address)[0].chat.completions.create(**request).choices, "no answer"
    return "4 MiB"


for model in ADDRESSES["models"]:
    for call in (chat, responses, messages):
        for stream in (False, True):
            kind = "stream" if stream else "whole"
            check(f"{model}, {call.__name__}, {kind}", lambda: talk(call, model, stream))
for name, address in ADDRESSES["proxies"].items():
    check(f"{name}, a stream", lambda: unbuffered(address))
    check(f"{name}, a large request", lambda: large(address))
print(f"{passed} passed, {failed} failed")
sys.exit(int(failed > 0 or passed == 0))
