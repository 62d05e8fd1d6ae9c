"""The gateway's segmenter, computed by Triton."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.errors import VersionUnavailable
from server.segmenter import SegmenterOutput
from server.triton.tensors import Size, inputs_of
from server.triton.versions import TritonVersions


class TritonSegmenter:
    """Implements `server.segmenter.Segmenter`."""

    def __init__(self, versions: TritonVersions) -> None:
        self._versions = versions

    @property
    def ready_versions(self) -> Mapping[int, Size]:
        return self._versions.loaded.ready

    @property
    def loaded_versions(self) -> Collection[int]:
        return self._versions.loaded.numbers()

    @property
    def restarts(self) -> int:
        return self._versions.restarts

    async def load(self, version: int, release_dir: Path) -> None:
        await self._versions.load(version, release_dir)

    async def drop(self, version: int) -> None:
        await self._versions.drop(version)

    def expecting(self) -> AbstractContextManager[None]:
        return self._versions.expecting()

    async def infer(
        self,
        version: int,
        frame_HW3: NDArray[np.uint8],
        log_prior_ratio_K: NDArray[np.float32],
        valid_hw: Size,
    ) -> SegmenterOutput:
        frame_size = self.ready_versions.get(version)
        if frame_size is None:
            raise VersionUnavailable(f"version {version} is not ready; ready are {list(self.ready_versions)}")
        if frame_HW3.shape != (*frame_size, 3):
            raise ValueError(f"frame of {frame_HW3.shape} for version {version} of {frame_size}")
        return await self._versions.infer(version, inputs_of(frame_HW3, log_prior_ratio_K, valid_hw))
