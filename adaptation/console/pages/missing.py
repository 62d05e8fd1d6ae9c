"""Addresses where nothing is, and pages that met a defect: what is the matter, and the way back."""

from fastapi import Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from nicegui import Client, app, ui
from starlette.exceptions import HTTPException

from adaptation.console.pages.orders import in_one_line
from adaptation.console.pages.shell import not_there, page

_ASSETS = "/_nicegui"


def add_missing_page() -> None:
    @app.exception_handler(404)
    async def missing(request: Request, error: HTTPException) -> Response:
        if request.url.path.startswith(_ASSETS):
            return await http_exception_handler(request, error)
        return _answer(request, 404, "There is no such page.", f"Nothing is at {request.url.path[:128]}.")

    @app.exception_handler(RequestValidationError)
    async def misunderstood(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        is_path = first["loc"][0] == "path"
        what = "There is no such page." if is_path else "This address cannot be understood."
        why = "it is missing" if first["type"] == "missing" else f"{str(first['input'])[:64]!r} does not belong there"
        return _answer(request, 404 if is_path else 422, what, f"{first['loc'][-1]}: {why}.")

    @app.on_page_exception
    def met_a_defect(error: Exception) -> None:
        with page(ui.context.client.request, "", "A defect"):
            not_there(500, "The console met a defect.", f"The learner's log tells where: {in_one_line(error)[:500]}")


def _answer(request: Request, status: int, what: str, do: str) -> Response:
    with Client(ui.page(""), request=request) as client, page(request, "", "Not there"):
        not_there(status, what, do)
    return client.build_response(request, status)
