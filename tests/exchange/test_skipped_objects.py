"""Objects that cannot be read: noted once, and skipped by those who read many; an erasure holds by its key."""

import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from exchange.erasing import Erased, erase_stored
from exchange.fleet.erasures import ErasureReader, request_erasure
from exchange.fleet.presence import PresenceReader, PresenceRow, PresenceRows
from exchange.plan.priors import change_prior, read_priors
from exchange.regions.batches import create_batch, drop_batch, read_batches
from exchange.regions.tasks import RegionBatch, new_batch_id
from exchange.registry.audit import AuditEntry, read_audit, record
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import ShardName, audit_key, erasure_key, erasure_of, presence_hour, prior_key
from exchange.storage.records import RecordError
from exchange.storage.unreadable_objects import MOST_KNOWN, UnreadableObjects

NOW = datetime.now(UTC)


def rows(count: int) -> PresenceRows:
    held_K = np.full(19, 0.5, np.float32)
    return PresenceRows.of([PresenceRow(NOW.timestamp() + i, "v-d", 1, held_K, held_K, 0.9) for i in range(count)])


def test_each_is_told_once_and_what_is_remembered_is_bounded(capfd: pytest.CaptureFixture[str]) -> None:
    unreadable = UnreadableObjects()
    for _ in range(3):
        unreadable.note("audit/a.json", RecordError("audit/a.json is no AuditEntry:\nno whole JSON"))
        unreadable.note("audit/caf\udce9", "no name")
    assert capfd.readouterr().err.splitlines() == [
        "skipped, as it cannot be read: audit/a.json is no AuditEntry: no whole JSON",
        "skipped, as it cannot be read: audit/caf\\udce9: no name",
    ]
    for number in range(MOST_KNOWN + 100):
        unreadable.note("gateways/gw.json", f"written at {number}")
        unreadable.note(f"priors/{number}.json", "no prior")
    assert unreadable.counts.total() == unreadable.counts["priors"] + unreadable.counts["gateways"] + 2
    assert len(unreadable.told_keys()) == MOST_KNOWN
    assert len(unreadable.lines()) == 33
    told = capfd.readouterr().err.splitlines()
    assert sum("more than 8192 objects" in line for line in told) == 1
    assert sum("gateways/gw.json" in line for line in told) == 4


def test_an_erasure_that_cannot_be_read_holds_by_its_key(root: StorageRoot) -> None:
    reader = ErasureReader(root)
    assert request_erasure(root, "a1") == 1
    root.write(erasure_key(NOW, "b2"), b"")
    root.write("erasures/README.txt", b"what this is")
    root.write("erasures/2026Z-c3.json", b"")
    assert sorted(reader.unseen()) == ["a1", "b2"]
    assert reader.unseen() == []
    assert request_erasure(root, "d4") == 3
    assert root.unreadable.counts == {"erasures": 3}


def test_an_erasure_goes_on_past_what_it_cannot_look_into(root: StorageRoot) -> None:
    damaged = ShardName("sim-day", "gw-a", NOW, 1).key
    for key in (damaged, "presence/sim-day/gw-a/20260101T00.npz", "presence/README.txt", "rounds/x/frames/0.tar"):
        root.write(key, b"damaged")
    root.write("presence/sim-day/gw-b/20260101T00.npz", rows(2).encode())
    assert erase_stored(root, "v") == Erased(frames=0, presence_rows=2)
    assert root.unreadable.counts == {"frames": 1, "presence": 2, "rounds": 1}
    assert root.read(damaged).data == b"damaged"


def test_one_part_or_record_is_skipped_and_the_others_are_read(root: StorageRoot) -> None:
    root.write("presence/sim-day/gw-a/20260101T00.npz", rows(2).encode())
    root.write("presence/sim-day/gw-b/20260101T00.npz", b"PK\x03\x04")
    reader = PresenceReader(root, "sim-day")
    for _ in range(2):
        assert len(reader.rows_since(datetime(2026, 1, 1, tzinfo=UTC))) == 2
    root.write("presence/sim-day/gw-b/20260101T00.npz", rows(3).encode())
    assert len(reader.rows_since(datetime(2026, 1, 1, tzinfo=UTC))) == 5
    record(root, AuditEntry(who="ann", what="pin"))
    root.write(audit_key(NOW, "0"), b"\xff")
    assert [entry.what for entry in read_audit(root)] == ["pin"]
    change_prior(root, "sim-day", lambda now: now.model_copy(update={"frozen": True}))
    root.write("priors/sim-day.bak.json", root.read(prior_key("sim-day")).data)
    root.write(prior_key("sim-fog"), b'{"format": 2}')
    assert [found.domain for found in read_priors(root)] == ["sim-day"]
    assert root.unreadable.counts == {"presence": 1, "audit": 1, "priors": 2}


def test_any_damage_of_a_presence_part_is_told_as_such() -> None:
    whole, rng = rows(40).encode(), np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(whole[: rng.integers(0, len(whole) + 1)] if rng.random() < 0.3 else whole)
        for at in rng.integers(0, max(len(damaged), 1), rng.integers(0, 6)):
            if damaged:
                damaged[at] = rng.integers(0, 256)
        with suppress(RecordError):  # nothing else
            PresenceRows.decode(bytes(damaged), "key")


def test_a_batch_is_not_dropped_beside_one_that_may_ask_about_the_same_frames(root: StorageRoot) -> None:
    batch = RegionBatch(
        id=new_batch_id(NOW, "000001"), domain="sim-day", asked_by="ann", asked_at=NOW, clicks=3, double_share=0
    )
    create_batch(root, batch)
    root.write("regions/sim-day/batches/damaged.json", b"{")
    assert read_batches(root, "sim-day") == [batch]
    with pytest.raises(RecordError, match=r"regions/sim-day/batches/damaged\.json"):
        drop_batch(root, "sim-day", batch.id)
    assert read_batches(root, "sim-day") == [batch]


@pytest.mark.parametrize("name", ["a/9Z-1.tar", "a/README.txt", "20261301T000000.000000Z-1.tar"])
def test_what_is_named_otherwise_is_nothing_of_ours(name: str) -> None:
    assert ShardName.parse(f"frames/sim-day/gw-a/{name}") is None
    assert ShardName.parse("frames/sim-day/gw-a/9Z-1.tar") is None
    assert presence_hour(f"presence/sim-day/{name}") is None
    assert erasure_of(f"erasures/{name}") is None


def run(*command: str) -> subprocess.CompletedProcess[str]:
    begin = [sys.executable, "-c", "import cli; cli.main()", *command]
    return subprocess.run(begin, cwd=Path(__file__).parents[2], capture_output=True, text=True)


def test_an_erasure_that_could_not_look_everywhere_says_so(tmp_path: Path) -> None:
    root, key = open_root(str(tmp_path / "root")), ShardName("sim-day", "gw-a", NOW, 1).key
    root.write(key, b"damaged")
    root.write("erasures/README.txt", b"what this is")
    (tmp_path / "key").write_text("ab" * 32)
    order = ("erase", "--vehicle", "car-1", "--pseudonym-key", str(tmp_path / "key"), "--root", root.url)
    ended = run(*order)
    assert ended.returncode == 2, ended.stderr
    assert f"not looked into, as it cannot be read: {key}; mend or delete that" in ended.stderr
    root.delete(key)
    ended = run(*order)
    assert ended.returncode == 0, ended.stderr


def test_commands_that_list_say_what_they_skip(tmp_path: Path) -> None:
    root = open_root(str(tmp_path / "root"))
    record(root, AuditEntry(who="ann", what="pin"))
    root.write(audit_key(NOW, "0"), b"")
    root.write(prior_key("sim-fog"), b"")
    for command, key in (("audit",), audit_key(NOW, "0")), (("prior", "show"), prior_key("sim-fog")):
        ended = run(*command, "--root", root.url)
        assert ended.returncode == 0, ended.stderr
        assert f"skipped, as it cannot be read: {key}" in ended.stderr


def test_what_is_mended_or_gone_is_told_no_more(root: StorageRoot) -> None:
    for name in ("a", "b", "not a key"):
        root.unreadable.note(f"gateways/{name}", "it is damaged")
    root.unreadable.note("presence/Foreign", "no domain")
    root.unreadable.keep_only("gateways", ["gateways/a", "gateways/not a key", "gateways/c"])
    root.unreadable.keep_only("presence", ["presence/Foreign/readme"])
    assert root.unreadable.told_keys() == ["gateways/a", "gateways/not a key", "presence/Foreign"]
    root.unreadable.forget("gateways/a")
    root.list_objects("presence")
    assert root.unreadable.told_keys() == ["gateways/not a key"]
    assert root.unreadable.counts == {"gateways": 3, "presence": 1}
