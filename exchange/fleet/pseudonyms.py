"""Vehicles and drives by keyed hashes: the same everywhere in a fleet, and back to a name only by whoever has the key.

The key is not in the storage root. Whoever loses it can neither tell nor erase one vehicle's frames any more.
"""

import hashlib
import hmac
import secrets
from pathlib import Path

_KEY_BYTES = 32
_VEHICLE_DIGITS, _DRIVE_DIGITS = 20, 12


class PseudonymKeyError(Exception):
    """The key file cannot be used; the message says what to do."""


class Pseudonyms:
    """HMAC-SHA256 of ids, cut to as many digits as a fleet needs."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_file(cls, path: Path, *, create: bool = False) -> "Pseudonyms":
        """Reads the key; where it is missing and may be created, writes a new one that only its owner can read.

        Raises:
            PseudonymKeyError: no such file, or none with 32 bytes in hexadecimal digits.
        """
        try:
            if create and not path.exists():
                _write_new_key(path)
            key = bytes.fromhex(path.read_text().strip())
        except (OSError, ValueError) as error:
            raise PseudonymKeyError(f"{path} cannot be read as a key ({error}): give the gateways' own") from error
        if len(key) != _KEY_BYTES:
            raise PseudonymKeyError(f"{path} holds {len(key)} bytes: a key is {2 * _KEY_BYTES} hexadecimal digits")
        return cls(key)

    def vehicle(self, vehicle_id: str) -> str:
        return self._digest("vehicle", vehicle_id)[:_VEHICLE_DIGITS]

    def drive(self, vehicle_id: str, drive_id: str) -> str:
        """Starts with the vehicle's pseudonym, so that all of a vehicle's drives can be erased."""
        return f"{self.vehicle(vehicle_id)}-{self._digest('drive', vehicle_id, drive_id)[:_DRIVE_DIGITS]}"

    def _digest(self, *parts: str) -> str:
        return hmac.new(self._key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()


def vehicle_of_drive(drive: str) -> str:
    return drive.partition("-")[0]


def _write_new_key(path: Path) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(secrets.token_hex(_KEY_BYTES) + "\n")
    partial.rename(path)
