"""A provider that refuses what the real ones document, and that can keep silent.

    strict_provider.py PORT LOG

A path is /SCENARIO/KIND/…, as /head/chat/v1/chat/completions. The kinds are those of `RULES`. A scenario says what a
streamed answer is like:

    turn      a call of a tool, if the request offers one and has no result yet; else what the tool answered
    head      SILENCE seconds pass before the head
    stream    SILENCE seconds pass in the middle of the text
    compact   turns that are so large that a client with a small window has to compact the conversation

Each request becomes a line in LOG: its scenario, its kind, the cell that its text names as `cell-…`, and the reason for
which it was refused.
"""

import asyncio
import json
import os
import re
import sys

import strict_rules
from strict_rules import SEAL

SILENCE = float(os.environ.get("SILENCE", 40))
RULES = {
    "chat": strict_rules.chat,
    "open": strict_rules.open_model,
    "responses": strict_rules.responses,
    "messages": strict_rules.messages,
}
PATHS = {
    "v1/chat/completions": ("chat", "open"),
    "v1/responses": ("responses",),
    "v1/responses/compact": ("responses",),
    "v1/messages": ("messages",),
}
TEXT = ["Patience", " pays."]
# Tools that run a command, and the member that holds it.
SHELLS = {"Bash": "command", "bash": "command", "exec_command": "cmd", "shell_command": "command", "shell": "command"}
COMMAND = "echo tool-$((40 + 2))"
DONE = "tool-42"
# Tokens of a conversation that is too long for a client with a window of 20,000.
FULL = 18_000
# To a client without tools: a file, in the form in which one coding client wants it.
FILE = f"hello.txt\n```\n{DONE}\n```\n"


class Answer:
    """What is said, in the words of none of the protocols."""

    def __init__(self, text=(), call=None, think=False, tokens=1000, compaction=False):
        self.text, self.call, self.think, self.tokens = list(text), call, think, tokens
        self.compaction = compaction  # the answer is the compacted conversation


def offered(kind, body):
    """The names of the tools that a request offers."""
    tools = body.get("tools") or []
    if kind in ("chat", "open"):
        return [tool["function"]["name"] for tool in tools if tool["type"] == "function"]
    return [tool["name"] for tool in tools if "name" in tool]


def has_result(kind, body):
    """Whether the last turn of a request is the result of a call."""
    if kind in ("chat", "open"):
        return body["messages"][-1]["role"] == "tool"
    if kind == "responses":
        return isinstance(body["input"], list) and body["input"][-1].get("type", "").endswith("_output")
    content = body["messages"][-1]["content"]
    return isinstance(content, list) and any(block["type"] == "tool_result" for block in content)


def answer(scenario, kind, body):
    """What the scenario answers to a request."""
    if scenario in ("head", "stream"):
        return Answer(TEXT)
    if scenario == "compact":
        return conversation(kind, body)
    names = offered(kind, body)
    thinks = kind == "messages" or "reasoning.encrypted_content" in body.get("include", [])
    if has_result(kind, body):
        return Answer(["The tool", f" answered: {DONE}" if DONE in json.dumps(body) else " failed."], None, thinks)
    if not names:
        return Answer([FILE])
    name = next((name for name in SHELLS if name in names), names[0])
    arguments = {SHELLS[name]: COMMAND} if name in SHELLS else {"city": "demo"}
    if name == "bash" or name == "Bash":
        arguments["description"] = "Says a word"
    return Answer([], (name, json.dumps(arguments)), thinks)


def compaction(body):
    """How a request asks for a compaction of the conversation, if it does: with an item, or for a summary in the words
    of the gateway or of Codex."""
    last = json.dumps((body.get("messages") or body["input"])[-1])
    signs = {"compaction_trigger": "item", "summary of this conversation": "gateway", "CONTEXT CHECKPOINT": "codex"}
    return next((way for words, way in signs.items() if words in last), None)


def conversation(kind, body):
    """An answer that fills the window of a client, or the compacted conversation."""
    way, said = compaction(body), body.get("messages") or body["input"]
    if way:
        return Answer(compaction=True) if way == "item" else Answer(["The summary of", " all this."])
    known = "The summary of all this." in json.dumps(said) or SEAL in json.dumps(said)
    return Answer(["It goes on", " after a compaction." if known else "."], tokens=FULL)


def frame(data, event=None):
    return (f"event: {event}\n" if event else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


def chat_frames(said, model):
    """The events of an answer in Chat; None stands for the silence."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": model}

    def chunk(delta, finish=None):
        return frame({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield chunk({"role": "assistant", "content": ""})
    for at, piece in enumerate(said.text):
        if at:
            yield None
        yield chunk({"content": piece})
    if said.call:
        name, arguments = said.call
        function = {"name": name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": 0, "id": "call_a1", "type": "function", "function": function}]})
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]})
    yield chunk({}, "tool_calls" if said.call else "stop")
    usage = {"prompt_tokens": said.tokens, "completion_tokens": 7, "total_tokens": said.tokens + 7}
    yield frame({**base, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def chat_whole(said, model):
    message = {"role": "assistant", "content": "".join(said.text) or None}
    if said.call:
        name, arguments = said.call
        message["tool_calls"] = [{"id": "call_a1", "type": "function", "function": {"name": name, "arguments": arguments}}]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if said.call else "stop"}
    usage = {"prompt_tokens": said.tokens, "completion_tokens": 7, "total_tokens": said.tokens + 7}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1790000000, "model": model,
            "choices": [choice], "usage": usage}  # fmt: skip


def output_items(said):
    """The items of an answer in Responses."""
    items = []
    if said.compaction:
        items.append({"id": "cmp_1", "type": "compaction", "encrypted_content": SEAL})
    if said.think:
        items.append({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": SEAL})
    if said.text:
        part = {"type": "output_text", "text": "".join(said.text), "annotations": []}
        items.append({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]})
    if said.call:
        name, arguments = said.call
        items.append({"id": "fc_1", "type": "function_call", "call_id": "call_a1", "status": "completed", "name": name,
                      "arguments": arguments})  # fmt: skip
    return items


def response(said, model, status, output):
    usage = {"input_tokens": said.tokens, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 7,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": said.tokens + 7}  # fmt: skip
    return {"id": "resp_1", "object": "response", "created_at": 1790000000, "status": status, "model": model,
            "output": output, "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
            "parallel_tool_calls": True, "temperature": None, "top_p": None, "tool_choice": "auto", "tools": [],
            "usage": usage if status == "completed" else None}  # fmt: skip


def responses_frames(said, model):
    """The events of an answer in Responses; None stands for the silence."""
    number = iter(range(1000))

    def event(name, /, **members):
        return frame({"type": name, "sequence_number": next(number), **members}, name)

    yield event("response.created", response=response(said, model, "in_progress", []))
    yield event("response.in_progress", response=response(said, model, "in_progress", []))
    items = output_items(said)
    for at, item in enumerate(items):
        empty = {"message": {"content": []}, "function_call": {"arguments": ""}}.get(item["type"], {})
        status = {} if item["type"] in ("reasoning", "compaction") else {"status": "in_progress"}
        yield event("response.output_item.added", output_index=at, item={**item, **empty, **status})
        place = {"item_id": item["id"], "output_index": at}
        if item["type"] == "message":
            part = {"content_index": 0, **place}
            nothing = {"type": "output_text", "text": "", "annotations": []}
            yield event("response.content_part.added", part=nothing, **part)
            for piece_at, piece in enumerate(said.text):
                if piece_at:
                    yield None
                yield event("response.output_text.delta", delta=piece, logprobs=[], **part)
            yield event("response.output_text.done", text="".join(said.text), logprobs=[], **part)
            yield event("response.content_part.done", part=item["content"][0], **part)
        elif item["type"] == "function_call":
            yield event("response.function_call_arguments.delta", delta=item["arguments"], **place)
            yield event("response.function_call_arguments.done", arguments=item["arguments"], name=item["name"], **place)
        yield event("response.output_item.done", output_index=at, item=item)
    yield event("response.completed", response=response(said, model, "completed", items))


def responses_whole(said, model):
    return response(said, model, "completed", output_items(said))


def content_blocks(said):
    """The blocks of an answer in Messages."""
    blocks = []
    if said.think:
        blocks.append({"type": "thinking", "thinking": "Let me see.", "signature": SEAL})
    if said.text:
        blocks.append({"type": "text", "text": "".join(said.text)})
    if said.call:
        name, arguments = said.call
        blocks.append({"type": "tool_use", "id": "toolu_a1", "name": name, "input": json.loads(arguments)})
    return blocks


def message(said, model, content, stop):
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content,
            "stop_reason": stop, "stop_sequence": None,
            "usage": {"input_tokens": said.tokens, "output_tokens": 7}}  # fmt: skip


def messages_frames(said, model):
    """The events of an answer in Messages; None stands for the silence."""

    def event(name, /, **members):
        return frame({"type": name, **members}, name)

    yield event("message_start", message=message(said, model, [], None))
    for at, block in enumerate(content_blocks(said)):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
        yield event("content_block_start", index=at, content_block={**block, **empty[block["type"]]})
        delta = lambda kind, **members: event("content_block_delta", index=at, delta={"type": kind, **members})  # noqa
        if block["type"] == "text":
            for piece_at, piece in enumerate(said.text):
                if piece_at:
                    yield None
                yield delta("text_delta", text=piece)
        elif block["type"] == "thinking":
            yield delta("thinking_delta", thinking=block["thinking"])
            yield delta("signature_delta", signature=SEAL)
        else:
            yield delta("input_json_delta", partial_json=said.call[1])
        yield event("content_block_stop", index=at)
    stop = "tool_use" if said.call else "end_turn"
    yield event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage={"output_tokens": 7})
    yield event("message_stop")


def messages_whole(said, model):
    return message(said, model, content_blocks(said), "tool_use" if said.call else "end_turn")


WRITERS = {
    "chat": (chat_frames, chat_whole),
    "open": (chat_frames, chat_whole),
    "responses": (responses_frames, responses_whole),
    "messages": (messages_frames, messages_whole),
}


class Provider:
    def __init__(self, log):
        self.log = log

    def note(self, **line):
        self.log.write(json.dumps(line) + "\n")
        self.log.flush()

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            await self.exchange(lines[0].split()[1], headers, await read_body(reader, headers), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def exchange(self, path, headers, text, writer):
        _, scenario, kind, rest = path.split("?")[0].split("/", 3)
        reason = None
        if kind not in PATHS.get(rest, ()):
            return await whole(writer, 404, {"error": {"message": f"no such path: {path}", "type": "not_found_error"}})
        try:
            body = json.loads(text)
            reason = RULES[kind](body, headers) or None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"not a request of this protocol: {error!r}"
        cell = re.search(rb"cell-[\w-]+", text)
        streams = reason is None and body.get("stream", False)
        compacts = compaction(body) if scenario == "compact" and not reason else None
        self.note(scenario=scenario, kind=kind, cell=cell and cell.group().decode(), refused=reason, stream=streams,
                  compacts=compacts)  # fmt: skip
        if reason:
            error = {"error": {"message": reason, "type": "invalid_request_error"}}
            return await whole(writer, 400, error)
        said = answer(scenario, kind, body)
        frames, at_once = WRITERS[kind]
        if not body.get("stream"):
            return await whole(writer, 200, at_once(said, body["model"]))
        if scenario == "head":
            await asyncio.sleep(SILENCE)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for piece in frames(said, body["model"]):
            if piece:
                writer.write(piece)
                await writer.drain()
            elif scenario == "stream":
                await asyncio.sleep(SILENCE)
        return None


async def read_body(reader, headers):
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", 0)))
    pieces = []
    while size := int(await reader.readline(), 16):
        pieces.append(await reader.readexactly(size))
        await reader.readline()
    return b"".join(pieces)


async def whole(writer, status, body):
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\nconnection: close"
    writer.write(f"{head}\r\n\r\n".encode() + text)
    await writer.drain()


async def main(port, log):
    server = await asyncio.start_server(Provider(open(log, "a")).serve, "127.0.0.1", int(port), limit=1 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
