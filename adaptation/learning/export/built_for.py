"""What a release was built for, kept in the header of its weights, too: an edited manifest is noticed.

The manifest's digests cover every file but the manifest itself; a published one is covered by its ledger entry. Before
that, this tells a manifest that was changed by mistake. It is no signature: who means to deceive can write both.
"""

from pathlib import Path

from safetensors import safe_open

from exchange.registry.releases import MANIFEST_NAME, WEIGHTS_NAME, Manifest, ReleaseError

_KEY = "built_for"
_FIELDS = {"engine", "precision", "network", "windows", "frame_size", "label_space"}


def built_for(manifest: Manifest) -> dict[str, str]:
    """The header's entry."""
    return {_KEY: manifest.model_dump_json(include=_FIELDS)}


def check_built_for(release_dir: Path, manifest: Manifest) -> None:
    """Raises ReleaseError where the manifest says something else; weights without the entry say nothing."""
    with safe_open(release_dir / WEIGHTS_NAME, "np") as weights:
        header = weights.metadata() or {}
    if _KEY in header and header[_KEY] != built_for(manifest)[_KEY]:
        raise ReleaseError(
            f"{release_dir / MANIFEST_NAME} was changed: the release was built for {header[_KEY]}; copy it again"
        )
