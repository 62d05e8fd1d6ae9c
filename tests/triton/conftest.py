"""A tiny release: the whole model contract as one small OpenVINO graph, with the numpy reference beside it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import openvino
import openvino.opset13 as ops
import pytest
from numpy.typing import NDArray

from exchange.label_space import NUM_CLASSES
from exchange.networks import NetworkConfig, WindowConfig
from exchange.registry.releases import ENGINE_FOLDER, Engine, Manifest, hash_files, write_manifest
from server.errors import ServingError
from server.triton.assembly import Triton

Answer = tuple[int, NDArray[np.uint8] | ServingError]

CENTERS_K = np.linspace(0, 255, NUM_CLASSES, dtype=np.float32)
"""Each class's grey value; a pixel's logits fall by 0.1 per grey level of distance."""


@dataclass(frozen=True)
class TinyRelease:
    path: Path
    frame_size: tuple[int, int]
    shift: float
    """Added to every pixel's grey value: makes the labels of two releases differ."""

    def expected_labels(
        self, frame_HW3: NDArray[np.uint8], log_prior_ratio_K: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        logits = _logits(frame_HW3, self.shift) + log_prior_ratio_K
        return logits.argmax(axis=-1).astype(np.uint8)

    def run_engine(
        self, frame_HW3: NDArray[np.uint8], log_prior_ratio_K: NDArray[np.float32], valid_hw: tuple[int, int]
    ) -> dict[str, NDArray[np.generic]]:
        """The engine without Triton."""
        model = openvino.Core().compile_model(self.path / ENGINE_FOLDER / "model.xml", "CPU")
        inputs = {"FRAME": frame_HW3, "LOG_PRIOR_RATIO": log_prior_ratio_K, "VALID_HW": np.array(valid_hw, np.int32)}
        return {output.any_name: value for output, value in model(inputs).items()}


@pytest.fixture(scope="session")
def make_release(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TinyRelease]:
    """make_release(...) writes a release; `work` square matrix products make each of its inferences slower."""

    def make(
        frame_size: tuple[int, int] = (64, 128),
        shift: float = 0.0,
        work: int = 0,
        engine: Engine = "openvino",
        broken: bool = False,
    ) -> TinyRelease:
        path = tmp_path_factory.mktemp("release")
        (path / ENGINE_FOLDER).mkdir()
        openvino.save_model(_graph(frame_size, shift, work), path / ENGINE_FOLDER / "model.xml", compress_to_fp16=False)
        if engine == "torch":
            _save_torch_program(path / ENGINE_FOLDER / "model.pt2", frame_size, shift)
        if broken:
            (path / ENGINE_FOLDER / "model.xml").write_text("no model")
        uniform = [1 / NUM_CLASSES] * NUM_CLASSES
        write_manifest(
            path,
            Manifest(
                created_at=datetime.now(UTC),
                engine=engine,
                precision="fp32",
                network=NetworkConfig(encoder="efficientnet_lite0", head="light"),
                windows=WindowConfig(
                    outer_crop=frame_size, outer_stride=frame_size, detail_crop=frame_size, detail_stride=frame_size
                ),
                frame_size=frame_size,
                source_pixel_frequency=uniform,
                output_prior=uniform,
                files_sha256=hash_files(path),
            ),
        )
        return TinyRelease(path, frame_size, shift)

    return make


@pytest.fixture
def random_frame() -> Callable[[tuple[int, int]], NDArray[np.uint8]]:
    generator = np.random.default_rng(0)
    return lambda size: generator.integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture
def frames_flowing() -> Callable[..., AbstractAsyncContextManager[list[Answer]]]:
    """frames_flowing(triton, version, frames): four clients that send frames, each its next when the last is answered.

    Yields the growing list of (frame index, labels or error).
    """

    @asynccontextmanager
    async def flow(triton: Triton, version: int, frames: list[NDArray[np.uint8]]) -> AsyncIterator[list[Answer]]:
        answers: list[Answer] = []
        ended = asyncio.Event()
        no_adjustment_K = np.zeros(NUM_CLASSES, np.float32)

        async def send_frames(index: int) -> None:
            while not ended.is_set():
                frame_HW3 = frames[index % len(frames)]
                try:
                    output = await triton.segmenter.infer(version, frame_HW3, no_adjustment_K, frame_HW3.shape[:2])
                    answers.append((index % len(frames), output.labels_HW))
                except ServingError as error:
                    answers.append((index % len(frames), error))
                    await asyncio.sleep(0.01)  # as a client that heeds the retry hint, only sooner
                index += 1

        clients = [asyncio.create_task(send_frames(index)) for index in range(4)]
        yield answers
        ended.set()
        await asyncio.gather(*clients)

    return flow


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(240):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait for a condition: `await until(condition)`; an absurd time is too long."""
    return _until


def _logits(frame_HW3: NDArray[np.uint8], shift: float) -> NDArray[np.float32]:
    gray_HW1 = frame_HW3.astype(np.float32).mean(axis=-1, keepdims=True) + np.float32(shift)
    return -np.abs(gray_HW1 - CENTERS_K) * np.float32(0.1)


def _graph(frame_size: tuple[int, int], shift: float, work: int) -> openvino.Model:
    frame = ops.parameter([*frame_size, 3], np.uint8, name="FRAME")
    log_prior_ratio = ops.parameter([NUM_CLASSES], np.float32, name="LOG_PRIOR_RATIO")
    valid_hw = ops.parameter([2], np.int32, name="VALID_HW")

    gray_HW1 = ops.reduce_mean(ops.convert(frame, np.float32), np.array([2]), keep_dims=True)
    gray_HW1 = ops.add(gray_HW1, ops.add(np.float32(shift), _no_effect(valid_hw, work)))
    logits_HWK = ops.multiply(ops.abs(ops.subtract(gray_HW1, CENTERS_K.reshape(1, 1, -1))), np.float32(-0.1))
    probability_HWK = ops.softmax(logits_HWK, 2)
    adjusted_HWK = ops.softmax(ops.add(logits_HWK, log_prior_ratio), 2)
    best = ops.topk(adjusted_HWK, np.int64(1), 2, "max", "value", index_element_type="i32")
    confidence_HW = ops.round(ops.multiply(ops.squeeze(best.output(0), np.array([2])), np.float32(255)), "half_to_even")
    labels_HW = ops.squeeze(best.output(1), np.array([2]))

    valid_HW1 = ops.multiply(
        _below(frame_size[0], valid_hw, 0, (-1, 1, 1)), _below(frame_size[1], valid_hw, 1, (1, -1, 1))
    )
    mean_K = _masked_mean(probability_HWK, valid_HW1)
    presence_K = ops.log(_masked_mean(ops.exp(probability_HWK), valid_HW1))
    outputs = {
        "LABEL": ops.convert(labels_HW, np.uint8),
        "CONFIDENCE": ops.convert(confidence_HW, np.uint8),
        "PRESENCE": presence_K,
        "MEAN_PROBABILITY": mean_K,
    }
    for name, node in outputs.items():
        node.output(0).set_names({name})
    return openvino.Model([ops.result(node) for node in outputs.values()], [frame, log_prior_ratio, valid_hw])


def _save_torch_program(path: Path, frame_size: tuple[int, int], shift: float) -> None:
    import torch  # takes seconds, and one test needs it

    class Program(torch.nn.Module):
        def forward(
            self, frame_HW3: torch.Tensor, log_prior_ratio_K: torch.Tensor, valid_hw: torch.Tensor
        ) -> tuple[torch.Tensor, ...]:
            gray_HW1 = frame_HW3.float().mean(dim=-1, keepdim=True) + shift
            logits_HWK = (gray_HW1 - torch.from_numpy(CENTERS_K)).abs() * -0.1
            probability_HWK = logits_HWK.softmax(dim=-1)
            best = (logits_HWK + log_prior_ratio_K).softmax(dim=-1).max(dim=-1)
            rows_H1 = torch.arange(frame_size[0])[:, None] < valid_hw[0]
            valid_HW1 = (rows_H1 & (torch.arange(frame_size[1])[None] < valid_hw[1]))[..., None].float()
            mean_K, mean_exp_K = (
                (values_HWK * valid_HW1).sum(dim=(0, 1)) / valid_HW1.sum()
                for values_HWK in (probability_HWK, probability_HWK.exp())
            )
            confidence_HW = (best.values * 255).round()
            return best.indices.to(torch.uint8), confidence_HW.to(torch.uint8), mean_exp_K.log(), mean_K

    example = (torch.zeros(*frame_size, 3, dtype=torch.uint8), torch.zeros(NUM_CLASSES), torch.tensor(frame_size).int())
    torch.export.save(torch.export.export(Program(), example), path)


def _below(size: int, valid_hw: openvino.Node, axis: int, shape: tuple[int, ...]) -> openvino.Node:
    limit = ops.gather(valid_hw, np.array(axis), np.array(0))
    inside = ops.less(np.arange(size, dtype=np.int32), limit)
    return ops.reshape(ops.convert(inside, np.float32), np.array(shape), special_zero=False)


def _masked_mean(values_HWK: openvino.Node, valid_HW1: openvino.Node) -> openvino.Node:
    total = ops.reduce_sum(ops.multiply(values_HWK, valid_HW1), np.array([0, 1]))
    return ops.divide(total, ops.reduce_sum(valid_HW1, np.array([0, 1, 2])))


def _no_effect(valid_hw: openvino.Node, work: int) -> openvino.Node:
    """A zero that takes `work` products of 512 x 512 matrices to compute."""
    seed = ops.multiply(ops.convert(ops.reduce_max(valid_hw, np.array([0])), np.float32), np.float32(0))
    matrix = ops.add(ops.broadcast(seed, np.array([512, 512])), np.eye(512, dtype=np.float32))
    product = matrix
    for _ in range(work):
        product = ops.matmul(product, matrix, False, False)
    return ops.subtract(ops.divide(ops.reduce_sum(product, np.array([0, 1])), np.float32(512)), np.float32(1))
