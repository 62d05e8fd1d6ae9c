"""The commands with which clients/README.md generates clients outside this repository, as far as they can be run."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.external_programs import needs

ROOT = Path(__file__).parents[2]
README = (ROOT / "clients" / "README.md").read_text()


def run_from_readme(pattern: str, folder: Path) -> set[str]:
    """Runs a command of the README in a folder that has `proto`, and says which files came into `gen`."""
    found = re.search(pattern, README, re.DOTALL)
    assert found is not None
    (folder / "proto").symlink_to(ROOT / "proto")
    command = re.sub(r"^python ", f"{sys.executable} ", found[0])
    subprocess.run(["bash", "-ec", f"mkdir -p gen; {command}"], cwd=folder, check=True)
    return {str(path.relative_to(folder / "gen")) for path in (folder / "gen").rglob("*.*")}


@needs("protoc", "grpc_cpp_plugin", "/usr/include/google/protobuf/timestamp.proto")
def test_cpp_is_generated_and_has_what_the_readmes_client_uses(tmp_path: Path) -> None:
    files = run_from_readme(r"protoc -I proto --cpp_out=gen.*?\.proto", tmp_path)
    assert files == {f"roadshift/v1/segmentation.{kind}" for kind in ("pb.h", "pb.cc", "grpc.pb.h", "grpc.pb.cc")}
    header = (tmp_path / "gen/roadshift/v1/segmentation.pb.h").read_text()
    client = README.partition("```cpp")[2].partition("```")[0]
    setters = set(re.findall(r"(?:set|mutable)_\w+(?=\()", client)) - {"set_deadline"}
    assert len(setters) == 6
    assert all(f"{setter}(" in header for setter in setters)
    assert "LABEL_ENCODING_RAW" in header


def test_python_stubs_are_generated_and_import_without_roadshift(tmp_path: Path) -> None:
    files = run_from_readme(r"python -m grpc_tools\.protoc -I proto --python_out=[^`]*", tmp_path)
    assert files == {"roadshift/v1/segmentation_pb2.py", "roadshift/v1/segmentation_pb2_grpc.py"}
    program = "from roadshift.v1 import segmentation_pb2_grpc as g; print(g.__file__, g.SegmentationStub.__name__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "gen")}
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith(str(tmp_path))
