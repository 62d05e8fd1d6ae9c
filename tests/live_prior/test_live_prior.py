"""From presence rows in the root to the serving plan, and what operators decide about it."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from adaptation.control.prior.follow import LivePrior
from exchange.fleet.presence import PresenceRow, PresenceRows
from exchange.networks import NetworkConfig, WindowConfig
from exchange.plan.lease import Lease, LeaseLost
from exchange.plan.priors import change_prior, read_prior
from exchange.plan.serving_plan import DomainPlan, PlanContent, ServingPlan, change_plan, read_plan
from exchange.registry.releases import Manifest, write_manifest
from exchange.storage import StorageRoot
from exchange.storage.locations import presence_key
from tests.clocks import LONG_S

RATES = np.linspace(0.1, 0.9, 19)
SHIFTED = RATES[::-1].copy()


@pytest.fixture
def release(tmp_path: Path) -> Path:
    manifest = Manifest(
        version=3,
        created_at=datetime.now(UTC),
        engine="openvino",
        precision="fp32",
        network=NetworkConfig(encoder="efficientnet_lite0", head="light"),
        windows=WindowConfig(
            outer_crop=(64, 128), outer_stride=(64, 128), detail_crop=(32, 32), detail_stride=(16, 16)
        ),
        frame_size=(64, 128),
        source_pixel_frequency=[0.05] * 19,
        source_presence=RATES.tolist(),
        output_prior=(RATES / RATES.sum()).tolist(),
        files_sha256={},
    )
    folder = tmp_path / "release"
    folder.mkdir()
    write_manifest(folder, manifest)
    return folder


def leave_rows(root: StorageRoot, domain: str, rates_K: np.ndarray, part: int = 0, frames: int = 400) -> None:
    random = np.random.default_rng(part)
    now = datetime.now(UTC)
    shown_NK = random.random((frames, 19)) < rates_K
    rows = [
        PresenceRow(
            now.timestamp() - frames + index,
            f"v{part}-{index // 4}",
            3,
            np.where(shown_K, 0.2, 0.001).astype(np.float32),
            np.where(shown_K, 0.2, 0.001).astype(np.float32),
            0.9,
        )
        for index, shown_K in enumerate(shown_NK)
    ]
    root.write(presence_key(domain, "gw-a", now, part), PresenceRows.of(rows).encode())


def plan_of(root: StorageRoot) -> ServingPlan:
    stored = read_plan(root)
    assert stored is not None
    return stored.plan


def test_rows_become_a_prior_in_the_plan(root: StorageRoot, release: Path) -> None:
    live = LivePrior(root, Lease.acquire(root, "learner", lasts_s=LONG_S), [release])
    assert live.update() is None
    leave_rows(root, "sim-dusk", SHIFTED)
    leave_rows(root, "sim-day", RATES)
    plan = live.update()
    assert plan == plan_of(root)
    assert plan is not None
    assert plan.revision == 1
    assert plan.default == DomainPlan(serving=3)
    dusk = plan.domains["sim-dusk"]
    assert dusk.prior_id.startswith("sim-dusk-")
    assert dusk.log_prior_ratio[3] == read_prior(root, "sim-dusk").estimates[3].log_ratio
    assert dusk.log_prior_ratio[3][0] > 0.2
    assert dusk.log_prior_ratio[3][18] < -0.2
    assert plan.of("sim-day").log_prior_ratio.get(3, (0.0,))[0] < 0.1


def test_a_plan_that_others_wrote_keeps_everything_else(root: StorageRoot, release: Path) -> None:
    lease = Lease.acquire(root, "learner", lasts_s=LONG_S)
    dusk = DomainPlan(serving=3, previous=2)
    change_plan(root, lease, lambda _: PlanContent(DomainPlan(serving=2, previous=1), {"sim-dusk": dusk}))
    leave_rows(root, "sim-dusk", SHIFTED)
    LivePrior(root, lease, [release]).update()
    plan = plan_of(root)
    assert (plan.revision, plan.default) == (2, DomainPlan(serving=2, previous=1))
    assert (plan.domains["sim-dusk"].serving, plan.domains["sim-dusk"].previous) == (3, 2)
    assert plan.domains["sim-dusk"].log_prior_ratio[3][0] > 0.2


def test_nothing_new_leaves_the_plan_alone(root: StorageRoot, release: Path) -> None:
    leave_rows(root, "sim-dusk", SHIFTED)
    lease = Lease.acquire(root, "learner", lasts_s=LONG_S)
    first = LivePrior(root, lease, [release]).update()
    again = LivePrior(root, lease, [release])
    assert again.update() == first
    assert again.update() == first


def test_a_frozen_prior_stays_and_a_reset_one_begins_anew(root: StorageRoot, release: Path) -> None:
    live = LivePrior(root, Lease.acquire(root, "learner", lasts_s=LONG_S), [release])
    leave_rows(root, "sim-dusk", SHIFTED)
    live.update()
    frozen = plan_of(root).domains["sim-dusk"]
    change_prior(root, "sim-dusk", lambda record: record.model_copy(update={"frozen": True}))
    leave_rows(root, "sim-dusk", RATES, part=1, frames=2000)
    live.update()
    assert plan_of(root).domains["sim-dusk"] == frozen
    change_prior(
        root,
        "sim-dusk",
        lambda record: record.model_copy(update={"frozen": False, "since": datetime.now(UTC), "estimates": {}}),
    )
    live.update()
    assert plan_of(root).domains["sim-dusk"] == DomainPlan(serving=3)


def test_a_learner_without_the_lease_writes_nothing(root: StorageRoot, release: Path) -> None:
    lease = Lease.acquire(root, "first", lasts_s=LONG_S)
    leave_rows(root, "sim-dusk", SHIFTED)
    live = LivePrior(root, lease, [release])
    second = Lease.acquire(root, "second", seize=True, lasts_s=LONG_S)
    change_plan(root, second, lambda _: PlanContent(DomainPlan(serving=3), {}))
    with pytest.raises(LeaseLost):
        live.update()
    assert plan_of(root).lease_epoch == 2


def roadshift(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("roadshift")), "prior", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env={"COLUMNS": "120", "PATH": "/usr/bin:/bin"})
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_commands_show_freeze_and_reset(tmp_path: Path, release: Path) -> None:
    from exchange.storage import open_root

    url = f"file://{tmp_path}/root"
    root = open_root(url)
    assert "no priors yet" in roadshift("show", "--root", url)
    leave_rows(root, "sim-dusk", SHIFTED)
    assert "revision 1" in roadshift("follow", "--root", url, "--release", str(release), "--updates", "1")
    shown = roadshift("show", "--root", url)
    assert "sim-dusk, version 3: 400 frames" in shown
    assert all(word in shown for word in ("road", "90 % interval", "bicycle"))
    roadshift("freeze", "--root", url, "--domain", "sim-dusk")
    assert "frozen" in roadshift("show", "--root", url)
    roadshift("reset", "--root", url, "--domain", "sim-dusk")
    assert "revision 2" in roadshift("follow", "--root", url, "--release", str(release), "--updates", "1")
    assert plan_of(root).domains["sim-dusk"] == DomainPlan(serving=3)
