"""Who looks at the console, and for how long they need not say so again: a signed cookie, and nothing kept here.

The key is made of the token file, so that a session lasts over the learner's restarts and ends when the tokens change.
"""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from pathlib import Path

from exchange.callers import Role, told

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

    def __init__(self, token_file: Path | None) -> None:
        secret = b"" if token_file is None else token_file.read_bytes()
        self._key = hashlib.sha256(b"roadshift console 2\0" + secret).digest()

    def sealed(self, visitor: Visitor, now_s: float | None = None) -> str:
        until_s = int((time.time() if now_s is None else now_s) + LASTS_S)
        roles = sorted(role.value for role in visitor.roles)
        content = {"name": visitor.name, "roles": roles, "shown": visitor.shown, "until_s": until_s}
        encoded = base64.urlsafe_b64encode(json.dumps(content).encode())
        return f"{encoded.decode()}.{self._signature(encoded)}"

    def opened(self, cookie: str, now_s: float | None = None) -> Visitor:
        """Nobody where it was not sealed here, or is too old."""
        encoded, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(encoded.encode()).encode()):
            return NOBODY
        content = json.loads(base64.urlsafe_b64decode(encoded))
        if content["until_s"] < (time.time() if now_s is None else now_s):
            return NOBODY
        return Visitor(content["name"], frozenset(map(Role, content["roles"])), content["shown"])

    def _signature(self, encoded: bytes) -> str:
        return hmac.new(self._key, encoded, hashlib.sha256).hexdigest()


def cleaned_name(text: str) -> str:
    """What people call themselves, fit for the audit and for a page."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:LONGEST_NAME]
