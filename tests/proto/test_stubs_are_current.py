"""The committed stubs are what `make proto` would write."""

from importlib.resources import files
from pathlib import Path

import pytest
from grpc_tools import protoc

PROTO = Path(__file__).parents[2] / "proto"


@pytest.mark.parametrize("source", sorted(PROTO.rglob("*.proto")), ids=lambda source: source.stem)
def test_the_stubs_of_each_proto_are_current(source: Path, tmp_path: Path) -> None:
    arguments = [
        "protoc",
        f"-I{PROTO}",
        f"-I{files('grpc_tools') / '_proto'}",
        *(f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")),
    ]
    assert protoc.main([*arguments, str(source)]) == 0
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.py*")]
    assert len(written) == 3
    for path in written:
        assert (PROTO / path).read_text() == (tmp_path / path).read_text(), f"{path} is stale: run make proto"
