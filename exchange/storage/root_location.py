"""Where a storage root lies, read from what an option or a variable says.

A plain path is taken as it is, every letter of it. A file URL is percent-encoded, as RFC 8089 has it, and decoded once.
What `..` and doubled slashes say is worked out, so that one folder has one spelling.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from exchange.plain_words import CONTROL_CHARACTER
from exchange.storage.objects import StorageRefused, check_key

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_FORMS = "give file:///folder or s3://bucket/prefix, or a plain path"


@dataclass(frozen=True)
class RootLocation:
    """Equal where it is the same place, however it was written."""

    folder: Path | None = None
    """Absolute; None where the root is in a bucket."""
    bucket: str = ""
    prefix: str = ""
    """A storage key below the bucket, or empty."""

    @property
    def url(self) -> str:
        """Means the same place to every process, whatever its working directory."""
        if self.folder is not None:
            return self.folder.as_uri()
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"

    def is_meant_by(self, text: str) -> bool:
        """Whether a URL or path, such as one that an earlier process wrote down, names this place."""
        try:
            return RootLocation.parse(text) == self
        except StorageRefused:
            return False

    @classmethod
    def parse(cls, text: str) -> "RootLocation":
        """Reads file:///folder, a plain path, or s3://bucket/prefix; a relative path is of this working directory.

        Raises:
            StorageRefused: it is none of these; the message says what to change.
        """
        if not text:
            raise _refusal(text, _FORMS)
        if CONTROL_CHARACTER.search(text):
            raise _refusal(text, f"{_FORMS}, without line breaks and other control characters")
        scheme = _SCHEME.match(text)
        if scheme is None:
            return cls(folder=_one_spelling(text))
        rest = text[scheme.end() :]
        if scheme[1].lower() == "file":
            return cls(folder=_folder_of_url(text, rest))
        if scheme[1].lower() == "s3" and rest.startswith("//"):
            return cls._in_a_bucket(text, rest)
        raise _refusal(text, f"{_FORMS}; a path that begins like a URL is written ./{text}")

    @classmethod
    def _in_a_bucket(cls, text: str, rest: str) -> "RootLocation":
        bucket, _, prefix = rest.removeprefix("//").partition("/")
        prefix = prefix.strip("/")
        if not _BUCKET.fullmatch(bucket):
            raise _refusal(text, f"{_FORMS}; a bucket has 3 to 63 letters, digits, '.', '_' and '-'")
        try:
            return cls(bucket=bucket, prefix=check_key(prefix) if prefix else "")
        except ValueError as error:
            raise _refusal(text, f"{_FORMS} ({error})") from error


def _folder_of_url(text: str, rest: str) -> Path:
    if any(mark in rest for mark in "?#"):
        raise _refusal(text, "write '?' as %3F and '#' as %23 in a file URL, or give a plain path")
    if _NO_ESCAPE.search(rest):
        raise _refusal(text, "write '%' as %25 in a file URL, or give a plain path")
    if rest.startswith("//"):
        host, slash, path = rest.removeprefix("//").partition("/")
        if host.lower() not in ("", "localhost"):
            raise _refusal(text, f"{_FORMS}; a file URL names no host, and {host!r} would be one")
        rest = slash + path
    folder = os.fsdecode(unquote_to_bytes(os.fsencode(rest)))
    if not folder.startswith("/") or not folder.strip("/") or CONTROL_CHARACTER.search(folder):
        raise _refusal(text, f"{_FORMS}; what is decoded of a file URL is an absolute path without control characters")
    if (place := _one_spelling(folder)) == Path("/"):
        raise _refusal(text, f"{_FORMS}; '..' leads to the top of the disk")
    return place


def _one_spelling(folder: str) -> Path:
    """Return the absolute path without `..`, which goes up from where a link leads, as the system has it."""
    place = Path("/")
    for part in Path(folder).absolute().parts[1:]:
        place = Path(os.path.realpath(place)).parent if part == ".." else place / part
    return place


def _refusal(text: str, remedy: str) -> StorageRefused:
    return StorageRefused(f"{text!r} is no storage root: {remedy}")
