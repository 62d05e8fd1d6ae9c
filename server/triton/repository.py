"""The folder that Triton loads from: versions appear in it whole, by one rename, and are never changed afterwards.

    <root>/models/segmenter/config.pbtxt
    <root>/models/segmenter/<version>/    host: model.py, its compiled form, engine.json, engine/
                                          tensorrt: model.plan
    <root>/staging/                       versions being put together; the same filesystem, outside Triton's sight

A version folder holds copies, never links: Triton takes a file for modified, and loads its version anew, also when only
the number of its links has changed.
"""

import json
import os
import py_compile
import shutil
import sys
import tempfile
from pathlib import Path

from exchange.registry.releases import ENGINE_FOLDER, Manifest, read_manifest, verify_release
from server.cannot_load import CannotLoad
from server.triton.installation import TritonSetupError
from server.triton.model_config import ModelConfig
from server.triton.tensors import MODEL_NAME

HOST_SOURCE = Path(__file__).resolve().parents[2] / "model_repository" / MODEL_NAME / "model.py"
FREE_SPACE_RESERVE_BYTES = 64 << 20
CONFIG_NAME = "config.pbtxt"


class RepositoryError(CannotLoad):
    """A version cannot be published or is not there; the message says what to do."""


class TritonRepository:
    """Publishes releases as versions of the one model. One process owns a repository."""

    def __init__(self, root: Path) -> None:
        self.models_dir = root / "models"
        self._model_dir = self.models_dir / MODEL_NAME
        self._staging_dir = root / "staging"
        for folder in (self._staging_dir, self._model_dir):  # what an earlier owner published may be of other releases
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)

    def publish(self, version: int, release_dir: Path) -> Manifest:
        """Makes a release loadable as `version`; one that is there already stays as it is.

        Raises:
            RepositoryError: too little free space, a folder that cannot be written, or an engine's file missing.
            ReleaseError: the release is incomplete or altered.
        """
        manifest = read_manifest(release_dir)
        target = self._model_dir / str(version)
        if target.exists():
            return manifest
        self._check_free_space(release_dir / ENGINE_FOLDER)
        verify_release(release_dir)
        partial = Path(tempfile.mkdtemp(dir=self._staging_dir))
        try:
            if manifest.engine == "tensorrt":
                shutil.copyfile(release_dir / ENGINE_FOLDER / "model.plan", partial / "model.plan")
            else:
                _put_host_version(manifest, release_dir / ENGINE_FOLDER, partial)
            partial.chmod(0o755)
            partial.rename(target)
        except FileNotFoundError as error:
            raise RepositoryError(f"{error.filename} is missing: export the release again") from error
        except OSError as error:
            raise RepositoryError(f"version {version} cannot be copied to {self._model_dir}: {error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return manifest

    def write_config(self, config: ModelConfig) -> None:
        """Replaces config.pbtxt at once: a load without an override, as at a restart, must find the same versions."""
        partial = self._staging_dir / CONFIG_NAME
        partial.write_text(config.to_pbtxt())
        partial.rename(self._model_dir / CONFIG_NAME)

    def touch(self, version: int) -> None:
        """Makes Triton's next load load this version anew: it takes a version with unchanged files for healthy."""
        host = self._model_dir / str(version) / "model.py"
        if host.exists():  # a TensorRT version has no process of its own that could die
            os.utime(host)

    def remove(self, version: int) -> None:
        """Deletes a version that Triton no longer serves."""
        doomed = tempfile.mkdtemp(dir=self._staging_dir)
        (self._model_dir / str(version)).rename(doomed)
        shutil.rmtree(doomed)

    def _check_free_space(self, engine_dir: Path) -> None:
        needed_bytes = sum(path.stat().st_size for path in engine_dir.rglob("*")) + FREE_SPACE_RESERVE_BYTES
        free_bytes = shutil.disk_usage(self._staging_dir).free
        if free_bytes < needed_bytes:
            raise RepositoryError(
                f"{self._staging_dir} has {free_bytes >> 20} MiB free, {needed_bytes >> 20} are needed: free some"
            )


def _put_host_version(manifest: Manifest, engine_dir: Path, version_dir: Path) -> None:
    if not HOST_SOURCE.exists():
        raise TritonSetupError(f"{HOST_SOURCE} is missing: install roadshift from a complete checkout")
    shutil.copyfile(HOST_SOURCE, version_dir / "model.py")
    # The stub would write this file at the first load, and Triton would then take the version for modified.
    # An unchecked hash keeps it valid when model.py is touched.
    py_compile.compile(
        str(version_dir / "model.py"),
        cfile=str(version_dir / "__pycache__" / f"model.{sys.implementation.cache_tag}.pyc"),
        dfile="model.py",
        doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    engine = {"engine": manifest.engine, "precision": manifest.precision}
    (version_dir / "engine.json").write_text(json.dumps(engine) + "\n")
    shutil.copytree(engine_dir, version_dir / ENGINE_FOLDER)
