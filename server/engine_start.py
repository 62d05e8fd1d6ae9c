"""The engine that the settings name, started with one release; the rollout brings the others."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from exchange.net.addresses import AddressError, called_target
from exchange.net.listening import StartupError
from exchange.plan.serving_plan import ServingPlan
from exchange.registry.releases import Manifest, ReleaseError, read_manifest, verify_release
from exchange.storage import StorageError
from exchange.storage.records import RecordError
from server.background_call import in_background
from server.cannot_load import CannotLoad
from server.rollout.local_releases import LocalReleases
from server.segmenter import FakeSegmenter, Segmenter
from server.settings import GatewaySettings

if TYPE_CHECKING:
    from server.triton.assembly import Triton

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StartedEngine:
    segmenter: Segmenter
    version: int
    unpublished: Manifest | None = None
    """Of that version where it is the release of the settings: the root may have another one by its number."""


@asynccontextmanager
async def started_engine(
    settings: GatewaySettings, releases: LocalReleases | None = None, plan: ServingPlan | None = None
) -> AsyncIterator[StartedEngine]:
    """Starts with what the plan serves by default, or served before; where neither works, with the settings' release.

    Raises:
        StartupError: that does not work either.
    """
    if settings.fake:
        if settings.triton is not None:
            raise StartupError("--fake labels without an engine: leave out either --fake or --triton")
        try:
            size_hw = read_manifest(settings.release).frame_size
        except ReleaseError as error:
            raise StartupError(str(error)) from error
        yield StartedEngine(FakeSegmenter(size_hw, latency_s=settings.fake_latency_s, by_release=True), 1)
        return
    triton, version, unpublished = await _start(settings, releases, plan)
    try:
        yield StartedEngine(triton.segmenter, version, unpublished)
    finally:
        await triton.close()


async def _start(
    settings: GatewaySettings, releases: LocalReleases | None, plan: ServingPlan | None
) -> "tuple[Triton, int, Manifest | None]":
    if releases is not None and plan is not None:
        for version in filter(None, (plan.default.serving, plan.default.previous)):
            try:
                folder = await in_background(partial(releases.get, version))
                return await _start_triton(settings, folder, version), version, None
            except (CannotLoad, ReleaseError, RecordError, StorageError, OSError) as error:
                _log.error("the gateway does not start with version %d, which the plan names: %s", version, error)
    try:
        manifest = verify_release(settings.release)
        version = manifest.version or 1
        return await _start_triton(settings, settings.release, version), version, manifest
    except (CannotLoad, ReleaseError, OSError) as error:
        raise StartupError(str(error)) from error


async def _start_triton(settings: GatewaySettings, release: Path, version: int) -> "Triton":
    from server.triton.assembly import connect_external, start_embedded

    # Besides the frames in flight: what a candidate did not answer in time may still compute, and a shadow copy.
    frames_in_flight = 2 * settings.in_flight + 1
    if settings.triton is None:
        return await start_embedded(
            release,
            run_dir=settings.run_dir,
            version=version,
            threads=settings.engine_threads or 0,
            frames_at_once=settings.frames_at_once,
            frames_in_flight=frames_in_flight,
        )
    if settings.triton_repository is None:
        raise StartupError("--triton needs --triton-repository: the folder that the external Triton reads")
    try:
        target = called_target(settings.triton)
    except AddressError as error:
        raise StartupError(f"--triton {error}") from error
    return await connect_external(
        target,
        settings.triton_repository,
        release,
        version=version,
        threads=settings.engine_threads or 0,
        frames_at_once=settings.frames_at_once,
        frames_in_flight=frames_in_flight,
    )
