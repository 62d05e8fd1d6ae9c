"""Lets visitors in, by the rules of the learner's gRPC port: a client certificate, or a bearer token typed once.

Whoever has no role that may look gets the login page, for every address. A `?token=` link is answered by a cookie and
the same address without the token; where the learner has neither tokens nor certificates, one link opens the console
(`link.py`). Pages of other sites reach nothing here: neither by their own requests (their origin is another), nor by a
name that they let point to this machine (`origins.py`), nor by a form that they post without a session's token.
"""

import asyncio
import hmac
import time
from dataclasses import replace
from importlib import resources
from urllib.parse import urlencode, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptation.console.connections import COMMON_NAMES, RECOGNIZED
from adaptation.console.forms import LARGEST_BYTES, WITHIN_S, FormTooLarge, FormTooSlow, read_form
from adaptation.console.origins import Origins
from adaptation.console.policy import NONCE, headers_with, new_nonce
from adaptation.console.sessions import LASTS_S, Sessions, Visitor, cleaned_name
from exchange.markup import tag
from exchange.net.callers import Callers

SESSION_COOKIE, NAME_COOKIE = "roadshift_session", "roadshift_name"
_LOGIN, _NAME = "/login", "/name"
_NOBODY_WAITS = "No response returned."
"""Starlette's word for a browser that left before its answer came."""
_LOG_IN = "log in first"
_POLICY_VIOLATION = 1008
_LOOK_EVERY_S = 2.0
_SHUT_OUT_FOR_S = 5.0
"""By then an open page has loaded itself anew, as the login page."""
_NAME_LASTS_S = 365 * 24 * 3600
_FORM_STATE = "form_token"
"""In a connection's state."""
_PROXY_PREFIX = b"x-forwarded-prefix"
"""A header that NiceGUI writes into its page's scripts."""
_HINT_WITHOUT = (
    "Open the link that the learner prints when it starts, after 'console on port', or give its token: "
    "it is also in the file console-token of the learner's --run-dir."
)
_HINT_WITH_TOKENS = (
    "Give a bearer token of the learner's token file. An operator's may change things, an annotator's label, "
    "a viewer's look."
)


class Access:
    """ASGI middleware: `visitor_of` tells of every connection that comes through who it is."""

    def __init__(self, app: ASGIApp, *, callers: Callers, sessions: Sessions, origins: Origins) -> None:
        self._app = app
        self._callers = callers
        self._sessions = sessions
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != _PROXY_PREFIX]
        connection, nonce, is_socket = HTTPConnection(scope), new_nonce(), scope["type"] == "websocket"
        if not is_socket:
            send = _with_headers(send, headers_with(nonce))
        if why := _refusal_of(scope["path"]) or self._origins.refusal(connection):
            await _refuse(scope, receive, send, why)
            return
        visitor = self._visitor(connection)
        still = replace(visitor, is_still_let_in=lambda: self._visitor(connection) == visitor)
        session = connection.cookies.get(SESSION_COOKIE, "") or visitor.shown
        state = {"visitor": still, NONCE: nonce, _FORM_STATE: self._sessions.form_token(session)}
        scope.setdefault("state", {}).update(state)
        if visitor.may_look and (recognized := scope["state"].get(RECOGNIZED)) is not None:
            recognized(visitor.shown)
        if not is_socket and (answer := await self._answer(Request(scope, receive), visitor)) is not None:
            await answer(scope, receive, send)
        elif visitor.may_look:
            await self._served(scope, _while_let_in(still, receive, send) if is_socket else receive, send)
        else:
            await _refuse(scope, receive, send, _LOG_IN)

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except RuntimeError as error:
            if str(error) != _NOBODY_WAITS:
                raise

    def _visitor(self, connection: HTTPConnection) -> Visitor:
        names: list[str] = connection.scope.get("state", {}).get(COMMON_NAMES, [])
        chosen = cleaned_name(connection.cookies.get(NAME_COOKIE, ""))
        visitor = self._sessions.opened(connection.cookies.get(SESSION_COOKIE, ""))
        if names:
            return Visitor(names[0], Callers.roles_shown(names, visitor.roles), names[0], names[0])
        return replace(visitor, name=chosen or visitor.name)

    async def _answer(self, request: Request, visitor: Visitor) -> Response | None:
        """What needs no page of the console; None for all else."""
        if request.method == "POST" and request.url.path in (_LOGIN, _NAME):
            try:
                form = await read_form(request)
            except FormTooLarge:
                return PlainTextResponse(f"This form is too large: send at most {LARGEST_BYTES} bytes.\n", 413)
            except FormTooSlow:
                return PlainTextResponse(f"This form did not come within {WITHIN_S:.0f} s: send it again.\n", 408)
            return self._posted(request, form, visitor)
        if request.method == "GET" and "token" in request.query_params:
            rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
            address = f"{request.url.path}?{urlencode(rest)}" if rest else request.url.path
            return self._logged_in(request, "", request.query_params["token"], _local(address))
        if request.url.path == _LOGIN or (request.method == "GET" and not visitor.may_look):
            return self._login_page("", request.url.path, 200 if request.url.path == _LOGIN else 401)
        return None

    def _posted(self, request: Request, form: dict[str, str], visitor: Visitor) -> Response | None:
        name, address = cleaned_name(form.get("name", "")), _local(form.get("next", ""))
        if request.url.path == _LOGIN:
            return self._logged_in(request, name, form.get("token", "").strip(), address)
        if not visitor.may_look:
            return None
        if not hmac.compare_digest(form.get("form", "").encode(), form_token_of(request).encode()):
            return PlainTextResponse("This form is of another session: load its page again.\n", 403)
        answer = RedirectResponse(address, 303)
        self._set_cookie(request, answer, NAME_COOKIE, name, _NAME_LASTS_S)
        return answer

    def _logged_in(self, request: Request, name: str, token: str, address: str) -> Response:
        holder = self._sessions.holder(token)
        if holder is None:
            whole = "the link's" if self._callers.are_open else "a whole one of the learner's token file"
            return self._login_page(f"This token is not known: is it {whole}?", address, 401)
        if not holder.visitor(name).may_look:
            return self._login_page(
                "This token is a vehicle's: ask for an operator's, a viewer's or an annotator's.", "/", 403
            )
        answer = RedirectResponse(address, 303)
        answer.delete_cookie(NAME_COOKIE)  # of whoever used this browser before
        self._set_cookie(request, answer, SESSION_COOKIE, self._sessions.sealed(name, holder), LASTS_S)
        return answer

    def _set_cookie(self, request: Request, answer: Response, name: str, value: str, lasts_s: int) -> None:
        secure = self._origins.is_secure(request)
        answer.set_cookie(name, value, lasts_s, httponly=True, samesite="strict", secure=secure)

    def _login_page(self, trouble: str, address: str, status: int) -> Response:
        page = (resources.files("adaptation.console") / "login.html").read_text()
        page = page.replace("{{hint}}", tag("p", None, _HINT_WITHOUT if self._callers.are_open else _HINT_WITH_TOKENS))
        page = page.replace("{{trouble}}", tag("p", {"role": "alert"}, trouble) if trouble else "")
        following = tag("input", {"type": "hidden", "name": "next", "value": _local(address)})
        return HTMLResponse(page.replace("{{next}}", following), status)


def visitor_of(connection: HTTPConnection) -> Visitor:
    found: Visitor = connection.state.visitor
    return found


def form_token_of(connection: HTTPConnection) -> str:
    """Return what the visitor's forms must carry in their field `form`."""
    return str(connection.scope["state"][_FORM_STATE])


def _while_let_in(visitor: Visitor, receive: Receive, send: Send) -> Receive:
    """Return what receives a socket's messages, and ends the socket some seconds after its visitor was shut out."""
    shut_out_s = 0.0

    async def receiving() -> Message:
        nonlocal shut_out_s
        coming = asyncio.ensure_future(receive())
        try:
            while not coming.done():
                await asyncio.wait((coming,), timeout=_LOOK_EVERY_S)
                now_s = time.monotonic()
                shut_out_s = 0.0 if visitor.is_still_let_in() else shut_out_s or now_s
                if shut_out_s and now_s - shut_out_s > _SHUT_OUT_FOR_S:
                    await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": _LOG_IN})
                    return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION, "reason": _LOG_IN}
            return coming.result()
        finally:
            coming.cancel()

    return receiving


def _refusal_of(path: str) -> str:
    """Why no address has this path, or nothing: what a request line names may be anything."""
    return "" if path.startswith("/") else "An address here begins with /."


def _local(address: str) -> str:
    """The path and query of an address, so that nobody is sent elsewhere."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    path = "/" + parts.path.lstrip("/\\")
    return "/" if path == _LOGIN else f"{path}?{parts.query}" if parts.query else path


async def _refuse(scope: Scope, receive: Receive, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": why})
    else:
        await PlainTextResponse(f"{why}\n", 403)(scope, receive, send)


def _with_headers(send: Send, headers: dict[str, str]) -> Send:
    added = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return sending
