"""A real Prometheus scrapes a gateway under traffic, and answers what the dashboard and the alerts ask."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from decimal import Decimal

from gateway import PATHS, Checks, Gateway, ended, eventually, free_port, get

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

# What cannot be brought about in a test without a load that fills the machine, or a provider of bad manners.
MAY_BE_EMPTY = (
    "crossmodel_oddities_total",
    "crossmodel_shed_total",
    "crossmodel_connections_refused_total",
    # There is no listener with TLS.
    "crossmodel_certificate_not_after_timestamp_seconds",
    # No provider has several credentials, and there is no guard.
    "crossmodel_credential_",
    "crossmodel_guard_",
    # There is no webhook, and commands cannot set what a low balance is.
    "crossmodel_webhook_",
    "crossmodel_account_low_balance_usd",
)


def traffic(gateway, poor):
    """A bit of everything, good and bad."""
    for protocol in PATHS:
        for model in ("paid/chat", "test/chat", "test/messages"):
            for stream in (False, True):
                gateway.ask(protocol, model, "say [demo:slow=2] something", stream)
    gateway.ask("chat", "test/messages", seed=7, logit_bias={"1": 2})
    gateway.ask("chat", "test/moves")
    gateway.ask("chat", "test/down")
    gateway.ask("chat", "nobody/knows-this")
    gateway.ask("chat", "test/chat", "[demo:status=429]")
    gateway.ask("chat", "test/chat", "[demo:status=500]")
    gateway.ask("chat", "test/chat", key=poor)
    with socket.create_connection(("127.0.0.1", gateway.port)) as broken:
        broken.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")
        broken.recv(1000)


class Prometheus:
    """A Prometheus with the alerts, that scrapes one gateway every second."""

    def __init__(self, folder, target):
        os.makedirs(folder)
        self.base = f"http://127.0.0.1:{free_port()}"
        file = f"{folder}/prometheus.yml"
        with open(file, "w") as out:
            out.write(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ["{ROOT}/conf/prometheus/alerts.yaml"]
scrape_configs:
  - {{job_name: crossmodel, static_configs: [{{targets: ["127.0.0.1:{target}"]}}]}}
""")
        log = open(f"{folder}/prometheus.log", "w")
        address = self.base.removeprefix("http://")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={address}"],
            stdout=log, stderr=log,
        )
        if not eventually(self.is_up, 60):
            raise SystemExit(open(f"{folder}/prometheus.log").read())

    def is_up(self):
        try:
            return get(f"{self.base}/-/ready")
        except OSError:
            return False

    def ask(self, path, **parameters):
        """What it answers, or why not."""
        try:
            return json.loads(get(f"{self.base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))
        except OSError as error:
            return {"status": "error", "error": str(error)}

    def values(self, expression):
        return self.ask("query", query=expression).get("data", {}).get("result", [])


def expressions():
    """The dashboard's, with its variables filled in."""
    dashboard = json.load(open(f"{ROOT}/conf/grafana/crossmodel.json"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$job", "crossmodel")
            yield panel["title"], re.sub(r"\$\w+", ".*", expression)


def main():
    checks, folder = Checks("metrics.py"), sys.argv[1]
    gateway = Gateway(os.environ["CROSSMODEL_BIN"], f"{folder}/metrics")
    prometheus = Prometheus(f"{folder}/prometheus", gateway.admin)
    try:
        poor = gateway.create("--rpm", "1", "--watch", "--expires", "30d")
        get(f"http://127.0.0.1:{gateway.admin}/admin/v1/instance")
        # Rates need two scrapes with something in between.
        for _ in range(4):
            traffic(gateway, poor)
            time.sleep(1.5)
        gateway.process.send_signal(signal.SIGHUP)
        short_of_money(gateway)
        look_at_money(checks, prometheus)
        look(checks, gateway, prometheus)
    finally:
        ended(prometheus.process)
        gateway.end()
    checks.end()


def look(checks, gateway, prometheus):
    text = gateway.metrics()
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    said = (lint.stdout + lint.stderr).strip()
    checks.that("promtool has nothing to say of the metrics", lint.returncode == 0 and not said, said)
    checks.that("no model that a caller made up is a label", "nobody/knows-this" not in text, text)
    up = eventually(lambda: prometheus.values("up == 1") and prometheus.values("crossmodel_requests_total"))
    checks.that("Prometheus scrapes", up, prometheus.ask("targets"))
    for title, expression in expressions():
        answer = eventually(lambda: with_data(prometheus, expression), 15 if needs_data(expression) else 0.1)
        answer = answer or prometheus.ask("query", query=expression)
        empty = not answer.get("data", {}).get("result")
        holds = answer["status"] == "success" and not (empty and needs_data(expression))
        checks.that(f"dashboard: {title}: {expression[:60]}", holds, f"{expression}: {answer}")
    rules = prometheus.ask("rules")["data"]["groups"][0]["rules"]
    bad = [rule for rule in rules if rule["health"] != "ok" or rule.get("lastError")]
    checks.that(f"{len(rules)} alert rules are evaluated without an error", rules and not bad, bad)
    names = set(re.findall(r"^# TYPE (crossmodel_\w+|process_\w+) ", text, re.MULTILINE))
    page = open(f"{ROOT}/src/guide/operations.md").read()
    told = set(re.findall(r"^\| `((?:crossmodel|process)_\w+)` \|", page, re.MULTILINE))
    missing = {name for name in told - names if not name.startswith(MAY_BE_EMPTY)}
    checks.that("all metrics are in the operations guide", names <= told, names - told)
    checks.that("the operations guide tells of no others", not missing, missing)


def short_of_money(gateway):
    """An account that has nearly nothing left, and budgets that are nearly used, and used up."""
    gateway.command("account", "create", "small")
    secret = json.loads(gateway.command("key", "create", "--account", "small", "--json"))["secret"]
    gateway.command("account", "top-up", "small", "1")
    for _ in range(4):
        gateway.ask("chat", "paid/chat", key=secret)
    gateway.command("budget", "set", "--account", "small", "day=0.00001,soft", "total=1000")
    for _ in range(4):
        gateway.ask("chat", "paid/chat", key=secret)
    eventually(lambda: take_out(gateway, "small") or time.sleep(0.5), 15)


def take_out(gateway, account):
    """Takes out of a wallet all that no call holds, but a hundred-thousandth of a dollar; tells whether that is done."""
    all_of_them = json.loads(gateway.command("account", "list", "--json"))
    wallet = next(one["wallet"] for one in all_of_them if one["id"] == account)
    rest = Decimal(wallet["balance_usd"]) - Decimal("0.00001")
    if rest <= 0:
        return True
    try:
        gateway.command("account", "refund", account, f"{rest:f}")
    except subprocess.CalledProcessError:
        # The gateway has leased a part of it, and returns that in a second.
        return False
    return True


def look_at_money(checks, prometheus):
    for alert in ("CrossModelBalanceLow", "CrossModelBudgetExhausted"):
        raised = eventually(lambda: prometheus.values(f'ALERTS{{alertname="{alert}"}}'), 60)
        checks.that(f"{alert} is raised for a real gateway", raised, prometheus.ask("rules"))
    total = eventually(lambda: prometheus.values('crossmodel_budget_used_ratio{period="total",hard="true"}'), 30)
    checks.that("a budget has its figures", total, prometheus.values("crossmodel_budget_limit_usd"))


def needs_data(expression):
    return not any(name in expression for name in MAY_BE_EMPTY)


def with_data(prometheus, expression):
    answer = prometheus.ask("query", query=expression)
    return answer if answer.get("data", {}).get("result") else None


main()
