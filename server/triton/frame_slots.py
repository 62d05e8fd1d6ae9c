"""A bounded set of places in shared memory, each for one frame in flight and its labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from server.triton.shared_memory import Region
from server.triton.tensors import ALIGNMENT_BYTES, Arrays, Size, Tensor, input_tensors, new_request, output_tensors


@dataclass(frozen=True)
class Slot:
    """One place: numpy views of its tensors, and the request that points Triton at them."""

    inputs: Arrays
    outputs: Arrays
    request: service_pb2.ModelInferRequest


class FrameSlots:
    """`count` slots for frames of one size, side by side in one region."""

    def __init__(self, region_name: str, frame_size: Size, count: int) -> None:
        self._frame_size = frame_size
        self._offsets, slot_bytes = _lay_out([*input_tensors(frame_size), *output_tensors(frame_size)])
        self.region = Region(region_name, slot_bytes * count)
        self._free = [self._make_slot(index * slot_bytes) for index in range(count)]

    def take(self) -> Slot | None:
        """None while every slot is in flight."""
        return self._free.pop() if self._free else None

    def give_back(self, slot: Slot) -> None:
        """Only once Triton has answered: until then it may still write into the slot."""
        self._free.append(slot)

    def close(self) -> None:
        self._free.clear()
        self.region.close()

    def _make_slot(self, base: int) -> Slot:
        request = new_request(self._frame_size)
        inputs, outputs = input_tensors(self._frame_size), output_tensors(self._frame_size)
        for message, tensor in zip([*request.inputs, *request.outputs], [*inputs, *outputs], strict=True):
            message.parameters["shared_memory_region"].string_param = self.region.name
            message.parameters["shared_memory_offset"].int64_param = base + self._offsets[tensor.name]
            message.parameters["shared_memory_byte_size"].int64_param = tensor.size_bytes
        return Slot(
            inputs={tensor.name: self._view(tensor, base) for tensor in inputs},
            outputs={tensor.name: self._view(tensor, base) for tensor in outputs},
            request=request,
        )

    def _view(self, tensor: Tensor, base: int) -> NDArray[np.generic]:
        return self.region.view(tensor.dtype, tensor.shape, base + self._offsets[tensor.name])


def _lay_out(tensors: list[Tensor]) -> tuple[dict[str, int], int]:
    """Each tensor's offset in a slot, and the slot's size; both aligned."""
    offsets, end = {}, 0
    for tensor in tensors:
        offsets[tensor.name] = end
        end += -(-tensor.size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    return offsets, end
