"""A desk whose storage writes, does not answer, and lets somebody else write before it is asked again."""

from collections.abc import Callable
from pathlib import Path

from adaptation.control.labeling.desk import LabelDesk
from exchange.storage import StorageRoot, open_root
from exchange.storage.disk import DiskBackend
from exchange.storage.objects import Condition, StorageUnavailable
from exchange.storage.root_location import RootLocation
from tests.annotation.asked_regions import ROAD, asked_frame, leave_batch


class ReplyLost(DiskBackend):
    """Loses the reply of its first write, and does `meanwhile` after it."""

    meanwhile: Callable[[], object] | None = None

    def put(self, key: str, data: bytes, condition: Condition) -> str:
        etag = super().put(key, data, condition)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
            raise StorageUnavailable("the reply was lost")
        return etag


def test_a_region_whose_lease_was_not_confirmed_is_not_leased_to_nobody(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    leave_batch(open_root(url), [asked_frame(0)], 3)
    ben = LabelDesk(open_root(url))
    backend = ReplyLost(tmp_path, 5.0, joined_before=True)
    backend.meanwhile = lambda: ben.lease("ben")
    desk = LabelDesk(StorageRoot(RootLocation.parse(url), backend, 5.0))
    task = desk.lease("anna")
    assert task is not None
    assert task.id.endswith(".0")
    progress = desk.progress("sim-dusk")
    assert (progress.leased, progress.waiting) == (2, 1)
    desk.submit(task.id, "anna", ROAD)
    assert desk.progress("sim-dusk").leased == 1
