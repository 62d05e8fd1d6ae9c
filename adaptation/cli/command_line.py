"""What the commands of releases and of the plan share: their options, the lease for one command, errors in one line."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.markup import escape

from adaptation.control.releases.deciding import GateRefused
from adaptation.control.releases.learner_calls import LearnerRefused
from adaptation.learning.data.labelled_frames import DataError
from exchange.net.request_values import BadValue, checked_why
from exchange.plan.lease import Lease, LeaseHeld, LeaseLost, holding
from exchange.plan.plan_changes import DEFAULT, PlanRefused
from exchange.plan.serving_plan import ServingPlan
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageError, StorageRoot, open_known_root, open_root
from exchange.storage.locations import DomainName
from exchange.storage.records import RecordError

Root = Annotated[str, typer.Option(envvar="ROADSHIFT_ROOT", help="file:///folder or s3://bucket/prefix.")]
Domain = Annotated[
    str | None, typer.Option(help="Such as sim-dusk; without it the default, and all domains that are served like it.")
]
Server = Annotated[
    str | None,
    typer.Option(help="The learner's HOST:PORT, where one runs; TLS and token as for the other commands."),
]
Direct = Annotated[
    bool, typer.Option("--direct", help="Take the lease from the learner, which stops, and write the plan at once.")
]


def _one_line(why: str) -> str:
    try:
        return checked_why(why)
    except BadValue as error:
        raise typer.BadParameter(str(error)) from None


Why = Annotated[str, typer.Option(help="For the audit.", callback=_one_line)]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Version = Annotated[int, typer.Argument(min=1)]
_PATIENCE_S = 3.0
_ERRORS = (
    DataError,
    GateRefused,
    LearnerRefused,
    LeaseHeld,
    LeaseLost,
    PlanRefused,
    RecordError,
    ReleaseError,
    StorageError,
)
console = Console(stderr=True)


@contextmanager
def plan_writer(
    storage: StorageRoot, who: str, direct: bool, instead: str = "go through it by --server, or past it by --direct"
) -> Iterator[Lease]:
    """The lease for one command: taken from nobody, or by `direct` from whoever holds it.

    Args:
        instead: what to do where somebody else holds it, by options that the command has.
    """
    with ExitStack() as stack:
        try:
            lease = stack.enter_context(holding(storage, who, seize=direct))
        except LeaseHeld as error:
            raise LeaseHeld(f"{error}; or {instead}") from None
        yield lease


def say_served(plan: ServingPlan, domain: str | None) -> None:
    served = plan.of(domain or DEFAULT)
    typer.echo(f"{domain or DEFAULT} is served with release {served.serving}: revision {plan.revision}")


def open_storage(url: str, *, may_be_new: bool = False) -> StorageRoot:
    return (open_root if may_be_new else open_known_root)(url, _PATIENCE_S)


def checked_domain(domain: str | None) -> str | None:
    try:
        return None if domain in (None, DEFAULT) else TypeAdapter(DomainName).validate_python(domain)
    except ValidationError:
        raise typer.BadParameter(f"{domain!r} is no domain name: such as sim-dusk", param_hint="--domain") from None


@contextmanager
def explained() -> Iterator[None]:
    """Errors that somebody can do something about, in one line."""
    try:
        yield
    except _ERRORS as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
