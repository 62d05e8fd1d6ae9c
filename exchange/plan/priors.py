"""How each domain's live prior came about, for operators; and what they decided about it.

The learner writes the estimates, operators freeze and reset; both by compare-and-swap, so that neither undoes the
other. Gateways read the serving plan alone.
"""

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from exchange.plan.serving_plan import LogRatio
from exchange.storage import StorageRoot
from exchange.storage.locations import PRIORS, DomainName, Version, prior_key
from exchange.storage.readable_objects import at_its_key, read_each
from exchange.storage.record_changes import change_record
from exchange.storage.records import Moment, PerClass, Record

PRIOR_FRAMES = 256
"""A target estimated from this many independent frames is believed half. With GTA5's class frequencies the worst
class's log ratio is then off by 0.4 in the median draw, and with a quarter of the frames by 0.8."""


class LiveEstimate(Record):
    """What one version's rows say about a domain. Shares are of frames that hold a class."""

    estimated_at: Moment
    frames: int
    effective_frames: float
    """Of how many independent recent frames they are worth."""
    resampled: Literal["drives", "runs of 20 frames"]
    share: PerClass
    """Of frames in which the version sees the class, recent ones counting more."""
    low: PerClass
    """With `high`: the 90 % interval of the share of frames whose true labels hold the class."""
    high: PerClass
    log_ratio: LogRatio
    """What follows for the logits: shrunk, floored, clipped."""


class PriorRecord(Record):
    format: Literal[1] = 1
    domain: DomainName
    frozen: bool = False
    """The plan's ratio stays as it is."""
    since: Moment | None = None
    """Rows that were captured earlier do not count: the prior was reset."""
    estimates: dict[Version, LiveEstimate] = Field(default={})


def read_prior(root: StorageRoot, domain: str) -> PriorRecord:
    """The record as it is; an empty one where there is none.

    Raises:
        RecordError, StorageError: it cannot be read.
    """
    found = root.read_if_any(prior_key(domain))
    return PriorRecord(domain=domain) if found is None else PriorRecord.decode(found.data, prior_key(domain))


def read_priors(root: StorageRoot) -> list[PriorRecord]:
    """All that can be read, by domain; the others are noted. Raises StorageError where the root does not answer."""
    decode = at_its_key(PriorRecord, lambda record: prior_key(record.domain))
    return [record for _, record in read_each(root, root.list_objects(PRIORS), decode)]


def change_prior(root: StorageRoot, domain: str, change: Callable[[PriorRecord], PriorRecord]) -> PriorRecord:
    """As `change_record`: `change` gets an empty record where there is none."""
    return change_record(
        root, prior_key(domain), PriorRecord, lambda found: change(found or PriorRecord(domain=domain))
    )
