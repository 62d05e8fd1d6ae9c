"""What the gate measures on where nobody names frames: those that were captured by chance in the domain."""

from pathlib import Path

import pytest

from adaptation.cli.release_gating import find_verdict
from adaptation.control.releases.deciding import GateRefused
from exchange.plan.lease import holding
from exchange.plan.plan_changes import apply_change, served_with
from exchange.registry import publish
from exchange.storage import StorageRoot
from tests.service.learner_rig import leave_frames


def test_a_release_from_outside_is_measured_on_captured_frames(
    root: StorageRoot, release: Path, source: Path, tmp_path: Path
) -> None:
    entries = [publish(root, release, by="test", origin="added") for _ in range(2)]
    with holding(root, "test") as lease:
        apply_change(root, lease, lambda content: served_with(content, 1, domain=None))
    leave_frames(root, "sim-dusk", 3, seed=1, kept_for="rare class")
    totals = set()
    verdict = find_verdict(
        root, entries[1], "sim-dusk", [source], None, cache=tmp_path / "cache",
        on_frame=lambda what, _done, total: totals.add((what, total)),
    )  # fmt: skip
    assert verdict is not None
    assert ("engine", 4) in totals  # of those that chance kept: engine and weights are compared on four
    with pytest.raises(GateRefused, match="no frame was captured in sim-fog: give --target FRAMES"):
        find_verdict(
            root, entries[1], "sim-fog", [source], None, cache=tmp_path / "cache", on_frame=lambda *_: None
        )  # fmt: skip
