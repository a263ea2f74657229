"""The admin API against its document. The last line counts what holds and what does not."""

import http.client
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DOCUMENT, WORK, RUNDIR = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
HERE = pathlib.Path(__file__).parent
BINARY = os.environ["CROSSMODEL_BIN"]
EXAMPLES = os.environ.get("ADMIN_EXAMPLES", "25")
TOKEN = "operator-token-for-the-contract-of-the-api"
METHODS = {"get", "put", "post", "patch", "delete"}

passed = failed = 0


def check(name, problem):
    """Counts a check; a problem is a text, and nothing if there is none."""
    global passed, failed
    if problem:
        failed += 1
        print(f"FAIL  {name}\n{problem}")
    else:
        passed += 1
        print(f"ok    {name}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Gateway:
    """A gateway with the built-in provider and a store of its own."""

    def __init__(self, name, admin=""):
        self.folder = RUNDIR / name
        self.folder.mkdir()
        self.port, self.admin = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.admin}"
        (self.folder / "gateway.yaml").write_text(f"""
listen: [{{address: "127.0.0.1:{self.port}"}}]
admin:
  address: "127.0.0.1:{self.admin}"
  tokens: [{{name: contract, role: admin, token: env:CONTRACT_TOKEN}}]
{admin}
data: {self.folder}/data
access_log: "off"
providers: {{demo: {{}}}}
""")
        self.log = open(self.folder / "log", "w")
        environment = {**os.environ, "CONTRACT_TOKEN": TOKEN}
        command = [BINARY, "-c", str(self.folder / "gateway.yaml")]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=environment)
        end = time.monotonic() + 30
        while not self.listens():
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit((self.folder / "log").read_text())
            time.sleep(0.1)

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def run(*command, **environment):
    """Runs a command, and gives its output if it fails."""
    done = subprocess.run(
        command, cwd=RUNDIR, env={**os.environ, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.stdout if done.returncode else None


def examples(document):
    """All examples with their names and schemas."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in METHODS:
                continue
            name = operation["operationId"]
            contents = [(f"{name}: request", operation.get("requestBody", {}).get("content", {}))]
            for status, response in operation["responses"].items():
                contents.append((f"{name}: {status}", response.get("content", {})))
            for where, content in contents:
                for kind, media in content.items():
                    yield where, kind, media


def check_document():
    document = json.loads(DOCUMENT.read_text())
    try:
        validate(document)
        check("the document is valid", None)
    except Exception as error:  # noqa: BLE001 the reason is shown
        check("the document is valid", str(error))
    resource = Resource.from_contents(document, default_specification=DRAFT202012)
    registry = Registry().with_resource("urn:document", resource)
    problems = []
    for where, kind, media in examples(document):
        if kind != "application/json":
            continue
        if "example" not in media:
            problems.append(f"{where}: there is no example")
            continue
        schema = json.loads(json.dumps(media["schema"]).replace('"#/', '"urn:document#/'))
        found = Draft202012Validator(schema, registry=registry).iter_errors(media["example"])
        problems.extend(f"{where}: {error.json_path}: {error.message}" for error in found)
    check("each request and each answer has an example that fits its schema", "\n".join(problems))


def check_client():
    bin = WORK / "node_modules/.bin"
    client = WORK / "client"
    shutil.rmtree(client, ignore_errors=True)
    client.mkdir()
    shutil.copy(HERE / "client.ts", client)
    (client / "package.json").write_text('{"type": "module"}')
    # A member with a default may be left out of a request.
    problem = run(bin / "openapi-typescript", DOCUMENT, "--default-non-nullable=false", "-o", client / "api.d.ts")
    check("a TypeScript client is generated", problem)
    options = ["--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck", "--outDir", client / "out"]
    options += ["--typeRoots", WORK / "node_modules/@types", "--types", "node"]
    problem = run(bin / "tsc", *options, client / "client.ts")
    check("a program that uses it compiles", problem)
    with Gateway("client") as gateway:
        where = {"ADMIN_URL": gateway.url, "ADMIN_TOKEN": TOKEN}
        problem = run("node", client / "out/client.js", **where)
        check("the program does what it is for", problem)


def check_requests():
    with Gateway("requests") as gateway:
        checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
        problem = run(
            WORK / "venv/bin/schemathesis", "run", DOCUMENT, "--url", gateway.url,
            "--header", f"authorization: Bearer {TOKEN}", "--checks", checks, "--max-examples", EXAMPLES,
            "--phases", "examples,fuzzing", "--seed", "1",
            "--generation-database", "none", "--suppress-health-check", "filter_too_much", "--exclude-operation-id", "deleteToken",
        )
        check(f"requests that are made up from the document get the answers that it names ({EXAMPLES} each)", problem)
        alive = gateway.process.poll() is None
        check("the gateway outlives them", None if alive else (gateway.folder / "log").read_text())
        text = (gateway.folder / "log").read_text()
        check("no defect is in its log", text if "panicked" in text or "invariant" in text else None)


def check_tls():
    key, certificate = RUNDIR / "key.pem", RUNDIR / "certificate.pem"
    problem = run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate),
    )
    if problem:
        return check("a certificate is made", problem)
    os.chmod(key, 0o600)
    with Gateway("tls", admin=f"  tls: {{certificate: {certificate}, key: {key}}}") as gateway:
        context = ssl.create_default_context(cafile=certificate)
        request = urllib.request.Request(
            f"https://localhost:{gateway.admin}/admin/v1/status", headers={"authorization": f"Bearer {TOKEN}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                status = json.load(answer)
            found = {condition["type"]: condition["status"] for condition in status["conditions"]}
            check("the API is served over TLS", None if found.get("Ready") == "True" else str(status))
        except OSError as error:
            check("the API is served over TLS", str(error))
        configuration = str(gateway.folder / "gateway.yaml")
        check("the health check finds TLS", run(BINARY, "-c", configuration, "health", CONTRACT_TOKEN=TOKEN))
        try:
            urllib.request.urlopen(f"{gateway.url}/readyz", timeout=10)
            check("nothing is served without", "an answer came without TLS")
        except (OSError, http.client.HTTPException):
            check("nothing is served without", None)


for part in check_document, check_client, check_requests, check_tls:
    part()
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)
