"""A real Prometheus and Alertmanager with the files of deploy/, in front of a real gateway and learner."""

import http.server
import json
import math
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.external_programs import needs, require
from tests.monitoring.deployment import Deployment, read_url, running_deployment
from tests.monitoring.files import PROMETHEUS, expressions, panel_queries, rules
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import make_hollow_release, until

_METRIC = re.compile(r"\broadshift_\w+")


class Monitoring(NamedTuple):
    prometheus: str
    received: list[dict[str, Any]]
    """Alerts that the webhook got."""

    def ask(self, path: str, **parameters: str) -> Any:
        text = read_url(f"http://{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        return json.loads(text)["data"]

    def samples(self, expression: str) -> list[float]:
        """Those that are numbers."""
        found = [float(sample["value"][1]) for sample in self.ask("query", query=expression)["result"]]
        return [value for value in found if math.isfinite(value)]

    def firing(self) -> dict[str, dict[str, Any]]:
        return {
            alert["labels"]["alertname"]: alert for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"
        }


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    source = write_frames(tmp_path_factory.mktemp("source") / "day", 1.0, cars=1)
    release = make_hollow_release(tmp_path_factory.mktemp("hollow"))
    with running_deployment(tmp_path_factory.mktemp("deployment"), source, release) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def monitoring(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    require("prometheus", "prometheus-alertmanager")
    folder = tmp_path_factory.mktemp("monitoring")
    prometheus, alertmanager = f"127.0.0.1:{_free_port()}", f"127.0.0.1:{_free_port()}"
    with ExitStack() as stack:
        webhook, received = stack.enter_context(_webhook())
        _write_configuration(folder, deployment, alertmanager, webhook)
        stack.enter_context(
            _process(
                folder, "prometheus-alertmanager", "--config.file=alertmanager.yml", "--cluster.listen-address=",
                f"--web.listen-address={alertmanager}", f"--storage.path={folder}/alerts",
            )
        )  # fmt: skip
        stack.enter_context(
            _process(
                folder, "prometheus", "--config.file=prometheus.yml", f"--web.listen-address={prometheus}",
                f"--storage.tsdb.path={folder}/series",
            )
        )  # fmt: skip
        until(lambda: _answers(f"http://{prometheus}/-/ready"), "the start of Prometheus")
        yield Monitoring(prometheus, received)


def _write_configuration(folder: Path, deployment: Deployment, alertmanager: str, webhook: str) -> None:
    """The files of deploy/, asked every second; what may last a while there may not here."""
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    (folder / "targets").mkdir()
    places = {"gateways": deployment.gateway_metrics, "learner": deployment.learner_metrics}
    for name, place in places.items():
        (folder / "targets" / f"{name}.yml").write_text(yaml.safe_dump([{"targets": [place]}]))
    shutil.copy(PROMETHEUS / "recording.yml", folder)
    alerts = re.sub(r"for: \w+", "for: 2s", (PROMETHEUS / "alerts.yml").read_text())
    (folder / "alerts.yml").write_text(alerts)
    text = (PROMETHEUS / "alertmanager.yml").read_text()
    (folder / "alertmanager.yml").write_text(re.sub(r"url_file: \S+", f"url: {webhook}", text))


@contextmanager
def _webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    received: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.extend(json.loads(body)["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", received
        server.shutdown()
        thread.join()


@contextmanager
def _process(folder: Path, *command: str) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        return bool(read_url(url))
    except (urllib.error.URLError, ConnectionError):
        return False


def test_a_learners_log_names_the_round(deployment: Deployment) -> None:
    lines = [json.loads(line) for line in deployment.learner.said().splitlines() if line.startswith("{")]
    ids = {line["round_id"] for line in lines if line["logger"] == "adaptation.control.rounds.round_runner"}
    assert len(ids) == 2, "the one that was refused, and the one that learns"
    assert all(line["round_id"] in line["message"] for line in lines if "round_id" in line)


def all_answered(monitoring: Monitoring, asked: list[str]) -> None:
    """Waits until each gives numbers."""
    over_s = time.monotonic() + 60
    while (silent := [each for each in asked if not monitoring.samples(each)]) and time.monotonic() < over_s:
        time.sleep(0.5)
    assert silent == []


def test_as_json_stderr_holds_objects_alone_and_stdout_the_announcements(deployment: Deployment) -> None:
    gateway_log = deployment.learner.log.with_name("gateway.log").read_text()
    for both_streams, announced in ((gateway_log, 2), (deployment.learner.said(), 2)):
        lines = both_streams.splitlines()
        plain = [line for line in lines if not line.startswith("{")]
        assert len(plain) == announced, plain
        assert all(re.fullmatch(r"\w+ on port \d+|learning for .*", line) for line in plain), plain
        assert all(json.loads(line)["level"] for line in lines if line not in plain)


@needs("promtool")
def test_promtool_has_nothing_to_say_of_what_is_exported(deployment: Deployment) -> None:
    until(lambda: 'percentile="99"' in read_url(f"http://{deployment.gateway_metrics}/metrics"), "a version's p99")
    for place in (deployment.gateway_metrics, deployment.learner_metrics):
        told = subprocess.run(
            ["promtool", "check", "metrics"],
            input=read_url(f"http://{place}/metrics"), capture_output=True, text=True,
        )  # fmt: skip
        assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_every_metric_that_is_asked_for_is_exported(deployment: Deployment) -> None:
    asked = {name for expression in expressions() for name in _METRIC.findall(expression)}
    assert "roadshift_lease_held" in asked

    over_s = time.monotonic() + 60
    while missing := asked - set(re.findall(r"^(\w+)", deployment.exported(), re.MULTILINE)):
        assert time.monotonic() < over_s, missing
        time.sleep(0.5)


def test_every_recording_rule_yields(monitoring: Monitoring) -> None:
    all_answered(monitoring, [rule["record"] for rule in rules("recording.yml")])
    broken = [
        (rule["name"], rule["lastError"])
        for group in monitoring.ask("rules")["groups"]
        for rule in group["rules"]
        if rule["health"] != "ok"
    ]
    assert broken == []


def test_every_panel_shows_something(monitoring: Monitoring) -> None:
    all_answered(monitoring, [query.expression for query in panel_queries()])


def test_what_is_well_alarms_nobody(monitoring: Monitoring) -> None:
    """But for what the deployment's frames, which are noise, look like, and this machine's disk."""
    ignored = {"RoadshiftDriftWithoutRound", "RoadshiftPriorAtItsLimit", "RoadshiftDiskNearlyFull"}
    assert set(monitoring.firing()) <= ignored


def test_a_gateway_that_is_killed_is_told_by_the_webhook(monitoring: Monitoring, deployment: Deployment) -> None:
    assert "RoadshiftGatewayDown" not in monitoring.firing()
    deployment.gateway.kill()
    until(lambda: "RoadshiftGatewayDown" in monitoring.firing(), "the alert", 60)
    alert = monitoring.firing()["RoadshiftGatewayDown"]
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["summary"] == f"Gateway {deployment.gateway_metrics} does not answer Prometheus."
    assert f"--metrics {deployment.gateway_metrics}" in alert["annotations"]["runbook"]
    until(
        lambda: any(told["labels"]["alertname"] == "RoadshiftGatewayDown" for told in monitoring.received),
        "the webhook's call",
        60,
    )
