"""Lets visitors in, by the rules of the learner's gRPC port: a client certificate, or a bearer token typed once.

Whoever has no role that may look gets the login page, for every address. A `?token=` link is answered by a cookie and
the same address without the token. Pages of other sites reach nothing here: neither by their own requests (their origin
is another) nor by a name that they let point to this machine.
"""

from dataclasses import replace
from html import escape
from importlib import resources
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import FormData
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptation.console.sessions import LASTS_S, Sessions, Visitor, cleaned_name
from exchange.addresses import is_loopback
from exchange.callers import Callers, Role

SESSION_COOKIE, NAME_COOKIE = "roadshift_session", "roadshift_name"
COMMON_NAMES = "common_names"
"""In a connection's state: those of the client's certificate."""
_LOGIN, _NAME = "/login", "/name"
_NOBODY_WAITS = "No response returned."
"""Starlette's word for a browser that left before its answer came."""
_NAME_LASTS_S = 365 * 24 * 3600
_HEADERS = {
    # Whatever a page were made to ask for, it is asked of this server alone.
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class Access:
    """ASGI middleware: `visitor_of` tells of every connection that comes through who it is."""

    def __init__(self, app: ASGIApp, *, callers: Callers, sessions: Sessions, listen: str, tls: bool) -> None:
        self._app = app
        self._callers = callers
        self._sessions = sessions
        self._only_this_machine = callers.are_open and is_loopback(listen)
        self._tls = tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if not self._is_from_here(connection):
            await _refuse(scope, receive, send, "the console answers its own pages alone")
            return
        visitor = self._visitor(connection)
        still = replace(visitor, is_still_let_in=lambda: self._visitor(connection) == visitor)
        scope.setdefault("state", {})["visitor"] = still
        if scope["type"] == "http" and (answer := await self._answer(Request(scope, receive), visitor)) is not None:
            answer.headers.update(_HEADERS)
            await answer(scope, receive, send)
        elif visitor.may_look:
            await self._served(scope, receive, send)
        else:
            await _refuse(scope, receive, send, "log in first")

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, _with_headers(send))
        except RuntimeError as error:
            if str(error) != _NOBODY_WAITS:
                raise

    def _is_from_here(self, connection: HTTPConnection) -> bool:
        host = connection.headers.get("host", "")
        origin = connection.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return False
        name = host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]
        return not self._only_this_machine or is_loopback(f"{name}:0")

    def _visitor(self, connection: HTTPConnection) -> Visitor:
        names: list[str] = connection.scope.get("state", {}).get(COMMON_NAMES, [])
        chosen = cleaned_name(connection.cookies.get(NAME_COOKIE, ""))
        if self._callers.are_open:
            return Visitor(chosen or "operator", frozenset(Role))
        if names:
            return Visitor(names[0], Callers.roles_of_names(names), names[0])
        visitor = self._sessions.opened(connection.cookies.get(SESSION_COOKIE, ""))
        return replace(visitor, name=chosen or visitor.name)

    async def _answer(self, request: Request, visitor: Visitor) -> Response | None:
        """What needs no page of the console; None for all else."""
        if request.method == "POST" and request.url.path == _NAME and visitor.may_look:
            form = await request.form()
            return self._named(cleaned_name(_text(form, "name")), _local(_text(form, "next")))
        if request.method == "POST" and request.url.path == _LOGIN:
            form = await request.form()
            name, token = cleaned_name(_text(form, "name")), _text(form, "token").strip()
            return self._logged_in(name, token, _local(_text(form, "next")))
        if "token" in request.query_params and not self._callers.are_open:
            rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
            address = f"{request.url.path}?{urlencode(rest)}" if rest else request.url.path
            return self._logged_in("", request.query_params["token"], _local(address))
        if request.url.path == _LOGIN or (request.method == "GET" and not visitor.may_look):
            return _login_page("", request.url.path, 200 if request.url.path == _LOGIN else 401)
        return None

    def _logged_in(self, name: str, token: str, address: str) -> Response:
        known = self._callers.token(token)
        if known is None:
            return _login_page("This token is not known: is it a whole one of the learner's token file?", address, 401)
        if not Visitor(name, frozenset({Role(known.role)})).may_look:
            return _login_page(
                "This token is a vehicle's: ask for an operator's, a viewer's or an annotator's.", "/", 403
            )
        answer = RedirectResponse(address, 303)
        answer.delete_cookie(NAME_COOKIE)  # of whoever used this browser before
        sealed = self._sessions.sealed(name or known.shown, known)
        answer.set_cookie(SESSION_COOKIE, sealed, LASTS_S, httponly=True, samesite="lax", secure=self._tls)
        return answer

    def _named(self, name: str, address: str) -> Response:
        answer = RedirectResponse(address, 303)
        answer.set_cookie(NAME_COOKIE, name, _NAME_LASTS_S, httponly=True, samesite="lax", secure=self._tls)
        return answer


def visitor_of(connection: HTTPConnection) -> Visitor:
    found: Visitor = connection.state.visitor
    return found


def _text(form: FormData, field: str) -> str:
    value = form.get(field)
    return value if isinstance(value, str) else ""


def _local(address: str) -> str:
    """The path and query of an address, so that nobody is sent elsewhere."""
    parts = urlsplit(address)
    path = "/" + parts.path.lstrip("/\\")
    return "/" if path == _LOGIN else f"{path}?{parts.query}" if parts.query else path


def _login_page(trouble: str, address: str, status: int) -> Response:
    page = (resources.files("adaptation.console") / "login.html").read_text()
    page = page.replace("{{trouble}}", f'<p role="alert">{escape(trouble)}</p>' if trouble else "")
    return HTMLResponse(page.replace("{{next}}", escape(_local(address), quote=True)), status)


async def _refuse(scope: Scope, receive: Receive, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why})
    else:
        await PlainTextResponse(f"{why}\n", 403, headers=_HEADERS)(scope, receive, send)


def _with_headers(send: Send) -> Send:
    added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return sending
