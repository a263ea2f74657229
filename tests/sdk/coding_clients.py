"""Coding clients as they are: Claude Code, Codex, OpenCode and aider.

Each does a tool turn, and waits through a long silence before the head of an answer and in the middle of it, with each
protocol upstream. The provider is `strict_provider.py`; a request that it refuses is a failure. Where a client has a
timeout for silences, it is shorter than the silence: at the gateway of `MUTE_URL`, which gives no signs of life, the client
has to give up; otherwise nothing would be shown. Claude Code waits there in spite of its timeouts, and Codex has none for the
head. Codex also has its conversation compacted twice.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

BASE, KEY, LOG = os.environ["BASE_URL"], os.environ["API_KEY"], Path(os.environ["PROVIDER_LOG"])
MUTE, MUTE_KEY = os.environ["MUTE_URL"], os.environ["MUTE_KEY"]
CLI, AIDER, WORKSPACES = Path(os.environ["CLI"]), os.environ["AIDER"], Path(os.environ["WORKSPACES"])
PATIENCE = 25  # seconds without a word
LIMIT = 200  # seconds for one cell
DONE, PATIENT = "tool-42", "Patience pays."
UPSTREAMS = ["chat", "responses", "messages"]


class Agent:
    """A coding client in a home and a folder of its own."""

    # Requests in a silent cell: more would be another attempt.
    requests = 1
    # The silences that it does not wait through.
    impatient = ("head", "stream")

    def __init__(self, *words, base=BASE, key=KEY):
        self.cell = "-".join(["cell", self.name, *words])
        self.base, self.key = base, key
        self.home = WORKSPACES / self.cell
        self.folder = self.home / "project"
        self.folder.mkdir(parents=True)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM") if name in os.environ}
        self.env = {**kept, "HOME": str(self.home), "API_KEY": key}

    async def run(self, *command):
        """What the client says, on both of its outputs."""
        process = await asyncio.create_subprocess_exec(
            *map(str, command), cwd=self.folder, env=self.env, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            out, _ = await asyncio.wait_for(process.communicate(), LIMIT)
        except asyncio.TimeoutError:
            raise AssertionError(f"not done after {LIMIT} s") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, 9)
        said = out.decode(errors="replace")
        assert process.returncode == 0, f"exit status {process.returncode}:\n{said}"
        return said

    def check_turn(self, said):
        assert f"The tool answered: {DONE}" in said, said

    def task(self):
        return f"{self.cell}: run the command that the tool is for."


class ClaudeCode(Agent):
    name = "claude"
    speaks = "messages"
    impatient = ()

    async def ask(self, model):
        quiet = ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER", "DISABLE_ERROR_REPORTING",
                 "DISABLE_TELEMETRY", "IS_SANDBOX", "CLAUDE_ENABLE_STREAM_WATCHDOG"]  # fmt: skip
        patience = ["CLAUDE_STREAM_IDLE_TIMEOUT_MS", "CLAUDE_STREAM_FIRST_BYTE_TIMEOUT_MS"]
        self.env |= {name: "1" for name in quiet} | {name: str(PATIENCE * 1000) for name in patience}
        self.env |= {"ANTHROPIC_BASE_URL": self.base, "ANTHROPIC_AUTH_TOKEN": self.key, "CLAUDE_CODE_MAX_RETRIES": "0",
                     "ANTHROPIC_MODEL": model, "ANTHROPIC_DEFAULT_HAIKU_MODEL": model}  # fmt: skip
        return await self.run(CLI / "claude", "-p", self.task(), "--dangerously-skip-permissions")


class Codex(Agent):
    name = "codex"
    speaks = "responses"
    impatient = ("stream",)

    def configure(self, model, *more):
        lines = ["check_for_update_on_startup = false", f'model = "{model}"', *more, "[analytics]", "enabled = false"]
        (self.home / ".codex").mkdir(exist_ok=True)
        (self.home / ".codex" / "config.toml").write_text("\n".join(lines))

    def own_provider(self):
        return ['model_provider = "gateway"', "[model_providers.gateway]", 'name = "gateway"', f'base_url = "{self.base}/v1"',
                'env_key = "API_KEY"', 'wire_api = "responses"', "request_max_retries = 0", "stream_max_retries = 0",
                f"stream_idle_timeout_ms = {PATIENCE * 1000}"]  # fmt: skip

    async def execute(self, *words):
        free = "--dangerously-bypass-approvals-and-sandbox"
        return await self.run(CLI / "codex", "exec", *words[:-1], "--skip-git-repo-check", free, words[-1])

    async def ask(self, model):
        self.configure(model, *self.own_provider())
        return await self.execute(self.task())

    async def compact(self, model, built_in):
        """Fills the window three times, so that the conversation is compacted before the second and the third turn."""
        window = ["model_context_window = 20000", "model_auto_compact_token_limit = 15000"]
        if built_in:
            self.env["CODEX_API_KEY"] = KEY
            self.configure(model, *window, f'openai_base_url = "{BASE}/v1"')
        else:
            self.configure(model, *window, *self.own_provider())
        said = await self.execute(f"{self.cell}: one")
        assert "It goes on." in said, said
        for turn in ("two", "three"):
            said = await self.execute("resume", "--last", f"{self.cell}: {turn}")
            assert "It goes on after a compaction." in said, said


class OpenCode(Agent):
    name = "opencode"
    speaks = "chat"
    requests = 2  # one of them for a title

    async def ask(self, model):
        patience = {"chunkTimeout": PATIENCE * 1000, "headerTimeout": PATIENCE * 1000}
        provider = {"npm": "@ai-sdk/openai-compatible", "models": {model: {}},
                    "options": {"baseURL": f"{self.base}/v1", "apiKey": self.key, **patience}}  # fmt: skip
        config = {"autoupdate": False, "share": "disabled", "provider": {"gateway": provider}}
        (self.folder / "opencode.json").write_text(json.dumps(config))
        return await self.run(CLI / "opencode", "run", "-m", f"gateway/{model}", self.task())


class Aider(Agent):
    name = "aider"
    speaks = "chat"

    async def ask(self, model):
        self.env |= {"OPENAI_API_BASE": f"{self.base}/v1", "OPENAI_API_KEY": self.key}
        quiet = ["--no-git", "--no-show-model-warnings", "--yes-always", "--no-check-update", "--analytics-disable"]
        return await self.run(
            AIDER, "--model", f"openai/{model}", *quiet, "--timeout", PATIENCE, "--message", self.task()
        )

    def check_turn(self, said):
        """It has no tools, but writes files."""
        file = self.folder / "hello.txt"
        assert file.exists() and DONE in file.read_text(), said


def requests(cell):
    """The provider's log of a cell."""
    lines = map(json.loads, LOG.read_text().splitlines())
    return [line for line in lines if line["cell"] == cell]


async def does(kind, scenario, upstream):
    agent = kind(scenario, upstream)
    said = await agent.ask(f"{scenario}/{upstream}")
    seen = requests(agent.cell)
    refused = [line["refused"] for line in seen if line["refused"]]
    assert seen and not refused, refused
    if scenario == "turn":
        agent.check_turn(said)
    else:
        assert PATIENT in said, said
        assert len(seen) <= agent.requests, f"{len(seen)} requests:\n{said}"


async def gives_up(kind, scenario):
    """Without signs of life, the client fails or asks again. One that asks again for long is not waited for."""
    agent = kind(scenario, "mute", base=MUTE, key=MUTE_KEY)
    asked = asyncio.ensure_future(agent.ask(f"{scenario}/{agent.speaks}"))
    while not asked.done() and len(requests(agent.cell)) <= agent.requests:
        await asyncio.wait([asked], timeout=1)
    if not asked.done():
        asked.cancel()
        return
    assert asked.exception() is not None, f"it has waited:\n{asked.result()}"


async def compacts(upstream, built_in):
    agent = Codex("compact", "built-in" if built_in else "own", upstream)
    await agent.compact(f"compact/{upstream}", built_in)
    seen = requests(agent.cell)
    refused = [line["refused"] for line in seen if line["refused"]]
    assert not refused, refused
    ways = [line["compacts"] for line in seen if line["compacts"]]
    # With a provider of one's own, Codex asks for a summary itself.
    way = "codex" if not built_in else "item" if upstream == "responses" else "gateway"
    assert ways == [way, way], ways


def cells():
    for scenario in ("head", "stream"):
        for kind in (ClaudeCode, Codex, OpenCode, Aider):
            for upstream in UPSTREAMS:
                yield f"{scenario}, {kind.name} > {upstream}", does(kind, scenario, upstream)
    for kind in (ClaudeCode, Codex, OpenCode, Aider):
        for scenario in kind.impatient:
            yield f"{scenario}, {kind.name}, without signs of life", gives_up(kind, scenario)
    for kind in (ClaudeCode, Codex, OpenCode, Aider):
        for upstream in [*UPSTREAMS, "open"]:
            yield f"turn, {kind.name} > {upstream}", does(kind, "turn", upstream)
    for upstream in UPSTREAMS:
        for built_in in (False, True):
            yield f"two compactions, codex{', built-in provider' * built_in} > {upstream}", compacts(upstream, built_in)


async def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    named = [(name, cell) for name, cell in cells() if wanted in name or cell.close()]
    ends = await asyncio.gather(*(cell for _, cell in named), return_exceptions=True)
    failed = [(name, end) for (name, _), end in zip(named, ends) if end is not None]
    for name, error in failed:
        print(f"FAILED coding clients: {name}\n{type(error).__name__}: {error}\n")
    print(f"coding clients: {len(named) - len(failed)} passed, {len(failed)} failed")
    return bool(failed)


sys.exit(asyncio.run(main()))
