"""How a learner is told what to do, checked once at the start."""

import re
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from exchange.jobs.job import Source
from exchange.jobs.limits import GateLimits
from exchange.jobs.recipes import RECIPES, RoundConfig
from exchange.net.addresses import Address, parse_address
from exchange.net.listening import StartupError
from exchange.plain_words import refusal_of, refuse_control_characters
from exchange.regions.tasks import MOST_TASKS

Model = TypeVar("Model", bound=BaseModel)
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>\d{1,5}))?/?")


class RolloutSettings(BaseModel):
    """How long gateways try a candidate before it is served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shadow_s: float = Field(default=60.0, ge=0)
    """With shadow copies alone, once every gateway has loaded it."""
    shadow_share: float = Field(default=0.2, ge=0, le=1)
    bake_s: float = Field(default=300.0, ge=0)
    """With its share of the frames."""
    share: float = Field(default=0.1, gt=0, le=1)
    fewest_frames: int = Field(default=20, ge=0)
    """That it must have answered, over all gateways."""
    load_within_s: float = Field(default=300.0, gt=0)
    watch_s: float = Field(default=1800.0, ge=0)
    """After a promotion, for a rollback by itself."""


class LearnerSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    _one_line_each = model_validator(mode="before")(refuse_control_characters)

    root: str
    sources: tuple[Source, ...] = Field(min_length=1)
    """Labelled data that every round learns from besides the captured frames."""
    release: Path | None = None
    """Published first, and served by all, where the root has no release yet."""
    run_dir: Path = Path("runs/learner")
    """Rounds at work and copies of releases; what is lost here is made again from the root."""
    standby: bool = False
    """Wait for the lease instead of refusing to start."""
    lease_s: float = Field(default=15.0, ge=1, le=30)
    """After so long without a sign of life another learner may take over."""

    listen: str = "127.0.0.1:8600"
    console_port: int | None = Field(default=None, ge=0, le=65535)
    """Of the operator's page, at the same address and by the same rules; None for none."""
    console_origins: tuple[str, ...] = ()
    """Under which browsers reach the console besides loopback and the listened host: a proxy's, or names of it."""
    metrics: str = "127.0.0.1:9600"
    """Where Prometheus reads; empty for nowhere."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    token_file: Path | None = None
    insecure: bool = False

    recipe: str = "cpu_quick"
    """Of rounds that name none."""
    recipe_files: tuple[Path, ...] = ()
    """JSON files of further recipes (`RoundConfig`)."""
    gate_limits: Path | None = None
    """JSON file of the gate's limits (`GateLimits`), where they differ."""
    ask_clicks: int = Field(default=0, ge=0, le=MOST_TASKS)
    """Of people, for regions that are picked when a round was promoted; 0 asks only where an operator does."""
    yield_file: Path | None = None
    """Where a gateway on this machine tells that it infers (`exchange.fleet.engine_busy`)."""
    fake: bool = False
    """Rounds learn nothing: their start is their result (`fake_worker`)."""
    own_machine: bool = False
    """No gateway needs this machine's processors: rounds run like any other process."""
    p99_limit_s: float = Field(default=2.0, gt=0)
    """While a gateway's p99 is over it, the round stands still."""
    memory_gib: float = Field(default=8.0, gt=0)
    """Of a worker, which is ended beyond it."""
    hours: float = Field(default=12.0, gt=0)
    """Of a worker's work; a round that takes longer fails."""
    rollout: RolloutSettings = RolloutSettings()

    @field_validator("console_origins")
    @classmethod
    def _plain_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        """As browsers tell them: in small letters, without the scheme's own port."""
        told = []
        for origin in origins:
            found = _ORIGIN.fullmatch(origin.lower())
            if found is None:
                raise ValueError(f"{origin!r} is no origin: give one such as https://console.example.org:8443")
            is_usual = found["port"] == {"http": "80", "https": "443"}[found["scheme"]]
            told.append(
                f"{found['scheme']}://{found['host']}{'' if is_usual or not found['port'] else ':' + found['port']}"
            )
        return tuple(told)

    @property
    def console_listen(self) -> str | None:
        if self.console_port is None:
            return None
        host = "127.0.0.1" if self.listen.startswith("unix:") else parse_address(self.listen).host
        return str(Address(host, self.console_port))

    def recipes(self) -> MappingProxyType[str, RoundConfig]:
        """Those that need no second network, by name, with those of `recipe_files`.

        Raises:
            StartupError: a file holds none, or the default recipe does not exist.
        """
        made = [make() for make in RECIPES.values()]
        made += [_read(path, RoundConfig, "a recipe") for path in self.recipe_files]
        found = {config.recipe: config for config in made if config.distillation is None}
        if self.recipe not in found:
            raise StartupError(f"there is no recipe {self.recipe}: choose one of {', '.join(found)}")
        return MappingProxyType(found)

    def limits(self) -> GateLimits:
        """Raises StartupError where the file holds none."""
        return GateLimits() if self.gate_limits is None else _read(self.gate_limits, GateLimits, "gate limits")


def _read(path: Path, kind: type[Model], what: str) -> Model:
    try:
        return kind.model_validate_json(path.read_text())
    except OSError as error:
        raise StartupError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise StartupError(f"{path} does not hold {what}: {refusal_of(error)}") from error
