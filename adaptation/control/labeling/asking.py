"""Orders for regions: what an operator, or a round at its end, asks the learner to pick."""

import uuid
from datetime import UTC, datetime

from pydantic import JsonValue, TypeAdapter, ValidationError

from adaptation.control.labeling.batch_reader import BatchReader
from adaptation.control.labeling.progress import progress_of
from exchange.net.request_values import BadValue, checked_minutes, checked_number
from exchange.plain_words import shown
from exchange.regions.batches import create_batch
from exchange.regions.tasks import MOST_TASKS, RegionBatch, new_batch_id
from exchange.registry.audit import AuditEntry, audited
from exchange.storage import StorageRoot
from exchange.storage.locations import DomainName

SECONDS_A_CLICK = 5.0
"""Until people have shown their own pace."""
DOUBLE_SHARE = 0.2
_LEAST_TIMED_CLICKS = 20
_DOMAIN: TypeAdapter[str] = TypeAdapter(DomainName)


def ask_for_regions(
    root: StorageRoot,
    domain: str,
    *,
    by: str,
    clicks: int = 0,
    minutes: float = 0.0,
    double_share: float = DOUBLE_SHARE,
    random_seed: int | None = None,
    batch_id: str | None = None,
) -> RegionBatch:
    """Leaves an order, which the learner takes up; by clicks, or by the minutes that people have.

    Args:
        double_share: of the regions, to be shown to two people; a second click is a click.
        batch_id: the same asks only once; by default another one each time.

    Raises:
        BadValue: the numbers cannot be.
        TooManyBatches; RecordError, StorageError: the root cannot be read or written.
    """
    try:
        _DOMAIN.validate_python(domain)
    except ValidationError:
        raise BadValue(f"{shown(domain)} is no domain name: such as sim-dusk") from None
    checked_minutes(minutes)
    if (clicks > 0) == (minutes > 0):
        raise BadValue("give a number of clicks or of minutes, one of the two")
    if minutes > 0:
        clicks = max(1, int(60 * minutes / seconds_a_click(root, domain)))
    if clicks > MOST_TASKS:
        raise BadValue(f"{clicks} clicks are more than {MOST_TASKS}: ask for a part of them, and for more later")
    checked_number("the share for two people", double_share, 0, 1)
    now = datetime.now(UTC)
    batch = RegionBatch(
        id=batch_id or new_batch_id(now, uuid.uuid4().hex),
        domain=domain,
        asked_by=by,
        asked_at=now,
        clicks=clicks,
        random_seed=random_seed,
        double_share=double_share,
    )
    told: dict[str, JsonValue] = {"batch": batch.id, "clicks": clicks, "double_share": double_share}
    if minutes > 0:
        told["minutes"] = minutes
    with audited(root, AuditEntry(who=by, what="ask-labels", domain=domain, details=told)):
        create_batch(root, batch)
    return batch


def seconds_a_click(root: StorageRoot, domain: str) -> float:
    """As people took in this domain; `SECONDS_A_CLICK` before they have shown it. Raises RecordError, StorageError."""
    progress = progress_of(domain, BatchReader(root).read(domain), datetime.now(UTC))
    if progress.seconds_a_click is None or progress.clicks_used < _LEAST_TIMED_CLICKS:
        return SECONDS_A_CLICK
    return max(progress.seconds_a_click, 0.5)
