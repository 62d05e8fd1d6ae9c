"""Image files in, label maps and overlays out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from clients.client import RequestFailed, RoadshiftClient, SegmentResult
from exchange.images.file_names import namesakes
from exchange.images.frames import decode_file
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
        ValueError: two files would write the same names (on some disks case makes no other name), or one file would be
            written over another; nothing is written then.
    """
    _check_names(files, out)
    out.mkdir(parents=True, exist_ok=True)
    for file in files:
        try:
            data = file.read_bytes()
            result = client.segment(data)
            overlay_jpeg = _overlay_jpeg(data, result)
            labels, overlay = _written_for(file, out)
            labels.write_bytes(result.palette_png())
            overlay.write_bytes(overlay_jpeg)
            yield FileOutcome(file, result)
        except OSError as error:
            yield FileOutcome(file, error=error.strerror or str(error))
        except (ValueError, RequestFailed, LabelImageError) as error:
            yield FileOutcome(file, error=str(error))


def _written_for(file: Path, out: Path) -> tuple[Path, Path]:
    """Return the paths of its labels and its overlay."""
    return out / f"{file.stem}.labels.png", out / f"{file.stem}.overlay.jpg"


def _check_names(files: Sequence[Path], out: Path) -> None:
    """Raise ValueError where something would be written over something else."""
    if twins := namesakes(files):
        raise ValueError(
            f"two files are called {twins[1].stem}, {twins[0]} and {twins[1]}: label them into different folders"
        )
    given = {file.resolve(): file for file in files}
    for file in files:
        for path in _written_for(file, out):
            if (over := given.get(path.resolve())) is not None:
                raise ValueError(f"the labels of {file} would be written over {over}: name another folder by --out")


def _overlay_jpeg(data: bytes, result: SegmentResult) -> bytes:
    overlay_rgb = result.overlay(decode_file(data))
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(overlay_rgb, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()
