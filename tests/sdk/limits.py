"""What the SDKs of OpenAI and Anthropic make of limits and of money: the exceptions that they raise, and what they try
again by themselves."""

import json
import time
import uuid
from urllib.request import Request, urlopen

import anthropic
import openai
from common import BASE, cli, each, key, log, raised, run

def chat(secret, model, **options):
    client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=secret, timeout=30, **options)
    return client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": "Hello!"}], max_tokens=20
    )


def responses(secret, model, **options):
    client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=secret, timeout=30, **options)
    return client.responses.with_raw_response.create(model=model, input="Hello!", max_output_tokens=20)


def messages(secret, model, **options):
    client = anthropic.Anthropic(base_url=BASE, api_key=secret, timeout=30, **options)
    return client.messages.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": "Hello!"}], max_tokens=20
    )


CLIENTS = {"chat": (chat, openai), "responses": (responses, openai), "messages": (messages, anthropic)}


def account(dollars=None):
    """A new account with a key; gives the account, the key's id and its secret."""
    name = f"sdk-{uuid.uuid4()}"
    cli("create", name, what="account")
    if dollars:
        cli("top-up", name, dollars, what="account")
    return name, *key("--account", name)


def credits(secret):
    request = Request(f"{BASE}/v1/credits", headers={"x-api-key": secret})
    with urlopen(request) as answer:
        return json.load(answer)


@each(CLIENTS)
def no_wallet_and_no_money(name):
    call, sdk = CLIENTS[name]
    account_name, key_id, secret = account()
    for requests, code in enumerate(["no_wallet", "insufficient_balance"], start=1):
        error = raised(sdk.APIStatusError, lambda: call(secret, f"paid/{name}"))
        assert error.status_code == 402 and error.response.headers["x-should-retry"] == "false", error
        assert sdk is anthropic or (error.code == code and error.type == "billing_error"), error
        assert len(log(key_id, requests)) == requests, "it was not tried again"
        cli("top-up", account_name, "0.0001", what="account")
    cli("top-up", account_name, "1", what="account")
    call(secret, f"paid/{name}")
    left = credits(secret)
    assert left["uncollected_micro"] == 0 and 990_000 < left["balance_micro"] < 1_000_200, left


@each(CLIENTS)
def requests_per_minute(name):
    call, sdk = CLIENTS[name]
    key_id, secret = key("--rpm", "1")
    prefix = "anthropic-ratelimit-requests" if sdk is anthropic else None
    headers = call(secret, f"demo/{name}", max_retries=0).headers
    left = headers[f"{prefix}-remaining" if prefix else "x-ratelimit-remaining-requests"]
    assert left == "0", headers
    error = raised(sdk.RateLimitError, lambda: call(secret, f"demo/{name}", max_retries=0))
    assert "Rate limit exceeded: max 1 requests per minute." in str(error)
    assert 50 <= int(error.response.headers["retry-after"]) <= 61
    assert len(log(key_id, 2)) == 2


@each(CLIENTS)
def tokens_per_minute(name):
    call, sdk = CLIENTS[name]
    _, secret = key("--tpm", "40")
    call(secret, f"demo/{name}", max_retries=0)
    error = raised(sdk.RateLimitError, lambda: call(secret, f"demo/{name}", max_retries=0))
    assert "Rate limit exceeded: max 40 tokens per minute." in str(error)


@each(CLIENTS)
def money_in_flight_is_tried_again(name):
    """Enough for one call and not for two at once: the second one waits, and then has its answer."""
    from concurrent.futures import ThreadPoolExecutor

    call, _ = CLIENTS[name]
    _, key_id, secret = account("0.0021")
    with ThreadPoolExecutor() as pool:
        calls = []
        for _ in range(2):
            calls.append(pool.submit(call, secret, f"paid/{name}", max_retries=6))
            time.sleep(0.002)
        for one in calls:
            one.result()
    assert all(line["status"] in (200, 402) for line in log(key_id, 2))


run("limits")
