"""The KServe v2 inference protocol on the model `segmenter`, so that `tritonclient` works against the gateway.

The messages are those that tritonclient ships. FRAME may have any size: the gateway fits it, as for `Segment`.
"""

from importlib.metadata import version as installed_version

from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as pb_grpc

from exchange.callers import Role
from server.errors import NotFound
from server.gateway import kserve_converters as convert
from server.gateway.access import Access, Answering, Context, deadline_of
from server.gateway.frame_handler import FrameHandler


class KserveServicer(pb_grpc.GRPCInferenceServiceServicer):
    def __init__(self, handler: FrameHandler, access: Access) -> None:
        self._handler = handler
        self._access = access

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:  # noqa: N802
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:  # noqa: N802
        return pb.ServerReadyResponse(ready=self._handler.is_serving)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:  # noqa: N802
        known = request.name == convert.MODEL_NAME
        version = convert.parse_version(request.version) if known else None
        ready = self._handler.is_serving if version is None else version in self._handler.segmenter.ready_versions
        return pb.ModelReadyResponse(ready=known and ready)

    async def ServerMetadata(  # noqa: N802
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="roadshift", version=installed_version("roadshift"))

    async def ModelMetadata(  # noqa: N802
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        async with Answering(context, self._access, Role.VEHICLE):
            _check_model(request.name)
            return convert.model_metadata(sorted(self._handler.segmenter.ready_versions))

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:  # noqa: N802
        async with Answering(context, self._access, Role.VEHICLE):
            _check_model(request.model_name)
            frame_request = convert.frame_request(request, context.peer(), deadline_of(context))
            outputs = convert.requested_outputs(request)
            return convert.infer_response(request, outputs, await self._handler.answer(frame_request))


def _check_model(name: str) -> None:
    if name != convert.MODEL_NAME:
        raise NotFound(f"no model {name[:80]!r} here: ask for {convert.MODEL_NAME!r}")
