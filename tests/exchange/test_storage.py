"""One storage root on a disk and in a bucket: the same calls, conditions that hold, and errors that say what to do."""

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from exchange.storage import (
    JoinedRoots,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StorageError,
    StorageRefused,
    StorageRoot,
    StorageUnavailable,
    open_known_root,
    open_root,
)
from tests.faulty_s3 import Fault, FaultyS3
from tests.storage_roots import S3Server

CONTRACT = pytest.mark.parametrize("root_url", ["disk", "s3", "seaweedfs"], indirect=True)
"""What the two halves rely on, on all stores that there are to try."""


@CONTRACT
def test_an_object_is_written_read_listed_and_deleted(root: StorageRoot) -> None:
    with pytest.raises(ObjectMissing, match=r"frames/a/1\.tar"):
        root.read("frames/a/1.tar")
    assert root.read_if_any("frames/a/1.tar") is None
    etag = root.write("frames/a/1.tar", b"one")
    assert root.read("frames/a/1.tar") == root.read_if_any("frames/a/1.tar")
    assert (root.read("frames/a/1.tar").data, root.read("frames/a/1.tar").etag) == (b"one", etag)
    assert root.write("frames/a/1.tar", b"two!") != etag
    root.write("frames/b/2.tar", b"")
    root.write("framesque/c", b"")
    assert [(info.key, info.size_bytes) for info in root.list_objects("frames")] == [
        ("frames/a/1.tar", 4),
        ("frames/b/2.tar", 0),
    ]
    assert [info.key for info in root.list_objects("frames", after="frames/a/1.tar")] == ["frames/b/2.tar"]
    assert root.list_folders("frames") == ["a", "b"]
    assert root.list_folders("nothing") == []
    assert root.list_objects("nothing") == []
    for key in ("frames/a/1.tar", "frames/a/1.tar", "never/was"):
        root.delete(key)
    assert [info.key for info in root.list_objects("frames")] == ["frames/b/2.tar"]


@CONTRACT
def test_what_exists_is_not_created_again(root: StorageRoot) -> None:
    etag = root.create("ledger/1.json", b"mine")
    with pytest.raises(ObjectExists, match=r"ledger/1\.json"):
        root.create("ledger/1.json", b"yours")
    assert root.read("ledger/1.json") == root.read_if_any("ledger/1.json")
    assert (root.read("ledger/1.json").data, root.read("ledger/1.json").etag) == (b"mine", etag)


@CONTRACT
def test_only_what_was_read_is_replaced(root: StorageRoot) -> None:
    first = root.create("plan.json", b"1")
    second = root.replace("plan.json", b"2", first)
    with pytest.raises(ObjectChanged, match=r"plan\.json"):
        root.replace("plan.json", b"3", first)
    assert root.read("plan.json").data == b"2"
    root.delete("plan.json")
    with pytest.raises(ObjectChanged):
        root.replace("plan.json", b"3", second)


@CONTRACT
def test_conditional_writes_are_shown_to_hold(root: StorageRoot) -> None:
    root.check_conditional_writes()
    assert root.list_objects("checks") == []


@CONTRACT
def test_of_many_that_create_one_key_one_does(root: StorageRoot) -> None:
    def create(number: int) -> bool:
        try:
            root.create("ledger/1.json", f"{number}".encode())
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(create, range(24)))
    assert sum(created) == 1
    assert root.read("ledger/1.json").data == f"{created.index(True)}".encode()


@CONTRACT
def test_no_compare_and_swap_is_lost_among_many_writers(root_url: str, root: StorageRoot) -> None:
    """Each process adds 1 until it has done so 10 times; the sum is right only if no update overwrote another."""
    root.create("count", b"0 start")
    code = (
        "import os, sys\n"
        "from exchange.storage import ObjectChanged, open_root\n"
        f"root, done = open_root({root_url!r}), 0\n"
        "while done < 10:\n"
        "    found = root.read('count')\n"
        "    count = int(found.data.split()[0]) + 1\n"
        "    try:\n"
        "        root.replace('count', f'{count} {os.getpid()}'.encode(), found.etag)\n"
        "        done += 1\n"
        "    except ObjectChanged:\n"
        "        pass\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert root.read("count").data.split()[0] == b"30"


@CONTRACT
def test_a_reader_never_sees_half_an_object(root: StorageRoot) -> None:
    """While two contents of 1 MiB replace each other, every read gives one of them whole."""
    contents = [bytes([letter]) * (1 << 20) for letter in b"ab"]
    root.write("big", contents[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                root.write("big", content)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        seen = {root.read("big").data for _ in range(30)}
        stop.set()
        writing.result()
    assert seen <= set(contents)


def test_a_killed_writer_leaves_nothing_visible(tmp_path: Path) -> None:
    """kill -9 in the middle of writes of 8 MiB: what is visible is whole, and a later process removes what was left."""
    code = (
        "import itertools, sys\n"
        "from exchange.storage import open_root\n"
        f"root = open_root({str(tmp_path)!r})\n"
        "for number in itertools.count():\n"
        "    root.create(f'shards/{number}', bytes([number % 256]) * (8 << 20))\n"
        "    print(number, flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer:
        writer.stdout.readline()
        partial = tmp_path / ".partial"
        while not any(path.stat().st_size for path in partial.iterdir() if path.exists()):
            pass
        writer.send_signal(signal.SIGKILL)
    root = open_root(str(tmp_path))
    shards = root.list_objects("shards")
    assert shards
    for info in shards:
        data = root.read(info.key).data
        assert data == data[:1] * (8 << 20)
    for left in partial.iterdir():
        os.utime(left, (0, 0))
    open_root(str(tmp_path))
    assert not any(partial.iterdir())


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "a/.hidden", "a b", "ä", "a\n", "x" * 129]
)
def test_a_key_never_leaves_the_root(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="is no storage key"):
        open_root(str(tmp_path)).write(key, b"")


@pytest.mark.parametrize("url", ["", "file://", "file://host/folder", "s3://", "http://host/folder", "s3:bucket"])
def test_what_is_no_root_is_refused(url: str) -> None:
    with pytest.raises(StorageRefused, match="is no storage root: give file:///folder or s3://bucket/prefix"):
        open_root(url)


def test_a_root_that_is_a_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(StorageRefused, match="taken"):
        open_root(f"file://{tmp_path}/taken/root")


def test_a_root_that_nobody_made_is_not_made_by_who_only_knows_it(tmp_path: Path) -> None:
    for folder in (tmp_path / "slip", tmp_path):
        for url in (f"file://{folder}", str(folder)):
            with pytest.raises(StorageRefused, match="there is no storage root at"):
                open_known_root(url)
    assert list(tmp_path.iterdir()) == []
    open_root(f"file://{tmp_path}/root").create("a/b", b"c")
    assert open_known_root(f"file://{tmp_path}/root").read("a/b").data == b"c"


def test_a_missing_bucket_is_named(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageRefused, match="s3://no-such-bucket/x has no such bucket: create it"):
        open_root("s3://no-such-bucket/x").write("key", b"")


def test_a_store_on_this_machine_is_reached_without_a_proxy(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{silent.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for endpoint in (s3_server.endpoint, s3_server.endpoint.replace("127.0.0.1", "localhost")):
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            root = open_root("s3://fleet/without-proxy", patience_s=10.0)
            root.write("key", endpoint.encode())
            assert root.read("key").data == endpoint.encode()


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_an_endpoint_by_another_name_is_reached_alike(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(variable if name == "AWS_ENDPOINT_URL" else name, value)
    if variable == "AWS_ENDPOINT_URL_S3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    else:
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    root = open_root("s3://fleet/by-another-name", patience_s=10.0)
    root.write(variable, b"data")
    assert root.read(variable).data == b"data"


@pytest.mark.parametrize(
    "endpoint",
    [
        "127.0.0.1:9000",
        "ftp://127.0.0.1:9000",
        "http://",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http://a b:1",
        "http://a..b:1",
    ],
)
def test_an_endpoint_that_is_no_url_is_refused_by_name(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StorageRefused, match=f"AWS_ENDPOINT_URL is '{re.escape(endpoint)}': give http://HOST:PORT"):
        open_root("s3://fleet/x")


def test_a_dead_and_a_hanging_store_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with socket.socket() as hanging, socket.socket() as dead:
        for place in (hanging, dead):
            place.bind(("127.0.0.1", 0))
        hanging.listen()  # takes connections, and never answers
        for place in (hanging, dead):
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{place.getsockname()[1]}")
            root = open_root("s3://fleet/x", patience_s=0.5)
            with pytest.raises(StorageUnavailable, match="s3://fleet/x did not answer for plan"):
                root.read("plan")


def test_a_store_that_comes_back_is_met_by_the_retries(tmp_path: Path) -> None:
    root = open_root(str(tmp_path), patience_s=20.0)
    with ThreadPoolExecutor(1) as pool:
        with (tmp_path / ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            writing = pool.submit(root.write, "key", b"data")
            assert not wait([writing], timeout=0.05).done
        assert writing.result() == root.read("key").etag


def test_a_root_that_is_away_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    root = open_root(str(tmp_path / "root"), patience_s=0.1)
    root.write("folder/key", b"data")
    (tmp_path / "root").rename(tmp_path / "away")
    (tmp_path / "root").mkdir()  # as where a disk is not mounted
    for ask in (lambda: root.read_if_any("folder/key"), lambda: root.list_objects("folder")):
        with pytest.raises(StorageUnavailable, match="is away"):
            ask()
    with pytest.raises(StorageUnavailable, match="is away"):
        root.list_folders("folder")
    (tmp_path / "root").rmdir()
    (tmp_path / "away").rename(tmp_path / "root")
    assert [info.key for info in root.list_objects("folder")] == ["folder/key"]


def test_a_root_that_was_joined_before_is_not_begun_anew(tmp_path: Path) -> None:
    url = (tmp_path / "root").as_uri()
    joined = JoinedRoots(tmp_path / "run")
    assert url not in joined
    open_root(url, patience_s=0.1, joined_before=url in joined)
    joined.add(url)
    joined.add(url)
    (tmp_path / "root").rename(tmp_path / "away")
    root = open_root(url, patience_s=0.1, joined_before=url in JoinedRoots(tmp_path / "run"))
    with pytest.raises(StorageUnavailable, match="is away"):
        root.read_if_any("folder/key")
    with pytest.raises(StorageUnavailable, match="root"):
        root.create("folder/key", b"data")
    assert not (tmp_path / "root").exists()
    (tmp_path / "away").rename(tmp_path / "root")
    root.create("folder/key", b"data")
    assert (tmp_path / "run" / "joined_roots").read_text() == f"{url}\n"


def test_a_write_whose_reply_was_lost_is_known_to_have_worked(faulty_s3: FaultyS3, faulty_root: StorageRoot) -> None:
    root = faulty_root
    faulty_s3.plan("lost", None, "lost")
    created = root.create("ledger", b"mine")
    replaced = root.replace("ledger", b"mine, too", created)
    assert faulty_s3.met == ["lost", "lost"]
    assert root.read("ledger").etag == root.etag_if_any("ledger") == replaced
    with pytest.raises(ObjectExists):
        root.create("ledger", b"yours")
    with pytest.raises(ObjectChanged):
        root.replace("ledger", b"yours", created)


@pytest.mark.parametrize(
    "faults", [("conflict",), ("conflict", "conflict"), ("lost", "conflict"), ("conflict", "lost")]
)
def test_a_write_that_met_another_one_is_tried_again(
    faulty_s3: FaultyS3, faulty_root: StorageRoot, faults: tuple[Fault, ...]
) -> None:
    """409 says that nothing was written; not that there is something, nor that it was changed."""
    faulty_s3.plan(*faults)
    etag = faulty_root.create("plan", b"1")
    assert faulty_root.read("plan").data == b"1"
    assert faulty_s3.met == list(faults)
    faulty_s3.plan(*faults)
    faulty_root.replace("plan", b"2", etag)
    assert faulty_root.read("plan").data == b"2"
    assert faulty_s3.met == list(faults)


def test_after_meeting_another_write_what_is_there_decides(faulty_s3: FaultyS3, faulty_root: StorageRoot) -> None:
    etag = faulty_root.create("plan", b"theirs")
    faulty_s3.plan("conflict")
    with pytest.raises(ObjectExists):
        faulty_root.create("plan", b"mine")
    faulty_root.write("plan", b"theirs, changed")
    faulty_s3.plan("conflict")
    with pytest.raises(ObjectChanged):
        faulty_root.replace("plan", b"mine", etag)
    assert faulty_root.read("plan").data == b"theirs, changed"


def test_a_write_that_meets_others_all_the_time_ends_as_one_that_may_work_later(
    faulty_s3: FaultyS3, faulty_root: StorageRoot
) -> None:
    etag = faulty_root.create("plan", b"1")
    hasty = open_root(faulty_root.url, patience_s=0.3)
    conflicts: list[Fault] = ["conflict"] * 100
    for write in (lambda: hasty.create("new", b"1"), lambda: hasty.replace("plan", b"2", etag)):
        faulty_s3.plan(*conflicts)
        with pytest.raises(StorageUnavailable, match="another write to it was under way"):
            write()
    faulty_s3.plan()
    assert faulty_root.read_if_any("new") is None
    assert faulty_root.read("plan").data == b"1"


@CONTRACT
def test_what_was_created_or_found_is_told(root: StorageRoot) -> None:
    assert root.create_or_read("key", b"mine") == root.read("key")
    assert root.create_or_read("key", b"yours") == root.read("key")
    assert root.read("key").data == b"mine"
    assert root.etag_if_any("key") == root.read("key").etag
    assert root.etag_if_any("nothing") is None


def test_a_root_that_goes_away_during_a_write_is_not_made_anew(tmp_path: Path) -> None:
    here, there = tmp_path / "root", tmp_path / "away"
    root, ended = open_root(str(here), patience_s=0.01), threading.Event()

    def write() -> None:
        while not ended.is_set():
            with contextlib.suppress(StorageError):
                root.create(f"frames/{uuid.uuid4().hex}/{uuid.uuid4().hex}/one", b"1")

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(600):
            here.rename(there)
            there.rename(here)  # fails where a write has made an empty root in its place
    finally:
        ended.set()
        for writer in writers:
            writer.join()
