"""A bounded set of places in shared memory, each for one frame in flight and its labels."""

from dataclasses import dataclass

from tritonclient.grpc import service_pb2

from exchange.contract import INPUTS, OUTPUTS
from server.triton.shared_memory import Region
from server.triton.tensors import Arrays, Size, new_request, shape_of, size_bytes_of

ALIGNMENT_BYTES = 64


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
        self._offsets, slot_bytes = _lay_out(frame_size)
        self.region = Region(region_name, slot_bytes * count)
        self._free = [self._make_slot(index * slot_bytes) for index in range(count)]

    def take(self) -> Slot:
        """Raises IndexError while every slot is in flight."""
        return self._free.pop()

    def give_back(self, slot: Slot) -> None:
        """Only once Triton has answered: until then it may still write into the slot."""
        self._free.append(slot)

    def close(self) -> None:
        self._free.clear()
        self.region.close()

    def _make_slot(self, base: int) -> Slot:
        request = new_request(self._frame_size)
        arrays = {}
        for message, tensor in zip([*request.inputs, *request.outputs], [*INPUTS, *OUTPUTS], strict=True):
            offset, size = base + self._offsets[tensor.name], self._frame_size
            message.parameters["shared_memory_region"].string_param = self.region.name
            message.parameters["shared_memory_offset"].int64_param = offset
            message.parameters["shared_memory_byte_size"].int64_param = size_bytes_of(tensor, size)
            arrays[tensor.name] = self.region.view(tensor.dtype, shape_of(tensor, size), offset)
        return Slot(
            inputs={tensor.name: arrays[tensor.name] for tensor in INPUTS},
            outputs={tensor.name: arrays[tensor.name] for tensor in OUTPUTS},
            request=request,
        )


def _lay_out(frame_size: Size) -> tuple[dict[str, int], int]:
    """Each tensor's offset in a slot, and the slot's size; both aligned."""
    offsets, end = {}, 0
    for tensor in (*INPUTS, *OUTPUTS):
        offsets[tensor.name] = end
        end += -(-size_bytes_of(tensor, frame_size) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    return offsets, end
