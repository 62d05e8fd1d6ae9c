"""Images for the pages, made from what is stored when a browser asks for them."""

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, HTTPException, Query, Response

from adaptation.console import pictures
from adaptation.console.backstage import Backstage
from adaptation.console.relabelling import CannotLabel
from exchange.fleet.frames import CapturedFrame
from exchange.images.labels import LabelImageError
from exchange.label_space import NUM_CLASSES
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageError
from exchange.storage.records import RecordError

NOT_KEPT = {"cache-control": "no-store"}
"""A vehicle may be erased: no browser keeps its frames."""


def picture_routes(backstage: Backstage) -> APIRouter:
    """GET /picture/frame, /labels, /doubt: of a captured frame."""
    routes = APIRouter()

    async def made(shard: str, key: str, make: Callable[[CapturedFrame], bytes], kind: str) -> Response:
        try:
            frame = await backstage.read(partial(backstage.shelf.frame, shard, key))
            if frame is None:
                raise HTTPException(404, "this frame is gone: it was too old, or erased")
            return Response(await backstage.paint(partial(make, frame)), media_type=kind, headers=NOT_KEPT)
        except (LabelImageError, RecordError) as error:
            raise HTTPException(422, str(error)) from error
        except (CannotLabel, ReleaseError) as error:
            raise HTTPException(409, str(error)) from error
        except (OSError, StorageError) as error:
            raise HTTPException(503, str(error)) from error

    width = Query(pictures.WIDEST_PX, ge=16, le=pictures.WIDEST_PX)

    @routes.get("/picture/frame")
    async def frame(shard: str, key: str, width: int = width) -> Response:
        return await made(shard, key, lambda frame: pictures.frame_jpeg(frame, width), "image/jpeg")

    @routes.get("/picture/labels")
    async def labels(
        shard: str,
        key: str,
        width: int = width,
        only: int | None = Query(None, ge=0, lt=NUM_CLASSES),
        version: int | None = Query(None, ge=1),
    ) -> Response:
        """The captured answer, or what a version would answer today."""

        def overlay(frame: CapturedFrame) -> bytes:
            known = frame.labels_png
            png = known if version is None else backstage.relabelling.labels_png(shard, frame, version)
            return pictures.label_overlay(png, width, only)

        return await made(shard, key, overlay, "image/png")

    @routes.get("/picture/doubt")
    async def doubt(shard: str, key: str, width: int = width) -> Response:
        return await made(shard, key, lambda frame: pictures.doubt_overlay(frame.confidence_png, width), "image/png")

    return routes
