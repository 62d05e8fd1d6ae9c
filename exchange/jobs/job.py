"""What the learner asks of a worker."""

from pathlib import Path
from typing import Literal

from adaptation.learning.data.data_choice import DataChoice, choose_data
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


def chosen_sources(sources: tuple[Source, ...]) -> list[DataChoice]:
    """What is learnt from. Raises DataError where a folder is no data set."""
    return [choice for source in sources for choice in choose_data([source.folder], source.split)]


def held_out_sources(sources: tuple[Source, ...]) -> list[DataChoice]:
    """What the gate scores on. Raises DataError where a folder is no data set."""
    return [choice for source in sources for choice in choose_data([source.folder], source.held_out)]
