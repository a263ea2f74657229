"""What the providers' documentation says that they refuse, protocol by protocol.

It shares nothing with the tables of the gateway. Each function returns the reason for which a provider refuses a
request, or None.
"""

import json
import re

EFFORTS = {"low", "medium", "high", "xhigh", "max"}
CHAT = """model messages tools tool_choice parallel_tool_calls stream stream_options response_format stop seed
    frequency_penalty presence_penalty temperature top_p n logprobs top_logprobs user reasoning_effort"""
OPEN = {*CHAT.split(), "max_tokens"}
OPENAI_CHAT = {*CHAT.split(), *"""max_completion_tokens store metadata service_tier verbosity prediction modalities
    safety_identifier prompt_cache_key prompt_cache_options prompt_cache_retention web_search_options""".split()}
RESPONSES = set("""model input instructions tools tool_choice parallel_tool_calls stream stream_options text reasoning
    include store metadata service_tier truncation max_output_tokens max_tool_calls safety_identifier prompt_cache_key
    prompt_cache_options prompt_cache_retention client_metadata context_management user""".split())
MESSAGES = set("""model messages system tools tool_choice max_tokens stream stop_sequences thinking output_config
    metadata service_tier context_management cache_control""".split())
BLOCKS = {
    "text": {"type", "text", "cache_control", "citations"},
    "image": {"type", "source", "cache_control"},
    "document": {"type", "source", "cache_control", "title", "context", "citations"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "tool_use": {"type", "id", "name", "input", "cache_control", "caller"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
}
ITEMS = set("message function_call function_call_output custom_tool_call custom_tool_call_output reasoning "
            "compaction compaction_trigger additional_tools tool_search_call tool_search_output".split())
# What only this provider can have written.
SEAL = "c2VhbGVkLWJ5LXRoZS1wcm92aWRlcg=="


def first(reasons):
    """The first reason of several."""
    return next(filter(None, reasons), None)


def unknown(body, known, where=""):
    return first(f"Unknown parameter: '{where}{name}'." for name in body if name not in known)


def schema(parameters, where):
    """The root of a tool's schema is an object without a union, and objects have properties and arrays items."""
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        return f"{where}: schema must have type 'object'"
    if union := {"oneOf", "anyOf", "allOf", "enum", "not"} & parameters.keys():
        return f"{where}: schema must not have '{union.pop()}' at the top level"
    return nested(parameters, where)


def nested(node, where):
    if not isinstance(node, dict):
        return None
    if node.get("type") == "object" and "properties" not in node:
        return f"{where}: object schema missing properties"
    if node.get("type") == "array" and "items" not in node:
        return f"{where}: array schema missing items"
    if any(value is None for value in node.values()):
        return f"{where}: None is not of type 'object', 'boolean'"
    inner = [*(node.get("properties") or {}).items(), ("items", node.get("items"))]
    return first(nested(value, f"{where}.{name}") for name, value in inner)


def tools(declared, most, where):
    """`declared` are pairs of a name and a schema."""
    names = [name for name, _ in declared]
    if len(names) != len(set(names)):
        return f"{where}: tool names must be unique"
    pattern = re.compile(rf"[a-zA-Z0-9_-]{{1,{most}}}")
    wrong = first(f"{where}: invalid name '{name}'" for name in names if not pattern.fullmatch(str(name)))
    return wrong or first(schema(parameters, f"{where}.{name}") for name, parameters in declared)


def paired(calls, results, where):
    """Each result follows its call, and each call has its result."""
    if len(calls) != len(set(calls)):
        return f"{where}: duplicate call id"
    if lone := set(results) - set(calls):
        return f"{where}: no call for the result {lone.pop()}"
    if lone := set(calls) - set(results):
        return f"{where}: no result for the call {lone.pop()}"
    return None


def arguments(text, where):
    try:
        return None if isinstance(json.loads(text), dict) else f"{where}: arguments must be an object"
    except (TypeError, ValueError):
        return f"{where}: arguments are not JSON"


def chat(body, headers):
    """OpenAI's Chat, as the model gpt-5.4 has it."""
    effort = body.get("reasoning_effort", "none")
    return first([
        unknown(body, OPENAI_CHAT),
        effort not in EFFORTS - {"max"} | {"none"} and f"Unsupported value: '{effort}'.",
        body.get("tools") and effort != "none" and "Function tools with reasoning_effort are not supported.",
        effort != "none" and {"temperature", "top_p"} & body.keys() and "Unsupported parameter: 'temperature'.",
        len(body.get("prompt_cache_key") or "") > 64 and "prompt_cache_key: string too long",
        len(body.get("stop") or "") > 4 and isinstance(body["stop"], list) and "stop: array too long",
        chat_messages(body, {"system", "developer", "user", "assistant", "tool"}, 40),
        chat_tools(body),
    ])  # fmt: skip


def open_model(body, headers):
    """Chat of a server of open models, with a template that knows one system message, the first."""
    places = [at for at, message in enumerate(body["messages"]) if message.get("role") == "system"]
    return first([
        unknown(body, OPEN),
        places not in ([], [0]) and "System message must be at the beginning.",
        chat_messages(body, {"system", "user", "assistant", "tool"}, 64),
        chat_tools(body, kinds={"function"}),
    ])  # fmt: skip


def chat_tools(body, kinds=("function", "custom")):
    if "tools" not in body:
        return first(f"{name}: only allowed when tools are specified"
                     for name in ("tool_choice", "parallel_tool_calls") if name in body)  # fmt: skip
    if not body["tools"]:
        return "tools: empty array"
    if strange := [tool["type"] for tool in body["tools"] if tool["type"] not in kinds]:
        return f"tools: unsupported type '{strange[0]}'"
    functions = [tool["function"] for tool in body["tools"] if tool["type"] == "function"]
    no_schema = {"type": "object", "properties": {}}
    return tools([(f.get("name"), f.get("parameters", no_schema)) for f in functions], 64, "tools")


def chat_messages(body, roles, longest_id):
    open_calls, reasons = [], []
    for at, message in enumerate(body["messages"]):
        where, role = f"messages[{at}]", message.get("role")
        if role not in roles:
            return f"{where}.role: unsupported value '{role}'"
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                return f"{where}: 'tool' must follow a message with its 'tool_calls'"
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            return f"{where}: tool_call_ids without a response: {open_calls}"
        calls = message.get("tool_calls") or []
        open_calls += [call["id"] for call in calls]
        if any(len(name) > longest_id for name in open_calls):
            return f"{where}: id too long"
        reasons += [arguments(call["function"]["arguments"], where) for call in calls if "function" in call]
        if not calls and message.get("content") in (None, [], ""):
            reasons.append(f"{where}.content: empty")
    return f"tool_call_ids without a response: {open_calls}" if open_calls else first(reasons)


def responses(body, headers):
    """OpenAI's Responses, as the model gpt-6.1-sol has it."""
    effort = (body.get("reasoning") or {}).get("effort") or "medium"
    items = body["input"] if isinstance(body["input"], list) else []
    return first([
        unknown(body, RESPONSES),
        effort not in EFFORTS and f"Unsupported value: '{effort}'.",
        first(f"Unsupported parameter: '{name}'." for name in ("temperature", "top_p") if body.get(name) is not None),
        len(body.get("prompt_cache_key") or "") > 64 and "prompt_cache_key: string too long",
        body["input"] in ("", []) and not body.get("instructions") and "input: empty",
        first(item_fault(item, f"input[{at}]") for at, item in enumerate(items)),
        paired(*of_items(items, "function_call"), "input"),
        paired(*of_items(items, "custom_tool_call"), "input"),
        response_tools(body.get("tools") or []),
    ])  # fmt: skip


def of_items(items, kind):
    ids = lambda kind: [item["call_id"] for item in items if item.get("type") == kind]  # noqa: E731
    return ids(kind), ids(f"{kind}_output")


def item_fault(item, where):
    kind = item.get("type", "message")
    if kind not in ITEMS:
        return f"{where}: unknown type '{kind}'"
    prefix = {"message": "msg", "function_call": "fc", "reasoning": "rs", "custom_tool_call": "ctc"}.get(kind)
    if prefix and item.get("id") and not re.fullmatch(rf"{prefix}_.{{1,60}}", item["id"]):
        return f"{where}.id: Expected an ID that begins with '{prefix}'."
    if len(item.get("call_id") or "") > 64:
        return f"{where}.call_id: string too long"
    if kind == "reasoning" and item.get("encrypted_content") != SEAL:
        return f"{where}: The encrypted content could not be verified."
    if kind == "compaction" and item.get("encrypted_content") != SEAL:
        return f"{where}: The encrypted content could not be verified."
    if kind == "function_call":
        return arguments(item["arguments"], where)
    if kind == "message" and isinstance(item.get("content"), list):
        text = {"output_text", "refusal"} if item["role"] == "assistant" else {"input_text", "input_image", "input_file"}
        return first(f"{where}: invalid type '{part['type']}'" for part in item["content"] if part["type"] not in text)
    return None


def response_tools(declared):
    wrong = [tool for tool in declared if tool["type"] == "function" and "name" not in tool]
    functions = [(tool["name"], tool.get("parameters") or {"type": "object", "properties": {}})
                 for tool in declared if tool["type"] == "function" and "name" in tool]  # fmt: skip
    return "tools: missing name" if wrong else tools(functions, 64, "tools")


def messages(body, headers):
    """Anthropic's Messages, as the model claude-opus-5-5 has it."""
    thinking = body.get("thinking", {}).get("type", "adaptive")
    effort = body.get("output_config", {}).get("effort", "high")
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    marks = json.dumps(body).count('"cache_control": {"type"')
    return first([
        "anthropic-version" not in headers and "anthropic-version: header is required",
        unknown(body, MESSAGES),
        "context_management" in body and "context-management" not in headers.get("anthropic-beta", "")
        and "context_management: Extra inputs are not permitted",
        not isinstance(body.get("max_tokens"), int) and "max_tokens: Field required",
        thinking != "adaptive" and f"thinking.type: '{thinking}' is not supported for this model",
        effort not in EFFORTS and f"output_config.effort: '{effort}' is not supported",
        forced and "tool_choice: not supported while the model thinks",
        marks > 4 and f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.",
        system_fault(body.get("system", "x")),
        turns(body["messages"]),
        client_tools(body.get("tools", [])),
    ])  # fmt: skip


def system_fault(system):
    if isinstance(system, str):
        return None if system else "system: text content blocks must be non-empty"
    return first(block_fault(block, f"system.{at}") for at, block in enumerate(system))


def turns(said):
    calls, reasons = [], []
    for at, turn in enumerate(said):
        where = f"messages.{at}"
        blocks = turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        reasons += [block_fault(block, f"{where}.content.{place}") for place, block in enumerate(blocks)]
        if turn["role"] == "system":  # which may stand behind a turn of the user
            if at == 0 or said[at - 1]["role"] != "user":
                return f"{where}: 'system' must follow a user turn"
            continue
        if turn["role"] not in ("user", "assistant") or (at == 0 and turn["role"] != "user"):
            return f"{where}: unexpected role '{turn['role']}'"
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(results) != sorted(calls):
            return f"{where}: `tool_use` ids {calls} and `tool_result` blocks {results} do not match"
        if any(block["type"] != "tool_result" for block in blocks[: len(results)]):
            return f"{where}: `tool_result` blocks must come first"
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    last = said[-1]["role"] == "assistant" and "This model does not support assistant message prefill."
    return first(reasons) or (f"messages: no result for {calls}" if calls else last)


def block_fault(block, where):
    kind = block.get("type")
    if kind not in BLOCKS:
        return f"{where}: unknown type '{kind}'"
    if kind == "text" and not block["text"].strip():
        return f"{where}: text content blocks must contain non-whitespace text"
    if kind == "thinking" and block["signature"] != SEAL:
        return f"{where}: Invalid `signature` in `thinking` block"
    if kind == "tool_use" and not re.fullmatch("[a-zA-Z0-9_-]+", block["id"]):
        return f"{where}.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
    return unknown(block, BLOCKS[kind], f"{where}.")


def client_tools(declared):
    own = [tool for tool in declared if "input_schema" in tool]
    known = set("name description input_schema cache_control type strict eager_input_streaming defer_loading "
                "input_examples allowed_callers".split())  # fmt: skip
    strange = first(unknown(tool, known, f"tools.{tool['name']}.") for tool in own)
    return strange or tools([(tool["name"], tool["input_schema"]) for tool in own], 128, "tools")
