"""What lies in a worker's folder, for the worker and for the learner that reads it."""

from pathlib import Path

JOB_FILE, PROGRESS_FILE, VERDICT_FILE, FAILURE_FILE = "job.json", "progress.json", "verdict.json", "failure.txt"
LAID_OUT_FILE = "laid_out.json"
TARGET_FOLDER, OUT_FOLDER, RELEASE_FOLDER, REPORT_FOLDER = "target", "out", "release", "report"
ASKED_FOLDER, HELD_OUT_FOLDER = "asked", "held_out"
"""What people labelled, of frames to learn from and of others; neither is there where nobody did."""
CHOSEN_DRIVES = "chosen"
"""Folder of drives, in the target's folder, with frames that were chosen for people and not by chance."""
REPORT_FILE, PAGE_FILE = "report.json", "report.html"
"""As `adaptation.learning.rounds` names them."""
COLLAPSE_CHECKS = ("effective classes kept", "worst sure class kept")
"""Of the gate: a candidate that fails one says less than the incumbent, for some classes have gone."""


def write_whole(path: Path, data: bytes) -> None:
    """A reader sees the file of before or of after."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(data)
    partial.rename(path)
