"""A gateway to look at, the traffic it gets, and how checks are counted."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}


class Checks:
    """Counts what holds and what does not."""

    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, 0

    def that(self, name, holds, why=""):
        if holds:
            self.passed += 1
            print(f"ok    {name}")
        else:
            self.failed += 1
            print(f"FAIL  {name}: {why}")

    def end(self):
        print(f"{self.name}: {self.passed} passed, {self.failed} failed")
        sys.exit(self.failed != 0)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def eventually(what, seconds=30):
    """Asks until the answer is true, and gives the last one."""
    end = time.monotonic() + seconds
    while True:
        answer = what()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(0.1)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


def ended(process):
    """Tells a process to end, and waits for it."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Gateway:
    """A gateway with the provider `demo`, one that is not there, and models of several kinds."""

    def __init__(self, binary, folder, environment=None, providers="", models=""):
        os.makedirs(folder)
        self.port, self.admin, self.binary, self.folder = free_port(), free_port(), binary, folder
        self.file, self.access = f"{folder}/gateway.yaml", f"{folder}/access.log"
        with open(self.file, "w") as file:
            file.write(f"""
listen: [{{address: "127.0.0.1:{self.port}"}}]
admin: "127.0.0.1:{self.admin}"
data: {folder}/data
access_log: {self.access}
providers:
  demo: {{}}
  down: {{base_url: "http://127.0.0.1:{free_port()}", protocols: [chat], auth: none}}
{providers}
models:
  - {{id: paid/chat, prices: [{{input: 1000000, output: 1000000}}], max_output: 1024, targets: [{{provider: demo}}]}}
  - {{id: test/chat, targets: [{{provider: demo, protocols: [chat]}}]}}
  - {{id: test/messages, targets: [{{provider: demo, protocols: [messages]}}]}}
  - {{id: test/down, targets: [{{provider: down}}]}}
  - {{id: test/moves, targets: [{{provider: down, model: chat}}, {{provider: demo, model: chat, priority: 1}}]}}
{models}
""")
        self.command("store", "create")
        self.key = self.create("--rpm", "unlimited", "--tpm", "unlimited")
        self.command("account", "top-up", "default", "100")
        log = open(f"{folder}/gateway.log", "w")
        self.process = subprocess.Popen(
            [binary, "-c", self.file], stdout=log, stderr=log, env={**os.environ, **(environment or {})}
        )
        if not eventually(self.is_up):
            raise SystemExit(open(f"{folder}/gateway.log").read())

    def is_up(self):
        try:
            return get(f"http://127.0.0.1:{self.port}/")
        except OSError:
            return False

    def command(self, *arguments):
        run = [self.binary, "--data", f"{self.folder}/data", *arguments]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout

    def create(self, *limits):
        return json.loads(self.command("key", "create", *limits, "--json"))["secret"]

    def metrics(self):
        return get(f"http://127.0.0.1:{self.admin}/metrics")

    def ask(self, protocol, model, text="hello", stream=False, key=None, headers=None, **more):
        """Asks a model; gives status and body."""
        turns = [{"role": "user", "content": text}]
        body = {"model": model, "stream": stream, **more}
        body["input" if protocol == "responses" else "messages"] = turns
        if protocol == "messages":
            body.setdefault("max_tokens", 100)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{PATHS[protocol]}",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {key or self.key}", "content-type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def lines(self):
        """The access lines so far."""
        with open(self.access) as file:
            return [json.loads(line) for line in file.read().splitlines()]

    def end(self):
        ended(self.process)
