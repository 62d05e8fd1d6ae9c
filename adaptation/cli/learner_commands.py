"""`roadshift learner`."""

import os
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # before gRPC is loaded: what matters is said here, in one line

import typer
from pydantic import ValidationError

from adaptation.assembly import serve
from adaptation.control.learner.learner import Learner
from adaptation.control.settings import LearnerSettings
from exchange.net.listening import StartupError
from exchange.net.logs import LOG_JSON_HELP, configure_logs, tell_fatal
from exchange.plain_words import refusal_of
from exchange.plan.lease import LeaseHeld, LeaseLost
from exchange.plan.plan_changes import PlanRefused
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageError
from exchange.storage.records import RecordError

_ROLLOUT = ("shadow_s", "shadow_share", "bake_s", "share", "fewest_frames", "watch_s")


def _option(help_text: str) -> Any:
    return typer.Option(help=help_text, show_default=False)


def learner(
    root: Annotated[str, typer.Option(envvar="ROADSHIFT_ROOT", help="file:///folder or s3://bucket/prefix.")],
    source: Annotated[list[Path], typer.Option(help="A labelled data set's top folder; may be given several times.")],
    release: Annotated[Path | None, _option("The first release of a root that has none.")] = None,
    listen: Annotated[str | None, _option("Address for operators (127.0.0.1:8600).")] = None,
    console_port: Annotated[
        int | None, _option("Port of the operator's web page, such as 8700; none if absent.")
    ] = None,
    console_origin: Annotated[
        list[str] | None,
        _option("Origin of the page behind a name or a proxy, such as https://console.example.org (none); repeatable."),
    ] = None,
    metrics: Annotated[str | None, _option("Address of /metrics (127.0.0.1:9600); '' for none.")] = None,
    ask_clicks: Annotated[int | None, _option("Ask people for so many clicks after each promoted round (0).")] = None,
    yield_file: Annotated[Path | None, _option("The --yield-file of a gateway on this machine.")] = None,
    own_machine: Annotated[bool | None, _option("No gateway needs this machine: rounds have no low priority.")] = None,
    fake: Annotated[bool | None, _option("Learn nothing: a round's start is its result.")] = None,
    standby: Annotated[bool | None, _option("Wait while another learner holds the lease.")] = None,
    recipe: Annotated[str | None, _option("Of rounds that name none (cpu_quick).")] = None,
    recipe_file: Annotated[list[Path] | None, _option("JSON file of one more recipe; repeat for more.")] = None,
    gate_limits: Annotated[Path | None, _option("JSON file of the gate's limits, where they differ.")] = None,
    source_split: Annotated[str, typer.Option(help="Is learnt from.")] = "train",
    held_out_split: Annotated[str, typer.Option(help="The gate scores on it.")] = "val",
    run_dir: Annotated[Path | None, _option("Where rounds are at work (runs/learner).")] = None,
    lease_s: Annotated[float | None, _option("Another learner takes over after so long a silence (15).")] = None,
    p99_limit_s: Annotated[float | None, _option("Rounds pause while a gateway's p99 is over it (2).")] = None,
    memory_gib: Annotated[float | None, _option("Most memory of a round (8).")] = None,
    hours: Annotated[float | None, _option("Most time of a round (12).")] = None,
    shadow_s: Annotated[float | None, _option("How long a candidate is a shadow (60).")] = None,
    shadow_share: Annotated[float | None, _option("Of the frames are copied to it (0.2).")] = None,
    bake_s: Annotated[float | None, _option("How long it has its share of the frames (300).")] = None,
    share: Annotated[float | None, _option("Of the frames are answered by a candidate (0.1).")] = None,
    fewest_frames: Annotated[int | None, _option("That it must have answered (20).")] = None,
    watch_s: Annotated[float | None, _option("After a promotion: rolled back by itself on trouble (1800).")] = None,
    tls_certificate: Annotated[Path | None, _option("Server certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, _option("Its key, PEM.")] = None,
    tls_client_ca: Annotated[Path | None, _option("Ask callers for a certificate of this authority, PEM.")] = None,
    token_file: Annotated[Path | None, _option("Bearer tokens, one 'ROLE TOKEN' a line; '# NAME' may follow.")] = None,
    insecure: Annotated[bool | None, _option("Listen beyond loopback without TLS.")] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help=LOG_JSON_HELP)] = False,
) -> None:
    """Keep a fleet adapted: priors, rounds of learning, rollouts. One for each root, until SIGTERM or Ctrl-C."""
    options = {name: value for name, value in locals().items() if value is not None and name != "log_json"}
    splits = {"split": options.pop("source_split"), "held_out": options.pop("held_out_split")}
    options["sources"] = tuple({"folder": folder, **splits} for folder in options.pop("source"))
    options["recipe_files"] = tuple(options.pop("recipe_file", ()))
    options["console_origins"] = tuple(options.pop("console_origin", ()))
    options["rollout"] = {name: options.pop(name) for name in _ROLLOUT if name in options}
    try:
        configure_logs(as_json=log_json)
        serve(LearnerSettings.model_validate(options), on_ready=_announce)
    except ValidationError as error:
        raise _failure(refusal_of(error)) from error
    except (StartupError, LeaseHeld, LeaseLost, PlanRefused, RecordError, ReleaseError, StorageError) as error:
        raise _failure(str(error)) from error


def _announce(learner: Learner, port: int, console: tuple[int, str] | None) -> None:
    typer.echo(f"learning for {learner.root.url}, with the lease's epoch {learner.lease.epoch}")
    if console is not None:
        console_port, link = console
        typer.echo(f"console on port {console_port}: {link}" if link else f"console on port {console_port}")
    typer.echo(f"operations on port {port}")


def _failure(message: str) -> typer.Exit:
    tell_fatal(message)
    return typer.Exit(1)
