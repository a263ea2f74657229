"""A receiver of OTLP over HTTP takes what a gateway with the feature `otel` sends, and looks at it."""

import gzip
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway import Checks, Gateway, eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SECRET = "prompt-canary-8812"

MODELS = "  - {id: mine/chat, targets: [{provider: mine}]}"

ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"real-2026-01-01","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"answer-canary-8812"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}'
)


def serve(answer):
    """A server on a thread of its own; `answer` makes status, type and body of what came."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            status, kind, out = answer(self.path, self.headers, body)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


class Receiver:
    """Keeps the spans that it is sent, and what else is said."""

    def __init__(self):
        self.spans, self.resources, self.seen, self.bytes = [], [], [], b""
        self.port = serve(self.take)

    def take(self, path, headers, body):
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.bytes += body
        self.seen.append((path, headers["content-type"], headers.get("x-token")))
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            self.resources.append(attributes(of_resource.resource))
            for scope in of_resource.scope_spans:
                self.spans.extend(scope.spans)
        return 200, "application/x-protobuf", b""

    def calls(self):
        return [span for span in self.spans if span.kind == Span.SPAN_KIND_SERVER]

    def below(self, call):
        return [span for span in self.spans if span.parent_span_id == call.span_id]


def attributes(of):
    def value(any_value):
        kind = any_value.WhichOneof("value")
        if kind == "array_value":
            return [value(one) for one in any_value.array_value.values]
        return getattr(any_value, kind)

    return {one.key: value(one.value) for one in of.attributes}


def main():
    checks, folder = Checks("traces.py"), sys.argv[1]
    heads = []

    def provider(_path, headers, _body):
        heads.append(dict(headers.items()))
        return 200, "application/json", ANSWER

    providers = f'  mine: {{base_url: "http://127.0.0.1:{serve(provider)}", protocols: [chat], auth: none}}'
    receiver = Receiver()
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-token=t0ken",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    gateway = Gateway(os.environ["CROSSMODEL_OTEL_BIN"], f"{folder}/traces", environment, providers, MODELS)
    try:
        look(checks, gateway, receiver, heads)
    finally:
        gateway.end()
    sampled_out(checks, folder, receiver)
    dead(checks, folder)
    checks.end()


def look(checks, gateway, receiver, heads):
    caller = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    relayed = gateway.ask("chat", "mine/chat", SECRET, headers=caller)
    checks.that("a relayed call is answered", relayed[0] == 200, relayed)
    gateway.ask("messages", "mine/chat", SECRET)
    gateway.ask("messages", "test/messages", SECRET, stream=True)
    gateway.ask("chat", "test/moves")
    gateway.ask("chat", "nobody/knows-this")
    eventually(lambda: len(receiver.calls()) >= 5)
    calls = receiver.calls()
    checks.that("there is one span for each call", len(calls) == 5, calls)
    first = next((call for call in calls if call.trace_id.hex() == TRACE), None)
    checks.that("the caller's trace goes on", first and first.parent_span_id.hex() == PARENT, calls)
    said = attributes(first)
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mine",
        "gen_ai.request.model": "mine/chat",
        "gen_ai.response.model": "real-2026-01-01",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 2,
        "http.response.status_code": 200,
        "crossmodel.route": "relay",
    }
    checks.that("it says what it was", wanted.items() <= said.items(), said)
    checks.that("it is named by operation and model", first.name.startswith("chat mine/"), first.name)
    tries = receiver.below(first)
    checks.that("below it is one try", len(tries) == 1 and tries[0].kind == Span.SPAN_KIND_CLIENT, tries)
    said = attributes(tries[0])
    told = said.get("server.address") == "127.0.0.1" and said.get("server.port") and said.get("gen_ai.request.model")
    checks.that("which says where it went", told and said["http.response.status_code"] == 200, said)
    passed_on = heads[0].get("traceparent")
    checks.that("the provider is told of it", passed_on == f"00-{TRACE}-{tries[0].span_id.hex()}-01", heads[0])
    checks.that("and of the trace's state", heads[0].get("tracestate") == "vendor=1", heads[0])
    checks.that("also in a translated call", heads[1].get("traceparent", "").startswith("00-"), heads[1])
    translated = [attributes(call) for call in calls if attributes(call).get("crossmodel.route") == "translation"]
    names = [said.get("gen_ai.response.model") for said in translated]
    checks.that("a translated answer names its model, too", "real-2026-01-01" in names, translated)
    by_model = {attributes(call).get("gen_ai.request.model"): call for call in calls}
    said = attributes(by_model["test/messages"])
    streamed = said.get("gen_ai.response.finish_reasons") == ["end_turn"] and said["gen_ai.usage.output_tokens"] > 0
    checks.that("a stream says how it ended", streamed, said)
    tries = sorted(receiver.below(by_model["test/moves"]), key=lambda span: span.start_time_unix_nano)
    kinds = [attributes(one).get("error.type") for one in tries]
    checks.that("a call that moves on has two tries", kinds == ["connect", None], tries)
    failed = tries and tries[0].status.code == Status.STATUS_CODE_ERROR
    checks.that("the first has failed, the call has not", failed and not by_model["test/moves"].status.code, tries)
    said = attributes(by_model.get("nobody/knows-this"))
    checks.that("a refused call says why", said.get("error.type") == "model_not_found", said)
    checks.that("nothing of prompts and answers is sent", b"canary" not in receiver.bytes)
    resource = receiver.resources[0]
    named = resource.get("service.name") == "crossmodel" and resource.get("deployment.environment.name") == "test"
    checks.that("the resource is named", named and resource.get("service.version"), resource)
    checks.that("it is OTLP over HTTP", receiver.seen[0] == ("/v1/traces", "application/x-protobuf", "t0ken"),
                receiver.seen[0])


def sampled_out(checks, folder, receiver):
    before = len(receiver.spans)
    environment = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{receiver.port}/v1/traces",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    gateway = Gateway(os.environ["CROSSMODEL_OTEL_BIN"], f"{folder}/sampled", environment)
    answered = gateway.ask("chat", "test/chat")[0]
    gateway.end()
    checks.that("what is not sampled is not sent", answered == 200 and len(receiver.spans) == before, answered)


def dead(checks, folder):
    """A receiver that takes connections and never answers; the queue is small, so it is soon full."""
    silent = socket.create_server(("127.0.0.1", 0))
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
        "OTEL_BSP_MAX_QUEUE_SIZE": "16",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    gateway = Gateway(os.environ["CROSSMODEL_OTEL_BIN"], f"{folder}/dead", environment)
    start = time.monotonic()
    answers = {gateway.ask("chat", "test/chat")[0] for _ in range(100)}
    seconds = time.monotonic() - start
    # One export alone would wait for ten seconds; a generous bound all the same.
    checks.that("a dead receiver holds no call up", answers == {200} and seconds < 60, (answers, seconds))
    start = time.monotonic()
    gateway.end()
    checks.that("nor the end of the gateway", time.monotonic() - start < 14, time.monotonic() - start)
    silent.close()


main()
