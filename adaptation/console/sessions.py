"""Who looks at the console, and for how long they need not say so again: a signed cookie, and nothing kept here.

The key is made of a token's line in the token file, so that a session lasts over the learner's restarts and ends when
that line changes or goes; other lines do not concern it.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from exchange.callers import Callers, Role, Token, told

LASTS_S = 12 * 3600
LONGEST_NAME = 64
_LOOKERS = frozenset({Role.OPERATOR, Role.ANNOTATOR, Role.VIEWER})


@dataclass(frozen=True)
class Visitor:
    """Somebody with a browser."""

    name: str
    """What they are called here, and kept with their labels."""
    roles: frozenset[Role]
    shown: str = ""
    """By their certificate or token; empty where neither is asked for."""
    is_still_let_in: Callable[[], bool] = field(default=lambda: True, compare=False, repr=False)
    """Whether whoever opened a page would be the same visitor now."""

    def who(self) -> str:
        """For the audit. Raises NameTaken."""
        return told(self.shown, self.name)

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


class Sessions:
    """Seals visitors into cookies, and opens them again."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def sealed(self, name: str, token: Token, now_s: float | None = None) -> str:
        """A cookie for whoever came with the token, and is called `name` here."""
        until_s = int((time.time() if now_s is None else now_s) + LASTS_S)
        encoded = base64.urlsafe_b64encode(json.dumps({"name": name, "until_s": until_s}).encode())
        return f"{token.digest}.{encoded.decode()}.{_signature(token, encoded)}"

    def opened(self, cookie: str, now_s: float | None = None) -> Visitor:
        """Nobody where it was not sealed here, is too old, or is of a token that is there no more."""
        digest, _, rest = cookie.partition(".")
        encoded, _, signature = rest.partition(".")
        token = self._callers.token_of(digest)
        if token is None or not hmac.compare_digest(signature.encode(), _signature(token, encoded.encode()).encode()):
            return NOBODY
        content = json.loads(base64.urlsafe_b64decode(encoded))
        if content["until_s"] < (time.time() if now_s is None else now_s):
            return NOBODY
        return Visitor(content["name"], frozenset({Role(token.role)}), token.shown)


def _signature(token: Token, encoded: bytes) -> str:
    return hmac.new(token.seal_key, encoded, hashlib.sha256).hexdigest()


def cleaned_name(text: str) -> str:
    """What people call themselves, fit for the audit and for a page."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:LONGEST_NAME]
