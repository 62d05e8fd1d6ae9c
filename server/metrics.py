"""What the gateway shows to Prometheus. Labels are bounded: listed domains, versions, statuses; never a vehicle."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from exchange.fleet.gateways import VersionHealth
from exchange.images.frames import ImageFormat
from exchange.label_space import CLASS_NAMES
from exchange.metrics_port import disk_families, unreadable_family
from exchange.net.call_bounds import Refused
from exchange.storage.unreadable_objects import UnreadableObjects
from server.admission import Admission
from server.capture.heartbeat_writer import Vitals
from server.errors import ServingError
from server.frames.frames import FrameAnswer, StageSeconds
from server.routing import DEFAULT_DOMAIN, Route, Router
from server.segmenter import Segmenter

STAGES = ("queue", "decode", "infer", "encode", "total")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10)
_BYTES = tuple(float(2**power) for power in range(13, 26))


class GatewayMetrics:
    """The counters of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "roadshift_requests",
            "Frames that came, by the domain and version that they were served with and their gRPC status; "
            "also calls and streams that were refused.",
            ("domain", "version", "status"),
            registry=self.registry,
        )
        self._refused = Counter(
            "roadshift_refused", "Frames without labels, by reason.", ("reason",), registry=self.registry
        )
        stage = Histogram(
            "roadshift_stage_duration_seconds",
            "Time of answered frames in each stage.",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stages = {name: stage.labels(name) for name in STAGES}
        self._frame_bytes = Histogram(
            "roadshift_frame_size_bytes",
            "Size of the frames that came, as sent.",
            ("format",),
            buckets=_BYTES,
            registry=self.registry,
        )
        self._confidence = Summary(
            "roadshift_confidence_ratio", "Mean confidence of answered frames.", ("domain",), registry=self.registry
        )
        self._class_fraction = Counter(
            "roadshift_class_fraction_ratio",
            "Sum over answered frames of the share of pixels with each class; divide by the count of confidence.",
            ("domain", "class_name"),
            registry=self.registry,
        )

    def frame_came(self, image_format: ImageFormat, size_bytes: int) -> None:
        self._frame_bytes.labels(image_format.value).observe(size_bytes)

    def ended(self, route: Route | None, status: str) -> None:
        domain, version = (DEFAULT_DOMAIN, "none") if route is None else (route.domain, str(route.version))
        self._requests.labels(domain, version, status).inc()

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def turned_away(self, error: ServingError | Refused) -> None:
        """Counts what was refused before its frame could be read."""
        self.ended(None, error.status.name)
        self.refused(error.reason)

    def answered(self, answer: FrameAnswer) -> None:
        domain = answer.route.domain
        self._observe_stages(answer.stage_seconds)
        self._confidence.labels(domain).observe(answer.mean_confidence)
        for name, fraction in zip(CLASS_NAMES, answer.class_fractions_K.tolist(), strict=True):
            if fraction:
                self._class_fraction.labels(domain, name).inc(fraction)

    def _observe_stages(self, seconds: StageSeconds) -> None:
        for name, histogram in self._stages.items():
            histogram.observe(getattr(seconds, name))


class Drops(Protocol):
    """What capture has lost."""

    @property
    def presence_dropped(self) -> int: ...

    @property
    def capture_dropped(self) -> int: ...

    @property
    def capture_conflicts(self) -> int:
        """Shards that stay in the spool because the root has another content by their name."""

    @property
    def unreadable(self) -> UnreadableObjects: ...


class GatewayState(Collector):
    """What is read at the moment of a scrape rather than counted: queues and versions, with no stale series."""

    def __init__(
        self,
        admission: Admission,
        router: Router,
        segmenter: Segmenter,
        vitals: Vitals,
        drops: Drops | None,
        run_dir: Path,
    ) -> None:
        self._admission = admission
        self._router = router
        self._segmenter = segmenter
        self._vitals = vitals
        self._drops = drops
        self._run_dir = run_dir

    def collect(self) -> Iterable[Metric]:
        in_flight = "Frames being decoded, inferred or encoded."
        yield GaugeMetricFamily("roadshift_in_flight_frames", in_flight, self._admission.in_flight)
        yield GaugeMetricFamily("roadshift_queued_frames", "Frames that wait.", self._admission.queued)
        ready = set(self._segmenter.ready_versions)
        serving = self._router.plan.serving_versions
        loaded_family = GaugeMetricFamily("roadshift_version_ready", "1 where a version answers.", labels=("version",))
        serving_family = GaugeMetricFamily(
            "roadshift_version_serving", "1 where the serving plan routes frames to a version.", labels=("version",)
        )
        for version in sorted(ready | serving):
            loaded_family.add_metric((str(version),), version in ready)
            serving_family.add_metric((str(version),), version in serving)
        yield loaded_family
        yield serving_family
        yield GaugeMetricFamily("roadshift_serving_plan_revision", "Revision applied.", self._router.plan.revision)
        restarts = "How often the engine process was brought back."
        yield CounterMetricFamily("roadshift_engine_restarts", restarts, self._segmenter.restarts)
        busy = "Time during which some frame was being inferred; told only where somebody may train beside it."
        yield CounterMetricFamily("roadshift_engine_busy_seconds", busy, self._vitals.engine_busy_s())
        yield self._dropped()
        if self._drops is not None:
            conflicts = "Captured shards that stay here: the root has another content by their name."
            yield CounterMetricFamily("roadshift_capture_conflicts", conflicts, self._drops.capture_conflicts)
            yield unreadable_family(self._drops.unreadable)
        yield from disk_families({"run_dir": self._run_dir})
        yield from _version_families(self._vitals.versions())

    def _dropped(self) -> Metric:
        family = CounterMetricFamily(
            "roadshift_dropped",
            "What gave way to answers: presence rows, captured frames, shadow copies.",
            labels=("what",),
        )
        family.add_metric(("shadow",), self._vitals.shadow_dropped())
        if self._drops is not None:
            family.add_metric(("presence",), self._drops.presence_dropped)
            family.add_metric(("capture",), self._drops.capture_dropped)
        return family


def _version_families(versions: Mapping[int, VersionHealth]) -> Iterable[Metric]:
    """Of the versions that are loaded, serve or are in trouble: as few as the plan names, and those dropped lately."""
    errors = CounterMetricFamily("roadshift_version_errors", "Frames that a version failed.", labels=("version",))
    shadows = CounterMetricFamily("roadshift_version_shadow_frames", "Labelled as a shadow.", labels=("version",))
    trouble = GaugeMetricFamily(
        "roadshift_version_trouble", "1 where a version is not loaded, is down, or was left.", labels=("version",)
    )
    seconds = GaugeMetricFamily(
        "roadshift_version_duration_seconds",
        "Of a version's last frames, from arrival to answer, and in the engine alone.",
        labels=("version", "part", "percentile"),
    )
    disagreement = GaugeMetricFamily(
        "roadshift_version_disagreement_ratio",
        "Share of the pixels of each class that a shadow labels otherwise.",
        labels=("version", "class_name"),
    )
    for number, health in versions.items():
        version = str(number)
        errors.add_metric((version,), health.errors)
        shadows.add_metric((version,), health.shadow_frames)
        trouble.add_metric((version,), health.trouble is not None)
        for part, percentile, value in (
            ("total", "50", health.p50_s),
            ("total", "99", health.p99_s),
            ("engine", "99", health.engine_p99_s),
        ):
            if value is not None:
                seconds.add_metric((version, part, percentile), value)
        for name, share in zip(CLASS_NAMES, health.disagreement or (), strict=False):
            disagreement.add_metric((version, name), share)
    return errors, shadows, trouble, seconds, disagreement
