"""How a gateway is told what to do: the command's options, or environment variables of the same names.

`ROADSHIFT_LISTEN`, `ROADSHIFT_TLS_KEY` and so on; an option beats the environment.
"""

from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from exchange.plain_words import refuse_control_characters

STARTER_RELEASE = Path(__file__).parent.parent / "model_repository" / "starter"


class GatewaySettings(BaseSettings):
    """One gateway's configuration, checked once at the start and never changed."""

    model_config = SettingsConfigDict(env_prefix="ROADSHIFT_", frozen=True, extra="forbid")

    _one_line_each = model_validator(mode="before")(refuse_control_characters)

    release: Path = STARTER_RELEASE
    """The release that is served while there is no serving plan."""
    listen: str = "127.0.0.1:8500"
    metrics: str = "127.0.0.1:9500"
    """Where Prometheus reads; empty for nowhere."""
    traces: str = ""
    """An OpenTelemetry collector for OTLP over gRPC, such as http://127.0.0.1:4317; empty for none."""
    domains: tuple[str, ...] = Field(default=(), max_length=64)
    """Domains that are counted apart from `default`."""

    root: str | None = None
    """The storage root that is shared with the learner; None leaves nothing behind, and follows no serving plan."""
    gateway: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")
    """This gateway's name in the root; made up once, and kept in `run_dir`, where it is not given."""
    pseudonym_key: Path | None = None
    """Makes vehicles' pseudonyms, the same file for all gateways of a root; made up like the name."""
    capture_interval_s: float = Field(default=60.0, gt=0)
    """How often captured frames go to the root."""

    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """Callers must then show a certificate of this authority."""
    token_file: Path | None = None
    insecure: bool = False
    """Listen beyond loopback without TLS."""

    triton: str | None = None
    """Address of an external Triton; None starts an embedded one."""
    triton_repository: Path | None = None
    """The model repository that the external Triton reads."""
    run_dir: Path = Path("runs/gateway")
    """Where an embedded Triton keeps its model repository and its log; one gateway each."""
    yield_file: Path | None = None
    """Says when a frame is being inferred, for whoever trains on this machine (`exchange.fleet.engine_busy`);
    `engine_busy` in `run_dir` where there is a root and nothing else is given."""
    fake: bool = False
    """Label by nearest colour instead of an engine."""
    fake_latency_s: float = Field(default=0.0, ge=0)

    frames_at_once: int | None = Field(default=None, ge=1, le=2)
    """How many frames share the engine's cores where several wait; a process each. None for 2 where an OpenVINO release
    has at least 2 cores, else 1: two frames side by side on half the cores each are answered sooner than in a row."""
    engine_threads: int | None = Field(default=None, ge=1, le=1024)
    """Cores of the engine for a frame that comes alone. None for those that the affinity and the CPU quota of the
    process's cgroups leave it, rounded down; for an external Triton, those of its machine."""
    in_flight: int = Field(default=4, ge=1, le=256)
    """Frames being decoded, inferred or encoded: two in the engine, one behind them and one in a codec keep it busy."""
    queued: int = Field(default=4, ge=0, le=1024)
    """Frames that wait. With those in flight they bound how old an answer can be: 8 frames are 2.7 s where the engine
    answers 3 a second. A longer queue answers no more frames, only older ones; raise it with the engine's speed."""
    queued_per_vehicle: int = Field(default=2, ge=1)
    streams: int = Field(default=256, ge=1, le=384)
    """Streams open at once; vehicles' other calls have places beside them (`server.gateway.access`)."""
    streams_per_vehicle: int = Field(default=8, ge=1)
    stream_idle_s: float = Field(default=300.0, gt=0)
    """A stream that sends nothing for so long is ended."""
    max_frame_pixels: int = Field(default=1 << 24, ge=1, le=1 << 26)
    workers: int = Field(default=2, ge=1, le=64)
    """Threads that decode and encode."""
    drain_s: float = Field(default=120.0, gt=0)
    """SIGTERM waits for admitted frames three times as long as they should take, at least half a minute; never longer
    than this."""
