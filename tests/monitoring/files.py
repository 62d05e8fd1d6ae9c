"""The files in deploy/ that the tests of monitoring hold against what gateway and learner really are."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS, GRAFANA = DEPLOY / "prometheus", DEPLOY / "grafana"
DASHBOARD = GRAFANA / "dashboards" / "roadshift.json"


class Query(NamedTuple):
    panel: str
    expression: str
    """With the dashboard's variable at "All"."""


def rules(name: str) -> list[dict[str, Any]]:
    """Of recording.yml or alerts.yml, in their order."""
    groups = yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panel_queries() -> list[Query]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        Query(panel["title"], target["expr"].replace("$domain", ".*"))
        for panel in panels
        for target in panel.get("targets", ())
    ]


def expressions() -> list[str]:
    """All that rules and panels ask."""
    named = [rule["expr"] for name in ("recording.yml", "alerts.yml") for rule in rules(name)]
    return named + [query.expression for query in panel_queries()]
