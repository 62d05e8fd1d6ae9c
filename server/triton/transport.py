"""How a frame reaches Triton and its labels come back: through shared memory, or inside the messages."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, Protocol

import grpc
import numpy as np

from exchange.contract import INPUTS, OUTPUTS
from server.errors import EngineUnavailable, Overloaded
from server.segmenter import SegmenterOutput
from server.triton.connection import TritonConnection
from server.triton.frame_slots import FrameSlots
from server.triton.shared_memory import RegionOwner
from server.triton.status import serving_error
from server.triton.tensors import ALONE, Arrays, Size, new_request, output_of, shape_of

Inference = asyncio.Task[SegmenterOutput]


class Transport(Protocol):
    async def open(self, frame_size: Size) -> None:
        """Makes ready for frames of this size; to be called again when Triton was restarted."""

    async def close_unused(self, frame_sizes: Collection[Size]) -> None:
        """Gives back what no frame of these sizes needs."""

    def start(self, version: int, frame_size: Size, inputs: Arrays, alone: Awaitable[bool]) -> Inference:
        """Starts one inference. The task raises what `Segmenter.infer` does; who waits for it must not cancel it.

        Args:
            alone: whether the frame has all cores; it goes to Triton when this is told, never where it is cancelled.

        Raises:
            Overloaded: no more can be in flight.
        """

    async def close(self) -> None:
        """Waits for what is in flight, then gives everything back."""


class SharedMemoryTransport:
    """For a Triton on this machine: every frame in flight has a slot that Triton reads it from."""

    def __init__(self, connection: TritonConnection, frames_in_flight: int, regions: RegionOwner) -> None:
        self._connection = connection
        self._regions = regions
        self._frames_in_flight = frames_in_flight
        self._slots: dict[Size, FrameSlots] = {}
        self._in_flight = _InFlight(frames_in_flight)

    async def open(self, frame_size: Size) -> None:
        if frame_size not in self._slots:
            name = f"{self._regions.prefix}frames-{frame_size[0]}x{frame_size[1]}"
            self._slots[frame_size] = FrameSlots(name, frame_size, self._frames_in_flight)
        region = self._slots[frame_size].region
        try:
            await self._connection.register_region(region.name, region.size_bytes)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.ALREADY_EXISTS:
                raise EngineUnavailable(f"Triton does not take the shared memory: {error.details()}") from error

    async def close_unused(self, frame_sizes: Collection[Size]) -> None:
        for frame_size in set(self._slots) - set(frame_sizes):
            slots = self._slots.pop(frame_size)
            await self._in_flight.wait()  # Triton crashes when a region in use is unregistered
            with contextlib.suppress(grpc.aio.AioRpcError):  # a Triton that has ended knows no region
                await self._connection.unregister_region(slots.region.name)
            slots.close()

    def start(self, version: int, frame_size: Size, inputs: Arrays, alone: Awaitable[bool]) -> Inference:
        return self._in_flight.start(lambda: self._infer_in_slot(self._slots[frame_size], version, inputs, alone))

    async def _infer_in_slot(
        self, slots: FrameSlots, version: int, inputs: Arrays, alone: Awaitable[bool]
    ) -> SegmenterOutput:
        slot = slots.take()
        try:
            for name, array in inputs.items():
                np.copyto(slot.inputs[name], array)
            slot.request.model_version = str(version)
            slot.request.parameters[ALONE].bool_param = await alone
            await self._connection.infer(slot.request)
            return output_of(slot.outputs)
        except grpc.aio.AioRpcError as error:
            raise serving_error(version, error) from error
        finally:
            slots.give_back(slot)

    async def close(self) -> None:
        await self.close_unused(())


class MessageTransport:
    """For a Triton elsewhere: the tensors travel in the messages."""

    def __init__(self, connection: TritonConnection, frames_in_flight: int) -> None:
        self._connection = connection
        self._in_flight = _InFlight(frames_in_flight)

    async def open(self, frame_size: Size) -> None:
        pass

    async def close_unused(self, frame_sizes: Collection[Size]) -> None:
        pass

    def start(self, version: int, frame_size: Size, inputs: Arrays, alone: Awaitable[bool]) -> Inference:
        return self._in_flight.start(lambda: self._infer_by_messages(version, frame_size, inputs, alone))

    async def _infer_by_messages(
        self, version: int, frame_size: Size, inputs: Arrays, alone: Awaitable[bool]
    ) -> SegmenterOutput:
        request = new_request(frame_size)
        request.model_version = str(version)
        request.raw_input_contents.extend(inputs[tensor.name].tobytes() for tensor in INPUTS)
        request.parameters[ALONE].bool_param = await alone
        try:
            response = await self._connection.infer(request)
        except grpc.aio.AioRpcError as error:
            raise serving_error(version, error) from error
        contents = {
            output.name: raw for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
        return output_of(
            {
                tensor.name: np.frombuffer(contents[tensor.name], tensor.dtype).reshape(shape_of(tensor, frame_size))
                for tensor in OUTPUTS
            }
        )

    async def close(self) -> None:
        await self._in_flight.wait()


class _InFlight:
    """A bounded number of inferences, each of which may outlive a caller that no longer waits."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: set[Inference] = set()

    def start(self, infer: Callable[[], Coroutine[Any, Any, SegmenterOutput]]) -> Inference:
        if len(self._tasks) >= self._limit:
            raise Overloaded(f"{self._limit} frames are in flight already: try again, or send fewer")
        task = asyncio.create_task(infer())
        self._tasks.add(task)
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: Inference) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where the caller has gone

    async def wait(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)
