"""Where Prometheus reads a process: its port, and what every process tells of itself."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from exchange.net.addresses import parse_address
from exchange.net.listening import StartupError
from exchange.storage.locations import AUDIT, ERASURES, FRAMES, GATEWAYS, PRESENCE, PRIORS, REGIONS, RELEASES, ROUNDS
from exchange.storage.unreadable_objects import UnreadableObjects

_FOLDERS = (AUDIT, ERASURES, FRAMES, GATEWAYS, PRESENCE, PRIORS, REGIONS, RELEASES, ROUNDS)


def serve_metrics(address: str, registry: CollectorRegistry) -> tuple[int, Callable[[], None]]:
    """Lets Prometheus read the registry; returns the port, and what ends it.

    Raises:
        StartupError: the address cannot be had.
    """
    try:
        chosen = parse_address(address)
        http, thread = start_http_server(chosen.port, chosen.host, registry)
    except (OSError, ValueError) as error:
        raise StartupError(
            f"cannot serve metrics on {address} ({error}): choose another --metrics, or '' for none"
        ) from error

    def stop() -> None:
        http.shutdown()
        http.server_close()
        thread.join()

    return http.server_port, stop


def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    """One that gets its samples by `add_metric`."""
    return GaugeMetricFamily(name, text, labels=labels)


def unreadable_family(unreadable: UnreadableObjects) -> Metric:
    """Of every folder, so that a rule sees the first one come."""
    text = "Objects of the root that cannot be read and are skipped."
    family = CounterMetricFamily("roadshift_unreadable_objects", text, labels=("folder",))
    counts = unreadable.counts.copy()
    for folder in _FOLDERS:
        family.add_metric((folder,), counts[folder])
    return family


def disk_families(folders: Mapping[str, Path]) -> Iterator[Metric]:
    """Free and whole size of the disks below named folders; one that cannot be looked at is left out."""
    free = gauge("roadshift_disk_free_bytes", "Free on the disk below a folder.", "folder")
    size = gauge("roadshift_disk_size_bytes", "Size of the disk below a folder.", "folder")
    for name, folder in folders.items():
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        free.add_metric((name,), usage.free)
        size.add_metric((name,), usage.total)
    yield free
    yield size
