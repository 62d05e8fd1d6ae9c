"""Who calls: roles from the client certificate or a bearer token.

A certificate's common name is `role:name`, such as `vehicle:car-17`. The token file has one `role token` a line, or
`role token # name` where the token is one person's or machine's. With neither a client CA nor a token file every caller
has every role, which is for loopback and trusted networks.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import grpc

from exchange.audit import LEARNER
from exchange.listening import StartupError

_LONGEST_CLAIM = 128
_NAME = re.compile(r"[\w@.+-]{1,64}")
_OF_THE_LEARNER = re.compile(rf"{LEARNER}|\w+ trigger", re.IGNORECASE)
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


class NameTaken(Exception):
    """Somebody claims to be the learner; the message says what to do."""


class _Token(NamedTuple):
    role: str
    name: str
    """`role:name`; empty where the file gives none."""


class Callers:
    """Knows the callers' roles."""

    def __init__(self, *, client_certificates: bool, token_file: Path | None) -> None:
        """Raises StartupError where the token file cannot be read, or names no role that there is."""
        self._client_certificates = client_certificates
        self._tokens = {} if token_file is None else _read_tokens(token_file)
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
        known = self._tokens.get(_digest(token))
        return _roles_named([] if known is None else [known.role])

    @staticmethod
    def roles_of_names(common_names: Iterable[str]) -> frozenset[Role]:
        """Of a client certificate."""
        return _roles_named(name.partition(":")[0] for name in common_names)

    def name(self, context: Context) -> str:
        """The certificate's common name, or the name that the token file gives; empty where there is none."""
        named = (known.name for known in map(self._tokens.get, map(_digest, _bearer_tokens(context))) if known)
        return next(iter(self._common_names(context)), "") or next(filter(None, named), "")

    def who(self, context: Context, claimed: str) -> str:
        """For the audit: whom certificate or token show, with what the caller claims to be called beside it.

        A token without a name is told by its role and six digits that are its own, such as `operator-3fa9c1`. Where
        every caller has every role, the claim is all that there is; so nobody may claim a name that the learner acts
        under: `learner`, or that of a trigger.

        Raises:
            NameTaken: the claim is such a name.
        """
        return told(self.name(context) or next(map(self.name_of_token, _bearer_tokens(context)), ""), claimed)

    def name_of_token(self, token: str) -> str:
        """That of the file, or one that is made of role and token; empty for a token that is not known."""
        known = self._tokens.get(_digest(token))
        if known is None:
            return ""
        return known.name or f"{known.role}-{hashlib.sha256(b'its name: ' + token.encode()).hexdigest()[:6]}"

    def _roles(self, context: Context) -> list[Role]:
        found = self.roles_of_names(self._common_names(context))
        for token in _bearer_tokens(context):
            found |= self.roles_of_token(token)
        return [role for role in Role if role in found]

    def _common_names(self, context: Context) -> list[str]:
        if not self._client_certificates:
            return []
        names = context.auth_context().get("x509_common_name", ())
        return [name.decode(errors="replace") for name in names if isinstance(name, bytes)]


def told(shown: str, claimed: str) -> str:
    """As `Callers.who`; `shown` is of a certificate or token, empty where neither is asked for. Raises NameTaken."""
    claimed = " ".join("".join(letter for letter in claimed if letter.isprintable()).split())[:_LONGEST_CLAIM]
    if _OF_THE_LEARNER.fullmatch(claimed):
        raise NameTaken(f"{claimed!r} is what the learner itself is called: give your own name")
    if not shown:
        return claimed or "operator"
    return f"{shown} (says {claimed})" if claimed and claimed != shown else shown


def _bearer_tokens(context: Context) -> Iterator[str]:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str) and value.startswith("Bearer "):
            yield value.removeprefix("Bearer ")


def _read_tokens(path: Path) -> dict[bytes, _Token]:
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise StartupError(f"token file {path} cannot be read: {error.strerror}") from error
    roles = {role.value for role in Role}
    tokens: dict[bytes, _Token] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match line.split():
            case [role, token] if role in roles:
                tokens[_digest(token)] = _Token(role, "")
            case [role, token, "#", name] if role in roles and _NAME.fullmatch(name):
                tokens[_digest(token)] = _Token(role, f"{role}:{name}")
            case _:
                raise StartupError(
                    f"{path}:{number} is not 'ROLE TOKEN' with ROLE one of {', '.join(sorted(roles))};"
                    " '# NAME' may follow, of letters, digits and @ . + -"
                )
    if not tokens:
        raise StartupError(f"token file {path} holds no token: nobody could call; give it lines of 'ROLE TOKEN'")
    return tokens


def _roles_named(claims: Iterable[str]) -> frozenset[Role]:
    claimed = set(claims)
    return frozenset(role for role in Role if role.value in claimed)


def _digest(token: str) -> bytes:
    """Tokens are kept and looked up as digests, so that a lookup's time says nothing about a token."""
    return hashlib.sha256(token.encode()).digest()
