"""The class tables agree with each other."""

import numpy as np
import pytest

from exchange import label_space
from exchange.label_space import IGNORE_ID, NUM_CLASSES, SCORED_CLASSES, TRAIN_ID


def test_every_cityscapes_class_has_one_label_id() -> None:
    assert sorted(label_space.CITYSCAPES_ID_TO_TRAIN_ID.values()) == list(range(NUM_CLASSES))
    assert sorted(label_space.SYNTHIA_ID_TO_TRAIN_ID.values()) == list(range(NUM_CLASSES))


def test_camvid_classes_return_to_themselves_when_scored() -> None:
    for camvid_id, train_id in label_space.CAMVID_ID_TO_TRAIN_ID.items():
        assert label_space.TRAIN_ID_TO_CAMVID_ID[train_id] == camvid_id


@pytest.mark.parametrize(("name", "count"), [("19", 19), ("16", 16), ("13", 13), ("camvid11", 11)])
def test_subsets_score_as_many_classes_as_they_name(name: str, count: int) -> None:
    subset = SCORED_CLASSES[name]
    assert len(subset.names) == count
    assert set(subset.from_train_id) - {IGNORE_ID} == set(range(count))


def test_synthia_subsets_leave_out_what_its_papers_leave_out() -> None:
    missing = {name for name in TRAIN_ID if name not in SCORED_CLASSES["16"].names}
    assert missing == {"terrain", "truck", "train"}


def test_lookup_table_separates_known_ignored_and_impossible_ids() -> None:
    table = label_space.lookup_table(label_space.CITYSCAPES_ID_TO_TRAIN_ID, ignored=range(35))
    assert (table[7], table[0], table[40]) == (0, IGNORE_ID, -1)


def test_colorize_paints_ignored_pixels_black() -> None:
    colors = label_space.colorize(np.array([[0, IGNORE_ID]], dtype=np.uint8))
    assert colors.tolist() == [[[128, 64, 128], [0, 0, 0]]]
