"""Rules, alerts and dashboard by themselves."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import typer
import yaml

import cli
from tests.external_programs import needs
from tests.monitoring.files import DASHBOARD, DEPLOY, PROMETHEUS, expressions, panel_queries, rules

needs_prometheus = needs("promtool")
needs_alertmanager = needs("amtool")
WITHOUT_COMMAND = ("RoadshiftRefusing", "RoadshiftCaptureDropping")
"""They are answered by more gateways, or a wider way to the root."""
_RECORDED = re.compile(r"\broadshift:[\w:]+")


def run(*command: str, folder: Path = PROMETHEUS) -> str:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@needs_prometheus
def test_prometheus_takes_configuration_rules_and_alerts() -> None:
    said = run("promtool", "check", "config", "prometheus.yml")
    assert f"{len(rules('recording.yml'))} rules found" in said
    assert f"{len(rules('alerts.yml'))} rules found" in said


@needs_prometheus
def test_every_alert_fires_when_it_should_and_is_silent_when_not() -> None:
    run("promtool", "test", "rules", "alerts_test.yml")
    expected: dict[str, set[bool]] = {}
    for case in yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]:
        for check in case["promql_expr_test"]:
            (alert,) = re.findall(r'alertname="(\w+)"', check["expr"])
            expected.setdefault(alert, set()).add(bool(check["exp_samples"]))
    assert expected == {rule["alert"]: {True, False} for rule in rules("alerts.yml")}


@needs_alertmanager
def test_alertmanager_takes_its_configuration(tmp_path: Path) -> None:
    """Debian's, from before 0.26, knows no url_file."""
    text = (PROMETHEUS / "alertmanager.yml").read_text()
    plain, replaced = re.subn(r"url_file: \S+", "url: http://127.0.0.1:1/", text)
    assert replaced == 1
    (tmp_path / "alertmanager.yml").write_text(plain)
    assert "1 receivers" in run("amtool", "check-config", "alertmanager.yml", folder=tmp_path)


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules("alerts.yml"):
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "runbook"}
        assert "`roadshift" in rule["annotations"]["runbook"] or rule["alert"] in WITHOUT_COMMAND


def test_the_commands_that_runbooks_and_readme_name_are_there() -> None:
    texts = [rule["annotations"]["runbook"] for rule in rules("alerts.yml")] + [(DEPLOY / "README.md").read_text()]
    named = {command for text in texts for command in re.findall(r"`(roadshift [^`]+)`", " ".join(text.split()))}
    assert len(named) > 15
    for command in named:
        _, *words = command.split()
        found: Any = typer.main.get_command(cli.app_for(words))
        while hasattr(found, "commands"):  # a group
            found = found.commands[words.pop(0)]
        options = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, command


def test_what_is_asked_is_recorded() -> None:
    asked = {name for expression in expressions() for name in _RECORDED.findall(expression)}
    assert asked <= {rule["record"] for rule in rules("recording.yml")}


def test_the_dashboards_panels_have_places_of_their_own() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == [
        "Fleet", "Latency by stage", "Refusals", "Domains", "Rounds", "Gate", "Rollout", "Storage",
    ]  # fmt: skip
    covered: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & covered, panel["title"]
        covered |= cells
    assert all(query.expression for query in panel_queries())
