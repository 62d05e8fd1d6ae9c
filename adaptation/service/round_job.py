"""What a worker does with its folder: the round's steps, then the gate."""

from pathlib import Path

from adaptation.data.data_choice import DataChoice, choose_data
from adaptation.data.labelled_frames import DataError
from adaptation.gate.judge import judge
from adaptation.gate.limits import GateLimits
from adaptation.gate.measure import TargetFrame, measure
from adaptation.gate.verdict import Verdict
from adaptation.networks.checkpoints import CheckpointError
from adaptation.rounds.recipes import RoundConfig
from adaptation.rounds.run import adapt
from adaptation.rounds.snapshot import Snapshot
from adaptation.rounds.steps import RoundError
from adaptation.rounds.work import OnProgress, Round
from adaptation.service.round_files import (
    COLLAPSE_CHECKS,
    JOB_FILE,
    OUT_FOLDER,
    RELEASE_FOLDER,
    TARGET_FOLDER,
    VERDICT_FILE,
    write_whole,
)
from exchange.locations import DomainName
from exchange.priors import LiveEstimate
from exchange.records import Record
from exchange.releases import ReleaseError

CHECKPOINT_EVERY_S = 30.0


class JobFailed(Exception):
    """In one line, for people; trying the same again will not help."""


class Source(Record):
    """A labelled data set's folder; its splits' names count where its layout has splits."""

    folder: Path
    split: str = "train"
    """Is learnt from."""
    held_out: str = "val"
    """Is for the gate."""


class Job(Record):
    """What the learner asks of a worker."""

    format: int = 1
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
    domain: DomainName


def has_collapsed(verdict: Verdict) -> bool:
    """Whether the candidate was refused because it says less than the incumbent: some classes have gone."""
    return any(check.name in COLLAPSE_CHECKS and not check.passed for check in verdict.checks)


def read_job(folder: Path) -> Job:
    return Job.decode((folder / JOB_FILE).read_bytes(), str(folder / JOB_FILE))


def learn_and_judge(folder: Path, on_progress: OnProgress) -> None:
    """Does what of the job is not done yet.

    Raises:
        JobFailed: it cannot be done.
    """
    job = read_job(folder)
    try:
        sources = chosen_sources(job.sources)
        adapt(_round(job, folder, sources), on_progress)
        if not (folder / VERDICT_FILE).exists():
            write_whole(folder / VERDICT_FILE, _verdict(job, folder / OUT_FOLDER, on_progress).encode())
    except (DataError, CheckpointError, ReleaseError, RoundError, ValueError) as error:
        raise JobFailed(" ".join(str(error).split())) from error


def chosen_sources(sources: tuple[Source, ...]) -> list[DataChoice]:
    """What is learnt from. Raises DataError where a folder is no data set."""
    return choose_data([source.folder for source in sources], "train", splits=[source.split for source in sources])


def held_out_sources(sources: tuple[Source, ...]) -> list[DataChoice]:
    """What the gate scores on. Raises DataError where a folder is no data set."""
    return choose_data([source.folder for source in sources], "val", splits=[source.held_out for source in sources])


def _round(job: Job, folder: Path, sources: list[DataChoice]) -> Round:
    return Round(
        job.config,
        job.start,
        sources,
        folder / TARGET_FOLDER,
        folder / OUT_FOLDER,
        seed=job.seed,
        checkpoint_every_s=CHECKPOINT_EVERY_S,
    )


def _verdict(job: Job, out: Path, on_progress: OnProgress) -> Verdict:
    frames = Snapshot.read(out / "snapshot").frames
    measured = measure(
        out / RELEASE_FOLDER,
        job.incumbent,
        held_out_sources(job.sources),
        [TargetFrame(out / "snapshot" / frame.image, frame.drive) for frame in frames],
        prior=job.prior,
        anchor=job.anchor,
        on_frame=lambda what, done, total: on_progress(f"judging on the {what}", done, total, {}),
    )
    return judge(measured, job.limits)
