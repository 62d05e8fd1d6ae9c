"""Headers of every answer: a page may ask this server alone, run the scripts of its template, and be framed by none."""

import secrets
from typing import Any

import nicegui.client
from jinja2 import BaseLoader, Environment

NONCE = "nonce"
"""In a connection's state: what marks the scripts of the answer that is being made."""
_MARKED = '<script nonce="{{ request.state.nonce }}"'


def headers_with(nonce: str) -> dict[str, str]:
    """Return the headers; scripts without the nonce run only from files of this server.

    NiceGUI evaluates event handlers and Vue compiles templates ('unsafe-eval'); both add style elements as they go.
    """
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' 'nonce-{nonce}' 'unsafe-eval'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }


def new_nonce() -> str:
    return secrets.token_urlsafe(16)


def mark_template_scripts() -> None:
    """Give the nonce to the scripts that NiceGUI's page template has, and to none that a value brings into it."""
    environment = nicegui.client.templates.env
    if environment.loader is not None and not isinstance(environment.loader, _Marking):
        environment.loader = _Marking(environment.loader)


class _Marking(BaseLoader):
    def __init__(self, inner: BaseLoader) -> None:
        self._inner = inner

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Any]:
        source, file, is_current = self._inner.get_source(environment, template)
        return source.replace("<script", _MARKED), file, is_current
