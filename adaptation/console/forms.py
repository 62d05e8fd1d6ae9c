"""Forms that browsers post: small ones, read before anything is known of who sends them."""

import asyncio
from urllib.parse import parse_qsl

from starlette.requests import Request

LARGEST_BYTES = 4096
WITHIN_S = 10.0
_MOST_FIELDS = 8


class FormTooLarge(Exception):
    """A body beyond LARGEST_BYTES, of which no more was read."""


class FormTooSlow(Exception):
    """A body that has not come whole within WITHIN_S."""


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a URL-encoded form; none where it is no such form.

    Raises:
        FormTooLarge: more bytes than any form here has.
        FormTooSlow: it does not come in time.
    """
    try:
        async with asyncio.timeout(WITHIN_S):
            body = await _read_body(request)
    except TimeoutError:
        raise FormTooSlow from None
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        return {}


async def _read_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BYTES:
            raise FormTooLarge
    return body
