"""Rare-class sampling, crops and their stream against the authors' reference numbers and plain definitions."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from adaptation.learning.data.class_statistics import count_classes, is_present, pixel_frequency
from adaptation.learning.data.crop_stream import CropStream, FrameSource, prefetch
from adaptation.learning.data.cropping import CropBox, draw_crop
from adaptation.learning.data.detail_boxes import draw_detail_box
from adaptation.learning.data.frame_cache import FrameCache
from adaptation.learning.data.labelled_frames import DataError, LabelledFrame
from adaptation.learning.data.rare_class_sampling import RareClassSampler, class_probabilities
from exchange.jobs.crops import CropSettings

# The authors' reference numbers: pixels by class, and the probabilities of classes in ascending order of pixels.
PIXELS = [4120e6, 1020e6, 2210e6, 240e6, 77e6, 135e6, 17.3e6, 11e6, 950e6, 278e6, 1730e6, 46e6, 3.8e6, 320e6, 140e6,
          42e6, 8.6e6, 3.9e6, 0.74e6]  # fmt: skip
ASCENDING = [18, 12, 17, 16, 7, 6, 15, 11, 4, 5, 14, 3, 9, 13, 8, 1, 10, 2, 0]
PROBABILITIES = {
    0.01: [
        0.1190042793750763, 0.11584029346704483, 0.11573781818151474, 0.11104357242584229, 0.10872147232294083,
        0.10285298526287079, 0.08274312317371368, 0.07987862825393677, 0.06079210340976715, 0.03647413104772568,
        0.03490251302719116, 0.014465413056313992, 0.010350748896598816, 0.007150088902562857, 2.78227380476892e-05,
        1.5018634258012753e-05, 2.8886583791631892e-08, 4.2128248112227595e-10, 2.0812878335265166e-17,
    ],
    0.1: [
        0.07055189460515976, 0.07036200910806656, 0.07035583257675171, 0.07006517052650452, 0.06991718709468842,
        0.06953033059835434, 0.06803394854068756, 0.06779470294713974, 0.06596863269805908, 0.06268316507339478,
        0.062407709658145905, 0.05714600160717964, 0.05526496842503548, 0.05325785279273987, 0.03057682141661644,
        0.028748519718647003, 0.01538233831524849, 0.010078828781843185, 0.001874070381745696,
    ],
}  # fmt: skip
WITHOUT_9_14_16 = [
    0.14252537488937378, 0.13858897984027863, 0.1384621560573578, 0.1297510266304016, 0.12248175591230392,
    0.09770090132951736, 0.09418915212154388, 0.07092324644327164, 0.04171176627278328, 0.015956049785017967,
    0.0076728705316782, 2.4041351935011335e-05, 1.266890194528969e-05, 1.908838243025457e-08, 2.360265594081312e-10,
    6.046053762281273e-18,
]  # fmt: skip


@pytest.mark.parametrize("temperature", PROBABILITIES)
def test_class_probabilities_match_the_authors(temperature: float) -> None:
    probabilities = class_probabilities(np.array(PIXELS, dtype=np.int64), temperature)
    np.testing.assert_allclose(probabilities[ASCENDING], PROBABILITIES[temperature], rtol=1e-4)


def test_classes_that_do_not_occur_are_never_drawn() -> None:
    pixels = np.array(PIXELS, dtype=np.int64)
    pixels[[9, 14, 16]] = 0
    probabilities = class_probabilities(pixels, 0.01)
    np.testing.assert_allclose(probabilities[[k for k in ASCENDING if pixels[k]]], WITHOUT_9_14_16, rtol=1e-4)
    assert not probabilities[[9, 14, 16]].any()


def test_a_frame_is_drawn_for_a_class_that_it_shows_enough_of() -> None:
    counts = np.zeros((3, 19), dtype=np.int64)
    counts[0, 0] = counts[1, 0] = 10_000
    counts[1, 18], counts[2, 18], counts[2, 5] = 3000, 3001, 10
    sampler = RareClassSampler(counts, temperature=0.5, min_pixels=3000)
    rng = np.random.default_rng(0)
    drawn = {sampler.draw(rng) for _ in range(200)}
    assert drawn == {(0, 0), (0, 1), (18, 2)}


def test_a_crop_is_the_frame_resized_and_cut() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(256, size=(48, 64, 3), dtype=np.uint8)
    plain = CropBox((2.0, 2.0), (10, 20), (32, 40), flipped=False)
    resized = cv2.resize(image, (128, 96), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(plain.cut_image(image), resized[10:42, 20:60], atol=2)
    flipped = CropBox((2.0, 2.0), (10, 20), (32, 40), flipped=True)
    np.testing.assert_array_equal(flipped.cut_image(image), plain.cut_image(image)[:, ::-1])
    labels = image[..., 0]
    np.testing.assert_array_equal(plain.cut_labels(labels), labels.repeat(2, 0).repeat(2, 1)[10:42, 20:60])


def test_beyond_the_frame_the_edge_is_repeated_and_ignored() -> None:
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    box = CropBox((1.0, 1.0), (0, 0), (4, 6), flipped=False)
    np.testing.assert_array_equal(box.cut_image(image), np.pad(image, ((0, 0), (0, 2), (0, 0)), mode="edge"))
    labels = box.cut_labels(np.zeros((4, 4), dtype=np.uint8))
    np.testing.assert_array_equal(labels[:, :4], 0)
    np.testing.assert_array_equal(labels[:, 4:], 255)


def test_a_crop_is_drawn_again_until_no_class_fills_it() -> None:
    labels = np.zeros((64, 512), dtype=np.uint8)
    labels[::2, 448:] = 1  # one eighth of the frame shows two classes
    rng = np.random.default_rng(0)
    mixed = 0
    for _ in range(40):
        box, cut = draw_crop(rng, labels, fit_hw=(64, 512), crop_hw=(64, 64), scale_range=(1.0, 1.0))
        np.testing.assert_array_equal(cut, box.cut_labels(labels))
        mixed += count_classes(cut)[1] > 0.25 * 64 * 64
    assert mixed > 40 * 0.3  # one draw alone would find it in one of sixteen


def test_detail_offsets_are_the_authors() -> None:
    rng = np.random.default_rng(0)
    boxes = [draw_detail_box(rng, (1024, 1024), (512, 512)) for _ in range(2000)]
    assert {box.y1 for box in boxes} == set(range(0, 505, 8))  # 512, the last position, never occurs
    assert {box.size for box in boxes} == {(512, 512)}
    assert draw_detail_box(rng, (512, 512), (512, 512)) == (0, 512, 0, 512)
    with pytest.raises(ValueError, match="leaves no room"):
        draw_detail_box(rng, (512, 1024), (512, 512))


def test_presence_on_exact_labels_follows_the_estimator_for_predictions() -> None:
    labels = np.array([[0] * 98 + [1, 255]], dtype=np.uint8)
    counts = count_classes(labels)
    assert counts[:2].tolist() == [98, 1]
    share = 1 / 99
    score = np.log(np.mean(np.exp([1.0] + [0.0] * 98)))  # log mean exp of class 1's probability
    assert is_present(counts, np.full(19, score - 1e-9))[1]
    assert not is_present(counts, np.full(19, score + 1e-9))[1]
    assert pixel_frequency(counts)[1] == pytest.approx(share)


SETTINGS = CropSettings(crop_hw=(32, 32), fit_hw=(32, 64), scale_range=(0.7, 1.6), photometric="wide",
                        rare_class_min_pixels=20)  # fmt: skip


def frame_source(folder: Path, classes: list[int], weight: float = 1.0) -> FrameSource:
    """Frames half of road and half of one class each."""
    folder.mkdir()
    frames, counts = [], []
    for index, k in enumerate(classes):
        labels = np.zeros((32, 48), dtype=np.uint8)
        labels[:, 24:] = k
        image = np.full((32, 48, 3), 10 * index, dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{index}.png")
        Image.fromarray(labels).save(folder / f"{index}_labels.png")
        frames.append(LabelledFrame(folder / f"{index}.png", folder / f"{index}_labels.png", "train", ""))
        counts.append(count_classes(labels))
    return FrameSource(tuple(frames), np.stack(counts), SETTINGS, weight)


def test_a_crop_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    sources = [frame_source(tmp_path / "a", [5, 8]), frame_source(tmp_path / "b", [10, 13])]
    whole = CropStream(sources, FrameCache(2**20), seed=4).crops(range(8))
    again = CropStream(sources, FrameCache(0), seed=4)
    parts = [again.crops(range(4, 8)), again.crops(range(4))]
    np.testing.assert_array_equal(whole.images_NHWC[4:], parts[0].images_NHWC)
    np.testing.assert_array_equal(whole.labels_NHW[:4], parts[1].labels_NHW)
    other = CropStream(sources, FrameCache(0), seed=5).crops(range(8))
    assert (other.labels_NHW != whole.labels_NHW).any()


def test_data_sets_share_the_stream_by_weight(tmp_path: Path) -> None:
    sources = [frame_source(tmp_path / "a", [5, 8], weight=3.0), frame_source(tmp_path / "b", [10, 13])]
    crops = CropStream(sources, FrameCache(2**20), seed=0).crops(range(200))
    first = [bool(np.isin(labels, (5, 8)).any()) for labels in crops.labels_NHW]
    assert 0.65 < np.mean(first) < 0.85


def test_the_cache_keeps_what_fits(tmp_path: Path) -> None:
    frames = frame_source(tmp_path / "a", [5, 8]).frames
    cache = FrameCache(limit_bytes=32 * 48 * 4)
    kept, other = cache.read(frames[0]), cache.read(frames[1])
    assert cache.read(frames[0])[0] is kept[0]
    assert cache.read(frames[1])[0] is not other[0]


def test_frames_too_small_for_the_recipe_are_refused(tmp_path: Path) -> None:
    source = frame_source(tmp_path / "a", [5])
    demanding = SETTINGS.model_copy(update={"rare_class_min_pixels": 3000})
    with pytest.raises(DataError, match="more than 3000 pixels"):
        CropStream([replace(source, settings=demanding)], FrameCache(0), seed=0)


def test_prefetching_keeps_the_order_and_passes_errors_on(tmp_path: Path) -> None:
    source = frame_source(tmp_path / "a", [5, 8])
    stream = CropStream([source], FrameCache(2**20), seed=0)
    drawn = list(prefetch(lambda i: stream.crops(range(i, i + 1)), range(3, 9), threads=2))
    assert [iteration for iteration, _ in drawn] == [3, 4, 5, 6, 7, 8]
    np.testing.assert_array_equal(drawn[2][1].images_NHWC, stream.crops(range(5, 6)).images_NHWC)
    for frame in source.frames:
        frame.image.unlink()
    emptied = CropStream([source], FrameCache(0), seed=0)
    with pytest.raises(DataError, match="cannot be read"):
        list(prefetch(lambda i: emptied.crops(range(i, i + 1)), range(3), threads=1))
