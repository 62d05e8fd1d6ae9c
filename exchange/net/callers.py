"""Who calls: roles from the client certificate or a bearer token.

A certificate's common name is `role:name`, such as `vehicle:car-17`. The token file has one `role token` a line, or
`role token # name` where the token is one person's or machine's; it is read again when it changes. With neither a
client CA nor a token file every caller has every role, which is for loopback and trusted networks.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import grpc

from exchange.net.startup_error import StartupError
from exchange.net.watched_files import WatchedFiles

LEARNER = "learner"
"""Name of the learner in the audit, for what it decides by itself."""
_LONGEST_CLAIM = 128
_NAME = re.compile(r"[\w@.+-]{1,64}")
_SEND = "send a client certificate, or a bearer token in the metadata key 'authorization'"
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


class Token(NamedTuple):
    """A line of the token file."""

    digest: str
    """How a token is kept and looked up, so that a lookup's time says nothing about it."""
    role: str
    name: str
    """`role:name`; empty where the file gives none."""
    shown: str
    """The name, or one that is made of role and token."""
    seal_key: bytes
    """Of what is sealed for its holder: another one where the line is another, and unknown to who has no token."""


class Callers:
    """Knows the callers' roles."""

    def __init__(
        self, *, client_certificates: bool, token_file: Path | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises StartupError where the token file cannot be read, or names no role that there is."""
        self._client_certificates = client_certificates
        self._token_file: WatchedFiles[Mapping[str, Token]] | None = None
        if token_file is not None:
            parse = partial(_parse_tokens, token_file)
            self._token_file = WatchedFiles(token_file, what="token file", parse=parse, clock=clock)
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
            raise UnknownCaller(_SEND)
        if role not in roles:
            raise RoleMissing(f"this call needs the role {role.value}; yours: {', '.join(r.value for r in roles)}")

    @property
    def are_open(self) -> bool:
        """Whether every caller has every role."""
        return self._open

    def token(self, token: str) -> Token | None:
        """What the file says of it now; None where it is not there."""
        return self.token_of(_digest(token))

    def token_of(self, digest: str) -> Token | None:
        """As `token`, by `Token.digest`."""
        return None if self._token_file is None else self._token_file.now().get(digest)

    @staticmethod
    def roles_shown(common_names: Iterable[str], of_tokens: Iterable[Role]) -> frozenset[Role]:
        """Return the roles that a client certificate and tokens give together, at whichever port they are shown."""
        claimed = {name.partition(":")[0] for name in common_names}
        return frozenset(role for role in Role if role.value in claimed) | frozenset(of_tokens)

    def name(self, context: Context) -> str:
        """The certificate's common name, or the name that the token file gives; empty where there is none."""
        named = (token.name for token in self._tokens(context))
        return next(iter(self._common_names(context)), "") or next(filter(None, named), "")

    def who(self, context: Context, claimed: str) -> str:
        """For the audit: whom certificate or token show, with what the caller claims to be called beside it.

        A token without a name is told by its role and six digits that are its own, such as `operator-3fa9c1`. Where
        every caller has every role, the claim is all that there is; so nobody may claim a name that the learner acts
        under: `learner`, or that of a trigger.

        Raises:
            NameTaken: the claim is such a name.
            UnknownCaller: the token was taken out of the file during the call.
        """
        shown = self.name(context) or next((token.shown for token in self._tokens(context)), "")
        if not shown and not self._open:
            raise UnknownCaller(_SEND)
        return told(shown, claimed)

    def _roles(self, context: Context) -> list[Role]:
        found = self.roles_shown(self._common_names(context), (Role(t.role) for t in self._tokens(context)))
        return [role for role in Role if role in found]

    def _tokens(self, context: Context) -> Iterator[Token]:
        """Those that the caller sends, of the ones that there are."""
        return filter(None, map(self.token, _bearer_tokens(context)))

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


def _parse_tokens(path: Path, contents: Sequence[bytes]) -> Mapping[str, Token]:
    """By digest."""
    (content,) = contents
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise StartupError(f"token file {path} is no text in UTF-8: give it lines of 'ROLE TOKEN'") from error
    roles = {role.value for role in Role}
    tokens = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match line.split():
            case [role, token] if role in roles:
                tokens.append(_token(role, token, ""))
            case [role, token, "#", name] if role in roles and _NAME.fullmatch(name):
                tokens.append(_token(role, token, f"{role}:{name}"))
            case _:
                raise StartupError(
                    f"{path}:{number} is not 'ROLE TOKEN' with ROLE one of {', '.join(sorted(roles))};"
                    " '# NAME' may follow, of letters, digits and @ . + -"
                )
    if not tokens:
        raise StartupError(f"token file {path} holds no token: nobody could call; give it lines of 'ROLE TOKEN'")
    return {token.digest: token for token in tokens}


def _token(role: str, token: str, name: str) -> Token:
    shown = name or f"{role}-{hashlib.sha256(b'its name: ' + token.encode()).hexdigest()[:6]}"
    line = "\0".join(("its seal", role, token, name))
    return Token(_digest(token), role, name, shown, hashlib.sha256(line.encode()).digest())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
