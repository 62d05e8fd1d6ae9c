"""The process that labels single frames with a release, for those who compare versions.

    python -m adaptation.learning.workers relabel RELEASE PARENT

Takes frames from its standard input and answers each on its standard output, one at a time, and runs only on what
nobody else wants of the processors. It dies with the learner that started it, which may be the process PARENT alone.
A message is a JSON line, and then as many bytes as the line says.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from exchange.jobs.messages import Message, read_message, write_message
from exchange.jobs.worker_life import die_with, yield_to_others


def main(arguments: Sequence[str]) -> None:
    release, parent = Path(arguments[0]), int(arguments[1])
    die_with(parent)
    yield_to_others()  # before torch starts its threads, which inherit it
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # what libraries print is no answer
    try:
        labeller = _Labeller(release)
        write_message(answers, {"ready": True})
    except Exception as error:  # of any engine: it is told, and the learner goes on
        write_message(answers, {"error": " ".join(str(error).split()) or repr(error)})
        return
    while (asked := read_message(sys.stdin.buffer)) is not None:
        write_message(answers, {}, labeller.labels_png(asked))


class _Labeller:
    def __init__(self, release: Path) -> None:
        """Raises whatever keeps the engine from loading."""
        from adaptation.learning.export.engines import load_engine
        from exchange.registry.releases import read_manifest

        self._engine = load_engine(release)
        self._frame_size = read_manifest(release).frame_size

    def labels_png(self, asked: Message) -> bytes:
        """Of one frame, raw rows of RGB, at its own size."""
        import numpy as np

        from exchange.images.frame_fitting import fit_frame, restore_labels
        from exchange.images.labels import encode_palette_png

        rows, columns = asked.head["size_hw"]
        image_HW3 = np.frombuffer(asked.body, np.uint8).reshape(rows, columns, 3)
        frame_HW3, valid_hw = fit_frame(image_HW3, self._frame_size)
        ratio_K = np.array(asked.head["log_prior_ratio"], np.float32)
        outputs = self._engine.infer(np.ascontiguousarray(frame_HW3), ratio_K, valid_hw)
        return encode_palette_png(restore_labels(outputs.label_HW, valid_hw, (rows, columns)))
