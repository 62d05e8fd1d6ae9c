"""The link that opens a console without a token file: its token is kept for the learner's user alone."""

import os
import re
import secrets
import stat
from pathlib import Path
from urllib.parse import urlencode

from exchange.net.addresses import Address
from exchange.net.listening import StartupError

_TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def link_token(path: Path) -> str:
    """Read the token, or make one where the file holds none that its owner alone could read.

    Sessions are sealed by it, and last over a restart as long as the file is there.

    Raises:
        StartupError: the file cannot be written.
    """
    try:
        return _kept(path) or _new(path)
    except OSError as error:
        raise StartupError(
            f"{path} cannot be written ({error.strerror}): it holds the console's link; choose another --run-dir"
        ) from error


def link(scheme: str, listen: Address, token: str) -> str:
    """Return the address to open on this machine."""
    host = listen.host
    if listen.is_every_interface:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"{scheme}://{Address(host, listen.port)}/?{urlencode({'token': token})}"


def _kept(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
            return None
        text = file.read(2 * _TOKEN_BYTES).decode("ascii", "replace").strip()
    return text if _TOKEN.fullmatch(text) else None


def _new(path: Path) -> str:
    """Whole or not at all."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{token}\n")
    partial.rename(path)
    return token
