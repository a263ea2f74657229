"""Steps on one machine."""

import os
import re
import shlex
import socket
import stat
import subprocess
import time

from place import ADMIN, Gateway, Place, admin, ask, free_port, on_terminal, provider, until
from steps import Skip, has, lacks, step

SECRET = re.compile(r"cm-[0-9A-Za-z]{40}")


def priced(port, more=""):
    """A model with prices at a provider: 1.25 and 10 dollars for a million tokens."""
    return (
        f'providers: {{up: {{base_url: "http://127.0.0.1:{port}/v1", key: env:UP, protocols: [chat]}}}}\n'
        'models: [{id: "v/m", targets: [{provider: up, model: m}], prices: [{input: 1250000, output: 10000000}]}]\n'
        + more
    )


@step("a port in use is named with its process and a way out, and there are options for another")
def _():
    with Place() as place, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = place.run("--port", port, "--admin", "off")
        assert said.code == 1, said
        has(said.err, f"127.0.0.1:{port} is in use", f"(process {os.getpid()}, ", "Choose another: crossmodel --port")
        for words in (["serve", "--port"], ["start", "--listen"], ["run", "--port"]):
            free = free_port()
            process = place.spawn([*words, f"127.0.0.1:{free}" if words[1] == "--listen" else free, "--admin", "off"])
            assert until(lambda: can_connect(free)), words
            process.kill()
            process.wait()


def can_connect(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@step("the first key is shown on a terminal only, or comes from the environment and is shown nowhere")
def _():
    with Place() as place:
        gateway = Gateway(place)
        assert not SECRET.search(gateway.err + gateway.out_path.read_text())
        has(gateway.err, "no key yet. Run crossmodel key create --name NAME, or start with CROSSMODEL_FIRST_KEY")
        assert gateway.run("key", "list", "--json").json() == []
    with Place() as place:
        words = ["--port", free_port(), "--admin", "off"]
        shown, _ = on_terminal(place, words, ready="curl ")
        assert SECRET.search(shown) and "; echo" in shown, shown
    with Place() as place:
        first = "cm-" + "a1" * 20
        gateway = Gateway(place, CROSSMODEL_FIRST_KEY=first)
        lacks(gateway.err, first)
        assert gateway.chat(first)[0] == 200


@step("standard output has access lines and nothing else")
def _():
    with Place() as place:
        gateway = Gateway(place)
        key = gateway.key()
        gateway.chat(key)
        assert gateway.last_line(1)["status"] == 200
        assert all(isinstance(line, dict) for line in gateway.lines)


@step("a second start tells the number of keys and how to make another")
def _():
    with Place() as place:
        gateway = Gateway(place)
        gateway.key()
        gateway.stop()
        gateway.start()
        has(gateway.err, "keys: 1. Secrets are shown once; create another with: crossmodel key create")


@step("nobody else can use the files of a gateway, whatever the umask, and the doctor has no complaint")
def _():
    with Place() as place:
        gateway = Gateway(place)
        gateway.key()
        gateway.stop()
        process = place.spawn(["-c", gateway.file], umask=0, **gateway.options)
        assert until(lambda: can_connect(gateway.port))
        gateway.run("key", "create")
        data = place.etc / "data"
        paths = [data, *data.rglob("*")]
        assert len(paths) > 6, paths
        for path in paths:
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))
        doctor = gateway.run("doctor", **gateway.options)
        lacks(doctor.out, "not only ours", "may look into it")
        process.kill()


@step("a new key has no limits, as the first one: a coding agent's prompts of 21,000 tokens all pass")
def _():
    with Place() as place:
        gateway = Gateway(place)
        key = gateway.key("--name", "dev")
        for _ in range(8):
            assert gateway.chat(key, text="word " * 21_000)[0] == 200


@step("the lines that a gateway shows at its first start work, also for models with prices")
def _():
    with Place() as place, provider() as (port, _):
        file = place.write(
            "gateway.yaml", f'listen: [{{address: "127.0.0.1:{free_port()}"}}]\nadmin: off\n' + priced(port)
        )
        shown, _ = on_terminal(place, ["-c", file], ready="; echo", UP="sk-up")
        lines = [line for line in shown.splitlines() if line.startswith("curl ")]
        assert lines, shown
        for line in lines:
            done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, env=place.env())
            has(done.stdout, "hello")
            assert done.stdout.endswith("\n")


@step("costs are counted in dollars without a wallet")
def _():
    with Place() as place, provider() as (port, _):
        gateway = Gateway(place, priced(port), UP="sk-up")
        key = gateway.key()
        assert gateway.chat(key, "v/m")[0] == 200
        usage = lambda: gateway.run("usage", "--json").json()
        assert until(lambda: usage()["daily"]["cost_micro"] == 2250), usage()
        account = gateway.run("account", "show", "default", "--json").json()
        assert account["wallet"] is None, account


@step("commands need no provider's key")
def _():
    with Place() as place:
        text = 'providers: {openai: {key: "env:NOT_SET_ANYWHERE"}, demo: {}}\nadmin: "127.0.0.1:1"\n'
        file = place.write("gateway.yaml", text)
        assert place.run("store", "create", "-c", file).code == 0
        for words in (
            ["key", "create"], ["key", "list"], ["account", "list"], ["account", "top-up", "default", "1"], ["usage"],
            ["ledger", "audit"], ["audit"], ["token", "list"], ["store", "info"], ["budget", "list", "--account", "default"],
        ):
            said = place.run(*words, "-c", file)
            assert said.code == 0, (words, said)
        health = place.run("health", "-c", file)
        assert health.code == 5, health
        lacks(health.both, "NOT_SET_ANYWHERE")


@step("a file is checked without its secrets, and each reference is listed")
def _():
    with Place() as place:
        file = place.write("gateway.yaml", "providers:\n  openai: {key: env:NOT_SET_ANYWHERE}\n  demo: {}\n")
        assert place.run("check", "-c", file).code == 1
        said = place.run("check", "--no-secrets", "-c", file)
        assert said.code == 0, said
        has(said.both, "needs: env NOT_SET_ANYWHERE (providers.openai.key, line 2)")
        references = place.run("check", "--no-secrets", "--json", "-c", file).json()["references"]
        has(str(references), "NOT_SET_ANYWHERE")


@step("a key that is made in a shell works at the gateway of a service manager, wherever that has its data")
def _():
    with Place() as place:
        gateway = Gateway(place, words=["--data", place.folder / "state"])
        made = gateway.run("key", "create", "--name", "the team", cwd=place.home)
        has(made.err, f"store: {place.folder}/state, used by gateway {gateway.process.pid}")
        assert until(lambda: gateway.chat(made.out.strip())[0] == 200)
        assert not (place.home / "data").exists() and not (place.etc / "data").exists()
        gateway.stop()
        assert gateway.run("key", "create").code == 5


@step("a listing makes nothing where there is no store, and says what to do")
def _():
    with Place() as place:
        before = place.files()
        for words in (["key", "list"], ["account", "list"], ["usage"], ["audit"], ["key", "create"], ["store", "info"]):
            said = place.run(*words, "--data", place.here / "data")
            assert said.code == 5, (words, said)
            has(said.err, f"no store in {place.here}/data. Start the gateway once", "crossmodel store create --data")
        assert place.files() == before


@step("a shell variable with a new key holds the secret and nothing else")
def _():
    with Place() as place:
        gateway = Gateway(place)
        made = gateway.run("key", "create")
        assert SECRET.fullmatch(made.out[:-1]) and made.out.endswith("\n"), made
        has(made.err, "cannot be shown again: keep it now")
        rotated = gateway.run("key", "rotate", gateway.run("key", "list", "--json").json()[0]["id"])
        token = gateway.run("token", "create", "--name", "ci")
        for said in (rotated, token):
            assert said.out.count("\n") == 1 and said.err, said


@step("limits of nothing are refused, and models that there are not are warned of")
def _():
    with Place() as place:
        gateway = Gateway(place)
        refused = gateway.run("key", "create", "--rpm", "0")
        assert refused.code != 0, refused
        has(refused.err, "rpm")
        made = gateway.run("key", "create", "--model", "nope", "--alias", "foo=bar/baz")
        assert made.code == 0 and SECRET.fullmatch(made.out.strip()), made
        has(made.err, "no model matches 'nope'", "bar/baz")


@step("an alias that leads nowhere is warned of")
def _():
    with Place() as place:
        file = place.write("gateway.yaml", "providers: {demo: {}}\naliases: {fast: openai/gtp-5}\n")
        said = place.run("check", "-c", file)
        assert said.code == 0, said
        has(said.both, "fast", "openai/gtp-5")
        assert place.run("check", "--strict", "-c", file).code == 1


@step("a call that may cost more than is left says how much it may cost and what is left")
def _():
    with Place() as place, provider() as (port, _):
        gateway = Gateway(place, priced(port), UP="sk-up")
        status, text, headers = gateway.chat(gateway.key("--spending-limit", "0.01"), "v/m", max_tokens=100_000)
        assert status == 402 and headers["x-should-retry"] == "false", (status, text)
        has(text, "may cost up to", "0.01 USD left", "Ask for fewer output tokens")


@step("mistakes in prices and times name the unit and show a valid value")
def _():
    with Place() as place:
        model = 'models: [{id: "v/m", targets: [{provider: demo}], prices: [{input: 1.25, output: 10}]}]'
        for text, words in ((model, ["1250000"]), ("timeouts: {connect: 5s}", ["seconds, such as 30"])):
            said = place.run("check", "-c", place.write("gateway.yaml", f"providers: {{demo: {{}}}}\n{text}\n"))
            assert said.code == 1, said
            has(said.both, *words)


@step("a member that stands twice is told with its first line")
def _():
    with Place() as place:
        said = place.run("check", "-c", place.write("gateway.yaml", "providers:\n  demo: {}\n  demo: {}\n"))
        assert said.code == 1, said
        has(said.both, "'demo' already exists in line 2")
        lacks(said.both, "DuplicateKeyPolicy")


@step("a gateway that answers nothing is warned of")
def _():
    with Place() as place:
        file = place.write("gateway.yaml", "listen: [{address: \"127.0.0.1:1\"}]\nproviders: {}\n")
        said = place.run("check", "-c", file)
        has(said.both, "warning")


@step("an admin listener that everybody can reach without a token is warned of by check, doctor and start")
def _():
    with Place() as place:
        port = free_port()
        gateway = Gateway(place, f"admin: 0.0.0.0:{port}\nproviders: {{demo: {{}}}}\n")
        for said in (gateway.run("check").both, gateway.run("doctor").both, gateway.err):
            has(said, "may read the metrics")


@step("keys, accounts, money and usage are managed by HTTP")
def _():
    with Place() as place:
        gateway = Gateway(place)
        status, account = admin(gateway, "POST", "/accounts", {"id": "team"})
        assert status == 201, account
        status, key = admin(gateway, "POST", "/keys", {"name": "ci", "account": "team", "expires_in": "90d"})
        assert status == 201 and SECRET.fullmatch(key["secret"]), key
        assert until(lambda: gateway.chat(key["secret"])[0] == 200)
        assert admin(gateway, "POST", "/accounts/team/top-ups", {"amount_usd": "25"})[0] == 201
        assert admin(gateway, "POST", "/keys", {}, token=None)[0] == 401
        status, document = admin(gateway, "GET", "/openapi.json", token=None)
        assert status == 200 and document["openapi"].startswith("3.1")


@step("a key is rotated with an overlap, renamed, moved, and ends in time; a top-up is taken back")
def _():
    with Place() as place:
        gateway = Gateway(place)
        first = gateway.key("--name", "tpyo")
        (key,) = gateway.run("key", "list", "--json").json()
        id = key["id"]
        second = gateway.run("key", "rotate", id, "--overlap", "1h").out.strip()
        assert until(lambda: gateway.chat(second)[0] == 200) and gateway.chat(first)[0] == 200
        third = gateway.run("key", "rotate", id, "--overlap", "0s").out.strip()
        assert until(lambda: gateway.chat(second)[0] == 401 and gateway.chat(third)[0] == 200)
        assert gateway.run("account", "create", "search").code == 0
        changed = gateway.run("key", "set", id, "--name", "ci", "--account", "search", "--expires", "2099-01-31", "--json")
        assert [changed.json()[name] for name in ("id", "name", "account")] == [id, "ci", "search"]
        has(changed.json()["expires_at"], "2099-01-31")
        gateway.run("key", "set", id, "--expires", "0d")
        assert until(lambda: gateway.chat(third)[0] == 401)
        has(gateway.chat(third)[1], "expired")
        assert gateway.run("account", "top-up", "search", "25").code == 0
        assert gateway.run("account", "refund", "search", "25", "--reference", "wrong").code == 0
        assert gateway.run("key", "delete", id).code == 0
        assert gateway.run("account", "delete", "search").code == 0


@step("keys and accounts have budgets of a month or a day, hard or soft")
def _():
    with Place() as place, provider() as (port, _):
        gateway = Gateway(place, priced(port), UP="sk-up")
        key = gateway.key()
        id = gateway.run("key", "list", "--json").json()[0]["id"]
        said = gateway.run("budget", "set", "--key", id, "month=0.01", "day=5,soft,alert=50/80/100", "--json")
        assert [budget["hard"] for budget in said.json()] == [True, False], said
        assert gateway.run("budget", "set", "--account", "default", "month=500").code == 0
        answers = [gateway.chat(key, "v/m", max_tokens=200) for _ in range(6)]
        assert [answer[0] for answer in answers][0] == 200 and answers[-1][0] == 402, answers
        has(answers[-1][1], "monthly budget of this API key", "USD left")
        assert answers[-1][2]["x-crossmodel-budget-reset"]


@step("the list of keys shows ends of secrets, expiry and last use, and a leaked secret leads to its key")
def _():
    with Place() as place:
        gateway = Gateway(place)
        secret = gateway.key("--name", "mine")
        gateway.key("--account", "default", "--name", "other")
        gateway.chat(secret)
        listed = gateway.run("key", "list", "--account", "default").out
        has(listed, "cm-…" + secret[-4:], "EXPIRES", "LAST USED", "STATE")
        found = gateway.run("key", "find", "-", given=secret + "\n")
        has(found.out, "mine")
        lacks(found.out, "other")
        has(gateway.run("key", "find", secret[-4:]).out, "mine")


@step("the usage of a key that there is not is an error")
def _():
    with Place() as place:
        gateway = Gateway(place)
        gateway.key()
        said = gateway.run("usage", "--key", "key_nope")
        assert said.code == 3, said
        has(said.err, "there is no key 'key_nope'")


@step("usage is asked for by day, key, model and account, as a table, as JSON and for a spreadsheet, right after a call")
def _():
    with Place() as place, provider() as (port, _):
        gateway = Gateway(place, priced(port), UP="sk-up")
        key = gateway.key("--name", "ci")
        assert gateway.chat(key, "v/m")[0] == 200
        gateway.last_line(1)
        said = gateway.run("usage", "--by", "key,model,day")
        assert said.code == 0, said
        has(said.out, "START", "MODEL", "(ci)", "v/m", "total", "0.00225")
        assert re.search(r"as of \d{4}-\d\d-\d\dT", said.err), said
        found = gateway.run("usage", "--by", "account", "--json").json()
        assert found["total"]["requests"] == 1 and found["from"] < found["as_of"] < found["to"], found
        lines = gateway.run("usage", "--by", "account,day", "--csv").out.splitlines()
        assert lines[0].startswith("start,account,") and ",default," in lines[1], lines
        assert gateway.run("usage", "--from", "2020-01-01", "--to", "2020-02-01", "--by", "key").out.count("\n") == 2
        assert gateway.run("usage", "--by", "colour").code == 1
        gateway.stop()
        assert gateway.run("usage", "--by", "account", "--json").json()["total"] == found["total"]


@step("the state of the configuration is shown, with what was refused and what is overridden")
def _():
    with Place() as place:
        gateway = Gateway(place)
        said = gateway.run("config", "status")
        assert said.code == 0, said
        has(said.out, str(gateway.file), "in force", "by start")
        gateway.file.write_text(gateway.file.read_text() + "modles: []\n")
        gateway.process.send_signal(1)
        assert until(lambda: gateway.run("config", "status").code == 1)
        has(gateway.run("config", "status").out, "REFUSED", "modles")
        assert gateway.run("status").code == 1
        assert gateway.run("status", "--json").json()["conditions"]
        gateway.process.kill()
        gateway.process.wait()
        assert gateway.run("status").code == 5


@step("a copy of the store is made while the gateway works, and a gateway starts on it")
def _():
    with Place() as place:
        gateway = Gateway(place)
        key = gateway.key()
        (place.folder / "copy").mkdir(mode=0o700)
        copy = place.folder / "copy/crossmodel.db"
        said = gateway.run("store", "backup", copy)
        assert said.code == 0 and stat.S_IMODE(copy.stat().st_mode) == 0o600, said
        assert gateway.run("store", "backup", copy).code == 6, "nothing is overwritten"
        has(gateway.run("store", "info").out, "current", str(gateway.process.pid), str(copy))
        has(gateway.run("doctor", **gateway.options).out, "0 days and 0 hours old")
        assert gateway.run("store", "vacuum").code == 6, "a gateway uses it"
        restored = Gateway(place, words=["--data", copy.parent], name="restored.yaml")
        assert restored.chat(key)[0] == 200
        gateway.stop()
        assert gateway.run("store", "vacuum").code == 0


@step("failures are one line of JSON for programs")
def _():
    with Place() as place:
        gateway = Gateway(place)
        said = gateway.run("key", "show", "key_nope", "--json")
        assert said.code == 3 and not said.out, said
        assert said.err == '{"error":{"code":"not_found","message":"there is no key \'key_nope\'"}}\n', said


@step("who has made, changed and deleted a key is recorded, however it was done")
def _():
    with Place() as place:
        gateway = Gateway(place)
        gateway.key("--name", "mine")
        id = gateway.run("key", "list", "--json").json()[0]["id"]
        assert admin(gateway, "PATCH", f"/keys/{id}", {"rpm": 60})[0] == 200
        gateway.stop()
        assert gateway.run("key", "delete", id).code == 0
        rows = gateway.run("audit", "--subject", id, "--json").json()
        told = [(row["actor"], row["action"], row["outcome"]) for row in rows]
        user = f"local:{os.geteuid()}"
        assert told == [
            (user, "key.create", "applied"), ("token:ops", "key.update", "applied"), ("cli", "key.delete", "applied")
        ], told


@step("a top-up with a known reference and another amount names both")
def _():
    with Place() as place:
        gateway = Gateway(place)
        gateway.key()
        top_up = ["account", "top-up", "default"]
        assert gateway.run(*top_up, "3.50", "--reference", "invoice-7").code == 0
        assert gateway.run(*top_up, "3.50", "--reference", "invoice-7").code == 0, "the same again changes nothing"
        said = gateway.run(*top_up, "4", "--reference", "invoice-7")
        assert said.code == 6, said
        has(said.err, "there is already another top-up 'invoice-7': 3.50 USD for 'default' on ")


@step("a key is renamed with the option that everybody tries")
def _():
    with Place() as place:
        gateway = Gateway(place)
        gateway.key()
        id = gateway.run("key", "list", "--json").json()[0]["id"]
        assert gateway.run("key", "set", id, "--name", "x", "--json").json()["name"] == "x"


def two_targets(first, more=""):
    """A model whose first target is broken and whose second one answers."""
    return (
        f"providers:\n  broken: {first}\n  demo: {{}}\n"
        'models: [{id: "v/m", targets: [{provider: broken, model: m, priority: 1}, {provider: demo, model: chat, priority: 2}]}]\n' + more
    )


@step("a refused credential of a provider is in the log although another target answers")
def _():
    refusal = {"error": {"message": "Incorrect API key", "type": "invalid_request_error", "code": "invalid_api_key"}}
    with Place() as place, provider(401, refusal) as (port, _):
        first = f'{{base_url: "http://127.0.0.1:{port}/v1", key: env:UP, protocols: [chat]}}'
        gateway = Gateway(place, two_targets(first), UP="sk-wrong-one-0123456789")
        key = gateway.key()
        for _ in range(20):
            assert gateway.chat(key, "v/m")[0] == 200
        warned = lambda: [line for line in gateway.err.splitlines() if "WARN" in line and "broken" in line]
        assert until(warned), gateway.err
        assert len(warned()) <= 2, warned()
        has(warned()[0], "401")
        lacks(gateway.err, "sk-wrong-one")


@step("a handshake that fails is told with its reason")
def _():
    with Place() as place, provider() as (port, _):
        first = f'{{base_url: "https://127.0.0.1:{port}/v1", key: env:UP, protocols: [chat]}}'
        gateway = Gateway(place, two_targets(first), UP="sk-up")
        assert gateway.chat(gateway.key(), "v/m")[0] == 200
        line = gateway.last_line(1)
        has(str(line), "does not speak TLS")


@step("a closed port is told once, with the target and the reason, and not for each call")
def _():
    with Place() as place:
        first = f'{{base_url: "http://127.0.0.1:{free_port()}/v1", key: env:UP, protocols: [chat]}}'
        gateway = Gateway(place, two_targets(first), UP="sk-up")
        key = gateway.key()
        for _ in range(40):
            assert gateway.chat(key, "v/m")[0] == 200
        told = [line for line in gateway.err.splitlines() if "broken" in line]
        assert told and len(told) <= 4, told
        has("\n".join(told), "connection refused", "v/m@broken")
        lacks(gateway.err, "failed to acquire reusable stream")


@step("a name that does not resolve does not fill the log")
def _():
    with Place() as place:
        first = '{base_url: "http://api.opnai.invalid/v1", key: env:UP, protocols: [chat]}'
        gateway = Gateway(place, two_targets(first), UP="sk-up")
        assert gateway.chat(gateway.key(), "v/m")[0] == 200
        time.sleep(6)
        told = [line for line in gateway.err.splitlines() if "api.opnai.invalid" in line]
        assert 1 <= len(told) <= 4, told


@step("a target that fails and comes back is in the log and the metrics")
def _():
    with Place() as place:
        port = free_port()
        first = f'{{base_url: "http://127.0.0.1:{port}/v1", key: env:UP, protocols: [chat]}}'
        gateway = Gateway(place, two_targets(first), UP="sk-up")
        key = gateway.key()
        for _ in range(10):
            gateway.chat(key, "v/m")
        assert until(lambda: "open" in gateway.err), gateway.err
        assert gateway.metric('crossmodel_target_state{model="v/m",provider="broken",state="open"}') == 1


@step("an access line tells all attempts, the client, the account and the key")
def _():
    with Place() as place:
        first = f'{{base_url: "http://127.0.0.1:{free_port()}/v1", key: env:UP, protocols: [chat]}}'
        gateway = Gateway(place, two_targets(first), UP="sk-up")
        gateway.chat(gateway.key("--name", "dev"), "v/m")
        line = gateway.last_line(1)
        assert [attempt["provider"] for attempt in line["tries"]] == ["broken", "demo"], line
        assert line["client"] == "127.0.0.1" and line["account"] == "default" and line["key"].startswith("key_"), line


@step("a base URL that ends in an endpoint is warned of")
def _():
    with Place() as place:
        url = '"http://127.0.0.1:1/v1/chat/completions"'
        file = place.write("gateway.yaml", f"providers: {{up: {{base_url: {url}, key: env:UP, protocols: [chat]}}}}\n")
        has(place.run("check", "--no-secrets", "-c", file).both, "warning", "ends in the endpoint /chat/completions")


@step("a changed listener is told to need a new process, in the log and the metrics")
def _():
    with Place() as place:
        gateway = Gateway(place)
        gateway.file.write_text(gateway.file.read_text().replace(f"127.0.0.1:{gateway.port}", f"127.0.0.1:{free_port()}"))
        gateway.process.send_signal(1)
        assert until(lambda: "listen: needs a new process" in gateway.err), gateway.err
        assert gateway.metric("crossmodel_config_restart_required") == 1


@step("an access log that was moved is opened anew on a signal, and no line is lost")
def _():
    with Place() as place:
        log = place.folder / "access.log"
        gateway = Gateway(place, f"access_log: {log}\nproviders: {{demo: {{}}}}\n")
        key = gateway.key()
        gateway.chat(key)
        assert until(lambda: log.exists() and log.read_text().count("\n") == 1)
        log.rename(place.folder / "access.log.1")
        gateway.process.send_signal(1)
        assert until(log.exists), gateway.err
        gateway.chat(key)
        assert until(lambda: log.read_text().count("\n") == 1)
        assert (place.folder / "access.log.1").read_text().count("\n") == 1


@step("a missing folder of the access log is named by check, doctor and start")
def _():
    with Place() as place:
        folder = place.folder / "nowhere"
        text = f"admin: off\nlisten: [{{address: \"127.0.0.1:{free_port()}\"}}]\naccess_log: {folder}/access.log\n"
        file = place.write("gateway.yaml", text + "providers: {demo: {}}\n")
        for words in (["check"], ["doctor"], ["run"]):
            said = place.run(*words, "-c", file)
            assert said.code == 1, (words, said)
            has(said.both, str(folder))


@step("a data folder of another user is told with its path, both users and what to do")
def _():
    if os.geteuid() != 0:
        raise Skip("only root can be two users")
    as_nobody = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
    with Place() as place:
        place.folder.chmod(0o755)
        data = place.folder / "data"
        assert place.run("store", "create", "--data", data).code == 0
        data.chmod(0o755)
        words = ["--data", data, "--port", free_port(), "--admin", "off"]
        for command in (words, ["key", "list", "--data", data]):
            said = place.run(*command, prefix=as_nobody, cwd="/", given="")
            assert said.code in (1, 4), said
            has(said.err, f"{data}", "belongs to uid 0, this process runs as uid 54321", "crossmodel doctor")


@step("a second gateway on a folder names the first")
def _():
    with Place() as place:
        gateway = Gateway(place)
        words = ["--data", place.etc / "data", "--port", free_port(), "--admin", "off"]
        err = place.folder / "second.err"
        with open(err, "w") as log:
            place.spawn(words, err=log)
            assert until(lambda: "uses" in err.read_text()), err.read_text()
        has(err.read_text(), f"gateway {gateway.process.pid} uses")


@step("operators can look until the last call is over, and probes learn that the gateway leaves")
def _():
    with Place() as place:
        gateway = Gateway(place)
        key = gateway.key()
        call = subprocess.Popen(
            ["curl", "-s", f"http://127.0.0.1:{gateway.port}/v1/chat/completions", "-H", f"authorization: Bearer {key}",
             "-d", '{"model":"demo/chat","messages":[{"role":"user","content":"[demo:wait=4000] bye"}]}'],
            stdout=subprocess.PIPE, text=True,
        )
        assert until(lambda: gateway.metric("crossmodel_requests_in_flight") == 1)
        gateway.process.terminate()
        assert until(lambda: ask(gateway.admin, "GET", "/readyz")[0] == 503)
        has(ask(gateway.admin, "GET", "/readyz")[1], "draining")
        assert ask(gateway.admin, "GET", "/metrics", ADMIN)[0] == 200
        assert ask(gateway.admin, "GET", "/healthz")[0] == 200
        assert gateway.run("key", "list").code == 0, "commands work"
        has(call.communicate(timeout=30)[0], "bye")
        assert gateway.process.wait(30) == 0
        assert not list((place.etc / "data/control").iterdir())


@step("the command that root has to run is written out, quoted for a shell")
def _():
    if os.geteuid() != 0:
        raise Skip("only root can be two users")
    with Place() as place:
        place.folder.chmod(0o755)
        place.etc.chmod(0o755)
        gateway = Gateway(place, words=["--data", place.folder / "state"])
        gateway.file.chmod(0o644)
        as_nobody = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
        said = gateway.run("key", "create", "--name", "the team", prefix=as_nobody, cwd="/")
        assert said.code == 4, said
        line = said.err.split("Run: ")[1].strip()
        assert shlex.split(line) == ["sudo", "crossmodel", "key", "create", "--name", "the team", "-c", str(gateway.file)]
