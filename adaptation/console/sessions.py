"""Who looks at the console, and for how long they need not say so again: a signed cookie, and nothing kept here.

The key is made of a token's line in the token file, or is the token of the console's link, so that a session lasts over
the learner's restarts and ends when that line changes or goes; other lines do not concern it.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from exchange.net.callers import Callers, Role, Token, told

LASTS_S = 12 * 3600
LONGEST_NAME = 64
_LINK = "link"
_LOOKERS = frozenset({Role.OPERATOR, Role.ANNOTATOR, Role.VIEWER})


@dataclass(frozen=True)
class Visitor:
    """Somebody with a browser."""

    name: str
    """What they are called here."""
    roles: frozenset[Role]
    shown: str = ""
    """By their certificate or token; empty where neither is asked for."""
    proven: str = ""
    """The name of their certificate, or that the token file gives; empty where there is none."""
    is_still_let_in: Callable[[], bool] = field(default=lambda: True, compare=False, repr=False)
    """Whether whoever opened a page would be the same visitor now."""

    def who(self) -> str:
        """For the audit. Raises NameTaken."""
        return told(self.shown, self.name)

    @property
    def annotator(self) -> str:
        """Whose labels theirs are: a name that is proven before one that they give themselves, as over gRPC."""
        return self.proven or self.name

    @property
    def may_look(self) -> bool:
        return bool(self.roles & _LOOKERS)

    @property
    def may_operate(self) -> bool:
        return Role.OPERATOR in self.roles

    @property
    def may_label(self) -> bool:
        return bool(self.roles & {Role.OPERATOR, Role.ANNOTATOR})


NOBODY = Visitor("", frozenset())


@dataclass(frozen=True)
class Holder:
    """Whoever came with a token of the token file, or with the console's link."""

    digest: str
    roles: frozenset[Role]
    shown: str
    """The name that the token shows; empty for the link."""
    seal_key: bytes
    proven: str = ""
    """The name that the token file gives."""

    def visitor(self, name: str) -> Visitor:
        """Return the visitor, who is called `name` here, or as the token shows."""
        return Visitor(name or self.shown or Role.OPERATOR.value, self.roles, self.shown, self.proven)


class Sessions:
    """Seals visitors into cookies, and opens them again."""

    def __init__(self, callers: Callers, link_token: str = "") -> None:
        """`link_token` makes an operator where `callers` are open; without one nobody gets in there."""
        self._callers = callers
        self._link: Holder | None = None
        if callers.are_open and link_token:
            self._link = Holder(_LINK, frozenset(Role), "", link_token.encode())
        self._form_key = secrets.token_bytes(32)

    def holder(self, token: str) -> Holder | None:
        """Return the holder of a token; None where it is not known."""
        if self._link is not None:
            return self._link if hmac.compare_digest(token.encode(), self._link.seal_key) else None
        return _holder_of(self._callers.token(token))

    def sealed(self, name: str, holder: Holder, now_s: float | None = None) -> str:
        """Return a cookie for the holder, who is called `name` here."""
        until_s = int((time.time() if now_s is None else now_s) + LASTS_S)
        encoded = base64.urlsafe_b64encode(json.dumps({"name": name, "until_s": until_s}).encode())
        return f"{holder.digest}.{encoded.decode()}.{_signature(holder.seal_key, encoded)}"

    def opened(self, cookie: str, now_s: float | None = None) -> Visitor:
        """Return nobody where it was not sealed here, is too old, or is of a token that is there no more."""
        digest, _, rest = cookie.partition(".")
        encoded, _, signature = rest.partition(".")
        holder = self._link if self._link is not None else _holder_of(self._callers.token_of(digest))
        if holder is None or holder.digest != digest:
            return NOBODY
        if not hmac.compare_digest(signature.encode(), _signature(holder.seal_key, encoded.encode()).encode()):
            return NOBODY
        content = json.loads(base64.urlsafe_b64decode(encoded))
        if content["until_s"] < (time.time() if now_s is None else now_s):
            return NOBODY
        return holder.visitor(content["name"])

    def form_token(self, session: str) -> str:
        """Return what forms of a session carry and no other site can know, for as long as this process lasts."""
        return _signature(self._form_key, session.encode())


def _holder_of(token: Token | None) -> Holder | None:
    if token is None:
        return None
    return Holder(token.digest, frozenset({Role(token.role)}), token.shown, token.seal_key, token.name)


def _signature(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def cleaned_name(text: str) -> str:
    """What people call themselves, fit for the audit and for a page."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:LONGEST_NAME]
