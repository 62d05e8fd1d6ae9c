"""Triton's gRPC service as the few calls that the gateway makes."""

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from exchange.net.proxies import channel_options
from server.tracing import TRACE_METADATA
from server.triton.tensors import MODEL_NAME

Access = tuple[str, str]
"""The name and the key of --grpc-restricted-protocol."""

CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", 128 << 20),
    ("grpc.max_send_message_length", 128 << 20),
    ("grpc.initial_reconnect_backoff_ms", 100),  # a restarted Triton is found at once
    ("grpc.min_reconnect_backoff_ms", 2000),  # in truth how long an attempt may take: this machine may be busy
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 30_000),  # a silent network is noticed while requests wait
    ("grpc.keepalive_timeout_ms", 10_000),
]
LOAD_TIMEOUT_S = 180.0
CONTROL_TIMEOUT_S = 10.0


class TritonConnection:
    """Calls raise grpc.aio.AioRpcError; what it means to a caller is decided in `errors`."""

    def __init__(self, target: str, access: Access | None = None) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=[*CHANNEL_OPTIONS, *channel_options(target)])
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._metadata = ((f"triton-grpc-protocol-{access[0]}", access[1]),) if access else ()

    async def is_live(self, timeout_s: float = CONTROL_TIMEOUT_S) -> bool:
        try:
            reply = await self._stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
        return bool(reply.live)

    async def wait_until_live(self) -> None:
        await self._stub.ServerLive(service_pb2.ServerLiveRequest(), wait_for_ready=True)

    async def load(self, config_json: str) -> None:
        """Makes Triton serve exactly the versions that the config names: all of them, or nothing changes."""
        request = service_pb2.RepositoryModelLoadRequest(model_name=MODEL_NAME)
        request.parameters["config"].string_param = config_json
        await self._stub.RepositoryModelLoad(request, metadata=self._metadata, timeout=LOAD_TIMEOUT_S)

    async def register_region(self, name: str, size_bytes: int) -> None:
        request = service_pb2.SystemSharedMemoryRegisterRequest(name=name, key=f"/{name}", byte_size=size_bytes)
        await self._stub.SystemSharedMemoryRegister(request, metadata=self._metadata, timeout=CONTROL_TIMEOUT_S)

    async def unregister_region(self, name: str) -> None:
        request = service_pb2.SystemSharedMemoryUnregisterRequest(name=name)
        await self._stub.SystemSharedMemoryUnregister(request, metadata=self._metadata, timeout=CONTROL_TIMEOUT_S)

    async def infer(self, request: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:
        """Without a deadline: Triton 2.51 has races when a request is cancelled; deadlines end at the gateway."""
        return await self._stub.ModelInfer(request, metadata=TRACE_METADATA.get())

    async def close(self) -> None:
        await self._channel.close()
