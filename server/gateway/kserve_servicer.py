"""The KServe v2 inference protocol on the model `segmenter`, so that `tritonclient` works against the gateway.

The messages are those that tritonclient ships. FRAME may have any size: the gateway fits it, as for `Segment`.
"""

from importlib.metadata import version as installed_version

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as pb_grpc

from exchange.net.guarded_calls import Context
from server.errors import NotFound
from server.gateway import kserve_converters as convert
from server.gateway.access import Answering, deadline_of, trace_parent
from server.gateway.frame_handler import FrameHandler


class KserveServicer(pb_grpc.GRPCInferenceServiceServicer):
    def __init__(self, handler: FrameHandler) -> None:
        self._handler = handler

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:  # noqa: N802
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:  # noqa: N802
        return pb.ServerReadyResponse(ready=self._handler.is_serving)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:  # noqa: N802
        if request.name != convert.MODEL_NAME:
            return pb.ModelReadyResponse(ready=False)
        ready_versions = map(str, self._handler.segmenter.ready_versions)
        ready = request.version in ready_versions if request.version else self._handler.is_serving
        return pb.ModelReadyResponse(ready=ready)

    async def ServerMetadata(  # noqa: N802
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="roadshift", version=installed_version("roadshift"))

    async def ModelMetadata(  # noqa: N802
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        async with Answering(context):
            convert.check_model(request.name)
            version = convert.parse_version(request.version)
            loaded = sorted(self._handler.segmenter.loaded_versions)
            if version is not None and version not in loaded:
                raise NotFound(f"version {version} is not loaded: name no version to hear of all")
            return convert.model_metadata(loaded if version is None else [version])

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:  # noqa: N802
        async with Answering(context):
            answer = await self._handler.answer(
                lambda: convert.frame_request(request, context.peer(), deadline_of(context)),
                trace_parent=trace_parent(context),
            )
            return convert.infer_response(request, answer)

    async def _not_served(self, request: object, context: Context) -> None:
        served = "live, ready, metadata and infer"
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"of this protocol the gateway serves {served}")

    # Each of these would else leave a traceback in the log.
    ModelConfig = ModelStatistics = ModelStreamInfer = RepositoryIndex = RepositoryModelLoad = _not_served
    RepositoryModelUnload = SystemSharedMemoryStatus = SystemSharedMemoryRegister = _not_served
    SystemSharedMemoryUnregister = CudaSharedMemoryStatus = CudaSharedMemoryRegister = _not_served
    CudaSharedMemoryUnregister = TraceSetting = LogSettings = _not_served
