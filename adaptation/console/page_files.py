"""The style and the script of all pages, as files: the content security policy lets no inline script run."""

from functools import partial
from importlib import resources

from fastapi import APIRouter, Response
from nicegui import ui

_KINDS = {"style.css": "text/css", "page.js": "text/javascript"}


def page_files() -> APIRouter:
    """GET /console/style.css and /console/page.js, which every page asks for."""
    # The referrer policy of the answers' headers would keep a form's origin back, without which no order is taken.
    ui.add_head_html(
        '<meta name="referrer" content="same-origin"><link rel="stylesheet" href="/console/style.css">'
        '<script src="/console/page.js" defer></script>',
        shared=True,
    )
    routes = APIRouter()
    for name, kind in _KINDS.items():
        text = (resources.files("adaptation.console") / name).read_text()
        routes.add_api_route(f"/console/{name}", partial(_answer, text, kind), response_class=Response)
    return routes


def _answer(text: str, kind: str) -> Response:
    return Response(text, media_type=kind, headers={"cache-control": "no-cache"})
