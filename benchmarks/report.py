"""How a benchmark tells its figures: a table on the terminal and a dated JSON file with what they were measured on."""

import json
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.table import Table

from exchange.usable_cpus import usable_cpus

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("numpy", "opencv-python-headless", "torch", "openvino", "nvidia-pytriton", "litserve")
_FILE_COLUMNS = 180
"""A file or a pipe has no width of its own."""

Row = Mapping[str, str | int | float]


def hardware() -> dict[str, str | int]:
    """The machine, as far as the operating system tells."""
    names = [line.split(":", 1)[1].strip() for line in _cpu_info() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "usable_cores": usable_cpus(),
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
    """One line a row; the first row's keys head the columns, and the first column stays on one line."""
    table = Table(title=title)
    for index, (heading, value) in enumerate(rows[0].items()):
        justify: JustifyMethod = "right" if isinstance(value, int | float) else "left"
        table.add_column(heading, justify=justify, no_wrap=index == 0)
    for row in rows:
        table.add_row(*map(_text, row.values()))
    Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS).print(table)


def _text(value: str | int | float) -> str:
    """Floats with three significant digits or, above 1000, none behind the point; the mean of nothing as a dash."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write_report(name: str, rows: Sequence[Row], settings: Mapping[str, object], folder: Path = RESULTS) -> Path:
    """Writes <folder>/<name>-<UTC time>.json and returns its path; settings name the project's files from its root."""
    moment = datetime.now(UTC)
    report = {
        "benchmark": name,
        "measured_at": moment.isoformat(timespec="seconds"),
        "hardware": hardware(),
        "versions": versions(),
        "settings": {key: _without_checkout(value) for key, value in settings.items()},
        "rows": [{key: _known(value) for key, value in row.items()} for row in rows],
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{moment:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path


def _known(value: str | int | float) -> str | int | float | None:
    """Return None for the mean of nothing: JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _without_checkout(setting: object) -> object:
    return setting.removeprefix(f"{RESULTS.parents[1]}/") if isinstance(setting, str) else setting
