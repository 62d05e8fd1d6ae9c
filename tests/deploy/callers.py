"""Ways to start a gateway and a learner, and what callers of each role show them then."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import grpc
import httpx

from tests.deploy.security_table import ROLES, YES, Row
from tests.service.learner_rig import LearnerProcess, until
from tests.tls_files import TlsFiles

PATIENCE_S = 60.0
LINK = "the link"
"""Who opened the console's link, where there are neither tokens nor certificates."""


class Mode(Enum):
    OPEN = "neither tokens nor certificates"
    TOKENS = "tokens, plain text"
    TLS = "tokens, TLS"
    MUTUAL = "client certificates"
    BOTH = "client certificates without a role, and tokens"


class Files:
    """What servers of a mode are started with, and what callers show them."""

    def __init__(self, mode: Mode, folder: Path) -> None:
        self.mode = mode
        self._tls = TlsFiles(folder)
        self._settings: dict[str, Path] = {}
        if mode in (Mode.TLS, Mode.MUTUAL, Mode.BOTH):
            self._settings |= {"tls_certificate": self._tls.certificate, "tls_key": self._tls.key}
        if mode in (Mode.MUTUAL, Mode.BOTH):
            self._settings["tls_client_ca"] = self._tls.ca
        if mode in (Mode.TOKENS, Mode.TLS, Mode.BOTH):
            self._settings["token_file"] = folder / "tokens"
            (folder / "tokens").write_text("".join(f"{role} {self.token(role)}\n" for role in ROLES[:-1]))

    @property
    def settings(self) -> dict[str, Path]:
        return self._settings

    @property
    def has_tls(self) -> bool:
        return "tls_key" in self._settings

    @property
    def options(self) -> list[str]:
        return [part for key, path in self._settings.items() for part in (f"--{key.replace('_', '-')}", str(path))]

    def token(self, role: str) -> str:
        """Return the role's token; empty where it has none."""
        has_tokens = self.mode in (Mode.TOKENS, Mode.TLS, Mode.BOTH)
        return f"{role}-token" if has_tokens and role != "nobody" else ""

    def metadata(self, role: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {token}"),) if (token := self.token(role)) else ()

    def _common_name(self, role: str) -> str | None:
        if "tls_client_ca" not in self._settings:
            return None
        return "someone" if self.mode is Mode.BOTH or role == "nobody" else f"{role}:someone"

    def credentials(self, role: str) -> grpc.ChannelCredentials:
        """Return what a channel is opened with; in plain text where there is no TLS."""
        if not self.has_tls:
            return grpc.experimental.insecure_channel_credentials()
        return self._tls.client_credentials(self._common_name(role))

    def without_certificate(self) -> grpc.ChannelCredentials:
        return self._tls.client_credentials()

    def ssl_context(self, role: str) -> ssl.SSLContext | None:
        if not self.has_tls:
            return None
        context = ssl.create_default_context(cafile=self._tls.ca)
        if name := self._common_name(role):
            context.load_cert_chain(*self._tls.issue("car@example.org", name))
        return context

    def expected(self, row: Row) -> Row:
        """Return what a row means for each role: where all are open, each may what any may."""
        if self.mode is not Mode.OPEN:
            return row
        return dict.fromkeys(ROLES, YES if YES in row.values() else next(iter(row.values())))


class Learner(NamedTuple):
    process: LearnerProcess
    files: Files


class Browser(NamedTuple):
    client: httpx.Client
    context: ssl.SSLContext | None
    """Of its connections, where these are TLS."""


def console_row(row: Row, mode: Mode) -> Row:
    """Return a row as it is for the console, which opens by its link where everything else is open."""
    return dict.fromkeys(ROLES, row["nobody"]) | {LINK: row["operator"]} if mode is Mode.OPEN else row


def console_of(process: LearnerProcess) -> tuple[int, str]:
    """Return the console's port, and the token of its link, if it has one."""
    told = re.compile(r"console on port (\d+)(?:: \S+token=(\S+))?\n")
    found = until(lambda: told.search(process.said()), "a console")
    return int(found[1]), found[2] or ""


@contextmanager
def browsing(learner: Learner, role: str) -> Iterator[Browser]:
    """A browser of somebody who has tried to log in."""
    port, link_token = console_of(learner.process)
    context = learner.files.ssl_context(role)
    address = f"{'https' if context else 'http'}://127.0.0.1:{port}"
    headers = {"origin": address}
    with httpx.Client(base_url=address, verify=context or False, headers=headers, timeout=PATIENCE_S) as client:
        if token := link_token if role == LINK else learner.files.token(role):
            client.get("/", params={"token": token})
        yield Browser(client, context)
