"""`roadshift serve`."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # before gRPC is loaded: what matters is said here, in one line

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from exchange.net.listening import StartupError
from exchange.net.logs import LOG_JSON_HELP, configure_logs, logs_json, tell_fatal
from exchange.plain_words import refusal_of
from server import assembly
from server.errors import InvalidRequest
from server.next_steps import next_steps
from server.settings import GatewaySettings


def _option(help_text: str) -> Any:
    return typer.Option(help=help_text, show_default=False)


def serve(
    release: Annotated[Path | None, _option("Release to serve; the starter that ships if absent.")] = None,
    listen: Annotated[str | None, _option("Address for vehicles (127.0.0.1:8500).")] = None,
    metrics: Annotated[str | None, _option("Address of /metrics (127.0.0.1:9500); '' for none.")] = None,
    traces: Annotated[str | None, _option("OpenTelemetry collector, such as http://127.0.0.1:4317 (none).")] = None,
    domain: Annotated[list[str] | None, _option("Domain to count apart from 'default'; repeat for more.")] = None,
    root: Annotated[str | None, _option("Storage root shared with the learner: file:///folder or s3://bucket.")] = None,
    gateway: Annotated[str | None, _option("This gateway's name there; made up once if absent.")] = None,
    pseudonym_key: Annotated[Path | None, _option("Key of vehicles' pseudonyms there; made up once if absent.")] = None,
    tls_certificate: Annotated[Path | None, _option("Server certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, _option("Its key, PEM.")] = None,
    tls_client_ca: Annotated[Path | None, _option("Ask callers for a certificate of this authority, PEM.")] = None,
    token_file: Annotated[Path | None, _option("Bearer tokens, one 'ROLE TOKEN' a line; '# NAME' may follow.")] = None,
    insecure: Annotated[bool | None, _option("Listen beyond loopback without TLS.")] = None,
    triton: Annotated[str | None, _option("Address of an external Triton; embedded if absent.")] = None,
    triton_repository: Annotated[Path | None, _option("Model repository that the external Triton reads.")] = None,
    run_dir: Annotated[Path | None, _option("Where the embedded Triton keeps its files (runs/gateway).")] = None,
    yield_file: Annotated[Path | None, _option("Where to say that a frame is inferred (engine_busy in it).")] = None,
    frames_at_once: Annotated[int | None, _option("Frames that share the cores, 1 or 2; what suits if absent.")] = None,
    engine_threads: Annotated[
        int | None, _option("Cores of the engine (those that affinity and CPU quota leave this process).")
    ] = None,
    fake: Annotated[bool | None, _option("Label by nearest colour, without an engine.")] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help=LOG_JSON_HELP)] = False,
) -> None:
    """Serve frames over gRPC until SIGTERM or Ctrl-C; what was admitted by then is still answered.

    Everything can also be set by environment variables: ROADSHIFT_LISTEN, ROADSHIFT_TLS_KEY, and, for what has no
    option here, the names in `server/settings.py`, such as ROADSHIFT_IN_FLIGHT.
    """
    options = {name: value for name, value in locals().items() if value not in (None, []) and name != "log_json"}
    if "domain" in options:
        options["domains"] = tuple(options.pop("domain"))
    try:
        configure_logs(as_json=log_json)
        settings = GatewaySettings(**options)
        asyncio.run(assembly.serve(settings, on_ready=lambda gateway: _announce(settings, gateway)))
    except SettingsError as error:
        raise _failure(f"{error}: a list is written as JSON, such as '[\"zurich-night\"]'") from error
    except ValidationError as error:
        raise _failure(refusal_of(error)) from error
    except (StartupError, InvalidRequest) as error:
        raise _failure(str(error)) from error


def _announce(settings: GatewaySettings, gateway: assembly.Gateway) -> None:
    unix = settings.listen.startswith("unix:")
    typer.echo(f"serving on {settings.listen}" if unix else f"serving on port {gateway.port}")
    if gateway.metrics_port:
        typer.echo(f"metrics on port {gateway.metrics_port}")
    if not logs_json():  # then a person reads it
        typer.echo("\n".join(["", *next_steps(settings, gateway.port, gateway.metrics_port)]))


def _failure(message: str) -> typer.Exit:
    tell_fatal(message)
    return typer.Exit(1)
