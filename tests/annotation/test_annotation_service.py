"""A learner's port: regions are asked for, picked by its worker, leased and answered; and it may die in between."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest

from clients.annotation import UNSURE, AnnotationClient
from clients.client import RequestFailed
from exchange.images.labels import decode_index_png
from exchange.net.calling import Connection
from exchange.regions.batches import read_batches
from exchange.regions.tasks import RegionBatch
from exchange.registry.audit import read_audit
from exchange.storage import StorageRoot, open_root
from tests.service.learner_rig import LearnerProcess, leave_frames, make_hollow_release, until

DOMAIN = "sim-dusk"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.rounds.conftest import write_frames

    return write_frames(tmp_path_factory.mktemp("source") / "day", 1.0, cars=1)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_hollow_release(tmp_path_factory.mktemp("hollow"))


@pytest.fixture(scope="module")
def learner(source: Path, release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LearnerProcess]:
    """Of a root with tokens for all, and frames of two drives."""
    folder = tmp_path_factory.mktemp("learner")
    url = f"file://{folder}/root"
    leave_frames(open_root(url), DOMAIN, 8)
    leave_frames(open_root(url), DOMAIN, 4, vehicle="v2", seed=1, kept_for="low confidence")
    tokens = folder / "tokens"
    tokens.write_text("operator chief\noperator boss # eva\nannotator hand\nvehicle car\n")
    options = ("--release", str(release), "--fake", "--token-file", str(tokens))
    with LearnerProcess(url, source, folder / "l", *options) as learner:
        yield learner


def client(learner: LearnerProcess, name: str, shows: str = "hand") -> AnnotationClient:
    return AnnotationClient(Connection(f"127.0.0.1:{learner.port}", token=shows), name)


def open_batch(root: StorageRoot, batch: str) -> RegionBatch:
    def look() -> RegionBatch | None:
        return next((b for b in read_batches(root, DOMAIN) if b.id == batch and b.phase != "picking"), None)

    return until(look, "picking regions")


def test_two_people_label_what_the_learner_asked_for(learner: LearnerProcess) -> None:
    with client(learner, "chief", "chief") as chief, client(learner, "anna") as anna, client(learner, "ben") as ben:
        batch = open_batch(learner.root(), chief.ask(DOMAIN, clicks=20, double_share=0.5))
        assert (batch.phase, batch.reason) == ("open", "")
        assert {task.vehicle for task in batch.tasks} == {"v1", "v2"}
        assert sum(task.people for task in batch.tasks) in (18, 19)  # one click is kept for a dispute

        def label_all(person: AnnotationClient) -> int:
            done = 0
            while (task := person.lease(DOMAIN)) is not None:
                crop = cv2.imdecode(np.frombuffer(task.crop_png, np.uint8), cv2.IMREAD_COLOR)
                segment_HW, box = decode_index_png(task.segment_png), task.box_in_crop
                assert crop is not None
                assert crop.shape[:2] == segment_HW.shape
                assert segment_HW.any()
                assert (segment_HW.any(axis=1).nonzero()[0][[0, -1]] == (box.top, box.bottom - 1)).all()
                person.submit(task.id, 0)
                done += 1
            return done

        with ThreadPoolExecutor(2) as pool:
            clicks = sum(pool.map(label_all, (anna, ben)))
        assert clicks == sum(task.people for task in batch.tasks)
        progress = anna.progress(DOMAIN)
        assert (progress.labelled, progress.clicks_left, progress.agreement) == (len(batch.tasks), 0, 1.0)
        again = anna.undo()
        assert again is not None
        assert anna.submit(again.id, UNSURE).state in ("labelled", "waiting")


def test_the_audit_says_who_a_token_is_of_and_what_they_call_themselves_beside(learner: LearnerProcess) -> None:
    told = {}
    for token, name in (("chief", "ann"), ("boss", "ann"), ("boss", "operator:eva")):
        with client(learner, name, token) as asking:
            batch = asking.ask("sim-rain", clicks=1)
        (entry,) = [entry for entry in read_audit(learner.root()) if entry.details.get("batch") == batch]
        told[token, name] = entry.who
    assert re.fullmatch(r"operator-[0-9a-f]{6} \(says ann\)", told["chief", "ann"])
    assert told["boss", "ann"] == "operator:eva (says ann)"
    assert told["boss", "operator:eva"] == "operator:eva"
    before = len(read_audit(learner.root()))
    for name in ("learner", " Learner\u200b", "drift trigger"):
        with client(learner, name, "chief") as posing, pytest.raises(RequestFailed, match="give your own name"):
            posing.ask("sim-rain", clicks=1)
    assert len(read_audit(learner.root())) == before


def test_what_cannot_be_is_told_with_its_status(learner: LearnerProcess) -> None:
    with client(learner, "anna") as anna, client(learner, "chief", "chief") as chief:
        for code, call in (
            (grpc.StatusCode.INVALID_ARGUMENT, lambda: chief.ask("No Domain", clicks=3)),
            (grpc.StatusCode.INVALID_ARGUMENT, lambda: chief.ask(DOMAIN)),
            (grpc.StatusCode.INVALID_ARGUMENT, lambda: chief.ask(DOMAIN, clicks=5000)),
            (grpc.StatusCode.INVALID_ARGUMENT, lambda: anna.progress("No Domain")),
            (grpc.StatusCode.NOT_FOUND, lambda: anna.submit("nothing", 0)),
            (grpc.StatusCode.PERMISSION_DENIED, lambda: anna.ask(DOMAIN, clicks=3)),
            (grpc.StatusCode.PERMISSION_DENIED, lambda: client(learner, "car", "car").lease()),
            (grpc.StatusCode.UNAUTHENTICATED, lambda: client(learner, "x", "wrong").lease()),
        ):
            with pytest.raises(RequestFailed) as refused:
                call()
            assert refused.value.status == code, refused.value


def test_a_domain_without_frames_says_why_nothing_is_picked(learner: LearnerProcess) -> None:
    with client(learner, "chief", "chief") as chief:
        chief.ask("sim-fog", clicks=3)

        def failed() -> list[str]:
            return [batch.reason for batch in chief.progress("sim-fog").batches if batch.phase == "failed"]

        (why,) = until(failed, "failing")
        assert "no frame was captured in sim-fog" in why


def test_learners_that_die_while_they_pick_and_while_people_label_are_succeeded(
    source: Path, release: Path, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/root"
    leave_frames(open_root(url), DOMAIN, 6)
    options = ("--release", str(release), "--fake")
    with LearnerProcess(url, source, tmp_path / "a", *options, failpoint="regions.after-frames") as first:
        with AnnotationClient(Connection(f"127.0.0.1:{first.port}"), "chief") as chief:
            batch = chief.ask(DOMAIN, clicks=6, double_share=0)
        assert first.wait_for_end() == -9
    with LearnerProcess(url, source, tmp_path / "b", *options) as second:
        assert open_batch(second.root(), batch).phase == "open"
        with AnnotationClient(Connection(f"127.0.0.1:{second.port}"), "anna") as anna:
            task = anna.lease()
    assert task is not None
    third = LearnerProcess(url, source, tmp_path / "c", *options)
    with third, AnnotationClient(Connection(f"127.0.0.1:{third.port}"), "anna") as same:
        assert same.submit(task.id, 2).state == "labelled"
