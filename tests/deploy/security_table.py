"""The table of deploy/SECURITY.md, and what there is that it must have a row for."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from roadshift.v1 import annotation_pb2, operations_pb2, segmentation_pb2
from tritonclient.grpc import service_pb2

ROOT_FOLDER = Path(__file__).parents[2]
ROLES = ("vehicle", "operator", "annotator", "viewer", "nobody")
YES, NO, NOTHING = "yes", "no", "nothing"
GATEWAY = (segmentation_pb2, service_pb2, health_pb2, reflection_pb2)
LEARNER = (operations_pb2, annotation_pb2)
NICEGUI = "/_nicegui/"
"""Below it lie NiceGUI's own files, under addresses that hold its version."""
ORDERS = {
    "start a round": ("/rounds", "Start the round…"),
    "cancel a round": ("/rounds/{running}", "Cancel the round…"),
    "promote": ("/releases", "Promote…"),
    "roll back": ("/releases", "Roll back…"),
    "reset": ("/releases", "Reset…"),
    "pin": ("/releases", "Pin…"),
    "freeze a prior": ("/prior", "Freeze…"),
    "reset a prior": ("/prior", "Reset…"),
    "label": ("/label", "Unsure"),
}
"""The page and the button of each; a page takes orders by the buttons that it has, and by nothing else."""
_LIST_ROUTES = """
from nicegui import app
from adaptation.console.page_files import page_files
from adaptation.console.pages import add_pages
from adaptation.console.picture_routes import picture_routes
add_pages(None)
for route in (*app.routes, *picture_routes(None).routes, *page_files().routes):
    print(*(getattr(route, "methods", None) or ["WS"]), route.path)
"""
Row = dict[str, str]
"""By role, what its callers get."""


def read_table() -> dict[str, Row]:
    """Return the rows by the name in their first cell; a first cell with several names makes a row for each."""
    rows: dict[str, Row] = {}
    for line in (ROOT_FOLDER / "deploy" / "SECURITY.md").read_text().splitlines():
        first, *cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        names = re.findall(r"`([^`]+)`", first)
        if not line.startswith("|") or len(cells) != len(ROLES) or not names:
            continue
        for name in names:
            assert name not in rows, f"SECURITY.md has two rows for {name}"
            assert set(cells) <= {YES, NO, NOTHING}, line
            rows[name] = dict(zip(ROLES, cells, strict=True))
    return rows


def services(files: Iterable[object]) -> Iterator[ServiceDescriptor]:
    for file in files:
        yield from file.DESCRIPTOR.services_by_name.values()  # type: ignore[attr-defined]


def methods(files: Iterable[object]) -> dict[str, MethodDescriptor]:
    """Return every method of the files' services under the name that the table gives it."""
    return {f"{service.full_name}/{method.name}": method for service in services(files) for method in service.methods}


def console_routes() -> set[str]:
    """Return such as `GET /frames`, as a process of its own adds them: NiceGUI keeps them for all of a process."""
    listed = subprocess.run(
        [sys.executable, "-c", _LIST_ROUTES], cwd=ROOT_FOLDER, check=True, capture_output=True, text=True, timeout=300
    ).stdout.splitlines()
    told = {re.sub(rf"{NICEGUI}\d.*", NICEGUI, line) for line in listed}
    return {"GET " + NICEGUI if line == "WS " + NICEGUI else line for line in told}
