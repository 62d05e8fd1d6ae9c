"""What somebody who has just started a gateway can do next: commands for another terminal, ready to be copied."""

import shlex
import shutil
import sys
from collections.abc import Iterator

from exchange.net.addresses import Address, parse_address
from server.settings import GatewaySettings


def next_steps(settings: GatewaySettings, port: int, metrics_port: int) -> list[str]:
    """Lines of shell, comments between them; `port` and `metrics_port` (0 for none) are those that were opened."""
    here = f"--server {shlex.quote(_reachable(settings.listen, port))}"
    metrics = _reachable(settings.metrics, metrics_port) if metrics_port else ""
    return [
        "# in another terminal:",
        *_credentials(settings),
        "# how is it?",
        f"{_program()} status {here} --metrics {shlex.quote(metrics)}",
        *([f"curl {shlex.quote(f'http://{metrics}/metrics')}"] if metrics_port else []),
        "# a simulated fleet drives, and frame | labels | confidence of each vehicle is drawn",
        f"{_program()} fleet {here} --domain sim-day --vehicles 4 --fps 0.5 --frames 10 --pictures runs/fleet",
        "# label files: any JPEG or PNG, or frames drawn for the purpose",
        f"{_program()} simulate --domain sim-day --frames 2 --out runs/frames",
        f"{_program()} segment {here} runs/frames/leftImg8bit/train/*/*.png --out runs/labels",
        "# here, Ctrl-C stops the gateway; what was admitted by then is still answered",
    ]


def _credentials(settings: GatewaySettings) -> Iterator[str]:
    """What the caller must have; the names in capitals stand for files and secrets that the gateway does not know."""
    if settings.tls_certificate is not None:
        yield f"export ROADSHIFT_CA=AUTHORITY.pem  # that signed {settings.tls_certificate}, which must name the server"
    if settings.tls_client_ca is not None:
        yield (
            "export ROADSHIFT_CLIENT_CERTIFICATE=CAR.pem ROADSHIFT_CLIENT_KEY=CAR.key"
            f"  # signed by {settings.tls_client_ca}, common name vehicle:NAME"
        )
    if settings.token_file is not None:
        yield f"export ROADSHIFT_TOKEN=TOKEN  # one with the role vehicle in {settings.token_file}"


def _reachable(listen: str, port: int) -> str:
    if listen.startswith("unix:"):
        return listen
    host = parse_address(listen).host
    if Address(host, port).is_every_interface:
        host = "::1" if ":" in host else "127.0.0.1"
    return str(Address(host, port))


def _program() -> str:
    """As it was called: under make, `roadshift` is not on the PATH."""
    return "roadshift" if shutil.which("roadshift") == sys.argv[0] else shlex.quote(sys.argv[0])
