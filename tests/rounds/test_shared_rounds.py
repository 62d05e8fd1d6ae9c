"""Rounds under torchrun: two processes hold one state, and step as one process with the whole batch does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from adaptation.learning.rounds.report import Report
from adaptation.learning.rounds.run import adapt
from adaptation.learning.rounds.shared_batch_norm import SharedBatchNorm2d, share_batch_norm
from adaptation.learning.training.processes import ALONE, Processes
from exchange.label_space import IGNORE_ID
from tests.rounds import shared_round as shared
from tests.rounds.small_round import ignore, small_round

PROGRAM = Path(shared.__file__)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def alone(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    shared.take_all_steps(start, out, ALONE)
    return out


@pytest.fixture(scope="module")
def together(start: Path, day: Path, dusk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both trainings' steps, and a whole round in `round`, by two processes."""
    out = tmp_path_factory.mktemp("together")
    asked = out / "asked"
    asked.mkdir()
    labels = np.full((60, 80), IGNORE_ID, dtype=np.uint8)
    labels[10:20, 10:20] = 11
    Image.fromarray(labels).save(asked / "0006R0_f00002.png")
    arguments = [str(path) for path in (start, out, out / "round", day, dusk, asked)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROGRAM.parents[2])}
    process = subprocess.run(
        [*TORCHRUN, str(PROGRAM), *arguments], env=environment, capture_output=True, text=True, timeout=280
    )
    assert process.returncode == 0, process.stderr
    return out


@pytest.mark.parametrize("training", ["student", "head", "labels"])
def test_processes_hold_one_state_after_every_step(training: str, together: Path) -> None:
    first, second = ((together / f"{training}-{rank}.txt").read_text().split() for rank in range(2))
    assert len(set(first)) == shared.STEPS
    assert first == second


@pytest.mark.parametrize("training", ["student", "head", "labels"])
def test_two_processes_step_as_one_with_the_whole_batch(training: str, alone: Path, together: Path) -> None:
    one, two = (torch.load(out / f"{training}.pt") for out in (alone, together))
    largest = max(float(gradient.abs().max()) for gradient in one["gradients"].values())
    for name, gradient in one["gradients"].items():
        torch.testing.assert_close(two["gradients"][name], gradient, rtol=1e-5, atol=1e-5 * largest, msg=name)
    # Adam divides a gradient by its own size, so that rounding decides the step where there is hardly any gradient.
    learned = {name for name, gradient in one["gradients"].items() if gradient.abs().max() > 1e-4 * largest}
    states = [flat(saved["state"]) for saved in (one, two)]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        key = name.partition(".")[2]
        if name.startswith(("student.", "network.", "average.")) and key in one["gradients"]:
            if key in learned:
                near = (states[1][name] - tensor).abs() <= 1e-5
                assert near[one["gradients"][key].abs() > 1e-4 * largest].all(), name
        else:
            torch.testing.assert_close(states[1][name].double(), tensor.double(), rtol=1e-5, atol=1e-5, msg=name)
    numbers = [torch.load(out / f"{training}-numbers.pt")[0] for out in (alone, together)]
    assert numbers[1] == pytest.approx(numbers[0], rel=1e-5)


def flat(state: dict[str, Any], above: str = "") -> dict[str, Tensor]:
    """All tensors by their path."""
    found = {}
    for name, value in state.items():
        if isinstance(value, Tensor):
            found[f"{above}{name}"] = value
        elif isinstance(value, dict):
            found |= flat(value, f"{above}{name}.")
    return found


def test_a_round_under_torchrun_is_gone_on_with_by_as_many(start: Path, day: Path, dusk: Path, together: Path) -> None:
    report = Report.read(together / "round" / "report")
    assert report.round["number of processes"] == "2"
    assert [point["iteration"] for point in report.histories["self-training"]] == [1, 2, 3, 4]
    assert not list((together / "round").rglob("*.partial"))
    with pytest.raises(Exception, match="another labels folder, number of processes"):
        adapt(small_round(start, day, dusk, together / "round", shared.ROUND_CONFIG), ignore)


def test_a_batch_that_cannot_be_shared_is_refused(start: Path, day: Path, dusk: Path, tmp_path: Path) -> None:
    three = Processes(0, 3, torch.device("cpu"))
    with pytest.raises(ValueError, match="a batch of 2 cannot be shared by 3 processes"):
        adapt(small_round(start, day, dusk, tmp_path / "out"), ignore, three)


def test_shared_batch_norm_keeps_names_and_inference() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    images = torch.randn(2, 3, 5, 5)
    before, names = network(images), list(network.state_dict())
    share_batch_norm(network)
    assert isinstance(network[1], SharedBatchNorm2d)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(images), before, rtol=0, atol=0)
