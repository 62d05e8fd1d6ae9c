"""Messages of browsers' sockets, checked before NiceGUI acts on them.

NiceGUI takes the id of a page for proof, writes what a browser says into the log, and leaves a traceback for each
message of another form. Here a message counts only where its form is right and its socket opened the page that it
names, and a socket opens pages of its own visitor alone.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs

from nicegui import Client, core, nicegui
from pydantic import BaseModel, Field, Json, ValidationError

from adaptation.console.sessions import Visitor

Message = TypeVar("Message", bound="_Message")


class _Message(BaseModel, strict=True):
    client_id: str
    """Of the page."""


class _Handshake(_Message):
    tab_id: str
    document_id: str
    old_tab_id: str | None = None
    next_message_id: int | Annotated[str, Field(pattern="^[0-9]{1,9}$")] | None = None


class _Event(_Message):
    id: int
    listener_id: str
    args: list[Json[Any] | None] = []


class _Response(_Message):
    request_id: str


class _Acknowledgement(_Message):
    next_message_id: int


def check_messages() -> None:
    """Have NiceGUI hear of messages through the checks; once, or again, before the console is served."""
    on = core.sio.on
    on("connect", _connect)
    on("handshake", _handshake)
    on("event", partial(_pass_on, _Event, nicegui._on_event))
    on("javascript_response", partial(_pass_on, _Response, nicegui._on_javascript_response))
    on("ack", partial(_pass_on, _Acknowledgement, nicegui._on_ack))
    on("log", _ignore)


async def _connect(sid: str, environ: dict[str, Any], _: object = None) -> bool:
    """Return whether the socket may stay."""
    query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    return query.get("implicit_handshake") != "true" or await _handshake(sid, query)


async def _handshake(sid: str, data: object = None, *_: object) -> bool:
    """Return whether the socket is the page's now."""
    message = _read(_Handshake, data)
    if message is None or (client := Client.instances.get(message.client_id)) is None:
        return False
    if client.request is None or _visitor(sid) != client.request.state.visitor:
        return False
    return bool(await nicegui._on_handshake(sid, message.model_dump()))


def _pass_on(
    form: type[_Message], handler: Callable[[str, Any], None], sid: str, data: object = None, *_: object
) -> None:
    message = _read(form, data)
    if message is None or message.client_id not in core.sio.rooms(sid):
        return
    with suppress(KeyError):  # an element that is gone, or a listener that never was; those that hear raise nothing
        handler(sid, data)


def _ignore(*_: object) -> None:
    """The log is the learner's own."""


def _read(kind: type[Message], data: object) -> Message | None:
    try:
        return kind.model_validate(data)
    except ValidationError:
        return None


def _visitor(sid: str) -> Visitor:
    found: Visitor = core.sio.get_environ(sid)["asgi.scope"]["state"]["visitor"]
    return found
