"""`roadshift.v1.Annotation`: translates between the wire and the desk."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import grpc
import numpy as np
from roadshift.v1 import annotation_pb2 as pb
from roadshift.v1 import annotation_pb2_grpc as pb_grpc

from adaptation.control.labeling.asking import DOUBLE_SHARE
from adaptation.control.labeling.desk import LabelDesk
from adaptation.control.labeling.leased_tasks import BadLabel, LeasedTask, LeaseGone, NoSuchTask
from adaptation.control.learner.learner import Learner
from exchange.fleet.captured_images import encode_rgb_png
from exchange.images.labels import encode_gray_png
from exchange.net.callers import Callers, NameTaken
from exchange.net.request_values import BadValue, checked_text, checked_why
from exchange.regions.batches import TooManyBatches
from exchange.regions.tasks import Box
from exchange.storage import ObjectChanged, ObjectExists, StorageUnavailable
from exchange.storage.records import RecordError, RecordTooNew

_LONGEST_NAME_BYTES = 128
_STATUS: dict[type[Exception], grpc.StatusCode] = {
    RecordTooNew: grpc.StatusCode.FAILED_PRECONDITION,
    BadLabel: grpc.StatusCode.INVALID_ARGUMENT,
    BadValue: grpc.StatusCode.INVALID_ARGUMENT,
    NoSuchTask: grpc.StatusCode.NOT_FOUND,
    LeaseGone: grpc.StatusCode.FAILED_PRECONDITION,
    TooManyBatches: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ObjectChanged: grpc.StatusCode.ABORTED,
    ObjectExists: grpc.StatusCode.ABORTED,
    StorageUnavailable: grpc.StatusCode.UNAVAILABLE,
    RecordError: grpc.StatusCode.DATA_LOSS,
    NameTaken: grpc.StatusCode.INVALID_ARGUMENT,
}

_Named: TypeAlias = "pb.LeaseRequest | pb.SubmitRequest | pb.SkipRequest | pb.UndoRequest"


class AnnotationServicer(pb_grpc.AnnotationServicer):
    """Each call runs in a thread of its sort's, after `CallAccess` has let it."""

    def __init__(self, learner: Learner, callers: Callers) -> None:
        self._learner = learner
        self._desk: LabelDesk = learner.desk
        self._callers = callers

    def Ask(self, request: pb.AskRequest, context: grpc.ServicerContext) -> pb.AskResponse:  # noqa: N802
        with self._answering(context):
            batch = self._learner.ask_for_regions(
                request.domain,
                by=self._callers.who(context, request.by),
                clicks=request.clicks,
                minutes=request.minutes,
                double_share=request.double_share if request.HasField("double_share") else DOUBLE_SHARE,
            )
            return pb.AskResponse(batch=batch.id, clicks=batch.clicks)

    def Lease(self, request: pb.LeaseRequest, context: grpc.ServicerContext) -> pb.LeaseResponse:  # noqa: N802
        with self._answering(context):
            return self._lease_response(self._desk.lease(self._annotator(context, request), request.domain or None))

    def Submit(self, request: pb.SubmitRequest, context: grpc.ServicerContext) -> pb.SubmitResponse:  # noqa: N802
        with self._answering(context):
            given = self._desk.submit(request.task, self._annotator(context, request), request.label)
            agreed = {} if given.agreed is None else {"agreed": given.agreed}
            return pb.SubmitResponse(state=given.state, decided=given.decided, **agreed)

    def Skip(self, request: pb.SkipRequest, context: grpc.ServicerContext) -> pb.SkipResponse:  # noqa: N802
        with self._answering(context):
            self._desk.skip(request.task, self._annotator(context, request), checked_why(request.why))
            return pb.SkipResponse()

    def Undo(self, request: pb.UndoRequest, context: grpc.ServicerContext) -> pb.LeaseResponse:  # noqa: N802
        with self._answering(context):
            return self._lease_response(self._desk.undo(self._annotator(context, request)))

    def GetProgress(self, request: pb.GetProgressRequest, context: grpc.ServicerContext) -> pb.LabelProgress:  # noqa: N802
        with self._answering(context):
            found = self._desk.progress(request.domain)
            return pb.LabelProgress(
                domain=found.domain,
                waiting=found.waiting,
                leased=found.leased,
                labelled=found.labelled,
                skipped=found.skipped,
                unsure=found.unsure,
                disputed=found.disputed,
                clicks_used=found.clicks_used,
                clicks_left=found.clicks_left,
                minutes=found.minutes,
                seconds_a_click=found.seconds_a_click,
                agreement=found.agreement,
                answered_twice=found.agreed_of,
                held_out=found.held_out,
                sentinel_share=found.sentinel_share,
                batches=[
                    pb.RegionBatch(id=b.id, phase=b.phase, reason=b.reason, regions=b.regions, open=b.open)
                    for b in found.batches
                ],
            )

    def _lease_response(self, task: LeasedTask | None) -> pb.LeaseResponse:
        if task is None:
            return pb.LeaseResponse()
        seen = self._desk.surroundings(task)
        message = pb.RegionTask(
            id=task.id,
            domain=task.domain,
            frame_sha256=task.frame_sha256,
            box=_box(task.box),
            predicted=task.predicted,
            model_version=task.model_version,
            score=task.score,
            leased_until=task.leased_until,
            crop_png=encode_rgb_png(seen.rgb_HW3),
            box_in_crop=_box(seen.box),
            segment_png=encode_gray_png(np.where(seen.segment_HW, np.uint8(255), np.uint8(0))),
        )
        return pb.LeaseResponse(task=message)

    def _annotator(self, context: grpc.ServicerContext, request: _Named) -> str:
        """The word of a certificate or of a token with a name before the caller's."""
        return self._callers.name(context) or checked_text(
            "annotator", request.annotator, most_bytes=_LONGEST_NAME_BYTES, required=True
        )

    @contextmanager
    def _answering(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Ends the call with the status of whatever error comes out."""
        try:
            yield
        except tuple(_STATUS) as error:
            status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
            context.abort(status, " ".join(str(error).split()))


def _box(box: Box) -> pb.Box:
    return pb.Box(top=box.top, bottom=box.bottom, left=box.left, right=box.right)
