"""Rounds' folders on the learner's disk: made from what is in the root, and removed when a round has ended."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from adaptation.control.rounds.captured_snapshot import CapturedSnapshot
from adaptation.control.rounds.laid_out_frames import LaidOut, lay_out
from adaptation.control.rounds.round_state import RoundState, round_key
from adaptation.control.settings import LearnerSettings
from exchange.jobs.job import Job
from exchange.jobs.recipes import RoundConfig
from exchange.jobs.round_files import JOB_FILE, LAID_OUT_FILE, write_whole
from exchange.plan.priors import read_prior
from exchange.plan.serving_plan import read_plan
from exchange.registry import anchor_of, fetch_release
from exchange.storage import StorageRoot
from exchange.storage.records import RecordError


class RoundFolders:
    def __init__(self, root: StorageRoot, settings: LearnerSettings, recipes: Mapping[str, RoundConfig]) -> None:
        self._root = root
        self._settings = settings
        self._recipes = recipes
        self._run_dir = settings.run_dir.absolute()

    def path(self, state: RoundState) -> Path:
        return self._run_dir / "rounds" / state.id

    def remove(self, state: RoundState) -> None:
        """All that is on this machine of a round."""
        shutil.rmtree(self.path(state), ignore_errors=True)

    def prepare(self, state: RoundState) -> LaidOut:
        """Completes a round's folder for its worker; a complete one stays as it is.

        Raises:
            RecordError, ReleaseError, StorageError: something cannot be read from the root.
            OSError: the disk does not take it.
        """
        folder = self.path(state)
        try:
            return LaidOut.decode((folder / LAID_OUT_FILE).read_bytes(), LAID_OUT_FILE)
        except (FileNotFoundError, RecordError):
            self.remove(state)
        folder.mkdir(parents=True)
        write_whole(folder / JOB_FILE, self._job(state).encode())
        key = round_key(state.id, "snapshot.json")
        snapshot = CapturedSnapshot.decode(self._root.read(key).data, key)
        laid_out = lay_out(self._root, state.id, snapshot, folder)
        write_whole(folder / LAID_OUT_FILE, laid_out.encode())
        return laid_out

    def _job(self, state: RoundState) -> Job:
        assert state.start_version is not None  # noqa: S101 - chosen before the snapshot
        config, minutes = self._recipes[state.request.recipe], state.request.minutes
        domain, stored = state.request.domain, read_plan(self._root)
        incumbent = state.start_version if stored is None else stored.plan.of(domain).serving
        anchor = anchor_of(self._root, incumbent)
        return Job(
            config=config if minutes is None else config.with_budget(minutes, "minutes"),
            start=self._fetched(state.start_version),
            incumbent=self._fetched(incumbent),
            anchor=None if anchor == incumbent else self._fetched(anchor),
            prior=read_prior(self._root, domain).estimates.get(incumbent),
            limits=self._settings.limits(),
            sources=self._settings.sources,
            seed=state.request.seed,
        )

    def _fetched(self, version: int) -> Path:
        return fetch_release(self._root, version, self._run_dir / "releases")
