"""What a gateway says about itself: its health, and the essentials of its metrics."""

import http.client
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass, field

from clients.client import Connection, RequestFailed, RoadshiftClient
from exchange.net.addresses import AddressError, called_address
from exchange.net.proxies import hint_for_url, open_url

_TIMEOUT_S = 5.0
Labels = Mapping[str, str]


@dataclass(frozen=True)
class GatewayStatus:
    """`health` is SERVING, NOT_SERVING, or why the gateway could not be asked."""

    health: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)
    """Each metric's name, labels and value; empty where the metrics could not be read."""
    metrics_error: str = ""

    @property
    def is_serving(self) -> bool:
        return self.health == "SERVING"

    def value(self, name: str) -> float:
        """The sum over a metric's labels, 0 where there are none."""
        return sum(value for sample, _, value in self.samples if sample == name)

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """A metric's sum for each value of one of its labels."""
        sums: dict[str, float] = {}
        for sample, labels, value in self.samples:
            if sample == name and value:
                sums[labels[label]] = sums.get(labels[label], 0) + value
        return sums


def ask_gateway(connection: Connection, metrics: str) -> GatewayStatus:
    """Asks for health over gRPC, and reads http://`metrics`/metrics unless that is empty; it may be that URL itself."""
    with RoadshiftClient(connection, timeout_s=_TIMEOUT_S) as client:
        try:
            health = "SERVING" if client.is_serving() else "NOT_SERVING"
        except RequestFailed as error:
            health = str(error)
    if not metrics:
        return GatewayStatus(health)
    try:
        url = f"http://{called_address(metrics.removeprefix('http://').removesuffix('/metrics'))}/metrics"
    except AddressError as error:
        return GatewayStatus(health, metrics_error=f"--metrics {error}")
    try:
        with open_url(url, _TIMEOUT_S) as response:
            return GatewayStatus(health, parse_samples(response.read().decode()))
    except (urllib.error.URLError, http.client.HTTPException, ValueError, OSError) as error:
        return GatewayStatus(health, metrics_error=f"{error}{hint_for_url(url)}")


def parse_samples(text: str) -> list[tuple[str, Labels, float]]:
    """The samples of Prometheus' text format; enough for label values without quotes, which the gateway's are."""
    samples: list[tuple[str, Labels, float]] = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name, _, labels = series.partition("{")
            pairs = (pair.split("=", 1) for pair in labels.rstrip("}").split(",") if pair)
            samples.append((name, {key: quoted.strip('"') for key, quoted in pairs}, float(value)))
    return samples
