"""What the learner asks of a worker."""

from pathlib import Path
from typing import Literal

from exchange.jobs.limits import GateLimits
from exchange.jobs.recipes import RoundConfig
from exchange.plan.priors import LiveEstimate
from exchange.storage.records import Record


class Source(Record):
    """A labelled data set's folder; its splits' names count where its layout has splits."""

    folder: Path
    split: str = "train"
    """Is learnt from."""
    held_out: str = "val"
    """Is for the gate."""


class Job(Record):
    """One round's; job.json in its folder."""

    format: Literal[1] = 1
    config: RoundConfig
    start: Path
    """The release that the round starts from."""
    incumbent: Path
    """The release that the domain is served with, which the gate compares with."""
    anchor: Path | None
    """The release that the incumbent's adaptation began with, which then judges in its place."""
    prior: LiveEstimate | None
    """Of the domain; None leaves it to be measured on the captured frames."""
    limits: GateLimits
    sources: tuple[Source, ...]
    seed: int
