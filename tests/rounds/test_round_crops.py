"""The crops of a round: source frames in the target's look, and each crop the same whenever it is drawn."""

from pathlib import Path

import numpy as np
import pytest

from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.rounds.crops import TargetStream, open_source_stream
from adaptation.learning.rounds.snapshot import freeze
from exchange.jobs.crops import Appearance
from tests.rounds.small_round import CONFIG

PLAIN = CONFIG.crops.model_copy(update={"photometric": "none"})


@pytest.fixture(scope="module")
def snapshot(day: Path, dusk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snapshot")
    freeze(folder, choose_data([day], "train"), dusk, "train", None, lambda *_: None)
    return folder


@pytest.mark.parametrize("appearance", ["lab", "fourier"])
def test_source_crops_take_the_targets_look(appearance: Appearance, day: Path, snapshot: Path) -> None:
    crops = []
    for look in ("none", appearance):
        config = CONFIG.model_copy(update={"crops": PLAIN, "appearance": look})
        stream = open_source_stream(snapshot, choose_data([day], "train"), config, seed=1)
        crops.append(stream.crops(range(6)))
        np.testing.assert_array_equal(stream.crops(range(4, 5)).images_NHWC[0], crops[-1].images_NHWC[4])
    plain, restyled = crops
    np.testing.assert_array_equal(plain.labels_NHW, restyled.labels_NHW)
    assert restyled.images_NHWC.mean() < 0.7 * plain.images_NHWC.mean()  # dusk is half as bright


def test_margins_of_the_target_are_not_trusted(snapshot: Path) -> None:
    """Of whole frames of 60 x 80, as they are cropped and flipped: beyond the frame nothing is trusted either."""
    whole = PLAIN.model_copy(update={"fit_hw": (60, 80), "crop_hw": (64, 96), "scale_range": (1.0, 1.0)})
    shares = {}
    for margins in ((0.0, 0.0, 0.0, 0.0), (0.1, 0.2, 0.05, 0.1)):
        config = CONFIG.model_copy(update={"crops": whole, "untrusted_margins": margins})
        valid_NHW = TargetStream(snapshot, config, seed=1).crops(range(8)).valid_NHW
        shares[margins] = {int(valid_HW.sum()) for valid_HW in valid_NHW}
        rows = np.flatnonzero(valid_NHW[0].any(axis=1))
        assert (rows[0], rows[-1]) == (round(60 * margins[0]), 59 - round(60 * margins[1]))
    assert list(shares.values()) == [{60 * 80}, {42 * 68}]
