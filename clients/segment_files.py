"""Image files in, label maps and overlays out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from clients.client import RequestFailed, RoadshiftClient, SegmentResult
from exchange.images.labels import LabelImageError


@dataclass(frozen=True)
class FileOutcome:
    file: Path
    result: SegmentResult | None = None
    error: str = ""


def segment_files(client: RoadshiftClient, files: Sequence[Path], out: Path) -> Iterator[FileOutcome]:
    """Labels each file and writes `<name>.labels.png` (palette) and `<name>.overlay.jpg` to the folder.

    A file that cannot be read or is refused yields its error; the others go on.

    Raises:
        ValueError: two files would write the same names.
    """
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two files are called {twice}: label them into different folders")
    out.mkdir(parents=True, exist_ok=True)
    for file in files:
        try:
            data = file.read_bytes()
            result = client.segment(data)
            (out / f"{file.stem}.labels.png").write_bytes(result.palette_png())
            (out / f"{file.stem}.overlay.jpg").write_bytes(_overlay_jpeg(data, result))
            yield FileOutcome(file, result)
        except OSError as error:
            yield FileOutcome(file, error=error.strerror or str(error))
        except (ValueError, RequestFailed, LabelImageError) as error:
            yield FileOutcome(file, error=str(error))


def _overlay_jpeg(data: bytes, result: SegmentResult) -> bytes:
    frame_bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    overlay_rgb = result.overlay(cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB).astype(np.uint8))
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(overlay_rgb, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()
