"""Who calls: roles from the client certificate or a bearer token.

A certificate's common name is `role:name`, such as `vehicle:car-17`. The token file has one `role token` a line. With
neither a client CA nor a token file every caller has every role, which is for loopback and trusted networks.
"""

import hashlib
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from exchange.listening import StartupError

Context: TypeAlias = "grpc.ServicerContext | grpc.aio.ServicerContext[Any, Any]"


class Role(Enum):
    VEHICLE = "vehicle"
    OPERATOR = "operator"
    ANNOTATOR = "annotator"
    VIEWER = "viewer"
    """Sees what operators see, and changes nothing."""


class UnknownCaller(Exception):
    """No known certificate or token; the message says what to send."""


class RoleMissing(Exception):
    """A known caller with other roles."""


class Callers:
    """Knows the callers' roles."""

    def __init__(self, *, client_certificates: bool, token_file: Path | None) -> None:
        """Raises StartupError where the token file cannot be read, or names no role that there is."""
        self._client_certificates = client_certificates
        self._role_of_token = {} if token_file is None else _read_tokens(token_file)
        self._open = not client_certificates and token_file is None

    def require(self, context: Context, role: Role) -> None:
        """Returns when the caller has the role.

        Raises:
            UnknownCaller: no known certificate or token.
            RoleMissing: a known caller with other roles.
        """
        if self._open:
            return
        roles = self._roles(context)
        if not roles:
            raise UnknownCaller("send a client certificate, or a bearer token in the metadata key 'authorization'")
        if role not in roles:
            raise RoleMissing(f"this call needs the role {role.value}; yours: {', '.join(r.value for r in roles)}")

    @property
    def are_open(self) -> bool:
        """Whether every caller has every role."""
        return self._open

    def roles_of_token(self, token: str) -> frozenset[Role]:
        """None for a token that is not known."""
        return _roles_named([self._role_of_token.get(_digest(token), "")])

    @staticmethod
    def roles_of_names(common_names: Iterable[str]) -> frozenset[Role]:
        """Of a client certificate."""
        return _roles_named(name.partition(":")[0] for name in common_names)

    def name(self, context: Context) -> str:
        """The certificate's common name; empty where there is none."""
        return next(iter(self._common_names(context)), "")

    def _roles(self, context: Context) -> list[Role]:
        found = self.roles_of_names(self._common_names(context))
        for key, value in context.invocation_metadata() or ():
            if key == "authorization" and isinstance(value, str) and value.startswith("Bearer "):
                found |= self.roles_of_token(value.removeprefix("Bearer "))
        return [role for role in Role if role in found]

    def _common_names(self, context: Context) -> list[str]:
        if not self._client_certificates:
            return []
        names = context.auth_context().get("x509_common_name", ())
        return [name.decode(errors="replace") for name in names if isinstance(name, bytes)]


def _read_tokens(path: Path) -> dict[bytes, str]:
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise StartupError(f"token file {path} cannot be read: {error.strerror}") from error
    roles = {role.value for role in Role}
    tokens = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match line.split():
            case [role, token] if role in roles:
                tokens[_digest(token)] = role
            case _:
                raise StartupError(f"{path}:{number} is not 'ROLE TOKEN' with ROLE one of {', '.join(sorted(roles))}")
    if not tokens:
        raise StartupError(f"token file {path} holds no token: nobody could call; give it lines of 'ROLE TOKEN'")
    return tokens


def _roles_named(claims: Iterable[str]) -> frozenset[Role]:
    claimed = set(claims)
    return frozenset(role for role in Role if role.value in claimed)


def _digest(token: str) -> bytes:
    """Tokens are kept and looked up as digests, so that a lookup's time says nothing about a token."""
    return hashlib.sha256(token.encode()).digest()
