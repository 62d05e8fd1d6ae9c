"""Forms that browsers post: small ones, read before anything is known of who sends them."""

from urllib.parse import parse_qsl

from starlette.requests import Request

LARGEST_BYTES = 4096
_MOST_FIELDS = 8


class FormTooLarge(Exception):
    """A body beyond LARGEST_BYTES, of which no more was read."""


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a URL-encoded form; none where it is no such form.

    Raises:
        FormTooLarge: more bytes than any form here has.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BYTES:
            raise FormTooLarge
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        return {}
