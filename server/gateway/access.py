"""Who may call what: roles from the client certificate or a bearer token, and errors on their way out.

A certificate's common name is `role:name`, such as `vehicle:car-17`. The token file has one `role token` a line. With
neither a client CA nor a token file every caller has every role, which is for loopback and trusted networks.
"""

import asyncio
import hashlib
import logging
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from server.errors import Defect, Forbidden, ServingError, StartupError, Unauthenticated
from server.gateway.converters import retry_after_ms

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

RETRY_AFTER_KEY = "retry-after-ms"
_log = logging.getLogger(__name__)


class Role(Enum):
    VEHICLE = "vehicle"
    OPERATOR = "operator"
    ANNOTATOR = "annotator"


class Access:
    """Knows the callers' roles."""

    def __init__(self, *, client_certificates: bool, token_file: Path | None) -> None:
        self._client_certificates = client_certificates
        self._role_of_token = {} if token_file is None else _read_tokens(token_file)
        self._open = not client_certificates and token_file is None

    def require(self, context: Context, role: Role) -> None:
        """Returns when the caller has the role.

        Raises:
            Unauthenticated: no known certificate or token.
            Forbidden: a known caller with other roles.
        """
        if self._open:
            return
        roles = self._roles(context)
        if not roles:
            raise Unauthenticated("send a client certificate, or a bearer token in the metadata key 'authorization'")
        if role not in roles:
            raise Forbidden(f"this call needs the role {role.value}; yours: {', '.join(r.value for r in roles)}")

    def _roles(self, context: Context) -> list[Role]:
        claims = []
        if self._client_certificates:
            names = context.auth_context().get("x509_common_name", ())
            claims += [name.decode(errors="replace").partition(":")[0] for name in names]
        for key, value in context.invocation_metadata() or ():
            if key == "authorization" and isinstance(value, str) and value.startswith("Bearer "):
                claims.append(self._role_of_token.get(_digest(value.removeprefix("Bearer ")), ""))
        return [role for role in Role if role.value in claims]


class Answering:
    """Around each call: checks the role first, and ends the call with the status of whatever error comes out."""

    def __init__(self, context: Context, access: Access, role: Role) -> None:
        self._context = context
        self._access = access
        self._role = role

    async def __aenter__(self) -> None:
        try:
            self._access.require(self._context, self._role)
        except ServingError as error:
            await self._abort(error)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, ServingError):
            await self._abort(error)
        elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            _log.error("a call ended with a defect of the gateway", exc_info=error)
            await self._abort(Defect())

    async def _abort(self, error: ServingError) -> None:
        hint_s = error.retry_after_s
        trailing = () if hint_s is None else ((RETRY_AFTER_KEY, str(retry_after_ms(hint_s))),)
        await self._context.abort(error.status, str(error), trailing)


def deadline_of(context: Context) -> float | None:
    """When the caller stops waiting, in the event loop's time."""
    remaining_s = context.time_remaining()
    return None if remaining_s is None else asyncio.get_running_loop().time() + remaining_s


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


def _digest(token: str) -> bytes:
    """Tokens are kept and looked up as digests, so that a lookup's time says nothing about a token."""
    return hashlib.sha256(token.encode()).digest()
