"""Steps of an operator on another machine: in a network namespace of its own if that is permitted, and otherwise at another
address of loopback."""

import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys

from place import ADMIN, READER, Gateway, Place, free_port, provider, until
from steps import has, step

# A call with 100 tokens of output costs five cents, and may not cost more: a hundred of them are five dollars.
PRICES = "[{input: 0, output: 500000000}]"
CALLS = 100


class Elsewhere:
    """The address of the gateway, and the commands of an operator who reaches it from elsewhere."""

    def __init__(self, host, prefix):
        self.host, self.prefix = host, prefix


@contextlib.contextmanager
def another_machine():
    """Two network namespaces with a cable between them: the gateway's is this one's child, the operator's the other."""
    name = f"cm{os.getpid() % 10_000}"
    here, there = f"{name}a", f"{name}b"
    lines = [
        ["ip", "netns", "add", here], ["ip", "netns", "add", there],
        ["ip", "link", "add", f"{name}0", "netns", here, "type", "veth", "peer", "name", f"{name}1", "netns", there],
        ["ip", "-n", here, "addr", "add", "192.0.2.1/24", "dev", f"{name}0"],
        ["ip", "-n", there, "addr", "add", "192.0.2.2/24", "dev", f"{name}1"],
        *(["ip", "-n", space, "link", "set", device, "up"]
          for space, device in ((here, "lo"), (there, "lo"), (here, f"{name}0"), (there, f"{name}1"))),
    ]
    try:
        made = all(subprocess.run(line, capture_output=True).returncode == 0 for line in lines)
    except FileNotFoundError:
        made = False
    try:
        if made:
            inside = lambda space: ("ip", "netns", "exec", space)
            yield Elsewhere("192.0.2.1", inside(there)), inside(here)
        else:
            yield Elsewhere("127.0.0.2", ()), ()
    finally:
        if made:
            for space in (here, there):
                subprocess.run(["ip", "netns", "del", space], check=False)


class Operator:
    """Somebody with a token who only has the gateway's addresses."""

    def __init__(self, place, elsewhere, gateway):
        self.place, self.elsewhere, self.gateway = place, elsewhere, gateway
        self.admin = f"http://{elsewhere.host}:{gateway.admin}"
        self.base = f"http://{elsewhere.host}:{gateway.port}"

    def curl(self, method, url, token, body=None):
        """Sends one request; gives the status and the object."""
        words = [*self.elsewhere.prefix, "curl", "-s", "-X", method, url, "-w", "\n%{http_code}", "-m", "60"]
        words += ["-H", "content-type: application/json", "-H", "@-"]
        words += ["-d", json.dumps(body)] if body is not None else []
        header = f"authorization: Bearer {token}\n"
        done = subprocess.run(words, input=header, capture_output=True, text=True, env=self.place.env(), timeout=90)
        text, status = done.stdout.rsplit("\n", 1)
        return int(status), json.loads(text) if text else {}

    def http(self, method, path, body=None, token=ADMIN):
        return self.curl(method, f"{self.admin}/admin/v1{path}", token, body)

    def command(self, *words, token=ADMIN):
        return self.place.run("--url", self.admin, *words, prefix=self.elsewhere.prefix, CROSSMODEL_ADMIN_TOKEN=token)

    def chat(self, key):
        body = {"model": "v/m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
        return self.curl("POST", f"{self.base}/v1/chat/completions", key, body)

    def use_up(self, key):
        """Uses a budget of five dollars with 16 callers at once until all are refused; gives how many calls passed."""
        def caller(_):
            passed = 0
            for _ in range(200):
                status, answer = self.chat(key)
                if status == 200:
                    passed += 1
                elif "in flight" not in str(answer):
                    assert status == 402 and answer["error"]["code"] == "budget_exceeded", (status, answer)
                    return passed, answer["error"]["message"]
            raise AssertionError("the budget has no end")

        with concurrent.futures.ThreadPoolExecutor(16) as callers:
            found = list(callers.map(caller, range(16)))
        return sum(passed for passed, _ in found), found[0][1]


@contextlib.contextmanager
def operated():
    with Place() as place, another_machine() as (elsewhere, inside):
        if inside:
            gateway = RemoteGateway(place, elsewhere, inside)
            yield Operator(place, elsewhere, gateway), gateway
        else:
            with provider() as (port, _):
                gateway = RemoteGateway(place, elsewhere, inside, port)
                yield Operator(place, elsewhere, gateway), gateway


class RemoteGateway(Gateway):
    """A gateway with listeners for others, behind which one provider answers."""

    def __init__(self, place, elsewhere, inside, port=None):
        self.inside, self.host = inside, elsewhere.host
        if port is None:
            port = self.provider_inside(place, inside)
        config = (
            f"providers: {{up: {{base_url: \"http://127.0.0.1:{port}/v1\", key: env:UP, protocols: [chat]}}}}\n"
            f'models: [{{id: "v/m", targets: [{{provider: up, model: m}}], prices: {PRICES}}}]\n'
        )
        self.first, self.second = free_port(), free_port()
        listen = f'listen: [{{address: "{self.host}:{self.first}"}}]\n'
        tokens = "    - {name: ops, role: admin, token: env:OPS}\n    - {name: seer, role: read, token: env:SEER}\n"
        operators = f"admin:\n  address: {self.host}:{self.second}\n  plaintext: allow\n  tokens:\n{tokens}"
        super().__init__(place, listen + operators + config, UP="sk-up")

    def provider_inside(self, place, inside):
        script = (
            "import sys, time; sys.path.insert(0, sys.argv[1]); from place import provider\n"
            "with provider() as (port, _):\n    print(port, flush=True)\n    time.sleep(600)\n"
        )
        process = subprocess.Popen(
            [*inside, sys.executable, "-B", "-c", script, os.path.dirname(__file__)], stdout=subprocess.PIPE, text=True
        )
        place.started.append(process)
        return int(process.stdout.readline())

    def start(self, *more):
        self.port, self.admin = self.first, self.second
        with open(self.out_path, "a") as out, open(self.err_path, "a") as err:
            words = ["-c", self.file, *more]
            self.process = self.place.spawn(words, out, err, prefix=self.inside, **self.options)
        up = lambda: "on http" in self.err or self.process.poll() is not None
        assert until(up) and self.process.poll() is None, self.err


def check_used_up(operator, gateway, message, passed):
    """All money of the budget is spent, and not more."""
    has(message, "The monthly budget of this account is used up: 5.00 of 5.00 USD.")
    assert passed == CALLS, passed
    (budget,) = operator.http("GET", "/accounts/team/budgets")[1]["data"]
    assert (budget["spent_usd"], budget["held_usd"]) == ("5.00", "0.00"), budget
    audit = gateway.place.run("ledger", "audit", "--data", gateway.place.etc / "data")
    assert audit.code == 0, audit


@step("by HTTP from another machine: a team with five dollars a month, a key, its rotation, and who did what")
def _():
    with operated() as (operator, gateway):
        assert operator.http("POST", "/accounts", {"id": "team"})[0] == 201
        budgets = {"budgets": [{"period": "month", "limit_usd": "5"}]}
        assert operator.http("PUT", "/accounts/team/budgets", budgets)[0] == 200
        status, key = operator.http("POST", "/keys", {"name": "ci", "account": "team"})
        assert status == 201, key
        assert until(lambda: operator.curl("GET", operator.base + "/v1/models", key["secret"])[0] == 200)
        passed, message = operator.use_up(key["secret"])
        check_used_up(operator, gateway, message, passed)
        status, rotated = operator.http("POST", f"/keys/{key['id']}/rotate", {"overlap": "1h"})
        assert status == 200, rotated
        for secret in (rotated["secret"], key["secret"]):
            assert until(lambda: operator.curl("GET", operator.base + "/v1/models", secret)[0] == 200)
        rows = operator.http("GET", f"/audit?subject={key['id']}")[1]["data"]
        told = [(row["actor"], row["action"], row["outcome"]) for row in rows]
        assert told == [("token:ops", "key.rotate", "applied"), ("token:ops", "key.create", "applied")], told
        for change in (("POST", "/keys", {}), ("DELETE", f"/keys/{key['id']}", None), ("POST", "/accounts", {"id": "x"})):
            assert operator.http(*change, token=READER)[0] == 403, change
        assert operator.http("GET", "/keys", token=READER)[1]["data"][0]["id"] == key["id"]


@step("by the command line from another machine: the same, and a token that only reads changes nothing")
def _():
    with operated() as (operator, gateway):
        for words in (["account", "create", "team"], ["budget", "set", "--account", "team", "month=5"]):
            said = operator.command(*words)
            assert said.code == 0, said
        made = operator.command("key", "create", "--name", "ci", "--account", "team")
        assert made.code == 0, made
        secret = made.out.strip()
        (key,) = operator.command("key", "list", "--json").json()
        assert until(lambda: operator.curl("GET", operator.base + "/v1/models", secret)[0] == 200)
        passed, message = operator.use_up(secret)
        check_used_up(operator, gateway, message, passed)
        rotated = operator.command("key", "rotate", key["id"], "--overlap", "1h")
        for known in (rotated.out.strip(), secret):
            assert until(lambda: operator.curl("GET", operator.base + "/v1/models", known)[0] == 200)
        rows = operator.command("audit", "--json").json()
        told = [row["action"] for row in rows if row["actor"] == "token:ops"]
        assert told == ["account.create", "account.budgets", "key.create", "key.rotate"], told
        (day,) = operator.command("usage", "--account", "team", "--by", "day", "--json").json()["data"]
        assert (day["requests"], day["cost_usd"]) == (CALLS, "5.00"), day
        plain = operator.command("usage", "--account", "team")
        assert plain.code == 0 and "5.00" in plain.out, plain
        assert operator.command("status").code == 0 and operator.command("config", "status").code == 0
        before = operator.command("key", "list", "--json").out
        for words in (
            ["key", "create"], ["key", "set", key["id"], "--rpm", "1"], ["key", "rotate", key["id"]],
            ["key", "disable", key["id"]], ["key", "delete", key["id"]], ["account", "create", "x"],
            ["account", "top-up", "team", "1"], ["budget", "set", "--account", "team", "month=9"],
            ["token", "create", "--name", "x"],
        ):
            said = operator.command(*words, token=READER)
            assert said.code == 4 and not said.out, (words, said)
        assert operator.command("key", "list", "--json", token=READER).out == before
        assert operator.command("key", "list", token="nobody-knows-this-token-at-all-0001").code == 4
