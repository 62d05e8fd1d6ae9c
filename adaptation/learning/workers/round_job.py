"""What a worker does with its folder: the round's steps, then the gate."""

from pathlib import Path

from adaptation.learning.data.data_choice import DataChoice
from adaptation.learning.data.job_sources import chosen_sources, held_out_sources
from adaptation.learning.data.labelled_frames import DataError
from adaptation.learning.gate.judge import judge
from adaptation.learning.gate.measure import TargetFrame, measure
from adaptation.learning.networks.checkpoints import CheckpointError
from adaptation.learning.rounds.run import adapt
from adaptation.learning.rounds.snapshot import Snapshot
from adaptation.learning.rounds.steps import RoundError
from adaptation.learning.rounds.work import OnProgress, Round
from exchange.jobs.job import Job
from exchange.jobs.round_files import (
    ASKED_FOLDER,
    HELD_OUT_FOLDER,
    JOB_FILE,
    OUT_FOLDER,
    RELEASE_FOLDER,
    TARGET_FOLDER,
    VERDICT_FILE,
    write_whole,
)
from exchange.jobs.verdict import Verdict
from exchange.registry.releases import ReleaseError

CHECKPOINT_EVERY_S = 30.0


class JobFailed(Exception):
    """In one line, for people; trying the same again will not help."""


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
            write_whole(folder / VERDICT_FILE, _verdict(job, folder, on_progress).encode())
    except (DataError, CheckpointError, ReleaseError, RoundError, ValueError) as error:
        raise JobFailed(" ".join(str(error).split())) from error


def _round(job: Job, folder: Path, sources: list[DataChoice]) -> Round:
    return Round(
        job.config,
        job.start,
        sources,
        folder / TARGET_FOLDER,
        folder / OUT_FOLDER,
        seed=job.seed,
        asked=folder / ASKED_FOLDER if (folder / ASKED_FOLDER).exists() else None,
        checkpoint_every_s=CHECKPOINT_EVERY_S,
    )


def _verdict(job: Job, folder: Path, on_progress: OnProgress) -> Verdict:
    """Measures on frames that were kept by chance, and on held-out ones where people labelled some."""
    out, held_out = folder / OUT_FOLDER, folder / HELD_OUT_FOLDER
    frames = Snapshot.read(out / "snapshot").fair_frames
    measured = measure(
        out / RELEASE_FOLDER,
        job.incumbent,
        held_out_sources(job.sources),
        [TargetFrame(out / "snapshot" / frame.image, frame.drive) for frame in frames],
        sentinel=held_out / "labels" if held_out.exists() else None,
        sentinel_frames=[TargetFrame(image, image.parent.name) for image in (held_out / "frames").glob("*/*")],
        prior=job.prior,
        anchor=job.anchor,
        target_frames=job.limits.target_frames,
        on_frame=lambda what, done, total: on_progress(f"judging on the {what}", done, total, {}),
    )
    return judge(measured, job.limits)
