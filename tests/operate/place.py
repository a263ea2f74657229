"""A machine's worth of folders, gateways and providers for the steps, all on loopback, without any package."""

import contextlib
import http.client
import http.server
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

BIN = os.path.realpath(os.environ.get("CROSSMODEL_BIN", Path(__file__).parents[2] / "target/debug/crossmodel"))
ADMIN = "operator-token-with-all-the-rights-0001"
READER = "operator-token-that-only-reads-things-02"
# Chat, with usage of 1000 tokens in and 100 out.
ANSWER = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(holds, seconds=15):
    """Waits until something holds; gives it."""
    end = time.monotonic() + seconds
    while True:
        found = holds()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.05)


class Said:
    """What a command printed, and how it ended."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        self.both = out + err

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit status {self.code}\n--- standard output\n{self.out}\n--- standard error\n{self.err}"


class Place:
    """A folder with a home and a working directory of its own. All that was started ends with it."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="crossmodel-operate-"))
        self.home, self.here, self.etc = (self.folder / name for name in ("home", "here", "etc"))
        for folder in (self.home, self.here, self.etc):
            folder.mkdir()
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        shutil.rmtree(self.folder)

    def env(self, **more):
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), **more}

    def run(self, *words, given="", cwd=None, prefix=(), **env):
        command = [*prefix, BIN, *map(str, words)]
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, cwd=cwd or self.here, env=self.env(**env), timeout=120
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def write(self, name, text):
        path = self.etc / name
        path.write_text(text)
        return path

    def spawn(self, words, out=subprocess.DEVNULL, err=subprocess.DEVNULL, umask=-1, prefix=(), **env):
        process = subprocess.Popen(
            [*prefix, BIN, *map(str, words)], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=self.here,
            env=self.env(**env), umask=umask,
        )
        self.started.append(process)
        return process

    def files(self):
        return sorted(str(path) for path in self.folder.rglob("*"))


class Gateway:
    """A running gateway with a file of its own."""

    def __init__(self, place, config="providers: {demo: {}}\n", words=(), name="gateway.yaml", **options):
        self.place, self.port, self.admin = place, free_port(), free_port()
        text = "" if "listen:" in config else f'listen: [{{address: "127.0.0.1:{self.port}"}}]\n'
        text += "" if "admin:" in config else (
            f"admin:\n  address: 127.0.0.1:{self.admin}\n  tokens:\n"
            "    - {name: ops, role: admin, token: env:OPS}\n    - {name: seer, role: read, token: env:SEER}\n"
        )
        self.config = config
        self.file = place.write(name, text + config)
        self.err_path, self.out_path = place.folder / f"{name}.err", place.folder / f"{name}.out"
        self.options = {"OPS": ADMIN, "SEER": READER, **options}
        self.words = words
        self.start()

    def start(self, *more):
        self.starts = getattr(self, "starts", 0) + 1
        with open(self.out_path, "a") as out, open(self.err_path, "a") as err:
            self.process = self.place.spawn(["-c", self.file, *self.words, *more], out, err, **self.options)
        if not until(lambda: self.process.poll() is not None or self.is_up()) or self.process.poll() is not None:
            raise AssertionError(f"the gateway does not start: {self.err}")

    def is_up(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                # The key line comes last.
                return self.err.count("keys: ") + self.err.count("no key yet") == self.starts
        except OSError:
            return False

    @property
    def err(self):
        return self.err_path.read_text()

    @property
    def lines(self):
        """The access lines, each as an object."""
        return [json.loads(line) for line in self.out_path.read_text().splitlines()]

    def last_line(self, count):
        """The access line of the call with this number, once there is one."""
        assert until(lambda: len(self.lines) >= count), self.out_path.read_text()
        return self.lines[count - 1]

    def run(self, *words, **more):
        return self.place.run(*words, "-c", self.file, **more)

    def key(self, *words):
        made = self.run("key", "create", *words)
        assert made.code == 0, made
        return made.out.strip()

    def stop(self, kind=signal.SIGTERM):
        self.process.send_signal(kind)
        return self.process.wait(60)

    def chat(self, key, model="demo/chat", text="Hello", **more):
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return ask(self.port, "POST", "/v1/chat/completions", key, body)

    def metric(self, name):
        page = ask(self.admin, "GET", "/metrics", ADMIN)[1]
        values = [line.rsplit(" ", 1)[1] for line in page.splitlines() if line.startswith((name + " ", name + "{"))]
        return sum(map(float, values))


def ask(port, method, path, token=None, body=None, host="127.0.0.1", timeout=60):
    """Sends one request; gives the status, the body and the headers."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


def admin(gateway, method, path, body=None, token=ADMIN, host="127.0.0.1"):
    status, text, _ = ask(gateway.admin, method, "/admin/v1" + path, token, body, host)
    return status, json.loads(text) if text else {}


@contextlib.contextmanager
def provider(status=200, answer=None, host="127.0.0.1", delay=0.0):
    """A provider that gives one answer; yields its port and the requests that it has seen."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            seen.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            time.sleep(delay)
            body = json.dumps(ANSWER if answer is None else answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        server.server_close()


def on_terminal(place, words, seconds=20, ready="", **env):
    """Starts a gateway whose standard error is a terminal; gives what it shows there, and the process."""
    mine, theirs = pty.openpty()
    process = place.spawn(words, out=subprocess.DEVNULL, err=theirs, **env)
    os.close(theirs)
    shown = bytearray()

    def read():
        with contextlib.suppress(OSError):
            while part := os.read(mine, 4096):
                shown.extend(part)

    threading.Thread(target=read, daemon=True).start()
    until(lambda: ready.encode() in shown and process.poll() is None or process.poll() is not None, seconds)
    time.sleep(0.2)
    return shown.decode().replace("\r", ""), process
