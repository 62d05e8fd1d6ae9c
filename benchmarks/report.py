"""How a benchmark tells its figures: a table on the terminal and a dated JSON file with what they were measured on."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("numpy", "opencv-python-headless", "torch", "openvino", "nvidia-pytriton")

Row = Mapping[str, str | int | float]


def hardware() -> dict[str, str | int]:
    """The machine, as far as the operating system tells."""
    names = [line.split(":", 1)[1].strip() for line in _cpu_info() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
    }


def _cpu_info() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []


def versions() -> dict[str, str]:
    """Python and those of the packages that shape the figures and are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def print_table(title: str, rows: Sequence[Row]) -> None:
    """One line a row; the first row's keys head the columns."""
    table = Table(title=title)
    for heading in rows[0]:
        table.add_column(heading, justify="right" if isinstance(rows[0][heading], int | float) else "left")
    for row in rows:
        table.add_row(*map(_text, row.values()))
    Console().print(table)


def _text(value: str | int | float) -> str:
    """Floats with three significant digits or, above 1000, none behind the point."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write_report(name: str, rows: Sequence[Row], settings: Mapping[str, object]) -> Path:
    """Writes benchmarks/results/<name>-<UTC time>.json and returns its path."""
    moment = datetime.now(UTC)
    report = {
        "benchmark": name,
        "measured_at": moment.isoformat(timespec="seconds"),
        "hardware": hardware(),
        "versions": versions(),
        "settings": dict(settings),
        "rows": [dict(row) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{moment:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path
