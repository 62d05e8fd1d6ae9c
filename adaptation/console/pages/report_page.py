"""A round's own report, as its worker wrote it: shown as it is, and allowed nothing."""

from functools import partial

from fastapi import Request, Response
from nicegui import ui

from adaptation.console.backstage import Backstage
from adaptation.console.pages.orders import in_one_line
from adaptation.console.pages.shell import PATIENCE_S, not_there, page
from adaptation.console.picture_routes import NOT_KEPT
from adaptation.console.views.rounds import read_page
from adaptation.control.rounds.round_state import RoundId
from exchange.storage import StorageError

_HEADERS = {
    **NOT_KEPT,
    "content-security-policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'",
}


def add_report_page(backstage: Backstage) -> None:
    @ui.page("/report/{round_id}", response_timeout=PATIENCE_S)
    async def report(request: Request, round_id: RoundId) -> Response | None:
        try:
            found = await backstage.read(partial(read_page, backstage.root, round_id))
        except StorageError as error:
            status, what, do = 503, "The report cannot be read just now.", in_one_line(error)
        else:
            if found is not None:
                return Response(found, media_type="text/html; charset=utf-8", headers=_HEADERS)
            status, what, do = 404, "This round has no report.", "It has not come so far, or an erasure took it."
        with page(request, "/rounds", "Report"):
            not_there(status, what, do)
        return None
