"""`roadshift erase`: takes one vehicle's frames and rows out of a storage root, and out of every gateway's hands."""

import re
import time
from pathlib import Path
from typing import Annotated

import typer

from exchange.erasing import Erased, erase_stored
from exchange.fleet.erasures import request_erasure
from exchange.fleet.gateways import read_heartbeats
from exchange.fleet.pseudonyms import PseudonymKeyError, Pseudonyms
from exchange.plain_words import counted
from exchange.registry.audit import AuditEntry, audited, user_at_host
from exchange.storage import StorageError, StorageRoot, open_known_root
from exchange.storage.locations import FRAMES, GATEWAYS, PRESENCE, REGIONS, ROUNDS
from exchange.storage.records import RecordError

_ALIVE_IF_HEARD_WITHIN_S = 4.0
_PAUSE_S = 0.5
_MAY_HOLD_FRAMES = re.compile(rf"({FRAMES}|{PRESENCE}|{ROUNDS}|{REGIONS}|{GATEWAYS})/.+\.(tar|npz|json)")
"""Gateways hold frames that have not arrived: one whose heartbeat cannot be read does not say that they are gone."""


def erase(
    vehicle: Annotated[str, typer.Option(help="The vehicle_id that it sends.")],
    root: Annotated[str, typer.Option(envvar="ROADSHIFT_ROOT", help="file:///folder or s3://bucket/prefix.")],
    pseudonym_key: Annotated[
        Path, typer.Option(envvar="ROADSHIFT_PSEUDONYM_KEY", help="The gateways' key; without one the spool has it.")
    ],
    wait_s: Annotated[float, typer.Option(min=0, help="How long to wait for the gateways.")] = 60.0,
) -> None:
    """Erase a vehicle: its captured frames, its presence rows, and what gateways still hold of it.

    Frames and rows of other vehicles are kept as they are. What the vehicle sends later is captured anew.
    """
    try:
        pseudonym = Pseudonyms.from_file(pseudonym_key).vehicle(vehicle)
        storage = open_known_root(root)
        erased, silent = erase_vehicle(storage, pseudonym, wait_s)
    except (PseudonymKeyError, RecordError, StorageError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    rows = counted(erased.presence_rows, "presence row")
    typer.echo(f"erased {counted(erased.frames, 'frame')} and {rows} of {pseudonym}")
    if silent:
        typer.echo(
            f"not heard of: {', '.join(silent)}; what they hold goes when they start again, and then erase once more",
            err=True,
        )
    unread = [key for key in storage.unreadable.told_keys() if _MAY_HOLD_FRAMES.fullmatch(key)]
    if unread:
        typer.echo(
            f"not looked into, as it cannot be read: {', '.join(unread)}; mend or delete that, and erase once more",
            err=True,
        )
    if silent or unread:
        raise typer.Exit(2)


def erase_vehicle(root: StorageRoot, pseudonym: str, wait_s: float) -> tuple[Erased, list[str]]:
    """Erases once at once, and once more when every gateway that is there has stopped handing out the vehicle.

    Returns what was erased, and the gateways that did not confirm.

    Raises:
        RecordError, StorageError: it is unfinished; call it again.
    """
    with audited(root, AuditEntry(who=user_at_host(), what="erase", details={"vehicle": pseudonym})):
        requested = request_erasure(root, pseudonym)
        first = erase_stored(root, pseudonym)
        silent = _wait_for_gateways(root, requested, wait_s)
        second = erase_stored(root, pseudonym)
    return Erased(first.frames + second.frames, first.presence_rows + second.presence_rows), silent


def _wait_for_gateways(root: StorageRoot, requested: int, wait_s: float) -> list[str]:
    """Those that have not applied the erasure when the time is over; a silent one is not waited for."""
    started_s = time.monotonic()
    before = {beat.gateway: beat.written_at for beat in read_heartbeats(root)}
    while True:
        waited_s = time.monotonic() - started_s
        beats = [beat for beat in read_heartbeats(root) if beat.erasures_applied < requested]
        beating = [beat for beat in beats if before.get(beat.gateway) != beat.written_at]
        if not beats or waited_s > wait_s or (not beating and waited_s > _ALIVE_IF_HEARD_WITHIN_S):
            return [beat.gateway for beat in beats]
        time.sleep(_PAUSE_S)
