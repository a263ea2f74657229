"""The runner of the Python suites, and what several of them need."""

import asyncio
import inspect
import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.request import Request, urlopen

BASE, KEY = os.environ["BASE_URL"], os.environ["API_KEY"]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# What has to come through untouched: quotes, escapes, several bytes, a look-alike of what is rewritten.
ODD = 'Grüße 🌍 "model":"x" \\n'
PROTOCOLS = ["chat", "responses", "messages"]
THOUGHT = "The user wants an echo."
# One model of each protocol of providers; of Messages one that is known to think.
THINKERS = {"chat": "demo/chat", "responses": "demo/responses", "messages": "think/claude-sonnet-5"}
CASES = []


@dataclass
class Path:
    """From a protocol of clients to one of providers."""

    client: str
    upstream: str

    @property
    def model(self):
        return THINKERS[self.upstream]

    def __str__(self):
        return f"{self.client} > {self.upstream}"


def paths(clients):
    return [Path(client, upstream) for client in clients for upstream in PROTOCOLS]


def case(test):
    CASES.append(test)
    return test


def each(values):
    """A case for each of these values, which the test is given."""

    def add(test):
        for value in values:
            CASES.append(bound(test, value))
        return test

    return add


def bound(test, value):
    def call():
        return test(value)

    call.__name__ = f"{test.__name__}, {value}"
    return call


def run(name):
    failed = 0
    loop = asyncio.new_event_loop()  # one for all cases: clients keep their connections in it
    for test in CASES:
        try:
            result = test()
            if inspect.iscoroutine(result):
                loop.run_until_complete(asyncio.wait_for(result, 30))
        except Exception:
            failed += 1
            print(f"FAILED {name}: {test.__name__}\n{traceback.format_exc()}", flush=True)
    print(f"{name}: {len(CASES) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


def raised(kind, call):
    """The exception of this kind that the call raises."""
    try:
        answer = call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised, but there was an answer: {answer!r}")


def read(stream):
    """The events of a stream, and the exception that ended it, if one did."""
    events = []
    try:
        for event in stream:
            events.append(event)
    except Exception as error:
        return events, error
    return events, None


def key(*options):
    """Makes a key and waits until the gateway knows it, which may take a second; gives its id and its secret."""
    made = json.loads(cli("create", "--json", *options))
    end = time.time() + 1
    while not known(made["secret"]):
        assert time.time() < end, "the gateway does not know a key that is a second old"
        time.sleep(0.01)
    return made["id"], made["secret"]


def known(secret):
    request = Request(f"{BASE}/v1/models", headers={"authorization": f"Bearer {secret}"})
    try:
        urlopen(request).close()
    except HTTPError as error:
        error.close()
        return False
    return True


def cli(*words, what="key"):
    command = [os.environ["CROSSMODEL_BIN"], "--data", os.environ["DATA"], what, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def log(key_id, count):
    """The calls of one key in the access log, once there are so many; waits a little for any more."""
    end = time.time() + 3
    while len(lines(key_id)) < count and time.time() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    return lines(key_id)


def lines(key_id):
    with open(os.environ["ACCESS_LOG"]) as file:
        text = file.read()
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [line for line in map(json.loads, whole) if line.get("key") == key_id and line["method"] == "POST"]


class Together:
    """A place where so many tasks wait until all are there: one after the other, they would not be in time."""

    def __init__(self, count):
        self.missing, self.all = count, asyncio.Event()

    async def wait(self):
        self.missing -= 1
        if self.missing == 0:
            self.all.set()
        await asyncio.wait_for(self.all.wait(), 10)
