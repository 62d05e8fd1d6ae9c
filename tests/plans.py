"""Roots with published releases, and serving plans in them."""

import tempfile
from pathlib import Path

from exchange.plan.lease import holding
from exchange.plan.serving_plan import DomainPlan, PlanContent, change_plan
from exchange.registry import publish
from exchange.storage import StorageRoot
from tests.releases import make_release


def publish_releases(root: StorageRoot, count: int) -> None:
    """Releases 1 to `count`, each with weights of its own; no engine can load them."""
    for number in range(1, count + 1):
        with tempfile.TemporaryDirectory() as folder:
            release = make_release(Path(folder) / "release", weights=b"weights of %d" % number)
            assert publish(root, release, by="test", origin="added").version == number


def write_plan(root: StorageRoot, default: DomainPlan, **domains: DomainPlan) -> None:
    """Domains by their names with `_` for `-`."""
    listed = {name.replace("_", "-"): plan for name, plan in domains.items()}
    with holding(root, "test") as lease:
        change_plan(root, lease, lambda _: PlanContent(default, listed))
